"""What is asked of the Messages API, as a value: the body of a request, field by field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any

from ..named_tuple import NamedTuple
from .conversation import Turn, with_unique_ids
from .framed import Repeats
from .lasting import lasting
from .message import Message

# How a form is asked for.
FORMAT, FORCED, TOOL, OBJECT, WORDS, GRAMMAR = "format", "forced", "tool", "object", "words", "grammar"
MESSAGES, CHAT, RESPONSES = "messages", "chat", "responses"  # the dialects in which an endpoint may be asked
CODE_TASK = (
    "One notebook cell will be made of the Python in your reply: give all of it in one ```python block. "
    "Names and imports of the notebook are there already."
)
REPLY_TOOL = "reply"
_BY_TOOL = f"Give your answer by calling the tool {REPLY_TOOL}."
_BY_WORDS = "Reply with nothing but JSON that fits this JSON Schema:\n"


class Form(NamedTuple):
    """The JSON object that a reply is to be.

    schema: its JSON Schema.        strict: the same as structured outputs take it; None where they cannot.
    """

    schema: dict[str, Any]
    strict: dict[str, Any] | None

    def hidden(self, hide: Callable[[str], str]) -> Form:
        """Return the form without secrets: a default may be one."""
        schema, strict = json.loads(hide(json.dumps([self.schema, self.strict])))
        return Form(schema, strict)


@dataclass(frozen=True)
class Request:
    """What is asked. None means that the field is not sent, so that the server's own default holds.

    thinking: "off", "adaptive", or a budget in tokens.
    messages: the question, and what follows it in the same turn.        history: the turns that are sent before it.
    cached: indexes of turns up to whose end the endpoint is asked to cache the prompt; at most 4, says the API.
    tools: what the model may call, as on the wire.        may_call: False: not any more, for enough has been called.
    form: what the reply is to be; None for text.        mode: how that is asked for.
    sends_thinking: whether the thinking before calls goes along; None: as is usual in the dialect.
    makes_cell: whether a cell will be made of the reply's Python, which is said to the model.
    extra_body: further fields of the body, which are the user's own.
    dialect: the API in whose words it is sent.
    refused: names of fields that the endpoint does not take for this model.
    caches_first_block: whether the endpoint is asked to cache the prompt up to the end of its first block.
    """

    model: str
    max_tokens: int
    messages: tuple[Message, ...]
    system: str | None = None
    temperature: float | None = None
    stop_sequences: tuple[str, ...] = ()
    effort: str | None = None
    thinking: str | int | None = None
    stream: bool = True
    history: tuple[Turn, ...] = ()
    cached: tuple[int, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    may_call: bool = True
    form: Form | None = None
    mode: str = FORCED
    sends_thinking: bool | None = None
    makes_cell: bool = False
    extra_body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    dialect: str = MESSAGES
    refused: frozenset[str] = frozenset()
    caches_first_block: bool = False

    @cached_property
    def key(self) -> str:
        """Return a key that is equal for equal model, parameters and messages, in whatever form the reply is asked for.

        Of data, only that counts which lasts from one run to the next.
        """
        parameters = {**self.parameters(FORCED), "stream": False}
        messages = [_lasting(message.to_wire()) for message in self.messages]
        digest = sha256(json.dumps([parameters, messages], sort_keys=True).encode())
        digest.update("".join(turn.digest for turn in self.history).encode())
        return digest.hexdigest()

    @property
    def all_messages(self) -> tuple[Message, ...]:
        earlier = (message for turn in self.history for message in turn.messages)
        return (*(earlier if self.sends_thinking else map(Message.without_thinking, earlier)), *self.messages)

    @property
    def full_messages(self) -> list[dict[str, Any]]:
        """All entries of `messages`, with what the model of each turn wants back, for a dialect to choose from."""
        earlier = [message for turn in self.history for message in json.loads(turn.wire)]
        messages = with_unique_ids([*earlier, *(message.to_wire() for message in self.messages)])
        if self.history:
            repeats = Repeats()
            messages = [repeats.without(message) for message in messages]
        if self.instruction and messages:
            messages[-1] = _with_text(messages[-1], self.instruction)
        return messages

    @property
    def has_thinking(self) -> bool:
        """Whether there is thinking in it that could be sent, and is not."""
        if any(message.without_unsigned() is not message for message in self.messages):
            return True
        return any(turn.contents.has_thinking for turn in self.history)

    def without_thinking(self) -> Request:
        """Return the request without any thinking, also before the calls that are being answered."""
        return replace(self, sends_thinking=False)

    def to_wire(self) -> dict[str, Any]:
        """Return the body of POST /v1/messages: these fields, and no null among them."""
        return dict(json.loads(self.to_json()))

    def to_json(self) -> str:
        """Return the body as JSON text, in ASCII, so that lone surrogates are legal and reach the server."""
        # A turn stays the text that it is: a long conversation is not read and written anew for each question.
        model = self.model if self.sends_thinking else None
        earlier = [
            _marked(turn, model) if at in self.cached else _sent(turn, model) for at, turn in enumerate(self.history)
        ]
        messages = [message.to_wire() for message in self._sent_messages()]
        if self.caches_first_block and isinstance(content := messages[0]["content"], list):
            messages[0]["content"] = [{**content[0], "cache_control": {"type": "ephemeral"}}, *content[1:]]
        if sum(turn.contents.has_calls for turn in self.history) + any(m.tool_uses for m in self.messages) > 1:
            earlier, messages = _with_unique_ids(earlier, messages)
        if self.history:
            repeats = Repeats()
            earlier = [repeats.without_in(text) for text in earlier]
            messages = [repeats.without(message) for message in messages]
        if self.instruction and messages:
            messages[-1] = _with_text(messages[-1], self.instruction)
        parts = [text[1:-1] for text in (*earlier, json.dumps(messages)) if text != "[]"]
        parameters = json.dumps(self.parameters())
        return f'{parameters[:-1]}, "messages": [{", ".join(parts)}]}}'

    def _sent_messages(self) -> Iterable[Message]:
        plain = (message.without_marks() if message.has_extra else message for message in self.messages)
        if self.sends_thinking:
            return plain
        is_left_out = self.sends_thinking is False
        return map(Message.without_thinking if is_left_out else Message.without_unsigned, plain)

    def repeated_names(self) -> list[str]:
        """Return the names of the data in the last message that is not sent again, for an earlier turn has it."""
        if not self.history or "<data" not in self.messages[-1].text:
            return []
        repeats = Repeats()
        for turn in self.history:
            repeats.without_in(turn.wire)
        return repeats.names_in(self.messages[-1].text)

    def parameters(self, mode: str = "") -> dict[str, Any]:
        """Return all of the body but the messages. mode: another way of asking for the form than the request's own."""
        mode = mode or self.mode
        body: dict[str, Any] = {"model": self.model, "max_tokens": self.max_tokens}
        if self.system:
            body["system"] = self.system
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.stop_sequences:
            body["stop_sequences"] = list(self.stop_sequences)
        if output := self._output_config(mode):
            body["output_config"] = output
        if tools := self._tools(mode):
            body["tools"] = tools
            if choice := self._tool_choice(mode):
                body["tool_choice"] = choice
        if self.thinking is not None:
            body["thinking"] = _thinking(self.thinking)
        if self.stream:
            body["stream"] = True
        body.update(self.extra_body)
        return body

    @property
    def instruction(self) -> str:
        """What is said behind the last message of what the reply is to be; not in the key. "" for nothing."""
        if self.form is None or self.mode not in (TOOL, OBJECT, WORDS):
            return CODE_TASK if self.makes_cell else ""
        return _BY_TOOL if self.mode == TOOL else _BY_WORDS + json.dumps(self.form.schema, ensure_ascii=False)

    def _output_config(self, mode: str) -> dict[str, Any]:
        output: dict[str, Any] = {"effort": self.effort} if self.effort else {}
        if self.form and mode == FORMAT:
            output["format"] = {"type": "json_schema", "schema": self.form.strict}
        return output

    def _tools(self, mode: str) -> list[Mapping[str, Any]]:
        tools = list(self.tools)
        if self.form and mode in (FORCED, TOOL):
            tools.append({"name": REPLY_TOOL, "description": "Gives the answer.", "input_schema": self.form.schema})
        if not tools:
            # Whoever sends calls and results must say what the tools were, also where they are not offered any more.
            earlier = [turn.messages for turn in self.history if turn.contents.has_calls]
            messages = [message for turn in (*earlier, self.messages) for message in turn]
            names = {str(block.get("name")): 0 for message in messages for block in message.tool_uses}
            gone = "Not there any more."
            tools = [{"name": name, "description": gone, "input_schema": {"type": "object"}} for name in names]
        return tools

    def _tool_choice(self, mode: str) -> dict[str, Any] | None:
        if self.form and mode == FORCED:
            return {"type": "tool", "name": REPLY_TOOL}
        is_offered = (self.tools and self.may_call) or (self.form and mode == TOOL)
        return None if is_offered else {"type": "none"}


