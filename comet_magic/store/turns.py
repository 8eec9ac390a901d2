"""The turns of conversations, in order; a conversation that this process knows is not read again.

SQLite is only asked whether another connection has written since (`PRAGMA data_version`).
"""

from __future__ import annotations

import time
from typing import cast

from ..messages.conversation import Conversation, Turn
from ..named_tuple import NamedTuple
from . import turn_order
from .connection import Connection
from .database import Store

END = 2**62  # beyond any place
MOST_CACHED = 8  # conversations
# Of a turn that is not left out of its conversation.
STANDS = (
    "NOT EXISTS (SELECT 1 FROM left_out WHERE left_out.conversation = turns.conversation"
    " AND left_out.cell = turns.cell)"
)


class Cached(NamedTuple):
    """A conversation as it was read. data_version: SQLite's count of what other connections had written by then."""

    data_version: int
    conversation: Conversation


def with_left_out(store: Store, name: str, *cells: str) -> Conversation | None:
    """Return the conversation with the turns of cells that are left out of it; None where none is."""

    def act(db: Connection) -> tuple[Turn, ...]:
        id = find_conversation_id(db, name)
        rows = db.execute("SELECT cell FROM left_out WHERE conversation = ?", (id,))
        return turns_of(db, id, also=cells) if any(row[0] in cells for row in rows) else ()

    turns = store.find(act)
    return Conversation(name, turns) if turns else None


def models(store: Store, name: str) -> dict[str, str]:
    """Return which model was asked for each turn of a conversation, by the id of its request, as far as it is known."""

    def act(db: Connection) -> list[tuple[str, str]]:
        rows = db.execute(
            "SELECT requests.id, model FROM turns JOIN requests ON requests.id = request WHERE turns.conversation = ?",
            (find_conversation_id(db, name),),
        )
        return [(row[0], row[1]) for row in rows]

    return dict(store.find_all(act))


def conversation(store: Store, name: str, *, cell: str = "", window: int | None = None) -> Conversation:
    """Return the conversation of that name, empty if there is none.

    window: if given, the messages of only so many turns are needed: of those before the cell's, or the last ones.
    """
    with store.locked():  # another thread of this process may write a turn meanwhile
        return _conversation(store, name, cell, window)


def _conversation(store: Store, name: str, cell: str, window: int | None) -> Conversation:
    version = store.data_version()  # first, for where it opens the file anew, it empties the cache
    known = store.cache.get(name)
    if known and known.data_version == version and _has_messages(known.conversation, cell, window):
        return cast(Conversation, known.conversation)

    def act(db: Connection) -> tuple[int | None, tuple[Turn, ...]]:
        id = find_conversation_id(db, name)
        return id, turns_of(db, id, cell, window)

    id, turns = store.read(act)
    if id is None:
        store.cache.pop(name, None)
        behind = store.look_behind(lambda db: turns_of(db, find_conversation_id(db, name), cell, window))
        return Conversation(name, behind or ())
    return _cached(store, version, Conversation(name, turns))


def _cached(store: Store, version: int, conversation: Conversation) -> Conversation:
    """Keep a conversation in the cache, and the latest few others."""
    store.cache.pop(conversation.name, None)
    while len(store.cache) >= MOST_CACHED:
        del store.cache[next(iter(store.cache))]
    store.cache[conversation.name] = Cached(version, conversation)
    return conversation


def _has_messages(known: Conversation, cell: str, window: int | None) -> bool:
    """Return whether the messages of the turns in the window have been read."""
    end = known.index_of(cell) if window is not None else len(known.turns)
    first = 0 if window is None else max(0, end - window)
    return all(turn.wire for turn in known.turns[first:end])


class TurnPosition(NamedTuple):
    """Where a turn goes. before: the cell of the turn that it goes before, where it is new; "": it is the last.

    is_new: the conversation begins with it.        is_back: its cell's former turn was left out.
    notebook: the path of its cell's notebook, "" where it is not known.
    """

    before: str = ""
    is_new: bool = False
    is_back: bool = False
    notebook: str = ""

    @property
    def keeps_order(self) -> bool:
        """Whether writing it moves no other turn, and brings none back."""
        return not (self.is_new or self.is_back)


LAST = TurnPosition()


def update_cache(store: Store, name: str, turn: Turn, turn_position: TurnPosition) -> None:
    """Note a turn that this process has just written."""
    if known := store.cache.get(name):
        at = known.conversation.index_of(turn_position.before)
        _cached(store, known.data_version, known.conversation.with_turn(turn, at))


def keep_turn(store: Store, name: str, turn: Turn, turn_position: TurnPosition = LAST) -> None:
    """Write a turn whose reply was replayed."""

    def act(db: Connection) -> None:
        if turn_position.is_new:
            set_aside(store, db, name)
        conversation_id(store, db, name)
        put_turn(db, name, turn, turn_position)

    with store.locked():
        store.write(act, keeps_turns=turn_position.keeps_order)
        if turn_position.keeps_order:
            update_cache(store, name, turn, turn_position)


def set_aside(store: Store, db: Connection, name: str) -> None:
    """Rename what there is of the conversation to NAME.1, NAME.2 …, and begin it anew."""
    old = conversation_id(store, db, name)
    number = 1
    while find_conversation_id(db, f"{name}.{number}") is not None:
        number += 1
    db.execute("UPDATE conversations SET name = ? WHERE id = ?", (f"{name}.{number}", old))
    db.execute("INSERT INTO conversations (name, began) VALUES (?, ?)", (name, time.time()))


