"""A tool that answers questions about tables too large to be sent: read-only SQL, by DuckDB, over what a prompt named.

Nothing else is there: no files, no network, no other variable, no extension; and rows, time and memory have limits. On
Linux each query runs in a forked child, which the limits end for certain: some of DuckDB's functions hear no interrupt
and count no memory. Elsewhere there are DuckDB's own limits alone.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..describe.dependencies import SERIES, table_library
from ..errors import ConfigError
from .timeouts import TimedOut, on_a_thread

MOST_ROWS = 200
MOST_CHARACTERS = 2000  # of a value
MEMORY = 10**9  # bytes that DuckDB may use
SLACK = 10**9  # more that the child may: for its code, its threads, and what DuckDB does not count
LIBRARIES = ("pandas", "polars", "pyarrow")
_UNREAD = ("period", "interval", "Sparse", "complex")  # dtypes of pandas that DuckDB does not know
_MIXED = ("mixed", "mixed-integer", "complex", "period", "interval", "bytes")
_PRAGMA = re.compile(r"(?:\s|--[^\n]*|/\*.*?\*/)*pragma\b", re.I | re.S)  # behind comments
_LOCKED = {
    "memory_limit": f"{MEMORY // 10**6}MB",
    "temp_directory": "",
    "python_enable_replacements": False,
    "python_scan_all_frames": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}


class QueryError(Exception):
    """What DuckDB, or we, have against a query."""


class Query:
    """`%%claude --tools query`: the model may ask the tables of the prompt by SQL. Safe: it runs without asking."""

    __name__ = "query"

    def over(self, tables: Mapping[str, Any], limit_s: float) -> TableQuery:
        """Return the tool as it is offered with one question. Raises: ConfigError when there is nothing to query."""
        usable = {name: table for name, table in tables.items() if table_library(table) in LIBRARIES}
        usable = {name: table for name, table in usable.items() if type(table).__name__ not in (*SERIES, "LazyFrame")}
        if not usable:
            raise ConfigError(
                "query has no table: it reads DataFrames of pandas and polars, and Arrow tables, that the prompt names",
                "nothing was sent; name one in the prompt, as {{df}}",
            )
        needs_arrow = any(table_library(table) == "polars" for table in usable.values())
        if needs_arrow and find_spec("pyarrow") is None:
            raise ConfigError(
                "query reads tables of polars through pyarrow, which is not installed", "pip install pyarrow"
            )
        if len({name.lower() for name in usable}) < len(usable):
            raise ConfigError(
                "query cannot tell its tables apart: SQL takes capitals for small letters",
                "nothing was sent; rename one",
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
        names = ", ".join(_quoted(name) for name in tables)
        self.__doc__ = (
            f"Run one SELECT, in DuckDB's SQL, over the tables {names}, all rows of them. Returns CSV, at most"
            f" {MOST_ROWS} rows: aggregate and LIMIT. Nothing can be written, and nothing else read."
        )

    def __call__(self, sql: str) -> str:
        """Raises: QueryError, with DuckDB's words or the limit that was met."""
        with _interrupted_later():
            connection = _locked(self._tables)
        try:
            run = _in_a_child if sys.platform == "linux" else _on_a_thread
            return run(connection, sql, self._limit_s)
        finally:
            connection.close()


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError:
        raise ConfigError("query runs on DuckDB, which is not installed", "pip install '.[values]'") from None
    return duckdb


def _locked(tables: Mapping[str, Any]) -> Any:
    """Return a database of its own in memory, with these tables, which reaches nothing else any more."""
    duckdb = _duckdb()
    try:
        connection = duckdb.connect(":memory:", config=_LOCKED)
    except duckdb.InvalidInputException:  # DuckDB 1.1.0 does not know the setting, nor what it forbids
        older = {name: value for name, value in _LOCKED.items() if name != "python_scan_all_frames"}
        connection = duckdb.connect(":memory:", config=older)
    for name, table in tables.items():
        try:
            connection.register(name, _as_columns(table))
        except Exception as error:  # as for columns of the same name, or for none
            raise QueryError(f"the table {_quoted(name)} cannot be queried: {error}") from error
    connection.execute("SET enable_progress_bar = false")
    for name in ("home_directory", "secret_directory", "extension_directory"):
        connection.execute(f"SET {name} = '/nowhere'")  # else its settings and its errors tell the user's name
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _as_columns(table: Any) -> Any:
    """Return a table as DuckDB can read it: with an index of pandas among the columns, and odd columns as text.

    Polars comes as Arrow: its threads do not outlive a fork.
    """
    if table_library(table) == "polars":
        return table.select([column for column, dtype in table.schema.items() if str(dtype) != "Object"]).to_arrow()
    if table_library(table) != "pandas":
        return table
    if type(table.index).__name__ != "RangeIndex" and not set(table.index.names) & set(table.columns):
        table = table.reset_index()
    # DuckDB judges columns of objects by a sample, and falls over what does not fit in.
    inferred = sys.modules["pandas"].api.types.infer_dtype
    odd = [
        column
        for column, dtype in table.dtypes.items()
        if str(dtype).startswith(_UNREAD) or (str(dtype) == "object" and inferred(table[column]) in _MIXED)
    ]
    if odd:
        table = table.copy(deep=False)
    for column in odd:
        table[column] = table[column].map(str)
    return table


