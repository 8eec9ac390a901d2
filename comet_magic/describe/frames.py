"""A table of any library, read with narwhals: names, dtypes, some of its rows, and figures of all of them.

What is lazy is read for its schema, and never computed; but for a DuckDB relation, whose figures cost little.
"""

from __future__ import annotations

import datetime as dt
import math
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..named_tuple import NamedTuple
from ..redaction import is_secret_field
from ..text import lazy_pattern, many
from .columns import Figures
from .dependencies import has, is_series_like, plain, table_library
from .description import Limits, stable_repr
from .scalars import is_null

if TYPE_CHECKING:
    import narwhals as nw


WITH_INDEX = frozenset(("pandas", "modin", "cudf"))
COLUMNS = 60  # most that are described in full; about what a bound of some thousand tokens can hold
WHOLE = 50_000  # cells of these columns, up to which Python looks at all of them: about 20 ms
COUNTED = 10_000_000  # cells, up to which the library finds quartiles and distinct values of all rows; about 0.5 s
LEVELS = 20_000  # distinct values, up to which each is counted in all rows
COMPARED = 3_000_000  # cells, up to which rows are looked at for duplicates; PyArrow needs more time for it
COMPARED_OBJECTS = 1000  # cells that are Python objects, up to which that is done
SAMPLE = 10_000  # rows of a larger table
RUNS = 250  # of neighbouring rows that a sample consists of; single rows would make pandas 3 copy whole columns of text
SCANNED = 300_000_000  # cells in which nulls, min, max and mean are looked for; about 0.5 s
OBJECT = 25  # how much longer that takes for a cell that is a Python object
LARGEST = 30_000_000  # bytes of a sample in its library's own form; as Python objects they are more
NESTED = 10  # how much more nested values are
SAMPLED = 100_000_000  # cells of a DuckDB relation, up to which it is sampled: that reads all of them once more
BLOCKS = 200_000  # rows of DuckDB's blocks, of which the sample is
SEED = 0


def no_count() -> None:
    return None


class FrameSample(NamedTuple):
    """names, dtypes: as they are shown.        rows: None where only the schema is known.

    chosen: the columns that are described in full, in the order in which room is given to them.
    named: those of them that the question names.
    frame: with the columns "0", "1", …, of all rows or of a sample's; None where only the schema is known.
    positions: of the frame's rows in the whole table; None where it has no order.
    how: what the sample is, in words; "" if it is no sample.        exact: by column: what is known of all rows.
    duplicates: counts the rows that are there before; None where that would take too long.
    categories: by column: the categories, and whether they have an order.
    index, axis: of pandas and its kin.        notes: more about the table, in words.
    """

    names: Sequence[str]
    dtypes: Sequence[str]
    chosen: Sequence[int] = ()
    named: Sequence[int] = ()
    rows: int | None = None
    frame: nw.DataFrame[Any] | None = None
    positions: Sequence[int] | None = None
    how: str = ""
    exact: dict[int, Figures] = {}
    duplicates: Callable[[], int | None] = no_count
    categories: dict[int, tuple[Sequence[Any], bool]] = {}
    memory: str = ""
    index: Any = None
    axis: str = ""
    notes: Sequence[str] = ()
    is_series: bool = False

    @classmethod
    def of_lists(
        cls, names: Sequence[str], dtypes: Sequence[str], lists: Sequence[list[Any]], limits: Limits
    ) -> FrameSample:
        """Return a table of Python's own values, column by column."""
        labels = _labels(names, limits)
        rows = len(lists[0]) if lists else 0
        frame: Any = _Lists(lists, rows)
        named = _named(labels, limits.about)
        return cls(labels, dtypes, _first(labels, named), named, rows, frame, range(rows))


def _column_labels(names: Sequence[Any], axis: str, limits: Limits) -> list[str]:
    labels = _labels(names, limits)
    # A pivot table's columns are values.
    hides = axis and (not limits.share_values or is_secret_field(axis))
    return [f"column {number}" for number in range(1, len(labels) + 1)] if hides else labels


