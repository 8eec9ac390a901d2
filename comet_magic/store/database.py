"""One SQLite file for all kernels of a user, or memory where there can be none; and its schema, forwards only.

Whatever is wrong with the file, work goes on: in memory, with `problem` saying what is not being kept and how to mend
it. What can still be read of the file stays readable `behind` the memory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from . import connection as connections
from .connection import (
    MEMORY,
    Connection,
    NewerStore,
    open_file,
    open_for_reading,
    open_memory,
    pragma,
    raise_interrupt,
    transaction,
)

T = TypeVar("T")
AGAIN_S = 0.2  # seconds to wait for a lock that was waited for before
ROOM = 20_000_000  # bytes; with less, a disk counts as full still


class Store:
    """Reads and writes in transactions, from any thread. `path` is a file, or ":memory:".

    problem: why the file is not being written, and how to mend that; "" when all is well.
    Its connections are closed by `close`, when nobody holds the store any more, at exit, and before a fork: a child
    uses nothing that its parent opened. Each process opens its own when it next reads or writes.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        """read_only: leave the file as it is, and keep what is new in memory."""
        self.path = path
        self.problem = ""
        self.cache: dict[str, Any] = {}  # by name, the conversations that have been read: see `turns`
        self._read_only = read_only
        self._was_locked = False
        self._lock = threading.RLock()
        self._open = _Connections()
        _stores.add(self)
        weakref.finalize(self, self._open.close)
        self._connect()

    def _connect(self) -> None:
        self.cache.clear()
        if str(self.path) == MEMORY:
            self._open.main = open_memory()
        elif self._read_only:
            self._open.main, self._open.behind = open_memory(), open_for_reading(Path(self.path))
        else:
            try:
                self._open.main = open_file(Path(self.path))
                self._identity = _identity(Path(self.path))
            except (sqlite3.Error, OSError, ValueError, NewerStore) as error:
                self._give_up(error)

    @property
    def behind(self) -> Connection | None:
        """The file, for reading, while the store is in memory because of a problem; None if it cannot be read."""
        return self._open.behind

    @property
    def is_file(self) -> bool:
        return str(self.path) != MEMORY and not self.problem and self.behind is None

    def read(self, act: Callable[[Connection], T]) -> T:
        return self._done(act, "BEGIN")

    def find(self, act: Callable[[Connection], T]) -> T | None:
        """Return what `act` finds in the store or, where that is nothing, in the file behind the memory."""
        return self.read(act) or self.look_behind(act)

    def find_all(self, act: Callable[[Connection], list[T]]) -> list[T]:
        """Return what `act` finds in the store, then what it finds in the file behind the memory."""
        return [*self.read(act), *(self.look_behind(act) or ())]

    def write(self, act: Callable[[Connection], T], *, keeps_turns: bool = False) -> T:
        """Return what `act` returns, its changes made all or none. It may be run twice: again when the file fails it.

        keeps_turns: it changes no turn that has been read, or the caller notes the change in `cache`.
        """
        with self._lock:
            if not keeps_turns:
                self.cache.clear()
            return self._done(act, "BEGIN IMMEDIATE")

    def locked(self) -> contextlib.AbstractContextManager[object]:
        """Return what keeps other threads of this process out, for more than one reading or writing."""
        return self._lock

    def data_version(self) -> int:
        """Return SQLite's count of what other connections have written; 0 where only this process writes."""
        if not self.is_file:
            return 0
        with self._lock, contextlib.suppress(sqlite3.DatabaseError):
            return pragma(self._connection, "data_version")
        return -1

    def look_behind(self, act: Callable[[Connection], T]) -> T | None:
        """Return what `act` finds in the file behind the memory; None if there is none, or it cannot be read."""
        with self._lock:
            if self.behind is None:
                return None
            try:
                return act(self.behind)
            except sqlite3.DatabaseError as error:
                raise_interrupt(error)
                self._open.close_behind()
                return None

    def _done(self, act: Callable[[Connection], T], begin: str) -> T:
        with self._lock:
            try:
                with transaction(self._connection, begin) as connection:
                    return act(connection)
            except sqlite3.IntegrityError:
                raise
            except sqlite3.DatabaseError as error:
                if not self.is_file:
                    raise
                self._give_up(error)
            with transaction(self._connection, begin) as connection:
                return act(connection)

    @property
    def _connection(self) -> Connection:
        if self._open.main is None:  # it was closed, as before a fork
            self._connect()
        assert self._open.main is not None
        return self._open.main

    def _give_up(self, error: Exception) -> None:
        """Go on in memory."""
        self.cache.clear()
        self.problem = f"nothing is being stored: {_why(error, Path(self.path))}"
        self._was_locked = _is_locked(error)
        self._open.close()
        self._open.behind = None if isinstance(error, NewerStore | ValueError) else open_for_reading(Path(self.path))
        self._open.main = open_memory()
        self._signs = _signs(Path(self.path))

    def look_again(self, carry: Callable[[Connection, Connection], None]) -> str:
        """Use the file again where that is possible by now; begin a new one where it has gone.

        carry: brings what is in the first, the memory, into the second. Returns: what has happened, in words, or "".
        """
        with self._lock:
            if str(self.path) == MEMORY or self._read_only:
                return ""
            if self.is_file:
                if _identity(self.path) == self._identity:
                    return ""
                self._open.close()
                self._connect()
                return f"{self.path} was moved or removed while it was in use: {self.problem or 'a new one is begun'}"
            if _signs(Path(self.path)) == self._signs and not self._was_locked:
                return ""
            self._signs = _signs(Path(self.path))
            try:
                file = open_file(Path(self.path), wait_s=AGAIN_S)
            except (sqlite3.Error, OSError, ValueError, NewerStore):
                return ""
            try:
                with transaction(file, "BEGIN IMMEDIATE"):
                    carry(self._connection, file)
            except sqlite3.Error:
                file.close()
                return ""
            self._open.close()
            self._open.main, self.problem = file, ""
            self.cache.clear()
            self._identity = _identity(Path(self.path))
            return f"{self.path} is used again, and has what was asked meanwhile"

    def size_mb(self) -> float:
        """Return the size of the file's contents in MB (10⁶ bytes)."""
        pages = self.read(
            lambda db: (pragma(db, "page_count") - pragma(db, "freelist_count")) * pragma(db, "page_size")
        )
        return pages / 1e6

    def may_be_over(self, most_mb: float) -> bool:
        """Return whether it is worth asking for `size_mb`."""
        files = (self.path, f"{self.path}-wal") if self.is_file else ()
        with contextlib.suppress(OSError):
            return sum(os.stat(file).st_size for file in files) > most_mb * 1e6
        return False

    def give_back(self) -> None:
        """Give the disk space of removed rows back to the system."""
        with self._lock, contextlib.suppress(sqlite3.Error):  # if another kernel reads, the next time does it
            connection = self._connection
            connection.executescript("PRAGMA incremental_vacuum")  # execute() would free one page alone
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        with self._lock:
            self._open.close()

    # ---- a fork, which copies connections that only one process may use

    def _before_fork(self) -> None:
        self._lock.acquire()
        if self.is_file:
            self._open.close()

    def _after_fork(self) -> None:
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        if not self.is_file:  # a memory that is the parent's, and a file that is the parent's to read
            self.problem = ""
            self._open.close()


