"""`Media`: a picture, a sound or a film that was made, in a file; it displays itself, and goes into prompts by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..messages.image_size import pixels
from ..messages.usage import Usage
from ..text import one_line, shown_path

NOT_REPORTED = Usage()
_ENDINGS = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
    ".mp3": "audio/mpeg", ".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".mp4": "video/mp4",
    ".srt": "application/x-subrip", ".vtt": "text/vtt",
}  # fmt: skip

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Media:
    """A picture, a sound or a film that was made.

    path: File that it is in.        mime: Media type by the file's first bytes, as `image/png`.
    prompt: Text of which it was made.        model: Model that made it.        parameters: Those that were given.
    caption: Title or words of the endpoint, or "".        usage: Tokens, as far as they were reported.
    cost: US dollars, estimated; with several from one order, its share. None where no price is known.
    id: Job that made it.        seconds: Time that the kernel waited for it.
    when: Seconds since 1970 at its order.
    """

    path: Path
    mime: str
    prompt: str
    model: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    caption: str = ""
    usage: Usage = NOT_REPORTED
    cost: float | None = None
    id: str = ""
    seconds: float | None = None
    when: float = 0.0

    @property
    def kind(self) -> str:
        """Return "image", "audio", "video" or "text"."""
        return "text" if self.mime == "application/x-subrip" else self.mime.partition("/")[0]

    @property
    def bytes(self) -> bytes:
        """Return what is in the file. Raises: ConfigError where it has gone."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            what = f"the file {shown_path(self.path)} cannot be read: {error.strerror or error}"
            raise ConfigError(what, "put it back, or make it again: --fresh, fresh=True in Python") from None

    @property
    def text(self) -> str:
        """Return the text of subtitles. Raises: ConfigError for what is no text."""
        if self.kind != "text":
            raise ConfigError(f"this is {self.mime}, and no text", "its bytes are in .bytes, its file is .path")
        return self.bytes.decode("utf-8", "replace")

    @property
    def image(self) -> Any:
        """Return the picture as an image of Pillow. Raises: ConfigError for what is no picture."""
        if self.kind != "image":
            raise ConfigError(f"this is {self.mime}, and no picture", "its bytes are in .bytes, its file is .path")
        from ..describe.images import as_image  # not at the top: Pillow is not everywhere

        return as_image(self.bytes)

    def array(self) -> numpy.ndarray[Any, Any]:
        """Return a picture's pixels (height, width, channels), or a sound's samples (length, channels) from -1 to 1.

        Raises: ConfigError for a film, or where what reads it is not installed.
        """
        try:
            import numpy
        except ImportError:
            raise ConfigError("NumPy is not installed", "%pip install numpy") from None
        if self.kind == "image":
            return numpy.asarray(self.image)
        if self.kind != "audio":
            raise ConfigError(f"this is {self.mime}: it has no array", "its bytes are in .bytes, its file is .path")
        try:
            import soundfile
        except (ImportError, OSError):
            raise ConfigError("soundfile, which reads sound, is not installed", "%pip install soundfile") from None
        try:
            samples, _ = soundfile.read(BytesIO(self.bytes), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise ConfigError(f"soundfile cannot read {self.mime}: {error}", "its bytes are in .bytes") from None
        return samples  # type: ignore[no-any-return]  # soundfile is not typed

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Copy the file to `path`, or into it where that is a folder. Returns: the path of the copy.

        Raises: ConfigError where a file is there already, unless `overwrite`; where the name's ending is that of
        another format; or where none can be written.
        """
        goal = Path(path).expanduser()
        goal = goal / self.path.name if goal.is_dir() else goal
        if goal.exists() and not overwrite:
            raise ConfigError(f"there is a file {shown_path(goal)} already", "nothing was written; overwrite=True does")
        if goal.suffix.lower() in _ENDINGS and _ENDINGS[goal.suffix.lower()] != self.mime:
            hint = f"nothing was written; {goal.with_suffix(self.path.suffix).name} is its name"
            raise ConfigError(f"this is {self.mime}, and {goal.name} is the name of another format", hint)
        content = self.bytes
        try:
            goal.write_bytes(content)
        except OSError as error:
            raise ConfigError(f"{shown_path(goal)} cannot be written: {error.strerror or error}", "") from None
        return goal

    @property
    def size(self) -> tuple[int, int] | None:
        """Return (width, height) of a picture; None for others."""
        if self.kind != "image":
            return None
        try:
            with self.path.open("rb") as file:
                return pixels(file.read(100_000))
        except OSError:
            return None

    def __repr__(self) -> str:
        size = f" {self.size[0]}×{self.size[1]}" if self.size else ""
        return f"<Media: {self.mime}{size} · {one_line(self.prompt, 60)!r} · {shown_path(self.path)}>"

    def __str__(self) -> str:
        return repr(self)

    def _repr_llm_(self) -> Any:
        """Return what stands for it in a prompt: a picture itself, or what it is."""
        if self.kind == "image":
            return self.bytes
        return self.text if self.kind == "text" else f"{self.mime}, made of the text {one_line(self.prompt, 200)!r}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        from .shown import bundle  # not at the top: a script shows nothing

        return bundle(self)
