"""Messages of a file → whole turns, as the API takes them.

Other programs' messages rarely take turns, and their calls rarely have results. First the blocks of each message are
cleaned (`blocks`), then calls are paired with results (`pairing`), then the messages are put together to turns. What
cannot be sent as what it is becomes text, or is left out and counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from ..exchange.cells import IMPORTED
from ..messages.conversation import Conversation, Turn
from ..messages.message import Message
from .blocks import cleaned, text_in
from .pairing import has_results, joined, paired
from .source import NO_QUESTION, NO_REPLY, UNKNOWN, LeftOut, SourceConversation, SourceMessage


def turns_of(source: SourceConversation) -> tuple[tuple[Turn, ...], LeftOut]:
    """Return the whole turns of a conversation, and what was left out of it, by kind."""
    left_out = Counter(source.left_out)
    messages = joined([SourceMessage(role, cleaned(role, blocks, left_out)) for role, blocks in source.messages])
    turns: list[Turn] = []
    for group in _groups(paired(messages, left_out), left_out):
        if turn := _turn(group, f"{IMPORTED}{len(turns) + 1}", left_out):
            turns.append(turn)
    return Conversation("", tuple(turns)).in_order(), left_out


def _groups(messages: list[SourceMessage], left_out: LeftOut) -> Iterator[list[SourceMessage]]:
    """Yield the messages of each turn: a question, and what follows until the next one."""
    group: list[SourceMessage] = []
    for message in messages:
        if message.role == "user" and not has_results(message.blocks):
            if group:
                yield group
            group = [message]
        elif group:
            group.append(message)
        elif message.blocks:
            left_out[NO_QUESTION] += message.role == "assistant"
    if group:
        yield group


def _turn(group: list[SourceMessage], cell: str, left_out: LeftOut) -> Turn | None:
    """Return the turn of these messages; None where there is none."""
    question, rest = group[0], [message for message in group[1:] if message.blocks]
    has_reply = bool(rest) and rest[-1].role == "assistant" and bool(text_in(rest[-1].blocks).strip())
    if not question.blocks:
        left_out[NO_QUESTION] += has_reply
        return None
    if not has_reply:
        left_out[NO_REPLY] += 1
        return None
    try:
        turn = Turn.of(cell, map(_message, [question, *rest]), at=time.time())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        turn = None
    if turn is None or not turn.is_whole:
        left_out[UNKNOWN] += 1
        return None
    return turn


def _message(message: SourceMessage) -> Message:
    return Message.from_wire({"role": message.role, "content": message.blocks})
