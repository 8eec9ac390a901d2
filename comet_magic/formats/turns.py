"""Messages of a file → whole turns, as the API takes them.

Other programs' messages rarely take turns, and their calls rarely have results. First the blocks of each message are
cleaned, then calls are paired with results, then the messages are put together to turns. What cannot be sent as what
it is becomes text, or is left out and counted.
"""

from __future__ import annotations

import base64
import json
import math
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from ..exchange.cells import IMPORTED
from ..messages.conversation import Conversation, Turn
from ..messages.image_size import PDF, media_type
from ..messages.message import SHOWN_PICTURES, Message
from ..strict_json import DEEPEST
from ..text import whole_text
from .call_text import call_text
from .source import (
    BY_ADDRESS,
    IMAGE,
    NO_QUESTION,
    NO_REPLY,
    ONLY_NAMED,
    RESULT,
    THINKING,
    UNKNOWN,
    LeftOut,
    SourceConversation,
    SourceMessage,
    or_placeholder,
    text_block,
)

LONGEST_ID = 64  # characters; some make theirs of much more than a number
LONGEST_TITLE = 500  # characters of a document's title and context


def turns_of(source: SourceConversation) -> tuple[tuple[Turn, ...], LeftOut]:
    """Return the whole turns of a conversation, and what was left out of it, by kind."""
    left_out = Counter(source.left_out)
    messages = _joined([SourceMessage(role, _cleaned(role, blocks, left_out)) for role, blocks in source.messages])
    turns: list[Turn] = []
    for group in _groups(_paired(messages, left_out), left_out):
        if turn := _turn(group, f"{IMPORTED}{len(turns) + 1}", left_out):
            turns.append(turn)
    return Conversation("", tuple(turns)).in_order(), left_out


def _joined(messages: list[SourceMessage]) -> list[SourceMessage]:
    """Return the messages with those of one role that follow one another as one; results stand before all else.

    A question behind results stays one of its own.
    """
    joined: list[SourceMessage] = []
    holds_results = has_text = False  # of the last one
    for role, blocks in messages:
        has_new = _has_results(blocks)
        if not joined or joined[-1].role != role or (holds_results and not has_new):
            joined.append(SourceMessage(role, []))
            holds_results = has_text = False
        first = next((at for at, block in enumerate(blocks) if block["type"] == "text"), None)
        if first is not None and has_text:
            blocks = [*blocks[:first], text_block(f"\n\n{blocks[first]['text']}"), *blocks[first + 1 :]]
        joined[-1].blocks.extend(blocks)
        holds_results, has_text = holds_results or has_new, has_text or first is not None
    for message in joined:
        if message.role == "user":
            message.blocks.sort(key=lambda block: block["type"] != "tool_result")
    return joined


def _has_results(blocks: list[dict[str, Any]]) -> bool:
    return any(block["type"] == "tool_result" for block in blocks)


# ---- calls and their results


def _paired(messages: list[SourceMessage], left_out: LeftOut) -> list[SourceMessage]:
    """Return the messages with each call paired with its result, by an id of its own; other calls become text."""
    taken = set[str]()
    made: list[SourceMessage] = []
    for at, (message, goes_on) in enumerate(zip(messages, _goes_on(messages), strict=True)):
        if message.role == "assistant":
            following = messages[at + 1].blocks if at + 1 < len(messages) else []
            made.append(_with_calls(message.blocks, following, taken, left_out, goes_on))
            continue
        if not _has_results(message.blocks):
            taken.clear()  # the next turn; ids of other turns are told apart where a request is made
        if (left := _without_others(message.blocks, left_out)) or not message.blocks:
            made.append(SourceMessage("user", left))
        # Else all of its results have become text, and it is no message any more.
    return _joined(made)


PAIRED, WRITTEN = "is_paired", "is_written"  # marks of a result: it goes with a call, or stands in the text of one


def _with_calls(
    blocks: list[dict[str, Any]], following: list[dict[str, Any]], taken: set[str], left_out: LeftOut, goes_on: bool
) -> SourceMessage:
    """Return a reply whose calls are paired with the results that follow it, or are text.

    taken: ids of the calls before, in this turn.        goes_on: whether a text follows those results, as the API
    demands.
    """
    results = [block for block in following if block["type"] == "tool_result"]
    own = [block for block in blocks if block["type"] == "tool_result"]  # claude.ai's and LibreChat's
    writing = _Writing()
    for block in blocks:
        if block["type"] == "tool_use":
            result = _take_result(block, results)
            if result is not None and goes_on and block["name"] and isinstance(block["input"], dict):
                key = _unused(block["id"], taken)
                result.update({"tool_use_id": key, PAIRED: True})
                writing.add({**block, "id": key})
            else:
                result = result if result is not None else _take_result(block, own)
                writing.add_call(call_text(block, result))
                if result is not None:
                    result[WRITTEN] = True
        elif block["type"] == "tool_result":
            writing.leave_gap()
        else:
            writing.add(block)
    left_out[RESULT] += len(own)
    return SourceMessage("assistant", writing.blocks)


