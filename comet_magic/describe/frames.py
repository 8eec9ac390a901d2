"""A table of any library, read with narwhals: names, dtypes, some of its rows, and figures of all of them.

What is lazy is read for its schema, and never computed; but for a DuckDB relation, whose figures cost little.
"""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConfigError
from ..text import many
from .columns import is_null, plain
from .dependencies import SERIES, has, table_library
from .description import Limits, stable_repr

if TYPE_CHECKING:
    import narwhals as nw


WITH_INDEX = frozenset(("pandas", "modin", "cudf"))
COLUMNS = 60  # most that are described in full; about what a bound of some thousand tokens can hold
WHOLE = 500_000  # cells of these columns, up to which all are looked at: about 0.2 s
SAMPLE = 10_000  # rows of a larger table
RUNS = 250  # of neighbouring rows that a sample consists of; single rows would make pandas 3 copy whole columns of text
SCANNED = 300_000_000  # cells in which nulls, min, max and mean are looked for; about 0.5 s
OBJECT = 25  # how much longer that takes for a cell that is a Python object
LARGEST = 30_000_000  # bytes of a sample in its library's own form; as Python objects they are more
NESTED = 10  # how much more nested values are
SAMPLED = 100_000_000  # cells of a DuckDB relation, up to which it is sampled: that reads all of them once more
BLOCKS = 40_000  # rows of DuckDB's blocks, of which the sample is
SEED = 0


class FrameSample(NamedTuple):
    """names, dtypes: as they are shown.        rows: None where only the schema is known.

    frame: with the columns "0", "1", …, of all rows or of a sample's; None where only the schema is known.
    positions: of the frame's rows in the whole table; None where it has no order.
    how: what the sample is, in words; "" if it is no sample.
    exact: by column: (nulls, low, high, mean) of all rows.
    """

    names: Sequence[str]
    dtypes: Sequence[str]
    rows: int | None = None
    frame: nw.DataFrame[Any] | None = None
    positions: Sequence[int] | None = None
    how: str = ""
    exact: dict[int, tuple[int, Any, Any, Any]] = {}
    memory: str = ""
    index: Any = None
    axis: str = ""
    is_series: bool = False


def read(value: Any, limits: Limits) -> FrameSample:
    """Raises: ConfigError without narwhals; whatever the library raises about a table that is broken."""
    try:
        import narwhals
    except ImportError:
        raise ConfigError(
            "a table is described with narwhals, which is not installed", "pip install narwhals; nothing was sent"
        ) from None
    if table_library(value).startswith("dask"):
        # Its own frame of no rows knows the schema; nothing is computed.
        meta = value._meta.to_frame() if type(value).__name__ == "Series" else value._meta
        return FrameSample(_labels(meta.columns, limits), [_dtype(dtype, limits) for dtype in meta.dtypes])
    is_series = type(value).__name__ in SERIES
    if is_series:
        value = _as_frame(value, narwhals)
    elif type(value).__name__ == "RecordBatch":
        value = sys.modules["pyarrow"].Table.from_batches([value])
    index = value.index if table_library(value) in WITH_INDEX else None
    native, names = _renamed(value)
    frame: Any = narwhals.from_native(native)
    schema = frame.collect_schema()
    names = schema.names() if names is None else names
    if renamed := {name: str(number) for number, name in enumerate(schema.names()) if name != str(number)}:
        frame = frame.rename(renamed)
    axis = _axis(value, limits) if index is not None else ""
    outline = FrameSample(
        _labels(names, limits), _dtypes(native, schema, limits), index=index, axis=axis, is_series=is_series
    )
    if isinstance(frame, narwhals.DataFrame):
        return _sampled(outline, frame, narwhals)
    return _related(outline, frame.to_native(), narwhals) if frame.implementation.is_duckdb() else outline


def _renamed(value: Any) -> tuple[Any, Sequence[Any] | None]:
    """Return the table with the columns "0", "1", …, where names may be anything, or the same twice; and its names."""
    if table_library(value) in WITH_INDEX:
        names = list(value.columns)
        value = value.copy(deep=False)
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


def _axis(frame: Any, limits: Limits) -> str:
    """Return what the columns are, as a pivot table says."""
    names = [name for name in frame.columns.names if name is not None]
    return as_label(tuple(names), limits) if names else ""


def _as_frame(value: Any, narwhals: Any) -> Any:
    if table_library(value) in WITH_INDEX:
        return value.to_frame() if value.name is not None else value.to_frame("values")
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
    # An Enum's categories are values.
    return limits.short(re.sub(r"(?i)\benum\(.*", "Enum", str(dtype), flags=re.S), 50)


