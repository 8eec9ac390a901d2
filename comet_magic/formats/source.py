"""What a file holds, before it is made turns of ours: conversations, their messages, and what cannot be taken along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

# What is left out of an import, in words; "(s)" is an s where there are several.
SYSTEM = "system prompt(s)"
BRANCH = "message(s) of another branch"
NO_REPLY = "question(s) without a reply"
NO_QUESTION = "turn(s) without a question"
ONLY_NAMED = "attachment(s) that the file only names"
BY_ADDRESS = "attachment(s) that the file names by its address"
THOUGHT = "thought(s)"
CALL = "call(s) of a tool"
HIDDEN = "hidden message(s)"
UNKNOWN = "part(s) of an unknown kind"
IMAGE = "⟨image⟩"  # stands for a picture that did not come along


class SourceMessage(NamedTuple):
    """role: "user" or "assistant".        blocks: as those of the Messages API, not checked."""

    role: str
    blocks: list[dict[str, Any]]


class SourceConversation(NamedTuple):
    """date: when it was last changed, in seconds since 1970; None where the file does not say."""

    title: str
    messages: list[SourceMessage]
    date: float | None
    left_out: Counter[str]


def text_block(text: object) -> dict[str, Any]:
    return {"type": "text", "text": text if isinstance(text, str) else ""}


def listed(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list; of what is no list, none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def items_of(data: object) -> list[dict[str, Any]]:
    """Return the objects of a list, or the only one."""
    return listed([data] if isinstance(data, dict) else data)


def mapping_of(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def seconds_of(value: object) -> float | None:
    """Return a time as seconds since 1970: of seconds, milliseconds, or a text in the form of ISO 8601."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
            return moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp()
        seconds = value / 1000 if value > 10**11 else float(value)
        datetime.fromtimestamp(seconds)
    except (ValueError, OverflowError, OSError):
        return None
    return seconds


def branch(
    messages: Sequence[Mapping[str, Any]], leaf: object, key: str, parent: str, left_out: Counter[str],
    counts: Callable[[Mapping[str, Any]], bool] = lambda message: True,
) -> list[Mapping[str, Any]]:  # fmt: skip
    """Return the messages of a tree from its root to a leaf.

    leaf: the id of one; without such a message, the last one of the list.        key, parent: fields with the ids.
    counts: whether a message that is left out is said to be.
    """
    by_id = {message[key]: message for message in messages if isinstance(message.get(key), str)}
    if not by_id:
        return list(messages)
    if not isinstance(leaf, str) or leaf not in by_id:
        leaf = messages[-1].get(key) if messages else None
    path = list(_up(by_id, leaf, parent))[::-1]
    on_path = set(map(id, path))
    if others := sum(1 for message in messages if id(message) not in on_path and counts(message)):
        left_out[BRANCH] += others
    return path


def _up(by_id: Mapping[Any, Mapping[str, Any]], key: object, parent: str) -> Iterator[Mapping[str, Any]]:
    seen = set()
    while isinstance(key, str) and key in by_id and key not in seen:
        seen.add(key)
        yield by_id[key]
        key = by_id[key].get(parent)


def said(left_out: Mapping[str, int]) -> str:
    """Return `left out: 2 system prompts, 1 question without a reply`; "" where nothing was."""
    parts = [f"{count:,} {kind.replace('(s)', '' if count == 1 else 's')}" for kind, count in left_out.items() if count]
    return f"left out: {', '.join(parts)}" if parts else ""
