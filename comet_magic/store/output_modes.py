"""Which ways of asking for a typed reply an endpoint and a model take, as far as that has been learned."""

from __future__ import annotations

import time
from collections.abc import Iterable

from .connection import Connection
from .database import Store

HOLD_S = 30 * 86_400.0  # seconds until a mode that was not taken is tried again


def find_modes(store: Store, endpoint: str, model: str) -> dict[str, bool]:
    """Return whether each mode is taken, by its name, as far as that is known."""
    since = (endpoint, model, time.time() - HOLD_S)

    def act(db: Connection) -> dict[str, bool]:
        rows = db.execute("SELECT way, fits FROM ways WHERE endpoint = ? AND model = ? AND at > ?", since)
        return {row["way"]: bool(row["fits"]) for row in rows}

    return {**(store.look_behind(act) or {}), **store.read(act)}


def keep_modes(store: Store, endpoint: str, model: str, modes: Iterable[str], *, is_taken: bool) -> None:
    """Note whether an endpoint and a model take these modes."""
    rows = [(endpoint, model, mode, is_taken, time.time()) for mode in modes]
    if rows:
        store.write(lambda db: db.executemany("INSERT OR REPLACE INTO ways VALUES (?,?,?,?,?)", rows), keeps_turns=True)
