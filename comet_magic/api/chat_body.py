"""A `Request` → the body of POST /v1/chat/completions: the same question in the words of that API.

The translation is ours, for a gateway's own drops documents, the choice of a tool, schemas, and the text beside calls.
Source: OpenAI's reference for chat completions, and what other vendors refuse of it.
"""

from __future__ import annotations

import re
from typing import Any

from ..messages.request import FORMAT, GRAMMAR, OBJECT, REPLY_TOOL, Request
from .portable import (
    address_of,
    all_required,
    arguments_of,
    file_name,
    offered_tools,
    portable,
    sent_thinking,
    split_results,
    text_of,
    tool_choice,
)

_NEWER = re.compile(r"(?:.*/)?(?:o\d|gpt-(?:[5-9]|\d\d)|chatgpt|codex)", re.I)


def chat_body(request: Request) -> dict[str, Any]:
    """Return the body. What there is no word for is left out: `cache_control`, and a budget of thinking."""
    asked = request.parameters()
    messages = [{"role": "system", "content": request.system}] if request.system else []
    messages += chat_messages(request)
    body: dict[str, Any] = {"model": request.model, "messages": messages}
    body[limit_field(request.model, request.refused)] = request.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop_sequences:
        body["stop"] = list(request.stop_sequences)
    if request.effort:
        body["reasoning_effort"] = request.effort
    if tools := offered_tools(request, asked, messages):
        body["tools"] = [{"type": "function", "function": tool} for tool in tools]
        if (choice := tool_choice(request, asked)) is not None:
            body["tool_choice"] = {"type": "function", "function": choice} if isinstance(choice, dict) else choice
    if format_ := response_format(request):
        body["response_format"] = format_
    if request.stream:
        body["stream"] = True
        # Without it, gateways leave out the last chunk, and the finish reason with it.
        body["stream_options"] = {"include_usage": True}
    droppable = {name: value for name, value in body.items() if name not in request.refused or name in _REQUIRED}
    return {**droppable, **request.extra_body}


_REQUIRED = ("model", "messages", "max_tokens", "max_completion_tokens", "stream")


def limit_field(model: str, refused: frozenset[str]) -> str:
    """Return the name under which the endpoint takes `max_tokens` for that model."""
    names = ("max_completion_tokens", "max_tokens") if _NEWER.match(model) else ("max_tokens", "max_completion_tokens")
    return next((name for name in names if name not in refused), names[0])


def response_format(request: Request) -> dict[str, Any] | None:
    form = request.form
    if form is None:
        return None
    if request.mode == GRAMMAR:
        return {"type": "json_schema", "json_schema": {"name": REPLY_TOOL, "schema": form.schema}}
    if request.mode == FORMAT:
        return {"type": "json_schema", "json_schema": json_schema(form.strict or form.schema)}
    return {"type": "json_object"} if request.mode == OBJECT else None


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the format that holds a reply to a schema, strictly: what is optional may be null there."""
    return {"name": REPLY_TOOL, "schema": all_required(schema), "strict": True}


# ---- messages


def chat_messages(request: Request) -> list[dict[str, Any]]:
    translated: list[dict[str, Any]] = []
    for message in portable(request):
        content = message["content"]
        if isinstance(content, str):
            translated.append({"role": message["role"], "content": content})
        elif message["role"] == "assistant":
            translated.append(_of_assistant(content, request))
        else:
            translated += _of_user(content)
    return translated


def _of_assistant(blocks: list[dict[str, Any]], request: Request) -> dict[str, Any]:
    text = text_of(blocks)
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    calls = [block for block in blocks if block.get("type") == "tool_use"]
    if calls:
        message["tool_calls"] = [_call(block) for block in calls]
    elif not text:
        message["content"] = ""
    if thinking := sent_thinking(blocks, request):
        fields = [str(block["extra"]["field"]) for block in thinking if "field" in (block.get("extra") or {})]
        if words := "".join(str(block.get("thinking") or "") for block in thinking if not block.get("signature")):
            message[fields[0] if fields else "reasoning_content"] = words
    return message


def _call(block: dict[str, Any]) -> dict[str, Any]:
    function = {"name": block.get("name"), "arguments": arguments_of(block)}
    call = {"id": block.get("id"), "type": "function", "function": function}
    extra = block.get("extra") or {}
    return {**call, "extra_content": extra["extra_content"]} if "extra_content" in extra else call


def _of_user(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the results, each in a message of its own, and then the user's."""
    calls, others = split_results(blocks)
    results = [{"role": "tool", "tool_call_id": key, "content": text} for key, text in calls]
    parts = list(map(_part, others))
    if all(part["type"] == "text" for part in parts):
        texts = "\n\n".join(part["text"] for part in parts)
        return [*results, *([{"role": "user", "content": texts}] if parts else [])]
    return [*results, {"role": "user", "content": parts}]


def _part(block: dict[str, Any]) -> dict[str, Any]:
    kind = block.get("type")
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": address_of(block["source"])}}
    if kind == "document":
        source = block.get("source") or {}
        if source.get("type") == "text":
            return {"type": "text", "text": str(source.get("data") or "")}
        return {"type": "file", "file": {"filename": file_name(block), "file_data": address_of(source)}}
    return {"type": "text", "text": str(block.get("text") or f"[{kind}]")}