def _sampled(outline: FrameSample, frame: nw.DataFrame[Any], narwhals: Any) -> FrameSample:
    rows, columns = frame.shape
    outline = outline._replace(rows=rows)
    some = _affordable(frame, columns)
    if rows <= some and rows * min(columns, COLUMNS) <= WHOLE:
        memory = _size(frame.estimated_size()) if rows * columns <= 10 * WHOLE else ""
        return outline._replace(frame=frame, positions=range(rows), memory=memory)
    sample, positions, how = _chosen(frame, some, narwhals)
    return outline._replace(
        frame=sample,
        positions=positions,
        how=f"a sample of {len(sample):,} rows ({how})",
        exact=_exact(frame, frame.schema, rows, narwhals),
        memory=f"~{_size(sample.estimated_size() * rows / len(sample))}",
    )


def _chosen(frame: nw.DataFrame[Any], some: int, narwhals: Any) -> tuple[nw.DataFrame[Any], Sequence[int], str]:
    """Return at most `some` rows of a sample's, where they stand, and how they were chosen."""
    length = max(1, min(SAMPLE, some) // RUNS)
    stretches = min(RUNS, some, len(frame) // length)
    # Runs do not overlap, so that no row counts twice.
    starts = sorted(start * length for start in random.Random(SEED).sample(range(len(frame) // length), stretches))
    sample = narwhals.concat([frame[start : start + length] for start in starts])
    positions = [start + step for start in starts for step in range(length)]
    return sample, positions, f"{stretches} seeded runs of {many(length, 'row')}"


def _affordable(frame: nw.DataFrame[Any], columns: int) -> int:
    """Rows that may become Python objects: fewer where they are long texts or nested."""
    first = frame[:100]
    if len(frame) <= 1000 or not columns:
        return WHOLE
    is_nested = any(dtype.is_nested() for dtype in frame.schema.dtypes()[:COLUMNS])
    size = first.estimated_size() / len(first) * (NESTED if is_nested else 1)
    return max(1, int(LARGEST / max(1, size)))


def _related(outline: FrameSample, relation: Any, narwhals: Any) -> FrameSample:
    """Sample a DuckDB relation, which is a query: compute its size, its figures, and blocks of rows."""
    frame = narwhals.from_native(relation)
    rows = int(frame.select(narwhals.len()).collect().item())
    outline = outline._replace(rows=rows)
    if rows * min(len(outline.names), COLUMNS) <= WHOLE:
        return _sampled(outline, frame.collect(), narwhals)
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
        exact=_exact(frame, frame.collect_schema(), rows, narwhals),
    )


def _exact(frame: Any, schema: Any, rows: int, narwhals: Any) -> dict[int, tuple[int, Any, Any, Any]]:
    """Nulls, min, max and mean of all rows: of the first columns, as far as it stays cheap."""
    expressions: dict[int, list[Any]] = {}
    left = SCANNED
    for number, dtype in enumerate(schema.dtypes()[:COLUMNS]):
        is_object = isinstance(dtype, narwhals.Object | narwhals.Unknown) or dtype.is_nested()
        cost = rows * (OBJECT if is_object else 1)
        if cost <= left:
            left -= cost
            expressions[number] = _figure_expressions(narwhals.col(str(number)), number, dtype)
    computed = _figures(frame, [figure for figures in expressions.values() for figure in figures], narwhals)
    if computed is None:  # there is a column that a library cannot do it for
        computed = {}
        for figures in expressions.values():
            computed.update(_figures(frame, figures, narwhals) or {})
    if not frame.implementation.is_pandas_like():  # to which NaN is null
        for number in expressions:
            dtype = schema.dtypes()[number]
            if isinstance(dtype, narwhals.Float32 | narwhals.Float64) and computed.get(f"mean {number}") is None:
                without = narwhals.col(str(number)).fill_nan(None)
                computed.update(_figures(frame, _figure_expressions(without, number, dtype), narwhals) or {})
    names_of = ("nulls", "low", "high", "mean")
    figures_of: dict[int, Any] = {
        number: tuple(computed.get(f"{kind} {number}") for kind in names_of) for number in expressions
    }
    return {number: figures for number, figures in figures_of.items() if figures[0] is not None}


def _figure_expressions(column: Any, number: int, dtype: Any) -> list[Any]:
    expressions = [column.null_count().alias(f"nulls {number}")]
    if dtype.is_numeric() or dtype.is_temporal():
        expressions += [column.min().alias(f"low {number}"), column.max().alias(f"high {number}")]
    if dtype.is_numeric():
        expressions.append(column.mean().alias(f"mean {number}"))
    return expressions


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
