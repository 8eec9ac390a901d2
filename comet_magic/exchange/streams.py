"""What may stand for a reply in progress: one from the store, one written down as it grows, one that goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from ..api.events import StreamEvent
from ..messages.message import Message
from ..store.requests import Found


class Growing(Protocol):
    """A reply in progress: a `MessageStream`, or something that stands for one."""

    @property
    def text(self) -> str: ...
    @property
    def message(self) -> Message: ...
    def __iter__(self) -> Iterator[Any]: ...
    def stop(self, why: str = ...) -> None: ...


CHECKPOINT_S = 2.0  # seconds between two writings-down of a growing reply; a killed kernel loses less than that


class Replayed:
    """A stored reply, in the place of one in progress."""

    def __init__(self, found: Found) -> None:
        self.message = found.message
        self.text = found.message.text

    def __iter__(self) -> Iterator[StreamEvent]:
        return iter(())

    def stop(self, why: str = "") -> None:
        pass


class Recorded:
    """A reply in progress that is written down every now and then, for a kernel may be killed at any moment."""

    def __init__(self, stream: Growing, write: Callable[[Message], None]) -> None:
        self._stream = stream
        self._write = write
        self.stop = stream.stop

    @property
    def text(self) -> str:
        return self._stream.text

    @property
    def message(self) -> Message:
        return self._stream.message

    def __iter__(self) -> Iterator[StreamEvent]:
        due = time.monotonic() + CHECKPOINT_S
        for event in self._stream:
            if time.monotonic() > due:
                self._write(self._stream.message)
                due = time.monotonic() + CHECKPOINT_S
            yield event


class Continued:
    """A reply in progress that goes on where another one broke off: both are one."""

    def __init__(self, stream: Growing, before: Message) -> None:
        self._stream = stream
        self._part = before.text.rstrip()  # as it was sent
        self._gap = before.text[len(self._part) :]
        self.stop = stream.stop

    @property
    def text(self) -> str:
        more = self._stream.text
        return self._part + (self._gap if not more[:1].isspace() else "") + more

    @property
    def message(self) -> Message:
        return replace(self._stream.message, content=({"type": "text", "text": self.text},))

    def __iter__(self) -> Iterator[StreamEvent]:
        return iter(self._stream)
