"""Decode gzip and deflate bodies by their first bytes, because gateways send wrong headers.

They say gzip over plain bytes, and send gzip without saying so; no reply begins with the two bytes that gzip does.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from ..errors import TransportError

PIECE = 1_000_000  # bytes that are unpacked at once: a small body may become a thousand times as long
_GZIP = b"\x1f\x8b"
_TEXT = b'{["<:deri'  # what JSON, HTML and server-sent events begin with


def _is_text(data: bytes) -> bool:
    """Return whether a body begins as text does; its last character may be cut."""
    begin = data[:200].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")[:-1]
    return data.lstrip()[:1] in _TEXT or bool(begin and "\ufffd" not in begin and begin.replace("\n", "").isprintable())


class Unpacker:
    """Unpacks one body, in pieces of bounded size. encoding: its content-encoding header, "" without one.

    is_plain: whether the bytes turned out to be what they seem.
    """

    def __init__(self, encoding: str) -> None:
        self.is_plain = False
        self._encoding = encoding.strip().lower()
        self._unpacking: zlib._Decompress | None = None
        self._head = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the pieces that come of `data`. Raises: TransportError when it is packed otherwise, or damaged."""
        if not self.is_plain and self._unpacking is None:
            data, self._head = self._head + data, b""
            if len(data) < 2:
                self._head = data
                return
            self._unpacking = self._decompressor_for(data)
            self.is_plain = self._unpacking is None
        if self._unpacking is None:
            if data:
                yield data
            return
        if self._unpacking.eof:  # zlib would keep whatever comes behind the end
            data, self._head = self._head + data, b""
            if _GZIP.startswith(data):
                self._head = data
            if len(data) < 2 or not data.startswith(_GZIP):
                return
            self._unpacking = zlib.decompressobj(31)
        yield from self._pieces(self._unpacking, data)

    def end(self) -> list[bytes]:
        """Return what is left at the end of the body. Raises: TransportError when it broke off."""
        if self._unpacking is not None and not self._unpacking.eof:
            raise TransportError("cut off: the packed reply broke off", "run the cell again", kind="cut")
        return [self._head] if self._head and self._unpacking is None else []

    def _decompressor_for(self, data: bytes) -> zlib._Decompress | None:
        """Return what unpacks a body that begins with `data`; None for one that is not packed."""
        if data.startswith(_GZIP):
            return zlib.decompressobj(31)
        if self._encoding in ("deflate", "gzip", "x-gzip") and data[0] & 0x0F == 8:
            if (data[0] * 256 + data[1]) % 31 == 0:
                return zlib.decompressobj()
        if self._encoding in ("", "identity", "gzip", "x-gzip") or _is_text(data):
            return None
        if self._encoding == "deflate":  # as some send it, without a head
            return zlib.decompressobj(-15)
        name = repr(self._encoding) if re.fullmatch("[a-z0-9-]{1,12}", self._encoding) else "something unknown"
        raise TransportError(
            f"the endpoint packed its reply as {name}, which was not asked for",
            "check a proxy between here and the endpoint",
        )

    def _pieces(self, unpacking: zlib._Decompress, data: bytes) -> Iterator[bytes]:
        while data:
            try:
                piece = unpacking.decompress(data, PIECE)
            except zlib.error:
                raise TransportError("cut off: the packed reply is damaged", "run the cell again", kind="cut") from None
            if piece:
                yield piece
            data = unpacking.unconsumed_tail
            if unpacking.eof:
                # Several stand one behind the other; anything else behind the end is nothing.
                behind = unpacking.unused_data
                if not behind.startswith(_GZIP):
                    self._head = behind if behind == _GZIP[:1] else b""
                    return
                data, unpacking = behind, zlib.decompressobj(31)
                self._unpacking = unpacking
