"""Where a question stands: in which conversation, as which cell's turn, after which turns."""

from __future__ import annotations

from dataclasses import dataclass

from . import records
from .conversation import Conversation, Turn
from .messages import Message
from .session import Place, Session
from .settings import CometSettings
from .store import Store


@dataclass(frozen=True)
class Standing:
    """conversation: as it is now; empty where it begins afresh.  cell: the key of the turn that the reply will make.

    sent: the turns that go along.  left_out: how many older ones do not.
    begins_afresh: whether what there is under the conversation's name is to be set aside first.
    """

    question: Message
    place: Place
    conversation: Conversation
    cell: str
    sent: Conversation
    left_out: int
    begins_afresh: bool = False

    @property
    def asked_after(self) -> str:
        return self.conversation.before(self.cell).digest

    def stale_after(self, turn: Turn) -> int:
        """How many later turns answer something else than what stands before them, with `turn` in its place."""
        place = self.conversation.place_of(turn.cell)
        later = {after.cell for after in self.conversation.turns[place + 1 :]}
        return sum(stale.cell in later for stale in self.conversation.with_turn(turn).stale()) if later else 0

    @property
    def sent_line(self) -> str:
        """`your text · 2 earlier turns`; "" where the text went alone."""
        count = len(self.sent.turns)
        parts = ["your text"]
        if count:
            parts.append(_turns(count, "earlier"))
        if self.left_out:
            parts.append(f"left out: {_turns(self.left_out, 'older')} (history_turns, history_tokens)")
        return " · ".join(parts) if len(parts) > 1 else ""


def _turns(count: int, which: str) -> str:
    return f"1 {which} turn" if count == 1 else f"{count:,} {which} turns"


def standing(
    store: Store, session: Session, settings: CometSettings, question: Message, place: Place, *, cell: str = "",
    new: bool = False,
) -> Standing:  # fmt: skip
    """cell: the key, where it is known.        new: begin the conversation afresh."""
    name = place.conversation
    conversation = records.conversation(store, name) if name else Conversation()
    if not cell:
        key = session.cell_key(place)
        is_run_again = place.is_notebook and not place.cell
        cell = (_same_place(session, conversation, question) if is_run_again else "") or key
    # Run All runs `--new` cells, too: one that begins the conversation already is run in its place.
    afresh = new and bool(conversation.turns) and not _begins(conversation, cell, question)
    if afresh:
        conversation = Conversation(name)
    sent, left_out = conversation.before(cell).bounded(settings.history_turns, settings.history_tokens)
    return Standing(question, place, conversation, cell, sent, left_out, afresh)


def _same_place(session: Session, conversation: Conversation, question: Message) -> str:
    """Where cells have no id: the next turn of an earlier kernel, if that asked the very same; "" if it did not."""
    before = session.cell_before(conversation.name)
    place = conversation.place_of(before) + 1 if before else 0
    for turn in conversation.turns[place : place + 1]:
        if ":" in turn.cell and not session.made(turn.cell) and turn.messages[0] == question:
            return turn.cell
    return ""


def _begins(conversation: Conversation, cell: str, question: Message) -> bool:
    first = conversation.turns[0]
    return first.cell == cell and first.messages[0] == question
