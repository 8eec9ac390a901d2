"""Which ways of asking for a typed reply an endpoint and a model take."""

from __future__ import annotations

import time

from .database import Connection, Store

HOLD_S = 30 * 86_400.0  # seconds until a way that was not taken is tried again


def _kept(store: Store, endpoint: str, model: str) -> dict[str, bool]:
    """Whether each way fits, as far as that is known."""
    asked = (endpoint, model, time.time() - HOLD_S)

    def act(db: Connection) -> dict[str, bool]:
        found = db.execute("SELECT way, fits FROM ways WHERE endpoint = ? AND model = ? AND at > ?", asked)
        return {row["way"]: bool(row["fits"]) for row in found}

    return {**(store.look_behind(act) or {}), **store.read(act)}
