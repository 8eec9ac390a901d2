"""Pictures that stand as base64 in a reply's text, megabytes of it: they are cut out of what is read, shown and sent.

Source: image models behind chat completions, which write `![image](data:image/png;base64,…)` or `[media](data:…)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..text import lazy_pattern

_OPENING = lazy_pattern(r"(?:!\[[^\]\n]{0,100}\]|\[media\])\(data:(image/[a-z0-9.+-]{1,20});base64,", re.I)
# What may be the beginning of one, at the end of what has come.
_MAY_OPEN = lazy_pattern(
    r"(?:!(?:\[[^\]\n]{0,100}(?:\](?:\((?:[a-z:/0-9.+;-]{0,40},?)?)?)?)?|\[(?:m(?:e(?:d(?:i(?:a(?:\](?:\((?:[a-z:/0-9.+;-]{0,40},?)?)?)?)?)?)?)?)?)$",
    re.I,
)
SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp")
CUT_OFF = "[a picture that was cut off]"


class Picture(NamedTuple):
    """media_type: as `image/png`.        data: its base64."""

    media_type: str
    data: str


class PictureCutter:
    """Takes a text as it comes, and gives it without the pictures in it, and those. Lives for one reply."""

    def __init__(self) -> None:
        self._held = ""
        self._picture: list[str] | None = None  # the base64 of the one that is coming
        self._type = ""

    def feed(self, text: str) -> Iterator[str | Picture]:
        """Yield the parts of the text and the pictures, in order; the end is held back while it may open a picture."""
        while text:
            if self._picture is not None:
                data, closing, text = text.partition(")")
                self._picture.append(data)
                if closing:
                    yield from self._closed()
                continue
            if not self._held and "[" not in text and not text.endswith("!"):
                yield text
                return
            text, self._held = self._held + text, ""
            if opening := _OPENING.search(text):
                if opening.start():
                    yield text[: opening.start()]
                self._type, self._picture = opening[1].lower(), []
                text = text[opening.end() :]
                continue
            if tail := _MAY_OPEN.search(text):
                self._held = tail[0]
                text = text[: tail.start()]
            if text:
                yield text
            return

    def close(self) -> Iterator[str | Picture]:
        """Yield what was held back, for nothing more comes."""
        if self._picture is not None:
            self._picture = None
            yield CUT_OFF
        if self._held:
            yield self._held
            self._held = ""

    def _closed(self) -> Iterator[str | Picture]:
        data, self._picture = re.sub(r"\s+", "", "".join(self._picture or ())), None
        is_picture = self._type in SHOWN and data and re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", data)
        yield Picture(self._type, data) if is_picture else f"[a picture of the type {self._type}, which is not shown]"
