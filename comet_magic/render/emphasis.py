"""Emphasis beside letters of Chinese, Japanese and Korean, which Markdown takes for asterisks.

CommonMark 0.31, 6.2: an asterisk between a letter and a sign of punctuation opens nothing on one side, and closes
nothing on the other. Those scripts set no spaces, so `**注意：**请` would show its asterisks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from ..text import lazy_pattern

_LETTER = lazy_pattern(
    "[\u1100-\u11ff\u2e80-\u2fff\u3005-\u3007\u3031-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_SKIPPED = lazy_pattern(r"(`+)(?!`).*?(?<!`)\1(?!`)|\\.|\$[^$\n]*\$|(\*{1,3})(?!\*)", re.S)
_TAGS = {1: "em", 2: "strong"}


class _Run(NamedTuple):
    """A run of asterisks. opens, closes: whether it could.        is_plain: whether Markdown says so, too."""

    start: int
    length: int
    opens: bool
    closes: bool
    opens_plainly: bool
    closes_plainly: bool


def with_emphasis(text: str) -> str:
    """Return the text with tags for asterisks that Markdown would show."""
    if "*" not in text or not _LETTER.search(text):
        return text
    parts, at = [], 0
    for start, length, tag in sorted(_replaced(text)):
        parts += [text[at:start], tag]
        at = start + length
    return "".join([*parts, text[at:]])


def _replaced(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (place, length, tag) of each run of asterisks that gets a tag in its place."""
    opened: list[_Run] = []
    for run in _runs(text):
        opener = next((one for one in reversed(opened) if one.length == run.length), None) if run.closes else None
        if opener is None:
            opened += [run] if run.opens else []
            continue
        del opened[opened.index(opener) :]
        if not (opener.opens_plainly and run.closes_plainly):
            names = [_TAGS[run.length]] if run.length in _TAGS else ["em", "strong"]
            yield opener.start, run.length, "".join(f"<{name}>" for name in names)
            yield run.start, run.length, "".join(f"</{name}>" for name in reversed(names))


def _runs(text: str) -> Iterator[_Run]:
    for match in _SKIPPED.finditer(text):
        if match[2]:
            before, behind = text[match.start() - 1 : match.start()] or " ", text[match.end() : match.end() + 1] or " "
            is_free, was_free = not behind.isspace(), not before.isspace()
            opens = is_free and (not _is_punctuation(behind) or not was_free or _is_punctuation(before))
            closes = was_free and (not _is_punctuation(before) or not is_free or _is_punctuation(behind))
            yield _Run(
                match.start(), len(match[2]),
                opens or bool(is_free and _LETTER.match(before)), closes or bool(was_free and _LETTER.match(behind)),
                opens, closes,
            )  # fmt: skip


def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char)[0] in "PS"
