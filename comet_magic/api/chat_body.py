"""A `Request` → the body of POST /v1/chat/completions: the same question in the words of that API.

The translation is ours, for a gateway's own drops documents, the choice of a tool, schemas, and the text beside calls.
Source: OpenAI's reference for chat completions, and what other vendors refuse of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..messages.message import THINKING, is_of
from ..messages.request import FORCED, FORMAT, GRAMMAR, OBJECT, REPLY_TOOL, Request

_NEWER = re.compile(r"(?:.*/)?(?:o\d|gpt-(?:[5-9]|\d\d)|chatgpt|codex)", re.I)
_SIGNING = re.compile(r"(?:.*/)?gemini-(?!2)", re.I)


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


def offered_tools(request: Request, asked: Mapping[str, Any], messages: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the tools as functions. Tools that are gone are named only where calls of them are sent as calls."""
    if not request.tools and not (request.form and "tool_choice" in asked and request.mode == FORCED):
        if not any("tool_calls" in message or message.get("type") == "function_call" for message in messages):
            return []
    known = {"name": "name", "description": "description", "input_schema": "parameters", "strict": "strict"}
    return [{known[name]: value for name, value in tool.items() if name in known} for tool in asked.get("tools", ())]


def tool_choice(request: Request, asked: Mapping[str, Any]) -> str | dict[str, str] | None:
    """Return `none`, the function that is to be called, or None where the model chooses."""
    choice = asked.get("tool_choice")
    if not choice:
        return None
    return {"name": choice["name"]} if choice["type"] == "tool" else str(choice["type"])


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


def all_required(schema: Any) -> Any:
    """Return a schema with every property required at every level, as strict outputs want it."""
    if isinstance(schema, list):
        return [all_required(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {
        name: value if name in ("enum", "const", "default", "examples", "required") else all_required(value)
        for name, value in schema.items()
    }
    properties = changed.get("properties")
    if isinstance(properties, dict) and schema.get("type") == "object":
        required = set(schema.get("required", ()))
        changed["properties"] = {
            name: part if name in required else _nullable(part) for name, part in properties.items()
        }
        changed["required"] = list(properties)
        changed["additionalProperties"] = False
    return changed


def _nullable(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema and "const" not in schema and kind != "null":
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


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


def portable(request: Request) -> Iterator[dict[str, Any]]:
    """Yield the messages of a request with only what its model can take.

    A call that another model made, with what came of it, is sent as text: some models refuse calls without the
    signature or the reasoning with which they make their own.
    """
    as_text: dict[str, str] = {}
    messages = request.full_messages
    first_of_turn = len(messages) - len(request.messages)
    for index, message in enumerate(messages):
        content = message["content"]
        if isinstance(content, str):
            yield message
            continue
        blocks: list[dict[str, Any]] = []
        for block in content:
            kind = block.get("type")
            if kind == "tool_use" and index < first_of_turn and not _is_sent_as_call(block, request.model):
                name, given = str(block.get("name")), json.dumps(block.get("input"), ensure_ascii=False)
                as_text[str(block.get("id"))] = name
                blocks.append({"type": "text", "text": f"[called {name} with {given}]"})
            elif kind == "tool_result" and (called := as_text.get(str(block.get("tool_use_id")))):
                text, pictures = result_parts(block)
                blocks.append({"type": "text", "text": f"[{called} returned:]\n{text}"})
                blocks += pictures
            else:
                blocks.append(block)
        yield {**message, "content": blocks}


def _is_sent_as_call(block: Mapping[str, Any], model: str) -> bool:
    """Return whether a call of an earlier turn goes as one. Older versions did not note which model had made it."""
    return bool(block["model"] == model) if "model" in block else not _SIGNING.match(model)


def sent_thinking(blocks: Iterable[dict[str, Any]], request: Request) -> list[dict[str, Any]]:
    """Return the thinking of an assistant's message that goes back: its own model's, before calls, unless refused."""
    blocks = list(blocks)
    if request.sends_thinking is False:
        return []
    own = [block for block in blocks if block.get("type") in THINKING and is_of(block, request.model)]
    has_calls = any(block.get("type") == "tool_use" for block in blocks)
    return own if request.sends_thinking or has_calls else []


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
    function = {"name": block.get("name"), "arguments": json.dumps(block.get("input") or {}, ensure_ascii=False)}
    call = {"id": block.get("id"), "type": "function", "function": function}
    extra = block.get("extra") or {}
    return {**call, "extra_content": extra["extra_content"]} if "extra_content" in extra else call


def _of_user(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the results, each in a message of its own, and then the user's: pictures are taken of a user alone."""
    results: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for block in blocks:
        if block.get("type") != "tool_result":
            continue
        text, pictures = result_parts(block)
        results.append({"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": text})
        if pictures:
            parts.append({"type": "text", "text": f"What the call {block.get('tool_use_id')} returned:"})
            parts += map(_part, pictures)
    parts += [_part(block) for block in blocks if block.get("type") != "tool_result"]
    if all(part["type"] == "text" for part in parts):
        texts = "\n\n".join(part["text"] for part in parts)
        return [*results, *([{"role": "user", "content": texts}] if parts else [])]
    return [*results, {"role": "user", "content": parts}]


def result_parts(block: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return the text of a tool's result, and the pictures and documents in it."""
    content = block.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    text = text_of(parts)
    others = [part for part in parts if part.get("type") in ("image", "document")]
    text = text or ("(a picture, which follows)" if others else "(nothing)")
    return (f"Error: {text}" if block.get("is_error") else text), others


def text_of(blocks: Iterable[Mapping[str, Any]]) -> str:
    return "\n\n".join(str(block.get("text")) for block in blocks if block.get("type") == "text" and block.get("text"))


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


def address_of(source: Mapping[str, Any]) -> str:
    """Return where a picture or a document is: a `data:` address with all of it, or the address it came with."""
    if source.get("type") == "base64":
        return f"data:{source.get('media_type')};base64,{source.get('data')}"
    return str(source.get("url") or "")


def file_name(block: Mapping[str, Any]) -> str:
    title = str(block.get("title") or "document")
    return title if title.lower().endswith(".pdf") else f"{title}.pdf"
