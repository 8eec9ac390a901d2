"""`%claude_history` and its like, with their flags → one call of `conversations`, or a table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from .. import conversations
from ..errors import ConfigError
from ..render.table import Table
from ..settings import CometSettings
from .flags import Flags, not_empty, number
from .history_table import all_conversations, existing, history


@cache
def history_parser() -> Flags:
    words = "a name of several words goes in quotes, and a conversation is named with -c"
    parser = Flags("%claude_history", description=words, add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--chat", type=not_empty)
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true")
    what.add_argument("--forget", type=number(int, 1))
    for flag in ("--fork", "--rename", "--export", "--prune"):
        what.add_argument(flag, type=not_empty)
    what.add_argument("--import", dest="load", type=not_empty)
    what.add_argument("--delete", action="store_true")
    return parser


def history_command(
    settings: CometSettings, line: str, here: str, help_text: str, namespace: Mapping[str, Any]
) -> Table | None:
    """here: the conversation that is meant where none is named. Raises: ConfigError."""
    flags = vars(history_parser().flags_of(line))
    if flags.pop("help"):
        print(help_text)
        return None
    chat, every, overwrite = flags.pop("chat"), flags.pop("all"), flags.pop("overwrite")
    actions = {name: value for name, value in flags.items() if value}
    if chat and (every or "prune" in actions):
        raise ConfigError("--all and --prune are of all conversations", "leave out -c")
    if overwrite and "export" not in actions:
        raise ConfigError("--overwrite is for --export FILE", "leave it out")
    if every:
        return all_conversations(settings)
    if chat and "load" not in actions:
        existing(settings, chat)
    if not actions:
        return history(settings, chat or here, namespace)
    print(_done(actions, chat or here, named=bool(chat), overwrite=overwrite))
    return None


def _done(actions: dict[str, object], name: str, *, named: bool, overwrite: bool) -> str:
    """Return what was done, in words. named: whether it was said which conversation is meant."""
    match actions:
        case {"forget": int(turn)}:
            conversations.forget(turn, name=name)
            return f"forgot turn {turn} of {name}"
        case {"fork": str(new)}:
            conversations.fork(new, name=name)
            return f"{new} begins with {_turns(len(conversations.get(name).turns))} of {name}: %%claude -c {new!r}"
        case {"rename": str(new)}:
            conversations.rename(new, name=name)
            keep = f"%config CometSettings.conversation = {new!r} continues it"
            return f"{name} is now {new}: " + (f"%%claude -c {new!r}" if named else keep)
        case {"delete": True}:
            conversations.delete(name)
            return f"deleted {name}; what it cost stays in %claude_usage"
        case {"export": str(path)}:
            return f"exported to {conversations.export(path, name=name, overwrite=overwrite)}"
        case {"load": str(path)}:
            if not named:
                raise ConfigError("an import needs a name", "%claude_history --import FILE -c NAME")
            return f"imported {_turns(len(conversations.load(path, name).turns))} as {name}: %%claude -c {name!r}"
    replies, gone = conversations.prune(str(actions["prune"]))
    return f"removed {replies:,} replies and {gone:,} conversations that were older than {actions['prune']}"


def _turns(count: int) -> str:
    return "1 turn" if count == 1 else f"{count:,} turns"


@cache
def continue_parser() -> Flags:
    words = "a conversation is named with -c"
    parser = Flags("%claude_continue", description=words, add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--chat", type=not_empty)
    return parser


def continue_command(settings: CometSettings, line: str) -> str | None:
    """Return the conversation that is named, if one is. Raises: ConfigError when there is none of that name."""
    chat = continue_parser().flags_of(line).chat
    if chat:
        existing(settings, chat)
    return str(chat) if chat else None
