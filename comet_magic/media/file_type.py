"""What a file is by its first bytes, whatever it was called or labelled.

Source: the registered signatures of each format (RFC 3533, RFC 9639, ISO 14496-12, and the like).
"""

from __future__ import annotations

import re

from ..messages.image_size import media_type
from ..named_tuple import NamedTuple

IMAGE, AUDIO, VIDEO = "image", "audio", "video"


class FileType(NamedTuple):
    """kind: "image", "audio" or "video".        extension: with its dot."""

    mime: str
    extension: str

    @property
    def kind(self) -> str:
        return self.mime.partition("/")[0]


_IMAGES = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp"}
_MAGIC = (
    (b"ID3", FileType("audio/mpeg", ".mp3")), (b"OggS", FileType("audio/ogg", ".ogg")),
    (b"fLaC", FileType("audio/flac", ".flac")), (b"\x1a\x45\xdf\xa3", FileType("video/webm", ".webm")),
)  # fmt: skip
_AUDIO_BRANDS = (b"M4A ", b"M4B ")
_TEXTS = re.compile(rb"\s*(?:<!doctype|<html|<\?xml|[{\[])", re.I)


def file_type(content: bytes, expected: str = "") -> FileType | None:
    """Return the type of a file by its beginning; None for what is no picture, sound or film.

    expected: the kind that was asked for; a container that holds sound or film is taken for that.
    """
    if (image := media_type(content)) in _IMAGES:
        return FileType(image, _IMAGES[image])
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        return FileType("audio/wav", ".wav")
    if content[4:8] == b"ftyp":
        return _of_brand(content[8:12], expected)
    if content[:2] in (b"\xff\xf1", b"\xff\xf9"):
        return FileType("audio/aac", ".aac")
    if len(content) > 2 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2 and content[2] & 0xF0 != 0xF0:
        return FileType("audio/mpeg", ".mp3")  # a frame of MPEG audio, layer III
    found = next((kind for magic, kind in _MAGIC if content.startswith(magic)), None)
    if found and found.extension == ".webm" and expected == AUDIO:
        return FileType("audio/webm", ".webm")
    return found


def _of_brand(brand: bytes, expected: str) -> FileType:
    if brand in (b"avif", b"avis"):
        return FileType("image/avif", ".avif")
    if brand in _AUDIO_BRANDS or expected == AUDIO:
        return FileType("audio/mp4", ".m4a")
    return FileType("video/quicktime", ".mov") if brand == b"qt  " else FileType("video/mp4", ".mp4")


def described(content: bytes) -> str:
    """Return what something is that is no picture, sound or film, in words."""
    if not content:
        return "empty"
    if _TEXTS.match(content[:200]):
        is_page = content.lstrip()[:1] == b"<"
        return "a page of HTML" if is_page else "a text in JSON"
    return "bytes of an unknown format"