def _read_wide(value: Any, limits: Limits, narwhals: Any, notes: list[str]) -> FrameSample:
    """Read the columns of a wide frame that are described: pandas needs seconds for thousands of others."""
    axis = _axis(value, limits)
    labels = _column_labels(list(value.columns), axis, limits)
    named = _named(labels, limits.about)
    chosen = _first(labels, named)
    part = _plain(value.iloc[:, chosen], "DataFrame").copy(deep=False)
    part.columns = [str(number) for number in chosen]
    part.attrs = {}
    dtypes = [_dtype(dtype, limits) for dtype in value.dtypes]
    outline = FrameSample(labels, dtypes, chosen, named, index=value.index, axis=axis, notes=notes)
    return _read(outline, narwhals.from_native(part), narwhals)


class _Column(list[Any]):
    def to_list(self) -> list[Any]:
        return self


class _Lists:
    """What a card asks of a frame: its length, and the values of the columns "0", "1", …."""

    def __init__(self, lists: Sequence[list[Any]], rows: int) -> None:
        self._lists, self._rows = lists, rows

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, name: str) -> _Column:
        return _Column(self._lists[int(name)])


def read(value: Any, limits: Limits) -> FrameSample:
    """Raises: ConfigError without narwhals; whatever the library raises about a table that is broken."""
    try:
        import narwhals
    except ImportError:
        raise ConfigError(
            "a table is described with narwhals, which is not installed", "pip install narwhals; nothing was sent"
        ) from None
    is_series = is_series_like(value)
    if table_library(value).startswith("dask"):
        # Its own frame of no rows knows the schema; nothing is computed.
        meta = value._meta.to_frame() if is_series else value._meta
        return FrameSample(_labels(meta.columns, limits), [_dtype(dtype, limits) for dtype in meta.dtypes])
    notes = list(_geometry(value, limits))
    if is_series:
        value = _as_frame(value, narwhals)
    elif has(value, "serialize", "num_columns"):  # one of pyarrow's batches
        value = sys.modules["pyarrow"].Table.from_batches([value])
    index = value.index if table_library(value) in WITH_INDEX else None
    if index is not None and len(value.columns) > COLUMNS:
        return _read_wide(value, limits, narwhals, notes)
    native, names = _renamed(value)
    frame: Any = narwhals.from_native(native)
    schema = frame.collect_schema()
    names = schema.names() if names is None else names
    if renamed := {name: str(number) for number, name in enumerate(schema.names()) if name != str(number)}:
        frame = frame.rename(renamed)
    axis = _axis(value, limits) if index is not None else ""
    labels = _column_labels(names, axis, limits)
    if is_series and not limits.share_values:  # a row's name is a value
        labels = ["values"]
    named = _named(labels, limits.about)
    outline = FrameSample(
        labels, _dtypes(native, schema, limits), _first(labels, named), named, index=index, axis=axis, notes=notes,
        is_series=is_series,
    )  # fmt: skip
    if len(labels) > COLUMNS and isinstance(frame, narwhals.DataFrame):
        frame = frame.select([str(number) for number in outline.chosen])
    if isinstance(frame, narwhals.DataFrame):
        return _read(outline, frame, narwhals)
    return _related(outline, frame.to_native(), narwhals) if frame.implementation.is_duckdb() else outline


def column_names(value: Any, limits: Limits) -> list[str]:
    """Return the names of a table's columns, which are no values; nothing is computed."""
    if is_series_like(value):
        name = getattr(value, "name", None)
        return [] if name is None else [as_label(name, limits)]
    if table_library(value) in WITH_INDEX and _axis(value, limits):
        return ["a pivot table's, which are values"]
    if has(value, "collect_schema"):
        return [as_label(name, limits) for name in value.collect_schema().names()]
    names = value.column_names if has(value, "column_names") else value.columns
    return [as_label(name, limits) for name in names]


