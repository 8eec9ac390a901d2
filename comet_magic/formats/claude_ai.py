"""The export of claude.ai: a list of conversations, whose messages are the human's and the assistant's.

Source: LibreChat's importer and its test data, and Cherry Studio's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .source import (
    ONLY_NAMED,
    SourceConversation,
    SourceMessage,
    branch,
    items_of,
    listed,
    seconds_of,
    text_block,
)

_ROLES = {"human": "user", "user": "user", "assistant": "assistant"}


def recognises(data: object) -> bool:
    return any(isinstance(item.get("chat_messages"), list) for item in items_of(data))


def read(data: object) -> list[SourceConversation]:
    return [_conversation(item) for item in items_of(data) if isinstance(item.get("chat_messages"), list)]


def _conversation(item: Mapping[str, Any]) -> SourceConversation:
    left_out: Counter[str] = Counter()
    messages: list[Mapping[str, Any]] = list(listed(item["chat_messages"]))
    ids = {key for message in messages if isinstance(key := message.get("uuid"), str)}
    if any(str(message.get("parent_message_uuid")) in ids for message in messages):  # older exports have no tree
        messages = branch(messages, item.get("current_leaf_message_uuid"), "uuid", "parent_message_uuid", left_out)
    read = [
        SourceMessage(role, _blocks(message, left_out))
        for message in messages
        if (role := _ROLES.get(str(message.get("sender"))))
    ]
    date = seconds_of(item.get("updated_at")) or seconds_of(item.get("created_at"))
    return SourceConversation(str(item.get("name") or ""), read, date, left_out)


def _blocks(message: Mapping[str, Any], left_out: Counter[str]) -> list[dict[str, Any]]:
    blocks = listed(message.get("content"))
    if not any(block.get("type") != "text" or block.get("text") for block in blocks):
        blocks = [text_block(message.get("text"))]
    attached = []
    for attachment in listed(message.get("attachments")):
        if text := attachment.get("extracted_content"):
            attached.append(text_block(f"\n\n{attachment.get('file_name') or 'attached'}:\n{text}"))
        else:
            left_out[ONLY_NAMED] += 1
    named = listed(message.get("files")) or listed(message.get("files_v2"))
    left_out[ONLY_NAMED] += len(named)
    return [*blocks, *attached]
