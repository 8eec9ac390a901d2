"""Pictures that stand as base64 in a reply's text, megabytes of it: they are cut out of what is read, shown and sent.

Source: image models behind chat completions, which write `![image](data:image/png;base64,…)` or `[media](data:…)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..messages.message import is_picture
from ..named_tuple import NamedTuple
from ..text import lazy_pattern

_OPENING = lazy_pattern(r"(?:!\[[^\]\n]{0,100}\]|\[media\])\(data:(image/[a-z0-9.+-]{1,20});base64,", re.I)
# What may be the beginning of one, at the end of what has come.
_MAY_OPEN = lazy_pattern(
    r"(?:!(?:\[[^\]\n]{0,100}(?:\](?:\((?:[a-z:/0-9.+;-]{0,40},?)?)?)?)?|\[(?:m(?:e(?:d(?:i(?:a(?:\](?:\((?:[a-z:/0-9.+;-]{0,40},?)?)?)?)?)?)?)?)?)\Z",
    re.I,
)
_NO_BASE64 = lazy_pattern(r"[^A-Za-z0-9+/=\s]")
LONGEST_EXAMPLE = 200  # characters of base64 that may be only an example, which is text
CUT_OFF = "[a picture that was cut off]"


class Picture(NamedTuple):
    """media_type: as `image/png`.        data: its base64."""

    media_type: str
    data: str


class PictureCutter:
    """Takes a text as it comes, and gives it without the pictures in it, and those. Lives for one reply."""

    def __init__(self) -> None:
        self._held = ""
        self._opening = ""  # of the picture that is coming, as it stands in the text
        self._picture: list[str] | None = None  # its base64
        self._type = ""

    def feed(self, text: str) -> Iterator[str | Picture]:
        """Yield the parts of the text and the pictures, in order; the end is held back while it may open a picture."""
        while text:
            if self._picture is not None:
                end = _NO_BASE64.search(text)
                self._picture.append(text[: end.start()] if end else text)
                if end is None:
                    return
                text = text[end.start() :]
                if text[0] == ")":
                    text = text[1:]
                    yield self._closed()
                else:  # code that is about such addresses, and no picture
                    yield self._opening + "".join(self._picture)
                    self._picture = None
                continue
            if not self._held and "[" not in text and not text.endswith("!"):
                yield text
                return
            text, self._held = self._held + text, ""
            if opening := _OPENING.search(text):
                if opening.start():
                    yield text[: opening.start()]
                self._opening, self._type, self._picture = opening[0], opening[1].lower(), []
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
            came, self._picture = "".join(self._picture), None
            yield CUT_OFF if len(came) > LONGEST_EXAMPLE else self._opening + came
        if self._held:
            yield self._held
            self._held = ""

    def _closed(self) -> str | Picture:
        as_it_stands = "".join(self._picture or ())
        data, self._picture = re.sub(r"\s+", "", as_it_stands), None
        if is_picture(self._type, data):
            return Picture(self._type, data)
        if len(data) > LONGEST_EXAMPLE:
            return f"[a picture of the type {self._type}, which is not shown]"
        return f"{self._opening}{as_it_stands})"
