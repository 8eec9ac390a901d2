"""A reply of a form from the embedded model: llama.cpp holds it to a grammar, on its chat endpoint alone.

Its Messages endpoint passes over `output_config.format`, forced tools, `json_schema` and `grammar` alike (xllamacpp
2026.10). So a request of a form is translated, there and back, for that server only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ..messages.message import Message
from ..messages.request import Request

PATH = "/v1/chat/completions"
_ENDED = {"stop": "end_turn", "length": "max_tokens"}


def chat_body(request: Request) -> dict[str, Any]:
    """Return the body of a chat completion that asks the same."""
    assert request.form is not None
    system = [{"role": "system", "content": request.system}] if request.system else []
    schema = {"name": "reply", "schema": request.form.schema}
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": [*system, *({"role": part.role, "content": _text(part)} for part in request.messages)],
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop_sequences:
        body["stop"] = list(request.stop_sequences)
    return body


def _text(message: Message) -> str:
    """Return all that a model can read of it; results of calls are texts, too."""
    parts = (block.get("text") or block.get("content") for block in message.content)
    return "\n".join(part if isinstance(part, str) else json.dumps(part) for part in parts if part)


def as_messages(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks of a chat completion as those of a Messages reply."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        yield b""  # a moment's silence, in which one may be interrupted
    yield json.dumps(_message(json.loads(body))).encode()


def _message(completion: dict[str, Any]) -> dict[str, Any]:
    (choice,), usage = completion["choices"], completion.get("usage", {})
    return {
        "id": completion.get("id"),
        "type": "message",
        "role": "assistant",
        "model": completion.get("model"),
        "content": [{"type": "text", "text": choice["message"].get("content") or ""}],
        "stop_reason": _ENDED.get(choice.get("finish_reason"), choice.get("finish_reason")),
        "usage": {"input_tokens": usage.get("prompt_tokens"), "output_tokens": usage.get("completion_tokens")},
    }
