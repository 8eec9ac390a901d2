"""The seam between the job machine and an endpoint's API: an `Order` → calls; their bodies → an `Answer`.

A service has no I/O. Sources: CometAPI's reference for images, audio, videos, Suno and Kling; OpenAI's, Google's,
Replicate's and Midjourney's, as the gateway passes them on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from ..api.error_replies import error_from
from ..api.sse import SSEDecoder
from ..messages.usage import Usage
from ..named_tuple import NamedTuple
from ..strict_json import json_or_none
from ..text import whole_text
from .order import Input, Order

JSON = "application/json"
CAME = "what came is "  # begins the hint of an error after which there is a part of it


class Call(NamedTuple):
    """One request that makes something. path: below the endpoint's base URL."""

    path: str
    content: bytes
    content_type: str = JSON


class Body(NamedTuple):
    """The body of an endpoint's answer, as it came."""

    content: bytes
    content_type: str = ""

    @property
    def text(self) -> str:
        return self.content.decode("utf-8-sig", "replace")

    @property
    def json(self) -> Any:
        """What it says in JSON; None where it is none."""
        return whole(json_or_none(self.text))

    @property
    def is_stream(self) -> bool:
        return "event-stream" in self.content_type or self.content.lstrip()[:6] in (b"data: ", b"event:")

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the objects in a stream of events. Raises: APIError for one that is an error."""
        decoder = SSEDecoder()
        for event in [*decoder.feed(self.content), *decoder.flush()]:
            value = whole(json_or_none(event.data))
            if isinstance(value, dict):
                if value.get("error") or "error" in (value.get("type"), event.event):
                    raise error_from(200, value)
                yield {"type": event.event, **value}


def whole(value: Any) -> Any:
    """Return what JSON says without halves of characters, which neither the store nor a file can hold."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, dict):
        return {whole_text(name): whole(part) for name, part in value.items()}
    return [whole(part) for part in value] if isinstance(value, list) else value


class Result(NamedTuple):
    """One thing that was made. content: its bytes, where they came along.        address: where they are, elsewhere.

    caption: what the endpoint calls it.        problem: why there is nothing, in words.
    is_unfinished: it is the last that was seen of it.
    """

    content: bytes = b""
    address: str = ""
    caption: str = ""
    problem: str = ""
    is_unfinished: bool = False


class Answer(NamedTuple):
    """What an endpoint says of a job. remote: its id, "" where it has none.

    word: its state, as the endpoint calls it.        progress: percent, None where that is not said.
    why: the reason of a failure.        text: a transcript, as the endpoint gives it.
    seconds: of the sound that was transcribed.
    """

    remote: str = ""
    is_done: bool = False
    is_failed: bool = False
    word: str = ""
    progress: int | None = None
    why: str = ""
    results: tuple[Result, ...] = ()
    usage: Usage = Usage()
    text: Any = None
    seconds: float | None = None


class Service(Protocol):
    """One API. name: what `api` calls it.        polls_after_s: seconds until it is worth asking how a job stands.

    has_separate_calls: each call makes a thing of its own, whatever comes of the others.
    """

    name: str
    polls_after_s: float
    has_separate_calls: bool

    def calls(self, order: Order, model: str) -> list[Call]: ...
    def answer(self, bodies: list[Body]) -> Answer: ...
    def poll_path(self, remote: str) -> str: ...
    def status(self, body: Body, remote: str) -> Answer: ...
    def content_path(self, remote: str) -> str: ...


class AnswersAtOnce:
    """The part of a service whose answer is the result: there is no job to ask for."""

    polls_after_s = 0.0
    has_separate_calls = False

    def poll_path(self, remote: str) -> str:
        raise AssertionError("it answers at once")

    def status(self, body: Body, remote: str) -> Answer:
        raise AssertionError("it answers at once")

    def content_path(self, remote: str) -> str:
        return ""


class AnswersLater:
    """The part of a service whose answer is a job, which names where its results are."""

    polls_after_s = 10.0
    has_separate_calls = False

    def content_path(self, remote: str) -> str:
        return ""


def json_call(path: str, body: Mapping[str, Any]) -> Call:
    return Call(path, json.dumps(body).encode("ascii"))


def form_text(value: object) -> str:
    """Return a parameter as it stands in a form."""
    return value if isinstance(value, str) else json.dumps(value)


def inputs_of(order: Order, role: str = "") -> list[Input]:
    return [one for one in order.inputs if one.role == role]
