"""A table of any library, read with narwhals: names, dtypes, some of its rows, and figures of all of them.

What is lazy is read for its schema, and never computed; but for a DuckDB relation, whose figures cost little.
"""

from __future__ import annotations

import datetime as dt
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConfigError
from ..text import many
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
COMPARED = 10_000_000  # cells, up to which rows are looked at for duplicates; PyArrow needs more time for it
SAMPLE = 10_000  # rows of a larger table
RUNS = 250  # of neighbouring rows that a sample consists of; single rows would make pandas 3 copy whole columns of text
SCANNED = 300_000_000  # cells in which nulls, min, max and mean are looked for; about 0.5 s
OBJECT = 25  # how much longer that takes for a cell that is a Python object
LARGEST = 30_000_000  # bytes of a sample in its library's own form; as Python objects they are more
NESTED = 10  # how much more nested values are
SAMPLED = 100_000_000  # cells of a DuckDB relation, up to which it is sampled: that reads all of them once more
BLOCKS = 200_000  # rows of DuckDB's blocks, of which the sample is
SEED = 0


class FrameSample(NamedTuple):
    """names, dtypes: as they are shown.        rows: None where only the schema is known.

    chosen: the columns that are described in full, in the order in which room is given to them.
    named: those of them that the question names.
    frame: with the columns "0", "1", …, of all rows or of a sample's; None where only the schema is known.
    positions: of the frame's rows in the whole table; None where it has no order.
    how: what the sample is, in words; "" if it is no sample.        exact: by column: what is known of all rows.
    duplicates: rows that are there before; None where that was not looked for.
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
    duplicates: int | None = None
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
    native, names = _renamed(value)
    frame: Any = narwhals.from_native(native)
    schema = frame.collect_schema()
    names = schema.names() if names is None else names
    if renamed := {name: str(number) for number, name in enumerate(schema.names()) if name != str(number)}:
        frame = frame.rename(renamed)
    axis = _axis(value, limits) if index is not None else ""
    labels = _labels(names, limits)
    if axis and not limits.share_values:  # a pivot table's columns are values
        labels = [f"column {number}" for number in range(1, len(labels) + 1)]
    named = _named(labels, limits.about)
    outline = FrameSample(
        labels, _dtypes(native, schema, limits), _first(labels, named), named, index=index, axis=axis, notes=notes,
        is_series=is_series,
    )  # fmt: skip
    if isinstance(frame, narwhals.DataFrame):
        return _read(outline, frame, narwhals)
    return _related(outline, frame.to_native(), narwhals) if frame.implementation.is_duckdb() else outline


def column_names(value: Any, limits: Limits) -> list[str]:
    """Return the names of a table's columns, as they are shown; nothing is computed."""
    if is_series_like(value):
        name = getattr(value, "name", None)
        return [] if name is None else [as_label(name, limits)]
    if table_library(value) in WITH_INDEX and _axis(value, limits) and not limits.share_values:
        return ["a pivot table's, which are values"]
    if has(value, "collect_schema"):
        return [as_label(name, limits) for name in value.collect_schema().names()]
    names = value.column_names if has(value, "column_names") else value.columns
    return [as_label(name, limits) for name in names]


def values_of(frame: Any, number: int) -> list[Any]:
    """Return a column's values; where Python has no type for one, such as a year 99999, the library's text of each."""
    column = frame[str(number)]
    try:
        return column.to_list()  # type: ignore[no-any-return]
    except Exception as error:  # noqa: BLE001  # each library has its own
        import narwhals

        try:
            return column.cast(narwhals.String).to_list()  # type: ignore[no-any-return]
        except Exception:  # noqa: BLE001
            return [f"({type(error).__name__})"] * len(column)


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
    # An Enum's categories are values, and so is what a sparse column is filled with.
    text = re.sub(r"(?i)\benum\(.*", "Enum", str(dtype), flags=re.S)
    return limits.short(re.sub(r"(?s)(\bSparse\[\w+),.*\]", r"\1]", text), 50)


def _read(outline: FrameSample, frame: nw.DataFrame[Any], narwhals: Any) -> FrameSample:
    """Read all of a table, or a sample of it."""
    rows, columns = frame.shape
    outline = outline._replace(
        rows=rows,
        categories=_categories(frame, outline.chosen, narwhals),
        duplicates=_duplicates(frame),
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
        memory=f"~{_size(sample.estimated_size() * rows / len(sample))}",
    )


def _duplicates(frame: nw.DataFrame[Any]) -> int | None:
    rows, columns = frame.shape
    if not columns or rows * columns > COMPARED / (4 if frame.implementation.is_pyarrow() else 1):
        return None
    try:
        return rows - len(frame.unique())
    except Exception:  # noqa: BLE001  # lists have no hash, and each library has its own error for that
        return None


