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
from ..text import lazy_pattern
from .source import (
    ONLY_NAMED,
    SYSTEM,
    UNKNOWN,
    SourceConversation,
    SourceMessage,
    items_of,
    listed,
    seconds_of,
    text_block,
)

_ROLES = ("user", "assistant", "system", "developer", "tool", "function")
_DATA_ADDRESS = lazy_pattern(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)", re.S)


def recognises(data: object) -> bool:
    return bool(_messages_of(data)) or any(_is_conversation(item) for item in items_of(data))


def read(data: object) -> list[SourceConversation]:
    if messages := _messages_of(data):
        return [conversation("", messages, None)]
    return [_conversation(item) for item in items_of(data) if _is_conversation(item)]


def _conversation(item: Mapping[str, Any]) -> SourceConversation:
    read = conversation(_title(item), listed(item["messages"]), seconds_of(item.get("updated_at")))
    read.left_out[SYSTEM] += bool(item.get("system"))  # of a body of the Messages API
    return read


def _title(item: Mapping[str, Any]) -> str:
    return str(item.get("title") or item.get("name") or "")


def _messages_of(data: object) -> list[dict[str, Any]]:
    items = items_of(data)
    return items if items and all(_is_message(item) for item in items) else []


def _is_message(item: Mapping[str, Any]) -> bool:
    return item.get("role") in _ROLES and ("content" in item or "tool_calls" in item or "function_call" in item)


def _is_conversation(item: Mapping[str, Any]) -> bool:
    messages = listed(item.get("messages"))
    return bool(messages) and any(map(_is_message, messages))


def conversation(title: str, messages: list[dict[str, Any]], date: float | None) -> SourceConversation:
    """Return the conversation of messages in either form."""
    left_out: Counter[str] = Counter()
    read = [message for raw in messages if (message := _message(raw, left_out))]
    dates = [seconds_of(raw.get("timestamp")) for raw in messages[-1:]]
    return SourceConversation(title, read, date if date is not None else dates[0] if dates else None, left_out)


def _message(raw: Mapping[str, Any], left_out: Counter[str]) -> SourceMessage | None:
    role, content = raw.get("role"), raw.get("content")
    if role in ("system", "developer"):
        left_out[SYSTEM] += 1
        return None
    if files := raw.get("files"):  # of gptme's: their paths
        left_out[ONLY_NAMED] += len(files) if isinstance(files, list) else 1
    if role in ("tool", "function"):
        key = raw.get("tool_call_id") or raw.get("name")
        return SourceMessage("user", [{"type": "tool_result", "tool_use_id": key, "content": _text_of(content)}])
    if role not in ("user", "assistant"):
        left_out[UNKNOWN] += 1
        return None
    blocks = [block for part in _parts(content) if (block := _block(part, left_out))]
    blocks += [_call(call.get("function"), call.get("id")) for call in listed(raw.get("tool_calls"))]
    if isinstance(raw.get("function_call"), dict):  # the older form, whose result names the function
        blocks.append(_call(raw["function_call"], raw["function_call"].get("name")))
    return SourceMessage(str(role), blocks)


def _parts(content: object) -> list[dict[str, Any]]:
    return [text_block(content)] if isinstance(content, str) else listed(content)


def _text_of(content: object) -> Any:
    """Return the content of a result: a text, or blocks."""
    return content if isinstance(content, str) else [part for part in listed(content) if part.get("type") == "text"]


def _block(part: dict[str, Any], left_out: Counter[str]) -> dict[str, Any] | None:
    """Return a part of OpenAI's as a block of the Messages API; a block as it is."""
    if part.get("type") in ("input_text", "output_text", "refusal"):
        return text_block(part.get("text") or part.get("refusal"))
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
    """Return a call as a block. Where its arguments are no JSON object, they stay the text that they are."""
    function = function if isinstance(function, dict) else {}
    given = function.get("arguments")
    try:
        given = json.loads(given) if isinstance(given, str) and given.strip() else given or {}
    except (ValueError, RecursionError):
        pass
    return {"type": "tool_use", "id": key, "name": function.get("name"), "input": given}


def to_lines(conversation: Conversation) -> str:
    """Return it as JSON, one message a line."""
    return "".join(json.dumps(message.to_wire()) + "\n" for message in conversation.messages)
