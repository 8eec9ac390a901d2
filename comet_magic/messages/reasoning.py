"""Reasoning in tags at the very start of a text: it is thinking, and no part of the answer.

Source: the chat templates of open models; servers that do not parse them pass the tags through.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..text import lazy_pattern

_NAMES = ("think", "thinking", "thought", "reasoning")
_OPENING = lazy_pattern(rf"\s*<({'|'.join(_NAMES)})>", re.I)


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
    opening = _OPENING.match(text)
    if not opening:
        begin = text[:40].lstrip().lower()
        may_open = is_growing and any(f"<{name}>".startswith(begin) for name in _NAMES)
        return Parts("", "" if may_open else text)
    closing = re.compile(rf"</{opening[1]}>\s*", re.I).search(text, opening.end())
    if not closing:
        return Parts(text[opening.end() :].strip(), "", True)
    return Parts(text[opening.end() : closing.start()].strip(), text[closing.end() :])
