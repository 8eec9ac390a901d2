"""`Media` → what Jupyter shows: an output that survives saving, reopening and exporting, and plain text beside it.

JupyterLab's sanitizer keeps `src` on `audio` and `video`, and takes it from `source`; so it stands on the tag itself.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from ..describe.images import preview
from ..errors import without_known_keys
from ..messages.image_size import media_type
from ..settings import CometSettings
from ..text import clean, one_line, shown_path

PREVIEW_BYTES, PREVIEW_PIXELS = 1_500_000, 1568  # of a picture that is shown as it is; else a smaller one is made
SHOWN_ALT = 300  # characters

Bundle = tuple[dict[str, Any], dict[str, Any]]


class Shown(Protocol):
    """The part of `Media` that is shown."""

    @property
    def path(self) -> Path: ...
    @property
    def mime(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def caption(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def size(self) -> tuple[int, int] | None: ...
    @property
    def bytes(self) -> bytes: ...
    @property
    def text(self) -> str: ...


def bundle(media: Shown, line: str = "") -> Bundle:
    """Return data and metadata of the output that shows it. line: what is said under a player."""
    if not media.path.is_file():
        text = f"[the file {shown_path(media.path)} is no longer there]"
        return {"text/plain": text}, {}
    if media.kind == "image":
        return _picture(media)
    if media.kind == "text":
        return {"text/plain": without_known_keys(clean(media.text))}, {}
    return _player(media, line), {}


def plain(media: Shown) -> str:
    """Return `[image/png 1024×1024 · "paper boat" · boats_media/paper-boat-1.png]`."""
    size = f" {media.size[0]}×{media.size[1]}" if media.size else ""
    name = media.caption or media.prompt
    return clean(f"[{media.mime}{size} · “{one_line(without_keys(name), 100)}” · {shown_path(media.path)}]")


def without_keys(text: str) -> str:
    return without_known_keys(" ".join(clean(text).split()))


def _picture(media: Shown) -> Bundle:
    content, mime = media.bytes, media.mime
    if mime not in ("image/png", "image/jpeg") or len(content) > PREVIEW_BYTES:
        content = preview(content, PREVIEW_PIXELS) or content
        mime = media_type(content) or mime
    if mime not in ("image/png", "image/jpeg"):  # of what Jupyter has no output for
        address = f"data:{mime};base64,{base64.b64encode(content).decode()}"
        alt = escape(one_line(without_keys(media.prompt), SHOWN_ALT), quote=True)
        return {"text/html": f'<img alt="{alt}" src="{address}">', "text/plain": plain(media)}, {}
    data = {mime: base64.b64encode(content).decode(), "text/plain": plain(media)}
    return data, {mime: {"alt": one_line(without_keys(media.prompt), SHOWN_ALT)}}


def _player(media: Shown, line: str) -> dict[str, Any]:
    settings = CometSettings.instance()
    most_mb = settings.audio_embed_mb if media.kind == "audio" else settings.video_embed_mb
    size = media.path.stat().st_size
    is_embedded = size <= most_mb * 1e6
    source = (
        f"data:{media.mime};base64,{base64.b64encode(media.bytes).decode()}" if is_embedded else link_to(media.path)
    )
    title = escape(one_line(without_keys(media.caption or media.prompt), SHOWN_ALT), quote=True)
    said = [without_keys(media.caption), line]
    if not is_embedded:
        where = "the player reads the file" if source else f"too large for a player; it is in {shown_path(media.path)}"
        said.append(f"{size / 1e6:,.1f} MB, not in the notebook: {where}")
    caption = " · ".join(filter(None, said))
    tag = "audio" if media.kind == "audio" else "video"
    width = "" if tag == "audio" else ' width="480"'
    player = (
        ""
        if not source
        else f'<{tag} controls preload="metadata"{width} src="{escape(source, quote=True)}" title="{title}"></{tag}>'
    )
    small = f"<br><small>{escape(caption)}</small>" if caption else ""
    text = "\n".join(filter(None, [plain(media), line]))
    return {"text/html": f"<div>{player}{small}</div>", "text/plain": text}


def link_to(path: Path) -> str:
    """Return how a notebook refers to a file below the folder that it runs in; "" for a file elsewhere.

    Browsers open no address of a file, and it would tell the path of the user's folder.
    """
    try:
        return quote(path.resolve().relative_to(Path.cwd().resolve()).as_posix())
    except ValueError:
        return ""
