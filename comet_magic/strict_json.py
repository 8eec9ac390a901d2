"""Parse JSON from elsewhere: NaN, Infinity, huge integers and nesting beyond 100 become null."""

from __future__ import annotations

import json
from typing import Any

MOST_DIGITS = 4000
DEEPEST = 100  # lists and objects within one another


def json_or_none(text: str | bytes) -> Any:
    """Return the JSON in a text; None where it is none.

    NaN, Infinity and endless digits are null, and so is what is too deep.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8", "replace")
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    # A text with fewer brackets than that cannot be too deep; most are short.
    is_flat = len(text) <= 2 * DEEPEST or text.count("[") + text.count("{") <= DEEPEST
    return value if is_flat else _shallow(value)


def _integer(digits: str) -> int | None:
    """Return an integer; null for one of so many digits that Python refuses it."""
    return int(digits) if len(digits) < MOST_DIGITS else None


_DECODER = json.JSONDecoder(parse_int=_integer, parse_constant=lambda name: None)


def _shallow(value: Any, room: int = DEEPEST) -> Any:
    """Return the value with null for what is nested more deeply than that."""
    if not isinstance(value, list | dict):
        return value
    if not room:
        return None
    if isinstance(value, list):
        return [_shallow(item, room - 1) for item in value]
    return {name: _shallow(item, room - 1) for name, item in value.items()}
