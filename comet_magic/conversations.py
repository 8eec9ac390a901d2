"""The conversations that are kept: listed, read, forked, renamed, forgotten, exported and imported.

    comet_magic.conversations.names()
    comet_magic.conversations.export("eda.md", name="eda")

Every function works on the store that the settings name. Without a name, they mean the conversation of this notebook.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, Literal, overload

from .errors import ConfigError
from .exchange.session import current
from .formats import markdown
from .formats.chatgpt import to_json
from .formats.read import FileConversation, conversations_in, is_all, pick_conversations
from .formats.wire import to_lines
from .messages.conversation import Conversation
from .settings import CometSettings
from .store import conversations, turns
from .store.database import Store
from .text import expanded, whole_text

__all__ = [
    "delete",
    "export",
    "forget",
    "fork",
    "get",
    "keep",
    "load",
    "names",
    "prune",
    "read",
    "rename",
    "to_messages",
]


def names() -> list[str]:
    """Return the conversations in the store, the latest first."""
    return conversations.names(_store())


def get(name: str = "") -> Conversation:
    """Return the conversation, empty if there is none; `.turns`, `.messages`, `.stale()`."""
    return turns.conversation(_store(), _named(name))


def fork(new: str, *, name: str = "") -> Conversation:
    """Return a second conversation with the same turns, which goes its own way; done twice, it is the same one.

    Raises: ConfigError when there is nothing to fork, or the new name is taken.
    """
    conversations.fork(_store(), _named(name), _checked(new))
    if cell := current().cells.last_in(_named(name)):
        current().cells.ran_in(_checked(new), cell)
    return get(new)


def rename(new: str, *, name: str = "") -> None:
    """Rename a conversation. Raises: ConfigError when there is none, or the new name is taken."""
    conversations.rename(_store(), _named(name), _checked(new))


def forget(turn: int, *, name: str = "") -> None:
    """Remove a turn, with every reply to its cell. turn: its number, from 1, as `%claude_history` shows it.

    Raises: ConfigError when there is no such turn.
    """
    known = get(name).turns
    if not 1 <= turn <= len(known):
        raise ConfigError(
            f"{_named(name)!r} has no turn {turn}, but {len(known)} turns", "%claude_history numbers them"
        )
    conversations.forget(_store(), _named(name), known[turn - 1].cell)


def delete(name: str = "") -> None:
    """Remove a conversation with its turns and replies. Raises: ConfigError when there is none of that name."""
    conversations.delete(_store(), _named(name))


def to_messages(name: str = "") -> list[dict[str, Any]]:
    """Return the conversation as messages of the API, which LangChain's `convert_to_messages` takes, too."""
    return [message.to_wire() for message in get(name).messages]


def export(path: str | Path, *, name: str = "", overwrite: bool = False) -> Path:
    """Write the conversation into a file, in the form that the end of its name says.

    `.jsonl`: one message of the API a line.        `.json`: as ChatGPT exports it, for Open WebUI, LibreChat and Cherry
    Studio.        Any other: Markdown, as safe as the output in the notebook.
    overwrite: also where there is such a file.
    Raises: ConfigError when there is nothing to write, or it cannot be written.
    """
    conversation, target = get(name), expanded(path)
    if not conversation.turns:
        raise ConfigError(f"there are no turns in {conversation.name!r}", "%claude_history --all lists what there is")
    text = _written(conversation, target.suffix.lower())
    if target.is_dir():
        raise ConfigError(f"not exported: {target} is a folder", "name a file in it")
    try:
        if not overwrite and target.exists():
            raise ConfigError(
                f"not exported: there is a file {target} already", "name another file, or add --overwrite"
            )
        _write_whole(target, text)
    except (OSError, ValueError) as error:  # no such path can be, for one
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"not exported: {whole_text(str(target))}: {why}", "name another file") from None
    return target


def _write_whole(target: Path, text: str) -> None:
    """Write a file, or leave what was there: a full disk ends in the middle."""
    part = target.with_name(f".{target.name[:100]}.{os.getpid()}.part")
    try:
        part.write_text(text, "utf-8", "replace")
        os.replace(part, target.resolve())
    finally:
        part.unlink(missing_ok=True)