def leave_others(store: Store, cell: str, asks_in: str, notebook: str) -> None:
    """Leave a cell's turns out of the conversations in which it does not ask any more. notebook: its path."""
    with store.locked():
        if not store.read(lambda db: turn_order.left_by(db, cell, asks_in, notebook)):
            return  # as nearly always, and a replay writes nothing for it
        for name in store.write(lambda db: turn_order.leave_others(db, cell, asks_in, notebook), keeps_turns=True):
            store.cache.pop(name, None)


def former_names(store: Store, name: str, cell: str = "") -> list[str]:
    """Return the names under which the conversation was set aside, the latest first. cell: with a turn of that cell."""

    def act(db: Connection) -> list[str]:
        having = f" JOIN turns ON conversation = id AND cell = ? AND {STANDS}" if cell else ""
        rows = db.execute(
            f"SELECT name FROM conversations{having} WHERE name GLOB ? ORDER BY id DESC",
            (*([cell] if cell else []), _literal(name) + ".[0-9]*"),
        )
        return [row[0] for row in rows if row[0][len(name) + 1 :].isdigit()]

    return store.find(act) or []


def _literal(text: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)


def put_turn(db: Connection, conversation: int | str, turn: Turn, turn_position: TurnPosition = LAST) -> bool:
    """Write a turn in its cell's place, or where a new one goes. conversation: its name, or its row.

    Returns: whether there is such a conversation.
    """
    id = find_conversation_id(db, conversation) if isinstance(conversation, str) else conversation
    if id is None:
        return False
    there = "SELECT 1 FROM turns WHERE conversation = ? AND cell = ?"
    is_inserted = bool(turn_position.before) and db.execute(there, (id, turn.cell)).fetchone() is None
    db.execute("DELETE FROM left_out WHERE conversation = ? AND cell = ?", (id, turn.cell))
    db.execute(
        "INSERT INTO turns SELECT c.id, ?, (SELECT coalesce(max(place), 0) + 1 FROM turns"
        " WHERE conversation = c.id AND typeof(place) = 'integer'),"
        " ?,?,?, (SELECT id FROM requests WHERE id = ?), ?,?,?,?,?,? FROM conversations c WHERE c.id = ?"
        " ON CONFLICT (conversation, cell) DO UPDATE SET"
        " wire = excluded.wire, digest = excluded.digest, size = excluded.size, asked_after = excluded.asked_after,"
        " request = excluded.request, at = excluded.at, session = excluded.session, execution = excluded.execution,"
        " cost_usd = excluded.cost_usd, tokens = excluded.tokens",
        (turn.cell, turn.digest, turn.size, turn.asked_after, turn.request, turn.at, turn.session, turn.execution,
         turn.cost_usd, turn.tokens, turn.wire, id),
    )  # fmt: skip
    if is_inserted:
        turn_order.put_before(db, id, turn.cell, turn_position.before)
    return True


def find_conversation_id(db: Connection, name: str) -> int | None:
    row = db.execute("SELECT id FROM conversations WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else None


def conversation_id(store: Store, db: Connection, name: str) -> int:
    """Return the row of the conversation; make it where there is none, with the turns that the file behind has."""
    if (id := find_conversation_id(db, name)) is not None:
        return id
    made = db.execute("INSERT INTO conversations (name, began) VALUES (?, ?)", (name, time.time())).lastrowid
    assert made is not None
    for turn in store.look_behind(lambda behind: turns_of(behind, find_conversation_id(behind, name))) or ():
        put_turn(db, made, turn)
    return made


def turns_of(
    db: Connection, conversation: int | None, cell: str = "", window: int | None = None, also: tuple[str, ...] = ()
) -> tuple[Turn, ...]:
    """Return the turns of a conversation in order. also: cells whose turns are wanted though left out."""
    if conversation is None:
        return ()
    first, end = _window(db, conversation, cell, window) if window is not None else (0, END)
    cursor = db.cursor()
    cursor.row_factory = None  # plain tuples, for there may be thousands
    cursor.execute(
        "SELECT cell, CASE WHEN place >= ? AND place < ? THEN wire END, digest, size, asked_after, request, at,"
        " session, execution, cost_usd, tokens FROM turns WHERE conversation = ? AND typeof(place) = 'integer'"
        f" AND ({STANDS} OR cell IN ({','.join('?' * len(also))})) ORDER BY place",
        (first, end, conversation, *also),
    )
    return tuple(turn._replace(wire=turn.wire or "") for turn in map(Turn._make, cursor) if _is_sound(turn))


def _is_sound(turn: Turn) -> bool:
    """Return whether a row is a turn as this program writes them; any other row is ignored."""
    texts = (turn.cell, turn.digest, turn.asked_after)
    numbers = (turn.size, turn.at, turn.cost_usd, turn.tokens, turn.execution)
    if not all(type(text) is str for text in texts) or not all(map(is_number, numbers)) or turn.at is None:
        return False
    return turn.wire is None or turn.is_whole  # None: it was not read


def is_number(value: object) -> bool:
    """Return whether a value is a number as this program writes them, or none."""
    return value is None or (type(value) in (int, float) and -1e12 < value < 1e12)  # type: ignore[operator]


def _window(db: Connection, conversation: int, cell: str, window: int) -> tuple[int, int]:
    """Return (first, end), between which the places are of so many turns before the cell's."""
    here = db.execute("SELECT place FROM turns WHERE conversation = ? AND cell = ?", (conversation, cell)).fetchone()
    end = here[0] if here else END
    newest = f"SELECT place FROM turns WHERE conversation = ? AND place < ? AND {STANDS} ORDER BY place DESC LIMIT ?"
    (first,) = db.execute(f"SELECT min(place) FROM ({newest})", (conversation, end, window)).fetchone()
    return (END if first is None else first), end
