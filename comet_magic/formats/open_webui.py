"""The export of Open WebUI: a list of chats, each a tree of messages.

Source: backend/open_webui/models/chats.py and src/lib/components/chat of Open WebUI.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Any

from ..text import lazy_pattern
from .call_text import call_text
from .source import (
    FILE,
    ONLY_NAMED,
    SYSTEM,
    THINKING,
    LeftOut,
    SourceConversation,
    branch,
    entries,
    mapping_of,
    objects_in,
    or_placeholder,
    seconds_of,
    text_block,
)
from .wire import arguments_of, conversation, picture

# A reply has the model's reasoning and its calls in it, as HTML; an example of that in code is not meant.
_TOKEN = lazy_pattern(
    r"(?P<code>^[ \t]*(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)"
    r"|(?<!`)(?P<tick>`+)(?!`)[^\n]*?(?<!`)(?P=tick)(?!`))"
    r"|<details\b(?P<attributes>[^<>]*)>",
    re.S | re.M,
)
_ATTRIBUTE = lazy_pattern(r'([\w-]+)="([^"]*)"')
_END = "</details>"


def read(data: object) -> list[SourceConversation]:
    return entries(data, _has_messages, _conversation)


def _has_messages(item: Mapping[str, Any]) -> bool:
    return bool(_tree(item) or objects_in(mapping_of(item.get("chat")).get("messages")))


def _tree(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    tree = mapping_of(mapping_of(item.get("chat")).get("history")).get("messages")
    return [{**node, "id": key} for key, node in mapping_of(tree).items() if isinstance(node, dict)]


def _conversation(item: Mapping[str, Any]) -> SourceConversation:
    chat, left_out = item["chat"], LeftOut()
    messages: list[Mapping[str, Any]] = list(objects_in(chat.get("messages")))
    if nodes := _tree(item):
        messages = branch(nodes, chat["history"].get("currentId"), "id", "parentId", left_out)
    title = str(item.get("title") or chat.get("title") or "")
    date = seconds_of(item.get("updated_at")) or seconds_of(chat.get("timestamp"))
    left_out[SYSTEM] += bool(str(chat.get("system") or mapping_of(chat.get("params")).get("system") or "").strip())
    made = conversation(title, [_plain(message, left_out) for message in messages], date)
    return made._replace(left_out=left_out + made.left_out)


def _plain(message: Mapping[str, Any], left_out: LeftOut) -> dict[str, Any]:
    """Return role and content alone. Of files, pictures may be in the export itself; others are only named there."""
    content = message.get("content") or mapping_of(message.get("merged")).get("content")
    if isinstance(content, str) and message.get("role") == "assistant":
        plain = "".join(_without_html(content, left_out))
        content = content if plain == content else plain.strip("\n")
    pictures, named = [], 0
    for file in objects_in(message.get("files")):
        if file.get("type") == "image" and str(file.get("url")).startswith("data:"):
            pictures.append(picture(file["url"]))
        else:
            named += 1
    left_out[ONLY_NAMED] += named
    parts = [text_block(content)] if isinstance(content, str) else objects_in(content)
    return {"role": message.get("role"), "content": or_placeholder([*pictures, *parts], FILE, named)}


def _without_html(text: str, left_out: LeftOut) -> Iterator[str]:
    """Yield the parts of a reply, without its reasoning, and with its calls as text."""
    at = look_at = 0
    while (token := _TOKEN.search(text, look_at)) and (token["code"] or text.find(_END, token.end()) >= 0):
        look_at = token.end()
        attributes = {name: unescape(value) for name, value in _ATTRIBUTE.findall(token["attributes"] or "")}
        if token["code"] or attributes.get("type") not in ("reasoning", "tool_calls"):
            continue
        yield text[at : token.start()]
        at = text.find(_END, token.end()) + len(_END)
        at += len(text[at : at + 2]) - len(text[at : at + 2].lstrip("\n"))
        look_at = at
        if attributes["type"] == "reasoning":
            left_out[THINKING] += 1
        else:
            yield f"\n\n{_call(attributes)}\n\n"
    yield text[at:]


def _call(attributes: Mapping[str, str]) -> str:
    given: object = attributes.get("arguments")
    for _ in range(2):  # it is written as JSON, and often once more
        given = arguments_of(given) if isinstance(given, str) else given
    result = arguments_of(attributes.get("result"))
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return call_text({"name": attributes.get("name"), "input": given}, {"content": text} if result != {} else None)
