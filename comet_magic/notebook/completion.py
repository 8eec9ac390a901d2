"""Tab in a prompt: names and columns within `{{`, and nothing in prose; on the magic's line, what flag_completion says.

`extension` wraps IPython's completer with it: a matcher could only add to what IPython offers, which believes that a
prompt is Python. Other cells get what they got before.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..named_tuple import NamedTuple
from ..text import lazy_pattern
from .flag_completion import line_completions
from .magics import CometMagics

if TYPE_CHECKING:
    from ..describe.template import OpenExpression

Completions = Callable[[str, int], Iterable[Any]]


class Offered(NamedTuple):
    """start: where the word begins that `text` replaces, up to the cursor. kind: as front ends mark it."""

    start: int
    text: str
    kind: str


# The magics that may stand above one whose cell is a text, and run it.
_PROMPT_CELL = lazy_pattern(
    r"\s*(?:%%(?:capture|prun|time|timeit)\b[^\n]*\n\s*)*"
    r"(?=%%(?:claude|comet_image|comet_speech|comet_music|comet_video)(?:\s|$))"
)
_LINE_MAGIC = lazy_pattern(r"(?:[\w, ]+=)?\s*(%(?:claude|comet)\w*)[ \t]+")
_OF_PROSE = ("%claude", "%claude_fix")


def offered_at(before: str, completer: Any, original: Completions, magics: CometMagics) -> list[Offered] | None:
    """Return what to offer; None where the completer's own answer is right. before: the text up to the cursor."""
    cell = _PROMPT_CELL.match(before)
    line_at = before.rfind("\n") + 1
    if cell and line_at <= cell.end():
        return _on_line(before, cell.end(), magics)
    prompt = _Prompt(completer, original, magics)
    if cell:
        line_end = before.index("\n", cell.end())
        words = _words_of(before[cell.end() : line_end])
        return [] if "--literal" in words else prompt.offered(before, line_end + 1, _columns_of_rows(words, magics))
    line = _LINE_MAGIC.match(before, line_at)
    if line is None:
        return None
    if line[1] in _OF_PROSE and not (line[1] == "%claude_fix" and re.search(r"\s-[-\w]*$", before)):
        return prompt.offered(before, line.end())
    return _on_line(before, line.start(1), magics)


def _columns_of_rows(words: list[str], magics: CometMagics) -> list[str]:
    """Return the columns of the table that `--rows` names, which `row` has in the prompt; [] where it names none."""
    from ..describe.dependencies import table_library  # not at the top: loading stays quick

    name = next((name for flag, name in pairwise(words) if flag == "--rows"), "")
    table = magics.shell.user_ns.get(name)
    if table_library(table):
        return [str(column) for column in getattr(table, "columns", ())]
    is_list = type(table) is list and bool(table) and type(table[0]) is dict
    return list(map(str, table[0])) if is_list else []


# A word of a magic's line; one in quotes may be open at its end.
_WORD = lazy_pattern(r"""(?:"[^"]*(?:"|$)|'[^']*(?:'|$)|[^\s"'])+""")


def _words_of(line: str) -> list[str]:
    return [word[0] for word in _WORD.finditer(line)]


def _on_line(before: str, start: int, magics: CometMagics) -> list[Offered] | None:
    """Return what to offer on a magic's line, which begins at `start`."""
    words = list(_WORD.finditer(before, start))
    is_in_word = bool(words) and words[-1].end() == len(before)
    word_at = words[-1].start() if is_in_word else len(before)
    earlier = [word[0] for word in (words[:-1] if is_in_word else words)]
    offered = line_completions(earlier, before[word_at:], magics)
    return None if offered is None else [Offered(word_at, text, "param") for text in offered]


