"""A tool that answers questions about tables too large to be sent: read-only SQL, by DuckDB, over what a prompt named.

Nothing else is there: no files, no network, no other variable, no extension; and rows, time and memory have limits.
"""

from __future__ import annotations

import csv
import io
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from .errors import ConfigError
from .kinds import SERIES, table_library

MOST_ROWS = 200
MEMORY = "1GB"
PATIENCE_S = 2.0  # seconds for DuckDB to notice that it is stopped; what does not is left behind
LIBRARIES = ("pandas", "polars", "pyarrow")
# What makes values of any size within one step, where neither limit reaches.
_UNBOUNDED = frozenset("repeat lpad rpad range generate_series array_resize list_resize bar format printf".split())
_LOCKED = {
    "memory_limit": MEMORY,
    "temp_directory": "",
    "python_enable_replacements": False,
    "python_scan_all_frames": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}


class Query:
    """`%%claude --tools query`: the model may ask the tables of the prompt by SQL. Safe: it runs without asking."""

    __name__ = "query"

    def over(self, tables: Mapping[str, Any], limit_s: float) -> TableQuery:
        """As it is offered with one question. Raises: ConfigError when there is nothing to query."""
        usable = {name: table for name, table in tables.items() if table_library(table) in LIBRARIES}
        usable = {name: table for name, table in usable.items() if type(table).__name__ not in (*SERIES, "LazyFrame")}
        if not usable:
            raise ConfigError(
                "query has no table: it reads DataFrames of pandas and polars, and Arrow tables, that the prompt names",
                "nothing was sent; name one in the prompt, as {{df}}",
            )
        return TableQuery(usable, limit_s)

    def __call__(self, sql: str) -> str:
        raise ConfigError("query runs over the tables that a prompt names", "%%claude --tools query, with {{df}} below")


class TableQuery:
    """The tool `query`, over given tables by name."""

    __name__ = "query"
    _comet_magic_is_safe = True

    def __init__(self, tables: Mapping[str, Any], limit_s: float) -> None:
        self._tables = tables
        self._limit_s = limit_s
        _duckdb()
        names = ", ".join(f'"{name}"' for name in tables)
        self.__doc__ = (
            f"Run one SELECT, in DuckDB's SQL, over the tables {names}, all rows of them. Returns CSV, at most"
            f" {MOST_ROWS} rows: aggregate and LIMIT. Nothing can be written, and nothing else read."
        )

    def __call__(self, sql: str) -> str:
        """Raises: whatever DuckDB says; PermissionError for what is no lone SELECT; TimeoutError."""
        connection = _locked(self._tables)
        ended: list[tuple[str, BaseException | None]] = []

        def run() -> None:
            try:
                ended.append((_asked(connection, sql), None))
            except Exception as error:  # noqa: BLE001  # it is raised again, below
                ended.append(("", error))

        thread = threading.Thread(target=run, daemon=True)  # for DuckDB hears no alarm, and no interrupt of the kernel
        thread.start()
        until = time.monotonic() + self._limit_s
        try:
            while thread.is_alive() and time.monotonic() < until:
                thread.join(0.05)
        finally:
            if thread.is_alive():
                connection.interrupt()
                thread.join(PATIENCE_S)
            if not thread.is_alive():
                connection.close()
        if not ended or type(ended[0][1]).__name__ == "InterruptException":
            raise TimeoutError(f"the query took longer than {self._limit_s:g} s, and was stopped")
        text, error = ended[0]
        if error is not None:
            raise type(error)(str(error)) from None  # without frames of ours
        return text


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError:
        raise ConfigError("query runs on DuckDB, which is not installed", "pip install 'comet_magic[values]'") from None
    return duckdb


def _locked(tables: Mapping[str, Any]) -> Any:
    """A database of its own in memory, with these tables, which reaches nothing else any more."""
    connection = _duckdb().connect(":memory:", config=_LOCKED)
    for name, table in tables.items():
        connection.register(name, table)
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _asked(connection: Any, sql: str) -> str:
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type.name != "SELECT":
        kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
        raise PermissionError(f"one SELECT, and nothing else, can be run; this is {kinds}")
    ((tree,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    if '"error":true' in tree:
        raise PermissionError("this cannot be checked before it runs: write it as a plain SELECT")
    if unbounded := sorted(_UNBOUNDED & set(re.findall(r'"function_name":"(\w+)"', tree))):
        raise PermissionError(f"{unbounded[0]}() cannot be used here: it makes values of any size")
    answer = connection.query(re.sub(r"\s*;(\s|--[^\n]*)*$", "", sql))
    rows = answer.limit(MOST_ROWS + 1).fetchall()
    return _csv(answer.columns, rows)


def _csv(columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["NULL" if value is None else value for value in row] for row in rows[:MOST_ROWS])
    more = f"[the first {MOST_ROWS} rows; there are more]\n" if len(rows) > MOST_ROWS else ""
    return text.getvalue() + more
