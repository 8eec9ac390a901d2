"""Tab in a prompt: names and columns within `{{`, flags and their values on the magic's line, and nothing in prose.

A matcher could only add to what IPython offers, which believes that a prompt is Python. So the completer's own
`completions` is wrapped, which is what ipykernel and IPython's terminal call. Other cells get what they got before.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..settings import ALIASES, EFFORTS
from ..text import lazy_pattern
from .magics import CometMagics

if TYPE_CHECKING:
    from ..describe.template import OpenExpression

Completions = Callable[[str, int], Iterable[Any]]


def complete_prompts(completer: Any, magics: CometMagics) -> Callable[[], None]:
    """Wrap `completer.completions`. Returns: what undoes that."""
    from IPython.core.completer import Completion, provisionalcompleter

    original: Completions = completer.completions

    def completions(text: str, offset: int) -> Iterator[Any]:
        with provisionalcompleter():
            offered = _offered(text[:offset], original, magics)
            if offered is None:
                yield from original(text, offset)
                return
            for start, word, kind in offered:
                yield Completion(start, offset, word, type=kind)

    completer.completions = completions

    def undo() -> None:
        if completer.__dict__.get("completions") is completions:
            del completer.completions

    return undo


class Offered(NamedTuple):
    """start: where the word begins that `text` replaces, up to the cursor. kind: as front ends mark it."""

    start: int
    text: str
    kind: str


# The magics that may stand above `%%claude`, and run it.
_PROMPT_CELL = lazy_pattern(r"\s*(?:%%(?:capture|prun|time|timeit)\b[^\n]*\n\s*)*(?=%%claude(?:\s|$))")
_LINE_MAGIC = lazy_pattern(r"(?:[\w, ]+=)?\s*(%claude\w*)[ \t]+")
_OF_PROSE = ("%claude", "%claude_fix")


def _offered(before: str, original: Completions, magics: CometMagics) -> list[Offered] | None:
    """Return what to offer; None where the completer's own answer is right. before: the text up to the cursor."""
    cell = _PROMPT_CELL.match(before)
    line_at = before.rfind("\n") + 1
    if cell and line_at <= cell.end():
        words = line_completions(before[cell.end() :], magics)
        return _words(before, words)
    if cell:
        return _in_prompt(before, before.index("\n", cell.end()) + 1, original)
    line = _LINE_MAGIC.match(before, line_at)
    if line is None:
        return None
    if line[1] in _OF_PROSE and not (line[1] == "%claude_fix" and re.search(r"\s-[-\w]*$", before)):
        return _in_prompt(before, line.end(), original)
    return _words(before, line_completions(before[line.start(1) :], magics))


def _words(before: str, words: list[str] | None) -> list[Offered] | None:
    start = max(before.rfind(space) for space in " \t\n") + 1
    return None if words is None else [Offered(start, word, "param") for word in words]


def _in_prompt(before: str, start: int, original: Completions) -> list[Offered]:
    """Return what to offer in a prompt that begins at `start`."""
    from ..describe.template import open_expression  # not at the top: loading stays quick

    expression = open_expression(before, start)
    if expression is None:
        return []
    if columns := _columns(expression, original):
        return columns
    source = expression.source.lstrip()
    start = len(before) - len(source)
    found = [one for one in original(source, len(source)) if not one.text.startswith("%")]
    return [Offered(start + one.start, one.text, one.type) for one in found]


# What is asked, by a method, for a text: `sales.query("`, `sales.groupby(["`.
_METHOD = lazy_pattern(r"((?:\w|\.|\[[^\[\]]*\]|\([^()]*\))+)\.(\w+)$")
_OF_EXPRESSIONS = ("query", "eval")
LONGEST_TABLE = 500  # characters of an expression that is looked at for the table that it begins with