def values_of(frame: Any, number: int) -> list[Any]:
    """Return a column's values; where Python has no type for one, such as a year 99999, the library's text of each."""
    column = frame[str(number)]
    try:
        if moments := _plain_moments(column):
            return moments
        return _readable(column.to_list())
    except Exception as error:  # noqa: BLE001  # each library has its own
        import narwhals

        try:
            return column.cast(narwhals.String).to_list()  # type: ignore[no-any-return]
        except Exception:  # noqa: BLE001
            return [f"({type(error).__name__})"] * len(column)


def _plain_moments(column: Any) -> list[Any]:
    """Return pandas' moments without a zone as Python's own, which is a good deal faster; [] for other columns."""
    native: Any = column.to_native() if hasattr(column, "to_native") else None
    if not re.fullmatch(r"datetime64\[\w+\]", str(getattr(native, "dtype", ""))):
        return []
    moments: list[Any] = native.to_numpy().astype("datetime64[us]").tolist()
    return [] if any(isinstance(moment, int) for moment in moments) else moments  # a year that Python cannot hold


def _readable(values: list[Any]) -> list[Any]:
    """Return values as they can be compared: moments by the clock of the world, and spans of days as spans."""
    first = next((value for value in values if value is not None), None)
    if type(first) is dt.datetime and first.tzinfo is not None:
        # Of one zone, Python compares the clocks on the wall, of which an hour in autumn is there twice.
        return [value and value.astimezone(dt.timezone(value.utcoffset())) for value in values]
    return list(map(_as_span, values)) if type(first).__name__ == "MonthDayNano" else values


