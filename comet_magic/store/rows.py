"""Replies to one prompt over many rows, each by a digest of what was asked; neither prompts nor rows are kept.

A run is what one call asks. Its replies are written as they come, so that the next run asks only for what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from ..messages.usage import Usage
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
    """Write down that a run begins. Returns: its number."""
    insert = "INSERT INTO row_runs (at, endpoint, model) VALUES (?,?,?)"
    return store.write(lambda db: db.execute(insert, (time.time(), endpoint, model)).lastrowid or 0, keeps_turns=True)


def end_run(store: Store, run: int) -> None:
    """Write down that a run has asked for all its rows; one without replies is forgotten."""

    def act(db: Connection) -> None:
        db.execute("UPDATE row_runs SET ended = ? WHERE id = ?", (time.time(), run))
        unused = " AND ".join(
            f"NOT EXISTS (SELECT 1 FROM {table} WHERE run = row_runs.id)" for table in ("rows", "batches")
        )
        db.execute(f"DELETE FROM row_runs WHERE id = ? AND {unused}", (run,))

    store.write(act, keeps_turns=True)


def find_rows(store: Store, wanted: Sequence[bytes]) -> dict[bytes, StoredRow]:
    """Return what is stored for these digests, by digest."""
    found = store.read(lambda db: _find(db, wanted))
    if len(found) < len(wanted) and (behind := store.look_behind(lambda db: _find(db, wanted))):
        found = {**behind, **found}
    return found


def _find(db: Connection, wanted: Sequence[bytes]) -> dict[bytes, StoredRow]:
    ordered = sorted(wanted)  # as they stand in the table
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


def count_rows(store: Store) -> int:
    return store.read(lambda db: int(db.execute("SELECT count(*) FROM rows").fetchone()[0]))


def carry_rows(memory: Connection, file: Connection) -> None:
    """Bring the rows and runs of a store in memory into the file."""
    for run in memory.execute("SELECT * FROM row_runs").fetchall():
        insert = "INSERT INTO row_runs (at, endpoint, model, ended) VALUES (?,?,?,?)"
        number = file.execute(insert, tuple(run)[1:]).lastrowid
        rows = memory.execute(
            "SELECT digest, ?, tokens, cost_usd, error, reply FROM rows WHERE run = ?", (number, run["id"])
        )
        file.executemany("INSERT OR REPLACE INTO rows VALUES (?,?,?,?,?,?)", map(tuple, rows.fetchall()))


# ---- batches


class Batch(NamedTuple):
    """A Message Batch. id: ours.        state: SUBMITTING, SUBMITTED, ENDED or COLLECTED.

    batch: the endpoint's id for it, "" while that is not known.        at: when it was submitted.
    size: how many requests are in it.
    digests: of its requests, one behind the other.        most_usd: what it may cost.
    held: the record that holds that; when its kernel has died, it counts in the ledger as spent.
    """

    id: int
    at: float
    state: str
    batch: str
    size: int
    most_usd: float | None
    held: str
    digests: bytes

    @property
    def each(self) -> list[bytes]:
        return [self.digests[at : at + DIGEST] for at in range(0, len(self.digests), DIGEST)]


def begin_batch(
    store: Store, run: int, endpoint: str, model: str, digests: Sequence[bytes], most_usd: float | None, held: str
) -> Batch:  # fmt: skip
    """Write down that a batch is about to be submitted. held: as of `Batch`."""
    at, joined = time.time(), b"".join(digests)
    columns = "(run, at, endpoint, model, state, batch, size, most_usd, held, digests)"
    values = (run, at, endpoint, model, SUBMITTING, "", len(digests), most_usd, held, joined)

    def act(db: Connection) -> int:
        return db.execute(f"INSERT INTO batches {columns} VALUES (?,?,?,?,?,?,?,?,?,?)", values).lastrowid or 0

    number = store.write(act, keeps_turns=True)
    return Batch(number, at, SUBMITTING, "", len(digests), most_usd, held, joined)


def put_state(store: Store, batch: Batch, state: str, name: str = "") -> Batch:
    """Write down in which state a batch is. name: the endpoint's id, once it is known."""
    changed = batch._replace(state=state, batch=name or batch.batch)
    update = "UPDATE batches SET state = ?, batch = ? WHERE id = ?"
    store.write(lambda db: db.execute(update, (changed.state, changed.batch, batch.id)), keeps_turns=True)
    return changed


def remove_batch(store: Store, batch: Batch) -> None:
    store.write(lambda db: db.execute("DELETE FROM batches WHERE id = ?", (batch.id,)), keeps_turns=True)


def open_batches(store: Store, endpoint: str, model: str) -> list[Batch]:
    """Return the batches whose results have not been collected, the oldest first. model: "" for all of them."""

    def act(db: Connection) -> list[Batch]:
        rows = db.execute(
            "SELECT id, at, state, batch, size, most_usd, held, digests FROM batches"
            " WHERE endpoint = ? AND (model = ? OR ? = '') AND state <> ? ORDER BY at",
            (endpoint, model, model, COLLECTED),
        )
        return [Batch(*row) for row in rows.fetchall()]

    return store.read(act)


def forget_entry(store: Store, request: str) -> None:
    """Remove what was counted for a request that turned out to have cost something else."""
    store.write(lambda db: db.execute("DELETE FROM ledger WHERE request = ?", (request,)), keeps_turns=True)
