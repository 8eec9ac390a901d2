"""A prompt with its `{{expr}}` filled in: texts become part of it, pictures go along with it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from numbers import Number
from pathlib import Path, PurePath
from typing import Any

from ..describe.images import is_picture
from ..describe.question import limits_of, value_of
from ..describe.registry import describe
from ..describe.template import Reference, pieces
from ..errors import CometError, ConfigError
from ..messages.image_size import media_type
from ..messages.message import Message
from ..named_tuple import NamedTuple
from ..redaction import REDACTED
from ..settings import CometSettings
from ..text import many, shown_path, whole_text
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
    prompt = whole_text(prompt)
    parts: list[str] = []
    inputs: list[Input] = []
    known: dict[str, str] = {}
    limits = limits_of(settings)
    scope = {"Path": Path, **(namespace or {})}
    for piece in pieces(prompt) if namespace is not None else [prompt]:
        if isinstance(piece, Reference):
            if piece.source not in known:
                value = value_of(piece, scope)
                text = _as_text(value)
                if text is not None:
                    limits.refuse_values(str(piece))
                    known[piece.source] = limits.hide(whole_text(text))
                elif kind in (IMAGE, VIDEO):
                    new = pictures_of(value, str(piece), settings, len(inputs))
                    if not new:
                        raise ConfigError(f"{piece} holds no picture", "nothing was sent")
                    names = [f"image {len(inputs) + at}" for at in range(1, len(new) + 1)]
                    known[piece.source] = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
                    inputs += new
                else:
                    raise ConfigError(
                        f"{piece} is a {type(value).__name__}, and only texts and numbers can stand here",
                        "nothing was sent; make it a text",
                    )
            parts.append(known[piece.source])
        else:
            parts.append(piece)
    text = "".join(parts).strip()
    if not text:
        raise ConfigError("there is nothing to send: the prompt is empty", "a cell has it below its first line")
    hidden = text.count(REDACTED) - prompt.count(REDACTED)
    return Filled(text, tuple(inputs), f"{many(hidden, 'secret')} redacted" if hidden > 0 else "")


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


def pictures_of(value: Any, name: str, settings: CometSettings, before: int) -> list[Input]:
    """Return pictures, figures or files as what goes along. name: as errors call it.

    value: one of them, or several.        before: how many go along already; they are numbered from there.
    Raises: ConfigError for what is no picture, or where values are not shared.
    """
    if value is None:
        return []
    is_several = isinstance(value, list | tuple) or (isinstance(value, Iterator) and not hasattr(value, "read"))
    several = list(value) if is_several and not is_picture(value) else [value]
    if several:
        limits_of(settings).refuse_values(f"a picture ({name})")
    found: list[Input] = []
    for one in several:
        try:
            contents = _contents(one, settings)
        except CometError as error:
            raise ConfigError(f"{name}: {error.what}", error.hint) from None
        except Exception as error:  # whatever draws it raises what it likes
            raise ConfigError(f"{name} cannot be drawn: {error}", "nothing was sent") from error
        if not contents:
            raise ConfigError(f"{name} is a {type(one).__name__}, and no picture", _PICTURES)
        for content in contents:
            kind = file_type(content)
            if kind is None or kind.kind != IMAGE:
                raise ConfigError(f"{name} is a {type(one).__name__}, and no picture", _PICTURES)
            found.append(Input(content, f"image-{before + len(found) + 1}{kind.extension}", kind.mime))
    return found


_PICTURES = "nothing was sent; it takes a figure, an image, the path of one, or what %%comet_image made"


def _contents(value: Any, settings: CometSettings) -> list[bytes]:
    """Return the bytes of the pictures in a value: as they are in a file, or as a notebook shows them."""
    if isinstance(value, Media):
        value = value.bytes
    if isinstance(value, str | PurePath):
        value = read_file(value)
    if isinstance(value, bytes | bytearray | memoryview):
        content = bytes(value)
        if (media_type(content) or "").startswith("image/"):
            return [content]
        value = content
    limits = limits_of(settings)._replace(image_pixels=MOST_PIXELS)
    blocks = [block for one in describe(value, limits) for block in one.attached if block.get("type") == "image"]
    sources: list[Any] = [block["source"] for block in blocks]
    return [base64.b64decode(source["data"]) for source in sources]


def read_file(path: str | PurePath) -> bytes:
    """Return what is in a file. Raises: ConfigError where it cannot be read."""
    try:
        return Path(path).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        what = f"the file {path} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise ConfigError(what, f"nothing was sent; the current folder is {shown_path(Path.cwd())}") from None
