r"""The `{{expr}}` of a prompt, found in one pass. All else is text: single braces, JSON, f-strings and LaTeX.

`\{{` is a literal `{{`; a `{{` that nothing closes, and an empty `{{}}`, are text.
"""

from __future__ import annotations

import ast
import warnings
from typing import NamedTuple

from .errors import ConfigError

CLOSINGS = 50  # `}}` that are tried as the end of one reference; an expression may have some of its own
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
    """Texts and references, in order. Raises: ConfigError for a reference that is no Python expression."""
    found: list[str | Reference] = []
    text_from = at = first = 0
    while (start := prompt.find("{{", at)) >= 0:
        if start > text_from and prompt[start - 1] == "\\":
            found.append(prompt[text_from : start - 1])
            text_from, at = start, start + 2
            continue
        if first >= 0:  # if nothing closes one, nothing closes a later one
            first = prompt.find("}}", start + 2)
        closed = _closed(prompt, start + 2, first) if first >= 0 else None
        if closed is None:  # it is text, up to where the next may begin
            at = start + 2
            continue
        reference, end = closed
        found += [prompt[text_from:start], reference]
        text_from = at = end
    found.append(prompt[text_from:])
    return [piece for piece in found if piece]


def _closed(prompt: str, start: int, end: int) -> tuple[Reference, int] | None:
    """The reference that begins at `start`, and where it ends; None if what is there is text.

    end: where the first `}}` is. The first one that makes an expression closes it: one may be within a dict or a text.
    """
    if end - start > LONGEST or not prompt[start:end].strip():
        return None
    first = prompt[start:end]
    for _ in range(CLOSINGS):
        if end < 0 or end - start > LONGEST:
            break
        if tree := _parsed(prompt[start:end]):
            return Reference(prompt[start:end].strip(), tree), end + 2
        end = prompt.find("}}", end + 1)
    if "{{" in first:  # not closed before the next one begins
        return None
    shown = first.strip() if len(first) < 80 else f"{first.strip()[:80]}…"
    raise ConfigError(
        f"{{{{{shown}}}}} is no Python expression",
        r"nothing was sent; mend it, or write \{{ where the braces are meant as text",
    )


def _parsed(source: str) -> ast.Expression | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is not a reference in the end, too
            return ast.parse(f"({source.strip()}\n)", "<reference>", "eval")  # brackets, as it may have line breaks
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
