"""A conversation follows its notebook: its turns stand in the notebook's order, without those of deleted cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..messages.conversation import Conversation, Turn
from ..store import left_out, turns
from ..store.database import Store
from .cells import Notebook, id_of
from .session import Session


def follow(store: Store, session: Session, name: str, notebook: Notebook) -> None:
    """Bring the conversation's turns in the store into the notebook's order, without those of deleted cells."""
    session.saved_cell_ids.update(notebook.cells)
    state = (notebook.cells, notebook.saved_at, tuple(notebook.deleted.items()))
    if not (notebook.cells or notebook.deleted) or session.followed.get((store, name)) == state:
        return
    session.followed[store, name] = state
    with store.locked():
        conversation = turns.conversation(store, name, window=0)
        if not conversation.turns and not left_out.cells(store, name):
            return
        deleted = [turn.cell for turn in conversation.turns if _is_deleted(turn, name, notebook, session)]
        back = [
            one.cell
            for one in left_out.find(store, name)
            if one.asks_in is None and id_of(one.cell) in notebook.cells and one.at < notebook.saved_at
        ]
        cells = left_out.cells(store, name)
        began_anew = cells[:1] if turns.former_names(store, name) else []  # what began it stays the first
        order = [*began_anew, *in_order(cells[len(began_anew) :], notebook.cells)]
        if deleted or back or order != cells:
            left_out.change(store, name, deleted, back, order)
            session.unannounced[store, name] = session.unannounced.get((store, name), 0) + len(deleted)


def _is_deleted(turn: Turn, name: str, notebook: Notebook, session: Session) -> bool:
    """Return whether a turn's cell is known to be no longer in the notebook."""
    id = id_of(turn.cell)
    is_saved = id in notebook.cells
    if deleted_at := notebook.deleted.get(id):
        return not (is_saved and notebook.saved_at > deleted_at)
    if not id or not notebook.cells or is_saved:
        return False
    if turn.session == session.id and id not in session.saved_cell_ids:
        return False  # it is no cell of the file, as one of a console beside the notebook
    is_of_notebook = name == notebook.path or turn.session == session.id
    return is_of_notebook and max(turn.at, session.cells.ran_at(turn.cell)) < notebook.saved_at


def in_order(cells: Sequence[str], ids: Sequence[str]) -> list[str]:
    """Return the cells of turns in the order of a notebook's ids; others stay behind the turn before them."""
    places = _index_by_id(ids)
    groups: list[tuple[int, list[str]]] = [(-1, [])]
    for cell in cells:
        if id_of(cell) in places:
            groups.append((places[id_of(cell)], []))
        groups[-1][1].append(cell)
    return [cell for _, group in sorted(groups, key=lambda group: group[0]) for cell in group]


def next_cell_of(conversation: Conversation, key: str, ids: Sequence[str]) -> str:
    """Return the cell of the first turn that stands below a cell which has none yet; "" where none is known."""
    places = _index_by_id(ids)
    place = places.get(id_of(key), len(ids))
    return next((turn.cell for turn in conversation.turns if places.get(id_of(turn.cell), -1) > place), "")


def _index_by_id(ids: Sequence[str]) -> Mapping[str, int]:
    return {id: place for place, id in enumerate(ids)}