def _lasting(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with what of its texts lasts from one run to the next."""
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": lasting(content)}
    return {**message, "content": [
        {**block, "text": lasting(block["text"])} if block.get("type") == "text" else block for block in content
    ]}  # fmt: skip


def _with_text(message: dict[str, Any], text: str) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": f"{content}\n\n{text}"}
    return {**message, "content": [*content, {"type": "text", "text": text}]}


def _with_unique_ids(earlier: list[str], messages: list[dict[str, Any]]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the turns and the messages with no id of a call twice; the very same where none is."""
    parts = [json.loads(text) for text in earlier]
    before = [message for part in parts for message in part] + messages
    after = with_unique_ids(before)
    if after is before:
        return earlier, messages
    changed, at = [], 0
    for part in parts:
        changed.append(json.dumps(after[at : at + len(part)]))
        at += len(part)
    return changed, after[at:]


def _sent(turn: Turn, model: str | None) -> str:
    """Return the JSON of a turn as it is sent. model: the one whose thinking goes along; None: no thinking does."""
    return _as_sent(turn, model) if turn.contents.has_thinking or turn.contents.has_marks else turn.wire


@lru_cache(maxsize=64)
def _as_sent(turn: Turn, model: str | None) -> str:
    messages: Iterable[Message] = map(Message.from_wire, json.loads(turn.wire))
    messages = messages if model else map(Message.without_thinking, messages)
    return json.dumps([message.without_marks(model).to_wire() for message in messages])


@lru_cache(maxsize=64)
def _marked(turn: Turn, model: str | None) -> str:
    """Return the JSON of a turn, with the mark up to which the endpoint is asked to cache."""
    messages: list[dict[str, Any]] = json.loads(_sent(turn, model))
    content = messages[-1]["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    messages[-1]["content"] = [*blocks[:-1], {**blocks[-1], "cache_control": {"type": "ephemeral"}}]
    return json.dumps(messages)


def _thinking(thinking: str | int) -> dict[str, Any]:
    if isinstance(thinking, int):
        return {"type": "enabled", "budget_tokens": thinking}
    return {"type": "disabled" if thinking == "off" else thinking}
