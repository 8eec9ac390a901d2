"""Connections to the file or to memory: opened, checked, configured, and brought to the schema of this version."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ..text import check_home
from .schema import MIGRATIONS

Row = sqlite3.Row
Connection = sqlite3.Connection
MEMORY = ":memory:"
LOCKED_S = 20.0  # seconds to wait for another kernel's write, which takes milliseconds
STEPS = 100_000  # of SQLite's machine, between two looks at whether there was an interrupt
APPLICATION_ID = 0x636D6167  # "cmag"


class NewerStore(Exception):
    """The file's schema is newer than this version knows."""


def open_file(path: Path, wait_s: float = LOCKED_S) -> Connection:
    """Open a store, and make it where there is none. wait_s: how long a lock of another's is waited for.

    Raises: sqlite3.Error, OSError or NewerStore.
    """
    check_home(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_locks(path.parent)
    # Made here, for SQLite would make it readable for others; its side files take its mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with _closed_on_failure(_connected(str(path), wait_s)) as connection:
        with transaction(connection, "BEGIN"):  # another kernel may be bringing it to this version's schema
            _check(connection)
        _configure(connection)
        _migrate(connection, path)
        connection.execute(f"PRAGMA busy_timeout = {LOCKED_S * 1000:.0f}")
    return connection


def _check_locks(folder: Path) -> None:
    """Raises: OperationalError where the file system has no locks: SQLite would wait for one, and call it another's."""
    try:
        import fcntl
    except ImportError:  # Windows, where every file system has them
        return
    import tempfile

    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                raise sqlite3.OperationalError("locking protocol") from error


def _connected(name: str, wait_s: float = LOCKED_S, **options: Any) -> Connection:
    # Transactions are our own; and a lock of ours keeps the threads apart.
    connection: Connection = sqlite3.connect(
        name, timeout=wait_s, isolation_level=None, check_same_thread=False, **options
    )
    connection.row_factory = Row
    # An interrupt is heard while SQLite works: it has Python look up every now and then.
    connection.set_progress_handler(lambda: 0, STEPS)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _check(connection: Connection) -> None:
    """Raises: NewerStore or DatabaseError when the file is not for us; it is left as it is."""
    there = [row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
    tables = len(there)
    if tables and pragma(connection, "application_id") != APPLICATION_ID:
        raise sqlite3.DatabaseError("it is another program's database")
    version = pragma(connection, "user_version")
    if 0 < version <= len(MIGRATIONS) and sorted(there) != _schema_of(version):
        raise sqlite3.DatabaseError("it has views, triggers or other instructions that this program did not make")
    if version > len(MIGRATIONS):
        raise NewerStore(f"it was written by a newer comet_magic: schema {version}, this one knows {len(MIGRATIONS)}")


@cache
def _schema_of(version: int) -> list[str]:
    """Return the statements of a file's tables and indexes, as this program makes them."""
    with contextlib.closing(sqlite3.connect(MEMORY)) as db:
        for script in MIGRATIONS[:version]:
            db.executescript(script)
        return sorted(row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))


def _configure(connection: Connection) -> None:
    if pragma(connection, "page_count") == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # a killed kernel loses nothing; a power cut may lose a moment
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # what is pruned is gone from the file


def open_memory() -> Connection:
    with _closed_on_failure(_connected(MEMORY)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        _migrate(connection, None)
    return connection


def open_for_reading(path: Path) -> Connection | None:
    """Return the file as it is, whatever may not be written there; None if nothing can be read."""
    in_use = path.with_name(f"{path.name}-wal").exists()
    # The first works beside writers, and makes files beside it; the second where nothing may be written.
    for how in ("mode=ro", "mode=ro&immutable=1")[0 if in_use else 1 :]:
        try:
            with _closed_on_failure(_connected(f"{path.resolve().as_uri()}?{how}", uri=True)) as connection:
                _check(connection)
                connection.execute("SELECT count(*) FROM sessions").fetchone()
                version = pragma(connection, "user_version")
            if version == len(MIGRATIONS):
                return connection
            with contextlib.closing(connection):
                return _brought_forward(connection) if 0 < version < len(MIGRATIONS) else None
        except (sqlite3.Error, NewerStore):
            continue
    return None


def _brought_forward(older: Connection) -> Connection:
    """Return a copy in memory, with the schema of this version; the file stays as it is."""
    with _closed_on_failure(_connected(MEMORY)) as copy:
        older.backup(copy)
        _migrate(copy, None)
    return copy


def _migrate(connection: Connection, path: Path | None) -> None:
    """Bring the schema to this version, in one transaction. A copy of an older file is kept beside it."""
    if pragma(connection, "user_version") == len(MIGRATIONS):
        return
    with transaction(connection, "BEGIN IMMEDIATE"):
        version = pragma(connection, "user_version")  # another kernel may just have done it
        _check(connection)
        if path and 0 < version < len(MIGRATIONS):
            _copy(path, path.with_name(f"{path.name}.v{version}"))
        for script in MIGRATIONS[version:]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _copy(path: Path, copy: Path) -> None:
    os.close(os.open(copy, os.O_RDWR | os.O_CREAT, 0o600))
    with contextlib.closing(_connected(str(path))) as old, contextlib.closing(_connected(str(copy))) as new:
        old.backup(new)


@contextlib.contextmanager
def _closed_on_failure(connection: Connection) -> Iterator[Connection]:
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


@contextlib.contextmanager
def transaction(connection: Connection, begin: str) -> Iterator[Connection]:
    try:
        connection.execute(begin)  # in here, for an interrupt may come just after it
        yield connection
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise_interrupt(error)
        raise


def raise_interrupt(error: BaseException) -> None:
    """Raise KeyboardInterrupt where that is what SQLite's error means."""
    if isinstance(error, sqlite3.OperationalError) and str(error) == "interrupted":
        raise KeyboardInterrupt from None


def pragma(connection: Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
