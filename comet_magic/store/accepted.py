"""What of a request an endpoint and a model take, as far as that has been learned: ways of asking, and fields."""

from __future__ import annotations

import time
from collections.abc import Iterable

from .connection import Connection
from .database import Store

HOLD_S = 30 * 86_400.0  # seconds until what was not taken is tried again


def find_accepted(store: Store, endpoint: str, model: str) -> dict[str, bool]:
    """Return, for each way of asking, whether it is taken, as far as that is known."""
    return _find(store, "SELECT way, fits FROM ways WHERE endpoint = ? AND model = ? AND at > ?", endpoint, model)


def find_models(store: Store, endpoint: str, way: str) -> dict[str, bool]:
    """Return whether a way of asking is taken, by model, as far as that is known."""
    return _find(store, "SELECT model, fits FROM ways WHERE endpoint = ? AND way = ? AND at > ?", endpoint, way)


def _find(store: Store, select: str, *values: str) -> dict[str, bool]:
    since = time.time() - HOLD_S

    def act(db: Connection) -> dict[str, bool]:
        return {row[0]: bool(row["fits"]) for row in db.execute(select, (*values, since))}

    return {**(store.look_behind(act) or {}), **store.read(act)}


def keep_accepted(store: Store, endpoint: str, model: str, ways: Iterable[str], *, is_taken: bool) -> None:
    """Note whether an endpoint and a model take these ways of asking."""
    rows = [(endpoint, model, way, is_taken, time.time()) for way in ways]
    if rows:
        store.write(lambda db: db.executemany("INSERT OR REPLACE INTO ways VALUES (?,?,?,?,?)", rows), keeps_turns=True)
