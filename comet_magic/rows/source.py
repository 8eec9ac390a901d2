"""The rows of a table of any library, column by column; and the same table with columns more.

Columns are read one by one and in parts, for whole rows would turn integers into floats, and missing values into words.
No library is imported: a table is at hand, and its module with it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..describe.dependencies import TABLE_LIBRARIES, has, is_series_like, table_library
from ..errors import ConfigError
from ..named_tuple import NamedTuple
from ..output.dataframes import Rows

PART = 1000  # rows that are read at once
SEED = 0
_LAZY = "collect it first, or ask for a part of it; nothing was sent"
_WHAT = "a DataFrame of pandas, polars or Dask, a pyarrow Table, a DuckDB relation, a column, or a list of dicts"


class Source(NamedTuple):
    """A table whose rows are asked about.

    library: "pandas" (also for its kin), "polars", "pyarrow", "duckdb" or "list".
    table: the rows as they were given, or those that were chosen.        names: of its columns.        size: its rows.
    """

    library: str
    table: Any
    names: Sequence[Any]
    size: int

    @property
    def taken(self) -> list[Any]:
        """The names that no new column may have."""
        return [name[0] if type(name) is tuple and self._levels > 1 else name for name in self.names]

    @property
    def _levels(self) -> int:
        return int(getattr(getattr(self.table, "columns", None), "nlevels", 1))

    def prepared(self, columns: Sequence[Any]) -> Source:
        """Return the source, ready to be read by these columns."""
        return self

    def part(self, columns: Sequence[Any], begin: int, end: int) -> dict[Any, list[Any]]:
        """Return the values of these columns in some of the rows, as Python's own."""
        return {name: self._values(name, begin, end) for name in columns}

    def _values(self, name: Any, begin: int, end: int) -> list[Any]:
        table = self.table
        if self.library == "list":
            return [row.get(name) for row in table[begin:end]]
        number = list(self.names).index(name)
        if self.library == "pandas":
            return list(table.iloc[begin:end, number].tolist())
        if self.library == "polars":
            return list(table[begin:end, number].to_list())
        return list(table.column(number).slice(begin, end - begin).to_pylist())

    def chosen(self, limit: int | None, sample: int | None) -> Source:
        """Return the source of the first rows, or of some at random, in their order and always the same ones."""
        check_choice(limit, sample)
        if limit is None and sample is None:
            return self
        if sample is not None:
            chosen = sorted(random.Random(SEED).sample(range(self.size), min(sample, self.size)))
        else:
            chosen = list(range(min(limit or 0, self.size)))
        if len(chosen) == self.size:
            return self
        return self._replace(table=_taken(self.library, self.table, chosen), size=len(chosen))

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        """Return the rows with further columns, each of the library's own kind; the table itself stays as it is."""
        match self.library:
            case "list":
                names = list(columns)
                added = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
                return Rows.of(
                    [{**row, **more} for row, more in zip(self.table, added, strict=True)],
                    {"properties": {str(name): {} for name in [*self.names, *names]}},
                )
            case "pandas":
                result = self.table.copy()
                below = ("",) * (self._levels - 1)  # columns may have names of several levels
                for name, values in columns.items():
                    result[(name, *below) if below else name] = values
                return result
            case "polars":
                return self.table.with_columns([values.alias(name) for name, values in columns.items()])
        result = self.table
        for name, values in columns.items():
            result = result.append_column(name, values)
        return sys.modules["duckdb"].from_arrow(result) if self.library == "duckdb" else result


def check_choice(limit: Any, sample: Any) -> None:
    """Raises: ConfigError for a choice of rows that is none."""
    for name, value in (("limit", limit), ("sample", sample)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ConfigError(f"{name} is a whole number from 1 on, not {value!r}", "nothing was sent")
    if limit is not None and sample is not None:
        raise ConfigError("limit and sample are two choices of rows", "nothing was sent; leave one of them out")


def _taken(library: str, table: Any, positions: list[int]) -> Any:
    if library == "list":
        return [table[position] for position in positions]
    if library == "pandas":
        return table.iloc[positions]
    return table[positions] if library == "polars" else table.take(positions)


def source_of(rows: Any) -> Source:
    """Return the source of a table. Raises: ConfigError for what has no rows, or would have to be computed."""
    library = table_library(rows)
    if library in ("pandas", "modin", "cudf"):
        frame = rows.to_frame(_series_name(rows)) if is_series_like(rows) else rows
        # Whoever changes the table in place afterwards moves no reply. From 3 on, pandas copies when it writes.
        is_shared = int(sys.modules["pandas"].__version__.split(".")[0]) < 3
        return _source("pandas", frame.copy(deep=is_shared), list(frame.columns), len(frame))
    if library == "polars" and not has(rows, "collect"):
        frame = rows.to_frame(_series_name(rows)) if is_series_like(rows) else rows
        return _source("polars", frame, list(frame.columns), frame.height)
    if library == "pyarrow" and has(rows, "num_columns"):
        table = rows if has(rows, "append_column") else sys.modules["pyarrow"].Table.from_batches([rows])
        return _source("pyarrow", table, list(table.column_names), table.num_rows)
    if library in ("duckdb", "_duckdb"):
        try:
            table = rows.to_arrow_table()
        except (ImportError, AttributeError) as error:
            what = "the rows of a DuckDB relation are read with pyarrow, which is not installed"
            raise ConfigError(what, "%pip install pyarrow; nothing was sent") from error
        return _source("duckdb", table, list(table.column_names), table.num_rows)
    if library == "narwhals":
        return source_of(rows.to_native())
    if library in TABLE_LIBRARIES:
        raise ConfigError(f"the rows of a {library} {type(rows).__name__} are not there yet", _LAZY)
    if isinstance(rows, list | tuple) and all(isinstance(row, Mapping) for row in rows):
        names = list(dict.fromkeys(name for row in rows for name in row))
        return _source("list", list(rows), names, len(rows))
    hint = "nothing was sent"
    if isinstance(rows, list | tuple) and all(isinstance(row, str) for row in rows):
        hint += "; pd.Series(texts) makes a column of texts"
    raise ConfigError(f"rows are {_WHAT}, and not a {type(rows).__name__}", hint)


def _source(library: str, table: Any, names: list[Any], size: int) -> Source:
    return Source(library, table, names, size)


def _series_name(series: Any) -> Any:
    name = getattr(series, "name", None)
    return "value" if name in (None, "") else name
