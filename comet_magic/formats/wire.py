"""Messages as they are on the wire: the Messages API's, or OpenAI's chat completions; one conversation or several.

A file of them is one message a line, as `export` writes it, a JSON array of messages, or `{"messages": […]}`, once or a
line each. Sources: POST /v1/messages, and /v1/chat/completions, of the providers' references; gptme's `message.py`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..messages.conversation import Conversation
from ..strict_json import json_or_none
from ..text import lazy_pattern
from .source import (
    FILE,
    ONLY_NAMED,
    SYSTEM,
    THINKING,
    UNKNOWN,
    LeftOut,
    SourceConversation,
    SourceMessage,
    entries,
    items_of,
    mapping_of,
    objects_in,
    or_placeholder,
    seconds_of,
    text_block,
)

_ROLES = ("user", "assistant", "system", "developer", "tool", "function")
_DATA_ADDRESS = lazy_pattern(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w.+=-]+)*;base64,(.*)", re.S)


def read(data: object) -> list[SourceConversation]:
    items = items_of(data)
    if any(map(_is_message, items)):
        return [conversation("", items, None)]
    return entries(data, _is_conversation, _conversation)


def _is_message(item: Mapping[str, Any]) -> bool:
    has_content = any(name in item for name in ("content", "tool_calls", "function_call", "refusal"))
    return item.get("role") in _ROLES and has_content


def _is_conversation(item: Mapping[str, Any]) -> bool:
    return any(map(_is_message, objects_in(item.get("messages"))))


def _conversation(item: Mapping[str, Any]) -> SourceConversation:
    title = str(item.get("title") or item.get("name") or "")
    made = conversation(title, objects_in(item["messages"]), seconds_of(item.get("updated_at")))
    made.left_out[SYSTEM] += bool(item.get("system"))  # of a body of the Messages API
    return made


def conversation(title: str, messages: list[dict[str, Any]], date: float | None) -> SourceConversation:
    """Return the conversation of messages in either form."""
    left_out: LeftOut = Counter()
    made = [message for raw in messages if (message := _message(raw, left_out))]
    dates = [seconds_of(raw.get("timestamp")) for raw in messages[-1:]]
    return SourceConversation(title, made, date if date is not None else dates[0] if dates else None, left_out)


def _message(raw: Mapping[str, Any], left_out: LeftOut) -> SourceMessage | None:
    role, content = raw.get("role"), raw.get("content")
    if role in ("system", "developer"):
        left_out[SYSTEM] += 1
        return None
    if role in ("tool", "function"):
        key = raw.get("tool_call_id") or raw.get("name")
        result = content if isinstance(content, str) else _blocks(content)
        return SourceMessage("user", [{"type": "tool_result", "tool_use_id": key, "content": result}])
    if role not in ("user", "assistant"):
        left_out[UNKNOWN] += 1
        return None
    left_out[THINKING] += any(
        isinstance(raw.get(name), str) and raw[name] for name in ("reasoning_content", "reasoning")
    )
    blocks = (
        _blocks(content) or _blocks(raw.get("parts")) or [text_block(mapping_of(raw.get("audio")).get("transcript"))]
    )
    blocks += _blocks(raw.get("refusal"))
    blocks += [
        _call(call.get("function") or call.get("custom"), call.get("id")) for call in objects_in(raw.get("tool_calls"))
    ]
    if isinstance(raw.get("function_call"), dict):  # the older form, whose result names the function
        blocks.append(_call(raw["function_call"], raw["function_call"].get("name")))
    files = raw.get("files")  # of gptme's: their paths
    named = len(files) if isinstance(files, list) else 0
    left_out[ONLY_NAMED] += named
    return SourceMessage(str(role), or_placeholder(blocks, FILE, named))


def _blocks(content: object) -> list[dict[str, Any]]:
    """Return the blocks of a content, which is a text, or parts of either API."""
    if isinstance(content, str):
        return [text_block(content)] if content else []
    parts = [content] if isinstance(content, dict) else content if isinstance(content, list) else []
    return [
        text_block(part) if isinstance(part, str) else _block(part) for part in parts if isinstance(part, str | dict)
    ]


def _block(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of OpenAI's as a block of the Messages API; a block as it is."""
    if part.get("type") in ("input_text", "output_text", "refusal"):
        return text_block(part.get("text") or part.get("refusal"))
    if part.get("type") == "file" and (data := _DATA_ADDRESS.match(str(mapping_of(part.get("file")).get("file_data")))):
        return {"type": "document", "source": {"type": "base64", "media_type": data[1], "data": data[2].strip()}}
    if part.get("type") not in ("image_url", "input_image") and not (part.get("type") == "image" and "image" in part):
        return part
    address = part.get("image_url") or part.get("image")
    return picture(address.get("url") if isinstance(address, dict) else address)


def picture(address: object) -> dict[str, Any]:
    """Return the block of a picture: of a data: address its bytes, else one that names where it is."""
    if isinstance(address, str) and (data := _DATA_ADDRESS.match(address)):
        return {"type": "image", "source": {"type": "base64", "media_type": data[1], "data": data[2].strip()}}
    return {"type": "image", "source": {"type": "url", "url": str(address)}}


def _call(function: object, key: object) -> dict[str, Any]:
    function = function if isinstance(function, dict) else {}
    given = function["input"] if "input" in function else arguments_of(function.get("arguments"))
    return {"type": "tool_use", "id": key, "name": function.get("name"), "input": given}


def arguments_of(given: object) -> object:
    """Return arguments that are JSON text as what they say; where that is no JSON, as the text that they are."""
    if not isinstance(given, str):
        return given if given is not None else {}
    value = json_or_none(given)
    return value if value is not None else given if given.strip() not in ("", "null") else {}


def to_lines(conversation: Conversation) -> str:
    """Return it as JSON, one message a line."""
    return "".join(json.dumps(message.to_wire()) + "\n" for message in conversation.messages)
