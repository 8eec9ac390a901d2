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


def doubling(depth: int) -> dict[str, Any]:
    names = [f"a{number}" for number in range(depth)]
    parts: dict[str, Any] = {
        name: {"allOf": [{"$ref": f"#/$defs/{after}"}, {"$ref": f"#/$defs/{after}"}]}
        for name, after in zip(names, [*names[1:], "end"], strict=True)
    }
    return {"$ref": "#/$defs/a0", "$defs": {**parts, "end": {"type": "object"}}}


def shared(depth: int) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "object"}
    for _ in range(depth):
        part = {"anyOf": [part, part]}
    return part


ROUND: dict[str, Any] = {"type": "object", "properties": {}}
ROUND["properties"]["a"] = ROUND
DEEP: dict[str, Any] = {"type": "object"}
for _ in range(3000):
    DEEP = {"type": "object", "properties": {"a": DEEP}}


@pytest.mark.parametrize(
    "schema",
    [doubling(24), shared(26), ROUND, DEEP, {"$schema": 5, "type": "object"}, {"$id": "http://[", "$ref": "x", "type": "object"}],
    ids=["doubling", "shared", "round", "deep", "$schema", "$id"],
)  # fmt: skip
def test_a_schema_that_would_take_for_ever_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        schema_of(schema, "it")


def test_a_reply_cannot_make_a_check_take_for_ever() -> None:
    part = {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}
    schema = {"$ref": "#/$defs/a", "type": "array", "$defs": {"a": {"items": part}}}
    value: list[Any] = []
    for _ in range(30):
        value = [value]
    with pytest.raises(Mismatch):
        schema_of(schema, "it").read(value)


def test_items_are_told_apart_in_one_pass() -> None:
    schema = schema_of({"type": "array", "uniqueItems": True}, "it")
    assert len(schema.read([{"a": number} for number in range(50_000)])) == 50_000
    with pytest.raises(Mismatch):
        schema.read([1, True, 1.0])
    assert schema.read([1, True, "1"]) == [1, True, "1"]
