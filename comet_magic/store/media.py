"""Jobs that make pictures, sound, film or transcripts, as they are written down; and the files that came of each.

A job is written down before it is sent, and its id right after, so that the next kernel can find it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ..messages.usage import Usage
from ..named_tuple import NamedTuple
from ..strict_json import json_or_none
from .connection import Connection, Row
from .database import Store
from .requests import IN_FLIGHT, RequestRecord, put_entry, put_request

# States. An answered job has its results at the endpoint, and not all of them in files here.
SUBMITTING, SUBMITTED, ANSWERED, FETCHED = "submitting", "submitted", "answered", "fetched"
REFUSED, FAILED, LOST = "refused", "failed", "lost"
KEEP_OPEN_S = 2 * 86_400.0  # seconds for which a job may go on
OPEN = (SUBMITTED, ANSWERED)  # those that another kernel can pick up


class StoredFile(NamedTuple):
    """A file that came of a job. path: absolute.        size: bytes.        caption: what the endpoint calls it."""

    number: int
    path: str
    mime: str
    size: int
    sha256: str
    caption: str = ""


class StoredJob(NamedTuple):
    """A job. id: ours, hexadecimal.        at: when it was ordered, in seconds since 1970.

    kind: "image", "speech", "transcript", "music" or "video".        key: digest of what was ordered.
    parameters: JSON.        api: how it was asked for.        folder: where its files go.
    state: one of those above.        why: what is wrong with it, in words.        remote: the endpoint's id.
    seconds: that it took.        answer: what the endpoint has answered, as JSON: addresses of results, or a text.
    """

    id: str
    at: float
    session: str
    kind: str
    key: str
    endpoint: str
    model: str
    prompt: str
    parameters: str
    api: str = ""
    folder: str = ""
    estimated_usd: float | None = None
    state: str = SUBMITTING
    why: str = ""
    remote: str = ""
    usage: str = "{}"
    cost_usd: float | None = None
    seconds: float | None = None
    answer: str = ""

    @property
    def name(self) -> str:
        """The beginning of its id, which is what a user types."""
        return self.id[:8]

    @property
    def usd(self) -> float | None:
        """US dollars that it cost, else those that it was estimated to cost; None where neither is known."""
        return self.estimated_usd if self.cost_usd is None else self.cost_usd

    @property
    def used(self) -> Usage:
        return Usage.from_wire(json_or_none(self.usage))

    @property
    def known_answer(self) -> dict[str, Any]:
        """What the endpoint has answered, as far as it is kept; {} for nothing."""
        said = json_or_none(self.answer)
        return said if isinstance(said, dict) else {}

    @property
    def record(self) -> RequestRecord:
        """The request that it is for the budget and the ledger. Its prompt is with the job alone."""
        question = json.dumps({"role": "user", "content": f"{self.kind}: job {self.name}"})
        return RequestRecord(
            self.id, self.at, "", self.model, "{}", question, self.endpoint, self.session, most_usd=self.estimated_usd
        )


_MARKS = ",".join("?" * len(StoredJob._fields))


def begin_job(
    store: Store, job: StoredJob, check: Callable[[Connection], None], passes: Collection[str] = ()
) -> StoredJob | None:  # fmt: skip
    """Write a job down before it is sent, with what it may cost.

    check: of the budget; may raise.        passes: states in which a job of the same order is no hindrance.
    Returns: the job of the same order that another thread or kernel has begun meanwhile; None where this one begins.
    """

    def act(db: Connection) -> StoredJob | None:
        other = _latest(db, job.key)
        if other is not None and other.state not in passes:
            return other
        db.execute(f"INSERT INTO media_jobs VALUES ({_MARKS})", job)
        put_request(store, db, job.record, IN_FLIGHT)
        check(db)
        return None

    return store.write(act, keeps_turns=True)


def put_job(store: Store, job: StoredJob) -> StoredJob:
    """Write down how a job stands now. What it costs goes into the ledger once it was, or may have been, accepted.

    Returns: the job; as another kernel has ended it, where one has.
    """

    def act(db: Connection) -> StoredJob:
        former = _job(db.execute("SELECT * FROM media_jobs WHERE id = ?", (job.id,)).fetchone())
        if former is not None and former.state in (FETCHED, FAILED) and job.state not in (former.state, FETCHED):
            return former  # another kernel was quicker
        _put(db, job)
        if job.state == SUBMITTING:
            return job
        db.execute("DELETE FROM requests WHERE id = ?", (job.id,))
        if job.state in (REFUSED, FAILED):  # gateways give the money of a failed job back
            db.execute("DELETE FROM ledger WHERE request = ?", (job.id,))
        else:
            put_entry(db, job.record, job.used, job.usd)
        return job

    return store.write(act, keeps_turns=True)


def _put(db: Connection, job: StoredJob) -> None:
    columns = ", ".join(f"{name} = excluded.{name}" for name in StoredJob._fields)
    db.execute(f"INSERT INTO media_jobs VALUES ({_MARKS}) ON CONFLICT (id) DO UPDATE SET {columns}", job)


def mark_lost(store: Store, id: str, why: str, states: Collection[str] = (SUBMITTING,)) -> None:
    """Note that nothing will come of a job, if it is in one of these states; what it may have cost counts."""

    def act(db: Connection) -> None:
        job = _job(db.execute("SELECT * FROM media_jobs WHERE id = ?", (id,)).fetchone())
        if job is not None and job.state in states:
            _put(db, job._replace(state=LOST, why=why))
            db.execute("DELETE FROM requests WHERE id = ?", (id,))
            put_entry(db, job.record, job.used, job.usd)

    store.write(act, keeps_turns=True)


def claim_path(store: Store, job: StoredJob, file: StoredFile) -> StoredFile:
    """Write down where a file goes, before it is there. Returns: where another kernel has written down that it goes."""

    def act(db: Connection) -> StoredFile:
        other = next((one for one in _files(db, job.id) if one.number == file.number), None)
        if other is not None and other.sha256 == file.sha256:
            return other
        if not db.execute("SELECT 1 FROM media_jobs WHERE id = ?", (job.id,)).fetchone():  # gone over to memory
            _put(db, job)
        db.execute("INSERT OR REPLACE INTO media_files VALUES (?,?,?,?,?,?,?)", (job.id, *file))
        return file

    return store.write(act, keeps_turns=True)


def is_claimed(store: Store, path: str) -> bool:
    """Return whether a file of a job is, or was, at a path."""
    select = "SELECT 1 FROM media_files WHERE path = ?"
    return bool(store.find(lambda db: db.execute(select, (path,)).fetchall()))


def move_file(store: Store, job: str, number: int, path: str) -> None:
    """Note that a file is somewhere else now, as when its notebook was moved."""
    update = "UPDATE media_files SET path = ? WHERE job = ? AND number = ?"
    store.write(lambda db: db.execute(update, (path, job, number)), keeps_turns=True)


def drop_files(store: Store, job: str, numbers: Sequence[int]) -> None:
    """Forget files that were never written."""
    rows = [(job, number) for number in numbers]
    store.write(
        lambda db: db.executemany("DELETE FROM media_files WHERE job = ? AND number = ?", rows), keeps_turns=True
    )


def files_of(store: Store, job: str) -> list[StoredFile]:
    return store.find(lambda db: _files(db, job)) or []


def _files(db: Connection, job: str) -> list[StoredFile]:
    select = "SELECT number, path, mime, size, sha256, caption FROM media_files WHERE job = ? ORDER BY number"
    return [StoredFile(*row) for row in db.execute(select, (job,)).fetchall()]


def latest_job(store: Store, key: str) -> StoredJob | None:
    """Return the latest job with this key; one that is neither lost nor failed, if there is one."""
    return store.find(lambda db: _latest(db, key))


def _latest(db: Connection, key: str) -> StoredJob | None:
    select = "SELECT * FROM media_jobs WHERE key = ? AND state <> ? ORDER BY state IN (?, ?), at DESC LIMIT 1"
    return _job(db.execute(select, (key, REFUSED, LOST, FAILED)).fetchone())


def find_job(store: Store, id: str) -> StoredJob | None:
    select = "SELECT * FROM media_jobs WHERE id = ?"
    return _job(store.find(lambda db: db.execute(select, (id,)).fetchone()))


def find_jobs(store: Store, named: str = "", most: int = 1000) -> list[StoredJob]:
    """Return the latest jobs, the newest first. named: the beginning of their id, or the endpoint's id."""
    select = "SELECT * FROM media_jobs WHERE substr(id, 1, length(?)) = ? OR remote = ? ORDER BY at DESC LIMIT ?"
    rows = store.find_all(lambda db: db.execute(select, (named, named, named, most)).fetchall())
    return list({row["id"]: StoredJob(*row) for row in reversed(rows)}.values())[::-1]


