"""A prompt with its `{{expr}}` filled in, once, from a namespace: the question as a message, and what is in it.

Values are never read again as a template. Whatever cannot be filled in stops the question before anything is sent.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..messages.framed import framed, unframed
from ..messages.message import ContentBlock, Message
from ..named_tuple import NamedTuple
from ..settings import CometSettings
from ..suggestions import nearest_to
from ..text import cut, exception_text, lazy_pattern, many, shown_path
from .dependencies import table_library
from .description import CellName, Description, Limits, no_cell_name
from .template import Reference, pieces

YOURS = "your text"
NOTHING: Mapping[str, Any] = {}
SHOWN = 60  # characters of a reference in the line under a reply


class Question(NamedTuple):
    """message: what is sent.        parts: what is in it, each in words: the user's own text first.

    note: what is to be said of it under the reply, "" if nothing is.
    tables: the values in it that are tables, by the expressions that name them.
    extras: what else goes along, in words: tools, a schema.
    """

    message: Message
    parts: tuple[str, ...] = (YOURS,)
    note: str = ""
    tables: Mapping[str, Any] = {}
    extras: tuple[str, ...] = ()

    @property
    def sent(self) -> tuple[str, ...]:
        return (*self.parts, *self.extras)

    def with_repeats(self, names: Iterable[str]) -> Question:
        """Return the question that says which of its data is not sent again. names: of that."""
        again = {cut(name, SHOWN) for name in names}
        parts = [f"{name} (as given above)" if (name := _name_of(part)) in again else part for part in self.parts]
        return self._replace(parts=tuple(parts)) if again else self

    def with_note(self, note: str) -> Question:
        return self._replace(note="; ".join(filter(None, [self.note, note])))

    @property
    def has_data(self) -> bool:
        """Whether there is more in it than the user's text."""
        return len(self.parts) > 1


def _name_of(part: str) -> str:
    """Return the name in `df (1,000 × 3, card of 212 tokens)`."""
    return part[: part.rindex(" (")] if part.endswith(")") and " (" in part else part


def question(
    prompt: str, settings: CometSettings, namespace: Mapping[str, Any] | None = None,
    cell_name: CellName = no_cell_name, *, context: Mapping[str, Any] = NOTHING,
) -> Question:  # fmt: skip
    """Fill in a prompt. namespace: what references are looked up in; None: the prompt is text, whatever is in it.

    context: values that go along before the prompt, by name.
    Raises: ConfigError when there is nothing to send, or a reference cannot be filled in.
    """
    if not isinstance(prompt, str):
        raise ConfigError(f"a prompt is a text, not {type(prompt).__name__}", "make it one with str()")
    pieces_of: list[str | Reference] = pieces(prompt) if namespace is not None else [prompt]
    if not any(isinstance(piece, Reference) for piece in pieces_of) and not context:
        filled = Question(Message.user("".join(map(str, pieces_of))))
    else:
        limits = limits_of(settings, cell_name)._replace(about=prompt)
        filled = _filled(pieces_of, _scope(namespace or {}), limits, context)
    is_asked = bool(prompt.strip()) or not context
    if not is_asked or not any(
        block.get("type") != "text" or (block.get("text") or "").strip() for block in filled.message.content
    ):
        raise ConfigError("there is nothing to send: the prompt is empty", "write it below %%claude, or behind %claude")
    return filled


_BRACED = lazy_pattern(r"(?<!\{)\{\s*([A-Za-z_]\w*)((?:\.\w+|\[[^\[\]{}]*\])*)\s*\}(?!\})")


def braces_note(prompt: str, namespace: Mapping[str, Any]) -> str:
    """Return what to say of `{df}` in a prompt, where df is a table: one pair of braces is text; "" elsewhere."""
    tables = [found for found in _BRACED.finditer(prompt) if table_library(namespace.get(found[1]))]
    if not tables:
        return ""
    return f"{tables[0][0]} was sent as text: write {{{tables[0][0]}}} to send the table"


def fill(
    pieces_of: list[str | Reference], prompt: str, settings: CometSettings, namespace: Mapping[str, Any],
    cell_name: CellName = no_cell_name,
) -> Message:  # fmt: skip
    """Return a question of which some references may have been filled in already. Raises: ConfigError."""
    limits = limits_of(settings, cell_name)._replace(about=prompt)
    return _filled(pieces_of, _scope(namespace), limits, NOTHING).message


def as_before(message: Message, settings: CometSettings) -> Question:
    """Return a question that was asked already, with its data. Raises: ConfigError where that may not be shared."""
    if not settings.share_values:
        raise ConfigError(
            "what was asked may show values, and CometSettings.share_values = False keeps them here",
            "nothing was sent; run its cell again, or set it to True",
        )
    has_data = len(message.content) > 1 or unframed(message.text) != message.text
    return Question(message, (YOURS, "the data that it had")) if has_data else Question(message)


def limits_of(settings: CometSettings, cell_name: CellName = no_cell_name) -> Limits:
    from ..redaction import Redactor  # not at the top: most prompts name nothing

    return Limits(
        settings.table_tokens, settings.text_tokens, settings.image_pixels, settings.share_values,
        Redactor(settings.secrets()), cell_name,
    )  # fmt: skip


