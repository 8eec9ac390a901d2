"""Which code was put below which cell."""

from __future__ import annotations

import time

from .connection import Connection
from .database import Store


def find_digest(store: Store, conversation: str, cell: str) -> str:
    """Return the digest of the code that was put below that cell before; "" if none was."""
    identity = (conversation, cell)

    def act(db: Connection) -> str:
        row = db.execute("SELECT digest FROM code_cells WHERE conversation = ? AND cell = ?", identity).fetchone()
        return str(row[0]) if row else ""

    return store.find(act) or ""


def keep_digest(store: Store, conversation: str, cell: str, digest: str) -> None:
    row = (conversation, cell, digest, time.time())
    store.write(lambda db: db.execute("INSERT OR REPLACE INTO code_cells VALUES (?,?,?,?)", row), keeps_turns=True)
