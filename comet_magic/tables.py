"""A table of any library → one compact card, from which a model can reason without seeing the rows.

Through narwhals, so that pandas, polars, pyarrow, modin, cuDF and DuckDB relations take the same way; what is lazy is
described by its schema, and never computed. Exact where that is cheap; else of a seeded sample, and marked so.
"""

from __future__ import annotations

import random
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from .cards import Bounds, Description, Room, many, stable_repr
from .columns import Column, is_null, plain, shown
from .errors import ConfigError
from .kinds import SERIES, has, table_library, type_name
from .prices import estimated_tokens

if TYPE_CHECKING:
    import narwhals as nw

WITH_INDEX = frozenset(("pandas", "modin", "cudf"))
WHOLE = 500_000  # cells of the described columns, up to which all are looked at: about 0.2 s
SAMPLE = 10_000  # rows of a larger table
RUNS = 250  # of neighbouring rows that a sample consists of; single rows would make pandas 3 copy whole columns of text
SCANNED = 300_000_000  # cells in which nulls, min and max are looked for; about 0.5 s
LARGEST = 30_000_000  # bytes of a sample in its library's own form; as Python objects they are more
NESTED = 10  # how much more nested values are
OBJECT = 25  # how much longer that takes for a cell that is a Python object
COLUMNS = 60  # most that are described in full; about what a bound of some thousand tokens can hold
BRIEF_HEAD = 25  # tokens of the words before a list of columns without figures
ROWS = 5  # of the sample, that are shown
SMALL = 40  # rows of a table that are all shown, where they fit
SAMPLED = 100_000_000  # cells of a DuckDB relation, up to which it is sampled: that reads all of them once more
BLOCKS = 40_000  # rows of DuckDB's blocks, of which the sample is
SEED = 0


def is_table(value: object) -> bool:
    """Whether it is a table or a series of one."""
    return bool(table_library(value)) or has(value, "__narwhals_dataframe__")


def table(value: Any, bounds: Bounds) -> Description:
    """Raises: ConfigError without narwhals; whatever the library raises about a table that is broken."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about one another; nobody would know whose
        card = _Card(_read(value, bounds), bounds)
        text = bounds.fitted(card.text(), bounds.table_tokens)
    return Description(type_name(value), text, f"{card.size}, card of {estimated_tokens(text):,} tokens")


# ---- what is read of it


class _Table(NamedTuple):
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


def _read(value: Any, bounds: Bounds) -> _Table:
    try:
        import narwhals
    except ImportError:
        raise ConfigError(
            "a table is described with narwhals, which is not installed", "pip install narwhals; nothing was sent"
        ) from None
    if table_library(value).startswith("dask"):
        # Its own frame of no rows knows the schema; nothing is computed.
        meta = value._meta.to_frame() if type(value).__name__ == "Series" else value._meta
        return _Table(_labels(meta.columns, bounds), [_dtype(dtype, bounds) for dtype in meta.dtypes])
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
    frame = frame.rename({name: str(place) for place, name in enumerate(schema.names()) if name != str(place)})
    axis = _axis(value, bounds) if index is not None else ""
    told = _Table(_labels(names, bounds), _dtypes(native, schema, bounds), index=index, axis=axis, is_series=is_series)
    if isinstance(frame, narwhals.DataFrame):
        return _sampled(told, frame, narwhals)
    return _related(told, frame.to_native(), narwhals) if frame.implementation.is_duckdb() else told


def _renamed(value: Any) -> tuple[Any, Sequence[Any] | None]:
    """The table with the columns "0", "1", …, where names may be anything, or the same twice; and its names."""
    if table_library(value) in WITH_INDEX:
        names = list(value.columns)
        value = value.copy(deep=False)
        value.columns = [str(place) for place in range(len(names))]
        value.attrs = {}  # which are compared when samples are put together, and may be arrays
        return value, names
    if has(value, "rename_columns"):
        names = list(value.column_names)
        return value.rename_columns([str(place) for place in range(len(names))]), names
    if has(value, "project", "create_view"):
        names = list(value.columns)
        return value.project(", ".join(f'#{place + 1} AS "{place}"' for place in range(len(names)))), names
    return value, None


def _axis(frame: Any, bounds: Bounds) -> str:
    """What the columns are, as a pivot table says."""
    names = [name for name in frame.columns.names if name is not None]
    return _label(tuple(names), bounds) if names else ""


def _as_frame(value: Any, narwhals: Any) -> Any:
    if table_library(value) in WITH_INDEX:
        return value.to_frame() if value.name is not None else value.to_frame("values")
    series = narwhals.from_native(value, series_only=True)
    return (series if series.name else series.alias("values")).to_frame().to_native()


def _labels(names: Iterable[Any], bounds: Bounds) -> list[str]:
    """As they are shown; columns of the same name with a number each."""
    labels = [_label(name, bounds) for name in names]
    seen: Counter[str] = Counter()
    counts = Counter(labels)
    told = []
    for label in labels:
        seen[label] += 1
        told.append(f"{label} [{seen[label]}]" if counts[label] > 1 else label)
    return told


def _label(name: Any, bounds: Bounds) -> str:
    parts = name if isinstance(name, tuple) else (name,)
    texts = [part if isinstance(part, str) else stable_repr(plain(part)) for part in parts]
    return bounds.short(" / ".join(texts), 60) or '""'


def _dtypes(value: Any, schema: Any, bounds: Bounds) -> list[str]:
    """In the library's own words, as far as it has a list of them."""
    dtypes = getattr(value, "dtypes", None)
    if dtypes is None or isinstance(dtypes, dict) or callable(dtypes):
        dtypes = getattr(getattr(value, "schema", None), "types", None)
    return [_dtype(dtype, bounds) for dtype in (schema.dtypes() if dtypes is None else dtypes)]


