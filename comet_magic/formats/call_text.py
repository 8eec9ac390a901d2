"""A call of a tool, with its result, as text: for files and programs that take no calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..messages.tool_call import SHORT, ToolCall
from ..render.message import quoted

NOTHING = "(no result)"


def call_text(use: Mapping[str, Any], result: Mapping[str, Any] | None) -> str:
    """Return `> stock(item='lamp') → 12`; where that is not short, the arguments and the result in full below it.

    result: None where there is none.
    """
    name = use.get("name")
    call = ToolCall(name if isinstance(name, str) and name else "a tool", use.get("input"))
    outcome = _text_of(result.get("content")) if result else ""
    line = f"{call.as_python} → {outcome or NOTHING}"
    if len(line) <= SHORT and "\n" not in line:
        return f"> {line}"
    given = quoted(call.given) if call.given.strip() else ""
    return "\n\n".join(filter(None, [f"> {call.name} was called:", given, f"> and gave: {_quoted_result(outcome)}"]))


def _quoted_result(text: str) -> str:
    return f"\n\n{quoted(text)}" if text else NOTHING


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text") or f"⟨{part.get('type')}⟩") for part in parts if isinstance(part, dict))
