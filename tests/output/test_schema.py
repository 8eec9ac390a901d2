"""Schemas as structured outputs take them: closed, without bounds, and none where that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from comet_magic.output.schema import plain_json, strict

TEXT, NUMBER = {"type": "string"}, {"type": "number"}
# (a JSON Schema, the same for structured outputs; None where they cannot hold it)
STRICT: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
    (
        {"type": "object", "properties": {"a": TEXT}, "required": ["a"]},
        {"type": "object", "properties": {"a": TEXT}, "required": ["a"], "additionalProperties": False},
    ),
    ({"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}}, {"type": "array", "items": NUMBER}),
    ({"type": "string", "pattern": "^a", "minLength": 1, "title": "T"}, TEXT),
    ({"enum": ["minimum", "title"]}, {"enum": ["minimum", "title"]}),
    (
        {"type": "object", "properties": {"minimum": NUMBER, "title": TEXT}},  # names, not keywords
        {"type": "object", "properties": {"minimum": NUMBER, "title": TEXT}, "additionalProperties": False},
    ),
    ({"type": "object"}, None),  # open: any property
    ({"type": "object", "properties": {"a": TEXT}, "additionalProperties": True}, None),
    ({"type": "object", "additionalProperties": NUMBER}, None),
    ({}, None),  # anything at all
    ({"description": "anything"}, None),
    ({"type": "array", "items": {}}, None),
    ({"$ref": "#/$defs/T", "$defs": {"T": {"type": "array", "items": {"$ref": "#/$defs/T"}}}}, None),  # recursive
    ({"type": "array", "items": {"$ref": "#"}}, None),
]


@pytest.mark.parametrize(("schema", "expected"), STRICT)
def test_a_schema_for_structured_outputs(schema: dict[str, Any], expected: dict[str, Any] | None) -> None:
    assert strict(schema) == expected


def test_titles_go_and_properties_of_that_name_stay() -> None:
    schema = {"title": "T", "type": "object", "properties": {"title": {"title": "Title", "type": "string"}}}
    assert plain_json(schema) == {"type": "object", "properties": {"title": TEXT}}
