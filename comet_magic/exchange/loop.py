"""A reply in several rounds, each a request and what came of it: calls of tools, and what makes it of a type."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..api.client import MessageStream
from ..api.events import StreamEvent
from ..errors import CometError, ReplyError
from ..messages.message import Message
from ..messages.request import Request
from ..messages.usage import Usage

if TYPE_CHECKING:
    from ..output.typed import Typed
    from ..tools.runner import Toolbox


class Rounds:
    """In the place of one `MessageStream`; its usage is that of all. Use it in a `with`.

    Iterating raises what a stream does; ReplyError when it does not get to be of its type; ConfigError when the
    budget does not allow one more round. What had come by then is in `message`, and in the error's `partial`.
    """

    def __init__(
        self, request: Request, send: Callable[[Request], MessageStream], *, typed: Typed | None = None,
        toolbox: Toolbox | None = None, allow: Callable[[Request], None] = lambda request: None,
    ) -> None:  # fmt: skip
        """allow: is asked before each further round; raises when it is not to be."""
        self._send, self._typed, self._toolbox, self._allow = send, typed, toolbox, allow
        self._request = request
        self._past: list[tuple[Request, Message]] = []
        self._incomplete: str | None = None
        self._before: tuple[Message, ...] = ()
        self._is_value = self._is_calling = False
        self._stream = send(request)

    @property
    def asked(self) -> list[tuple[Request, Message]]:
        """Each round's request, and what came of it."""
        return [*self._past, (self._request, self._stream.message)]

    @property
    def text(self) -> str:
        """All that there is to be shown so far."""
        if self._typed:
            text = self._typed.hide(self._stream.text)
            return f"```json\n{text}" if text.lstrip().startswith(("{", "[")) else text
        if not self._toolbox or not (self._toolbox.calls or self._is_calling):
            return self._stream.text
        told = self.message.told
        # Where the user may be asked something next, that does not go on in the same line.
        return f"{told}\n\n" if self._is_calling and told else told

    @property
    def message(self) -> Message:
        asked = self.asked
        message = asked[-1][1]
        if self._typed and (self._is_value or self._incomplete or message.incomplete):
            message = self._typed.as_text(message, is_value=self._is_value)
        known: dict[str, Any] = {} if self._incomplete is None else {"incomplete": self._incomplete}
        if toolbox := self._toolbox:
            known.update(before=self._before, calls=tuple(toolbox.calls))
            message = replace(message, warnings=(*message.warnings, *toolbox.notes))
        if len(asked) == 1:
            return replace(message, **known) if known else message
        usage = sum((part.usage for _, part in asked), Usage())
        elapsed_s = sum(part.elapsed_s or 0.0 for _, part in asked)
        return replace(message, usage=usage, elapsed_s=elapsed_s, **known)

    def __iter__(self) -> Iterator[StreamEvent]:
        try:
            while True:
                yield from self._stream
                following = yield from self._following()
                if following is None:
                    return
                self._allow(following)
                stream = self._send(following)
                self._past.append((self._request, self._stream.message))
                self._request, self._stream = following, stream
                self._before = self._toolbox.before if self._toolbox else ()
        except CometError as error:
            if not self._stream.message.incomplete:
                self._incomplete = error.what
            message = self.message
            if self._past or message.text or message.calls or isinstance(error, ReplyError):
                error.partial = message
            raise

    def _following(self) -> Generator[StreamEvent, None, Request | None]:
        message = self._stream.message
        if message.incomplete:  # stopped from outside
            return None
        if toolbox := self._toolbox:
            self._is_calling = True
            following = yield from toolbox.next(self._request, message)
            self._is_calling = False
            if following:
                return following
            if toolbox.stopped and self._typed:
                raise self._typed.failed(toolbox.stopped, "raise CometSettings.tool_rounds, or offer fewer tools")
            self._incomplete = toolbox.stopped or None
        if self._typed and not self._incomplete:
            following = self._typed.next(self._request, message)
            if following:
                return following
            self._is_value = True
        return None

    def stop(self, why: str = "stopped by you") -> None:
        """End it now, with what has come."""
        self._stream.stop(why)
        if not self._stream.message.incomplete:
            self._incomplete = self._incomplete or why

    def __enter__(self) -> Rounds:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.__exit__(kind, error, trace)
