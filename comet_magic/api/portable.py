"""What the dialects besides Messages share: messages with only what the model of a request takes, tools, schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..messages.message import THINKING, is_of
from ..messages.request import FORCED, Request

_SIGNING = re.compile(r"(?:.*/)?gemini-(?!2)", re.I)


def portable(request: Request) -> Iterator[dict[str, Any]]:
    """Yield the messages of a request with only what its model can take.

    A call that another model made, with what came of it, is sent as text: some models refuse calls without the
    signature or the reasoning with which they make their own.
    """
    as_text: dict[str, str] = {}  # the calls of the last message that are sent as text, by their ids
    messages = request.full_messages
    first_of_turn = len(messages) - len(request.messages)
    for index, message in enumerate(messages):
        content = message["content"]
        if isinstance(content, str):
            yield message
            continue
        blocks: list[dict[str, Any]] = []
        as_text = {} if message["role"] == "assistant" else as_text
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


def result_parts(block: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return the text of a tool's result, and the pictures and documents in it."""
    content = block.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    text = text_of(parts)
    others = [part for part in parts if part.get("type") in ("image", "document")]
    text = text or ("(a picture, which follows)" if others else "(nothing)")
    return (f"Error: {text}" if block.get("is_error") else text), others


def split_results(blocks: Iterable[dict[str, Any]]) -> tuple[list[tuple[Any, str]], list[dict[str, Any]]]:
    """Return (id of the call, text) of each result in a user's message, and the blocks that stand behind those.

    Only a user may show pictures: those of a result stand there too, below a line that names the call.
    """
    blocks = list(blocks)
    results: list[tuple[Any, str]] = []
    others: list[dict[str, Any]] = []
    for block in blocks:
        if block.get("type") == "tool_result":
            text, pictures = result_parts(block)
            results.append((block.get("tool_use_id"), text))
            if pictures:
                others.append({"type": "text", "text": f"What the call {block.get('tool_use_id')} returned:"})
                others += pictures
    return results, [*others, *(block for block in blocks if block.get("type") != "tool_result")]


def arguments_of(block: Mapping[str, Any]) -> str:
    """Return the arguments of a call as JSON text."""
    return json.dumps(block.get("input") or {}, ensure_ascii=False)


def text_of(blocks: Iterable[Mapping[str, Any]]) -> str:
    return "\n\n".join(str(block.get("text")) for block in blocks if block.get("type") == "text" and block.get("text"))


def address_of(source: Mapping[str, Any]) -> str:
    """Return where a picture or a document is: a `data:` address with all of it, or the address it came with."""
    if source.get("type") == "base64":
        return f"data:{source.get('media_type')};base64,{source.get('data')}"
    return str(source.get("url") or "")


def file_name(block: Mapping[str, Any]) -> str:
    title = str(block.get("title") or "document")
    return title if title.lower().endswith(".pdf") else f"{title}.pdf"


# ---- tools and schemas


def offered_tools(request: Request, body: Mapping[str, Any], messages: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the tools as functions. Tools that are gone are named only where calls of them are sent as calls."""
    if not request.tools and not (request.form and "tool_choice" in body and request.mode == FORCED):
        if not any("tool_calls" in message or message.get("type") == "function_call" for message in messages):
            return []
    known = {"name": "name", "description": "description", "input_schema": "parameters", "strict": "strict"}
    return [{known[name]: value for name, value in tool.items() if name in known} for tool in body.get("tools", ())]


def tool_choice(request: Request, body: Mapping[str, Any]) -> str | dict[str, str] | None:
    """Return `none`, the function that is to be called, or None where the model chooses."""
    choice = body.get("tool_choice")
    if not choice:
        return None
    return {"name": choice["name"]} if choice["type"] == "tool" else str(choice["type"])


def all_required(schema: Any) -> Any:
    """Return a schema with every property required at every level, as strict outputs want it."""
    if isinstance(schema, list):
        return [all_required(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: _all_required_in(name, value) for name, value in schema.items() if name != "default"}
    properties = changed.get("properties")
    if isinstance(properties, dict) and schema.get("type") == "object":
        required = set(schema.get("required", ()))
        changed["properties"] = {
            name: part if name in required else _nullable(part) for name, part in properties.items()
        }
        changed["required"] = list(properties)
        changed["additionalProperties"] = False
    return changed


def _all_required_in(name: str, value: Any) -> Any:
    """Return the value of a schema's keyword, changed where it holds schemas."""
    if name in ("properties", "$defs", "definitions") and isinstance(value, dict):
        return {key: all_required(part) for key, part in value.items()}
    return value if name in ("enum", "const", "examples", "required") else all_required(value)


def _nullable(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema and "const" not in schema and kind != "null":
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
