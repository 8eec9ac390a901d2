"""What a server says its tool takes → a JSON Schema for the model: bounded, and with nothing in it that is unseen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from ..redaction import hidden_beginning
from ..text import clean

LONGEST_TEXT = 1000  # characters of a description, and of any other text in a schema
MOST_SEEN = 50_000  # characters of a text that are looked at, before it is cut
LARGEST_SCHEMA = 30_000  # characters of its JSON
_EXPLAINS = ("description", "title", "$comment")
_NAMES_PARTS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas", "dependencies")
_VALUES = ("enum", "const", "default", "examples", "required", "dependentRequired", "type", "format", "pattern")
# The words of JSON Schema; any other would be a text that nobody checks.
_WORDS = frozenset((
    *_EXPLAINS, *_NAMES_PARTS, *_VALUES, "$schema", "$id", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "items",
    "prefixItems", "additionalItems", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "contains",
    "propertyNames", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minContains",
    "maxContains", "minProperties", "maxProperties", "contentEncoding", "contentMediaType", "deprecated", "readOnly",
    "writeOnly", "nullable", "discriminator",
))  # fmt: skip


class Unusable(Exception):
    """Why a tool cannot be offered, in words."""


def bounded(text: str, hide: Callable[[str], str]) -> str:
    """Return an explanation without secrets and without what cannot be seen, and not longer than it may be."""
    text = hidden_beginning(clean(text[:MOST_SEEN]).strip(), LONGEST_TEXT + 1, hide)
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def cleaned_schema(schema: object, hide: Callable[[str], str]) -> dict[str, Any]:
    """Return the schema with its explanations bounded and cleaned, as an object with properties.

    All else in it means what it says, to the letter, and is not changed.        hide: takes secrets out.
    Raises: Unusable where the rest cannot be seen as it is, is too long, or is not what the API takes.
    """
    if not isinstance(schema, dict):
        raise Unusable("its input schema is missing")
    # The API refuses alternatives at the top, which the server checks itself.
    schema = {name: part for name, part in schema.items() if name not in ("anyOf", "oneOf", "allOf")}
    try:
        made = {"type": "object", "properties": {}, **_cleaned(schema, hide)}
        size = len(json.dumps(made))
    except RecursionError:
        raise Unusable("its input schema is nested too deeply") from None
    if size > LARGEST_SCHEMA:
        raise Unusable(f"its input schema is longer than {LARGEST_SCHEMA:,} characters")
    if made["type"] != "object" or not isinstance(made["properties"], dict):
        raise Unusable("its input schema is not that of an object")
    if odd := next((name for name in made["properties"] if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name)), ""):
        raise Unusable(f"the API does not take {odd[:40]!r} as the name of a parameter")
    return made


def _cleaned(schema: Any, hide: Callable[[str], str], *, are_names: bool = False) -> Any:
    """Return a part of a schema. are_names: its keys are names of parts, not words of JSON Schema."""
    if isinstance(schema, list):
        return [_cleaned(part, hide) for part in schema]
    if not isinstance(schema, dict):
        return _checked(schema)
    made = {}
    for name, part in schema.items():
        if are_names:
            made[_checked(name)] = _cleaned(part, hide)
        elif name in _EXPLAINS and isinstance(part, str):
            made[name] = bounded(part, hide)
        elif name in _VALUES:
            made[name] = _checked(part)
        elif name in _WORDS:
            made[name] = _cleaned(part, hide, are_names=name in _NAMES_PARTS)
    return made


def _checked(value: Any) -> Any:
    """Return a value as it is. Raises: Unusable where a text in it cannot be seen as it is, or is too long."""
    if isinstance(value, dict):
        return {_checked(name): _checked(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_checked(part) for part in value]
    if isinstance(value, str):
        if clean(value) != value.replace("\r\n", "\n"):
            raise Unusable("a name or a value of its parameters has characters in it that cannot be seen")
        if len(value) > LONGEST_TEXT:
            raise Unusable(f"a name or a value of its parameters is longer than {LONGEST_TEXT:,} characters")
    return value
