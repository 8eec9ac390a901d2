"""What is asked of the Messages API, as a value: the body of a request, field by field."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

from .message import Message

FORMAT, FORCED, TOOL, WORDS, GRAMMAR = "format", "forced", "tool", "words", "grammar"  # how a form is asked for
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
        """Without the secrets that a default may be."""
        schema, strict = json.loads(hide(json.dumps([self.schema, self.strict])))
        return Form(schema, strict)


@dataclass(frozen=True)
class Request:
    """What is asked. None means that the field is not sent, so that the server's own default holds.

    thinking: "off", "adaptive", or a budget in tokens.
    cached: places of messages up to which the endpoint is asked to cache the prompt; at most 4, says the API.
    tools: what the model may call, as on the wire.        may_call: False: not any more, for enough has been called.
    form: what the reply is to be; None for text.        way: how that is asked for.
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
    cached: tuple[int, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    may_call: bool = True
    form: Form | None = None
    way: str = FORCED

    @cached_property
    def key(self) -> str:
        """The same for the same model, parameters and messages; how a reply travels, or is asked for, is no matter."""
        wire = replace(self, stream=False, cached=(), way=FORCED).to_wire()
        return sha256(json.dumps(wire, sort_keys=True).encode()).hexdigest()

    def to_wire(self) -> dict[str, Any]:
        """The body of POST /v1/messages: these fields, and no null among them."""
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self.max_tokens,
            "messages": [message.to_wire() for message in self.messages],
        }
        for place in self.cached:
            body["messages"][place] = _marked(self.messages[place])
        if self.system:
            body["system"] = self.system
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.stop_sequences:
            body["stop_sequences"] = list(self.stop_sequences)
        if output := self._output_config():
            body["output_config"] = output
        if tools := self._tools():
            body["tools"] = tools
            if choice := self._tool_choice():
                body["tool_choice"] = choice
        if self.instruction and self.messages:
            body["messages"][-1] = _with_text(body["messages"][-1], self.instruction)
        if self.thinking is not None:
            body["thinking"] = _thinking(self.thinking)
        if self.stream:
            body["stream"] = True
        return body

    @property
    def instruction(self) -> str:
        """What is said behind the last message of the form that the reply is to have; "" where nothing is."""
        if self.form is None or self.way not in (TOOL, WORDS):
            return ""
        return _BY_TOOL if self.way == TOOL else _BY_WORDS + json.dumps(self.form.schema, ensure_ascii=False)

    def _output_config(self) -> dict[str, Any]:
        output: dict[str, Any] = {"effort": self.effort} if self.effort else {}
        if self.form and self.way == FORMAT:
            output["format"] = {"type": "json_schema", "schema": self.form.strict}
        return output

    def _tools(self) -> list[Mapping[str, Any]]:
        tools = list(self.tools)
        if self.form and self.way in (FORCED, TOOL):
            tools.append({"name": REPLY_TOOL, "description": "Gives the answer.", "input_schema": self.form.schema})
        if not tools:
            # Whoever sends calls and results must say what the tools were, also where they are not offered any more.
            names = {str(block.get("name")): 0 for message in self.messages for block in message.tool_uses}
            gone = "Not there any more."
            tools = [{"name": name, "description": gone, "input_schema": {"type": "object"}} for name in names]
        return tools

    def _tool_choice(self) -> dict[str, Any] | None:
        if self.form and self.way == FORCED:
            return {"type": "tool", "name": REPLY_TOOL}
        is_offered = (self.tools and self.may_call) or (self.form and self.way == TOOL)
        return None if is_offered else {"type": "none"}


def _with_text(message: dict[str, Any], text: str) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": f"{content}\n\n{text}"}
    return {**message, "content": [*content, {"type": "text", "text": text}]}


def _marked(message: Message) -> dict[str, Any]:
    *blocks, last = message.content
    return {"role": message.role, "content": [*blocks, {**last, "cache_control": {"type": "ephemeral"}}]}


def _thinking(thinking: str | int) -> dict[str, Any]:
    if isinstance(thinking, int):
        return {"type": "enabled", "budget_tokens": thinking}
    return {"type": "disabled" if thinking == "off" else thinking}
