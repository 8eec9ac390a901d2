"""The body of a reply: where it begins, and all of it where it is one JSON object. A moment of silence is a ping."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING

from ..errors import TransportError

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
