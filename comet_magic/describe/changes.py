"""What of a question has changed since it was asked, as far as that is known without running anything."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..messages.lasting import lasting
from ..messages.message import Message
from ..named_tuple import NamedTuple
from ..settings import CometSettings
from .description import CellName, no_cell_name
from .question import fill, value_of
from .template import Reference, pieces

YOUR_TEXT = "your text changed"
_LOOKED_UP = (
    *(ast.Expression, ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.Slice, ast.Tuple),
    *(ast.UnaryOp, ast.USub, ast.Load),
)
_OUTLINE = re.compile(r'<data name="notebook" type="outline[^\n]*>\n.*?\n</data[^>]*>\n?', re.DOTALL)
_UNKNOWN = "\ue0ff"  # stands for what is not known; no text of a question has it


class Change(NamedTuple):
    """why: what has changed, in words, "" where nothing is known to have.        question: as it is now.

    is_exact: all of it is known.
    """

    why: str
    question: Message
    is_exact: bool = False


def change_since(
    prompt: str, former: Message, settings: CometSettings, namespace: Mapping[str, Any],
    cell_name: CellName = no_cell_name,
) -> Change:  # fmt: skip
    """Compare a question with how it was asked.

    former: as it was asked. Only names, attributes and items are looked up in the namespace; of other references, and
    of names that are not there, it is taken that they are worth what they were.
    Raises: ConfigError for a prompt that could not be sent.
    """
    parts, was = pieces(prompt), lasting(former.text)
    outline = _OUTLINE.match(was)
    if bool(outline) != (settings.context == "notebook"):
        return Change("the context setting changed", former)
    was = was[outline.end() :] if outline else was
    references = [part for part in parts if isinstance(part, Reference)]
    known = [reference for reference in references if is_readable(reference, namespace)]
    try:
        now = _filled(parts, known, prompt, settings, namespace, cell_name)
        is_exact = len(known) == len(references) and not outline
        if _matches(now.text, was):
            is_same = not is_exact or _pictures(now) == _pictures(former)
            return Change("" if is_same else f"`{known[0].source}` changed", former if is_same else now, is_exact)
        if not _matches(_filled(parts, [], prompt, settings, namespace, cell_name).text, was):
            return Change(YOUR_TEXT, now, is_exact)
        for one in known:  # which of them is another by itself
            others = [reference for reference in known if reference != one]
            if _matches(_filled(parts, others, prompt, settings, namespace, cell_name).text, was):
                return Change(f"`{one.source}` changed", now, is_exact)
        return Change(f"`{known[0].source}` changed", now, is_exact)
    except ConfigError:  # it cannot be described; when the notebook is run, it may be
        return Change("", former)


def _filled(
    parts: list[str | Reference], known: list[Reference], prompt: str, settings: CometSettings,
    namespace: Mapping[str, Any], cell_name: CellName,
) -> Message:  # fmt: skip
    filled = [part if isinstance(part, str) or part in known else _UNKNOWN for part in parts]
    return fill(filled, prompt, settings, namespace, cell_name)


def _matches(now: str, was: str) -> bool:
    """Return whether a text is what it was. now: with a mark for each part that is not known."""
    form = "(?:.*?)".join(map(re.escape, lasting(now).split(_UNKNOWN)))
    return re.fullmatch(form, was, re.DOTALL) is not None


def _pictures(message: Message) -> list[Any]:
    return [block for block in message.content if block["type"] != "text"]


def is_readable(reference: Reference, namespace: Mapping[str, Any]) -> bool:
    """Return whether its value can be looked up, and nothing is run for it."""
    if not reference.names <= set(namespace) or not all(
        isinstance(node, _LOOKED_UP) for node in ast.walk(reference.tree)
    ):
        return False
    try:
        value_of(reference, dict(namespace))
    except ConfigError:  # when the notebook is run, it may be there
        return False
    return True
