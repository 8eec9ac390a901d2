"""The export of LibreChat: one conversation a file, whose messages name their parents, or hold their children.

Source: api/server/utils/import of LibreChat, and its test data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from .source import (
    ONLY_NAMED,
    UNKNOWN,
    SourceConversation,
    SourceMessage,
    branch,
    items_of,
    listed,
    mapping_of,
    seconds_of,
    text_block,
)

_FIELDS = ("messages", "messagesTree")


def recognises(data: object) -> bool:
    return any(map(_is_conversation, items_of(data)))


def read(data: object) -> list[SourceConversation]:
    return [_conversation(item) for item in items_of(data) if _is_conversation(item)]


def _is_conversation(item: Mapping[str, Any]) -> bool:
    return any("isCreatedByUser" in message for message in _roots(item))


def _roots(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    return listed(item.get("messages")) or listed(item.get("messagesTree"))


def _conversation(item: Mapping[str, Any]) -> SourceConversation:
    left_out: Counter[str] = Counter()
    messages = list(_flat(_roots(item), None))
    path = branch(messages, None, "messageId", "parentMessageId", left_out)
    read = [
        SourceMessage("user" if message.get("isCreatedByUser") else "assistant", _blocks(message, left_out))
        for message in path
        if not message.get("error")
    ]
    dates = [seconds_of(message.get("createdAt")) for message in path[-1:]]
    return SourceConversation(str(item.get("title") or ""), read, dates[0] if dates else None, left_out)


def _flat(messages: list[dict[str, Any]], parent: object) -> Iterator[dict[str, Any]]:
    """Yield the messages of a tree as a flat file has them; the last of all is the one that was written last."""
    todo = [(message, parent) for message in reversed(messages)]
    while todo:
        message, parent = todo.pop()
        yield {"parentMessageId": parent, **{name: part for name, part in message.items() if name != "children"}}
        todo += [(child, message.get("messageId")) for child in reversed(listed(message.get("children")))]


def _blocks(message: Mapping[str, Any], left_out: Counter[str]) -> list[dict[str, Any]]:
    blocks = [block for part in listed(message.get("content")) for block in _part(part, left_out)]
    left_out[ONLY_NAMED] += len(listed(message.get("files")))
    return blocks or [text_block(message.get("text"))]


def _part(part: Mapping[str, Any], left_out: Counter[str]) -> list[dict[str, Any]]:
    match part.get("type"):
        case "text":
            text = part.get("text")
            return [text_block(mapping_of(text).get("value") if isinstance(text, dict) else text)]
        case "think":
            return [{"type": "thinking", "thinking": str(part.get("think") or "")}]
        case "tool_call":
            call = mapping_of(part.get("tool_call"))
            use = {"type": "tool_use", "name": call.get("name"), "input": call.get("args")}
            return [use, {"type": "tool_result", "content": str(call.get("output") or "")}]
        case "image_file" | "image_url":
            left_out[ONLY_NAMED] += 1
        case _:
            left_out[UNKNOWN] += 1
    return []
