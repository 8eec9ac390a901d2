"""Embeddings that were paid for, each by a digest of endpoint, model, dimensions and text; no text is kept."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from hashlib import sha256

from ..messages.usage import Usage
from ..named_tuple import NamedTuple
from .connection import Connection
from .database import Store
from .requests import RequestRecord, put_entry

DIGEST, FLOAT = 32, 4  # bytes
_AT_ONCE = 900  # digests that one statement asks for; SQLite took no more than 999 once


def digests(endpoint: str, model: str, dimensions: int | None, texts: Iterable[str]) -> list[bytes]:
    """Return the digest of each text. endpoint: others may have another model of the same name."""
    prefix = sha256(f"{endpoint}\0{model}\0{dimensions}\0".encode())
    found = []
    for text in texts:
        digest = prefix.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        found.append(digest.digest())
    return found


class Batch(NamedTuple):
    """Vectors that came together. length: of each.        vectors: all of them, float32, little-endian."""

    length: int
    vectors: bytes


def find_embeddings(store: Store, digests: Sequence[bytes]) -> tuple[dict[bytes, tuple[int, int]], dict[int, Batch]]:
    """Return the batch and the row in it of each digest that is there; and those batches."""
    found, batches = store.read(lambda db: _find(db, digests))
    if len(found) < len(digests) and (behind := store.look_behind(lambda db: _find(db, digests))):
        # What is behind a store in memory has numbers of its own.
        found = {**{digest: (-batch, row) for digest, (batch, row) in behind[0].items()}, **found}
        batches = {**{-batch: vectors for batch, vectors in behind[1].items()}, **batches}
    return found, batches


def _find(db: Connection, digests: Sequence[bytes]) -> tuple[dict[bytes, tuple[int, int]], dict[int, Batch]]:
    by_start = {_start(digest): digest for digest in digests}
    ordered = sorted(by_start)  # as they stand in the table
    rows: list[tuple[int, int, int]] = []
    for begin in range(0, len(ordered), _AT_ONCE):
        part = ordered[begin : begin + _AT_ONCE]
        marks = ",".join("?" * len(part))
        select = f"SELECT digest_start, batch, row FROM embeddings WHERE digest_start IN ({marks})"
        rows += map(tuple, db.execute(select, part))
    of_batch: dict[int, list[tuple[int, bytes]]] = {}
    for start, number, row in rows:
        of_batch.setdefault(number, []).append((row, by_start[start]))
    found: dict[bytes, tuple[int, int]] = {}
    batches: dict[int, Batch] = {}
    for number, rows_of_batch in of_batch.items():
        kept = db.execute("SELECT length, digests, vectors FROM vectors WHERE batch = ?", (number,)).fetchone()
        if kept is None:
            continue
        own = [(row, digest) for row, digest in rows_of_batch if _part(kept["digests"], row, DIGEST) == digest]
        # Only the vectors that are asked for are held: a store may be larger than the memory.
        size = kept["length"] * FLOAT
        batches[number] = Batch(kept["length"], b"".join(_part(kept["vectors"], row, size) for row, _ in own))
        found.update({digest: (number, index) for index, (_, digest) in enumerate(own)})
    return found, batches


def _part(data: bytes, row: int, size: int) -> bytes:
    return data[row * size : (row + 1) * size]


def _start(digest: bytes) -> int:
    """Return the number under which a digest is looked up; the whole of it is compared then."""
    return int.from_bytes(digest[:8], "little", signed=True)


class Embedded(NamedTuple):
    """What came of a request for embeddings. batch: None where nothing came that can be kept.

    digests: of the texts, in the order of the vectors.
    """

    record: RequestRecord
    usage: Usage
    cost_usd: float | None
    digests: Sequence[bytes] = ()
    batch: Batch | None = None


def keep_embeddings(store: Store, requests: Iterable[Embedded]) -> None:
    """Write down what came of these requests, and what they cost, in one transaction."""

    def act(db: Connection) -> None:
        for one in requests:
            db.execute("DELETE FROM requests WHERE id = ?", (one.record.id,))
            put_entry(db, one.record, one.usage, one.cost_usd)
            if one.batch is not None:
                _put(db, one.digests, one.batch)

    store.write(act, keeps_turns=True)


def _put(db: Connection, digests: Sequence[bytes], batch: Batch) -> None:
    inserted = "INSERT INTO vectors (at, length, digests, vectors) VALUES (?,?,?,?)"
    number = db.execute(inserted, (time.time(), batch.length, b"".join(digests), batch.vectors)).lastrowid
    rows = sorted((_start(digest), number, row) for row, digest in enumerate(digests))
    db.executemany("INSERT OR REPLACE INTO embeddings VALUES (?,?,?)", rows)


def drop_oldest(store: Store) -> bool:
    """Remove the older half of the embeddings. Returns: whether there were any."""

    def act(db: Connection) -> bool:
        count = db.execute("SELECT count(*) FROM vectors").fetchone()[0]
        oldest = db.execute("SELECT batch FROM vectors ORDER BY at LIMIT ?", (-(-count // 2),)).fetchall()
        for table in ("embeddings", "vectors"):
            db.executemany(f"DELETE FROM {table} WHERE batch = ?", [tuple(row) for row in oldest])
        return bool(count)

    is_any = store.write(act, keeps_turns=True)
    store.give_back()
    return is_any
