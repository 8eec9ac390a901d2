"""Requests and their replies, as they are written down: begun, kept while they grow, ended; and found again.

Each function is one transaction. Nothing here holds a key: a request is written down as its body, without headers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..messages.conversation import Turn
from ..messages.message import Message
from ..messages.request import Request
from ..messages.tool_call import ToolCall
from ..messages.usage import Usage
from ..named_tuple import NamedTuple
from ..strict_json import json_or_none
from ..text import whole_text
from .connection import Connection, Row
from .database import Store
from .turn_order import is_of_another_notebook, leave_others, whole_name
from .turns import (
    LAST,
    TurnPosition,
    conversation_id,
    find_conversation_id,
    put_turn,
    set_aside,
    turns_of,
    update_cache,
)

IN_FLIGHT, WHOLE, PARTIAL, NOT_USABLE, FAILED = "in flight", "whole", "partial", "not usable", "failed"


class RequestRecord(NamedTuple):
    """A request as it is written down.

    id: hexadecimal, unique.        at: seconds since 1970.        key: `Request.key`.
    parameters, question: JSON, without any API key.
    endpoint: its name: a base URL, or "local:…".        conversation: "" for none.        most_usd: what it may cost.
    is_new: the conversation begins with it, once its reply is whole.
    continues: the id of the request whose reply goes on, "" for none.
    """

    id: str
    at: float
    key: str
    model: str
    parameters: str
    question: str
    endpoint: str
    session: str
    conversation: str = ""
    cell: str = ""
    execution: int | None = None
    most_usd: float | None = None
    is_new: bool = False
    continues: str = ""

    @classmethod
    def of(
        cls, request: Request, question: Message, *, hide: Callable[[Any], Any] = lambda value: value, **known: Any
    ) -> RequestRecord:  # fmt: skip
        """Return the record of a request.

        question: what the turn begins with; the first of the request's messages, unless it continues a reply.
        hide: takes the key out of a value.
        """
        parameters, wire = json.dumps(hide(request.parameters())), json.dumps(hide(question).to_wire())
        return cls(key=request.key, model=hide(request.model), parameters=parameters, question=wire, **known)


_BY_NAME = "(SELECT id FROM conversations WHERE name = ?)"


# ---- a request's life


def unchecked(db: Connection) -> None:
    """Allow every request."""


def begin(store: Store, record: RequestRecord, check: Callable[[Connection], None] = unchecked) -> None:
    """Write a request down before it is sent: whatever happens now, it will be known that it was.

    check: is called once it is written, in the same transaction, which ends all of it when it raises: kernels that ask
    at once see one another.
    """

    def act(db: Connection) -> None:
        put_request(store, db, record, IN_FLIGHT)
        check(db)

    store.write(act, keeps_turns=True)


def put_request(store: Store, db: Connection, record: RequestRecord, state: str, why: str = "") -> None:
    if record.conversation and record.conversation not in store.cache:
        conversation_id(store, db, record.conversation)
    db.execute(
        f"INSERT INTO requests VALUES (?,?,?,?,?,?,?,?,{_BY_NAME},?,?,?,?,?,?)",
        (record.id, record.session, record.at, record.endpoint, record.key, record.model, record.parameters,
         record.question, record.conversation, record.cell, record.execution, state, why, record.most_usd,
         record.is_new),
    )  # fmt: skip


def raise_most(store: Store, request: str, most_usd: float, check: Callable[[Connection], None] = unchecked) -> None:
    """Note that a request goes on, and so may cost more than it was thought to. check: as of `begin`."""

    def act(db: Connection) -> None:
        db.execute("UPDATE requests SET most_usd = ? WHERE id = ?", (most_usd, request))
        check(db)

    store.write(act, keeps_turns=True)


def withdraw(store: Store, request: str) -> None:
    """Remove a request that was not sent after all."""
    store.write(lambda db: db.execute("DELETE FROM requests WHERE id = ?", (request,)), keeps_turns=True)


def checkpoint(store: Store, request: str, message: Message) -> None:
    """Write down what has arrived so far, for a kernel may be killed at any moment."""

    def act(db: Connection) -> None:
        if db.execute("SELECT 1 FROM requests WHERE id = ?", (request,)).fetchone():  # not gone over to memory
            _put_reply(db, request, message)

    store.write(act, keeps_turns=True)


def _put_reply(db: Connection, request: str, message: Message) -> None:
    db.execute("INSERT OR REPLACE INTO replies VALUES (?,?,?)", (request, time.time(), to_json(message)))


class Ending(NamedTuple):
    """How a request ended. message: what arrived, None if nothing did.

    why: what it lacks to be whole, "" if nothing.        turn: the turn that it makes, if it makes one.
    turn_position: where that goes.
    is_replayable: whether another run may be answered with it.
    is_one_of_several: whether it is one of several replies to its cell, which leaves the cell's turn to another.
    """

    message: Message | None = None
    why: str = ""
    turn: Turn | None = None
    usage: Usage = Usage()
    cost_usd: float | None = None
    is_replayable: bool = True
    turn_position: TurnPosition = LAST
    is_one_of_several: bool = False


def finish(store: Store, record: RequestRecord, ending: Ending) -> None:
    """Write down how a request ended, in one transaction: the reply, the turn that it makes, and what it cost."""
    message, why, turn = ending.message, whole_text(ending.why), ending.turn
    state = FAILED if message is None else NOT_USABLE if message.mismatch else PARTIAL if why else WHOLE

    def act(db: Connection) -> None:
        key = record.key if ending.is_replayable else ""
        if turn is not None and record.is_new:
            set_aside(store, db, record.conversation)
        ended = db.execute(
            f"UPDATE requests SET state = ?, why = ?, key = ?, conversation = ifnull({_BY_NAME}, conversation)"
            " WHERE id = ?",
            (state, why, key, record.conversation if turn is not None else None, record.id),
        )
        if not ended.rowcount:  # the store has gone over to memory meanwhile
            put_request(store, db, record._replace(key=key), state, why)
        if message is not None:
            _put_reply(db, record.id, message)
        if message is not None or ending.cost_usd:
            put_entry(db, record, ending.usage, ending.cost_usd)
        if turn is not None and not put_turn(db, record.conversation, turn, ending.turn_position):
            put_turn(db, conversation_id(store, db, record.conversation), turn, ending.turn_position)
        if state == WHOLE and not ending.is_one_of_several:
            for left in leave_others(db, record.cell, record.conversation, ending.turn_position.notebook):
                store.cache.pop(left, None)
        if record.continues and message is not None and not why:  # then that one is whole, too, and can be replayed
            db.execute("UPDATE requests SET state = 'whole', why = '' WHERE id = ?", (record.continues,))
            _put_reply(db, record.continues, message)

    keeps_turns = turn is None or (not record.is_new and ending.turn_position.keeps_order)
    with store.locked():
        store.write(act, keeps_turns=keeps_turns)
        if turn is not None and keeps_turns:
            update_cache(store, record.conversation, turn, ending.turn_position)


def put_entry(
    db: Connection, record: RequestRecord, usage: Usage, cost_usd: float | None, replies: int = 1
) -> None:  # fmt: skip
    """Write down what was used for a record; again where that has grown. replies: how many came for it."""
    counts = (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
    db.execute(
        "INSERT OR REPLACE INTO ledger VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            record.id,
            record.session,
            record.at,
            record.endpoint,
            record.model,
            record.conversation,
            *counts,
            cost_usd,
            replies,
        ),
    )


# ---- replies


def to_json(message: Message) -> str:
    apart = ("receipt", "shows_usage", "as_type", "value")  # the type is the question's, and read as it again
    fields_of = {name: value for name, value in vars(message).items() if name not in apart}
    known = {name: value for name, value in fields_of.items() if value is not None and value != ()}
    if message.before:
        known["before"] = [{"role": part.role, "content": part.content} for part in message.before]
    if message.calls:
        known["calls"] = [call._asdict() for call in message.calls]
    return json.dumps({**known, "usage": message.usage._asdict()})


_TEXTS = ("model", "stop_reason", "stop_sequence", "id", "request_id", "incomplete", "mismatch", "label")
_NUMBERS = ("elapsed_s", "limit")


def from_json(text: object) -> Message | None:
    """Return the message in a row; None where it is none. What this version does not know is left out.

    A file may come from elsewhere, or from a later version: nothing in it is believed to be what it should be.
    """
    plain = json_or_none(text) if isinstance(text, str) else None
    if not isinstance(plain, dict) or plain.get("role") != "assistant":
        return None
    try:
        known: dict[str, Any] = {name: plain[name] for name in _TEXTS if isinstance(plain.get(name), str)}
        known |= {name: plain[name] for name in _NUMBERS if isinstance(plain.get(name), int | float)}
        if isinstance(details := plain.get("stop_details"), dict):
            known["stop_details"] = {name: word for name, word in details.items() if isinstance(word, str | None)}
        usage = Usage.from_wire(dict(plain.get("usage", {})))
        message = replace(
            Message.from_wire({"content": (), **plain}),
            usage=usage,
            warnings=tuple(filter(_is_text, plain.get("warnings", ()))),
            before=tuple(map(Message.from_wire, plain.get("before", ()))),
            calls=tuple(_call(call) for call in plain.get("calls", ())),
            **known,
        )
        if message.is_whole:
            Turn.of("", (Message.user("?"), *message.before, message))  # raises where its parts are no dialogue
        return message
    except (TypeError, KeyError, AttributeError, ValueError):
        return None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _call(fields: dict[str, Any]) -> ToolCall:
    texts = {name: str(fields[name]) for name in ("name", "result", "problem") if name in fields}
    took_s = fields.get("took_s")
    return ToolCall(arguments=fields["arguments"], took_s=took_s if isinstance(took_s, int | float) else None, **texts)


class StoredReply(NamedTuple):
    """A stored reply to the very same request.

    question: what was asked then, which may show other times and places.
    request: its id.        at: when it was asked for, in seconds since 1970.
    cost_usd, tokens: what it took then, where that is known.
    """

    message: Message
    question: Message
    request: str
    at: float
    cost_usd: float | None = None
    tokens: int | None = None


def find_reply(
    store: Store, endpoint: str, request: Request, *, cell: str = "", nth: int = 1, but: str = ""
) -> StoredReply | None:
    """Return the latest whole reply to the very same request at the same endpoint; the same cell's, if it has one.

    nth: where cells have no id: the n-th time that it is asked in one session.
    but: a session whose replies do not count, for it is not its own past.
    """
    key = request.key

    def act(db: Connection) -> Row | None:
        rows = db.execute(
            "SELECT message, question, id, r.at, ledger.cost_usd,"
            " input + output + ifnull(cached, 0) + ifnull(written, 0) AS tokens, r.session, r.cell = ? AS same"
            " FROM requests r JOIN replies ON replies.request = id LEFT JOIN ledger ON ledger.request = id"
            " WHERE key = ? AND r.endpoint = ? AND state = 'whole' AND r.session <> ? ORDER BY same DESC, r.at DESC",
            (cell, key, endpoint, but),
        ).fetchall()
        if nth > 1 or (rows and not rows[0]["same"]):
            rows = [row for row in rows if row["session"] == rows[0]["session"]][::-1][nth - 1 :]
        return rows[0] if rows else None

    row = store.find(act)
    message, question = (from_json(row["message"]), _question(row["question"])) if row else (None, None)
    return StoredReply(message, question, *tuple(row)[2:6]) if row and message and question else None


def endpoints_that_answered(store: Store, request: Request) -> list[str]:
    """Return the endpoints from which the store has a reply to the very same request."""
    key = request.key

    def act(db: Connection) -> list[str]:
        rows = db.execute("SELECT DISTINCT endpoint FROM requests WHERE key = ? AND state = 'whole'", (key,))
        return [row[0] for row in rows]

    return store.find(act) or []


def why_not_whole(store: Store, endpoint: str, request: Request) -> str:
    """Say what the latest reply to the very same request lacks to be whole; "" if there is none."""
    identity = (request.key, endpoint)

    def act(db: Connection) -> str:
        row = db.execute(
            "SELECT why FROM requests WHERE key = ? AND endpoint = ? ORDER BY at DESC", identity
        ).fetchone()
        return str(row[0]) if row else ""

    return store.find(act) or ""


_COST = "ledger.cost_usd, input + ifnull(output, 0) + ifnull(cached, 0) + ifnull(written, 0) AS tokens"


class Attempt(NamedTuple):
    """A request, and what came of it. message: what had arrived of its reply.        why: what it lacks to be whole.

    cost_usd, tokens: what it took, where that is known.        is_new: a conversation was to begin with it.
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
    is_new: bool
    endpoint: str


