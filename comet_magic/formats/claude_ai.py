"""The export of claude.ai: a list of conversations, whose messages are the human's and the assistant's.

Source: LibreChat's importer and its test data, and Cherry Studio's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .source import (
    FILE,
    ONLY_NAMED,
    UNKNOWN,
    LeftOut,
    SourceConversation,
    SourceMessage,
    branch,
    entries,
    objects_in,
    or_placeholder,
    seconds_of,
    text_block,
)

_ROLES = {"human": "user", "user": "user", "assistant": "assistant"}


def read(data: object) -> list[SourceConversation]:
    return entries(data, lambda item: isinstance(item.get("chat_messages"), list), _conversation)


def _conversation(item: Mapping[str, Any]) -> SourceConversation:
    left_out: LeftOut = Counter()
    messages: list[Mapping[str, Any]] = list(objects_in(item["chat_messages"]))
    ids = {key for message in messages if isinstance(key := message.get("uuid"), str)}
    if any(str(message.get("parent_message_uuid")) in ids for message in messages):  # older exports have no tree
        messages = branch(messages, item.get("current_leaf_message_uuid"), "uuid", "parent_message_uuid", left_out)
    made = [
        SourceMessage(role, _blocks(message, left_out))
        for message in messages
        if (role := _ROLES.get(str(message.get("sender"))))
    ]
    left_out[UNKNOWN] += len(messages) - len(made)
    date = seconds_of(item.get("updated_at")) or seconds_of(item.get("created_at"))
    return SourceConversation(str(item.get("name") or ""), made, date, left_out)


def _blocks(message: Mapping[str, Any], left_out: LeftOut) -> list[dict[str, Any]]:
    blocks = objects_in(message.get("content"))
    if not any(block.get("type") != "text" or block.get("text") for block in blocks):
        blocks = [text_block(message.get("text"))]
    attached: list[dict[str, Any]] = []
    named = len(objects_in(message.get("files")) or objects_in(message.get("files_v2")))
    for attachment in objects_in(message.get("attachments")):
        if isinstance(text := attachment.get("extracted_content"), str) and text:
            gap = "\n\n" if attached or any(block.get("text") for block in blocks) else ""
            attached.append(text_block(f"{gap}{attachment.get('file_name') or 'attached'}:\n{text}"))
        else:
            named += 1
    left_out[ONLY_NAMED] += named
    return or_placeholder([*blocks, *attached], FILE, named)
