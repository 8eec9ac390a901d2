"""How long a sound is, where that can be told."""

from __future__ import annotations

import struct
from io import BytesIO

from .file_type import file_type
from .wav import HEADER


def seconds_of(content: bytes) -> float | None:
    """Return the seconds of a sound: of a WAV by its header, of others where tinytag is installed; None elsewhere."""
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE" and content[12:16] == b"fmt " and len(content) > HEADER:
        rate = struct.unpack("<I", content[28:32])[0]  # bytes a second
        return (len(content) - HEADER) / rate if rate else None
    known = file_type(content[:64])
    if known is None or known.extension == ".aac":  # tinytag takes that for MP3
        return None
    try:
        from tinytag import TinyTag
    except ImportError:
        return None
    try:
        seconds = TinyTag.get(file_obj=BytesIO(content)).duration
    except Exception:  # noqa: BLE001  # whatever a damaged file does to it
        return None
    return float(seconds) if seconds else None
