"""Schemas as structured outputs take them: closed, without bounds, and none where that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from comet_magic.errors import ConfigError
from comet_magic.output.schema import Mismatch, plain_json, schema_of, strict

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


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/x", "file:///etc/passwd", "other.json", "//host/x#/$defs/a"])
@pytest.mark.parametrize("word", ["$ref", "$dynamicRef"])
def test_a_schema_fetches_nothing(reference: str, word: str) -> None:
    schema = {"type": "object", "properties": {"a": {word: reference}}}
    with pytest.raises(ConfigError, match="points to another document.*nothing is fetched"):
        schema_of(schema, "it")


def test_a_schema_may_point_to_parts_of_itself() -> None:
    parts = {"n": {"type": "integer"}, "t": {"$id": "t", "type": "string"}}
    places = {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "t"}}
    schema = schema_of({"$id": "http://e.x/s", "type": "object", "properties": places, "$defs": parts}, "it")
    assert schema.read({"a": 1, "b": "x"}) == {"a": 1, "b": "x"}
    with pytest.raises(Mismatch, match="b: 1 is not of type 'string'"):
        schema.read({"a": 1, "b": 1})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "pattern": "^(a+)+$"}, "a" * 50 + "!"),
        ({"type": "object", "patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 50 + "!": 1}),
        ({"type": "object", "patternProperties": {"^(a+)+$": {}}, "additionalProperties": {"type": "null"}}, {"b": 1}),
        ({"type": "object", "patternProperties": {"^a+$": {"type": "null"}}}, {"aa": 1}),
    ],
)
def test_a_pattern_takes_a_bounded_time(schema: dict[str, Any], value: Any) -> None:
    with pytest.raises(Mismatch):
        schema_of(schema, "it").read(value)


def test_a_pattern_that_cannot_be_bounded_is_refused() -> None:
    with pytest.raises(ConfigError, match="bounded time"):
        schema_of({"type": "string", "pattern": "(?=a)b"}, "it")
