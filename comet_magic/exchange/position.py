"""A question's position in its conversation: the turn it replaces, and the turns sent before it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..messages.conversation import Conversation, Turn
from ..messages.message import Message
from ..named_tuple import NamedTuple
from ..settings import CometSettings
from ..store import turns
from ..store.database import Store
from ..store.turns import TurnPosition
from ..text import many
from .cells import Cell, id_of, kernel_of
from .following import follow, next_cell_of
from .session import Session


class Position(NamedTuple):
    """A question's position. key: of its cell, which is the key of the turn that the reply will make.

    conversation: as it is now; empty where it begins anew.
    sent: the turns that are sent before the question.        left_out: number of older turns that are too many.
    is_new: what there is under the conversation's name is to be set aside first.
    withheld: number of earlier turns left out because they may contain values.
    next_cell: the cell of the turn that stands below it in the notebook, where it has no turn yet; "" for none.
    deleted: number of turns that have just been left out, for their cells were deleted.
    is_back: the cell has a turn that was left out, and stands in its place again once this is answered.
    """

    cell: Cell
    conversation: Conversation
    key: str
    sent: Conversation
    left_out: int = 0
    is_new: bool = False
    withheld: int = 0
    next_cell: str = ""
    deleted: int = 0
    is_back: bool = False

    @property
    def digest_before(self) -> str:
        return self.conversation.before(self.next_cell or self.key).digest

    @property
    def turn_position(self) -> TurnPosition:
        return TurnPosition(self.next_cell, self.is_new, self.is_back, self.cell.notebook.path)

    def stale_after(self, turn: Turn) -> list[Turn]:
        """Return the later turns that are outdated once `turn` stands in its place."""
        index = self.conversation.index_of(self.next_cell or turn.cell)
        changed = self.conversation.with_turn(turn, index)
        later = {after.cell for after in changed.turns[index + 1 :]}
        return [stale for stale in changed.stale() if stale.cell in later] if later else []

    def sent_line(self, parts: Iterable[str]) -> str:
        """Return `your text · df (1,000 × 3, card of 212 tokens) · 2 earlier turns`; "" where the text is sent alone.

        parts: what is in the question, in words.
        """
        parts = list(parts)
        if count := len(self.sent.turns):
            parts.append(many(count, "earlier turn"))
        if self.left_out:
            parts.append(f"left out: {many(self.left_out, 'older turn')} (history_turns, history_tokens)")
        if self.deleted:
            whose = "a deleted cell" if self.deleted == 1 else "deleted cells"
            parts.append(f"left out: {many(self.deleted, 'turn')} of {whose}")
        if self.withheld:
            parts.append(f"left out: {many(self.withheld, 'earlier turn')} that may show values (share_values)")
        return " · ".join(parts) if len(parts) > 1 else ""


def find_position(
    store: Store, session: Session, settings: CometSettings, question: Message, cell: Cell, *, key: str = "",
    new: bool = False, withholds: bool = True, also: tuple[str, ...] = (),
) -> Position:  # fmt: skip
    """Find the position of `question`. key: the cell's, where it is known.        new: begin the conversation anew.

    withholds: leave out turns that may show values, where those are not shared.
    also: cells whose turns stand there, though they are left out still.
    """
    is_known = bool(key)
    key = key or session.cells.next_key(cell)
    if not cell.conversation:
        return Position(cell, _NONE, key, _NONE)
    most_turns = settings.history_turns
    # Where cells have no id, their questions tell which is which, so all are read.
    window = most_turns if cell.id else None
    next_cell, deleted, is_back = "", 0, False
    if cell.id:
        follow(store, session, cell.conversation, cell.notebook)
        deleted = session.unannounced.get((store, cell.conversation), 0)
    conversation = turns.conversation(store, cell.conversation, cell=key, window=window)
    if also:
        conversation = turns.with_left_out(store, conversation.name, *also) or conversation
    if not new and cell.id and not conversation.has(key):
        if whole := turns.with_left_out(store, conversation.name, key, *also):
            conversation, is_back = whole, True
        else:
            cell, conversation, next_cell = _position_of_new(store, cell, key, conversation, window)
    if not is_known and cell.is_notebook and not cell.id:
        key = (
            session.cells.of_handle(cell)
            or _key_of_same(session, cell, conversation, question)
            or _key_of_rerun(session, conversation, question)
            or key
        )
        session.cells.remember(cell, key)
    # Run All runs `--new` cells, too: one that begins the conversation already is run in its place.
    is_new = new and bool(conversation.turns) and conversation.turns[0].cell != key
    if is_new:
        conversation = Conversation(cell.conversation)
    sent, older = conversation.before(next_cell or key).bounded(most_turns, settings.history_tokens)
    withheld = 0
    if withholds and not settings.share_values:
        allowed = tuple(turn for turn in sent.turns if turn.digest in session.without_values)
        withheld = len(sent.turns) - len(allowed)
        sent = sent._replace(turns=allowed)
    return Position(cell, conversation, key, sent, older, is_new, withheld, next_cell, deleted, is_back)


def _position_of_new(
    store: Store, cell: Cell, key: str, conversation: Conversation, window: int | None
) -> tuple[Cell, Conversation, str]:
    """Find where a cell without a turn asks: in which conversation, and above which turn; "" for below all."""
    ids, first = cell.notebook.cells, conversation.turns[0].cell if conversation.turns else ""
    next_cell = next_cell_of(conversation, key, ids)
    formers = []
    if first and next_cell == first:
        formers = turns.former_names(store, conversation.name)
    elif first and not {id_of(key), id_of(first)} <= set(ids):
        # Where the order is not known, its turn is above that of the `--new` cell, for it was asked before.
        formers = turns.former_names(store, conversation.name, key)
    if formers:
        # A cell above a `--new` cell asks in the conversation that `--new` has set aside.
        cell = cell._replace(conversation=formers[0])
        conversation = turns.conversation(store, cell.conversation, cell=key, window=window)
        next_cell = "" if conversation.has(key) else next_cell_of(conversation, key, cell.notebook.cells)
    if next_cell:  # other turns stand before it than before a cell at the end
        conversation = turns.conversation(store, cell.conversation, cell=next_cell, window=window)
    return cell, conversation, next_cell


_NONE = Conversation()
NEAR = 0.8  # likeness, as difflib measures it, from which a question is another one that was edited
SHORT = 40  # characters; shorter questions may be alike by chance


def _key_of_same(session: Session, cell: Cell, conversation: Conversation, question: Message) -> str:
    """Return the key of the turn that asked the same, or nearly; "" where none did.

    For cells of a front end that gives them new names whenever it opens the notebook, as VS Code does: in another
    kernel these names say nothing of the stored turns.
    """
    if not cell.handle:
        return ""
    taken = session.cells.taken
    free = [turn for turn in conversation.turns if turn.cell not in taken]
    same = [turn.cell for turn in free if turn.messages[0] == question]
    near = [turn.cell for turn in free if not same and _is_near(turn.question, question.text)]
    return next(iter([*same, *near]), "")


def _is_near(one: str, other: str) -> bool:
    one, other = one.strip(), other.strip()
    shorter, longer = sorted((one, other), key=len)
    if shorter and longer.startswith(shorter) and not re.match(r"[\w\s]", longer[len(shorter) :]):
        return True  # as `Plot it` and `Plot it, in red`; but not `Plot` and `Plot sales`, nor `df` and `df2`
    if min(len(one), len(other)) < SHORT:
        return False
    from difflib import SequenceMatcher  # not at the top: few notebooks have such cells

    return SequenceMatcher(None, one[:2000], other[:2000]).ratio() >= NEAR


def _key_of_rerun(session: Session, conversation: Conversation, question: Message) -> str:
    """Return the key of the turn that is run again, in a notebook whose cells have no id; "" for a new turn.

    A notebook that is run again asks its first question first. From there on its turns are gone through in order.
    """
    last = session.cells.last_in(conversation.name)
    if last is None:
        firsts = {kernel_of(turn.cell): turn for turn in reversed(conversation.turns)}
        keys = [turn.cell for kernel, turn in firsts.items() if kernel and turn.messages[0] == question]
        return keys[0] if keys else ""
    index = conversation.index_of(last) + 1
    if session.cells.is_own(last) or index >= len(conversation.turns):
        return ""
    key = conversation.turns[index].cell
    return key if kernel_of(key) and kernel_of(key) == kernel_of(last) else ""
