"""A table of any library → one compact card, from which a model can reason without seeing the rows.

Through narwhals, so that pandas, polars, pyarrow, modin, cuDF and DuckDB relations take the same way; what is lazy is
described by its schema, and never computed. Exact where that is cheap; else of a seeded sample, and marked so.
"""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from .cards import Bounds, Description, Room, cut, many, type_name
from .columns import Column, is_null, shown
from .errors import ConfigError
from .prices import estimated_tokens

if TYPE_CHECKING:
    import narwhals as nw

LIBRARIES = frozenset(
    "narwhals pandas polars pyarrow modin cudf duckdb _duckdb dask dask_expr pyspark ibis sqlframe".split()
)
WITH_INDEX = frozenset(("pandas", "modin", "cudf"))
SERIES = ("Series", "ChunkedArray")
WHOLE = 500_000  # cells of the described columns, up to which all are looked at: about 0.2 s
SAMPLE = 10_000  # rows of a larger table
RUNS = 50  # of neighbouring rows that a sample consists of; single rows would make pandas 3 copy whole columns of text
SCANNED = 300_000_000  # cells in which nulls, min and max are looked for; about 0.5 s
OBJECT = 25  # how much longer that takes for a cell that is a Python object
COLUMNS = 60  # most that are described in full; about what a bound of some thousand tokens can hold
BRIEF_HEAD = 25  # tokens of the words before a list of columns without figures
ROWS = 5  # of the sample, that are shown
SEED = 0


def is_table(value: object) -> bool:
    """Whether it is a table or a series of one, without importing anything."""
    return bool(_library(value)) or hasattr(value, "__narwhals_dataframe__")


def _library(value: object) -> str:
    """The library whose table it is; "" for other things."""
    homes = [(kind.__module__.split(".")[0], kind.__name__) for kind in type(value).__mro__]
    return next((home for home, name in homes if home in LIBRARIES and name in _KINDS), "")


_KINDS = (*SERIES, "DataFrame", "LazyFrame", "Table", "DuckDBPyRelation", "RecordBatch")


