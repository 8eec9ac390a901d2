"""What of a question has changed since it was asked, as far as that is known without running anything."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..messages.message import Message
from ..settings import CometSettings
from .question import fill, value_of
from .template import Reference, pieces

YOUR_TEXT = "your text changed"
_RUNS = (ast.Call, ast.Await, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr, ast.Yield)


def change_since(
    prompt: str, former: Message, settings: CometSettings, namespace: Mapping[str, Any]
) -> tuple[str, Message]:
    """Return what has changed, in words, "" where nothing is known to have; and the question as it is now.

    former: the question as it was asked. Only references that call nothing are looked up in the namespace; of others,
    and of names that are not there, it is taken that they are worth what they were.
    Raises: ConfigError for a prompt that could not be sent.
    """
    parts = pieces(prompt)
    references = [part for part in parts if isinstance(part, Reference)]
    was = former.text
    if settings.context == "notebook":
        was = re.sub(r'^<data name="notebook" .*?\n</data[^>]*>\n?', "", was, count=1, flags=re.DOTALL)
    form = re.compile("".join("(.*?)" if isinstance(part, Reference) else re.escape(part) for part in parts), re.DOTALL)
    then = form.fullmatch(was)
    if then is None:
        return YOUR_TEXT, Message.user("".join(map(str, parts)))
    known = [reference for reference in references if is_readable(reference, namespace)]
    if not known:
        return "", former
    texts = dict(zip(_places(parts), then.groups(), strict=True))
    filled = [part if isinstance(part, str) or part in known else texts[at] for at, part in enumerate(parts)]
    try:
        now = fill(filled, prompt, settings, namespace)
    except ConfigError:  # it cannot be described
        return "", former
    again = form.fullmatch(now.text)
    worth = zip(references, then.groups(), again.groups(), strict=True) if again else ()
    changed = next((reference for reference, one, other in worth if one != other), None)
    if changed is None and now.text == was and len(known) == len(references) and was == former.text:
        pictures = [block for block in now.content if block["type"] != "text"]
        changed = known[0] if pictures != [block for block in former.content if block["type"] != "text"] else None
    return (f"`{changed.source}` changed", now) if changed else ("", former)


def _places(parts: list[str | Reference]) -> list[int]:
    return [at for at, part in enumerate(parts) if isinstance(part, Reference)]


def is_readable(reference: Reference, namespace: Mapping[str, Any]) -> bool:
    """Return whether its value can be looked up, and nothing is run for it."""
    if not reference.names <= set(namespace) or any(isinstance(node, _RUNS) for node in ast.walk(reference.tree)):
        return False
    try:
        value_of(reference, dict(namespace))
    except ConfigError:  # when the notebook is run, it may be there
        return False
    return True
