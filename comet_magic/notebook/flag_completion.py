"""Tab on a magic's line: its flags, and the values of the flag before."""

from __future__ import annotations

import re
import shlex
import types
from collections.abc import Iterable
from functools import partial
from typing import Any

from ..settings import ALIASES, EFFORTS
from ..text import expanded
from .magics import CometMagics


def line_completions(before: list[str], word: str, magics: CometMagics) -> list[str] | None:
    """Return what may end a magic's line: flags, or values of the flag before; None where files may stand.

    before: the words of the line, from the magic on, but for the last, which is not ended: `word`.
    """
    from .flags import FIX_FLAGS, ONLY_FLAGS, parser
    from .history_magic import continue_parser, history_parser
    from .media_flags import KINDS, MAGICS, jobs_parser, media_parser, resume_parser

    if not before:
        return None
    parsers: dict[str, Any] = {
        "%%claude": parser,
        "%claude_history": history_parser,
        "%claude_continue": continue_parser,
    }
    parsers |= {magic: partial(media_parser, magic) for magic in MAGICS}
    parsers |= {"%comet_resume": resume_parser, "%comet_jobs": jobs_parser}
    without_parser = {"%claude_fix": FIX_FLAGS, **{magic: (flag,) for magic, flag in ONLY_FLAGS.items()}}
    actions: dict[str, Any] = dict.fromkeys(without_parser.get(before[0], ()))
    if before[0] in parsers:
        actions = parsers[before[0]]()._option_string_actions
    flag, has_value, value = word.partition("=")
    if has_value and flag in actions and flag in _QUOTED:
        return [f"{flag}={candidate}" for candidate in _quoted_values(flag, value, magics)]
    if has_value and flag in actions:
        return [f"{flag}={candidate}" for candidate in _starting(value, _values(flag, magics))]
    if before in (["%comet_resume"], ["%comet_jobs", "--drop"]) and not word.startswith("-"):
        return _starting(word, _jobs(magics))
    flag = before[-1]
    takes_value = getattr(actions.get(flag), "nargs", 0) is None
    if takes_value and flag in _QUOTED:
        return _quoted_values(flag, word, magics)
    if takes_value and not word.startswith("-"):
        if flag in ("-m", "--model") and before[0] in KINDS:
            return _starting(word, _models(KINDS[before[0]], magics))
        return _starting(word, getattr(actions[flag], "choices", None) or _values(flag, magics))
    if before[0] == "%comet_transcribe" and not word.startswith("-"):
        return None
    return [candidate for candidate in actions if candidate.startswith("--") and candidate.startswith(word)]


def _models(kind: str, magics: CometMagics) -> list[str]:
    """Return the models of a kind that the endpoint has named, as far as it was asked; it is not asked for this."""
    from ..api.endpoint import find_endpoint
    from ..errors import CometError
    from ..exchange.session import current

    try:
        endpoint = find_endpoint(magics.settings, offline=True)
    except CometError:
        return []
    known = current().known_models(current().store(magics.settings), endpoint.name).values()
    return sorted(one.id for one in known if one.kind == kind)


def _jobs(magics: CometMagics) -> list[str]:
    from ..exchange.session import current
    from ..media.run import jobs

    return [job.name for job in jobs(magics.settings, current())]


def _starting(word: str, known: Iterable[str]) -> list[str]:
    *listed, now = re.split(r"(?<=[,\['\"])\s*", word)  # behind a comma, a bracket or a quote begins another name
    head = word[: len(word) - len(now)] if listed else ""
    return [f"{head}{candidate}" for candidate in known if candidate.startswith(now)]


def _files(word: str) -> list[str]:
    """Return the files and folders whose path begins with a word, which may be in quotes that are open."""
    start = word.lstrip("'\"")
    shown = start[: start.rfind("/") + 1]
    folder = expanded(shown or ".")
    try:
        paths = sorted(path for path in folder.iterdir() if path.name.startswith(start[len(shown) :]))
    except OSError:
        return []
    hides = not start[len(shown) :].startswith(".")
    names = [f"{shown}{path.name}{'/' * path.is_dir()}" for path in paths if not (hides and path.name.startswith("."))]
    return list(map(_in_quotes, names))


_QUOTED = ("--export", "--import", "-c", "--chat")  # their values may have spaces


def _quoted_values(flag: str, word: str, magics: CometMagics) -> list[str]:
    """Return what may stand behind one of these flags, in quotes where it needs them; the word may have begun one."""
    if flag in ("--export", "--import"):
        return _files(word)
    return [name for name in _values(flag, magics) if name.lstrip("'\"").startswith(word.lstrip("'\""))]


def _in_quotes(name: str) -> str:
    """Return a path with a quote before it, where it has a sign that would end the word; the quote stays open."""
    if re.fullmatch(r"[\w@%+=:,./~-]*", name):
        return name
    return f"'{name}" if '"' in name else f'"{name}'


def _is_tool(value: object) -> bool:
    from ..tools.functions import is_tool

    return issubclass(type(value), _ROUTINES) or is_tool(value)


# By the class of a value: a proxy may raise when it is asked.
_ROUTINES = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_TYPES = ("int", "float", "str", "bool", "list[", "dict[str,", "Literal[", "DataFrame")


def _values(flag: str, magics: CometMagics) -> Iterable[str]:
    """Return what may stand behind a flag; nothing for one whose values only the user knows."""
    own = {name: value for name, value in magics.shell.user_ns.items() if not name.startswith("_")}
    own = {name: value for name, value in own.items() if name not in magics.shell.user_ns_hidden}
    match flag:
        case "-m" | "--model":
            return dict.fromkeys([*{**ALIASES, **magics.settings.aliases}, *magics.offered])
        case "-c" | "--chat":
            from .. import conversations
            from ..exchange.session import store_path

            return map(shlex.quote, conversations.names()) if store_path(magics.settings).exists() else ()
        case "--effort":
            return EFFORTS
        case "--think":
            return ("off", "adaptive")
        case "--as":
            return [*_TYPES, *sorted(name for name, value in own.items() if issubclass(type(value), type))]
        case "--tools":
            return ["query", *sorted(name for name, value in own.items() if _is_tool(value))]
        case "-o" | "--into" | "--mask":
            return sorted(own)
        case "--rows":
            from ..describe.dependencies import table_library

            return sorted(name for name, value in own.items() if table_library(value))
        case "--nulls":
            return ("skip", "send")
    return ()
