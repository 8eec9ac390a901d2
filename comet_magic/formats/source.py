"""What a file holds, before it is made turns of ours: conversations, their messages, and what cannot be taken along."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ..named_tuple import NamedTuple


class Kind(NamedTuple):
    """A kind of part that is left out of an import, in words."""

    one: str
    several: str


SYSTEM = Kind("system message", "system messages")
BRANCH = Kind("message of another branch", "messages of another branch")
NO_REPLY = Kind("question without a reply", "questions without a reply")
NO_QUESTION = Kind("reply without a question", "replies without a question")
ONLY_NAMED = Kind("attachment that the file only names", "attachments that the file only names")
BY_ADDRESS = Kind("attachment given by its address", "attachments given by their addresses")
THINKING = Kind("thinking block", "thinking blocks")
CALL = Kind("tool call", "tool calls")
RESULT = Kind("tool result without a call", "tool results without a call")
HIDDEN = Kind("hidden message", "hidden messages")
FAILED = Kind("failed reply", "failed replies")
UNKNOWN = Kind("part of an unknown kind", "parts of an unknown kind")
NO_CONVERSATION = Kind("entry that is no conversation", "entries that are no conversation")
LeftOut = Counter[Kind]

IMAGE, FILE = "⟨image⟩", "⟨file⟩"  # stand for what did not come along
_ROOT = re.compile(r"[0-]*(4000-8000-)?[0-]*|client-created-root|root")


class SourceMessage(NamedTuple):
    """role: "user" or "assistant".        blocks: as those of the Messages API, not checked."""

    role: str
    blocks: list[dict[str, Any]]


class SourceConversation(NamedTuple):
    """date: when it was last changed, in seconds since 1970; None where the file does not say."""

    title: str
    messages: list[SourceMessage]
    date: float | None
    left_out: LeftOut


def other_entry() -> SourceConversation:
    """Return what stands for an entry of a file that is no conversation."""
    return SourceConversation("", [], None, Counter([NO_CONVERSATION]))


def entries(
    data: object, is_one: Callable[[Mapping[str, Any]], bool], read: Callable[[Mapping[str, Any]], SourceConversation]
) -> list[SourceConversation]:
    """Return the entries of a file as `read` reads each that is a conversation of its form; [] where none is."""
    items = items_of(data)
    if not any(map(is_one, items)):
        return []
    return [read(item) if is_one(item) else other_entry() for item in items]


def text_block(text: object) -> dict[str, Any]:
    return {"type": "text", "text": text if isinstance(text, str) else ""}


def or_placeholder(blocks: list[dict[str, Any]], mark: str, count: int) -> list[dict[str, Any]]:
    """Return the blocks of a message; of one with nothing but attachments that are only named, a sign for those."""
    if count < 1 or any(block.get("text") or block.get("type") not in (None, "text") for block in blocks):
        return blocks
    return [text_block("\n".join([mark] * count))]


def objects_in(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list; of what is no list, none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def items_of(data: object) -> list[dict[str, Any]]:
    """Return the objects of a list, or the only one."""
    return objects_in([data] if isinstance(data, dict) else data)


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
    messages: Sequence[Mapping[str, Any]], leaf: object, key: str, parent: str, left_out: LeftOut,
    counts: Callable[[Mapping[str, Any]], bool] = lambda message: True,
) -> list[Mapping[str, Any]]:  # fmt: skip
    """Return the messages of a tree from its root to a leaf. Where a message between is gone, the one before it counts.

    leaf: the id of one; without such a message, the last one of the list.        key, parent: fields with the ids.
    counts: whether a message that is left out is said to be.
    """
    at_of = {message[key]: at for at, message in enumerate(messages) if isinstance(message.get(key), str)}
    if not at_of:
        return list(messages)
    last = at_of[leaf] if isinstance(leaf, str) and leaf in at_of else max(at_of.values())
    path = list(_up(messages, last, at_of, parent))[::-1]
    on_path = set(path)
    others = [at for at, message in enumerate(messages) if at not in on_path and counts(message)]
    if others:
        left_out[BRANCH] += len(others)
    return [messages[at] for at in path]


def _up(messages: Sequence[Mapping[str, Any]], at: int, at_of: Mapping[str, int], parent: str) -> Iterator[int]:
    seen = set[int]()
    while at not in seen:
        seen.add(at)
        yield at
        key = messages[at].get(parent)
        if isinstance(key, str) and key in at_of:
            at = at_of[key]
        elif at and isinstance(key, str) and not _ROOT.fullmatch(key):
            at -= 1  # that message is not in the file
        else:
            return


def left_out_line(left_out: Mapping[Kind, int]) -> str:
    """Return `left out: 2 system messages, 1 question without a reply`; "" where nothing was."""
    parts = [f"{count:,} {kind.one if count == 1 else kind.several}" for kind, count in left_out.items() if count]
    return f"left out: {', '.join(parts)}" if parts else ""
