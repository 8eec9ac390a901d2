"""Messages of a file → whole turns, as the API takes them.

Other programs' messages rarely take turns, and their calls rarely have results. First the blocks of each message are
cleaned, then calls are paired with results, then the messages are put together to turns. What cannot be sent as what
it is becomes text, or is left out and counted.
"""

from __future__ import annotations

import base64
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from ..exchange.cells import IMPORTED
from ..messages.conversation import Conversation, Turn
from ..messages.image_size import PDF
from ..messages.message import SHOWN_PICTURES, Message
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
    objects_in,
    text_block,
)


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
    for role, blocks in messages:
        former = joined[-1].blocks if joined and joined[-1].role == role else None
        if former is None or (_has_results(former) and not _has_results(blocks)):
            joined.append(SourceMessage(role, blocks))
            continue
        first = next((at for at, block in enumerate(blocks) if block["type"] == "text"), None)
        if first is not None and any(block["type"] == "text" for block in former):
            blocks = [*blocks[:first], text_block(f"\n\n{blocks[first]['text']}"), *blocks[first + 1 :]]
        joined[-1] = SourceMessage(role, [*former, *blocks])
    return [
        SourceMessage(role, sorted(blocks, key=lambda block: role == "user" and block["type"] != "tool_result"))
        for role, blocks in joined
    ]


def _has_results(blocks: list[dict[str, Any]]) -> bool:
    return any(block["type"] == "tool_result" for block in blocks)


# ---- calls and their results


def _paired(messages: list[SourceMessage], left_out: LeftOut) -> list[SourceMessage]:
    """Return the messages with each call paired with its result, by an id of its own; other calls become text."""
    taken = set[str]()
    made: list[SourceMessage] = []
    for at, message in enumerate(messages):
        if message.role == "assistant":
            following = messages[at + 1].blocks if at + 1 < len(messages) else []
            made.append(_with_calls(message.blocks, following, taken, left_out, _goes_on(messages, at)))
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
        elif block["type"] != "tool_result":
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
    if not key or key in taken:
        key = next(one for number in count(1) if (one := f"call_{number}") not in taken)
    taken.add(key)
    return key


def _goes_on(messages: list[SourceMessage], at: int) -> bool:
    """Return whether a reply with text follows the results of this message's calls, in the same turn."""
    for message in messages[at + 1 :]:
        if message.role == "assistant" and _text(message.blocks).strip():
            return True
        if message.role == "user" and not _has_results(message.blocks):
            return False
    return False


def _take_result(use: Mapping[str, Any], results: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Take the result of a call out of the list: the one with its id; where neither has one, the first without."""
    key = use["id"]
    for at, result in enumerate(results):
        other = result["tool_use_id"]
        if (isinstance(key, str) and key == other) or (not isinstance(key, str) and not isinstance(other, str)):
            return results.pop(at)
    return None


class _Writing:
    """The blocks of a reply, in which a call that is text is a paragraph of the text around it."""

    def __init__(self) -> None:
        self.blocks: list[dict[str, Any]] = []
        self._is_behind_call = False

    def add(self, block: dict[str, Any]) -> None:
        if self._is_behind_call and block["type"] == "text":
            self._add_paragraph(block["text"])
        else:
            self.blocks.append(block)
        self._is_behind_call = False

    def add_call(self, text: str) -> None:
        if self.blocks and self.blocks[-1]["type"] == "text":
            self._add_paragraph(text)
        else:
            self.blocks.append(text_block(text))
        self._is_behind_call = True

    def _add_paragraph(self, text: str) -> None:
        before = self.blocks[-1]["text"].rstrip("\n")
        self.blocks[-1] = text_block("\n\n".join([before, text.strip("\n")]))


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
    return _without_blank([made for block in blocks if (made := _block(role, block, left_out))])


def _block(role: str, block: Mapping[str, Any], left_out: LeftOut) -> dict[str, Any] | None:
    kind = block.get("type")
    if kind == "text" or (kind is None and "text" in block):
        text = block.get("text")
        return text_block(whole_text(text)) if isinstance(text, str) and text else None
    if kind in ("image", "document") and role == "user":
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
    if isinstance(block.get("text"), str) and block["text"].strip():  # such as what a search has found
        return text_block(whole_text(block["text"]))
    left_out[ONLY_NAMED if kind in ("image", "document") else UNKNOWN] += 1
    return None


def _plain(value: Any) -> Any:
    """Return a value as JSON can say it to everybody: whole characters, no NaN, not too deep."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, dict):
        return {whole_text(str(name)): _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _attached(block: Mapping[str, Any], left_out: LeftOut) -> dict[str, Any] | None:
    """Return a picture or a document that is in the file; one by its address would be fetched by the endpoint."""
    kind, source = block["type"], block.get("source")
    source = source if isinstance(source, dict) else {}
    media, data = source.get("media_type"), source.get("data")
    if kind == "document" and source.get("type") == "text" and isinstance(data, str):
        title = block.get("title")
        return text_block(whole_text(f"{title}:\n{data}\n" if isinstance(title, str) and title else f"{data}\n"))
    if source.get("type") != "base64":
        left_out[BY_ADDRESS if "url" in source else ONLY_NAMED] += 1
        return None
    if media not in (SHOWN_PICTURES if kind == "image" else (PDF,)) or not _is_base64(data):
        left_out[UNKNOWN] += 1
        return None
    made = {"type": kind, "source": {"type": "base64", "media_type": media, "data": data}}
    titles = {name: block[name] for name in ("title", "context") if isinstance(block.get(name), str)}
    return {**made, **titles} if kind == "document" else made


def _is_base64(data: object) -> bool:
    try:
        return isinstance(data, str) and bool(base64.b64decode(data, validate=True))
    except ValueError:
        return False


def _result(block: Mapping[str, Any], left_out: LeftOut) -> dict[str, Any]:
    content, key = block.get("content"), block.get("tool_use_id")
    if isinstance(content, list):
        parts = [part for part in objects_in(content) if part.get("type") != "tool_result"]
        content = _cleaned("user", parts, left_out) or (IMAGE if any(p.get("type") == "image" for p in parts) else "")
    content = whole_text(content) if isinstance(content, str) else content if isinstance(content, list) else ""
    made = {"type": "tool_result", "tool_use_id": key if isinstance(key, str) and key else None, "content": content}
    return {**made, "is_error": True} if block.get("is_error") is True else made
