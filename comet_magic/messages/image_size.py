"""What a picture or a PDF says of itself in its first bytes: its media type, and its size in pixels."""

from __future__ import annotations

import re
import struct

PDF = "application/pdf"
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"), (b"%PDF-", PDF))


def media_type(content: bytes) -> str | None:
    """Return the media type, if the Messages API takes it, else None. Source: its vision and PDF pages."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((media for magic, media in _MAGIC if content.startswith(magic)), None)


def pixels(content: bytes) -> tuple[int, int] | None:
    """Return (width, height) of a picture; None where its beginning does not say."""
    try:
        match media_type(content):
            case "image/png":
                return struct.unpack(">II", content[16:24])
            case "image/gif":
                return struct.unpack("<HH", content[6:10])
            case "image/webp":
                return _webp(content)
            case "image/jpeg":
                return _jpeg(content)
    except (struct.error, IndexError):
        pass
    return None


def pages(content: bytes) -> int:
    """Count the pages of a PDF; 0 where they are hidden in compressed parts."""
    return len(re.findall(rb"/Type\s*/Page\b", content))


def _jpeg(content: bytes) -> tuple[int, int] | None:
    at = 2
    while content[at] == 0xFF:
        marker, length = content[at + 1], struct.unpack(">H", content[at + 2 : at + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame; the others are tables
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None


def _webp(content: bytes) -> tuple[int, int] | None:
    def number(at: int, size: int) -> int:
        if len(content) < at + size:
            raise IndexError
        return int.from_bytes(content[at : at + size], "little")

    match content[12:16]:
        case b"VP8X":
            return number(24, 3) + 1, number(27, 3) + 1
        case b"VP8 ":
            return number(26, 2) & 0x3FFF, number(28, 2) & 0x3FFF
        case b"VP8L":
            bits = number(21, 4)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None
