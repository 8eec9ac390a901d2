"""Replies of chat completions and of /v1/responses, as scripts of the wire server."""

from __future__ import annotations

import json
from typing import Any

from wire_server import Received, Script, reply, stream

DONE = b"data: [DONE]\n\n"


def data(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields, ensure_ascii=False).encode() + b"\n\n"


def part(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """A chunk of a chat completion."""
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return data(
        **{
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "g",
            "choices": [choice],
            **more,
        }
    )


def usage(prompt: int = 29, completion: int = 2, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}


def chat(*parts: bytes, finish: str | None = "stop", counts: dict[str, Any] | None = None, done: bool = True) -> Script:
    """A whole stream: the parts, then why it ended, then the counts, then `[DONE]`."""
    ending = [part({}, finish), part(choices=[], usage=counts or usage())] if finish else []
    return stream(part({"role": "assistant", "content": ""}), *parts, *ending, *([DONE] if done else []))


def said(text: str) -> Script:
    return chat(*(part({"content": text[at : at + 7]}) for at in range(0, len(text), 7)))


def call(name: str, arguments: Any, key: str | None = "call_a", index: int | None = 0, **more: Any) -> dict[str, Any]:
    """An entry of `tool_calls` with all of a call."""
    entry: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}, **more}
    return {**entry, **({"id": key} if key is not None else {}), **({"index": index} if index is not None else {})}


def calls(*entries: dict[str, Any], finish: str | None = "tool_calls", text: str = "") -> Script:
    """A stream that calls tools, each entry in a chunk of its own."""
    texts = [part({"content": text})] if text else []
    return chat(*texts, *(part({"tool_calls": [entry]}) for entry in entries), finish=finish)


def list_of(*names: str, **more: Any) -> Script:
    """A list of models as OpenAI's."""
    return reply({"object": "list", "data": [{"id": name, "object": "model", **more} for name in names]})


def of_server(*scripts: Any, models: tuple[str, ...] = ("gpt-6-luna", "gemini-3-pro", "deepseek-v4", "qwen3")) -> Any:
    """A script for each request that asks something; the list of models is answered by itself."""
    left = list(scripts)

    def answer(received: Received) -> Script:
        if received.line.startswith("GET "):
            return list_of(*models)
        script = left.pop(0) if len(left) > 1 else left[0]
        return script(received) if callable(script) else script

    return answer


def asked(received: list[Received]) -> list[Any]:
    """The bodies of what was asked, without the requests for a list."""
    return [one.json for one in received if one.line.startswith("POST ")]


# ---- /v1/responses


def named(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\n".encode() + data(type=kind, **fields)


def responses(*events: bytes, status: str = "completed", output: list[Any] | None = None, **more: Any) -> Script:
    """A whole stream: the events, and the end with the counts."""
    counts = {
        "input_tokens": 29, "input_tokens_details": {"cached_tokens": 9}, "output_tokens": 12,
        "output_tokens_details": {"reasoning_tokens": 10}, "total_tokens": 41,
    }  # fmt: skip
    response = {"id": "resp_1", "model": "o9", "status": status, "output": output or [], "usage": counts, **more}
    begun = named("response.created", response={"id": "resp_1", "model": "o9", "status": "in_progress", "output": []})
    return stream(begun, *events, named(f"response.{status}", response=response))