# What is asked, by a method, for a text: `sales.query("`, `sales.groupby(["`.
_METHOD = lazy_pattern(r"((?:\w|\.|\[[^\[\]]*\]|\([^()]*\))+)\.(\w+)$")
_OF_EXPRESSIONS = ("query", "eval")
_OF_FILES = ("to_", "save", "write", "read")
LONGEST_TABLE = 500  # characters of an expression that is looked at for the table that it begins with


# A column of the row, as an attribute or in brackets.
_OF_ROW = lazy_pattern(r"""(?<![\w.])row(?:(\.)|\[["'])([^"'\]]*)$""")


class _Prompt:
    """Completes in prompts, with the help of IPython's completer for what is Python in them."""

    def __init__(self, completer: Any, original: Completions, magics: CometMagics) -> None:
        self._completer, self._original, self._magics = completer, original, magics

    def offered(self, before: str, start: int, row_columns: Sequence[str] = ()) -> list[Offered]:
        """Return what to offer at the end of `before`, in a prompt that begins at `start`.

        row_columns: those that `row` has in the prompt.
        """
        from ..describe.template import open_expression  # not at the top: loading stays quick

        expression = open_expression(before, start)
        if expression is None:
            return []
        if columns := self._columns(expression):
            return columns
        source = expression.source.lstrip()
        start = len(before) - len(source)
        if row_columns and (word := _OF_ROW.search(source)):
            is_name = bool(word[1])
            return [
                Offered(len(before) - len(word[2]), name, "param")
                for name in row_columns
                if name.startswith(word[2]) and (name.isidentifier() if is_name else '"' not in name)
            ]
        found = [one for one in self._original(source, len(source)) if not one.text.startswith("%")]
        offered = [Offered(start + one.start, one.text, one.type) for one in found]
        word = re.search(r"(?<![\w.])\w*$", source) if expression.quote is None else None
        if word is None:
            return offered
        known = {one.text for one in offered}
        names = [*self._magics.executions.names(), *(["row"] if row_columns else [])]
        own = [name for name in names if name.startswith(word[0]) and name not in known]
        return [*offered, *(Offered(start + word.start(), name, "instance") for name in own)]

    def _columns(self, expression: OpenExpression) -> list[Offered]:
        """Return the columns of a table of which a method is being given a text; [] elsewhere."""
        source = expression.source
        call = next((at for at in reversed(expression.brackets) if source[at] == "("), None)
        if call is None or expression.quote is None:
            return []
        method = _METHOD.search(source[:call].rstrip()[-LONGEST_TABLE:])
        if method is None or method[2].startswith(_OF_FILES):
            return []
        mark, text = source[expression.quote], source[expression.quote + 1 :]
        is_expression = method[2] in _OF_EXPRESSIONS
        if is_expression and text.count('"' if mark == "'" else "'") % 2:  # in a text within it
            return []
        word = (re.search(r"`[^`]*$|\w*$", text) or [""])[0] if is_expression else text
        names = [name for name in self._keys(method[1], word.lstrip("`")) if mark not in name and "\\" not in name]
        if is_expression:
            names = [name if name.isidentifier() and not word.startswith("`") else f"`{name}`" for name in names]
        return [Offered(expression.end - len(word), name, "param") for name in names]

    def _keys(self, table: str, prefix: str) -> list[str]:
        """Return the keys of a table that begin so; of one that calls have made, those of the one before them."""
        first = re.match(r"\w+", table)
        table = table if "(" not in table else first[0] if first else ""
        source = f'{table}["{prefix}'
        opening = len(source) - len(prefix)
        found = [one.text for one in self._original(source, len(source)) if one.start == opening and one.text[0] != "%"]
        if self._completer.auto_close_dict_keys:
            found = [text.removesuffix("]").removesuffix('"') for text in found]
        return [name for text in found if table and (name := _unescaped(text)) is not None]


def _unescaped(text: str) -> str | None:
    """Return a name that IPython offers to go on with behind a quote; None where that cannot be read."""
    try:
        return str(ast.literal_eval(f'"{text}"'))
    except (SyntaxError, ValueError):
        return None
