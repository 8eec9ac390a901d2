"""What a call or a cell says → an `Order`: parameters under the endpoint's names, pictures and sound read."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePath
from typing import Any

from ..errors import ConfigError
from ..messages.image_size import PDF, media_type
from ..settings import CometSettings
from ..suggestions import did_you_mean
from .file_type import AUDIO, VIDEO, file_type
from .media import Media
from .order import IMAGE, MUSIC, SPEECH, TRANSCRIPT, Input, Order
from .order import VIDEO as FILM
from .prompt import Filled, pictures_of, read_file
from .transcripts import EXTENSIONS, SEGMENTS, SRT, TEXT, VTT

SAMPLE_FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
MOST_AT_ONCE = 10  # pictures of one order. Source: OpenAI's reference
_NOT_SENT = "nothing was sent"


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that were given: no endpoint gets an empty field. Raises: ConfigError for no JSON."""
    chosen = {name: value for name, value in parameters.items() if value is not None}
    for name, value in chosen.items():
        if name in ("prompt", "input", "model", "n", "file"):
            raise ConfigError(
                f"{name} cannot be set as a further parameter", f"{_NOT_SENT}; it has a flag, or a place, of its own"
            )
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise ConfigError(f"{name} = {value!r} cannot be written as JSON", _NOT_SENT) from None
    return chosen


def _word(name: str, value: Any) -> str:
    """Return a name that was given, "" for none. Raises: ConfigError for what is no text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{name} is a text, not {value!r}", _NOT_SENT)
    return value.strip()


def image_order(
    filled: Filled, settings: CometSettings, parameters: Mapping[str, Any], *, model: Any = None, n: Any = 1,
    images: Any = (), mask: Any = None, api: Any = None,
) -> Order:  # fmt: skip
    """Return the order for pictures. images, mask: that go along besides those of the prompt.

    parameters: the endpoint's, by its names. Raises: ConfigError.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_AT_ONCE:
        raise ConfigError(f"n is a number of pictures from 1 to {MOST_AT_ONCE}, not {n!r}", _NOT_SENT)
    inputs = [*filled.inputs, *pictures_of(images, "images", settings, len(filled.inputs))]
    if mask is not None:
        inputs += [one._replace(role="mask") for one in pictures_of(mask, "mask", settings, len(inputs))]
    parameters = _with_size(parameters)
    return Order(IMAGE, filled.text, _word("model", model), _word("api", api), n, given(parameters), tuple(inputs))


