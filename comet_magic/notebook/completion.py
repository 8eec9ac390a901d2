"""Tab on a magic's line: flags, and the values of the flag before."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from ..settings import ALIASES, EFFORTS

if TYPE_CHECKING:
    from collections.abc import Iterable

from .magics import CometMagics


def matcher(magics: CometMagics) -> Any:
    from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

    @context_matcher()
    def claude_flags(context: CompletionContext) -> SimpleMatcherResult:
        words = completions(context.line_with_cursor, magics) if context.cursor_line == 0 else []
        matches = [SimpleCompletion(word, type="param") for word in words]
        return SimpleMatcherResult(completions=matches, suppress=bool(matches))

    return claude_flags


def completions(line: str, magics: CometMagics) -> list[str]:
    """Return what may end a `%%claude` or `%claude_history` line: flags, or values of the flag before."""
    from .flags import parser

    magic, space, rest = line.lstrip().partition(" ")
    if magic not in ("%%claude", "%claude_history") or not space:
        return []
    *before, word = rest.split(" ")
    if before and before[-1] in ("-c", "--chat"):
        from .. import conversations

        known: Iterable[str] | None = conversations.names()
    elif magic == "%claude_history":
        from .history_magic import history_parser

        known = history_parser()._option_string_actions
    else:
        models = [*{**ALIASES, **magics.settings.aliases}, *magics.offered]
        values = {"-m": models, "--model": models, "--effort": EFFORTS, "--think": ("off", "adaptive")}
        known = (values.get(before[-1]) or _names_for(before[-1], magics)) if before else None
    if known is not None and not word.startswith("-"):
        *listed, word_now = re.split(r"(?<=[,\['])", word)  # behind a comma or a bracket begins another name
        return [f"{''.join(listed)}{candidate}" for candidate in known if candidate.startswith(word_now)]
    words = known or [flag for flag in parser()._option_string_actions if flag.startswith("--")]
    return [candidate for candidate in words if candidate.startswith(word)]


_TYPES = ("int", "float", "str", "bool", "list[", "dict[str,", "Literal[", "DataFrame")


def _names_for(flag: str, magics: CometMagics) -> list[str] | None:
    """Return what may stand behind `--as`, `--tools` or `-o`: types, functions, names; None for other flags."""
    own = {name: value for name, value in magics.shell.user_ns.items() if not name.startswith("_")}
    own = {name: value for name, value in own.items() if name not in magics.shell.user_ns_hidden}
    match flag:
        case "--as":
            return [*_TYPES, *sorted(name for name, value in own.items() if isinstance(value, type))]
        case "--tools":
            is_function = (name for name, value in own.items() if inspect.isroutine(value))
            return ["query", *sorted(is_function)]
        case "-o" | "--into":
            return sorted(own)
    return None