def _categories(frame: Any, chosen: Sequence[int], narwhals: Any) -> dict[int, tuple[Sequence[Any], bool]]:
    """Return the categories of pandas' categorical columns and of enumerations, which no other row may have."""
    found: dict[int, tuple[Sequence[Any], bool]] = {}
    dtypes = frame.schema.dtypes()
    for number in chosen:
        dtype = dtypes[number]
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
    edges = [len(frame) * part // parts for part in range(parts + 1)]
    places = random.Random(SEED)
    starts = [places.randint(low, max(low, high - length)) for low, high in pairwise(edges)]
    sample = narwhals.concat([frame[start : start + length] for start in starts])
    positions = [start + step for start in starts for step in range(length)]
    return sample, positions, f"{parts} seeded runs of {many(length, 'row')}"


def _affordable(frame: nw.DataFrame[Any], columns: int) -> int:
    """Rows that may become Python objects: fewer where they are long texts or nested."""
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
    dtypes = schema.dtypes()
    expressions: dict[int, list[Any]] = {}
    left = SCANNED
    for number in outline.chosen:
        is_object = isinstance(dtypes[number], narwhals.Object | narwhals.Unknown) or dtypes[number].is_nested()
        cost = rows * (OBJECT if is_object else 1)
        if cost <= left:
            left -= cost
            column = narwhals.col(str(number))
            if is_counted and dtypes[number].is_float() and not frame.implementation.is_pandas_like():
                column = column.fill_nan(None)  # pandas' NaN is null
            expressions[number] = _expressions(column, number, dtypes[number], is_counted and not is_object)
    computed = _figures(frame, [figure for figures in expressions.values() for figure in figures], narwhals)
    if computed is None:  # there is a column that a library cannot do it for
        computed = {}
        for number, figures in expressions.items():
            basic = figures[: len(_expressions(narwhals.col(str(number)), number, dtypes[number], False))]
            computed.update(_figures(frame, figures, narwhals) or _figures(frame, basic, narwhals) or {})
    if not is_counted and not frame.implementation.is_pandas_like():
        for number in expressions:
            if dtypes[number].is_float() and computed.get(f"mean {number}") is None:
                without = narwhals.col(str(number)).fill_nan(None)
                computed.update(_figures(frame, _expressions(without, number, dtypes[number], False), narwhals) or {})
    known = {number: _known(computed, number) for number in expressions}
    for number, found in known.items():
        if found.distinct is not None and found.distinct <= LEVELS:
            known[number] = found._replace(counts=_counts(frame, number))
    return {number: found for number, found in known.items() if found.nulls is not None}


def _expressions(column: Any, number: int, dtype: Any, is_counted: bool) -> list[Any]:
    """Return what computes the figures of a column; the first ones are those that are cheap."""
    figures = {"nulls": column.null_count()}
    if dtype.is_numeric() or dtype.is_temporal():
        figures |= {"low": column.min(), "high": column.max()}
    if dtype.is_numeric():
        figures["mean"] = column.mean()
    if is_counted:
        figures["distinct"] = column.n_unique()  # and one more where there is a null
        ticks = _ticks(column, dtype)
        if ticks is not None:
            figures |= {"first tick": ticks.min(), "median tick": ticks.quantile(0.5, interpolation="linear")}
        elif dtype.is_numeric():
            parts = {"q1": 0.25, "median": 0.5, "q3": 0.75}
            figures |= {"sd": column.std(), "zeros": (column == 0).sum()}
            figures |= {name: column.quantile(part, interpolation="linear") for name, part in parts.items()}
    return [figure.alias(f"{name} {number}") for name, figure in figures.items()]


def _ticks(column: Any, dtype: Any) -> Any:
    """Return moments or spans as microseconds, which have a median; None of other things."""
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
        figures["median"] = figures["low"] + dt.timedelta(microseconds=int(middle - first))
    if figures["distinct"] is not None:
        figures["distinct"] -= bool(figures["nulls"])
    return Figures(**figures)


def _counts(frame: Any, number: int) -> list[tuple[Any, int]] | None:
    """Count each value of a column that has few, the most frequent first; None where the library cannot."""
    import narwhals

    name = str(number)
    try:
        counted = frame.select(name).drop_nulls().group_by(name).agg(narwhals.len().alias("count"))
        counted = counted if isinstance(counted, narwhals.DataFrame) else counted.collect()
        pairs = zip(counted[name].to_list(), counted["count"].to_list(), strict=True)
        # Of values as frequent as one another, the order is that of their texts: a library's may be another each time.
        return sorted(((value, int(count)) for value, count in pairs), key=lambda pair: (-pair[1], str(pair[0])))
    except Exception:  # noqa: BLE001  # each library has its own
        return None


def _figures(frame: Any, expressions: list[Any], narwhals: Any) -> dict[str, Any] | None:
    """Compute figures by name; None where the library fails on one of them."""
    if not expressions:
        return {}
    try:
        computed = frame.select(*expressions)
        computed = computed if isinstance(computed, narwhals.DataFrame) else computed.collect()
        # Each from its own column: as a row, pandas would make floats of them all.
        values = {name: computed[name].item(0) for name in computed.columns}
    except Exception:  # noqa: BLE001  # each library has its own; the sample's figures will do
        return None
    return {name: None if is_null(value) else value for name, value in values.items()}


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if count >= 10 or unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
