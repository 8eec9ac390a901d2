"""A reply → Python: what it is to be, how its text is read, and what is said when it does not fit."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from ..errors import ConfigError, ReplyError
from ..messages.message import ContentBlock, Message
from ..messages.request import REPLY_TOOL, Form, Request
from ..render.markdown import code_blocks
from ..render.message import ending
from ..text import one_line
from .dataframes import frame_schema, is_frame_class, reader
from .modes import OutputModes
from .schema import Mismatch, plain_json, schema_of, strict, without_optional_nulls

REPAIRS = 1
MOST_OPENINGS = 1000  # of brackets, that are looked at for a value
MOST_READ = 2_000_000  # characters that are read in vain, all openings together
LONGEST_ECHO = 20_000  # characters of a reply that are sent back to be mended


class NoJSON(Mismatch):
    """There is none in the reply."""


@dataclass(frozen=True)
class OutputType:
    """What a reply is to be. name: of the type, in words.

    is_held: whether the value stands in an object, as its `value`, for it is none itself.
    is_json_schema: whether it was asked for by a JSON Schema, by which nothing is converted.
    is_table: whether it is a DataFrame, whose columns the model chooses.
    form: the JSON object that is asked for.        read: from the parsed JSON to the value; raises Mismatch.
    """

    name: str
    form: Form
    read: Callable[[Any], Any] = field(compare=False)
    is_held: bool = False
    is_json_schema: bool = False
    is_table: bool = False

    def value_of(self, text: str, hide: Callable[[Any], Any] = lambda value: value) -> Any:
        """Return the value in the text. Raises: Mismatch; NoJSON where there is none in it.

        hide: takes the key out of JSON, in which it may stand in escapes.
        """
        problem: Mismatch | None = None
        for parsed in _json_in(text):
            try:
                return self.read(hide(parsed))
            except Mismatch as error:
                problem = problem or error
                # Strict outputs want every field, so a dialect says that one which may be left out may be null.
                if (without := without_optional_nulls(parsed, self.form.schema)) != parsed:
                    with contextlib.suppress(Mismatch):
                        return self.read(hide(without))
        raise problem or NoJSON("there is no JSON in it")


def output_type(kind: Any, name: str = "") -> OutputType:
    """Return how a reply is read as `kind`: a type, a DataFrame class, or a JSON Schema.

    Raises: ConfigError when no JSON can be read as it.
    """
    if isinstance(kind, str):
        raise ConfigError(f"as_ is a type, and {kind!r} is a text", "nothing was sent; write it without the quotes")
    name = name or (inspect.formatannotation(kind) if not isinstance(kind, Mapping) else "that JSON Schema")
    schema = frame_schema(kind) if is_frame_class(kind) else schema_of(kind, name)
    read = reader(schema.read, schema.json)
    plain = plain_json(schema.json)
    if plain.get("type") == "object":
        return OutputType(
            name,
            Form(plain, strict(plain)),
            read,
            is_json_schema=isinstance(kind, Mapping),
            is_table=is_frame_class(kind),
        )
    parts: dict[str, Any] = {key: plain.pop(key) for key in ("$defs", "definitions") if key in plain}
    held: dict[str, Any] = {
        "type": "object",
        "properties": {"value": plain},
        "required": ["value"],
        "additionalProperties": False,
        **parts,
    }

    def unwrapped(parsed: Any) -> Any:
        is_held = isinstance(parsed, dict) and set(parsed) == {"value"}
        return read(parsed["value"] if is_held else parsed)

    return OutputType(name, Form(held, strict(held)), unwrapped, is_held=True, is_json_schema=isinstance(kind, Mapping))


def _json_in(text: str) -> Iterator[Any]:
    """Yield the JSON values that a reply may mean: all of it, what is in its code blocks, what is among its words."""
    for candidate in (text, *(code for _, code in reversed(code_blocks(text)))):
        try:
            yield json.loads(candidate)
        except (ValueError, RecursionError):
            pass
    yield from reversed(list(_json_among(text)))  # what comes last is what it comes to


def _json_among(text: str) -> Iterator[Any]:
    decoder, end, read = json.JSONDecoder(), 0, 0
    for opening in islice(re.finditer(r"[{[]", text), MOST_OPENINGS):
        if opening.start() < end:
            continue
        try:
            parsed, end = decoder.raw_decode(text, opening.start())
            yield parsed
        except json.JSONDecodeError as error:
            read += error.pos - opening.start()
        except (ValueError, RecursionError):
            read += MOST_READ // 10
        if read > MOST_READ:
            return


class TypedReply:
    """The rounds in which a reply gets to be of the type: one to begin with, one to mend it. Lives for one question.

    value: what came of it, once something has.        note: what did not fit, while it is asked for once more.
    """

    def __init__(
        self, output: OutputType, modes: OutputModes, hide: Callable[[Any], Any] = lambda value: value
    ) -> None:
        """hide: as of `OutputType.value_of`."""
        self.output, self._hide = output, hide
        self.value: Any = None
        self.note = ""
        self._modes = modes
        self._repairs = 0

    def next(self, request: Request, message: Message) -> Request | None:
        """Return what to ask after `message`; None when it is the value. Raises: ReplyError when it will not be."""
        if message.is_cut:
            raise self.failed(f"it is not whole: {ending(message).split(': raise')[0]}", _mend(message))
        answer = answer_of(message)
        try:
            self.value = self.output.value_of(answer, self._hide)
        except Mismatch as problem:
            if isinstance(problem, NoJSON) and self._modes.ignored():
                return request
            if self._repairs == REPAIRS:
                raise self.failed(_reason(problem, answer), WHAT_TO_DO) from None
            self._repairs += 1
            self.note = f"It did not fit: {one_line(str(problem), 200)}. It is asked for once more …"
            return replace(request, messages=(*request.messages, *self._to_mend(answer, problem)))
        self._modes.fits()
        return None

    def _to_mend(self, answer: str, problem: Mismatch) -> tuple[Message, Message]:
        reply = {"type": "text", "text": answer.strip()[:LONGEST_ECHO] or "(nothing)"}
        return Message("assistant", (reply,)), Message.user(  # type: ignore[arg-type]  # the wire's own JSON
            f"That does not fit the schema: {problem}. Give the whole answer once more, corrected, and nothing else."
        )

    def failed(self, reason: str, hint: str) -> ReplyError:
        return ReplyError(f"the reply is not usable as {self.output.name}: {reason}", hint, reason=reason)

    def as_text(self, message: Message, *, is_value: bool) -> Message:
        """Return the message as one of text, as it is kept, sent in later requests, and replayed."""
        others = [block for block in message.content if block.get("type") not in ("text", "tool_use")]
        answer: ContentBlock = {"type": "text", "text": answer_of(message)}
        message = replace(message, content=(*others, answer), as_type=self.output.name)
        if not is_value:
            return message
        reason = "end_turn" if message.stop_reason == "tool_use" else message.stop_reason
        mended = ("the first reply did not fit and was corrected",) if self._repairs else ()
        return replace(message, stop_reason=reason, value=self.value, warnings=(*message.warnings, *mended))


def read_stored(message: Message, output: OutputType) -> Message:
    """Read a stored reply as `output`. Raises: ReplyError."""
    try:
        value = output.value_of(message.text)
    except Mismatch as problem:
        raise ReplyError(
            f"the reply in the store is not usable as {output.name}: {problem}",
            "--fresh asks again",
            reason=str(problem),
        ) from None
    return replace(message, value=value, as_type=output.name)


WHAT_TO_DO = "say more about what you want, or ask for less; the reply is in comet_magic.last.text"


def _reason(problem: Mismatch, answer: str) -> str:
    if not isinstance(problem, NoJSON):
        return str(problem)
    return f"the model answered with text ({json.dumps(one_line(answer, 60), ensure_ascii=False)})"


def answer_of(message: Message) -> str:
    """Return the text that is to be read: the arguments of the call by which it was given, else the message's own."""
    calls = [use for use in message.tool_uses if use.get("name") == REPLY_TOOL]
    return json.dumps(calls[-1].get("input"), ensure_ascii=False) if calls else message.text


def _mend(message: Message) -> str:
    if message.stop_reason == "max_tokens":
        return "raise max_tokens with -t, or ask for less at once"
    return "ask for less at once" if message.stop_reason != "refusal" else "ask otherwise"
