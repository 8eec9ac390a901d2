"""Where a question stands: in which conversation, as which cell's turn, after which turns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..messages.conversation import Conversation, Turn
from ..messages.message import Message
from ..settings import CometSettings
from ..store import turns
from ..store.database import Store
from ..text import many
from .cells import Place, run_of
from .session import Session


@dataclass(frozen=True)
class Standing:
    """conversation: as it is now; empty where it begins afresh.  cell: the key of the turn that the reply will make.

    sent: the turns that go along.  left_out: how many older ones do not.
    begins_afresh: whether what there is under the conversation's name is to be set aside first.
    kept_back: how many turns do not go along because they may have values in them.
    """

    question: Message
    place: Place
    conversation: Conversation
    cell: str
    sent: Conversation
    left_out: int
    begins_afresh: bool = False
    kept_back: int = 0

    @property
    def asked_after(self) -> str:
        return self.conversation.before(self.cell).digest

    def stale_after(self, turn: Turn) -> int:
        """How many later turns answer something else than what stands before them, with `turn` in its place."""
        place = self.conversation.place_of(turn.cell)
        later = {after.cell for after in self.conversation.turns[place + 1 :]}
        return sum(stale.cell in later for stale in self.conversation.with_turn(turn).stale()) if later else 0

    def sent_line(self, parts: Iterable[str]) -> str:
        """`your text · df (1,000 × 3, card of 212 tokens) · 2 earlier turns`; "" where the text went alone."""
        count = len(self.sent.turns)
        parts = list(parts)
        if count:
            parts.append(many(count, "earlier turn"))
        if self.left_out:
            parts.append(f"left out: {many(self.left_out, 'older turn')} (history_turns, history_tokens)")
        if self.kept_back:
            parts.append(f"left out: {many(self.kept_back, 'earlier turn')} that may show values (share_values)")
        return " · ".join(parts) if len(parts) > 1 else ""


def standing(
    store: Store, session: Session, settings: CometSettings, question: Message, place: Place, *, cell: str = "",
    new: bool = False,
) -> Standing:  # fmt: skip
    """cell: the key, where it is known.        new: begin the conversation afresh."""
    name, most_turns = place.conversation, settings.history_turns
    is_known = bool(cell)
    cell = cell or session.cells.key(place)
    # Where cells have no id, their questions tell which is which, so all are read.
    window = most_turns if place.cell else None
    conversation = turns.conversation(store, name, cell=cell, window=window) if name else Conversation()
    if not is_known and not new and place.cell and conversation.turns and not conversation.has(cell):
        if former := turns.set_aside_with(store, name, cell):
            # A cell above a `--new` one has its turn in what that set aside, and is run there.
            place = place._replace(conversation=former)
            conversation = turns.conversation(store, former, cell=cell, window=window)
    if not is_known and place.is_notebook and not place.cell:
        cell = _same_place(session, conversation, question) or cell
    # Run All runs `--new` cells, too: one that begins the conversation already is run in its place.
    afresh = new and bool(conversation.turns) and conversation.turns[0].cell != cell
    if afresh:
        conversation = Conversation(name)
    sent, left_out = conversation.before(cell).bounded(most_turns, settings.history_tokens)
    kept_back = 0
    if not settings.share_values:  # the others may have values in them
        allowed = tuple(turn for turn in sent.turns if turn.digest in session.without_values)
        kept_back = len(sent.turns) - len(allowed)
        sent = replace(sent, turns=allowed)
    return Standing(question, place, conversation, cell, sent, left_out, afresh, kept_back)


def _same_place(session: Session, conversation: Conversation, question: Message) -> str:
    """Where cells have no id, in a notebook: the key of the turn that is run again; "" for a new turn.

    A notebook that is run again asks its first question first. From there on its turns are gone through in order.
    """
    before = session.cells.before(conversation.name)
    if before is None:
        firsts = {run_of(turn.cell): turn for turn in reversed(conversation.turns)}
        asked = [turn.cell for run, turn in firsts.items() if run and turn.messages[0] == question]
        return asked[0] if asked else ""
    place = conversation.place_of(before) + 1
    if session.cells.made(before) or place >= len(conversation.turns):
        return ""
    cell = conversation.turns[place].cell
    return cell if run_of(cell) and run_of(cell) == run_of(before) else ""
