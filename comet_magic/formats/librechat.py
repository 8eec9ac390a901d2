"""The export of LibreChat: one conversation a file, whose messages name their parents, or hold their children.

Source: api/server/utils/import of LibreChat, and its test data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from .source import (
    FAILED,
    FILE,
    IMAGE,
    ONLY_NAMED,
    UNKNOWN,
    LeftOut,
    SourceConversation,
    SourceMessage,
    branch,
    entries,
    mapping_of,
    objects_in,
    or_placeholder,
    seconds_of,
    text_block,
)
from .wire import arguments_of


def read(data: object) -> list[SourceConversation]:
    return entries(data, _is_conversation, _conversation)


def _is_conversation(item: Mapping[str, Any]) -> bool:
    return any("isCreatedByUser" in message for message in _roots(item))


def _roots(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    return objects_in(item.get("messages")) or objects_in(item.get("messagesTree"))


def _conversation(item: Mapping[str, Any]) -> SourceConversation:
    left_out: LeftOut = Counter()
    messages = list(_flat(_roots(item)))
    path = branch(messages, _newest(messages), "messageId", "parentMessageId", left_out)
    made = [
        SourceMessage("user" if message.get("isCreatedByUser") else "assistant", _blocks(message, left_out))
        for message in path
    ]
    dates = [seconds_of(message.get("createdAt")) for message in path[-1:]]
    return SourceConversation(str(item.get("title") or ""), made, dates[0] if dates else None, left_out)


def _newest(messages: list[dict[str, Any]]) -> object:
    """Return the id of the reply that was written last and says something; where there is none, of the last message."""
    spoken = [message for message in messages if not message.get("error") and _blocks(message, Counter())]
    spoken = [message for message in spoken if not message.get("isCreatedByUser")] or spoken
    dated = [(seconds_of(message.get("createdAt")) or 0.0, at) for at, message in enumerate(spoken)]
    return spoken[max(dated)[1]].get("messageId") if dated else None


def _flat(roots: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the messages of a tree, each with the id of its parent."""
    todo: list[tuple[dict[str, Any], object]] = [(message, None) for message in reversed(roots)]
    while todo:
        message, parent = todo.pop()
        yield {"parentMessageId": parent, **{name: part for name, part in message.items() if name != "children"}}
        todo += [(child, message.get("messageId")) for child in reversed(objects_in(message.get("children")))]


def _blocks(message: Mapping[str, Any], left_out: LeftOut) -> list[dict[str, Any]]:
    if message.get("error"):
        left_out[FAILED] += 1
        return []
    parts = objects_in(message.get("content"))
    drawn = sum(part.get("type") in ("image_file", "image_url") for part in parts)
    named = len(objects_in(message.get("files")))
    left_out[ONLY_NAMED] += named + drawn
    blocks = [block for part in parts for block in _part(part, left_out)]
    if isinstance(message.get("text"), str) and not any(block["type"] == "text" for block in blocks):
        blocks.append(text_block(message["text"]))
    return or_placeholder(
        [block for block in blocks if block.get("text") != ""], IMAGE if drawn else FILE, named + drawn
    )


def _part(part: Mapping[str, Any], left_out: LeftOut) -> list[dict[str, Any]]:
    match part.get("type"):
        case "text":
            text = part.get("text")
            return [text_block(mapping_of(text).get("value") if isinstance(text, dict) else text)]
        case "think":
            return [{"type": "thinking", "thinking": str(part.get("think") or "")}]
        case "tool_call":
            call = mapping_of(part.get("tool_call"))
            call = mapping_of(call.get("function")) or call  # the form of OpenAI's assistants
            given = arguments_of(call["args"] if "args" in call else call.get("arguments"))
            result = {"type": "tool_result", "content": call.get("output") or ""}
            return [{"type": "tool_use", "name": call.get("name"), "input": given}, result]
        case "image_file" | "image_url":
            pass
        case "error":
            left_out[FAILED] += 1
        case _:
            left_out[UNKNOWN] += 1
    return []