def _without_others(blocks: list[dict[str, Any]], left_out: LeftOut) -> list[dict[str, Any]]:
    """Return the blocks of the user's without results that are paired with no call."""
    made = []
    for block in blocks:
        if block["type"] != "tool_result" or block.pop(PAIRED, False):
            made.append(block)
        else:
            left_out[RESULT] += not block.get(WRITTEN)
    return made


def _unused(key: str | None, taken: set[str]) -> str:
    """Return the id, or another one where a call before has it."""
    if not key or len(key) > LONGEST_ID or key in taken:
        key = next(one for number in count(len(taken) + 1) if (one := f"call_{number}") not in taken)
    taken.add(key)
    return key


def _goes_on(messages: list[SourceMessage]) -> list[bool]:
    """Return for each message whether a reply with text follows it in the same turn."""
    follows, answers = False, list[bool]()
    for message in reversed(messages):
        answers.append(follows)
        if message.role == "assistant":
            follows = follows or bool(_text(message.blocks).strip())
        elif not _has_results(message.blocks):
            follows = False
    return answers[::-1]


def _take_result(use: Mapping[str, Any], results: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Take the result of a call out of the list: the one with its id; where neither has one, the first without."""
    key = use["id"]
    for at, result in enumerate(results):
        other = result["tool_use_id"]
        if (isinstance(key, str) and key == other) or (not isinstance(key, str) and not isinstance(other, str)):
            return results.pop(at)
    return None


class _Writing:
    """The blocks of a message, in which texts are paragraphs where something between them is gone, or was a call."""

    def __init__(self) -> None:
        self.blocks: list[dict[str, Any]] = []
        self._is_behind_gap = False

    def add(self, block: dict[str, Any]) -> None:
        if self._is_behind_gap and block["type"] == "text" and self.blocks and self.blocks[-1]["type"] == "text":
            before = self.blocks[-1]["text"].rstrip("\n")
            self.blocks[-1] = text_block("\n\n".join([before, block["text"].strip("\n")]))
        else:
            self.blocks.append(block)
        self._is_behind_gap = False

    def add_call(self, text: str) -> None:
        self.leave_gap()
        self.add(text_block(text))
        self.leave_gap()

    def leave_gap(self) -> None:
        self._is_behind_gap = True


def _without_blank(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the blocks without a text that is blank, which the API refuses: it goes to the text before it."""
    made: list[dict[str, Any]] = []
    for block in blocks:
        if block["type"] != "text" or block["text"].strip():
            made.append(block)
        elif made and made[-1]["type"] == "text":
            made[-1] = text_block(made[-1]["text"] + block["text"])
    return made


# ---- turns


def _groups(messages: list[SourceMessage], left_out: LeftOut) -> Iterator[list[SourceMessage]]:
    """Yield the messages of each turn: a question, and what follows until the next one."""
    group: list[SourceMessage] = []
    for message in messages:
        if message.role == "user" and not _has_results(message.blocks):
            if group:
                yield group
            group = [message]
        elif group:
            group.append(message)
        elif message.blocks:
            left_out[NO_QUESTION] += message.role == "assistant"
    if group:
        yield group


def _turn(group: list[SourceMessage], cell: str, left_out: LeftOut) -> Turn | None:
    """Return the turn of these messages; None where there is none."""
    question, rest = group[0], [message for message in group[1:] if message.blocks]
    has_reply = bool(rest) and rest[-1].role == "assistant" and bool(_text(rest[-1].blocks).strip())
    if not question.blocks:
        left_out[NO_QUESTION] += has_reply
        return None
    if not has_reply:
        left_out[NO_REPLY] += 1
        return None
    try:
        turn = Turn.of(cell, map(_message, [question, *rest]), at=time.time())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        turn = None
    if turn is None or not turn.is_whole:
        left_out[UNKNOWN] += 1
        return None
    return turn


def _message(message: SourceMessage) -> Message:
    return Message.from_wire({"role": message.role, "content": message.blocks})


def _text(blocks: list[dict[str, Any]]) -> str:
    return "".join(block["text"] for block in blocks if block["type"] == "text")


# ---- blocks


def _cleaned(role: str, blocks: list[dict[str, Any]], left_out: LeftOut) -> list[dict[str, Any]]:
    """Return the blocks that the API takes in a message of that role, each with its own fields alone."""
    writing = _Writing()
    for block in blocks:
        if made := _block(role, block, left_out):
            writing.add(made)
        elif block.get("type") not in ("text", None):
            writing.leave_gap()
    named = [block for block in blocks if block.get("type") in ATTACHED and not _is_by_address(block)]
    return or_placeholder(_without_blank(writing.blocks), IMAGE, len(named) if role == "user" else 0)


ATTACHED = ("image", "document")


def _is_by_address(block: Mapping[str, Any]) -> bool:
    source = block.get("source")
    return isinstance(source, dict) and "url" in source


def _block(role: str, block: Mapping[str, Any], left_out: LeftOut) -> dict[str, Any] | None:
    kind = block.get("type")
    if kind == "text" or (kind is None and "text" in block):
        text = block.get("text")
        return text_block(whole_text(text)) if isinstance(text, str) and text else None
    if kind in ATTACHED and role == "user":
        return _attached(block, left_out)
    if kind == "tool_use" and role == "assistant":
        name, key = block.get("name"), block.get("id")
        name = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] if isinstance(name, str) else ""
        return {"type": kind, "id": key if isinstance(key, str) and key else None, "name": name,
                "input": _plain(block.get("input"))}  # fmt: skip
    if kind == "tool_result":
        return _result(block, left_out)
    if kind in ("thinking", "redacted_thinking") and role == "assistant":
        # It is taken back only with its signature.
        if kind == "thinking" and isinstance(block.get("signature"), str) and isinstance(block.get("thinking"), str):
            return {name: block[name] for name in ("type", "thinking", "signature")}
        if kind == "redacted_thinking" and isinstance(block.get("data"), str):
            return {"type": kind, "data": block["data"]}
        left_out[THINKING] += 1
        return None
    texts = [text for name in ("title", "url", "text") if isinstance(text := block.get(name), str) and text.strip()]
    if texts:  # such as what a search has found
        return text_block(whole_text("\n".join(texts)))
    left_out[ONLY_NAMED if kind in ATTACHED else UNKNOWN] += 1
    return None


