"""The turns that are left out of their conversations: of deleted cells, and of cells that ask elsewhere by now.

They stay in the store with their places, and come back when their cell is run again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from ..named_tuple import NamedTuple
from . import turn_order
from .connection import Connection
from .database import Store
from .turns import conversation_id, find_conversation_id


class LeftOut(NamedTuple):
    """A turn that is left out, by its cell.

    asks_in: the conversation in which the cell asks now, "" for none; None: it was deleted.
    at: since when, in seconds since 1970.
    """

    cell: str
    asks_in: str | None
    at: float


def find(store: Store, name: str) -> list[LeftOut]:
    """Return what is left out of a conversation."""

    def act(db: Connection) -> list[LeftOut]:
        id = find_conversation_id(db, name)
        return [
            LeftOut(*row) for row in db.execute("SELECT cell, asks_in, at FROM left_out WHERE conversation = ?", (id,))
        ]

    return store.find(act) or []


def cells(store: Store, name: str) -> list[str]:
    """Return the cells of all turns of a conversation in order, those that are left out among them."""
    return store.find(lambda db: turn_order.cells(db, find_conversation_id(db, name))) or []


def leaves(store: Store, cell: str, asks_in: str, notebook: str) -> list[str]:
    """Return the conversations that a cell would leave by asking in that one. notebook: its path."""
    return [name for _, name in store.find(lambda db: turn_order.left_by(db, cell, asks_in, notebook)) or []]


def change(store: Store, name: str, deleted: Iterable[str], back: Iterable[str], order: Sequence[str]) -> None:
    """Leave the turns of deleted cells out, bring others back, and put all into an order.

    order: the cells of all turns, those that are left out among them.
    """

    def act(db: Connection) -> None:
        id, now = conversation_id(store, db, name), time.time()
        db.executemany("INSERT OR REPLACE INTO left_out VALUES (?,?,NULL,?)", [(id, cell, now) for cell in deleted])
        db.executemany("DELETE FROM left_out WHERE conversation = ? AND cell = ?", [(id, cell) for cell in back])
        if turn_order.cells(db, id) != order:
            turn_order.put_in_order(db, id, order)

    store.write(act)
