"""Bytes → server-sent events. Source: WHATWG HTML, section 9.2.6."""

from __future__ import annotations

from ..named_tuple import NamedTuple


class ServerSentEvent(NamedTuple):
    event: str
    data: str


class SSEDecoder:
    """Bytes, cut anywhere, to server-sent events. Holds what is not yet a whole event; lives for one reply.

    stray: lines that are no part of any event. Gateways append bare JSON errors to a dying stream.
    """

    def __init__(self) -> None:
        self.stray = bytearray()
        self._rest = bytearray()  # the line that is not yet ended
        self._after_cr = False
        self._event = ""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        # Bytes, and never str.splitlines(): U+2028 and its like are legal inside JSON.
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == 10:  # the second half of a CRLF whose first half has already ended the line
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = chunk.rfind(b"\n")
        if end < 0:
            self._rest += chunk
            return []
        lines = (bytes(self._rest) + chunk[:end]).split(b"\n")
        self._rest = bytearray(chunk[end + 1 :])
        return self._events(lines)

    def flush(self) -> list[ServerSentEvent]:
        """Return the last event, though no empty line ended it."""
        lines = [bytes(self._rest), b""]
        self._rest = bytearray()
        return self._events(lines)

    def _events(self, lines: list[bytes]) -> list[ServerSentEvent]:
        events = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line:
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    events.append(ServerSentEvent(self._event, data.decode("utf-8", "replace")))
                    self._data = []
                self._event = ""
            elif line.startswith(b"event:"):
                self._event = line[6:].decode("utf-8", "replace").removeprefix(" ")
            elif not line.startswith((b":", b"id:", b"retry:")):
                self.stray += line + b"\n"
        return events