def _dtype(dtype: Any, bounds: Bounds) -> str:
    # An Enum's categories are values.
    return bounds.short(re.sub(r"(?i)\benum\(.*", "Enum", str(dtype), flags=re.S), 50)


def _sampled(told: _Table, frame: nw.DataFrame[Any], narwhals: Any) -> _Table:
    rows, columns = frame.shape
    told = told._replace(rows=rows)
    some = _affordable(frame, columns)
    if rows <= some and rows * min(columns, COLUMNS) <= WHOLE:
        memory = _size(frame.estimated_size()) if rows * columns <= 10 * WHOLE else ""
        return told._replace(frame=frame, positions=range(rows), memory=memory)
    sample, positions, how = _chosen(frame, some, narwhals)
    return told._replace(
        frame=sample,
        positions=positions,
        how=f"a sample of {len(sample):,} rows ({how})",
        exact=_exact(frame, frame.schema, rows, narwhals),
        memory=f"~{_size(sample.estimated_size() * rows / len(sample))}",
    )


def _chosen(frame: nw.DataFrame[Any], some: int, narwhals: Any) -> tuple[nw.DataFrame[Any], Sequence[int], str]:
    """At most `some` rows of a sample's, where they stand, and how they were chosen."""
    runs = min(RUNS, some)
    length = min(SAMPLE, some) // runs
    # Runs do not overlap, so that no row counts twice.
    starts = sorted(start * length for start in random.Random(SEED).sample(range(len(frame) // length), runs))
    sample = narwhals.concat([frame[start : start + length] for start in starts])
    positions = [start + step for start in starts for step in range(length)]
    return sample, positions, f"{runs} seeded runs of {many(length, 'row')}"


def _affordable(frame: nw.DataFrame[Any], columns: int) -> int:
    """Rows that may become Python objects: fewer where they are long texts or nested."""
    first = frame[:100]
    if len(frame) <= 1000 or not columns:
        return WHOLE
    is_nested = any(dtype.is_nested() for dtype in frame.schema.dtypes()[:COLUMNS])
    size = first.estimated_size() / len(first) * (NESTED if is_nested else 1)
    return max(1, int(LARGEST / max(1, size)))


def _related(told: _Table, relation: Any, narwhals: Any) -> _Table:
    """A DuckDB relation, which is a query: asked for its size, its figures, and blocks of rows chosen by a seed."""
    frame = narwhals.from_native(relation)
    rows = int(frame.select(narwhals.len()).collect().item())
    told = told._replace(rows=rows)
    if rows * min(len(told.names), COLUMNS) <= WHOLE:
        return _sampled(told, frame.collect(), narwhals)
    blocks, how = frame.head(SAMPLE).collect(), "the first ones, which may be unlike the others"
    if rows * len(told.names) <= SAMPLED:
        part = min(100.0, 100 * BLOCKS / rows)
        chosen = relation.query("relation", f"SELECT * FROM relation USING SAMPLE {part:.6f}% (system, {SEED})")
        found = narwhals.from_native(chosen).collect()
        if len(found) >= SAMPLE:
            blocks, how = found, "of blocks chosen by a seed"
    sample, _, _ = _chosen(blocks, _affordable(blocks, len(told.names)), narwhals)
    return told._replace(
        frame=sample,
        how=f"a sample of {len(sample):,} rows ({how})",
        exact=_exact(frame, frame.collect_schema(), rows, narwhals),
    )


def _exact(frame: Any, schema: Any, rows: int, narwhals: Any) -> dict[int, tuple[int, Any, Any, Any]]:
    """Nulls, min, max and mean of all rows: of the first columns, as far as it stays cheap."""
    asked: dict[int, list[Any]] = {}
    left = SCANNED
    for place, dtype in enumerate(schema.dtypes()[:COLUMNS]):
        is_object = isinstance(dtype, narwhals.Object | narwhals.Unknown) or dtype.is_nested()
        cost = rows * (OBJECT if is_object else 1)
        if cost > left:
            continue
        left -= cost
        column = narwhals.col(str(place))
        asked[place] = [column.null_count().alias(f"nulls {place}")]
        if isinstance(dtype, narwhals.Float32 | narwhals.Float64) and not frame.implementation.is_pandas_like():
            asked[place].append(column.is_nan().sum().alias(f"nan {place}"))  # which pandas counts as null
            if frame.implementation.is_duckdb():  # where it is larger than all numbers
                column = column.fill_nan(None)
        if dtype.is_numeric() or dtype.is_temporal():
            asked[place] += [column.min().alias(f"low {place}"), column.max().alias(f"high {place}")]
        if dtype.is_numeric():
            asked[place].append(column.mean().alias(f"mean {place}"))
    found = _figures(frame, [figure for figures in asked.values() for figure in figures], narwhals)
    if found is None:  # there is a column that a library cannot do it for
        found = {}
        for figures in asked.values():
            found.update(_figures(frame, figures, narwhals) or {})
    return {
        place: (
            int(found[f"nulls {place}"] + (found.get(f"nan {place}") or 0)),
            found.get(f"low {place}"),
            found.get(f"high {place}"),
            found.get(f"mean {place}"),
        )
        for place in asked
        if f"nulls {place}" in found
    }


def _figures(frame: Any, asked: list[Any], narwhals: Any) -> dict[str, Any] | None:
    """By name; None where the library fails on one of them."""
    if not asked:
        return {}
    try:
        found = frame.select(*asked)
        found = found if isinstance(found, narwhals.DataFrame) else found.collect()
        # Each from its own column: as a row, pandas would make floats of them all.
        values = {name: found[name].item(0) for name in found.columns}
    except Exception:  # noqa: BLE001  # each library has its own; the sample's figures will do
        return None
    return {name: None if is_null(value) else value for name, value in values.items()}


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
        axis = f"columns named {told.axis}" if told.axis else ""
        parts = [f"{many(told.rows, 'row')} × {many(len(told.names), 'column')}", axis, told.memory, *self._index()]
        yield " · ".join(filter(None, parts))
        if told.how:
            yield (
                f"Rows, nulls, min, max and mean are exact unless marked; figures marked ~ or ≥, and the rows below, "
                f"are of {told.how}."
            )
        if not self._bounds.share_values:
            yield "Schema and statistics only; cell values are not shared."

    def _index(self) -> Iterator[str]:
        """Of pandas and its kin, unless it only counts."""
        index = self._told.index
        if index is None or type(index).__name__ == "RangeIndex":
            return
        kind = type(index).__name__
        names = [_label(name, self._bounds) if name is not None else "" for name in index.names]
        if hasattr(index, "levels"):
            levels = (index.remove_unused_levels() if len(index) <= WHOLE else index).levels
            sizes = zip(names, levels, strict=True)
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
        bounds = self._bounds
        return " / ".join(bounds.short(part) if isinstance(part, str) else shown(part, bounds) for part in parts)

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
            fits = costs[at] + BRIEF_HEAD <= room.tokens - rows_part
            self._add_brief(room, brief[at:], dtypes[at:], len(in_full), rows_part if in_full and fits else 0)
        return in_full

    def _add_brief(self, room: Room, brief: list[str], dtypes: Sequence[str], before: int, rows_part: int) -> None:
        left = room.tokens - rows_part - BRIEF_HEAD
        if sum(estimated_tokens(f"{text}, ") for text in brief) > left:
            left -= BRIEF_HEAD
        named = []
        for text in brief:
            left -= estimated_tokens(f"{text}, ")
            if left < 0:
                break
            named.append(text)
        more = f"{many(len(named), 'more column')}, for want of room without figures: " if before else ""
        if named:
            room.add(f"{more}{', '.join(named)}")
        if unnamed := dtypes[len(named) :]:
            kinds = ", ".join(f"{dtype} × {count:,}" for dtype, count in Counter(unnamed).most_common(3))
            room.add(f"… and {many(len(unnamed), 'more column')} not named here: {kinds}")

    def _column(self, place: int) -> Column:
        told = self._told
        nulls, low, high, mean = told.exact.get(place, (None, None, None, None))
        name, dtype = told.names[place], told.dtypes[place]
        return Column(name, dtype, told.rows or 0, self._cells(place), bool(told.how), nulls, low, high, mean)

    def _cells(self, place: int) -> list[Any]:
        if place not in self._values:
            assert self._told.frame is not None
            try:
                self._values[place] = self._told.frame[str(place)].to_list()
            except Exception as error:  # noqa: BLE001  # values that Python has no type for, such as a year 99999
                self._values[place] = [f"({type(error).__name__})"] * len(self._told.frame)
        return self._values[place]

    def _add_rows(self, room: Room, columns: list[int]) -> None:
        """All rows of a small table that has room for them, else a few."""
        assert self._told.frame is not None
        count = len(self._told.frame)
        which = "" if len(columns) == len(self._told.names) else f", of the first {many(len(columns), 'column')}"
        names = " | ".join(self._told.names[place] for place in columns)
        everything = [self._line(row, columns) for row in range(count)] if count <= SMALL else []
        head = f"all rows{which}: row | {names}"
        if everything and not self._told.how and estimated_tokens("\n".join([head, *everything, ""])) < room.tokens:
            for line in [head, *everything]:
                room.add(line)
            return
        chosen = sorted(random.Random(SEED).sample(range(count), min(ROWS, count)))
        lines = [self._line(row, columns) for row in chosen]
        head = f"{many(len(chosen), 'row')}, chosen by a seed{which}: row | {names}"
        if lines and estimated_tokens(head) + estimated_tokens(lines[0]) < room.tokens:
            room.add(head)
            for line in lines:
                room.add(line)

    def _line(self, row: int, columns: list[int]) -> str:
        positions = self._told.positions
        return " | ".join(["·" if positions is None else self._row_name(positions[row]), *self._row(row, columns)])

    def _row(self, row: int, columns: list[int]) -> Iterator[str]:
        for place in columns:
            value = self._cells(place)[row]
            text = isinstance(value, str)
            yield self._bounds.short(value) if text else "null" if is_null(value) else shown(value, self._bounds)
