"""Real pictures, sound and film for tests: made here by Pillow, espeak-ng and ffmpeg, and measured by ffprobe."""

from __future__ import annotations

import base64
import io
import json
import shutil
import struct
import subprocess
import tempfile
import wave
from functools import cache
from pathlib import Path
from typing import Any

HAS_FFMPEG = shutil.which("ffmpeg") is not None
HAS_CODECS = HAS_FFMPEG and shutil.which("espeak-ng") is not None


@cache
def picture(kind: str = "PNG", size: tuple[int, int] = (64, 48), colour: str = "teal") -> bytes:
    from PIL import Image

    written = io.BytesIO()
    Image.new("RGB", size, colour).save(written, kind)
    return written.getvalue()


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@cache
def tone(seconds: float = 1.0, rate: int = 24_000) -> bytes:
    """A WAV file with a tone."""
    import math

    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        samples = (round(9000 * math.sin(at * 440 * 2 * math.pi / rate)) for at in range(int(seconds * rate)))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return written.getvalue()


@cache
def sound(kind: str = "mp3", seconds: float = 1.0) -> bytes:
    return _converted(tone(seconds), ".wav", kind)


@cache
def spoken(text: str, kind: str = "mp3") -> bytes:
    """What espeak-ng makes of a text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "spoken.wav")
        subprocess.run(["espeak-ng", "-w", path, text], check=True, capture_output=True)
        return path.read_bytes() if kind == "wav" else _converted(path.read_bytes(), ".wav", kind)


@cache
def film(seconds: float = 1.0, size: str = "160x90") -> bytes:
    """An MP4 with a moving picture."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "film.mp4")
        source = f"testsrc=duration={seconds}:size={size}:rate=10"
        words = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", str(path)]
        subprocess.run(words, check=True, capture_output=True)
        return path.read_bytes()


def _converted(content: bytes, extension: str, kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, goal = Path(folder, f"in{extension}"), Path(folder, f"out.{kind}")
        source.write_bytes(content)
        subprocess.run(["ffmpeg", "-v", "error", "-i", source, goal], check=True, capture_output=True)
        return goal.read_bytes()


def measured(path: Path) -> dict[str, Any]:
    """What ffprobe says of a file: its format, and seconds."""
    words = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", str(path)]
    said = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    return {"format": said["format"]["format_name"], "seconds": float(said["format"]["duration"])}