def _with_size(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with a size as endpoints take it: 1024x1024, also where it is written with ×, or a pair."""
    size = parameters.get("size")
    if isinstance(size, tuple | list) and len(size) == 2:
        size = f"{size[0]}x{size[1]}"
    return {**parameters, **({"size": str(size).replace("×", "x")} if size is not None else {})}


def speech_order(
    filled: Filled, settings: CometSettings, parameters: Mapping[str, Any], *, model: Any = None, voice: Any = None
) -> Order:
    """Return the order for a spoken text. Raises: ConfigError."""
    form = parameters.get("response_format")
    if form is not None and form not in SAMPLE_FORMATS:
        near = did_you_mean(str(form), SAMPLE_FORMATS)
        raise ConfigError(f"{form!r} is no format of sound{near}", f"{_NOT_SENT}; {', '.join(SAMPLE_FORMATS)}")
    return Order(
        SPEECH, filled.text, _word("model", model), "", 1, given({"voice": voice or settings.voice, **parameters})
    )


def transcript_order(
    audio: Any, parameters: Mapping[str, Any], *, model: Any = None, prompt: Any = None, segments: bool = False,
    format: Any = None, translate: bool = False,
) -> Order:  # fmt: skip
    """Return the order for a transcript. audio: a path, bytes, or what was made here. Raises: ConfigError."""
    form = _word("format", format)
    if form not in (TEXT, SRT, VTT):
        near = did_you_mean(form, (SRT, VTT))
        raise ConfigError(f"{form!r} is no format of subtitles{near}", f"{_NOT_SENT}; srt or vtt")
    if form and segments:
        raise ConfigError("segments are a table, and subtitles a file", f"{_NOT_SENT}; take one of the two")
    api = "translations" if translate else ""
    sound = _sound(audio)
    form = SEGMENTS if segments else form
    return Order(
        TRANSCRIPT, _word("prompt", prompt), _word("model", model), api, 1, given(parameters), (sound,), form
    )  # fmt: skip


def _sound(audio: Any) -> Input:
    """Return a recording as what goes along. Raises: ConfigError for what is no sound that endpoints take."""
    name = "the recording"
    if isinstance(audio, Media):
        name, audio = audio.path.name, audio.bytes
    elif isinstance(audio, str | PurePath):
        name, audio = PurePath(audio).name, read_file(audio)
    if not isinstance(audio, bytes | bytearray | memoryview):
        raise ConfigError(
            f"transcribe takes the path or the bytes of a file of sound, not a {type(audio).__name__}",
            _NOT_SENT,
        )
    content = bytes(audio)
    found = file_type(content[:64], AUDIO)
    if found is None or found.kind not in (AUDIO, VIDEO):
        what = "empty" if not content else "no sound that is known"
        what = "a PDF" if media_type(content) == PDF else "a picture" if found else what
        raise ConfigError(f"{name} is {what}", f"{_NOT_SENT}; endpoints take {', '.join(EXTENSIONS)}")
    stem, dot, extension = name.rpartition(".")
    if not dot or extension.lower() not in EXTENSIONS:
        if found.extension[1:] not in EXTENSIONS:
            raise ConfigError(f"{name} is {found.mime}", f"{_NOT_SENT}; endpoints take {', '.join(EXTENSIONS)}")
        name = ("sound" if name == "the recording" else stem or name) + found.extension
    return Input(content, name, found.mime)


def music_order(
    filled: Filled, parameters: Mapping[str, Any], *, model: Any = None, instrumental: bool = False
) -> Order:
    """Return the order for songs. parameters: the endpoint's, and lyrics, title and tags. Raises: ConfigError."""
    chosen = given({**parameters, **({"make_instrumental": True} if instrumental else {})})
    return Order(MUSIC, filled.text, _word("model", model), "", 1, chosen)


def video_order(
    filled: Filled, settings: CometSettings, parameters: Mapping[str, Any], *, model: Any = None, images: Any = (),
    api: Any = None,
) -> Order:  # fmt: skip
    """Return the order for a film. images: its first picture, or its first and its last. Raises: ConfigError."""
    inputs = [*filled.inputs, *pictures_of(images, "images", settings, len(filled.inputs))]
    chosen = _with_size(parameters)
    if (seconds := chosen.get("seconds")) is not None:
        chosen["seconds"] = _seconds(seconds)
    return Order(FILM, filled.text, _word("model", model), _word("api", api), 1, given(chosen), tuple(inputs))


def _seconds(seconds: Any) -> str:
    """Return a length as endpoints take it, a text. Raises: ConfigError for what is none."""
    try:
        number = float(seconds)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(seconds, bool) or not 0 < number < math.inf:
        raise ConfigError(f"seconds is a number above 0, not {seconds!r}", _NOT_SENT)
    return f"{number:g}"


def segments_table(rows: list[dict[str, Any]]) -> Any:
    """Return segments as a DataFrame of pandas or polars, whichever is at hand; without them, the list as it is."""
    for name in ("pandas", "polars"):
        if name in sys.modules or find_spec(name):
            return import_module(name).DataFrame(rows or {"start": [], "end": [], "text": []})
    return rows


# Parameters of endpoints that are near to names of ours, and right. Source: the references named in `service`.
_THEIRS = {
    "partial_images", "stream", "stream_format", "output_format", "response_format", "style", "mode", "user", "seed",
    "image_size", "negative_prompt", "prompt_upsampling", "resolution", "duration", "language", "languages",
}  # fmt: skip


def check_names(function: str, parameters: Iterable[str], own: Iterable[str]) -> None:
    """Check that no parameter for the endpoint is a misspelt one of ours. Raises: TypeError, naming the nearest."""
    names = sorted(own)
    for name in parameters:
        if name in ("into", "literal", "out"):
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}: it is a flag of cells")
        if name not in _THEIRS and (near := did_you_mean(name, names)):
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{near}; nothing was sent")
