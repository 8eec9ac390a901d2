"""What the store holds of conversations: their turns, each in its place."""

from __future__ import annotations

import time

from ..messages.conversation import Conversation, Turn
from .database import Connection, Store

END = 2**62  # beyond any place


def keep_turn(store: Store, conversation: str, turn: Turn, *, afresh: bool = False) -> None:
    """A turn whose reply is not new. afresh: the conversation begins with it."""

    def act(db: Connection) -> None:
        if afresh:
            set_aside(store, db, conversation)
        put_turn(db, conversation_id(store, db, conversation), turn)

    store.write(act)


def set_aside(store: Store, db: Connection, name: str) -> None:
    """What there is of the conversation goes on as NAME.1, NAME.2 …"""
    old = conversation_id(store, db, name)
    number = 1
    while exists(db, f"{name}.{number}"):
        number += 1
    db.execute("UPDATE conversations SET name = ? WHERE id = ?", (f"{name}.{number}", old))
    db.execute("INSERT INTO conversations (name, began) VALUES (?, ?)", (name, time.time()))


def set_aside_with(store: Store, name: str, cell: str) -> str:
    """The latest of the conversation's former selves that has a turn of that cell; "" if none has."""

    def act(db: Connection) -> str:
        found = db.execute(
            "SELECT name FROM conversations JOIN turns ON conversation = id WHERE cell = ? AND name GLOB ?"
            " ORDER BY id DESC",
            (cell, _literal(name) + ".[0-9]*"),
        )
        return next((row[0] for row in found if row[0][len(name) + 1 :].isdigit()), "")

    return store.read(act) or store.look_behind(act) or ""


def _literal(text: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)


def put_turn(db: Connection, conversation: int, turn: Turn) -> None:
    """In the cell's place, or at the end."""
    (end,) = db.execute(
        "SELECT coalesce(max(place), 0) + 1 FROM turns WHERE conversation = ?", (conversation,)
    ).fetchone()
    known = db.execute("SELECT 1 FROM requests WHERE id = ?", (turn.request,)).fetchone()
    db.execute(
        "INSERT INTO turns VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (conversation, cell) DO UPDATE SET"
        " wire = excluded.wire, digest = excluded.digest, size = excluded.size, asked_after = excluded.asked_after,"
        " request = excluded.request, at = excluded.at, session = excluded.session, execution = excluded.execution,"
        " cost_usd = excluded.cost_usd, tokens = excluded.tokens",
        (conversation, turn.cell, end, turn.digest, turn.size, turn.asked_after, turn.request if known else None,
         turn.at, turn.session, turn.execution, turn.cost_usd, turn.tokens, turn.wire),
    )  # fmt: skip


def exists(db: Connection, name: str) -> bool:
    return db.execute("SELECT 1 FROM conversations WHERE name = ?", (name,)).fetchone() is not None


def conversation_id(store: Store, db: Connection, name: str) -> int:
    """The row of the conversation; made if there is none, from what is behind the store if it is there."""
    if row := db.execute("SELECT id FROM conversations WHERE name = ?", (name,)).fetchone():
        return int(row[0])
    made = db.execute("INSERT INTO conversations (name, began) VALUES (?, ?)", (name, time.time())).lastrowid
    assert made is not None
    for turn in store.look_behind(lambda behind: turns_of(behind, name)) or ():
        put_turn(db, made, turn)
    return made


def conversation(store: Store, name: str, *, cell: str = "", window: int | None = None) -> Conversation:
    """The conversation of that name, empty if there is none.

    window: if given, the messages of only so many turns are read: of those before the cell's, or the last ones.
    """

    def act(db: Connection) -> tuple[bool, tuple[Turn, ...]]:
        return exists(db, name), turns_of(db, name, cell, window)

    is_here, turns = store.read(act)
    if not is_here:
        turns = store.look_behind(lambda behind: turns_of(behind, name, cell, window)) or ()
    return Conversation(name, turns)


def turns_of(db: Connection, name: str, cell: str = "", window: int | None = None) -> tuple[Turn, ...]:
    row = db.execute("SELECT id FROM conversations WHERE name = ?", (name,)).fetchone()
    if row is None:
        return ()
    first, end = _window(db, row["id"], cell, window) if window is not None else (0, END)
    cursor = db.cursor()
    cursor.row_factory = None  # plain tuples, for there may be thousands
    cursor.execute(
        "SELECT cell, CASE WHEN place >= ? AND place < ? THEN wire ELSE '' END, digest, size, asked_after, request, at,"
        " session, execution, cost_usd, tokens FROM turns WHERE conversation = ? ORDER BY place",
        (first, end, row["id"]),
    )
    return tuple(map(Turn._make, cursor))


def _window(db: Connection, conversation: int, cell: str, window: int) -> tuple[int, int]:
    """The places from which on, and before which, so many turns stand before the cell's."""
    here = db.execute("SELECT place FROM turns WHERE conversation = ? AND cell = ?", (conversation, cell)).fetchone()
    end = here[0] if here else END
    newest = "SELECT place FROM turns WHERE conversation = ? AND place < ? ORDER BY place DESC LIMIT ?"
    (first,) = db.execute(f"SELECT min(place) FROM ({newest})", (conversation, end, window)).fetchone()
    return (END if first is None else first), end