def _job(row: Row | None) -> StoredJob | None:
    return None if row is None else StoredJob(*row)


def sweep_jobs(store: Store, is_dead: Callable[[str | None, int | None, float], bool]) -> None:
    """Mark the jobs whose kernels ended before the endpoint had answered. is_dead: as of `requests.sweep`."""

    def act(db: Connection) -> None:
        rows = db.execute(
            "SELECT j.id, j.at, host, pid FROM media_jobs j LEFT JOIN sessions s ON s.id = j.session WHERE state = ?",
            (SUBMITTING,),
        ).fetchall()
        why = "the kernel ended before the endpoint had answered"
        dead = [(LOST, why, row["id"]) for row in rows if is_dead(row["host"], row["pid"], row["at"])]
        db.executemany("UPDATE media_jobs SET state = ?, why = ? WHERE id = ?", dead)

    store.write(act, keeps_turns=True)


def carry_jobs(memory: Connection, file: Connection) -> None:
    """Bring the jobs of a store in memory into the file, with their files."""
    for row in memory.execute("SELECT * FROM media_jobs").fetchall():
        _put(file, StoredJob(*row))  # not replaced, which would take its files away
    for row in memory.execute("SELECT * FROM media_files").fetchall():
        file.execute("INSERT OR REPLACE INTO media_files VALUES (?,?,?,?,?,?,?)", tuple(row))


def prune_jobs(db: Connection, before: float) -> None:
    """Forget what was ordered before that time, in seconds since 1970; the files stay, and what may go on for days."""
    marks: Sequence[str] = (SUBMITTING, *OPEN)
    db.execute(
        f"DELETE FROM media_jobs WHERE at < ? AND (at < ? OR state NOT IN ({','.join('?' * len(marks))}))",
        (before, time.time() - KEEP_OPEN_S, *marks),
    )


def count_files(store: Store) -> int:
    return store.find(lambda db: int(db.execute("SELECT count(*) FROM media_files").fetchone()[0])) or 0