def _scope(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy, so that no expression can change the namespace; and one that lambdas see, too."""
    return {"Path": Path, **namespace}


def _filled(
    pieces_of: list[str | Reference], scope: dict[str, Any], limits: Limits, context: Mapping[str, Any]
) -> Question:
    from .registry import describe  # not at the top: most prompts name nothing

    writing, tables = QuestionBuilder(limits), dict[str, Any]()
    for name, value in context.items():
        for description in describe(value, limits):
            writing.add(name, description)
    for piece in pieces_of:
        if isinstance(piece, str):
            writing.text(piece)
        elif piece.source in writing.known:
            writing.again(piece.source)
        else:
            value = value_of(piece, scope)
            try:
                described = describe(value, limits)
            except ConfigError as error:
                raise ConfigError(f"{piece}: {error.what}", error.hint) from error
            name = piece.source
            if table_library(value):
                alias = name if name.isidentifier() else _alias(tables, scope)
                tables[alias] = value
                writing.alias(name, alias)
            for description in described:
                writing.add(name, description)
    return writing.question()._replace(tables=tables)


def _alias(tables: Mapping[str, Any], scope: Mapping[str, Any]) -> str:
    """Return a name for a table that an expression gives: for the model, and for the tool that queries it."""
    return next(name for number in count(1) if (name := f"table_{number}") not in tables and name not in scope)


def value_of(reference: Reference, scope: dict[str, Any]) -> Any:
    """Raises: ConfigError with the nearest names, for whatever the expression raises."""
    try:
        return eval(compile(reference.tree, f"<{reference.source}>", "eval"), scope)
    except Exception as error:  # the user's expression raises what it likes
        if isinstance(error, NameError) and error.name == "error":
            raise ConfigError(f"{reference}: no cell has failed", "nothing was sent") from None
        what_to_do = nearest_to(error, reference.tree, scope)
        if isinstance(error, OSError):
            what_to_do = f"check the path; the current folder is {shown_path(Path.cwd())}"
        elif not what_to_do and isinstance(reference.tree.body, ast.Name):  # as templates of others write them
            what_to_do = r"write \{{ where the braces are text"
        hint = "; ".join(filter(None, [what_to_do, "nothing was sent"]))
        raise ConfigError(
            f"{reference} raised {type(error).__name__}: {cut(exception_text(error), 300)}", hint
        ) from error


class QuestionBuilder:
    """A message in the making: lives for one question."""

    def __init__(self, limits: Limits, text: str = YOURS) -> None:
        """text: what the words around the values are, in words."""
        self._limits = limits
        self._blocks: list[ContentBlock] = []
        self._text = ""
        self._is_behind_frame = False
        self._parts = [text]
        self._aliases: dict[str, str] = {}
        self.known: dict[str, list[Description]] = {}

    def text(self, text: str) -> None:
        if self._is_behind_frame and not text.startswith("\n"):
            self._text += "\n"
        self._text += text
        self._is_behind_frame = False

    def add(self, name: str, description: Description) -> None:
        label_of = cut(name, SHOWN)
        again = name in self.known
        self.known.setdefault(name, []).append(description)
        label = description.label or ("" if description.is_inline else f"{description.tokens:,} tokens")
        if not again or label:
            self._parts.append(f"{label_of} ({label})" if label else label_of)
        self._write(name, description)

    def alias(self, name: str, alias: str) -> None:
        """Call a value by a plain name, too."""
        if alias != name:
            self._aliases[name] = alias

    def again(self, name: str) -> None:
        """Write a value once more that an earlier reference has filled in."""
        for description in self.known[name]:
            if description.is_inline:
                self._write(name, description)
            else:
                self.text(f"{self._aliases.get(name, name)} (given above)")

    def _write(self, name: str, description: Description) -> None:
        if description.is_inline:
            self.text(description.text)
        elif not description.attached:
            gap = "" if not self._text or self._text.endswith("\n") else "\n"
            called = f"{self._aliases[name]} = {name}" if name in self._aliases else name
            self.text(gap + framed(called, description.kind, description.text))
            self._is_behind_frame = True
        for block in description.attached:
            self.text(f"[{name}, the {block['type']} that follows: {description.text}]")
            self.end_text()
            self._blocks.append(block)

    def leave_out(self, what: str) -> None:
        self._parts.append(f"left out: {what}")

    def end_text(self) -> None:
        """End the block of text that is being written."""
        if self._text.strip():  # endpoints refuse blocks of nothing but space
            self._blocks.append({"type": "text", "text": self._text})
        self._text = ""

    def question(self) -> Question:
        self.end_text()
        if redacted := getattr(self._limits.hide, "count", 0):
            self._parts.append(f"{many(redacted, 'secret')} redacted")
        return Question(Message("user", tuple(self._blocks)), tuple(self._parts))


def names_in(prompt: str) -> set[str]:
    """Return the names that a prompt's references mention."""
    return {name for piece in pieces(prompt) if isinstance(piece, Reference) for name in piece.names}
