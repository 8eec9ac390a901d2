"""What may stand for a reply in progress: one from the store, one written down as it grows, one that goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from . import records
from .client import Endpoint
from .display import Growing
from .errors import ConfigError
from .messages import Message
from .records import Found
from .request import Request
from .session import Session
from .settings import CometSettings
from .standing import Standing
from .store import Store
from .wire import StreamEvent

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


def to_replay(
    settings: CometSettings, session: Session, store: Store, standing: Standing, endpoint: Endpoint, request: Request,
    *, fresh: bool,
) -> Found | None:  # fmt: skip
    """The stored reply that answers the question, under `settings.replay`; None if it is to be asked.

    Raises: ConfigError when nothing may be asked, and nothing is there.
    """
    mode = settings.replay
    if mode == "only" and fresh:
        raise ConfigError("nothing is asked anew while CometSettings.replay = 'only'", "set it to 'auto' for that")
    # A cell is known by its id; without one, its request is what it does, and how often.
    has_id = bool(standing.place.cell)
    times = session.cells.times_run(standing.cell if has_id else f"{endpoint.name} {request.key}")
    if (
        fresh
        or mode == "never"
        or (mode == "auto" and not standing.place.is_notebook)
        or (has_id and times > 1 and mode == "auto")
    ):
        return None
    nth = 1 if has_id else times
    if mode == "auto":  # what this kernel has asked itself is no past of its
        return records.find_reply(store, endpoint.name, request, cell=standing.cell, nth=nth, but=session.id)
    found = records.find_reply(store, endpoint.name, request, cell=standing.cell, nth=nth)
    found = found or records.find_reply(store, endpoint.name, request, cell=standing.cell)
    if mode == "only" and not found:
        raise _missing(store, endpoint, request)
    return found


def _missing(store: Store, endpoint: Endpoint, request: Request) -> ConfigError:
    what = f"{store.path} has no reply of {endpoint.name} to this, and CometSettings.replay = 'only' asks nobody"
    hint = "set CometSettings.replay = 'auto' and run the notebook once, or check CometSettings.store"
    if store.behind is None:
        what = f"{store.path} is no store that can be read, and CometSettings.replay = 'only' asks nobody"
    elif others := records.endpoints_that_answered(store, request):
        hint = f"it was answered by {others[0]}: set CometSettings.endpoint to that"
    elif why := records.why_not_whole(store, endpoint.name, request):
        hint = f"its reply is not replayed, for it is not whole ({why.split(': ')[0]}): ask so that it gets whole"
    return ConfigError(what, hint)
