"""Where turns stand in their conversations, and which conversation a cell has left."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from .connection import Connection


def cells(db: Connection, conversation: int | None) -> list[str]:
    """Return the cells of all turns in order, those that are left out among them."""
    rows = db.execute("SELECT cell FROM turns WHERE conversation = ? ORDER BY place", (conversation,))
    return [row[0] for row in rows]


def put_in_order(db: Connection, conversation: int, order: Sequence[str]) -> None:
    """Put the turns into an order. order: the cells of all of them."""
    moved = [(place, conversation, cell) for place, cell in enumerate(order, 1)]
    db.execute("UPDATE turns SET place = -1 - place WHERE conversation = ?", (conversation,))  # each place is unique
    db.executemany("UPDATE turns SET place = ? WHERE conversation = ? AND cell = ?", moved)


def put_before(db: Connection, conversation: int, cell: str, other: str) -> None:
    """Put a cell's turn right before that of another cell."""
    rest = [one for one in cells(db, conversation) if one != cell]
    if other in rest:
        at = rest.index(other)
        put_in_order(db, conversation, [*rest[:at], cell, *rest[at:]])


def leave_others(db: Connection, cell: str, asks_in: str, notebook: str) -> list[str]:
    """Leave a cell's turns out of the other conversations in which it asked: return their names.

    asks_in: the conversation in which it asks now, "" for none.
    notebook: the path of its notebook: copies of a notebook have the same cells, and conversations of their own.
    """
    left = left_by(db, cell, asks_in, notebook)
    now = time.time()
    db.executemany("INSERT OR IGNORE INTO left_out VALUES (?,?,?,?)", [(id, cell, asks_in, now) for id, _ in left])
    return [name for _, name in left]


def _keeps(name: str, asks_in: str, notebook: str) -> bool:
    """Return whether a conversation keeps the turns of cells that ask elsewhere.

    One that `--new` has set aside does, such as NAME.1; and so does that of another notebook, or of another kernel.
    """
    return (
        whole_name(name) == whole_name(asks_in) or is_of_another_notebook(name, notebook) or name.startswith("kernel-")
    )


def is_of_another_notebook(name: str, notebook: str) -> bool:
    """Return whether a conversation is another notebook's own."""
    return whole_name(name).endswith(".ipynb") and whole_name(name) != notebook


def whole_name(name: str) -> str:
    """Return NAME for NAME.1, which `--new` has set aside."""
    return re.sub(r"\.\d+$", "", name)


def left_by(db: Connection, cell: str, asks_in: str, notebook: str) -> list[tuple[int, str]]:
    """Return the conversations, as (row, name), that a cell leaves by asking in another one.

    They are those in which it has asked and still has its turn; what a fork has copied was not asked in it.
    """
    rows = db.execute(
        "SELECT c.id, c.name FROM requests r JOIN turns t ON t.request = r.id AND t.conversation = r.conversation"
        " JOIN conversations c ON c.id = t.conversation WHERE r.cell = ? AND t.cell = r.cell"
        " AND r.conversation IS NOT (SELECT id FROM conversations WHERE name = ?)"
        " AND NOT EXISTS (SELECT 1 FROM left_out l WHERE l.conversation = t.conversation AND l.cell = t.cell)",
        (cell, asks_in),
    )
    return [(row[0], row[1]) for row in rows if not _keeps(row[1], asks_in, notebook)]