def latest_of(store: Store, cell: str, conversation: str, notebook: str) -> Attempt | None:
    """Return the latest request of a cell that has ended, whatever came of it: in the conversation, else elsewhere.

    It may be the request behind its turn there which another cell sent, and whose reply was replayed.

    conversation: "" for none.        notebook: the path of the cell's notebook, whose copies have the same cells.
    """

    def act(db: Connection) -> list[Row]:
        answered = "SELECT request FROM turns WHERE cell = ? AND conversation = ?"
        row = db.execute(answered, (cell, find_conversation_id(db, conversation))).fetchone()
        turn = row[0] if row else None
        return db.execute(
            f"SELECT r.*, message, {_COST}, ifnull(name, '') AS asked_in, r.id = ? AS is_turn FROM requests r"
            " LEFT JOIN conversations c ON c.id = r.conversation LEFT JOIN replies ON replies.request = r.id"
            f" LEFT JOIN ledger ON ledger.request = r.id WHERE (r.cell = ? OR r.id = ?) AND r.state <> '{IN_FLIGHT}'"
            " ORDER BY r.at DESC LIMIT 50",
            (turn, cell, turn),
        ).fetchall()

    rows = store.find(act) or []
    here = [row for row in rows if row["is_turn"] or whole_name(row["asked_in"]) == whole_name(conversation)]
    near = [row for row in rows if not is_of_another_notebook(row["asked_in"], notebook)]
    return _attempt((here or near)[0]) if here or near else None


