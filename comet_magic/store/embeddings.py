"""Embeddings that were paid for, each by a digest of the model, its dimensions and the text; no text is kept."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from hashlib import sha256

from ..messages.usage import Usage
from .connection import Connection
from .database import Store
from .requests import RequestRecord, put_entry

_AT_ONCE = 900  # digests that one statement asks for; SQLite took no more than 999 once


def digests(model: str, dimensions: int | None, texts: Iterable[str]) -> list[bytes]:
    """Return the digest of each text."""
    prefix = sha256(f"{model}\0{dimensions}\0".encode())
    found = []
    for text in texts:
        digest = prefix.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        found.append(digest.digest())
    return found


def find_embeddings(store: Store, wanted: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the vectors that are there, by their digests: float32, little-endian."""

    def act(db: Connection) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for begin in range(0, len(wanted), _AT_ONCE):
            part = wanted[begin : begin + _AT_ONCE]
            marks = ",".join("?" * len(part))
            rows = db.execute(f"SELECT digest, vector FROM embeddings WHERE digest IN ({marks})", part)
            found.update((row[0], row[1]) for row in rows)
        return found

    return {**(store.look_behind(act) or {}), **store.read(act)}


def keep_embeddings(
    store: Store, record: RequestRecord, usage: Usage, cost_usd: float | None, vectors: Iterable[tuple[bytes, bytes]]
) -> None:
    """Write down what came of a request for embeddings, and what it cost, in one transaction."""
    rows = [(digest, vector, time.time()) for digest, vector in vectors]

    def act(db: Connection) -> None:
        db.execute("DELETE FROM requests WHERE id = ?", (record.id,))
        put_entry(db, record, usage, cost_usd)
        db.executemany("INSERT OR REPLACE INTO embeddings VALUES (?,?,?)", rows)

    store.write(act, keeps_turns=True)


def count(store: Store) -> int:
    return int(store.read(lambda db: db.execute("SELECT count(*) FROM embeddings").fetchone()[0]))
