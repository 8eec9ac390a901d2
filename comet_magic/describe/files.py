"""A path → what is in the file: an image or a document as a block, a text as text."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..messages.image_size import PDF, media_type, pages
from ..suggestions import did_you_mean
from ..text import many, shown_path
from .description import Description, Limits
from .images import as_png, image, is_other_picture

LARGEST_PDF = 32_000_000  # bytes of base64; the provider's limit for a whole request
LOOKED_AT = 10_000  # characters that tell a text from other bytes
LARGEST_TEXT = 1_000_000  # bytes that are read of each end of a longer text


def file(path: Path, limits: Limits) -> Description:
    """Raises: ConfigError where there is no such file, or it is none of those."""
    name = shown_path(path)
    limits.refuse_values(f"the file {name}")
    if path.is_dir():
        return _folder(path, limits)
    content, size = _read(path, name)
    media = media_type(content)
    if media == PDF:
        return document(content, f"PDF file {path.name}", limits, path.name)
    if media or is_other_picture(content):
        content = content if media else as_png(content, limits.image_pixels)
        return image(content, f"image file {path.name}", limits)
    text = _decoded(content)
    if text is None:
        raise ConfigError(f"{name} is not a text, an image or a PDF: {what_it_is(content)}", "nothing was sent")
    part = limits.fitted(text)
    label = f"text of {many(len(text), 'character')}" if len(content) == size else f"text of {size / 1e6:,.0f} MB"
    return Description(f"text file {name}", part, label if part == text else f"{label}, in part")


def _read(path: Path, name: str) -> tuple[bytes, int]:
    """Return what is in the file, and how long it is; of a long text the two ends."""
    try:
        with path.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            content = opened.read(LARGEST_TEXT)
            if media_type(content) is not None or content[:2] in (b"BM", b"II", b"MM"):
                content += opened.read(LARGEST_PDF)
            elif size > 2 * LARGEST_TEXT:
                opened.seek(-LARGEST_TEXT, os.SEEK_END)
                content += b"\n" + opened.read()
            else:
                content += opened.read()
    except OSError as error:
        near = did_you_mean(path.name, os.listdir(path.parent) if path.parent.is_dir() else ())
        raise ConfigError(f"{name} cannot be read: {error.strerror}{near}", "nothing was sent") from error
    return content, size


def _decoded(content: bytes) -> str | None:
    """Return a text; None for other things."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if b"\0" in content[:4096]:
        return None
    text = content.decode("utf-8-sig", "replace")
    # One or two may be where a long text was cut; more are of another encoding.
    return text if text.count("\ufffd") <= 6 else content.decode("latin-1")


# Source: the formats' own descriptions.
_KINDS = {
    b"PK\x03\x04": "a ZIP archive, as office documents are", b"\x1f\x8b": "gzip", b"PAR1": "Parquet",
    b"ARROW1": "Arrow", b"SQLite format 3\0": "an SQLite database", b"\x80\x04": "a pickle", b"\x80\x05": "a pickle",
    b"RIFF": "sound or film", b"\x89HDF": "HDF5",
    b"OggS": "sound", b"ID3": "sound", b"\x93NUMPY": "a NumPy array", b"\x7fELF": "a program",
}  # fmt: skip


def what_it_is(content: bytes) -> str:
    """Return `104 bytes: Parquet`, or how they begin."""
    size = many(len(content), "byte")
    kind = next((kind for start, kind in _KINDS.items() if content.startswith(start)), "")
    return f"{size}: {kind}" if kind else f"{size} that are not text, beginning {content[:8].hex()}"


def binary(content: bytes | bytearray, limits: Limits) -> Description:
    """Describe bytes: as the text that they hold, else as what they are."""
    limits.refuse_values("bytes")
    try:
        text = bytes(content).decode()
    except UnicodeDecodeError:
        text = "\0"
    if all(char.isprintable() or char in "\n\r\t" for char in text[:LOOKED_AT]):
        return Description("bytes of text", limits.fitted(text), many(len(content), "byte"), is_value=True)
    return Description("bytes", what_it_is(bytes(content)), is_value=True)


def document(content: bytes, kind: str, limits: Limits, name: str) -> Description:
    """Return a PDF as a document block."""
    limits.refuse_values(kind)
    encoded = base64.b64encode(content).decode()
    if len(encoded) > LARGEST_PDF:
        raise ConfigError(f"{name} is larger than the 32 MB that endpoints take", "nothing was sent")
    count = pages(content)
    source = {"type": "base64", "media_type": PDF, "data": encoded}
    block: Any = {"type": "document", "source": source, "title": name}
    size = many(count, "page") if count else f"{len(content) / 1e6:.1f} MB"
    return Description(kind, f"PDF, {size}", f"PDF, {size}", (block,))


def _folder(path: Path, limits: Limits) -> Description:
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
    text = limits.fitted("\n".join(names))
    return Description(f"folder {shown_path(path)}", text, many(len(names), "name"))
