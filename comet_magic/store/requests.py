"""What the store holds of conversations: requests, their replies, and the turns that became of them.

Each function is one transaction. Nothing here holds a key: a request is written down as its body, never as its headers.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ..messages.conversation import Turn
from ..messages.message import Message
from ..messages.request import Request
from ..messages.tool_call import Call
from ..messages.usage import Usage
from ..text import whole_text
from .database import Connection, Row, Store
from .turns import conversation_id, put_turn, set_aside, turns_of

IN_FLIGHT, WHOLE, PARTIAL, FAILED = "in flight", "whole", "partial", "failed"


@dataclass(frozen=True)
class Asked:
    """A request as it is written down.

    endpoint: its name: a base URL, or "local:…".        conversation: "" for none.        most_usd: what it may cost.
    question: what the turn begins with; the last of the request's messages, unless it continues a reply.
    hidden: takes the key out of a text, for a user may have put it into one.
    afresh: the conversation begins with it, once its reply is whole.
    continues: the id of the request whose reply goes on.
    """

    request: Request
    question: Message
    endpoint: str
    session: str
    conversation: str = ""
    cell: str = ""
    execution: int | None = None
    most_usd: float | None = None
    hidden: Callable[[str], str] = str
    afresh: bool = False
    continues: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    at: float = field(default_factory=time.time)


# ---- a request's life


def begin(store: Store, asked: Asked) -> None:
    """Before it is sent: whatever happens now, it will be known that it was."""
    store.write(lambda db: _put_request(store, db, asked, IN_FLIGHT))


def _put_request(store: Store, db: Connection, asked: Asked, state: str, why: str = "") -> None:
    wire = replace(asked.request, messages=(), cached=()).to_wire()
    del wire["messages"]
    parameters, question = asked.hidden(json.dumps(wire)), asked.hidden(json.dumps(asked.question.to_wire()))
    conversation = conversation_id(store, db, asked.conversation) if asked.conversation else None
    db.execute(
        "INSERT INTO requests VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (asked.id, asked.session, asked.at, asked.endpoint, asked.request.key, asked.request.model, parameters,
         question, conversation, asked.cell, asked.execution, state, why, asked.most_usd, asked.afresh),
    )  # fmt: skip


def raise_most(store: Store, asked: Asked) -> None:
    """It goes on, and so may cost more than it was thought to."""
    store.write(lambda db: db.execute("UPDATE requests SET most_usd = ? WHERE id = ?", (asked.most_usd, asked.id)))


def keep_from_replays(store: Store, asked: Asked) -> None:
    """Its reply is whole, and yet not what another run would give."""
    store.write(lambda db: db.execute("UPDATE requests SET key = '' WHERE id = ?", (asked.id,)))


def withdraw(store: Store, asked: Asked) -> None:
    """It was not sent after all."""
    store.write(lambda db: db.execute("DELETE FROM requests WHERE id = ?", (asked.id,)))


def checkpoint(store: Store, asked: Asked, message: Message) -> None:
    """Write down what has arrived so far, for a kernel may be killed at any moment."""

    def act(db: Connection) -> None:
        if db.execute("SELECT 1 FROM requests WHERE id = ?", (asked.id,)).fetchone():  # not gone over to memory
            _put_reply(db, asked.id, message)

    store.write(act)


def _put_reply(db: Connection, request: str, message: Message) -> None:
    db.execute("INSERT OR REPLACE INTO replies VALUES (?,?,?)", (request, time.time(), to_json(message)))


def finish(store: Store, asked: Asked, message: Message | None, why: str, turn: Turn | None, usage: Usage,
           cost_usd: float | None) -> None:  # fmt: skip
    """How it ended, all in one transaction: the reply, the turn that it makes, and what it cost.

    message: what arrived, if anything did.        why: what it lacks to be whole, "" if nothing.
    """

    def act(db: Connection) -> None:
        state = FAILED if message is None else PARTIAL if why else WHOLE
        reason = whole_text(why)
        ended = db.execute("UPDATE requests SET state = ?, why = ? WHERE id = ?", (state, reason, asked.id))
        if not ended.rowcount:  # the store has gone over to memory meanwhile
            _put_request(store, db, asked, state, reason)
        if message is not None:
            _put_reply(db, asked.id, message)
            _put_entry(db, asked, usage, cost_usd)
        if turn is not None:
            if asked.afresh:
                set_aside(store, db, asked.conversation)
            conversation = conversation_id(store, db, asked.conversation)
            put_turn(db, conversation, turn)
            db.execute("UPDATE requests SET conversation = ? WHERE id = ?", (conversation, asked.id))
        if asked.continues and message is not None and not why:  # then that one is whole, too, and can be replayed
            db.execute("UPDATE requests SET state = 'whole', why = '' WHERE id = ?", (asked.continues,))
            _put_reply(db, asked.continues, message)

    store.write(act)


def _put_entry(db: Connection, asked: Asked, usage: Usage, cost_usd: float | None) -> None:
    counts = (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
    db.execute(
        "INSERT OR REPLACE INTO ledger VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        (asked.id, asked.session, asked.at, asked.endpoint, asked.request.model, asked.conversation, *counts, cost_usd),
    )


# ---- replies


def to_json(message: Message) -> str:
    apart = ("receipt", "shows_usage", "as_type", "value")  # the type is the question's, and read as it again
    kept = {name: value for name, value in vars(message).items() if name not in apart}
    known = {name: value for name, value in kept.items() if value is not None and value != ()}
    if message.before:
        known["before"] = [{"role": part.role, "content": part.content} for part in message.before]
    if message.calls:
        known["calls"] = [vars(call) for call in message.calls]
    return json.dumps({**known, "usage": vars(message.usage)})


def from_json(text: str) -> Message:
    plain = json.loads(text)
    plain["usage"] = Usage(**plain.get("usage", {}))
    for name in ("content", "warnings"):
        plain[name] = tuple(plain.get(name, ()))
    plain["before"] = tuple(map(Message.from_wire, plain.get("before", ())))
    plain["calls"] = tuple(Call(**call) for call in plain.get("calls", ()))
    return Message(**plain)


@dataclass(frozen=True)
class Found:
    """A stored reply to the very request.

    request: its id.  at: when it was asked for.  cost_usd, tokens: what it took then, where that is known.
    """

    message: Message
    request: str
    at: float
    cost_usd: float | None = None
    tokens: int | None = None


def find_reply(
    store: Store, endpoint: str, request: Request, *, cell: str = "", nth: int = 1, but: str = ""
) -> Found | None:
    """The latest whole reply to the very same request at the same endpoint; the same cell's, if it has one.

    nth: where cells have no id: to be the n-th time that it was asked in one session.
    but: a session whose replies do not count, for it is not its own past.
    """
    key = request.key

    def act(db: Connection) -> Row | None:
        rows = db.execute(
            "SELECT message, id, r.at, ledger.cost_usd,"
            " input + output + ifnull(cached, 0) + ifnull(written, 0) AS tokens, r.session, r.cell = ? AS same"
            " FROM requests r JOIN replies ON replies.request = id LEFT JOIN ledger ON ledger.request = id"
            " WHERE key = ? AND r.endpoint = ? AND state = 'whole' AND r.session <> ? ORDER BY same DESC, r.at DESC",
            (cell, key, endpoint, but),
        ).fetchall()
        if nth > 1 or (rows and not rows[0]["same"]):
            rows = [row for row in rows if row["session"] == rows[0]["session"]][::-1][nth - 1 :]
        return rows[0] if rows else None

    row = store.read(act) or store.look_behind(act)
    return Found(from_json(row["message"]), *tuple(row)[1:5]) if row else None


def endpoints_that_answered(store: Store, request: Request) -> list[str]:
    """Where the store has a reply to the very same request from."""
    key = request.key

    def act(db: Connection) -> list[str]:
        found = db.execute("SELECT DISTINCT endpoint FROM requests WHERE key = ? AND state = 'whole'", (key,))
        return [row[0] for row in found]

    return store.read(act) or store.look_behind(act) or []


def why_not_whole(store: Store, endpoint: str, request: Request) -> str:
    """What the latest reply to the very same request lacks to be whole; "" if there is none."""
    asked = (request.key, endpoint)

    def act(db: Connection) -> str:
        row = db.execute("SELECT why FROM requests WHERE key = ? AND endpoint = ? ORDER BY at DESC", asked).fetchone()
        return str(row[0]) if row else ""

    return store.read(act) or store.look_behind(act) or ""


@dataclass(frozen=True)
class Attempt:
    """A request that made no turn. message: what had arrived of its reply.        why: what it lacks to be whole.

    cost_usd, tokens: what it took, where that is known.
    """

    id: str
    at: float
    cell: str
    execution: int | None
    session: str
    question: Message
    parameters: dict[str, Any]
    message: Message | None
    state: str
    why: str
    cost_usd: float | None
    tokens: int | None
    afresh: bool


def attempts(store: Store, conversation: str) -> list[Attempt]:
    """The latest request of each cell, where it is later than the cell's turn and made none."""

    def act(db: Connection) -> list[Row]:
        return db.execute(
            "SELECT r.*, message, ledger.cost_usd,"
            " input + ifnull(output, 0) + ifnull(cached, 0) + ifnull(written, 0) AS tokens"
            " FROM requests r JOIN conversations c ON c.id = r.conversation"
            " LEFT JOIN replies ON replies.request = r.id LEFT JOIN ledger ON ledger.request = r.id"
            " LEFT JOIN turns t ON t.conversation = c.id AND t.cell = r.cell"
            " WHERE c.name = ? AND r.state <> 'whole' AND (t.at IS NULL OR t.at < r.at)"
            " AND NOT EXISTS (SELECT 1 FROM requests later WHERE later.conversation = r.conversation"
            " AND later.cell = r.cell AND later.at > r.at AND (later.state <> 'failed' OR r.state = 'failed'))"
            " ORDER BY r.at",
            (conversation,),
        ).fetchall()

    return [_attempt(row) for row in store.read(act)]


