"""Messages of a file → whole turns: what a question's request can carry, in the order that the API demands.

Other programs' messages rarely take turns, and their calls rarely have results. Each turn is mended for itself, and one
that cannot be is left out, alone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..exchange.cells import IMPORTED
from ..messages.conversation import Conversation, Turn
from ..messages.message import Message, is_picture
from ..text import whole_text
from .chatgpt import call_line
from .source import (
    BY_ADDRESS,
    IMAGE,
    NO_QUESTION,
    NO_REPLY,
    THOUGHT,
    UNKNOWN,
    SourceConversation,
    SourceMessage,
    listed,
    text_block,
)


def turns_of(source: SourceConversation) -> tuple[tuple[Turn, ...], Counter[str]]:
    """Return the whole turns of a conversation, and what was left out of it, by kind."""
    left_out = Counter(source.left_out)
    turns: list[Turn] = []
    for group in _groups(source.messages, left_out):
        if turn := _turn(group, f"{IMPORTED}{len(turns) + 1}", left_out):
            turns.append(turn)
    return Conversation("", tuple(turns)).in_order(), left_out


def _groups(messages: list[SourceMessage], left_out: Counter[str]) -> Iterator[list[SourceMessage]]:
    """Yield the messages of each turn: a question, and what follows until the next one."""
    group: list[SourceMessage] = []
    for message in messages:
        has_results = any(block.get("type") == "tool_result" for block in message.blocks)
        is_question = message.role == "user" and not has_results
        if is_question and len(group) > 1:
            yield group
            group = []
        if not group and not is_question:
            left_out[NO_QUESTION] += 1
        elif group and group[-1].role == message.role:
            group[-1] = SourceMessage(message.role, [*group[-1].blocks, *_apart(message.blocks)])
        else:
            group.append(SourceMessage(message.role, list(message.blocks)))
    if group:
        yield group


def _apart(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the blocks of a message that is joined to another: its text begins a paragraph."""
    if blocks and blocks[0].get("type") == "text" and blocks[0].get("text"):
        return [text_block(f"\n\n{blocks[0]['text']}"), *blocks[1:]]
    return blocks


def _turn(group: list[SourceMessage], cell: str, left_out: Counter[str]) -> Turn | None:
    messages = [SourceMessage(role, _cleaned(role, blocks, left_out)) for role, blocks in group]
    # A result there is of no call: it stands before any.
    question = SourceMessage("user", [block for block in messages[0].blocks if block["type"] != "tool_result"])
    rest = [message for message in messages[1:] if message.blocks]
    if not _text(question.blocks).strip() and not any(block["type"] != "text" for block in question.blocks):
        left_out[NO_QUESTION] += 1
        return None
    if not any(_text(message.blocks).strip() for message in rest if message.role == "assistant"):
        left_out[NO_REPLY] += 1
        return None
    try:
        if not _text(rest[-1].blocks).strip() or not all(_is_sound(block) for one in rest for block in one.blocks):
            raise ValueError("a reply ends with text, and its calls have names, ids and arguments")
        return Turn.of(cell, map(_message, [question, *rest]), at=time.time())
    except (ValueError, TypeError, KeyError, AttributeError):
        reply = SourceMessage("assistant", [text_block(_as_text(rest))])
        return Turn.of(cell, map(_message, [question, reply]), at=time.time())


def _is_sound(block: Mapping[str, Any]) -> bool:
    if block["type"] != "tool_use":
        return True
    return isinstance(block["id"], str) and isinstance(block["name"], str) and isinstance(block["input"], dict)


def _message(message: SourceMessage) -> Message:
    return Message.from_wire({"role": message.role, "content": message.blocks})


def _text(blocks: list[dict[str, Any]]) -> str:
    return "".join(block["text"] for block in blocks if block["type"] == "text")


def _as_text(messages: list[SourceMessage]) -> str:
    """Return replies and calls as one text, where the API would not take them as what they are."""
    results = [block for message in messages for block in message.blocks if block["type"] == "tool_result"]
    by_id = {block["tool_use_id"]: block for block in results if isinstance(block["tool_use_id"], str)}
    unnamed = iter([block for block in results if not isinstance(block["tool_use_id"], str)])
    parts: list[str] = []
    for block in [block for message in messages for block in message.blocks]:
        if block["type"] == "text":
            parts.append(block["text"].strip("\n"))
        elif block["type"] == "tool_use":
            result = by_id.pop(block["id"], None) if isinstance(block["id"], str) else next(unnamed, None)
            parts.append(call_line(block, result))
    return "\n\n".join(filter(None, parts))


# ---- blocks


def _cleaned(role: str, blocks: list[dict[str, Any]], left_out: Counter[str]) -> list[dict[str, Any]]:
    """Return the blocks that the API takes in a message of that role, each with its own fields alone."""
    made = [made for block in blocks if (made := _block(role, block, left_out))]
    missing = sum(block.get("type") == "image" for block in blocks) - sum(one["type"] == "image" for one in made)
    return [*([text_block(f"{IMAGE}\n" * missing)] if missing and role == "user" and made else []), *made]


def _block(role: str, block: Mapping[str, Any], left_out: Counter[str]) -> dict[str, Any] | None:
    kind = block.get("type")
    if kind == "text" or (kind is None and "text" in block):
        text = block.get("text")
        return text_block(whole_text(text)) if isinstance(text, str) and text else None
    if kind in ("image", "document") and role == "user":
        return _attached(block, left_out)
    if kind == "tool_use" and role == "assistant":
        return {name: block.get(name) for name in ("type", "id", "name", "input")}
    if kind == "tool_result":
        return _result(block, left_out)
    if kind in ("thinking", "redacted_thinking") and role == "assistant":
        # A thought is taken back only with its signature.
        if kind == "thinking" and block.get("signature") and isinstance(block.get("thinking"), str):
            return {name: block[name] for name in ("type", "thinking", "signature")}
        if kind == "redacted_thinking" and block.get("data"):
            return {"type": kind, "data": block["data"]}
        left_out[THOUGHT] += 1
        return None
    left_out[UNKNOWN] += 1
    return None


def _attached(block: Mapping[str, Any], left_out: Counter[str]) -> dict[str, Any] | None:
    """Return a picture or a document that is in the file; one by its address would be fetched by the endpoint."""
    source = block.get("source")
    source = source if isinstance(source, dict) else {}
    if source.get("type") not in ("base64", "text"):
        left_out[BY_ADDRESS] += 1
        return None
    if block["type"] == "image" and not is_picture(source.get("media_type"), source.get("data")):
        left_out[UNKNOWN] += 1
        return None
    fields = ("type", "source", "title", "context", "citations") if block["type"] == "document" else ("type", "source")
    return {name: block[name] for name in fields if name in block}


def _result(block: Mapping[str, Any], left_out: Counter[str]) -> dict[str, Any]:
    content = block.get("content")
    if isinstance(content, list):
        content = _cleaned("user", [part for part in listed(content) if part.get("type") != "tool_result"], left_out)
        content = content or IMAGE
    elif not isinstance(content, str):
        content = ""
    made = {"type": "tool_result", "tool_use_id": block.get("tool_use_id"), "content": content}
    return {**made, "is_error": True} if block.get("is_error") is True else made