def table(value: Any, bounds: Bounds) -> Description:
    """Raises: ConfigError without narwhals; whatever the library raises about a table that is broken."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about one another; nobody would know whose
        card = _Card(_read(value), bounds)
        text = bounds.fitted(card.text(), bounds.table_tokens)
    return Description(type_name(value), text, f"{card.size}, card of {estimated_tokens(text):,} tokens")


# ---- what is read of it


class _Table(NamedTuple):
    """names, dtypes: as they are shown.        rows: None where only the schema is known.

    frame: with the columns "0", "1", …, of all rows or of a sample's; None where only the schema is known.
    positions: of the frame's rows in the whole table.        how: what the sample is, in words; "" if it is no sample.
    exact: by column: (nulls, low, high) of all rows.
    """

    names: Sequence[str]
    dtypes: Sequence[str]
    rows: int | None = None
    frame: nw.DataFrame[Any] | None = None
    positions: Sequence[int] = ()
    how: str = ""
    exact: dict[int, tuple[int, Any, Any]] = {}
    memory: str = ""
    index: Any = None
    is_series: bool = False


def _read(value: Any) -> _Table:
    try:
        import narwhals
    except ImportError:
        raise ConfigError(
            "a table is described with narwhals, which is not installed", "pip install narwhals; nothing was sent"
        ) from None
    if type(value).__module__.startswith("dask"):
        # Its own frame of no rows knows the schema; nothing is computed.
        meta = value._meta.to_frame() if type(value).__name__ == "Series" else value._meta
        return _Table([_label(name) for name in meta.columns], [str(dtype) for dtype in meta.dtypes])
    is_series = type(value).__name__ in SERIES
    if is_series:
        value = _as_frame(value, narwhals)
    elif type(value).__name__ == "RecordBatch":
        value = _as_table(value)
    labels = index = None
    if _library(value) in WITH_INDEX:  # where names may be anything, and the same twice
        labels, index = [_label(name) for name in value.columns], value.index
        value = value.copy(deep=False)
        value.columns = [str(place) for place in range(len(labels))]
    elif hasattr(value, "rename_columns"):
        labels = [_label(name) for name in value.column_names]
        value = value.rename_columns([str(place) for place in range(len(labels))])
    frame: Any = narwhals.from_native(value)
    schema = frame.collect_schema()
    dtypes = _dtypes(value, schema)
    labels = labels if labels is not None else [_label(name) for name in schema.names()]
    frame = frame.rename({name: str(place) for place, name in enumerate(schema.names()) if name != str(place)})
    described = _Table(_told_apart(labels), dtypes, index=index, is_series=is_series)
    if isinstance(frame, narwhals.DataFrame):
        return _sampled(described, frame, narwhals)
    if frame.implementation.is_duckdb():
        return _first_rows(described, frame, narwhals)
    return described


def _as_frame(value: Any, narwhals: Any) -> Any:
    if _library(value) in WITH_INDEX:
        return value.to_frame() if value.name is not None else value.to_frame("values")
    series = narwhals.from_native(value, series_only=True)
    return (series if series.name else series.alias("values")).to_frame().to_native()


def _as_table(batch: Any) -> Any:
    import sys

    return sys.modules["pyarrow"].Table.from_batches([batch])


def _label(name: Any) -> str:
    """The name of a column, or of a row."""
    parts = name if isinstance(name, tuple) else (name,)
    return cut(" / ".join(map(str, parts)), 60) or '""'


def _told_apart(labels: list[str]) -> list[str]:
    """Columns of the same name, with a number each."""
    seen: Counter[str] = Counter()
    counts = Counter(labels)
    told = []
    for label in labels:
        seen[label] += 1
        told.append(f"{label} [{seen[label]}]" if counts[label] > 1 else label)
    return told


def _dtypes(value: Any, schema: Any) -> list[str]:
    """In the library's own words, as far as it has a list of them."""
    dtypes = getattr(value, "dtypes", None)
    if dtypes is None or isinstance(dtypes, dict) or callable(dtypes):
        dtypes = getattr(getattr(value, "schema", None), "types", None)
    if dtypes is None:
        dtypes = schema.dtypes()
    return [cut(str(dtype), 50) for dtype in dtypes]


