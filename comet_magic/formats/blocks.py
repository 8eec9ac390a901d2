"""The blocks of a file's message → those that the API takes, each with its own fields alone; the rest is counted."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

from ..messages.image_size import PDF, media_type
from ..messages.message import SHOWN_PICTURES
from ..strict_json import DEEPEST
from ..text import whole_text
from ..tools.names import api_name
from .source import BY_ADDRESS, IMAGE, ONLY_NAMED, THINKING, UNKNOWN, LeftOut, or_placeholder, text_block

LONGEST_TITLE = 500  # characters of a document's title and context


def cleaned(role: str, blocks: list[dict[str, Any]], left_out: LeftOut) -> list[dict[str, Any]]:
    """Return the blocks that the API takes in a message of that role, each with its own fields alone."""
    writing = Writing()
    for block in blocks:
        if made := _block(role, block, left_out):
            writing.add(made)
        elif block.get("type") not in ("text", None):
            writing.leave_gap()
    named = [block for block in blocks if block.get("type") in ATTACHED and not _is_by_address(block)]
    return or_placeholder(_without_blank(writing.blocks), IMAGE, len(named) if role == "user" else 0)


ATTACHED = ("image", "document")


def _is_by_address(block: Mapping[str, Any]) -> bool:
    source = block.get("source")
    return isinstance(source, dict) and "url" in source


def _block(role: str, block: Mapping[str, Any], left_out: LeftOut) -> dict[str, Any] | None:
    kind = block.get("type")
    if kind == "text" or (kind is None and "text" in block):
        text = block.get("text")
        return text_block(whole_text(text)) if isinstance(text, str) and text else None
    if kind in ATTACHED and role == "user":
        return _attached(block, left_out)
    if kind == "tool_use" and role == "assistant":
        name, key = block.get("name"), block.get("id")
        name = api_name(name) if isinstance(name, str) else ""
        return {"type": kind, "id": key if isinstance(key, str) and key else None, "name": name,
                "input": _plain(block.get("input"))}  # fmt: skip
    if kind == "tool_result":
        return _result(block, left_out)
    if kind in ("thinking", "redacted_thinking") and role == "assistant":
        # It is taken back only with its signature.
        if kind == "thinking" and isinstance(block.get("signature"), str) and isinstance(block.get("thinking"), str):
            return {name: block[name] for name in ("type", "thinking", "signature")}
        if kind == "redacted_thinking" and isinstance(block.get("data"), str):
            return {"type": kind, "data": block["data"]}
        left_out[THINKING] += 1
        return None
    texts = [text for name in ("title", "url", "text") if isinstance(text := block.get(name), str) and text.strip()]
    if texts:  # such as what a search has found
        return text_block(whole_text("\n".join(texts)))
    left_out[ONLY_NAMED if kind in ATTACHED else UNKNOWN] += 1
    return None


def _plain(value: Any, room: int = DEEPEST) -> Any:
    """Return a value as JSON can say it to everybody: whole characters, finite numbers, not too deep."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list) and not room:
        return None
    if isinstance(value, dict):
        return {whole_text(str(name)): _plain(part, room - 1) for name, part in value.items()}
    return [_plain(part, room - 1) for part in value] if isinstance(value, list) else value


def _attached(block: Mapping[str, Any], left_out: LeftOut) -> dict[str, Any] | None:
    """Return a picture or a document that is in the file; one by its address would be fetched by the endpoint."""
    kind, source = block["type"], block.get("source")
    source = source if isinstance(source, dict) else {}
    data, titles = source.get("data"), _titles(block)
    if kind == "document" and source.get("type") in ("text", "content"):
        text = data if isinstance(data, str) else _text_of(source.get("content"))
        return text_block(whole_text(f"{titles['title']}:\n{text}\n" if "title" in titles else f"{text}\n"))
    if source.get("type") != "base64":
        left_out[BY_ADDRESS if "url" in source else ONLY_NAMED] += 1
        return None
    # What its first bytes say: programs mistake one kind of picture for another, and the API does not.
    media = _media_type(data)
    if media not in (SHOWN_PICTURES if kind == "image" else (PDF,)):
        left_out[UNKNOWN] += 1
        return None
    made = {"type": kind, "source": {"type": "base64", "media_type": media, "data": data}}
    return {**made, **titles} if kind == "document" else made


def _titles(block: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: whole_text(text) for name in ("title", "context") if isinstance(text := block.get(name), str)}
    return {name: text[:LONGEST_TITLE] for name, text in texts.items() if text.strip()}


def _media_type(data: object) -> str | None:
    """Return what a text in base64 holds, by its first bytes; None where it is none, or of an unknown kind."""
    try:
        return media_type(base64.b64decode(data, validate=True)) if isinstance(data, str) else None
    except ValueError:
        return None


def _result(block: Mapping[str, Any], left_out: LeftOut) -> dict[str, Any]:
    content, key = block.get("content"), block.get("tool_use_id")
    made: Any = ""
    if isinstance(content, list) and content and all(isinstance(part, dict) for part in content):
        parts = [part for part in content if part.get("type") != "tool_result"]
        made = cleaned("user", parts, left_out) or (IMAGE if any(map(_is_by_address, parts)) else "")
    elif isinstance(content, str):
        made = whole_text(content)
    elif content:
        made = _text_of(content)
    result = {"type": "tool_result", "tool_use_id": key if isinstance(key, str) and key else None, "content": made}
    return {**result, "is_error": True} if block.get("is_error") is True else result


def _text_of(value: object) -> str:
    """Return a text, the texts of a list, or any other value as JSON."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        texts = [part.get("text") if isinstance(part, dict) and "text" in part else part for part in value]
        return "\n".join(map(_text_of, texts))
    return json.dumps(_plain(value), ensure_ascii=False)


def text_in(blocks: list[dict[str, Any]]) -> str:
    return "".join(block["text"] for block in blocks if block["type"] == "text")


class Writing:
    """The blocks of a message, in which texts are paragraphs where something between them is gone, or was a call."""

    def __init__(self) -> None:
        self.blocks: list[dict[str, Any]] = []
        self._is_behind_gap = False

    def add(self, block: dict[str, Any]) -> None:
        if self._is_behind_gap and block["type"] == "text" and self.blocks and self.blocks[-1]["type"] == "text":
            before = self.blocks[-1]["text"].rstrip("\n")
            self.blocks[-1] = text_block("\n\n".join([before, block["text"].strip("\n")]))
        else:
            self.blocks.append(block)
        self._is_behind_gap = False

    def add_call(self, text: str) -> None:
        self.leave_gap()
        self.add(text_block(text))
        self.leave_gap()

    def leave_gap(self) -> None:
        self._is_behind_gap = True


def _without_blank(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the blocks without a text that is blank, which the API refuses: it goes to the text before it."""
    made: list[dict[str, Any]] = []
    for block in blocks:
        if block["type"] != "text" or block["text"].strip():
            made.append(block)
        elif made and made[-1]["type"] == "text":
            made[-1] = text_block(made[-1]["text"] + block["text"])
    return made
