"""A reply in as many requests as it takes: calls of tools, a value that is mended, a part that goes on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..api.client import MessageStream
from ..api.events import STEP, StreamEvent
from ..api.retry import is_passing
from ..errors import APIError, CometError, ReplyError
from ..keys import Key, without_key
from ..messages.message import ContentBlock, Message
from ..messages.request import Request
from ..messages.tool_call import ToolCall
from ..messages.usage import Usage

if TYPE_CHECKING:
    from ..output.typed import TypedReply
    from ..tools.runner import ToolRunner


MOST_PAUSES = 10  # of one reply, by a server that runs tools of its own


class Reply:
    """A reply in progress: iterate it, and ask for `text` or `message` at any time. Use it in a `with`.

    Making one sends the request. Its usage is that of all its requests. Nothing that it gives has the key in it.
    is_unanswered: whether a further request is under way, without an answer so far.
    is_urgent: what has come is to be painted at once, for the user is asked next.
    Iterating raises what a stream does; ReplyError when it does not get to be of its type; ConfigError when the
    budget does not allow one more request. What had come by then is in `message`, and in the error's `partial`.
    """

    def __init__(
        self, request: Request, send: Callable[[Request], MessageStream], *, key: Key | None = None,
        typed: TypedReply | None = None, tools: ToolRunner | None = None, part: Message | None = None,
        allow: Callable[[Request, Reply], None] = lambda request, reply: None,
    ) -> None:  # fmt: skip
        """part: the beginning, which broke off.        allow: is asked before each further request; may raise."""
        self._send, self._key, self._typed, self._tools, self._allow = send, key, typed, tools, allow
        self._part = part.text if part else ""
        self._request = request
        self._past: list[tuple[Request, Message]] = []
        self._paused: tuple[ContentBlock, ...] = ()  # what came of the reply before the server paused it
        self._pausing: tuple[ContentBlock, ...] = ()  # the same, until the next request is answered
        self._pauses = 0
        self._was_overloaded = False
        self._incomplete: str | None = None
        self._mismatch: str | None = None
        self._before: tuple[Message, ...] = ()
        self._is_value = self._is_calling = self.is_urgent = self.is_unanswered = False
        self._stream = send(request)

    @property
    def requests(self) -> list[tuple[Request, Message]]:
        """Each request, and what came of it."""
        return [*self._past, (self._request, self._stream.message)]

    @property
    def text(self) -> str:
        """All that there is to be shown so far."""
        text = without_key(self._text(), self._key)
        held = self._key.partial_match_at_end(text) if self._key else 0
        return text[:-held] if held else text

    def _text(self) -> str:
        if self._part:
            return self._continued(self._stream.text)
        if self._typed:
            text = self._stream.text
            text = f"```json\n{text}" if text.lstrip().startswith(("{", "[")) else text
            return "\n\n".join(filter(None, [self._typed.note, text]))
        if not self._tools or not (self._tools.calls or self._is_calling):
            return self._grown()
        message = self._message()
        steps = (f"[{step.line}]" if isinstance(step, ToolCall) else self._grown() if step is message else step.text
                 for step in message.steps())  # fmt: skip
        text = "\n\n".join(filter(None, steps))
        # Where the user may be asked something next, that does not go on in the same line.
        return f"{text}\n\n" if self._is_calling and text else text

    def _grown(self) -> str:
        """Return the text of the last message so far, without what may turn out to be no part of it."""
        return "".join(block.get("text") or "" for block in self._paused) + self._stream.text

    def _continued(self, more: str) -> str:
        """Return the part, as it was sent, and what goes on behind it."""
        sent = self._part.rstrip()
        gap = "" if more[:1].isspace() else self._part[len(sent) :]
        return sent + gap + more

    @property
    def message(self) -> Message:
        return without_key(self._message(), self._key)

    def _message(self) -> Message:
        requests = self.requests
        message = self._with_paused(requests[-1][1])
        if self._part:
            message = replace(message, content=({"type": "text", "text": self._continued(message.text)},))
        if self._typed and (self._is_value or self._incomplete or self._mismatch or message.incomplete):
            message = self._typed.as_text(message, is_value=self._is_value)
        ends = {"incomplete": self._incomplete, "mismatch": self._mismatch}
        known: dict[str, Any] = {name: why for name, why in ends.items() if why is not None}
        if tools := self._tools:
            known.update(before=self._before, calls=tuple(tools.calls))
            message = replace(message, warnings=(*message.warnings, *tools.notes))
        if len(requests) == 1:
            return replace(message, **known) if known else message
        usage = sum((part.usage for _, part in requests), Usage())
        elapsed_s = sum(part.elapsed_s or 0.0 for _, part in requests)
        return replace(message, usage=usage, elapsed_s=elapsed_s, **known)

    def _with_paused(self, message: Message) -> Message:
        return replace(message, content=(*self._paused, *message.content)) if self._paused else message

    def __iter__(self) -> Iterator[StreamEvent]:
        try:
            for event in self._events():
                self.is_urgent = event is STEP
                yield event
        except CometError as error:
            if isinstance(error, ReplyError) and not self._stream.message.is_cut:
                self._mismatch = error.what
            elif not self._stream.message.incomplete:
                self._incomplete = error.what
            message = self.message
            if self._past or message.text or message.calls or isinstance(error, ReplyError):
                error.partial = message
            without_key(error, self._key)
            raise

    def _events(self) -> Iterator[StreamEvent]:
        while True:
            yield from self._words()
            following = yield from self._following()
            if following is None:
                return
            self._allow(following, self)
            self.is_unanswered = True
            stream = self._send(following)
            self.is_unanswered = False
            self._past.append((self._request, self._stream.message))
            self._request, self._stream = following, stream
            self._paused, self._pausing = self._pausing, ()
            self._before = self._tools.before if self._tools else ()

    def _words(self) -> Iterator[StreamEvent]:
        """Yield the events of the stream; of a second one, where the endpoint was overloaded before any words came."""
        try:
            yield from self._stream
        except APIError as error:
            if self._was_overloaded or not is_passing(error) or self._stream.has_text:
                raise
            self._was_overloaded = True
            self._allow(self._request, self)
            self._stream = self._send(self._request)
            yield from self._stream

    def _following(self) -> Generator[StreamEvent, None, Request | None]:
        """Yield the events of tool calls, and return the request that goes on with the reply; None when it is over."""
        message = self._stream.message
        if message.incomplete:  # stopped from outside
            return None
        message, request = self._with_paused(message), self._request
        if self._paused:
            request = replace(request, messages=request.messages[:-1])
        if message.stop_reason == "pause_turn" and self._pauses < MOST_PAUSES and message.content:
            self._pauses += 1
            self._pausing = message.content
            sent = tuple(block for block in message.content if block.get("type") != "text" or block.get("text"))
            return replace(request, messages=(*request.messages, Message("assistant", sent)))
        if tools := self._tools:
            self._is_calling = True
            following = yield from tools.next(request, message)
            self._is_calling = False
            if following:
                return following
            if tools.stopped and self._typed:
                raise self._typed.failed(tools.stopped, "raise CometSettings.tool_rounds, or offer fewer tools")
            self._incomplete = tools.stopped or None
        if self._typed and not self._incomplete:
            following = self._typed.next(request, without_key(message, self._key))
            if following:
                return following
            self._is_value = True
        return None

    def stop(self, why: str = "stopped by you") -> None:
        """End it now, with what has come."""
        self._stream.stop(why)
        if not self._stream.message.incomplete and not self._mismatch:
            self._incomplete = self._incomplete or why

    def __enter__(self) -> Reply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.__exit__(kind, error, trace)