def _sampled(told: _Table, frame: nw.DataFrame[Any], narwhals: Any) -> _Table:
    rows, columns = frame.shape
    told = told._replace(rows=rows)
    if rows * min(columns, COLUMNS) <= WHOLE:
        memory = _size(frame.estimated_size()) if rows * columns <= 10 * WHOLE else ""
        return told._replace(frame=frame, positions=range(rows), memory=memory)
    length = SAMPLE // RUNS
    # Runs do not overlap, so that no row counts twice.
    starts = sorted(start * length for start in random.Random(SEED).sample(range(rows // length), RUNS))
    sample = narwhals.concat([frame[start : start + length] for start in starts])
    return told._replace(
        frame=sample,
        positions=[start + step for start in starts for step in range(length)],
        how=f"{RUNS} seeded runs of {length} rows",
        exact=_exact(frame, frame.schema, rows, narwhals),
        memory=f"~{_size(sample.estimated_size() * rows / len(sample))}",
    )


def _first_rows(told: _Table, frame: Any, narwhals: Any) -> _Table:
    """A DuckDB relation: its figures are asked for, and its first rows; others would cost a pass through all."""
    rows = int(frame.select(narwhals.len()).collect().item())
    told = told._replace(rows=rows)
    if rows * min(len(told.names), COLUMNS) <= WHOLE:
        return told._replace(frame=frame.collect(), positions=range(rows))
    sample = frame.head(SAMPLE).collect()
    how = f"the first {SAMPLE:,} rows"
    exact = _exact(frame, frame.collect_schema(), rows, narwhals)
    return told._replace(frame=sample, positions=range(SAMPLE), how=how, exact=exact)


def _exact(frame: Any, schema: Any, rows: int, narwhals: Any) -> dict[int, tuple[int, Any, Any]]:
    """Nulls, min and max of all rows: of the first columns, as far as it stays cheap."""
    asked, left = [], SCANNED
    for place, dtype in enumerate(schema.dtypes()[:COLUMNS]):
        is_object = isinstance(dtype, narwhals.Object | narwhals.Unknown) or dtype.is_nested()
        cost = rows * (OBJECT if is_object else 1)
        if cost > left:
            continue
        left -= cost
        column = narwhals.col(str(place))
        asked.append(column.null_count().alias(f"nulls {place}"))
        if isinstance(dtype, narwhals.Float32 | narwhals.Float64) and not frame.implementation.is_pandas_like():
            asked.append(column.is_nan().sum().alias(f"nan {place}"))  # which pandas counts as null
            if frame.implementation.is_duckdb():  # where it is larger than all numbers
                column = column.fill_nan(None)
        if dtype.is_numeric() or dtype.is_temporal():
            asked += [column.min().alias(f"low {place}"), column.max().alias(f"high {place}")]
    if not asked:
        return {}
    found = frame.select(*asked)
    row = (found if isinstance(found, narwhals.DataFrame) else found.collect()).row(0)
    values = dict(zip(found.columns, row, strict=True))
    values = {name: None if is_null(value) else value for name, value in values.items()}
    places = [int(name.split()[1]) for name in values if name.startswith("nulls")]
    return {
        place: (
            int(values[f"nulls {place}"] + (values.get(f"nan {place}") or 0)),
            values.get(f"low {place}"),
            values.get(f"high {place}"),
        )
        for place in places
    }


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if count >= 10 or unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


# ---- what is said of it


class _Card:
    def __init__(self, told: _Table, bounds: Bounds) -> None:
        self._told, self._bounds = told, bounds
        self._values: dict[int, list[Any]] = {}

    @property
    def size(self) -> str:
        rows, columns = self._told.rows, len(self._told.names)
        if rows is None:
            return f"{many(columns, 'column')}, not computed"
        return many(rows, "value") if self._told.is_series else f"{rows:,} × {columns:,}"

    def text(self) -> str:
        room = Room(self._bounds.table_tokens)
        for line in self._head():
            room.add(line)
        in_full = self._add_columns(room)
        if self._bounds.share_values and self._told.frame is not None and in_full:
            self._add_rows(room, in_full)
        return str(room)

    def _head(self) -> Iterator[str]:
        told = self._told
        if told.rows is None:
            size = many(len(told.names), "column")
            yield f"{size}; rows not counted: it is lazy, and was not computed. Name (dtype):"
            return
        parts = [f"{many(told.rows, 'row')} × {many(len(told.names), 'column')}", told.memory, *self._index()]
        yield " · ".join(filter(None, parts))
        if told.how:
            yield (
                f"Rows, nulls, min and max are exact unless marked; figures marked ~, ≥, the examples and the rows "
                f"below are of a sample of {len(told.positions):,} rows ({told.how})."
            )
        if not self._bounds.share_values:
            yield "Schema and statistics only; cell values are not shared."

    def _index(self) -> Iterator[str]:
        """Of pandas and its kin, unless it only counts."""
        index = self._told.index
        if index is None or type(index).__name__ == "RangeIndex":
            return
        kind = type(index).__name__
        names = [_label(name) if name is not None else "" for name in index.names]
        if hasattr(index, "levels"):
            sizes = zip(names, index.levels, strict=True)
            names = [", ".join(f"{name or 'unnamed'} ({len(level):,} distinct)" for name, level in sizes)]
        else:
            kind += f" ({index.dtype})"
        yield f"index: {' '.join(filter(None, [*names, kind]))}"
        if self._bounds.share_values and len(index):
            yield f"from {self._row_name(0)} to {self._row_name(len(index) - 1)}"

    def _row_name(self, position: int) -> str:
        """Its label where there are labels that mean something, else where it stands."""
        index = self._told.index
        if index is None or type(index).__name__ == "RangeIndex":
            return str(position)
        label = index[position]
        parts = label if isinstance(label, tuple) else (label,)
        return " / ".join(part if isinstance(part, str) else shown(part, self._bounds) for part in parts)

    def _add_columns(self, room: Room) -> list[int]:
        """Each in full, as long as there is room for the others' names. Returns: which are in full."""
        names, dtypes = self._told.names, self._told.dtypes
        brief = [f"{name} ({dtype})" for name, dtype in zip(names, dtypes, strict=True)]
        costs = list(accumulate((estimated_tokens(f"{text}, ") for text in reversed(brief)), initial=0))[::-1]
        at, in_full = 0, []
        total = room.tokens
        rows_part = total // 4 if self._bounds.share_values else 0
        while self._told.frame is not None and at < min(len(names), COLUMNS):
            line = self._column(at).line(self._bounds)
            reserved = rows_part + min(costs[at + 1] + (BRIEF_HEAD if costs[at + 1] else 0), total // 3)
            if room.tokens - estimated_tokens(line) < reserved or not room.add(f"- {line}"):
                break
            in_full.append(at)
            at += 1
        if at < len(names):
            self._add_brief(room, brief[at:], dtypes[at:], len(in_full), rows_part if in_full else 0)
        return in_full

    def _add_brief(self, room: Room, brief: list[str], dtypes: Sequence[str], before: int, rows_part: int) -> None:
        kinds = ", ".join(f"{dtype} × {count:,}" for dtype, count in Counter(dtypes).most_common(8))
        last = f"… and {len(brief):,} more columns that are not named here: {kinds}"
        left = room.tokens - rows_part - BRIEF_HEAD
        if sum(estimated_tokens(f"{text}, ") for text in brief) > left:
            left -= estimated_tokens(last)
        named = []
        for text in brief:
            left -= estimated_tokens(f"{text}, ")
            if left < 0:
                break
            named.append(text)
        more = f"{many(len(named), 'more column')}, for want of room without figures: " if before else ""
        if named:
            room.add(f"{more}{', '.join(named)}")
        if len(named) < len(brief):
            room.add(last.replace(f"{len(brief):,}", f"{len(brief) - len(named):,}", 1))

    def _column(self, place: int) -> Column:
        told = self._told
        nulls, low, high = told.exact.get(place, (None, None, None))
        return Column(
            told.names[place], told.dtypes[place], told.rows or 0, self._cells(place), bool(told.how), nulls, low, high
        )

    def _cells(self, place: int) -> list[Any]:
        if place not in self._values:
            assert self._told.frame is not None
            self._values[place] = self._told.frame[str(place)].to_list()
        return self._values[place]

    def _add_rows(self, room: Room, columns: list[int]) -> None:
        count = len(self._told.positions)
        if not count:
            return
        chosen = sorted(random.Random(SEED).sample(range(count), min(ROWS, count)))
        some = "all rows" if len(chosen) == self._told.rows else f"{len(chosen)} of the rows, chosen by a seed"
        which = "" if len(columns) == len(self._told.names) else f", of the first {len(columns)} columns"
        head = f"{some}{which}: index | {' | '.join(self._told.names[place] for place in columns)}"
        lines = [" | ".join([self._row_name(self._told.positions[row]), *self._row(row, columns)]) for row in chosen]
        if estimated_tokens(head) + estimated_tokens(lines[0]) < room.tokens:
            room.add(head)
            for line in lines:
                room.add(line)

    def _row(self, row: int, columns: list[int]) -> Iterator[str]:
        for place in columns:
            value = self._cells(place)[row]
            text = isinstance(value, str)
            yield self._bounds.short(value) if text else "null" if is_null(value) else shown(value, self._bounds)
