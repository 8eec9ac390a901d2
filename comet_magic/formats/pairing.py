"""Calls and their results: each call is paired with its result, as the API demands, or becomes text."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from .blocks import Writing, text_in
from .call_text import call_text
from .source import RESULT, LeftOut, SourceMessage, text_block

LONGEST_ID = 64  # characters; some programs make theirs of much more than a number


def paired(messages: list[SourceMessage], left_out: LeftOut) -> list[SourceMessage]:
    """Return the messages with each call paired with its result, by an id of its own; other calls become text."""
    taken = set[str]()
    made: list[SourceMessage] = []
    for at, (message, goes_on) in enumerate(zip(messages, _goes_on(messages), strict=True)):
        if message.role == "assistant":
            following = messages[at + 1].blocks if at + 1 < len(messages) else []
            made.append(_with_calls(message.blocks, following, taken, left_out, goes_on))
            continue
        if not has_results(message.blocks):
            taken.clear()  # the next turn; ids of other turns are told apart where a request is made
        if (left := _without_others(message.blocks, left_out)) or not message.blocks:
            made.append(SourceMessage("user", left))
        # Else all of its results have become text, and it is no message any more.
    return joined(made)


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
    writing = Writing()
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
            follows = follows or bool(text_in(message.blocks).strip())
        elif not has_results(message.blocks):
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


def joined(messages: list[SourceMessage]) -> list[SourceMessage]:
    """Return the messages with those of one role that follow one another as one; results stand before all else.

    A question behind results stays one of its own.
    """
    made: list[SourceMessage] = []
    holds_results = has_text = False  # of the last one
    for role, blocks in messages:
        has_new = has_results(blocks)
        if not made or made[-1].role != role or (holds_results and not has_new):
            made.append(SourceMessage(role, []))
            holds_results = has_text = False
        first = next((at for at, block in enumerate(blocks) if block["type"] == "text"), None)
        if first is not None and has_text:
            blocks = [*blocks[:first], text_block(f"\n\n{blocks[first]['text']}"), *blocks[first + 1 :]]
        made[-1].blocks.extend(blocks)
        holds_results, has_text = holds_results or has_new, has_text or first is not None
    for message in made:
        if message.role == "user":
            message.blocks.sort(key=lambda block: block["type"] != "tool_result")
    return made


def has_results(blocks: list[dict[str, Any]]) -> bool:
    return any(block["type"] == "tool_result" for block in blocks)
