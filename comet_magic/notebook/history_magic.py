"""`%claude_history` and its like, with their flags → one call of `conversations`, or a table."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .. import conversations
from ..errors import ConfigError
from ..formats.read import FileConversation, is_all, pick_conversations
from ..formats.source import left_out_line
from ..render.table import Table
from ..settings import CometSettings
from ..text import many
from .flags import Flags, not_empty, number
from .history_table import all_conversations, existing, history

SHOWN = 5  # names of imported conversations


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
    parser.add_argument("--pick", type=not_empty)
    what.add_argument("--delete", action="store_true")
    return parser


def history_command(
    settings: CometSettings, line: str, here: str, help_text: str, namespace: Mapping[str, Any]
) -> Table | None:
    """Do what a line of `%claude_history` says; return a table to show, or None where it has printed what it did.

    here: the conversation that is meant where none is named. Raises: ConfigError.
    """
    flags = vars(history_parser().flags_of(line))
    if flags.pop("help"):
        print(help_text)
        return None
    chat, every, overwrite = flags.pop("chat"), flags.pop("all"), flags.pop("overwrite")
    pick = flags.pop("pick") or ""
    actions = {name: value for name, value in flags.items() if value}
    if chat and (every or "prune" in actions):
        raise ConfigError("--all and --prune are of all conversations", "leave out -c")
    if overwrite and "export" not in actions:
        raise ConfigError("--overwrite is for --export FILE", "leave it out")
    if pick and "load" not in actions:
        raise ConfigError("--pick is for --import FILE", "leave it out")
    if every:
        return all_conversations(settings)
    if chat and "load" not in actions:
        existing(settings, chat)
    if not actions:
        return history(settings, chat or here, namespace)
    if "load" in actions:
        return _imported(str(actions["load"]), pick, chat or "")
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
            return (
                f"{new} begins with {many(len(conversations.get(name).turns), 'turn')} of {name}: %%claude -c {new!r}"
            )
        case {"rename": str(new)}:
            conversations.rename(new, name=name)
            keep = f"%config CometSettings.conversation = {new!r} continues it"
            return f"{name} is now {new}: " + (f"%%claude -c {new!r}" if named else keep)
        case {"delete": True}:
            conversations.delete(name)
            return f"deleted {name}; what it cost stays in %claude_usage"
        case {"export": str(path)}:
            target = conversations.export(path, name=name, overwrite=overwrite)
            return f"exported to {target}, as plain text with the data that was sent"
    replies, gone = conversations.prune(str(actions["prune"]))
    return f"removed {replies:,} replies and {gone:,} conversations that were older than {actions['prune']}"


def _imported(path: str, pick: str, name: str) -> Table | None:
    """Import what is picked, and print what was done; where there are several to pick from, return them as a table."""
    found = conversations.read(path)
    whole = [one for one in found if one.turns]
    if not pick and len(whole) > 1:
        return _to_pick_from(found, path)
    chosen = pick_conversations(found, pick, Path(path))
    if not name:
        raise ConfigError("an import needs a name", f"add -c {shlex.quote(chosen[0].title)}, or another name")
    picks_all = is_all(pick)
    made = conversations.keep(chosen, name, is_prefix=picks_all)
    if picks_all:
        more = f" and {len(made) - SHOWN:,} more; %claude_history --all lists them" if len(made) > SHOWN else ""
        print(f"imported {many(len(made), 'conversation')}: {', '.join(one.name for one in made[:SHOWN])}{more}")
    else:
        print(f"imported {many(len(made[0].turns), 'turn')} as {name}; go on with %%claude -c {shlex.quote(name)}")
    others = [] if pick and not picks_all else [one for one in found if not one.turns]  # which nobody can pick
    if missing := left_out_line(sum((one.left_out for one in [*chosen, *others]), Counter())):
        print(missing)
    return None


def _to_pick_from(found: Sequence[FileConversation], path: str) -> Table:
    rows = [
        (
            str(one.number),
            one.title,
            str(len(one.turns)),
            time.strftime("%Y-%m-%d", time.localtime(one.date)).replace("-", "\u2011") if one.date else "",
            left_out_line(one.left_out).removeprefix("left out: ") or ("" if one.turns else "no question with a reply"),
        )
        for one in found
    ]
    notes = [f"import one with --pick NUMBER -c NAME, or each as NAME/title with --pick all -c NAME; file: {path}"]
    return Table("Conversations in the file", ("#", "title", "turns", "date", "left out"), rows, notes)


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
