"""Sound without a header, and headers that say nothing true: made into a WAV file that any player takes.

Source: Multimedia Programming Interface and Data Specifications 1.0, the RIFF and WAVE chapters.
"""

from __future__ import annotations

import struct

HEADER = 44  # bytes of the plainest header


def from_pcm(samples: bytes, rate: int = 24_000, channels: int = 1, bits: int = 16) -> bytes:
    """Return a WAV file. samples: signed, little-endian; what speech endpoints call pcm is 24 kHz, 16 bit, mono."""
    frame = channels * bits // 8
    samples = samples[: len(samples) // frame * frame]
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * frame, frame, bits)
    head = struct.pack("<4sI4s", b"RIFF", 36 + len(samples), b"WAVE")
    return head + fmt + struct.pack("<4sI", b"data", len(samples)) + samples


def repaired(content: bytes) -> bytes:
    """Return a WAV file whose sizes are true: one that was streamed says a size that nobody knew yet."""
    found = _data_at(content)
    if found is None:
        return content
    at, said = found
    size = len(content) - at
    if said <= size and struct.unpack("<I", content[4:8])[0] + 8 <= len(content):
        return content
    whole = bytearray(content)
    struct.pack_into("<I", whole, 4, len(content) - 8)
    struct.pack_into("<I", whole, at - 4, min(said, size))
    return bytes(whole)


def joined(parts: list[bytes]) -> bytes:
    """Return one WAV file with the sound of several of the same form, one after the other."""
    first = repaired(parts[0])
    found = _data_at(first)
    if found is None:
        return b"".join(parts)
    head = bytearray(first[: found[0]])
    samples = b"".join(_samples(part) for part in parts)
    struct.pack_into("<I", head, 4, len(head) + len(samples) - 8)
    struct.pack_into("<I", head, len(head) - 4, len(samples))
    return bytes(head) + samples


def _samples(content: bytes) -> bytes:
    content = repaired(content)
    found = _data_at(content)
    return b"" if found is None else content[found[0] : found[0] + found[1]]


def _data_at(content: bytes) -> tuple[int, int] | None:
    """Return where the samples begin, and how many bytes of them there are said to be; None without any."""
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack("<4sI", content[at : at + 8])
        if name == b"data":
            return at + 8, size
        at += 8 + size + size % 2
    return None
