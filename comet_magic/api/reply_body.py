"""The body of a reply as it comes: where it begins, all of it where it is one JSON object, and its events otherwise."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import TransportError
from ..strict_json import json_or_none
from .sse import ServerSentEvent, SSEDecoder

if TYPE_CHECKING:
    from .events import StreamEvent

PING: StreamEvent = {"type": "ping"}
_BOM = b"\xef\xbb\xbf"


def beginning(chunks: Iterable[bytes]) -> Generator[StreamEvent, None, bytes]:
    """Yield a ping for each empty chunk; return what came up to the first bytes that tell what it is.

    Raises: TransportError when there are none.
    """
    head = bytearray()
    for chunk in chunks:
        if not chunk:
            yield PING
            continue
        head += chunk
        if start := _first_bytes(head):
            return start
    raise TransportError("empty stream: the endpoint ended its reply without a word", "run the cell again")


def is_one_piece(start: bytes) -> bool:
    """Return whether a body that begins so is no stream. The bytes decide, for gateways label JSON as text."""
    return start[:1] in b"{[<\"'" or start[0] > 127


def all_of(start: bytes, chunks: Iterator[bytes]) -> Generator[StreamEvent, None, bytes]:
    """Yield a ping for each empty chunk, and return the whole body."""
    body = bytearray(start)
    for chunk in chunks:
        if not chunk:
            yield PING
        body += chunk
    return bytes(body)


def _first_bytes(head: bytearray) -> bytes:
    """Return `head` from its first telling byte; nothing while there is none."""
    if len(head) < 3 and _BOM.startswith(head):
        return b""
    return bytes(head).removeprefix(_BOM).lstrip()


# ---- streams


def server_sent(start: bytes, chunks: Iterator[bytes]) -> Iterator[ServerSentEvent | None]:
    """Yield the events, and None for a moment of silence; bare JSON behind them is an event, too."""
    decoder = SSEDecoder()
    yield from decoder.feed(start)
    for chunk in chunks:
        if not chunk:
            yield None
        yield from decoder.feed(chunk)
    yield from decoder.flush()
    if stray := bytes(decoder.stray).strip():
        yield ServerSentEvent("", stray.decode("utf-8", "replace"))


def objects_of(data: str) -> list[dict[str, Any]]:
    """Return the JSON objects in an event's data: one, one in a list, or one a line without empty lines between."""
    value = json_or_none(data)
    if value is None and "\n" in data:
        return [one for line in data.split("\n") for one in objects_of(line)]
    return [value] if isinstance(value, dict) else dicts(value)


def dicts(values: object) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
