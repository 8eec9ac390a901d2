"""JSON that comes from elsewhere, read once and strictly: no numbers that are none, nothing too large or too deep."""

from __future__ import annotations

import json
from typing import Any

DEEPEST = 100  # lists and objects within one another


def json_or_none(text: str | bytes) -> Any:
    """Return the JSON in a text; None where it is none. NaN and Infinity are null, and so is what is too deep."""
    try:
        text = text if isinstance(text, str) else text.decode("utf-8", "replace")
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    is_flat = text.count("[") + text.count("{") <= DEEPEST
    return value if is_flat else _shallow(value)


def _integer(digits: str) -> float:
    """Return a number of any length: Python refuses thousands of digits, and SQLite more than 19."""
    return int(digits) if len(digits) < 19 else float(digits)


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
