"""What a call of a server's tool gave → what the user gets, and what goes to the model: bounded, without secrets."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from ..describe.description import Description, Limits
from ..describe.images import image
from ..errors import ConfigError
from ..text import many, one_line, whole_text

MOST_PICTURES, MOST_OF_PICTURES = 20, 10_000_000  # of a result: their number, and bytes of all together


class ServerResult:
    """What a call gave. text: its texts, and what there is besides them, named.        pictures: their bytes.

    All is as it came; what goes to the model is bounded, and has no secrets in it.
    """

    def __init__(self, result: Mapping[str, Any], hide: Callable[[str], str]) -> None:
        content = result.get("content")
        self.pictures: list[bytes] = []
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        blocks = [block for block in (content if isinstance(content, list) else ()) if isinstance(block, dict)]
        parts = [self._part(block) for block in blocks]
        if not any(parts) and not self.pictures and "structuredContent" in result:
            parts = [json.dumps(result["structuredContent"], ensure_ascii=False)]
        self.text = whole_text("\n".join(filter(None, parts)))
        self._hide = hide

    def _part(self, block: Mapping[str, Any]) -> str:
        """Return the text of a block, and put a picture aside."""
        kind = block.get("type")
        if kind == "text":
            return str(block.get("text") or "")
        if kind == "image":
            try:
                picture = base64.b64decode("".join(str(block.get("data") or "").split()), validate=True)
            except ValueError:
                return "(a picture that cannot be read)"
            if len(self.pictures) == MOST_PICTURES or sum(map(len, self.pictures)) + len(picture) > MOST_OF_PICTURES:
                return "(a picture more, which is left out)"
            self.pictures.append(picture)
            return ""
        resource = block.get("resource")
        inner = resource if isinstance(resource, dict) else block
        if isinstance(inner.get("text"), str):
            return str(inner["text"])
        return f"({one_line(str(kind), 40)} {one_line(str(inner.get('uri') or inner.get('mimeType') or ''), 200)})"

    def described(self, limits: Limits) -> list[Description]:
        """Return it as it goes to the model. The user has named its server for this cell, so its values may go."""
        shared = limits._replace(share_values=True, hide=lambda text: limits.hide(self._hide(text)))
        texts = [Description("str", shared.fitted(self.text), is_value=True)] if self.text else []
        return [*texts, *(_picture(content, shared) for content in self.pictures)]

    def __repr__(self) -> str:
        return "\n".join(filter(None, [self.text, many(len(self.pictures), "picture") if self.pictures else ""]))


def _picture(content: bytes, limits: Limits) -> Description:
    try:
        return image(content, "a picture", limits)
    except ConfigError as error:
        return Description("str", f"(a picture that cannot be shown: {error.what})", is_value=True)