def _attempt(row: Row) -> Attempt:
    question = Message.from_wire(json.loads(row["question"]))
    return Attempt(
        row["id"], row["at"], row["cell"], row["execution"], row["session"], question,
        json.loads(row["parameters"]), from_json(row["message"]) if row["message"] else None, row["state"], row["why"],
        row["cost_usd"], row["tokens"], bool(row["afresh"]),
    )  # fmt: skip


# ---- stores and sessions


def carry_over(memory: Connection, file: Connection, session: str) -> None:
    """Bring what this session asked, while its store was in memory, into the file."""
    names = dict(memory.execute("SELECT id, name FROM conversations").fetchall())
    for name in names.values():
        file.execute("INSERT OR IGNORE INTO conversations (name, began) VALUES (?, ?)", (name, time.time()))
    there = dict(file.execute("SELECT name, id FROM conversations").fetchall())
    for row in memory.execute("SELECT * FROM requests WHERE session = ?", (session,)).fetchall():
        request = {**dict(row), "conversation": there[names[row["conversation"]]] if row["conversation"] else None}
        marks = ",".join("?" * len(request))
        file.execute(f"INSERT OR IGNORE INTO requests VALUES ({marks})", tuple(request.values()))
    for table in ("replies", "ledger"):
        rows = [tuple(row) for row in memory.execute(f"SELECT * FROM {table}")]
        marks = ",".join("?" * len(rows[0])) if rows else ""
        file.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)
    for name in names.values():
        for turn in turns_of(memory, name):
            if turn.session == session:
                put_turn(file, there[name], turn)


