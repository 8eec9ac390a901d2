"""The export of Open WebUI: a list of chats, each a tree of messages.

Source: backend/open_webui/models/chats.py and src/lib/components/chat of Open WebUI.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..text import lazy_pattern
from .source import (
    ONLY_NAMED,
    SYSTEM,
    THOUGHT,
    SourceConversation,
    branch,
    items_of,
    listed,
    mapping_of,
    seconds_of,
    text_block,
)
from .wire import conversation, picture

_REASONING = lazy_pattern(r'<details type="reasoning"[^>]*>.*?</details>\s*', re.S)


def recognises(data: object) -> bool:
    return any(_has_messages(mapping_of(item.get("chat"))) for item in items_of(data))


def _has_messages(chat: Mapping[str, Any]) -> bool:
    return isinstance(mapping_of(chat.get("history")).get("messages"), dict) or bool(listed(chat.get("messages")))


def read(data: object) -> list[SourceConversation]:
    return [_conversation(item) for item in items_of(data) if _has_messages(mapping_of(item.get("chat")))]


def _conversation(item: Mapping[str, Any]) -> SourceConversation:
    chat, left_out = item["chat"], Counter[str]()
    history = mapping_of(chat.get("history"))
    tree = history.get("messages")
    if isinstance(tree, dict):
        nodes = [{**node, "id": key} for key, node in tree.items() if isinstance(node, dict)]
        messages = branch(nodes, history.get("currentId"), "id", "parentId", left_out)
    else:
        messages = list(listed(chat.get("messages")))
    title = str(item.get("title") or chat.get("title") or "")
    date = seconds_of(item.get("updated_at")) or seconds_of(chat.get("timestamp"))
    left_out[SYSTEM] += bool(str(chat.get("system") or mapping_of(chat.get("params")).get("system") or "").strip())
    read = conversation(title, [_plain(message, left_out) for message in messages], date)
    return read._replace(left_out=left_out + read.left_out)


def _plain(message: Mapping[str, Any], left_out: Counter[str]) -> dict[str, Any]:
    """Return role and content alone; the model's reasoning stands in the content, as HTML.

    Of files, pictures may be in the export itself; others are only named there.
    """
    content = message.get("content")
    if isinstance(content, str) and message.get("role") == "assistant":
        content, count = _REASONING.subn("", content)
        left_out[THOUGHT] += count
    pictures = []
    for file in listed(message.get("files")):
        if file.get("type") == "image" and str(file.get("url")).startswith("data:"):
            pictures.append(picture(file["url"]))
        else:
            left_out[ONLY_NAMED] += 1
    parts = [text_block(content)] if isinstance(content, str) else listed(content)
    return {"role": message.get("role"), "content": [*pictures, *parts]}
