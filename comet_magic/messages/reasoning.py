"""Reasoning in tags at the very start of a text: it is thinking, and no part of the answer.

Source: the chat templates of open models; servers that do not parse them pass the tags through.
"""

from __future__ import annotations

import re

from ..named_tuple import NamedTuple
from ..text import lazy_pattern

_NAMES = ("think", "thinking", "thought", "reasoning", "seed:think")
_BEGINNINGS = (*(f"<{name}>" for name in _NAMES), "◁think▷", "[think]")
_OPENING = lazy_pattern(rf"\s*(?:<(?:{'|'.join(_NAMES)})\s*>|◁think▷|\[think\])", re.I)
_CLOSING = lazy_pattern(rf"(?:</\s*(?:{'|'.join(_NAMES)})\s*>|◁/think▷|\[/think\])\s*", re.I)


class Parts(NamedTuple):
    """thinking: what stands in the tags, "" without any.        answer: the text behind them.

    is_open: the tags are not closed, so far.
    """

    thinking: str
    answer: str
    is_open: bool = False


def split_reasoning(text: str, *, is_growing: bool = False) -> Parts:
    """Return the two parts of a text. is_growing: more is to come, so what may begin a tag is held back.

    The answer's beginning never changes once there is any.
    """
    thoughts: list[str] = []
    at = 0
    while opening := _OPENING.match(text, at):
        closing = _CLOSING.search(text, opening.end())
        if not closing:
            return Parts("\n\n".join([*thoughts, text[opening.end() :].strip()]), "", True)
        thoughts.append(text[opening.end() : closing.start()].strip())
        at = closing.end()
    begin = text[at : at + 40].lstrip().lower()
    may_open = is_growing and any(beginning.startswith(begin) for beginning in _BEGINNINGS)
    return Parts("\n\n".join(filter(None, thoughts)), "" if may_open else text[at:])
