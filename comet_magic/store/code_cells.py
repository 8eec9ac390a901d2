"""Which code was put below which cell."""

from __future__ import annotations

import time

from ..exchange.cells import Place
from .database import Connection, Store


def _former(store: Store, place: Place) -> str:
    """Digest of what was put below that cell before; "" if nothing was."""
    asked = (place.conversation, place.cell)

    def act(db: Connection) -> str:
        row = db.execute("SELECT digest FROM code_cells WHERE conversation = ? AND cell = ?", asked).fetchone()
        return str(row[0]) if row else ""

    return store.read(act) or store.look_behind(act) or ""


def _keep(store: Store, place: Place, digest: str) -> None:
    row = (place.conversation, place.cell, digest, time.time())
    store.write(lambda db: db.execute("INSERT OR REPLACE INTO code_cells VALUES (?,?,?,?)", row))