def sweep(store: Store, is_dead: Callable[[str | None, int | None, float], bool]) -> int:
    """Mark what ended kernels left in flight as partial, and count what it may have cost.

    is_dead: of a kernel's host and pid, and when it asked.
    """

    def act(db: Connection) -> int:
        rows = db.execute(
            "SELECT r.id, r.at, host, pid FROM requests r LEFT JOIN sessions s ON s.id = r.session"
            " WHERE state = 'in flight'"
        ).fetchall()
        dead = [(row["id"],) for row in rows if is_dead(row["host"], row["pid"], row["at"])]
        why = "the kernel ended before the reply did"
        db.executemany(f"UPDATE requests SET state = '{PARTIAL}', why = '{why}' WHERE id = ?", dead)
        db.executemany(
            "INSERT OR IGNORE INTO ledger SELECT r.id, session, at, endpoint, model, ifnull(name, ''),"
            " NULL, NULL, NULL, NULL, most_usd FROM requests r LEFT JOIN conversations c ON c.id = conversation"
            " WHERE r.id = ?",
            dead,
        )
        return len(dead)

    return store.write(act)


def begin_session(store: Store, session: str, host: str, pid: int) -> None:
    store.write(
        lambda db: db.execute("INSERT OR IGNORE INTO sessions VALUES (?,?,?,?)", (session, host, pid, time.time()))
    )