def _columns(expression: OpenExpression, original: Completions) -> list[Offered]:
    """Return the columns of a table of which a method is being given a text; [] elsewhere."""
    source = expression.source
    call = next((at for at in reversed(expression.brackets) if source[at] == "("), None)
    method = (
        _METHOD.search(source[:call].rstrip()[-LONGEST_TABLE:])
        if call is not None and expression.quote is not None
        else None
    )
    if method is None or expression.quote is None:
        return []
    text = source[expression.quote + 1 :]
    is_expression = method[2] in _OF_EXPRESSIONS
    word = (re.search(r"`[^`]*$|\w*$", text) or [""])[0] if is_expression else text
    names = _keys(method[1], word.lstrip("`"), original)
    if is_expression:
        names = [name if name.isidentifier() and not word.startswith("`") else f"`{name}`" for name in names]
    return [Offered(expression.end - len(word), name, "param") for name in names]


def _keys(table: str, prefix: str, original: Completions) -> list[str]:
    """Return the keys that begin so, of the table or, where that is made by calls, of the one that it is made of."""
    first = re.match(r"\w+", table)
    for name in dict.fromkeys([table, first[0] if first else ""]):
        source = f'{name}["{prefix}'
        opening = len(source) - len(prefix)
        found = [one.text for one in original(source, len(source)) if one.start == opening and one.text[0] != "%"]
        if name and found:
            return [text.rstrip('"]') for text in found]
    return []


def line_completions(line: str, magics: CometMagics) -> list[str] | None:
    """Return what may end a magic's line: flags, or values of the flag before; None where files may stand.

    line: from the magic to the cursor.
    """
    from .flags import parser
    from .history_magic import history_parser

    magic, *before = re.split(r"[ \t]+", line.lstrip())
    if not before:
        return None
    word = before.pop()
    parsers = {"%%claude": parser, "%claude_history": history_parser}
    actions = parsers[magic]()._option_string_actions if magic in parsers else _ACTIONS.get(magic, {})
    flag, has_value, value = word.partition("=")
    if has_value and flag in actions:
        return [f"{flag}={candidate}" for candidate in _starting(value, _values(flag, magics) or ())]
    flag = before[-1] if before else ""
    takes_value = getattr(actions.get(flag), "nargs", 0) is None
    if takes_value and flag in ("--export", "--import"):
        return None
    if takes_value and not word.startswith("-"):
        return _starting(word, _values(flag, magics) or ())
    return [candidate for candidate in actions if candidate.startswith("--") and candidate.startswith(word)]


_ACTIONS: dict[str, dict[str, Any]] = {
    "%claude_usage": {"--all": None},
    "%claude_fix": {"--cell": None, "--dry-run": None},
}


def _starting(word: str, known: Iterable[str]) -> list[str]:
    *listed, now = re.split(r"(?<=[,\['])", word)  # behind a comma or a bracket begins another name
    return [f"{''.join(listed)}{candidate}" for candidate in known if candidate.startswith(now)]


_TYPES = ("int", "float", "str", "bool", "list[", "dict[str,", "Literal[", "DataFrame")


def _values(flag: str, magics: CometMagics) -> Iterable[str] | None:
    """Return what may stand behind a flag; None for one whose values are the user's."""
    own = {name: value for name, value in magics.shell.user_ns.items() if not name.startswith("_")}
    own = {name: value for name, value in own.items() if name not in magics.shell.user_ns_hidden}
    match flag:
        case "-m" | "--model":
            return dict.fromkeys([*{**ALIASES, **magics.settings.aliases}, *magics.offered])
        case "-c" | "--chat":
            from .. import conversations

            return map(shlex.quote, conversations.names())
        case "--effort":
            return EFFORTS
        case "--think":
            return ("off", "adaptive")
        case "--as":
            return [*_TYPES, *sorted(name for name, value in own.items() if isinstance(value, type))]
        case "--tools":
            return ["query", *sorted(name for name, value in own.items() if inspect.isroutine(value))]
        case "-o" | "--into":
            return sorted(own)
    return None
