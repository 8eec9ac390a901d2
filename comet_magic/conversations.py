"""The conversations that are kept: listed, read, forked, renamed, forgotten, exported and imported.

    comet_magic.conversations.names()
    comet_magic.conversations.export("eda.md", name="eda")

Every function works on the store that the settings name. Without a name, they mean the conversation of this notebook.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path, PurePath

from .errors import ConfigError
from .exchange.cells import IMPORTED
from .exchange.session import current
from .messages.conversation import Conversation, Turn, has_address
from .messages.framed import frames_in
from .messages.message import ContentBlock, Message
from .messages.tool_call import ToolCall
from .render.markdown import safe_markdown
from .render.message import quoted
from .settings import CometSettings
from .store import conversations, turns
from .store.database import Store
from .text import dollars, escaped, expanded, whole_text

__all__ = ["delete", "export", "forget", "fork", "get", "load", "names", "prune", "rename"]


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
    turns = get(name).turns
    if not 1 <= turn <= len(turns):
        raise ConfigError(
            f"{_named(name)!r} has no turn {turn}, but {len(turns)} turns", "%claude_history numbers them"
        )
    conversations.forget(_store(), _named(name), turns[turn - 1].cell)


def delete(name: str = "") -> None:
    """Remove a conversation with its turns and replies. Raises: ConfigError when there is none of that name."""
    conversations.delete(_store(), _named(name))


def export(path: str | Path, *, name: str = "", overwrite: bool = False) -> Path:
    """Write the conversation into a file: Markdown, or one wire message a line where the name ends in `.jsonl`.

    The Markdown is as safe as the output in the notebook. overwrite: also where there is such a file.
    Raises: ConfigError when there is nothing to write, or it cannot be written.
    """
    conversation, target = get(name), expanded(path)
    if not conversation.turns:
        raise ConfigError(f"there are no turns in {conversation.name!r}", "%claude_history --all lists what there is")
    text = to_lines(conversation) if target.suffix == ".jsonl" else to_markdown(conversation)
    try:
        with target.open("w" if overwrite else "x", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(
            f"not exported: there is a file {target} already", "name another file, or add --overwrite"
        ) from None
    except OSError as error:
        raise ConfigError(f"not exported: {target}: {error.strerror}", "name another file") from None
    return target


def load(path: str | Path, name: str) -> Conversation:
    """Make a conversation of a file of wire messages, one a line, as `export` writes them.

    Raises: ConfigError when they are no whole turns, or the name is taken.
    """
    source = expanded(path)
    try:
        turns = from_lines(source.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"not imported: {source}: {error.strerror}", "name a .jsonl file that export wrote") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"not imported: {source}: {_reason(error)}", "each line is a message, and questions and replies take turns"
        ) from None
    conversations.put(_store(), _checked(name), turns)
    return get(name)


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


# ---- formats


def to_markdown(conversation: Conversation) -> str:
    parts = [f"# {escaped(called(conversation.name))}"]
    for turn in conversation.turns:
        for number, message in enumerate(turn.messages):
            heading = "Reply" if message.role == "assistant" else "Results" if number else "Question"
            parts += [f"## {heading}", *_parts_of(message.text.strip("\n")), *map(_block, message.content)]
        parts.append(f"*{_account(turn)}*" if turn.at else "")
    return "\n\n".join(filter(None, parts)) + "\n"


def _parts_of(text: str) -> list[str]:
    """Return a text as Markdown, and the data in it as blocks of their own, which no reader takes for HTML."""
    parts, at = list[str](), 0
    for frame in frames_in(text):
        parts += [safe_markdown(text[at : frame.start].strip("\n")), quoted(text[frame.start : frame.end])]
        at = frame.end
    return [*parts, safe_markdown(text[at:].strip("\n"))]


def _account(turn: Turn) -> str:
    """Return when a turn was asked, and what it used and cost."""
    day = time.strftime("%d %b %Y, %H:%M", time.localtime(turn.at)).lstrip("0")
    used = [f"{turn.tokens:,} tokens"] if turn.tokens is not None else []
    money = [f"≈ {dollars(turn.cost_usd)}"] if turn.cost_usd is not None else []
    return " · ".join([day, *used, *money])


def _block(block: ContentBlock) -> str:
    """Return a call of a tool, or its result; "" for other blocks."""
    if block["type"] == "tool_use":
        return quoted(ToolCall(str(block.get("name")), block.get("input")).as_python, "python")
    if block["type"] != "tool_result":
        return ""
    content = block.get("content")
    texts = [content] if isinstance(content, str) else [str(part.get("text") or part["type"]) for part in content or ()]
    return quoted("\n".join(texts))


def to_lines(conversation: Conversation) -> str:
    return "".join(json.dumps(message.to_wire()) + "\n" for message in conversation.messages)


def from_lines(text: str) -> tuple[Turn, ...]:
    """Return the turns in a file of wire messages. Raises: ValueError, TypeError, KeyError or AttributeError."""
    turns: list[Turn] = []
    messages: list[Message] = []
    for line in filter(str.strip, text.split("\n")):
        wire = json.loads(line)
        if not isinstance(wire, dict) or not {"role", "content"} <= set(wire):
            raise ValueError("a line of it is not a message with a role and content")
        content = wire["content"]
        if wire["role"] == "user" and not isinstance(content, str) and content and content[0]["type"] == "tool_result":
            pass  # it goes on with the turn before it
        elif wire["role"] == "user" and messages:
            turns.append(_imported(messages, len(turns) + 1))
            messages = []
        messages.append(Message.from_wire(wire))
    if messages:
        turns.append(_imported(messages, len(turns) + 1))
    if not turns:
        raise ValueError("it holds no message")
    return Conversation("", tuple(turns)).in_order()


def _imported(messages: list[Message], number: int) -> Turn:
    if not messages[-1].text.strip():
        raise ValueError(f"turn {number} has no reply")
    if any(map(has_address, messages)):
        raise ValueError(f"turn {number} has a picture or a document by its address, which would be fetched")
    return Turn.of(f"{IMPORTED}{number}", messages, at=time.time())


def _reason(error: Exception) -> str:
    return f"it is not JSON ({error})" if isinstance(error, json.JSONDecodeError) else str(error)


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