def _answered(connection: Any, sql: str) -> str:
    """Raises: QueryError for what is no lone SELECT; whatever DuckDB raises."""
    statement_types = [statement.type.name for statement in connection.extract_statements(sql)]
    if _PRAGMA.match(sql):  # DuckDB before 2.0 makes a SELECT of some
        statement_types = ["PRAGMA"]
    if statement_types != ["SELECT"]:
        raise QueryError(f"one SELECT, and nothing else, can be run; this is {', '.join(statement_types) or 'nothing'}")
    try:
        return _csv(*_fetched(connection, sql.rstrip("; \t\n")))
    except _duckdb().ParserException:  # a comment behind the semicolon; it becomes a part of a query
        bare = re.sub(r";[ \t]*--[^\n]*\Z", "", _without_comments(sql))
        return _csv(*_fetched(connection, bare.rstrip("; \t\n")))


def _fetched(connection: Any, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    answer = connection.query(sql)
    # As text, for not every type of DuckDB's is one of Python's, and a value may be of any size.
    values = answer.limit(MOST_ROWS + 1).project(f"left(CAST(COLUMNS(*) AS VARCHAR), {MOST_CHARACTERS})")
    return answer.columns, values.fetchall()


def _without_comments(sql: str) -> str:
    """Take out the lines of comments at the end."""
    lines = sql.rstrip().split("\n")
    while len(lines) > 1 and lines[-1].lstrip().startswith("--"):
        lines.pop()
    return "\n".join(lines)


def _csv(columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["NULL" if value is None else value for value in row] for row in rows[:MOST_ROWS])
    more = f"[the first {MOST_ROWS} rows; there are more]\n" if len(rows) > MOST_ROWS else ""
    return text.getvalue() + more


# ---- within limits


def _too_long(limit_s: float) -> QueryError:
    return QueryError(f"the query took longer than {limit_s:g} s, and was stopped")


def _in_a_child(connection: Any, sql: str, limit_s: float) -> str:
    reader, writer = os.pipe()
    got = bytearray()
    until = time.monotonic() + limit_s
    child, is_over = 0, False
    waiting = select.poll()  # select() takes no descriptor above 1,023
    waiting.register(reader, select.POLLIN)
    try:
        child = _forked(lambda: _answer(connection, sql, writer, limit_s))
        os.close(writer)
        writer = -1
        while not is_over and time.monotonic() < until:
            if waiting.poll(50):
                part = os.read(reader, 2**16)
                got += part
                is_over = not part
    finally:
        with _interrupted_later():
            for end in filter(lambda end: end >= 0, (reader, writer)):
                os.close(end)
            if child:
                _end(child)
    if not is_over:
        raise _too_long(limit_s)
    if not got:
        raise QueryError(f"the query needed more than {MEMORY / 10**9:g} GB of memory, and was stopped")
    text, problem = json.loads(got)
    if problem:
        raise QueryError(problem)
    return str(text)


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Hold an interrupt back where it would be swallowed: by DuckDB's start, and by Python's steps after a fork."""
    came: list[int] = []
    former: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        numbers = filter(None, (signal.SIGINT, getattr(signal, "SIGALRM", None)))
        former = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    for number in came:
        signal.raise_signal(number)


def _forked(run: Callable[[], None]) -> int:
    """Return the id of a child that runs that, and nothing else."""
    parent, child = os.getpid(), 0
    try:
        with _interrupted_later(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about forking beside threads: the child touches nothing of theirs
            child = os.fork()
            if child == 0:
                run()
    except BaseException:
        if child:
            _end(child)
        raise
    finally:
        if os.getpid() != parent:
            os._exit(0)
    return child


def _end(child: int) -> None:
    with suppress(ProcessLookupError, ChildProcessError):  # where somebody else waits for all children
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _answer(connection: Any, sql: str, writer: int, limit_s: float) -> None:
    """Run the query in the child, and write (text, problem)."""
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY + SLACK,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most_s = int(limit_s * (os.cpu_count() or 1)) + 10  # should the parent not live to end it
    resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s))
    try:
        answer = (_answered(connection, sql), "")
    except Exception as error:  # noqa: BLE001  # it is raised again, in the parent
        answer = ("", f"{error}" or type(error).__name__)
    data = json.dumps(answer).encode()
    while data:
        data = data[os.write(writer, data) :]


def _on_a_thread(connection: Any, sql: str, limit_s: float) -> str:
    """Run a query on a thread, for DuckDB hears no interrupt of the kernel, but one of its own."""
    try:
        return str(on_a_thread(limit_s, lambda: _answered(connection, sql), stop=connection.interrupt))
    except TimedOut:
        raise _too_long(limit_s) from None
    except Exception as error:  # noqa: BLE001  # told as the child tells it
        raise QueryError(f"{error}" or type(error).__name__) from None
