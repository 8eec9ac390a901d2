"""What a call or a cell says → an `Order`: parameters under the endpoint's names, pictures and sound read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import PurePath
from typing import Any

from ..errors import ConfigError
from ..messages.image_size import media_type
from ..settings import CometSettings
from ..suggestions import did_you_mean
from .file_type import AUDIO, VIDEO, file_type
from .media import Media
from .order import IMAGE, MUSIC, SPEECH, TRANSCRIPT, Input, Order
from .order import VIDEO as FILM
from .prompt import Filled, picture_of, read_file
from .transcripts import EXTENSIONS, TEXT, WANTS

SAMPLE_FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
MOST_AT_ONCE = 10  # pictures of one order. Source: OpenAI's reference


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that were given: no endpoint gets an empty field. Raises: ConfigError for no JSON."""
    chosen = {name: value for name, value in parameters.items() if value is not None}
    for name, value in chosen.items():
        if not isinstance(value, str | int | float | bool | list | tuple | dict):
            raise ConfigError(f"{name} is a {type(value).__name__}, which JSON has no word for", "nothing was sent")
    return chosen


def image_order(
    filled: Filled, settings: CometSettings, *, model: str | None, n: int, size: str | None, images: Iterable[Any] = (),
    mask: Any = None, api: str = "", **more: Any,
) -> Order:  # fmt: skip
    """Return the order for pictures. images, mask: that go along besides those of the prompt."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_AT_ONCE:
        raise ConfigError(f"n is a number of pictures from 1 to {MOST_AT_ONCE}, not {n!r}", "nothing was sent")
    inputs = list(filled.inputs)
    listed = images if isinstance(images, list | tuple) else [images]
    for one in listed:
        inputs.append(picture_of(one, "images", settings, f"image-{len(inputs) + 1}"))
    if mask is not None:
        inputs.append(picture_of(mask, "mask", settings, "mask", role="mask"))
    size = None if size is None else str(size).replace("×", "x")
    parameters = given({"size": size, **more})
    return Order(IMAGE, filled.text, model or "", api, n, parameters, tuple(inputs))


def speech_order(
    filled: Filled, settings: CometSettings, *, model: str | None, voice: str | None,
    response_format: str | None = None, api: str = "", **more: Any,
) -> Order:  # fmt: skip
    if response_format is not None and response_format not in SAMPLE_FORMATS:
        near = did_you_mean(str(response_format), SAMPLE_FORMATS)
        raise ConfigError(
            f"there is no sound of the format {response_format!r}{near}",
            f"nothing was sent; {', '.join(SAMPLE_FORMATS)}",
        )
    parameters = given({"voice": voice or settings.voice, "response_format": response_format, **more})
    return Order(SPEECH, filled.text, model or "", api, 1, parameters)


def transcript_order(
    audio: Any, settings: CometSettings, *, model: str | None, prompt: str | None, wants: str, translate: bool,
    **more: Any,
) -> Order:  # fmt: skip
    """Return the order for a transcript. audio: a path, bytes, or what was made here."""
    if wants not in WANTS:
        near = did_you_mean(wants, WANTS)
        raise ConfigError(f"a transcript is no {wants!r}{near}", f"nothing was sent; {', '.join(WANTS)}")
    sound = _sound(audio)
    api = "translations" if translate else ""
    return Order(TRANSCRIPT, prompt or "", model or "", api, 1, given(more), (sound,), "" if wants == TEXT else wants)


def _sound(audio: Any) -> Input:
    """Raises: ConfigError for what is no sound that endpoints take."""
    name = "sound"
    if isinstance(audio, Media):
        name, audio = audio.path.name, audio.bytes
    elif isinstance(audio, str | PurePath):
        name, audio = PurePath(audio).name, read_file(audio)
    if not isinstance(audio, bytes | bytearray):
        raise ConfigError(
            f"a transcript is made of a file of sound, its path or its bytes, and not of a {type(audio).__name__}",
            "nothing was sent",
        )
    content = bytes(audio)
    found = file_type(content[:64], AUDIO)
    if found is None or found.kind not in (AUDIO, VIDEO):
        what = (
            "empty" if not content else "a picture or a document" if media_type(content) else "no sound that is known"
        )
        raise ConfigError(f"{name} is {what}", f"nothing was sent; endpoints take {', '.join(EXTENSIONS)}")
    stem, dot, extension = name.rpartition(".")
    if not dot or extension.lower() not in EXTENSIONS:
        if found.extension[1:] not in EXTENSIONS:
            raise ConfigError(f"{name} is {found.mime}", f"nothing was sent; endpoints take {', '.join(EXTENSIONS)}")
        name = (stem or name) + found.extension
    return Input(content, name, found.mime)


def music_order(
    filled: Filled, *, model: str | None, lyrics: str | None, title: str | None, tags: str | None,
    instrumental: bool = False, api: str = "", **more: Any,
) -> Order:  # fmt: skip
    parameters = given({"lyrics": lyrics, "title": title, "tags": tags, **more})
    if instrumental:
        parameters["make_instrumental"] = True
    return Order(MUSIC, filled.text, model or "", api, 1, parameters)


def video_order(
    filled: Filled, settings: CometSettings, *, model: str | None, seconds: Any, size: str | None,
    images: Iterable[Any] = (), api: str = "", **more: Any,
) -> Order:  # fmt: skip
    inputs = list(filled.inputs)
    listed = images if isinstance(images, list | tuple) else [images]
    for one in listed:
        inputs.append(picture_of(one, "images", settings, f"image-{len(inputs) + 1}"))
    parameters = given({"seconds": None if seconds is None else str(seconds), "size": size, **more})
    return Order(FILM, filled.text, model or "", api, 1, parameters, tuple(inputs))


def segments_table(rows: list[dict[str, Any]]) -> Any:
    """Return segments as a DataFrame of pandas or polars, whichever is at hand; without them, the list as it is."""
    for name in ("pandas", "polars"):
        if name in sys.modules or find_spec(name):
            return import_module(name).DataFrame(rows or {"start": [], "end": [], "text": []})
    return rows