def _plain(value: Any, room: int = DEEPEST) -> Any:
    """Return a value as JSON can say it to everybody: whole characters, finite numbers, not too deep."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list) and not room:
        return None
    if isinstance(value, dict):
        return {whole_text(str(name)): _plain(part, room - 1) for name, part in value.items()}
    return [_plain(part, room - 1) for part in value] if isinstance(value, list) else value


def _attached(block: Mapping[str, Any], left_out: LeftOut) -> dict[str, Any] | None:
    """Return a picture or a document that is in the file; one by its address would be fetched by the endpoint."""
    kind, source = block["type"], block.get("source")
    source = source if isinstance(source, dict) else {}
    data, titles = source.get("data"), _titles(block)
    if kind == "document" and source.get("type") in ("text", "content"):
        text = data if isinstance(data, str) else _text_of(source.get("content"))
        return text_block(whole_text(f"{titles['title']}:\n{text}\n" if "title" in titles else f"{text}\n"))
    if source.get("type") != "base64":
        left_out[BY_ADDRESS if "url" in source else ONLY_NAMED] += 1
        return None
    # What its first bytes say: programs mistake one kind of picture for another, and the API does not.
    media = _media_type(data)
    if media not in (SHOWN_PICTURES if kind == "image" else (PDF,)):
        left_out[UNKNOWN] += 1
        return None
    made = {"type": kind, "source": {"type": "base64", "media_type": media, "data": data}}
    return {**made, **titles} if kind == "document" else made


def _titles(block: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: whole_text(text) for name in ("title", "context") if isinstance(text := block.get(name), str)}
    return {name: text[:LONGEST_TITLE] for name, text in texts.items() if text.strip()}


def _media_type(data: object) -> str | None:
    """Return what a text in base64 holds, by its first bytes; None where it is none, or of an unknown kind."""
    try:
        return media_type(base64.b64decode(data, validate=True)) if isinstance(data, str) else None
    except ValueError:
        return None


def _result(block: Mapping[str, Any], left_out: LeftOut) -> dict[str, Any]:
    content, key = block.get("content"), block.get("tool_use_id")
    made: Any = ""
    if isinstance(content, list) and content and all(isinstance(part, dict) for part in content):
        parts = [part for part in content if part.get("type") != "tool_result"]
        made = _cleaned("user", parts, left_out) or (IMAGE if any(map(_is_by_address, parts)) else "")
    elif isinstance(content, str):
        made = whole_text(content)
    elif content:
        made = _text_of(content)
    result = {"type": "tool_result", "tool_use_id": key if isinstance(key, str) and key else None, "content": made}
    return {**result, "is_error": True} if block.get("is_error") is True else result


def _text_of(value: object) -> str:
    """Return a text, the texts of a list, or any other value as JSON."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        texts = [part.get("text") if isinstance(part, dict) and "text" in part else part for part in value]
        return "\n".join(map(_text_of, texts))
    return json.dumps(_plain(value), ensure_ascii=False)