class _Connections:
    """The open connections of a store, apart from it, so that they can be closed when it is gone."""

    def __init__(self) -> None:
        self.main: Connection | None = None
        self.behind: Connection | None = None

    def close(self) -> None:
        main, self.main = self.main, None
        if main is not None:
            with contextlib.suppress(sqlite3.Error):
                main.close()
        self.close_behind()

    def close_behind(self) -> None:
        behind, self.behind = self.behind, None
        if behind is not None:
            with contextlib.suppress(sqlite3.Error):
                behind.close()


_stores: weakref.WeakSet[Store] = weakref.WeakSet()
_forking: list[Store] = []
_fork_lock = threading.Lock()  # of threads that fork at once, one after the other


def _before_fork() -> None:
    _fork_lock.acquire()
    _forking[:] = list(_stores)
    for store in _forking:
        store._before_fork()


def _after_fork(*, in_child: bool) -> None:
    while _forking:
        store = _forking.pop()
        store._after_fork_in_child() if in_child else store._after_fork()
    _fork_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(in_child=False),
        after_in_child=lambda: _after_fork(in_child=True),
    )


def _identity(path: Path | str) -> tuple[int, int] | None:
    """Return the identity of the file that is there now; None if there is none."""
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    return info.st_dev, info.st_ino


def _signs(path: Path) -> tuple[object, ...]:
    """Return what would be another if a file that could not be used had been mended."""
    try:
        info = path.stat() if path.exists() else None
        folder = next(folder for folder in path.parents if folder.exists())
        room = shutil.disk_usage(folder).free > ROOM
        file = (info.st_ino, info.st_mtime_ns, info.st_size, info.st_mode) if info else None
        return file, os.access(folder, os.W_OK), folder.stat().st_mode, room
    except (OSError, ValueError, StopIteration):
        return ()


def _is_locked(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))


def _why(error: Exception, path: Path) -> str:
    """Return what is wrong with the file, then how to mend it."""
    if isinstance(error, NewerStore):
        return f"{path}: {error}: upgrade comet_magic, or set CometSettings.store to another path"
    reason = str(error)
    if isinstance(error, ValueError):
        return f"{str(path)!r} is not a path: set CometSettings.store to another one"
    if isinstance(error, OSError):
        mend = (
            "set CometSettings.store to"
            if str(path).startswith("~")
            else "make it writable, or set CometSettings.store to"
        )
        return f"{path}: {error.strerror or reason}: {mend} another path"
    if "locking protocol" in reason or "LOCK" in getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_LOCKED"):
        return (
            f"the file system of {path} has no locks, which several kernels need:"
            " set CometSettings.store to a path on a disk of this machine"
        )
    if "full" in reason:
        return (
            f"the disk of {path} is full: free some space, or run %claude_history --prune 30d, then restart the kernel"
        )
    if "disk I/O" in reason:
        return f"the disk of {path} fails, or is full: free some space, then restart the kernel"
    if "readonly" in reason or "unable to open" in reason:
        return f"{path} cannot be written: make it writable, or set CometSettings.store to another path"
    if _is_locked(error):
        return (
            f"another program has held {path} locked for {connections.LOCKED_S:g} s: end it;"
            " the store is used again once it is free"
        )
    if "another program" in reason or "did not make" in reason:
        return f"{path}: {reason}: set CometSettings.store to another path"
    return f"{path} is damaged ({reason}): move it away, and a new one is begun"
