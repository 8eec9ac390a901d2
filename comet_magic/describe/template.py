r"""The `{{expr}}` of a prompt, found in one pass. All else is text: single braces, JSON, f-strings and LaTeX.

`\{{` is a literal `{{`; a `{{` that nothing closes, and an empty `{{}}`, are text.
"""

from __future__ import annotations

import ast
import re
import warnings

from ..errors import ConfigError
from ..named_tuple import NamedTuple
from ..text import lazy_pattern

CLOSINGS = 50  # `}}` that are tried as the end of one reference; an expression may have some of its own
CLOSINGS_OF_OPEN = 5  # of one that another begins in
MOST_PARSED = 1_000_000  # characters, in all tries for one prompt: about a second
LONGEST = 10_000  # characters of an expression; what is not closed by then is text


class Reference(NamedTuple):
    """source: what stands between the braces.        tree: the same, parsed."""

    source: str
    tree: ast.Expression

    def __str__(self) -> str:
        return f"{{{{{self.source}}}}}"

    @property
    def names(self) -> set[str]:
        return {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)}


def pieces(prompt: str) -> list[str | Reference]:
    """Return texts and references, in order. Raises: ConfigError for a reference that is not a Python expression."""
    return _Scan(prompt).pieces()


class _Scan:
    """One pass through one prompt."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._left = MOST_PARSED

    def pieces(self) -> list[str | Reference]:
        prompt, parts = self._prompt, list[str | Reference]()
        text_from = at = first = 0
        while (start := prompt.find("{{", at)) >= 0:
            if start > text_from and prompt[start - 1] == "\\":
                parts.append(prompt[text_from : start - 1])
                text_from, at = start, start + 2
                continue
            if first >= 0:  # if nothing closes one, nothing closes a later one
                first = prompt.find("}}", start + 2)
            closed = self._closed(start + 2, first) if first >= 0 else None
            if closed is None:  # it is text, up to where the next may begin
                at = start + 2
                continue
            reference, end = closed
            parts += [prompt[text_from:start], reference]
            text_from = at = end
        parts.append(prompt[text_from:])
        return [piece for piece in parts if piece]

    def _closed(self, start: int, end: int) -> tuple[Reference, int] | None:
        """Return the reference that begins at `start`, and where it ends; None if what is there is text.

        end: where the first `}}` is. The first that makes an expression closes it: one may be within a dict or a text.
        """
        if end - start > LONGEST or not self._prompt[start:end].strip():
            return None
        first = self._prompt[start:end]
        is_open = "{{" in first  # another one begins before it is closed, so it is most likely text
        for _ in range(CLOSINGS_OF_OPEN if is_open else CLOSINGS):
            if end < 0 or end - start > LONGEST:
                break
            if tree := self._parsed(self._prompt[start:end]):
                return Reference(self._prompt[start:end].strip(), tree), end + 2
            end = self._prompt.find("}}", end + 1)
        if is_open:
            return None
        raise _no_expression(f"{{{{{_start_of(first)}}}}} is not a Python expression")

    def _parsed(self, source: str) -> ast.Expression | None:
        self._left -= len(source)
        if self._left < 0:
            raise _no_expression("there is too much between {{ and }} that is not an expression")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is not a reference in the end, too
                # In brackets, as it may have line breaks.
                tree = ast.parse(f"({source.strip()}\n)", "<reference>", "eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None
        # Nothing but a comment would be an empty tuple.
        return None if source.lstrip().startswith("#") else tree


class OpenExpression(NamedTuple):
    """An expression that is being written: from behind its `{{` to the end of the text.

    end: where that is in the whole text.        brackets: where those begin that are open, in `source`.
    quote: where the text begins that is open, in `source`; None where none is.
    """

    source: str
    end: int
    brackets: tuple[int, ...]
    quote: int | None


def open_expression(before: str, start: int = 0) -> OpenExpression | None:
    """Return the expression that is open at the end of a text; None in prose. start: where the prompt begins in it.

    A blank line, or `}}` where no bracket and no text is open, ends what never was an expression.
    """
    found, at, left = None, start, MOST_PARSED
    while (at := before.find("{{", at)) >= 0:
        at += 2
        if before[at - 3 : at - 2] == "\\" and at - 2 > start:
            continue
        expression = _open_or_end(before, at)
        left -= expression - at if isinstance(expression, int) else min(len(before) - at, LONGEST)
        if left < 0:
            return None
        if isinstance(expression, int):
            found, at = None, expression
        elif expression:
            found = expression
    return found


# A text that is closed, or its beginning; a bracket; an end.
_PART = lazy_pattern(
    r"""\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|(?P<long_quote>"{3}|'{3})"""
    r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|(?P<quote>["'])"""
    r"""|(?P<open>[(\[{])|(?P<end>\}\})|(?P<close>[)\]}])|(?P<blank>\n[ \t]*\n)""",
    re.DOTALL,
)


def _open_or_end(before: str, start: int) -> OpenExpression | int | None:
    """Return the expression that begins at `start`, or where it ends; None where it never was one."""
    source, brackets = before[start : start + LONGEST + 1], list[int]()
    at = 0
    while part := _PART.search(source, at):
        at = part.end()
        if part["long_quote"] or part["quote"]:
            is_text = part["long_quote"] or "\n" not in source[at:]
            return OpenExpression(source, len(before), tuple(brackets), at - 1) if is_text else None
        if part["open"]:
            brackets.append(part.start())
        elif brackets and (part["close"] or part["end"]):
            brackets.pop()
            at = part.start() + 1
        elif part["end"]:
            return start + at
        elif part["blank"] and not brackets:
            return None
    return OpenExpression(source, len(before), tuple(brackets), None) if len(source) <= LONGEST else None


def _no_expression(what: str) -> ConfigError:
    return ConfigError(what, r"nothing was sent; correct it, or write \{{ where the braces are text")


def _start_of(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 80 else f"{text[:80]}…"
