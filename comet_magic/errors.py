"""Every failure, as one small tree whose branches answer "whose fault is it?".

CometError
├── ConfigError      yours: a flag, a setting, the key, a missing piece
├── TransportError   the network's: no connection, silence, a reply cut off
├── APIError         theirs: the endpoint answered, and the answer is an error
├── ReplyError       the model's: the reply is not of the type that was asked for
└── ToolError        a server's: a tool that you called did not give a result
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .text import clean

if TYPE_CHECKING:
    from .messages.message import Message
    from .messages.usage import Usage

NO_THREAD = "this computer cannot start another thread"
NO_THREAD_HINT = "end programs that you do not need, or restart the kernel"


class CometError(Exception):
    """What happened, then what to do about it.

    what: one sentence, with the value that caused it; never a key.
    hint: what to do, one sentence, or "".
    partial: the part of a reply that had arrived before the failure, if any had.
    Both texts may quote what comes from elsewhere: whatever is set, they hold nothing that controls a terminal.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__()
        self.what = what
        self.hint = hint
        self.partial: Message | None = None

    @property
    def what(self) -> str:
        return self._what

    @what.setter
    def what(self, text: str) -> None:
        self._what = _shown(text)
        self.args = (self._what, getattr(self, "_hint", ""))

    @property
    def hint(self) -> str:
        return self._hint

    @hint.setter
    def hint(self, text: str) -> None:
        self._hint = _shown(text)
        self.args = (self._what, self._hint)

    def __str__(self) -> str:
        return f"{self.what}\n{self.hint}" if self.hint else self.what

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows in place of a traceback."""
        first = f"{type(self).__name__}: {self.what}"
        return [first, f"  → {self.hint}"] if self.hint else [first]


LONGEST = 4000  # characters of a sentence; what an endpoint says may be megabytes


def _as_it_is(text: str) -> str:
    return text


# Takes the user's key out of a text; the settings know it. An endpoint says it back, and people paste it anywhere.
_hide: Callable[[str], str] = _as_it_is


def hide_in_errors(hide: Callable[[str], str] = _as_it_is) -> None:
    """Have every text of an error pass through `hide`."""
    global _hide
    _hide = hide


def without_known_keys(text: str) -> str:
    """Return a text without the keys that the settings know."""
    return _hide(text)


def _shown(text: str) -> str:
    shown = clean(_hide(str(text)))
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


class ConfigError(CometError):
    """Yours to mend, and nothing was sent: a flag, a setting, the key, a missing piece."""


class TransportError(CometError):
    """The network failed: no connection, no answer in time, or a reply that was cut off.

    kind: "connect", "reset", "proxy", "tls", "timeout", "cut" or "other"; the first two may be tried again.
    """

    def __init__(self, what: str, hint: str = "", *, kind: str = "other") -> None:
        super().__init__(what, hint)
        self.kind = kind


class ReplyError(CometError):
    """The reply is not of the type that was asked for; what was paid for is in it.

    reason: what it lacks, in words.        text: the reply as it came.        usage: of all its rounds.
    """

    def __init__(self, what: str, hint: str = "", *, reason: str = "") -> None:
        super().__init__(what, hint)
        self.reason = reason or what

    @property
    def text(self) -> str:
        return self.partial.text if self.partial else ""

    @property
    def usage(self) -> Usage | None:
        return self.partial.usage if self.partial else None


class ToolError(CometError):
    """A tool of an MCP server that you called yourself gave no result: it failed, took too long, or its server did."""


class APIError(CometError):
    """The endpoint answered with an error.

    status: HTTP status; 200 when the error came in the body or in the middle of a stream.
    type, code: the endpoint's own words for it, where it gave them.
    request_id: what the endpoint's support will ask for.
    retry_after: seconds the server asked us to wait, if it said.
    about: what it is about, by its words: "money", "model", "length", "bot check" or "form"; "" where they do not tell.
    """

    def __init__(
        self,
        what: str,
        hint: str = "",
        *,
        status: int = 0,
        type: str | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        about: str = "",
    ) -> None:
        super().__init__(what, hint)
        self.status = status
        self.type = type and _shown(type)
        self.code = code and _shown(code)
        self.request_id = request_id and _shown(request_id)
        self.retry_after = retry_after
        self.about = about
