"""Emphasis beside letters of Chinese, Japanese and Korean, which Markdown takes for asterisks.

CommonMark 0.31, 6.2: an asterisk between a letter and a sign of punctuation opens nothing on one side, and closes
nothing on the other. Those scripts set no spaces, so `**注意：**请` would show its asterisks.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator

from ..named_tuple import NamedTuple
from ..text import lazy_pattern

LONGEST = 20_000  # characters of a text that is looked through
_LETTER = lazy_pattern(
    "[\u1100-\u11ff\u2e80-\u2fff\u3005-\u3007\u3031-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_MARK = lazy_pattern(r"\\.|`+|\$|\*+", re.S)
_TAGS = {1: ("em",), 2: ("strong",), 3: ("em", "strong")}
_ENDS = frozenset(".,;:!?)]}>、。，．：；！？）］｝〉》」』】〕’”%")  # of what nothing begins with


class _Run(NamedTuple):
    """A run of asterisks. opens, closes: whether it could; plainly: whether Markdown says so, too."""

    start: int
    length: int
    opens: bool
    closes: bool
    opens_plainly: bool
    closes_plainly: bool


def with_emphasis(text: str, mathematics_end: Callable[[str, int], int]) -> str:
    """Return the text with tags for asterisks that Markdown would show.

    mathematics_end: returns where the mathematics that a dollar begins is closed; 0 where it begins none.
    """
    if "*" not in text or len(text) > LONGEST or not _LETTER.search(text):
        return text
    parts, at = [], 0
    for start, length, tag in sorted(_replaced(text, mathematics_end)):
        parts += [text[at:start], tag]
        at = start + length
    return "".join([*parts, text[at:]])


def _replaced(text: str, mathematics_end: Callable[[str, int], int]) -> Iterator[tuple[int, int, str]]:
    """Yield (place, length, tag) of each run of asterisks that gets a tag in its place."""
    opened: dict[int, list[_Run]] = {1: [], 2: [], 3: []}
    for run in _runs(text, mathematics_end):
        if not run.closes or not opened[run.length]:
            if run.opens:
                opened[run.length].append(run)
            continue
        opener = opened[run.length].pop()
        for runs in opened.values():  # what was opened within is not closed there
            while runs and runs[-1].start > opener.start:
                runs.pop()
        if not (opener.opens_plainly and run.closes_plainly):
            names = _TAGS[run.length]
            yield opener.start, run.length, "".join(f"<{name}>" for name in names)
            yield run.start, run.length, "".join(f"</{name}>" for name in reversed(names))


def _runs(text: str, mathematics_end: Callable[[str, int], int]) -> Iterator[_Run]:
    """Yield the runs of asterisks outside code and mathematics."""
    marks = list(_MARK.finditer(text))
    ticks: dict[int, list[int]] = {}
    for mark in marks:
        if mark[0][0] == "`":
            ticks.setdefault(len(mark[0]), []).append(mark.start())
    end = 0
    for mark in marks:
        start, sign = mark.start(), mark[0]
        if start < end:
            continue
        if sign[0] == "`":
            closings = ticks[len(sign)]
            at = bisect_right(closings, start)
            end = closings[at] + len(sign) if at < len(closings) else mark.end()
        elif sign == "$":
            end = (mathematics_end(text, start) or start) + 1
        elif sign[0] == "*" and len(sign) <= 3:
            yield _run(text[start - 1 : start] or " ", text[mark.end() : mark.end() + 1] or " ", start, len(sign))


def _run(before: str, behind: str, start: int, length: int) -> _Run:
    is_free, was_free = not behind.isspace(), not before.isspace()
    opens = is_free and (not _is_punctuation(behind) or not was_free or _is_punctuation(before))
    closes = was_free and (not _is_punctuation(before) or not is_free or _is_punctuation(behind))
    # Beside a letter of those scripts; or with their punctuation within, beside any letter or digit.
    may_open = is_free and behind not in _ENDS and _sets_no_spaces(before, behind)
    may_close = was_free and unicodedata.category(before) not in ("Ps", "Pi") and _sets_no_spaces(behind, before)
    return _Run(start, length, opens or may_open, closes or may_close, opens, closes)


def _sets_no_spaces(outside: str, inside: str) -> bool:
    is_wide = unicodedata.east_asian_width(inside) in "WF" or inside in "“”‘’"
    return bool(_LETTER.match(outside)) or (outside.isalnum() and is_wide and _is_punctuation(inside))


def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char)[0] in "PS"
