"""A prompt with its `{{expr}}` filled in: texts become part of it, pictures go along with it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from numbers import Number
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from ..describe.images import image, is_picture, picture
from ..describe.question import limits_of, value_of
from ..describe.template import Reference, pieces
from ..errors import ConfigError
from ..messages.image_size import media_type
from ..messages.message import Message
from ..redaction import REDACTED
from ..settings import CometSettings
from ..text import many
from .file_type import file_type
from .media import Media
from .order import IMAGE, VIDEO, Input

MOST_PIXELS = 4096  # of the longest side of a figure that is drawn for a prompt; pictures go as they are


class Filled(NamedTuple):
    """text: what is sent.        inputs: the pictures that go along.        note: what is to be said of it, or ""."""

    text: str
    inputs: tuple[Input, ...] = ()
    note: str = ""


def fill_prompt(kind: str, prompt: str, namespace: Mapping[str, Any] | None, settings: CometSettings) -> Filled:
    """Fill in a prompt. kind: of the order; pictures and films are made of pictures, too.

    namespace: what references are looked up in; None: the prompt is text, whatever is in it.
    Raises: ConfigError when there is nothing to send, or a reference cannot be filled in.
    """
    if not isinstance(prompt, str):
        raise ConfigError(f"a prompt is a text, not {type(prompt).__name__}", "nothing was sent")
    parts: list[str] = []
    inputs: list[Input] = []
    known: dict[str, str] = {}
    limits = limits_of(settings)._replace(image_pixels=MOST_PIXELS)
    scope = {"Path": Path, **(namespace or {})}
    for piece in pieces(prompt) if namespace is not None else [prompt]:
        if isinstance(piece, Reference):
            if piece.source not in known:
                value = value_of(piece, scope)
                text = _as_text(value)
                if text is not None:
                    limits.refuse_values(str(piece))
                    known[piece.source] = limits.hide(text)
                elif kind in (IMAGE, VIDEO):
                    inputs.append(picture_of(value, str(piece), settings, f"image-{len(inputs) + 1}"))
                    known[piece.source] = f"image {len(inputs)}"
                else:
                    raise ConfigError(
                        f"{piece} is a {type(value).__name__}, and here only texts and numbers can stand",
                        "nothing was sent; write what is to be said of it",
                    )
            parts.append(known[piece.source])
        else:
            parts.append(piece)
    text = "".join(parts).strip()
    if not text:
        raise ConfigError("there is nothing to send: the prompt is empty", "write it below the line")
    hidden = text.count(REDACTED)
    return Filled(text, tuple(inputs), f"{many(hidden, 'secret')} redacted" if hidden else "")


def _as_text(value: Any) -> str | None:
    """Return a value that is a text or a number as a text; None for others."""
    if isinstance(value, Message):
        return value.full_text
    if isinstance(value, Media):
        return value.text if value.kind == "text" else None
    if isinstance(value, str | bool) or (isinstance(value, Number) and not hasattr(value, "shape")):
        return str(value)
    is_scalar = getattr(value, "shape", None) == () and hasattr(value, "item")
    return str(value.item()) if is_scalar else None


def picture_of(value: Any, name: str, settings: CometSettings, stem: str, role: str = "") -> Input:
    """Return a picture, a figure or a file as what goes along. name: as errors call it.

    Raises: ConfigError for what is no picture, or where values are not shared.
    """
    limits = limits_of(settings)._replace(image_pixels=MOST_PIXELS)
    limits.refuse_values(f"a picture ({name})")
    if isinstance(value, Media):
        value = value.bytes
    if isinstance(value, str | PurePath):
        value = read_file(value)
    if isinstance(value, bytes | bytearray) and (mime := media_type(bytes(value))) and mime.startswith("image/"):
        found = file_type(bytes(value))
        assert found is not None
        return Input(bytes(value), stem + found.extension, found.mime, role)
    try:
        shown = picture(value, limits) if is_picture(value) else image(bytes(value), name, limits)
    except TypeError:
        what = f"{name} is a {type(value).__name__}, and no picture"
        raise ConfigError(
            what, "nothing was sent; a figure, an image, a file of one, or what %%comet_image made"
        ) from None
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.what}", error.hint) from None
    (block,) = shown.attached or (None,)
    if block is None:
        raise ConfigError(f"{name}: {shown.text}", "nothing was sent")
    source: Any = block["source"]
    content = base64.b64decode(source["data"])
    extension = {"image/jpeg": ".jpg"}.get(source["media_type"], f".{source['media_type'].partition('/')[2]}")
    return Input(content, stem + extension, source["media_type"], role)


def read_file(path: str | PurePath) -> bytes:
    """Return what is in a file. Raises: ConfigError where it cannot be read."""
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        what = f"the file {path} cannot be read: {error.strerror or error}"
        raise ConfigError(what, f"nothing was sent; the current folder is {Path.cwd()}") from None
