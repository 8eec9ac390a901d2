"""ChatGPT's `conversations.json`: a list of trees of messages. It is the form that most other programs import.

Read: the branch that was shown last. Written: one branch, which Open WebUI, LibreChat and Cherry Studio all take.
Sources: src/lib/utils/index.ts of Open WebUI, importers.js of LibreChat, the importers of Cherry Studio.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..messages.conversation import Conversation, Turn
from ..messages.message import ContentBlock, Message
from ..text import whole_text
from .call_text import call_text
from .source import (
    CALL,
    FILE,
    HIDDEN,
    IMAGE,
    ONLY_NAMED,
    SYSTEM,
    THINKING,
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

_IS_HIDDEN = "is_visually_hidden_from_conversation"
_CONTEXTS = ("user_editable_context", "model_editable_context")


def read(data: object) -> list[SourceConversation]:
    return entries(data, lambda item: isinstance(item.get("mapping"), dict), _conversation)


def _conversation(item: Mapping[str, Any]) -> SourceConversation:
    left_out: LeftOut = Counter()
    nodes = [{**node, "id": key} for key, node in item["mapping"].items() if isinstance(node, dict)]
    path = branch(nodes, item.get("current_node") or _leaf(nodes), "id", "parent", left_out, counts=_is_talk)
    messages = [message for node in path if (message := _message(mapping_of(node.get("message")), left_out))]
    date = seconds_of(item.get("update_time")) or seconds_of(item.get("create_time"))
    return SourceConversation(str(item.get("title") or ""), messages, date, left_out)


def _leaf(nodes: list[dict[str, Any]]) -> object:
    """Return the last node that has no children, where the file does not say which was shown."""
    leaves = [node["id"] for node in nodes if not node.get("children")]
    return leaves[-1] if leaves else None


def _role(message: Mapping[str, Any]) -> object:
    return mapping_of(message.get("author")).get("role")


def _is_talk(node: Mapping[str, Any]) -> bool:
    return _role(mapping_of(node.get("message"))) in ("user", "assistant")


def _message(message: Mapping[str, Any], left_out: LeftOut) -> SourceMessage | None:
    """Return a message of the two who talk; None for the others, which are counted unless they are empty."""
    role, content = _role(message), mapping_of(message.get("content"))
    metadata = mapping_of(message.get("metadata"))
    kind = content.get("content_type")
    if kind in ("thoughts", "reasoning_recap"):
        left_out[THINKING] += kind == "thoughts"
    elif role == "tool":  # the call has been counted; what it drew is the reply, and is named only
        drawn = len(objects_in(content.get("parts")))
        left_out[ONLY_NAMED] += drawn
        return SourceMessage("assistant", or_placeholder([], IMAGE, drawn)) if drawn else None
    elif role == "system" or kind in _CONTEXTS:
        left_out[SYSTEM] += kind in _CONTEXTS or bool(_blocks(content, Counter()))
    elif blocks := or_placeholder(_blocks(content, left_out), FILE, _files(content, metadata, left_out)):
        is_spoken = role in ("user", "assistant") and not metadata.get(_IS_HIDDEN)
        if is_spoken and message.get("recipient") in (None, "all"):
            return SourceMessage(str(role), blocks)
        left_out[UNKNOWN if role not in ("user", "assistant") else CALL if is_spoken else HIDDEN] += 1
    return None


def _blocks(content: Mapping[str, Any], left_out: LeftOut) -> list[dict[str, Any]]:
    parts = content.get("parts")
    if not isinstance(parts, list):
        text = content.get("text")
        return [text_block(text)] if isinstance(text, str) and text else []
    texts, pictures = [], 0
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):  # what was spoken
            texts.append(part["text"])
        elif isinstance(part, dict) and "audio" not in str(part.get("content_type")):  # its words stand beside it
            pictures += 1
    left_out[ONLY_NAMED] += pictures
    text = "\n".join(filter(None, texts)) if len(texts) > 1 else "".join(texts)
    return or_placeholder([text_block(text)] if text else [], IMAGE, pictures)


def _files(content: Mapping[str, Any], metadata: Mapping[str, Any], left_out: LeftOut) -> int:
    """Return the number of files of a message; its pictures are named once more among its parts."""
    named = len(objects_in(metadata.get("attachments"))) - len(objects_in(content.get("parts")))
    left_out[ONLY_NAMED] += max(0, named)
    return named


# ---- written


def to_json(conversation: Conversation, title: str, models: Mapping[str, str]) -> str:
    """Return the conversation in this form. models: by the id of a turn's request, as far as they are known.

    Each message is one text, for two of the three read no more; calls are lines in the reply's text, for the third
    drops all that is neither the user's nor the assistant's.
    """
    space = uuid.uuid5(uuid.NAMESPACE_URL, f"comet_magic:{conversation.name}:{conversation.digest}")
    keys = [str(uuid.uuid5(space, str(number))) for number in range(2 * len(conversation.turns) + 1)]
    nodes: dict[str, Any] = {keys[0]: {"id": keys[0], "message": None, "parent": None, "children": keys[1:2]}}
    moment = 0.0
    for number, (role, text, turn) in enumerate(_texts(conversation), 1):
        moment = max(turn.at, moment + 0.001)  # in the order of the talk, by which some sort them
        model = models.get(turn.request or "") if role == "assistant" else None
        message = {
            "id": keys[number], "author": {"role": role}, "create_time": moment, "recipient": "all",
            "content": {"content_type": "text", "parts": [text]}, "status": "finished_successfully",
            "metadata": {"model_slug": model} if model else {},
        }  # fmt: skip
        links = {"parent": keys[number - 1], "children": keys[number + 1 : number + 2]}
        nodes[keys[number]] = {"id": keys[number], "message": message, **links}
    times = [turn.at for turn in conversation.turns] or [0.0]
    made = {
        "id": str(space), "conversation_id": str(space), "title": title, "create_time": min(times),
        "update_time": max(*times, moment), "current_node": keys[-1], "mapping": nodes,
    }  # fmt: skip
    return json.dumps([made], indent=1) + "\n"


def _texts(conversation: Conversation) -> list[tuple[str, str, Turn]]:
    return [
        pair
        for turn in conversation.turns
        for pair in (("user", _question(turn.messages[0]), turn), ("assistant", _reply(turn.messages[1:]), turn))
    ]


def _question(message: Message) -> str:
    """Return the text of a question, and before it what stands for its pictures and documents."""
    attached = [f"⟨{block['type']}⟩" for block in message.content if block["type"] != "text"]
    return "\n".join(filter(None, [*attached, message.text]))


def _reply(messages: tuple[Message, ...]) -> str:
    """Return a reply as one text, in which each call stands where it was made."""
    results: dict[object, ContentBlock] = {
        block.get("tool_use_id"): block
        for message in messages
        for block in message.content
        if block["type"] == "tool_result"
    }
    parts: list[str] = []
    for message in messages:
        if message.role == "assistant":
            parts += [message.text, *(call_text(block, results.get(block.get("id"))) for block in message.tool_uses)]
    return whole_text("\n\n".join(filter(None, parts)))
