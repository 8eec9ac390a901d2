"""`%claude_history` with its flags → one call of `conversations`, or a table."""

from __future__ import annotations

from functools import cache

from . import conversations
from .errors import ConfigError
from .flags import Flags
from .grid import Table
from .history import all_conversations, history
from .settings import CometSettings


@cache
def history_parser() -> Flags:
    parser = Flags("%claude_history", description="-c NAME names a conversation", add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--chat", default="")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true")
    what.add_argument("--forget", type=int)
    what.add_argument("--fork")
    what.add_argument("--rename")
    what.add_argument("--delete", action="store_true")
    what.add_argument("--export")
    what.add_argument("--import", dest="load")
    what.add_argument("--prune")
    return parser


def history_command(settings: CometSettings, line: str, here: str) -> Table | None:
    """here: the conversation that is meant where none is named. Raises: ConfigError."""
    flags = history_parser().flags_of(line)
    name = flags.chat or here
    if flags.all:
        return all_conversations(settings)
    said = _done(flags, name)
    if said is None:
        return history(settings, name)
    print(said)
    return None


def _done(flags: object, name: str) -> str | None:
    """What was done, in words; None if nothing was asked for."""
    match {flag: value for flag, value in vars(flags).items() if value and flag not in ("chat", "all")}:
        case {"forget": number}:
            conversations.forget(number, name)
            return f"forgot turn {number} of {name}"
        case {"fork": new}:
            conversations.fork(new, name)
            count = len(conversations.get(name).turns)
            return f"{new} begins with the {count} turns of {name}; use it with %%claude -c {new!r}"
        case {"rename": new}:
            conversations.rename(new, name)
            return f"{name} is now {new}; use it with %%claude -c {new!r}"
        case {"delete": True}:
            conversations.delete(name)
            return f"deleted {name}; what it cost stays in %claude_usage"
        case {"export": path}:
            return f"exported to {conversations.export(path, name)}"
        case {"load": path}:
            if not vars(flags)["chat"]:
                raise ConfigError("an import needs a name: %claude_history --import FILE -c NAME")
            count = len(conversations.load(path, name).turns)
            return f"imported {count} turns as {name}; use it with %%claude -c {name!r}"
        case {"prune": age}:
            return f"removed {conversations.prune(age):,} replies that were older than {age}"
    return None