def _as_span(value: Any) -> Any:
    """Return a span of Arrow's as Python's own; one with months, which have no length, as words."""
    if type(value).__name__ != "MonthDayNano":
        return value
    months, days, nanoseconds = value
    span = dt.timedelta(days=days, microseconds=nanoseconds // 1000)
    return f"{months} months {span}" if months else span


def _named(labels: Sequence[str], about: str) -> list[int]:
    """Return the columns that a question names."""
    about = about.casefold()
    words = set(re.findall(r"\w+", about))
    return [n for n, label in enumerate(labels) if _is_named(label.casefold(), about, words)] if words else []


def _first(labels: Sequence[str], named: Sequence[int]) -> list[int]:
    """Return the columns in the order in which they get room: what the question names, the last one, the others.

    The last column is most often what a data set is about.
    """
    return list(dict.fromkeys([*named, *range(len(labels))[-1:], *range(len(labels))]))[:COLUMNS]


def _is_named(label: str, about: str, words: set[str]) -> bool:
    """Return whether a question names the column; one of several words, by all of them in a row."""
    parts = re.findall(r"\w+", label)
    return bool(parts) and words.issuperset(parts) and (len(parts) == 1 or label in about)


def _geometry(value: Any, limits: Limits) -> Iterator[str]:
    """Yield the coordinate system and the bounds of geopandas' frames and series."""
    if not has(value, "crs", "total_bounds"):
        return
    try:
        yield f"coordinates {value.crs or 'of no known system'}"
        if limits.share_values:
            yield "bounds " + " ".join(f"{float(edge):.6g}" for edge in value.total_bounds)
    except Exception:  # noqa: BLE001  # there may be no column of geometries yet
        return


def _renamed(value: Any) -> tuple[Any, Sequence[Any] | None]:
    """Return the table with the columns "0", "1", …, where names may be anything, or the same twice; and its names."""
    if table_library(value) in WITH_INDEX:
        names = list(value.columns)
        value = _plain(value, "DataFrame").copy(deep=False)
        value.columns = [str(number) for number in range(len(names))]
        value.attrs = {}  # which are compared when samples are put together, and may be arrays
        return value, names
    if has(value, "rename_columns"):
        names = list(value.column_names)
        return value.rename_columns([str(number) for number in range(len(names))]), names
    if has(value, "project", "create_view"):
        names = list(value.columns)
        return value.project(", ".join(f'#{number + 1} AS "{number}"' for number in range(len(names)))), names
    return value, None


def _plain(value: Any, kind: str) -> Any:
    """Return pandas' own frame or series in place of one of a class that is made from it, which may refuse much."""
    library = sys.modules.get(table_library(value))
    plain_class = getattr(library, kind, type(value))
    return value if type(value) is plain_class else plain_class(value)


def _axis(frame: Any, limits: Limits) -> str:
    """Return what the columns are, as a pivot table says."""
    names = [name for name in frame.columns.names if name is not None]
    return as_label(tuple(names), limits) if names else ""


def _as_frame(value: Any, narwhals: Any) -> Any:
    if table_library(value) in WITH_INDEX:
        return _plain(value, "Series").to_frame(value.name if value.name is not None else "values")
    series = narwhals.from_native(value, series_only=True)
    return (series if series.name else series.alias("values")).to_frame().to_native()


def _labels(names: Iterable[Any], limits: Limits) -> list[str]:
    """Return the names as they are shown; columns of the same name get a number each."""
    labels = [as_label(name, limits) for name in names]
    seen: Counter[str] = Counter()
    counts = Counter(labels)
    outline = []
    for label in labels:
        seen[label] += 1
        outline.append(f"{label} [{seen[label]}]" if counts[label] > 1 else label)
    return outline


def as_label(name: Any, limits: Limits) -> str:
    parts = name if isinstance(name, tuple) else (name,)
    texts = [part if isinstance(part, str) else stable_repr(plain(part)) for part in parts]
    return limits.short(" / ".join(texts), 60) or '""'


def _dtypes(value: Any, schema: Any, limits: Limits) -> list[str]:
    """Return the dtypes in the library's own words, as far as it lists them."""
    dtypes = getattr(value, "dtypes", None)
    if dtypes is None or isinstance(dtypes, dict) or callable(dtypes):
        dtypes = getattr(getattr(value, "schema", None), "types", None)
    return [_dtype(dtype, limits) for dtype in (schema.dtypes() if dtypes is None else dtypes)]


def _dtype(dtype: Any, limits: Limits) -> str:
    return limits.short(dtype_text(str(dtype)), 50)


def dtype_text(dtype: str) -> str:
    """Return a dtype's name without the values in it: an Enum's categories, and what a sparse column is filled with."""
    dtype = re.sub(r"(?i)\benum\(.*", "Enum", dtype, flags=re.S)
    return re.sub(r"(?s)(\bSparse\[(?:[^,\[\]]|\[[^\]]*\])+),.*\]", r"\1]", dtype)


def _read(outline: FrameSample, frame: nw.DataFrame[Any], narwhals: Any) -> FrameSample:
    """Read all of a table, or a sample of it."""
    rows, columns = len(frame), len(outline.names)
    outline = outline._replace(
        rows=rows,
        categories=_categories(frame, outline.chosen, narwhals),
        duplicates=partial(_duplicates, frame) if columns <= COLUMNS else no_count,
    )
    some = _affordable(frame, columns)
    if rows * min(columns, COLUMNS) > WHOLE:
        outline = outline._replace(exact=_exact(frame, frame.schema, outline, narwhals))
    if rows <= min(some, SAMPLE):
        memory = _size(frame.estimated_size()) if rows * columns <= 100 * WHOLE else ""
        return outline._replace(frame=frame, positions=range(rows), memory=memory)
    sample, positions, how = _chosen(frame, some, narwhals)
    return outline._replace(
        frame=sample,
        positions=positions,
        how=f"a sample of {len(sample):,} rows ({how})",
        memory=_size(sample.estimated_size() * rows / len(sample), "~"),
    )


def _duplicates(frame: nw.DataFrame[Any]) -> int | None:
    rows, columns = frame.shape
    if not columns or rows * columns > COMPARED / (4 if frame.implementation.is_pyarrow() else 1):
        return None
    objects = sum(dtype.is_nested() or type(dtype).__name__ in ("Object", "Unknown") for dtype in frame.schema.dtypes())
    if objects * rows > COMPARED_OBJECTS:  # which some libraries compare each with all others
        return None
    try:
        return rows - len(frame.unique())
    except Exception:  # noqa: BLE001  # lists have no hash, and each library has its own error for that
        return None


def _categories(frame: Any, chosen: Sequence[int], narwhals: Any) -> dict[int, tuple[Sequence[Any], bool]]:
    """Return the categories of pandas' categorical columns and of enumerations, which no other row may have."""
    found: dict[int, tuple[Sequence[Any], bool]] = {}
    schema = frame.schema
    for number in chosen:
        dtype = schema[str(number)]
        is_fixed = isinstance(dtype, narwhals.Enum) or frame.implementation.is_pandas_like()
        if isinstance(dtype, narwhals.Categorical | narwhals.Enum) and is_fixed:
            column = frame[str(number)]
            # Those that no row has, too, which narwhals leaves out.
            levels = dtype.categories if isinstance(dtype, narwhals.Enum) else column.to_native().cat.categories
            found[number] = (list(levels), bool(narwhals.is_ordered_categorical(column)))
    return found


def _chosen(frame: nw.DataFrame[Any], some: int, narwhals: Any) -> tuple[nw.DataFrame[Any], Sequence[int], str]:
    """Return at most `some` rows of a sample's, where they stand, and how they were chosen.

    One run stands at a random place in each of equal parts, so that what follows the order of the rows is met evenly.
    """
    length = max(1, min(SAMPLE, some) // RUNS)
    parts = min(RUNS, some, len(frame) // length)
    starts = seeded_places(len(frame), parts, length)
    sample = narwhals.concat([frame[start : start + length] for start in starts])
    positions = [start + step for start in starts for step in range(length)]
    return sample, positions, f"{parts} seeded runs of {many(length, 'row')}"


def seeded_places(size: int, parts: int, length: int = 1) -> list[int]:
    """Return where runs of so many begin: one at a random place in each of equal parts, the same ones each time."""
    edges = [size * part // parts for part in range(parts + 1)]
    places = random.Random(SEED)
    return [places.randint(low, max(low, high - length)) for low, high in pairwise(edges)]


def _affordable(frame: nw.DataFrame[Any], columns: int) -> int:
    """Return how many rows may become Python objects: fewer where they are long texts or nested."""
    first = frame[:100]
    if len(frame) <= 1000 or not columns:
        return SAMPLE
    is_nested = any(dtype.is_nested() for dtype in frame.schema.dtypes()[:COLUMNS])
    size = first.estimated_size() / len(first) * (NESTED if is_nested else 1)
    return max(1, int(LARGEST / max(1, size)))


def _related(outline: FrameSample, relation: Any, narwhals: Any) -> FrameSample:
    """Sample a DuckDB relation, which is a query: compute its size, its figures, and blocks of rows."""
    frame = narwhals.from_native(relation)
    rows = int(frame.select(narwhals.len()).collect().item())
    outline = outline._replace(rows=rows)
    if rows * min(len(outline.names), COLUMNS) <= WHOLE:
        return _read(outline, frame.collect(), narwhals)
    chosen, how = frame.head(SAMPLE), "the first ones, which may be unlike the others"
    if rows * len(outline.names) <= SAMPLED:
        part, how = min(100.0, 100 * BLOCKS / rows), "of blocks chosen by a seed"
        query = f"SELECT * FROM relation USING SAMPLE {part:.6f}% (system, {SEED})"
        chosen = narwhals.from_native(relation.query("relation", query))
    blocks = chosen.collect()
    sample, _, _ = _chosen(blocks, _affordable(blocks, len(outline.names)), narwhals)
    return outline._replace(
        frame=sample,
        how=f"a sample of {len(sample):,} rows ({how})",
        exact=_exact(frame, frame.collect_schema(), outline, narwhals),
    )


def _exact(frame: Any, schema: Any, outline: FrameSample, narwhals: Any) -> dict[int, Figures]:
    """Return what is known of all rows: nulls, min, max and mean as far as it stays cheap, and more of fewer rows."""
    rows = outline.rows or 0
    is_counted = rows * min(len(outline.names), COLUMNS) <= COUNTED
    dtypes = {number: schema[str(number)] for number in outline.chosen}
    expressions: dict[int, list[Any]] = {}
    left = SCANNED
    for number, dtype in dtypes.items():
        is_object = isinstance(dtype, narwhals.Object | narwhals.Unknown) or dtype.is_nested()
        if _PANDAS_MOMENT.match(outline.dtypes[number]) and frame.implementation.is_pandas_like():
            is_object, dtype = False, narwhals.Datetime  # narwhals knows no zone with a sign in its name
        cost = rows * (OBJECT if is_object else 1)
        if cost <= left:
            left -= cost
            column = narwhals.col(str(number))
            has_nan = "pyarrow" in outline.dtypes[number] or not frame.implementation.is_pandas_like()
            if is_counted and dtype.is_float() and has_nan:
                column = column.fill_nan(None)  # pandas' own NaN is null
            if is_counted and isinstance(dtype, narwhals.Float32):
                column = column.cast(narwhals.Float64)  # else sums are short of digits
            of = outline.dtypes[number] if dtype is narwhals.Datetime else dtype
            expressions[number] = _expressions(column, number, of, is_counted and not is_object)
    computed = _figures(frame, [figure for figures in expressions.values() for figure in figures], narwhals)
    if computed is None:  # there is a column that a library cannot do it for
        computed = {}
        for number, figures in expressions.items():
            computed |= _figures(frame, figures, narwhals) or _fewer(
                frame, number, dtypes[number], is_counted, narwhals
            )
    if not is_counted and not frame.implementation.is_pandas_like():
        for number in expressions:
            if dtypes[number].is_float() and computed.get(f"mean {number}") is None:
                without = narwhals.col(str(number)).fill_nan(None)
                computed |= _figures(frame, _expressions(without, number, dtypes[number], False), narwhals) or {}
    known: dict[int, Figures] = {}
    for number in expressions:
        found = _known(computed, number)
        if found.nulls is None:
            continue
        if dtypes[number].is_float() and not (_is_finite(found.low) and _is_finite(found.high)):
            found = _finite(frame, number, dtypes[number], is_counted, narwhals)._replace(nulls=found.nulls)
        if found.distinct is not None and found.distinct <= LEVELS:
            found = found._replace(counts=_counts(frame, number, dtypes[number]))
        known[number] = found
    return known


def _fewer(frame: Any, number: int, dtype: Any, is_counted: bool, narwhals: Any) -> dict[str, Any]:
    """Return the figures of a column for which a library cannot compute all: what is cheap, and distinct values."""
    column = narwhals.col(str(number))
    found = _figures(frame, _expressions(column, number, dtype, False), narwhals) or {}
    if is_counted:
        counts = {"nulls": column.null_count(), "distinct": column.n_unique()}
        named = [figure.alias(f"{name} {number}") for name, figure in counts.items()]
        found = {**(_figures(frame, named, narwhals) or {}), **found}
    return found


def _finite(frame: Any, number: int, dtype: Any, is_counted: bool, narwhals: Any) -> Figures:
    """Return the figures of a column without its infinite values, and how many those are."""
    column = narwhals.col(str(number))
    amounts = narwhals.when(column.is_finite()).then(column)
    infinite = (~column.is_finite() & ~column.is_nan()).sum().alias("infinite")
    found = _known(_figures(frame, _expressions(amounts, number, dtype, is_counted), narwhals) or {}, number)
    return found._replace(infinite=(_figures(frame, [infinite], narwhals) or {}).get("infinite"))


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _expressions(column: Any, number: int, dtype: Any, is_counted: bool) -> list[Any]:
    """Return what computes the figures of a column. dtype: narwhals', or pandas' own text of a moment with a zone."""
    figures = {"nulls": column.null_count()}
    is_pandas_moment = isinstance(dtype, str)
    is_numeric = not is_pandas_moment and dtype.is_numeric()
    if is_numeric or is_pandas_moment or dtype.is_temporal():
        figures |= {"low": column.min(), "high": column.max()}
    if is_numeric:
        figures["mean"] = column.mean()
    if is_counted:
        figures["distinct"] = column.n_unique()  # and one more where there is a null
        ticks = _ticks(column, dtype)
        if ticks is not None:
            figures |= {"first tick": ticks.min(), "median tick": ticks.quantile(0.5, interpolation="linear")}
        elif is_numeric:
            parts = {"q1": 0.25, "median": 0.5, "q3": 0.75}
            figures |= {"sd": column.std(), "zeros": (column == 0).sum()}
            figures |= {name: column.quantile(part, interpolation="linear") for name, part in parts.items()}
    return [figure.alias(f"{name} {number}") for name, figure in figures.items()]


_PANDAS_MOMENT = lazy_pattern(r"datetime64\[\w+, ")
_MICROSECONDS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}


def _ticks(column: Any, dtype: Any) -> Any:
    """Return moments or spans as microseconds, which have a median; None of other things."""
    if isinstance(dtype, str):  # pandas' moments of a zone are whole numbers of their unit
        import narwhals

        unit = dtype.removeprefix("datetime64[").split(",")[0].rstrip("]")
        return column.cast(narwhals.Int64) * 1.0 * _MICROSECONDS[unit]
    kind = type(dtype).__name__
    if kind == "Datetime":
        return column.dt.timestamp("us")
    if kind == "Date":
        return column.dt.timestamp("ms") * 1000
    return column.dt.total_microseconds() if kind == "Duration" else None


def _known(computed: Mapping[str, Any], number: int) -> Figures:
    figures = {name: computed.get(f"{name} {number}") for name in Figures._fields if name not in ("infinite", "counts")}
    first, middle = (computed.get(f"{name} tick {number}") for name in ("first", "median"))
    if first is not None and middle is not None and figures["low"] is not None:
        figures["median"] = _later(figures["low"], dt.timedelta(microseconds=int(middle - first)))
    if figures["distinct"] is not None:
        figures["distinct"] -= bool(figures["nulls"])
    return Figures(**figures)


def _later(moment: Any, span: dt.timedelta) -> Any:
    """Return a moment that much later, by the clock of the world and not of its wall; None where there is none."""
    try:
        if type(moment) is dt.datetime and moment.tzinfo is not None:
            return (moment.astimezone(dt.timezone.utc) + span).astimezone(moment.tzinfo)
        return moment + span
    except (TypeError, OverflowError):  # months have no length
        return None


def _counts(frame: Any, number: int, dtype: Any) -> list[tuple[Any, int]] | None:
    """Count each value of a column that has few, the most frequent first; None where the library cannot."""
    import narwhals

    name = str(number)
    try:
        column = frame.select(name).drop_nulls()
        column = column.filter(narwhals.col(name).is_finite()) if dtype.is_float() else column
        counted = column.group_by(name).agg(narwhals.len().alias("count"))
        counted = counted if isinstance(counted, narwhals.DataFrame) else counted.collect()
        pairs = zip(counted[name].to_list(), counted["count"].to_list(), strict=True)
        # Of values as frequent as one another, the order is that of their texts: a library's may be another each time.
        return sorted(((value, int(count)) for value, count in pairs), key=lambda pair: (-pair[1], str(pair[0])))
    except Exception:  # noqa: BLE001  # each library has its own
        return None


def _figures(frame: Any, expressions: list[Any], narwhals: Any) -> dict[str, Any] | None:
    """Return figures by name; None where the library fails on one of them."""
    if not expressions:
        return {}
    try:
        computed = frame.select(*expressions)
        computed = computed if isinstance(computed, narwhals.DataFrame) else computed.collect()
        # Each from its own column: as a row, pandas would make floats of them all.
        values = {name: computed[name].item(0) for name in computed.columns}
    except Exception:  # noqa: BLE001  # each library has its own; the sample's figures will do
        return None
    return {name: None if is_null(value) else _as_span(value) for name, value in values.items()}


def _size(count: float, sign: str = "") -> str:
    """Return `12 MB`; "" for less than one, which is of no interest, and changes as Python encodes the texts."""
    size, unit = (count / 1e9, "GB") if count >= 1e9 else (count / 1e6, "MB")
    return "" if count < 1e6 else f"{sign}{size:.0f} {unit}" if size >= 10 else f"{sign}{size:.1f} {unit}"