def attempts(store: Store, conversation: str) -> list[Attempt]:
    """Return the latest request of each cell, where it is later than the cell's turn and made none."""

    def act(db: Connection) -> list[Row]:
        return db.execute(
            f"SELECT r.*, message, {_COST} FROM requests r JOIN conversations c ON c.id = r.conversation"
            " LEFT JOIN replies ON replies.request = r.id LEFT JOIN ledger ON ledger.request = r.id"
            " LEFT JOIN turns t ON t.conversation = c.id AND t.cell = r.cell"
            " WHERE c.name = ? AND r.state <> 'whole' AND (t.at IS NULL OR t.at < r.at)"
            " AND NOT EXISTS (SELECT 1 FROM requests later WHERE later.conversation = r.conversation"
            " AND later.cell = r.cell AND later.at > r.at AND (later.state <> 'failed' OR r.state = 'failed'))"
            " ORDER BY r.at",
            (conversation,),
        ).fetchall()

    return [attempt for row in store.read(act) if (attempt := _attempt(row))]


def _question(text: str) -> Message | None:
    """Return the question in a row; None where it is none."""
    try:
        return Message.from_wire(json_or_none(text))
    except (TypeError, KeyError, AttributeError, ValueError):
        return None


def _attempt(row: Row) -> Attempt | None:
    question = _question(row["question"])
    if question is None:
        return None
    parameters = json_or_none(row["parameters"])
    return Attempt(
        row["id"], row["at"], row["cell"], row["execution"], row["session"], question,
        parameters if isinstance(parameters, dict) else {}, from_json(row["message"]), row["state"], row["why"],
        row["cost_usd"], row["tokens"], bool(row["afresh"]), row["endpoint"],
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
    # What was under way when the file failed has ended since, but for what is under way in memory.
    under_way = f"SELECT id FROM requests WHERE session = ? AND state = '{IN_FLIGHT}'"
    here = {row[0] for row in memory.execute(under_way, (session,))}
    ended = [(row[0],) for row in file.execute(under_way, (session,)).fetchall() if row[0] not in here]
    file.executemany("DELETE FROM requests WHERE id = ?", ended)
    for table in ("replies", "ledger"):
        rows = [tuple(row) for row in memory.execute(f"SELECT * FROM {table}")]
        if not rows:  # SQLite takes no empty list of values
            continue
        marks = ",".join("?" * len(rows[0]))
        # What a run has used may have grown since the file had it.
        file.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)
    for batch in memory.execute("SELECT * FROM vectors").fetchall():
        columns = "(at, length, digests, vectors)"
        number = file.execute(f"INSERT INTO vectors {columns} VALUES (?,?,?,?)", tuple(batch)[1:]).lastrowid
        places = memory.execute(
            "SELECT digest_start, row FROM embeddings WHERE batch = ?", (batch["batch"],)
        ).fetchall()
        moved = [(start, number, row) for start, row in places]
        file.executemany("INSERT OR REPLACE INTO embeddings VALUES (?,?,?)", moved)
    for name in names.values():
        for turn in turns_of(memory, find_conversation_id(memory, name)):
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
            " NULL, NULL, NULL, NULL, most_usd, 1 FROM requests r LEFT JOIN conversations c ON c.id = conversation"
            " WHERE r.id = ?",
            dead,
        )
        return len(dead)

    return store.write(act, keeps_turns=True)


def begin_session(
    store: Store, session: str, host: str, pid: int, ancestors: tuple[tuple[int, float], ...] = ()
) -> str:
    """Write down that a process has begun to ask. Returns: the session that pays for it: its own, or an ancestor's.

    ancestors: the processes that started this one, the nearest first: their pids, and when they began themselves, in
    seconds since 1970; an older session of the same pid is another process's.
    """

    def act(db: Connection) -> str:
        payer = session
        for ancestor, began in ancestors:
            row = db.execute(
                "SELECT payer FROM sessions WHERE host = ? AND pid = ? AND id <> ? AND began >= ?"
                " ORDER BY began DESC LIMIT 1",
                (host, ancestor, session, began - 1.0),
            ).fetchone()
            if row and row[0]:
                payer = str(row[0])
                break
        db.execute("INSERT OR IGNORE INTO sessions VALUES (?,?,?,?,?)", (session, host, pid, time.time(), payer))
        return payer

    return store.write(act, keeps_turns=True)
