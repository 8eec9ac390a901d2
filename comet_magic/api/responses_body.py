"""A `Request` → the body of POST /v1/responses, where OpenAI's pro, o-series and Codex models are.

Nothing is stored there: a conversation is sent whole, as in every dialect. Source: OpenAI's reference for responses.
"""

from __future__ import annotations

from typing import Any

from ..messages.request import FORMAT, OBJECT, REPLY_TOOL, Request
from .portable import (
    address_of,
    all_required,
    arguments_of,
    file_name,
    offered_tools,
    portable,
    sent_thinking,
    split_results,
    tool_choice,
)


def responses_body(request: Request) -> dict[str, Any]:
    """Return the body. Reasoning goes along encrypted, for it is kept nowhere else."""
    asked = request.parameters()
    items = [item for message in portable(request) for item in _items(message, request)]
    body: dict[str, Any] = {"model": request.model, "input": items, "max_output_tokens": request.max_tokens}
    if request.system:
        body["instructions"] = request.system
    if request.temperature is not None:
        body["temperature"] = request.temperature
    reasoning = {"effort": request.effort} if request.effort else {}
    body["reasoning"] = {**reasoning, "summary": "auto"}
    if tools := offered_tools(request, asked, items):
        body["tools"] = [{"type": "function", **tool} for tool in tools]
        if (choice := tool_choice(request, asked)) is not None:
            body["tool_choice"] = {"type": "function", **choice} if isinstance(choice, dict) else choice
    if request.form and request.mode == FORMAT:
        schema = all_required(request.form.strict or request.form.schema)
        body["text"] = {"format": {"type": "json_schema", "name": REPLY_TOOL, "schema": schema, "strict": True}}
    elif request.form and request.mode == OBJECT:
        body["text"] = {"format": {"type": "json_object"}}
    body.update(store=False, include=["reasoning.encrypted_content"])
    if request.stream:
        body["stream"] = True
    if "reasoning.summary" in request.refused:
        body["reasoning"] = reasoning
    droppable = {name: value for name, value in body.items() if name not in request.refused and value != {}}
    return {**droppable, **request.extra_body}


def _items(message: dict[str, Any], request: Request) -> list[dict[str, Any]]:
    content, role = message["content"], message["role"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if role == "user":
        return _of_user(content)
    thinking = sent_thinking(content, request)
    items: list[dict[str, Any]] = []
    for block in content:  # in their order: each piece of reasoning stands right before what it led to
        kind = block.get("type")
        if any(block is one for one in thinking) and (item := (block.get("extra") or {}).get("item")):
            items.append(item)
        elif kind == "text" and block.get("text"):
            part = {"type": "output_text", "text": block["text"]}
            items.append({"type": "message", "role": "assistant", "content": [part]})
        elif kind == "tool_use":
            call = {"call_id": block.get("id"), "name": block.get("name"), "arguments": arguments_of(block)}
            items.append({"type": "function_call", **call})
    return items


def _of_user(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    calls, others = split_results(blocks)
    results = [{"type": "function_call_output", "call_id": key, "output": text} for key, text in calls]
    return [*results, *([{"role": "user", "content": list(map(_part, others))}] if others else [])]


def _part(block: dict[str, Any]) -> dict[str, Any]:
    kind, source = block.get("type"), block.get("source") or {}
    if kind == "image":
        return {"type": "input_image", "image_url": address_of(source)}
    if kind == "document" and source.get("type") != "text":
        return {"type": "input_file", "filename": file_name(block), "file_data": address_of(source)}
    return {"type": "input_text", "text": str(source.get("data") or block.get("text") or f"[{kind}]")}