def _written(conversation: Conversation, suffix: str) -> str:
    if suffix == ".jsonl":
        return to_lines(conversation)
    if suffix == ".json":
        return to_json(conversation, called(conversation.name), turns.models(_store(), conversation.name))
    return to_markdown(conversation)


def to_markdown(conversation: Conversation) -> str:
    """Return the conversation as Markdown, as safe as the output in the notebook."""
    return markdown.to_markdown(conversation, called(conversation.name))


def read(path: str | Path) -> list[FileConversation]:
    """Return the conversations in a file of ours or of another program, without keeping them.

    Each has a number, a title, turns, a date if the file says one, and what cannot be taken along.
    Raises: ConfigError where it is none of the files that can be read.
    """
    return conversations_in(expanded(path))


@overload
def load(path: str | Path, name: str, *, pick: Literal["all"]) -> list[Conversation]: ...  # type: ignore[overload-overlap]  # "all" is a text, too
@overload
def load(path: str | Path, name: str, *, pick: int | str = ...) -> Conversation: ...
def load(path: str | Path, name: str, *, pick: int | str = "") -> Conversation | list[Conversation]:
    """Keep a conversation of a file: of ours, of messages as JSON, or of another program's export.

    pick: its number, its title or a part of it, where the file holds several; "all": each of them, called `name`, a
    slash, and its title, and returned as a list.
    Raises: ConfigError when the file cannot be read, there is nothing to import, or a name is taken.
    """
    source = expanded(path)
    made = keep(pick_conversations(conversations_in(source), pick, source), name, is_prefix=is_all(pick))
    return made if is_all(pick) else made[0]


def keep(file_conversations: Sequence[FileConversation], name: str, *, is_prefix: bool = False) -> list[Conversation]:
    """Keep conversations that `read` has found, all or none. is_prefix: each is called `name`, a slash, and its title.

    Raises: ConfigError when a name is taken.
    """
    whole = [one for one in file_conversations if one.turns]
    if not whole or (len(whole) > 1 and not is_prefix):
        what = f"there are {len(whole):,} conversations with turns" if whole else "there is no conversation with turns"
        raise ConfigError(f"not kept: {what}", "give one, or several with is_prefix=True")
    times: Counter[str] = Counter()
    chosen: dict[str, FileConversation] = {}
    for one in whole:
        base = f"{_checked(name)}/{one.title}" if is_prefix else _checked(name)
        while (new := f"{base} ({times[base] + 1})" if times[base] else base) in chosen:
            times[base] += 1
        times[base] += 1
        chosen[new] = one
    conversations.put(_store(), {new: one.turns for new, one in chosen.items()})
    return [get(new) for new in chosen]


def prune(age: str) -> tuple[int, int]:
    """Remove what is older than `age` (`90d`, `12h`, `2w`): conversations by their latest turn, replies by their own.

    The conversation of this notebook stays. Returns: how many replies, and how many conversations went.
    Raises: ConfigError for no such age.
    """
    return conversations.prune(_store(), time.time() - seconds(age), keep=_named(""))


def called(conversation: str) -> str:
    """Return what a conversation is called on the screen: a notebook's by its file, a kernel's by when it began."""
    if not conversation:
        return "without conversation"
    if kernel := re.fullmatch(r"kernel-(\d{8}-\d{6})-\w+", conversation):
        with contextlib.suppress(ValueError):  # somebody's own name, which looks like one of ours
            return time.strftime("unsaved notebook, %d %b %H:%M", time.strptime(kernel[1], "%Y%m%d-%H%M%S"))
    return PurePath(conversation).name if PurePath(conversation).is_absolute() else conversation


def seconds(age: str) -> float:
    """Raises: ConfigError."""
    match = re.fullmatch(r"(\d+)\s*([hdw])", age.strip().lower())
    if not match or not int(match[1]):
        raise ConfigError(f"{age!r} is not an age", "an age is 12h, 90d or 8w")
    return int(match[1]) * {"h": 3600, "d": 86_400, "w": 604_800}[match[2]]


def _store() -> Store:
    return current().store(CometSettings.instance())


def _named(name: str) -> str:
    return whole_text(name).strip() or current().conversation_name(CometSettings.instance())


def _checked(name: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ConfigError("a conversation needs a name", "name it")
    return whole_text(name).strip()
