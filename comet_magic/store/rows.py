"""Replies to one prompt over many rows, each by a digest of what was asked; neither prompts nor rows are kept.

A run is what one call asks. Its replies are written as they come, so that the next run asks only for what is missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from ..messages.usage import Usage
from ..named_tuple import NamedTuple
from .connection import Connection
from .database import Store
from .requests import RequestRecord, put_entry

DIGEST = 32  # bytes
AT_ONCE = 500  # digests that one statement asks for
PROTECTED_S = 30 * 86_400.0  # seconds for which what a run has paid for stays, whatever the size of the store
SUBMITTING, SUBMITTED, ENDED, COLLECTED = "submitting", "submitted", "ended", "collected"  # states of a batch


class StoredRow(NamedTuple):
    """What came of a row. reply: its text, "" beside an error.

    tokens: of prompt and reply together; None where that is not known.        cost_usd: None without a price.
    error: why no reply can ever come to this very request, in words; "" where one came.
    """

    reply: str
    tokens: int | None = None
    cost_usd: float | None = None
    error: str = ""


class Paid(NamedTuple):
    """What a run has used so far. record: names the entry in the ledger.        replies: how many came."""

    record: RequestRecord
    usage: Usage
    cost_usd: float | None
    replies: int


def begin_run(store: Store, endpoint: str, model: str) -> int:
    """Write down that a run begins. Returns: its number, which no other has, in whatever store."""
    number = int.from_bytes(os.urandom(7), "big")
    insert = "INSERT INTO row_runs (id, at, endpoint, model) VALUES (?,?,?,?)"
    store.write(lambda db: db.execute(insert, (number, time.time(), endpoint, model)), keeps_turns=True)
    return number


def end_run(store: Store, run: int, *, is_whole: bool) -> None:
    """Write down that a run has ended; one without replies is forgotten. is_whole: it has asked for all its rows."""

    def act(db: Connection) -> None:
        db.execute("UPDATE row_runs SET ended = ? WHERE id = ? AND ?", (time.time(), run, is_whole))
        unused = " AND ".join(
            f"NOT EXISTS (SELECT 1 FROM {table} WHERE run = row_runs.id)" for table in ("rows", "batches")
        )
        db.execute(f"DELETE FROM row_runs WHERE id = ? AND {unused}", (run,))

    store.write(act, keeps_turns=True)


def find_rows(store: Store, digests: Sequence[bytes]) -> dict[bytes, StoredRow]:
    """Return what is stored for these digests, by digest."""
    found = store.read(lambda db: _find(db, digests))
    if len(found) < len(digests) and (behind := store.look_behind(lambda db: _find(db, digests))):
        found = {**behind, **found}
    return found


def _find(db: Connection, digests: Sequence[bytes]) -> dict[bytes, StoredRow]:
    ordered = sorted(digests)  # as they stand in the table
    found: dict[bytes, StoredRow] = {}
    for begin in range(0, len(ordered), AT_ONCE):
        part = ordered[begin : begin + AT_ONCE]
        marks = ",".join("?" * len(part))
        select = f"SELECT digest, reply, tokens, cost_usd, error FROM rows WHERE digest IN ({marks})"
        cursor = db.cursor()
        cursor.row_factory = None
        for digest, reply, tokens, cost, error in cursor.execute(select, part):
            found[digest] = StoredRow(reply or "", tokens, cost, error or "")
    return found


def keep_rows(store: Store, run: int, came: Sequence[tuple[bytes, StoredRow]], paid: Paid | None = None) -> None:
    """Write down what came of these rows, and what the run has used by now, in one transaction."""

    def act(db: Connection) -> None:
        rows = [(digest, run, row.tokens, row.cost_usd, row.error or None, row.reply or None) for digest, row in came]
        db.executemany("INSERT OR REPLACE INTO rows VALUES (?,?,?,?,?,?)", rows)
        if paid is not None:
            put_entry(db, paid.record, paid.usage, paid.cost_usd, paid.replies)

    store.write(act, keeps_turns=True)


def drop_oldest_run(store: Store) -> bool:
    """Remove the replies of the oldest run that has ended and is not protected. Returns: whether there was one."""

    def act(db: Connection) -> bool:
        oldest = db.execute(
            "SELECT id FROM row_runs WHERE ended IS NOT NULL AND at < ? ORDER BY at LIMIT 1",
            (time.time() - PROTECTED_S,),
        ).fetchone()
        if oldest:
            _drop(db, oldest[0])
        return bool(oldest)

    is_any = store.write(act, keeps_turns=True)
    store.give_back()
    return is_any


def prune_runs(db: Connection, before: float) -> None:
    """Remove the replies of runs that began before that time, in seconds since 1970."""
    for (run,) in db.execute("SELECT id FROM row_runs WHERE at < ?", (before,)).fetchall():
        _drop(db, run)


def _drop(db: Connection, run: int) -> None:
    for table in ("rows", "batches"):
        db.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
    db.execute("DELETE FROM row_runs WHERE id = ?", (run,))


def carry_rows(memory: Connection, file: Connection) -> None:
    """Bring the rows and batches of a store in memory into the file, with the runs that they are of."""
    for table in ("row_runs", "rows"):
        for row in memory.execute(f"SELECT * FROM {table}").fetchall():
            file.execute(f"INSERT OR REPLACE INTO {table} VALUES ({','.join('?' * len(row))})", tuple(row))
    for batch in memory.execute("SELECT * FROM batches").fetchall():
        file.execute(f"INSERT OR REPLACE INTO batches VALUES ({','.join('?' * len(batch))})", tuple(batch))


def count_rows(store: Store) -> int:
    """Return how many rows of tables have a reply."""

    def act(db: Connection) -> int:
        return int(db.execute("SELECT count(*) FROM rows").fetchone()[0])

    return store.find(act) or 0


# ---- batches


class Batch(NamedTuple):
    """A Message Batch. id: ours, hexadecimal.        state: SUBMITTING, SUBMITTED, ENDED or COLLECTED.

    run, endpoint, model: whose requests are in it.        at: when it was submitted, in seconds since 1970.
    batch: the endpoint's id for it, "" while that is not known.        size: how many requests are in it.
    digests: of its requests, one behind the other.        most_usd: what it may cost.
    held: the record that holds that; when its kernel has died, it counts in the ledger as spent.
    """

    id: str
    run: int
    at: float
    endpoint: str
    model: str
    state: str
    batch: str
    size: int
    most_usd: float | None
    held: str
    digests: bytes

    @property
    def each(self) -> list[bytes]:
        return [self.digests[at : at + DIGEST] for at in range(0, len(self.digests), DIGEST)]


def put_batch(store: Store, batch: Batch) -> Batch:
    """Write down a batch, in the state that it is in."""
    insert = f"INSERT OR REPLACE INTO batches VALUES ({','.join('?' * len(batch))})"
    store.write(lambda db: db.execute(insert, batch), keeps_turns=True)
    return batch


def remove_batch(store: Store, batch: Batch) -> None:
    store.write(lambda db: db.execute("DELETE FROM batches WHERE id = ?", (batch.id,)), keeps_turns=True)


def open_batches(store: Store, endpoint: str, model: str) -> list[Batch]:
    """Return the batches whose results have not been collected, the oldest first. model: "" for all of them."""

    def act(db: Connection) -> list[Batch]:
        rows = db.execute(
            "SELECT * FROM batches WHERE endpoint = ? AND (model = ? OR ? = '') ORDER BY at", (endpoint, model, model)
        )
        return [Batch(*row) for row in rows.fetchall()]

    known = {batch.id: batch for batch in [*(store.look_behind(act) or []), *store.read(act)]}
    return [batch for batch in known.values() if batch.state != COLLECTED]


def collected(store: Store, batch: Batch) -> bool:
    """Write down that the results of a batch are in the store. Returns: whether no other kernel has done so before."""
    update = "UPDATE batches SET state = ? WHERE id = ? AND state <> ?"

    def act(db: Connection) -> bool:
        return db.execute(update, (COLLECTED, batch.id, COLLECTED)).rowcount > 0

    is_first = store.write(act, keeps_turns=True)
    if not is_first and not any(one.id == batch.id for one in open_batches(store, batch.endpoint, "")):
        return False
    put_batch(store, batch._replace(state=COLLECTED))  # also where the file has gone over to memory
    return True


def is_in_flight(store: Store, request: str, *, but: str) -> bool:
    """Return whether a kernel that lives has this request under way. but: the session that does not count."""

    def act(db: Connection) -> bool:
        select = "SELECT 1 FROM requests WHERE id = ? AND session <> ? AND state = 'in flight'"
        return db.execute(select, (request, but)).fetchone() is not None

    return bool(store.find(act))


def forget_entry(store: Store, request: str) -> None:
    """Remove what was counted for a request that turned out to have cost something else."""
    store.write(lambda db: db.execute("DELETE FROM ledger WHERE request = ?", (request,)), keeps_turns=True)
