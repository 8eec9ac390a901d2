"""`--as` and `serve(…, as_=…)`: how a type is asked for, what is read as it, and what happens when it is not."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, Optional, TypedDict

import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
from cells import Ran
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_server import Received, Script, WireServer, block, canonical, delta, event, reply, start, stop, stream

import comet_magic
from comet_magic.errors import APIError, ConfigError, ReplyError
from comet_magic.exchange import session
from comet_magic.output import schema as schemas
from comet_magic.output import typed
from comet_magic.settings import CometSettings

KEY = "sk-test-0123456789abcdef"


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclasses.dataclass
class Point:
    x: int
    label: str = ""
    at: dt.date | None = None


class Named(TypedDict):
    name: str


class City(Named, total=False):
    people: int


class Model(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=2)
    points: list[Point] = []


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}, "required": ["n"]}


def ways(request: Any) -> str:
    """How a request asks for a form, as the wire shows it."""
    body = request.json
    if "format" in body.get("output_config", {}):
        return "format"
    if body.get("tool_choice", {}).get("type") == "tool":
        return "forced"
    if body.get("tools"):
        return "tool"
    return "words" if "JSON Schema" in json.dumps(body["messages"]) else "none"


def called(arguments: Any, *, parts: int = 3, reason: str = "tool_use", name: str = "reply") -> Script:
    """A streamed reply that is a call of a tool."""
    text = json.dumps(arguments)
    cuts = [text[len(text) * k // parts : len(text) * (k + 1) // parts] for k in range(parts)]
    deltas = (
        event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": part})
        for part in ["", *cuts]
    )
    opening = event(
        "content_block_start", index=0, content_block={"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    )
    return stream(
        start(input_tokens=7), opening, *deltas, event("content_block_stop", index=0), stop(reason, output_tokens=3)
    )


def refused(message: str, status: int = 400, code: str | None = None) -> Script:
    error = {"type": "invalid_request_error", "message": message, **({"code": code} if code else {})}
    return reply(json.dumps({"type": "error", "error": error}).encode(), status=status)


VALUES = [
    (int, '{"value": 4}', 4),
    (bool, '{"value": true}', True),
    (list[str], '{"value": ["a", "b"]}', ["a", "b"]),
    (dict[str, float], '{"a": 1.5}', {"a": 1.5}),
    (Literal["good", "bad"], '{"value": "bad"}', "bad"),
    (Mood, '{"value": "good"}', Mood.GOOD),
    (Point, '{"x": 1, "at": "2026-01-02"}', Point(1, "", dt.date(2026, 1, 2))),
    (list[Point], '{"value": [{"x": 1, "label": "p"}]}', [Point(1, "p")]),
    (City, '{"name": "Oslo"}', {"name": "Oslo"}),
    (list[City], '{"value": [{"name": "Oslo", "people": 700000}]}', [{"name": "Oslo", "people": 700000}]),
    (Optional[City], '{"value": null}', None),  # noqa: UP045  # the older spelling is a type, too
    (Model, '{"name": "ab", "points": [{"x": 2}]}', Model(name="ab", points=[Point(2)])),
    (tuple[int, str], '{"value": [1, "x"]}', (1, "x")),
    (Annotated[int, pydantic.Field(ge=1)], '{"value": 3}', 3),
    (int | None, '{"value": null}', None),
    (SCHEMA, '{"n": 3}', {"n": 3}),
    ({"type": "array", "items": {"type": "integer"}}, '{"value": [1, 2]}', [1, 2]),
]


@pytest.mark.parametrize(("kind", "text", "value"), VALUES, ids=[str(kind)[:40] for kind, _, _ in VALUES])
def test_a_value_of_each_kind_of_type(serve: Callable[..., WireServer], kind: Any, text: str, value: Any) -> None:
    server = serve(canonical(text))
    assert comet_magic.ask("What is it?", as_=kind) == value
    (sent,) = server.received
    schema = sent.json.get("output_config", {}).get("format", {}).get("schema") or sent.json["tools"][0]["input_schema"]
    assert schema["type"] == "object"  # the only root that the format, and a tool, can have
    assert sent.json["messages"] == [{"role": "user", "content": "What is it?"}]


@pytest.mark.parametrize(
    "text", ["4", '```json\n{"value": 4}\n```', 'Sure!\n\n{"value": 4}\n\nHope that helps {x}', "[4"]
)
def test_json_is_found_where_models_put_it(serve: Callable[..., WireServer], text: str) -> None:
    serve(canonical(text), canonical('{"value": 4}'))
    assert comet_magic.ask("How many?", as_=int) == 4


PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
NESTED = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=5), PLAIN | st.lists(PLAIN, max_size=3))


@given(NESTED, st.text(max_size=20), st.text(max_size=20))
def test_any_json_object_is_found_among_any_words(value: Any, before: str, after: str) -> None:
    wanted = typed.output_type(dict[str, Any], "dict")
    clean = str.maketrans("", "", '{[`~"\\')
    text = f"{before.translate(clean)}\n\n{json.dumps({'k': value})}\n\n{after.translate(clean)}"
    assert wanted.value_of(text) == {"k": value}


def test_the_format_takes_no_bounds_and_they_hold_all_the_same(serve: Callable[..., WireServer]) -> None:
    server = serve(canonical('{"n": -1}'), canonical('{"n": 1}'))
    assert comet_magic.ask("How many?", as_=SCHEMA) == {"n": 1}
    first, second = server.received
    schema = first.json["output_config"]["format"]["schema"]
    assert schema["properties"]["n"] == {"type": "integer"}
    assert schema["additionalProperties"] is False
    assert "less than the minimum" in second.json["messages"][-1]["content"]  # the validator's own words
    assert [message["role"] for message in second.json["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("kind", [dict[str, int], Any, list[Any]])
def test_an_open_schema_goes_by_a_tool(serve: Callable[..., WireServer], kind: Any) -> None:
    server = serve(called({"value": {"a": 1}} if kind is Any else {"value": [1]} if kind == list[Any] else {"a": 1}))
    assert comet_magic.ask("?", as_=kind) in ({"a": 1}, [1])
    assert ways(server.received[0]) == "forced"


# ---- the way to ask


def test_each_way_is_tried_and_the_one_that_is_taken_is_kept(serve: Callable[..., WireServer]) -> None:
    def server_of(received: Received) -> Script:
        way = ways(received)
        if way == "format":
            return refused("output_config.format: Extra inputs are not permitted")
        if way == "forced":
            return refused("tool_choice: forced tool use is not supported by this model", 500, "invalid_request")
        return called({"value": 4})

    server = serve(server_of)
    CometSettings.instance().dialects = {"*": "messages"}
    assert comet_magic.ask("How many?", as_=int) == 4
    assert [ways(sent) for sent in server.received] == ["format", "forced", "tool"]
    assert server.received[-1].json["messages"][-1]["content"].endswith("by calling the tool reply.")
    assert comet_magic.ask("And now?", as_=int) == 4
    session.reset()  # another kernel
    assert comet_magic.ask("And then?", as_=int) == 4
    assert [ways(sent) for sent in server.received[3:]] == ["tool", "tool"]
    assert comet_magic.ask("Another model?", as_=int, model="other") == 4
    assert [ways(sent) for sent in server.received[5:]] == ["format", "forced", "tool"]


def test_ways_that_are_ignored_are_left_and_cost_no_repair(serve: Callable[..., WireServer]) -> None:
    def server_of(received: Received) -> Script:
        if ways(received) != "words":
            return canonical("There are four of them.")
        wrong = len(received.json["messages"]) == 1
        return canonical('{"value": "four"}' if wrong else '{"value": 4}')

    server = serve(server_of)
    assert comet_magic.ask("How many?", as_=int) == 4
    assert [ways(sent) for sent in server.received] == ["format", "forced", "words", "words"]
    assert "valid integer" in server.received[-1].json["messages"][-1]["content"]
    assert comet_magic.last.usage.output_tokens == 20  # of all four
    assert comet_magic.ask("And now?", as_=int) == 4
    assert [ways(sent) for sent in server.received[4:]] == ["words", "words"]


def test_what_cannot_be_is_not_tried(serve: Callable[..., WireServer]) -> None:
    server = serve(called({"value": [1]}))
    for model in ("claude-opus-5-5", "claude-sonnet-5-5", "claude-sonnet-4-6-thinking"):  # cannot be forced
        assert comet_magic.ask("?", as_=list[Any], model=model) == [1]
    assert comet_magic.ask("?", as_=list[Any], thinking=2000) == [1]
    assert {ways(sent) for sent in server.received} == {"tool"}


@pytest.mark.parametrize(
    ("words", "times"),
    [("no", 4), ("prompt is too long", 1), ("credit balance is too low", 1), ("messages.0: roles must alternate", 1)],
)
def test_a_request_that_is_refused_whichever_way_it_asks_teaches_nothing(
    serve: Callable[..., WireServer], words: str, times: int
) -> None:
    """What says that it is about something else is asked once."""
    server = serve(*[refused(words)] * times, canonical('{"value": 4}'))
    with pytest.raises(APIError, match=words):
        comet_magic.ask("How many?", as_=int)
    assert len(server.received) == times
    assert comet_magic.ask("How many?", as_=int) == 4
    assert ways(server.received[-1]) == "format"


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_other_refusals_are_no_matter_of_the_way(serve: Callable[..., WireServer], status: int) -> None:
    server = serve(reply(b'{"error": {"type": "x", "message": "no"}}', status=status))
    with pytest.raises(APIError):
        comet_magic.ask("How many?", as_=int)
    assert len(server.received) == 1


# ---- replies that are not of the type


def test_one_repair_then_an_error_with_all_that_was_paid_for(serve: Callable[..., WireServer], shell: Any) -> None:
    server = serve(canonical('{"value": "four"}'), canonical('{"value": "five"}'))
    ran = Ran(shell, "%%claude --as int -o n --alone\nHow many?")
    assert isinstance(ran.error, ReplyError)
    assert ran.error.what.startswith("the reply is not usable as int: Input should be a valid integer")
    assert ran.error.what.endswith('(got "five")')
    assert ran.error.text == '{"value": "five"}'
    assert ran.error.usage is not None
    assert ran.error.usage.output_tokens == 10
    assert "n" not in shell.user_ns
    assert "valid integer" in ran.markdown  # the output says it, too
    assert "10 out · not usable as int" in ran.plain
    assert "partial" not in ran.plain
    assert "five" in ran.markdown
    assert len(server.received) == 2
    Ran(shell, "%%claude\nGo on.")
    assert [m["content"] for m in server.received[-1].json["messages"]] == ["Go on."]  # it was no turn


def test_a_reply_without_json_is_told_and_shown_as_the_text_that_it_is(
    serve: Callable[..., WireServer], shell: Any
) -> None:
    serve(*[canonical("Fine.")] * 4)
    ran = Ran(shell, "%%claude --as int\nHow many?")
    assert ran.error.what == 'the reply is not usable as int: the model answered with text ("Fine.")'
    assert "comet_magic.last.text" in ran.error.hint
    assert "```text\nFine.\n```" in ran.markdown
    assert "not usable: the reply is not usable as int" in str(Ran(shell, "%claude_history").result.result)


def test_json_that_was_cut_says_by_what(serve: Callable[..., WireServer]) -> None:
    server = serve(stream(start(), block(), delta('{"value": [1, 2, '), stop("max_tokens")))
    with pytest.raises(ReplyError, match=r"cut off at max_tokens = 50") as caught:
        comet_magic.ask("Count.", as_=list[int], max_tokens=50)
    assert "-t" in caught.value.hint
    assert caught.value.text == '{"value": [1, 2, '
    assert len(server.received) == 1  # once more would be cut once more
    server = serve(called([1, 2], reason="max_tokens"))
    with pytest.raises(ReplyError, match="cut off at max_tokens = 50"):
        comet_magic.ask("Count.", as_=list[Any], max_tokens=50)


def test_a_refusal_is_said(serve: Callable[..., WireServer]) -> None:
    serve(stream(start(), stop("refusal")))
    with pytest.raises(ReplyError, match="refused"):
        comet_magic.ask("Count.", as_=list[int])


def test_a_type_that_is_none_is_said_before_anything_is_sent(serve: Callable[..., WireServer], shell: Any) -> None:
    server = serve(canonical("4"))
    shell.user_ns["Point"] = Point
    for kind, said in [
        ("pd.DataFrme", "name 'pd' is not defined"),
        ("Pont", "did you mean Point?"),
        ("list[", "SyntaxError"),
        ("Point(1)", "no JSON can be read"),
        ("type('Thing', (), {})", "no JSON"),
        ("{'type': 'nonsense'}", "not a JSON Schema"),
    ]:
        ran = Ran(shell, f'%%claude --as "{kind}"\n?')
        assert isinstance(ran.error, ConfigError), kind
        assert said in str(ran.error), str(ran.error)
    assert server.received == []


def test_without_the_extra_it_says_what_to_install(
    serve: Callable[..., WireServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    server = serve(canonical("4"))
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[values\]'"):
        comet_magic.ask("?", as_=int)
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[values\]'"):
        comet_magic.ask("?", as_=SCHEMA)
    assert server.received == []


# ---- in a conversation, in the store, on the screen


def test_a_value_is_shown_as_jupyter_would_and_the_reply_below(serve: Callable[..., WireServer], shell: Any) -> None:
    serve(canonical('{"value": ["a", "b"]}'))
    ran = Ran(shell, "%%claude --as list[str] -o words\nTwo words.")
    assert shell.user_ns["words"] == ["a", "b"]
    value, below = [output.data for output in ran.outputs][-2:]
    assert value == {"text/plain": "['a', 'b']"}
    assert "reply, read as list" in below["text/markdown"]
    assert "<details>" in below["text/markdown"]
    assert '{"value": ["a", "b"]}' in below["text/markdown"]
    assert "11 in · 5 out" in below["text/markdown"]
    assert "the schema of list[str]" in below["text/plain"]
    assert comet_magic.last.value == ["a", "b"]


def test_however_it_came_the_turn_is_text(serve: Callable[..., WireServer], shell: Any) -> None:
    server = serve(called({"a": 1}), canonical("Thanks."))
    assert Ran(shell, "%%claude --as dict[str,int] -o d\nWhat?").error is None
    assert shell.user_ns["d"] == {"a": 1}
    Ran(shell, "%%claude\nThanks.")
    assert [m["content"] for m in server.received[-1].json["messages"]] == ["What?", '{"a": 1}', "Thanks."]
    assert "tools" not in server.received[-1].json


def test_a_replay_gives_the_value_whichever_way_was_learned_meanwhile(
    serve: Callable[..., WireServer], shell: Any
) -> None:
    server = serve(refused("output_config"), called({"value": 4}))
    CometSettings.instance().replay = "always"
    Ran(shell, "%%claude --as int -o n --alone\nHow many?")
    assert len(server.received) == 2
    del shell.user_ns["n"]
    ran = Ran(shell, "%%claude --as int -o n --alone\nHow many?")
    assert shell.user_ns["n"] == 4
    assert len(server.received) == 2
    assert "replayed" in ran.plain
    Ran(shell, "%%claude --as float -o n --alone\nHow many?")  # another type is another question
    assert len(server.received) == 3


def test_a_dry_run_shows_the_schema(serve: Callable[..., WireServer], shell: Any) -> None:
    server = serve(canonical("4"))
    ran = Ran(shell, "%%claude --as int --dry-run\nHow many?")
    assert "json_schema" in ran.plain
    assert server.received == []


# ---- tables


TABLE = {
    "columns": [{"name": "name", "type": "string"}, {"name": "n", "type": "integer"}, {"name": "x", "type": "number"}, {"name": "ok", "type": "boolean"}, {"name": "day", "type": "date"}, {"name": "at", "type": "datetime"}],
    "rows": [["a", 1, 1, True, "2026-01-02", "2026-01-02T03:04:05"], ["b", None, None, None, None, None]],
}  # fmt: skip


def test_a_data_frame_has_right_dtypes(serve: Callable[..., WireServer], shell: Any) -> None:
    serve(canonical(json.dumps(TABLE)))
    shell.user_ns["pd"] = pd
    ran = Ran(shell, "%%claude --as pd.DataFrame -o table\nA table.")
    assert ran.error is None
    table = shell.user_ns["table"]
    assert [str(dtype) for dtype in table.dtypes[1:]] == [
        "Int64",
        "float64",
        "boolean",
        "datetime64[us]",
        "datetime64[us]",
    ]
    assert pd.api.types.is_string_dtype(table["name"]) or table["name"].dtype == object
    assert "<table" in ran.outputs[-2].data["text/html"]
    assert Ran(shell, "%%claude --as DataFrame -o same\nA table.").error is None  # pandas' is meant
    pd.testing.assert_frame_equal(shell.user_ns["same"], table)


def test_data_frames_of_other_libraries(serve: Callable[..., WireServer]) -> None:
    serve(canonical(json.dumps(TABLE)))
    frame = comet_magic.ask("A table.", as_=pl.DataFrame)
    assert frame.dtypes == [pl.String, pl.Int64, pl.Float64, pl.Boolean, pl.Date, pl.Datetime]
    table = comet_magic.ask("A table.", as_=pa.Table)
    assert [str(kind) for kind in table.schema.types] == [
        "string",
        "int64",
        "double",
        "bool",
        "date32[day]",
        "timestamp[us]",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": [[1, 2]]}, "2 values for 6 columns"),
        (
            {"columns": [{"name": "n", "type": "integer"}, {"name": "n", "type": "integer"}], "rows": []},
            "two are called 'n'",
        ),
        ({"columns": [{"name": "n", "type": "integer"}], "rows": [["x"]]}, "column 'n' of type integer"),
        ({"columns": [{"name": "n", "type": "decimal"}], "rows": []}, "is not one of"),
    ],
)
def test_a_table_that_is_none_says_why(serve: Callable[..., WireServer], change: dict[str, Any], said: str) -> None:
    serve(canonical(json.dumps({**TABLE, **change})))
    with pytest.raises(ReplyError, match=said):
        comet_magic.ask("A table.", as_=pd.DataFrame)


@pytest.mark.parametrize("kind", [list[Point], list[City], list[Model]])
def test_records_show_themselves_as_a_table_and_become_one(serve: Callable[..., WireServer], kind: Any) -> None:
    records = {Point: [{"x": 1, "label": "<b>"}, {"x": 2, "at": "2026-01-02"}]}.get(
        kind.__args__[0], [{"name": "Oslo"}, {"name": "Rome"}]
    )
    serve(canonical(json.dumps({"value": records})))
    rows = comet_magic.ask("?", as_=kind)
    assert isinstance(rows, list)
    assert len(rows) == 2
    assert all(isinstance(row, dict if kind == list[City] else kind.__args__[0]) for row in rows)
    shown = rows._repr_mimebundle_()["text/markdown"]
    assert shown.count("\n|") == 3
    assert "<b>" not in shown
    frame = rows.to(pd.DataFrame)
    assert len(frame) == 2
    if kind == list[Point]:
        assert [str(dtype) for dtype in frame.dtypes] == ["int64", str(frame["label"].dtype), "datetime64[us]"]
        assert rows.to(pl.DataFrame).dtypes == [pl.Int64, pl.String, pl.Date]
    with pytest.raises(TypeError, match="takes the class"):
        rows.to(dict)


COLUMN_VALUES = {
    "string": st.text(max_size=5), "integer": st.integers(-(2**62), 2**62), "number": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(), "date": st.dates().map(str), "datetime": st.datetimes(min_value=dt.datetime(1700, 1, 1), max_value=dt.datetime(2200, 1, 1)).map(dt.datetime.isoformat),
}  # fmt: skip


@st.composite
def tables(draw: Any) -> dict[str, Any]:
    kinds = draw(st.lists(st.sampled_from(list(COLUMN_VALUES)), max_size=4))
    count = draw(st.integers(0, 4))
    columns = [draw(st.lists(st.none() | COLUMN_VALUES[kind], min_size=count, max_size=count)) for kind in kinds]
    names = [{"name": f"c{at}", "type": kind} for at, kind in enumerate(kinds)]
    return {"columns": names, "rows": [list(row) for row in zip(*columns, strict=True)] if columns else []}


@settings(max_examples=60, deadline=None)
@given(tables())
def test_any_table_of_the_form_becomes_one(table: dict[str, Any]) -> None:
    for kind in (pd.DataFrame, pl.DataFrame, pa.Table):
        frame = typed.output_type(kind).value_of(json.dumps(table))
        assert frame.shape == (len(table["rows"]) if table["columns"] else 0, len(table["columns"]))


# ---- schemas


def test_defaults_and_documentation_of_a_signature() -> None:
    def look(
        city: str,
        days: Annotated[int, pydantic.Field(ge=1)] = 3,
        *,
        json: list[int] | None = None,
        _hidden: Any = KEY,  # sent, as a signature is; tools hide secrets
    ) -> str:
        return city

    schema = schemas.signature_of(look, "look")
    assert schema.json["required"] == ["city"]
    assert list(schema.json["properties"]) == ["city", "days", "json", "_hidden"]
    assert schema.json["properties"]["days"] == {"default": 3, "minimum": 1, "type": "integer"}
    assert schema.json["additionalProperties"] is False
    assert schema.read({"city": "Oslo", "json": [1]}) == {"city": "Oslo", "json": [1]}
    with pytest.raises(schemas.Mismatch, match="days: .*greater than or equal to 1"):
        schema.read({"city": "Oslo", "days": 0})
    with pytest.raises(schemas.Mismatch, match="town: Extra inputs"):
        schema.read({"city": "Oslo", "town": 1})


class Tree(pydantic.BaseModel):
    children: list[Tree] = []


def test_a_recursive_type_is_no_format_but_a_tool(serve: Callable[..., WireServer]) -> None:
    server = serve(called({"value": {"children": [{"children": []}]}}), called({"children": [{"children": []}]}))
    assert comet_magic.ask("A tree.", as_=Tree) == Tree(children=[Tree()])
    assert ways(server.received[0]) == "forced"


# ---- what reviewers tried


def test_a_function_is_no_type(serve: Callable[..., WireServer]) -> None:
    server = serve(canonical('{"path": "/x"}'))
    ran: list[str] = []

    def delete(path: str) -> None:
        ran.append(path)

    for kind in (delete, ran.append, print, lambda: 1):
        with pytest.raises(ConfigError, match="a function is not a type"):
            comet_magic.ask("?", as_=kind)
    for schema in ({"a": "int"}, {}):
        with pytest.raises(ConfigError, match="it names no type"):
            comet_magic.ask("?", as_=schema)
    assert (ran, server.received) == ([], [])


@dataclasses.dataclass
class Picky:
    n: int = 0

    def __post_init__(self) -> None:
        {1: 1}[self.n]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, '{"value": true}'), (int, '{"value": "5"}'), (bool, '{"value": "yes"}'), (bool, '{"value": 1}'),
        (float, '{"value": true}'), (Point, '{"x": 1, "lable": "p"}'), (City, '{"name": "a", "size": 1}'), (Picky, '{"n": 2}'),
        (dt.date, '{"value": 0}'), (list[int], '{"value": [1, "2"]}'),
    ],
)  # fmt: skip
def test_what_is_not_quite_of_the_type_is_not_taken(serve: Callable[..., WireServer], kind: Any, text: str) -> None:
    server = serve(canonical(text))
    with pytest.raises(ReplyError):
        comet_magic.ask("?", as_=kind)
    assert len(server.received) == 2  # and once more, to mend it


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('A draft:\n```json\n{"x": 1}\n```\nBetter:\n```json\n{"value": [1, 2]}\n```', [1, 2]),
        ("From [1, 2] and [3] I get [6].", [6]),
    ],
)
def test_of_several_the_last_is_meant(serve: Callable[..., WireServer], text: str, value: Any) -> None:
    serve(canonical(text))
    assert comet_magic.ask("?", as_=list[int]) == value


class Aliased(pydantic.BaseModel):
    first_name: str = pydantic.Field(alias="firstName")
    mood: Mood = Mood.GOOD


def test_records_with_aliases_and_enums_become_a_table(serve: Callable[..., WireServer]) -> None:
    serve(canonical('{"value": [{"firstName": "Ada", "mood": "bad"}]}'))
    rows = comet_magic.ask("?", as_=list[Aliased])
    for kind in (pd.DataFrame, pl.DataFrame, pa.Table):
        frame = rows.to(kind)
        assert pl.DataFrame(frame).rows() == [("Ada", "bad")]
    assert "| Ada | bad |" in rows._repr_mimebundle_()["text/markdown"]


def test_tables_of_nothing_and_of_mixed_times(serve: Callable[..., WireServer]) -> None:
    kinds = [{"name": "s", "type": "string"}, {"name": "t", "type": "datetime"}]
    serve(canonical(json.dumps({"columns": kinds, "rows": []})))
    frame = comet_magic.ask("?", as_=pd.DataFrame)
    assert frame["s"].dtype == pd.Series(["x"]).dtype
    assert str(frame["t"].dtype) == "datetime64[us]"
    assert comet_magic.ask("?", as_=pl.DataFrame).dtypes == [pl.String, pl.Datetime]
    mixed = [["a", "2026-01-02T00:00:00"], ["b", "2026-01-02T00:00:00+01:00"]]
    serve(canonical(json.dumps({"columns": kinds, "rows": mixed})))
    with pytest.raises(ReplyError, match="some times have a zone"):
        comet_magic.ask("?", as_=pl.DataFrame)
    serve(canonical(json.dumps({"columns": [{"name": "n", "type": "integer"}], "rows": [[2**70]]})))
    with pytest.raises(ReplyError):
        comet_magic.ask("?", as_=pl.DataFrame)


def test_a_secret_is_in_no_schema_reply_error_or_store(
    serve: Callable[..., WireServer], shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2-very-long")

    @dataclasses.dataclass
    class Config:
        password: str = "hunter2-very-long"
        key: str = KEY

    server = serve(canonical(json.dumps({"value": KEY})))
    shell.user_ns["Config"] = Config
    done = Ran(shell, "%%claude --as Config\n?")
    assert isinstance(done.error, ReplyError)
    sent = json.dumps([received.json for received in server.received])
    assert "hunter2" not in sent
    assert KEY not in sent
    shown = str([output.data for output in done.outputs]) + str(done.error) + str(done.error.partial)
    done = Ran(shell, "%%claude --as str -o word\n?")
    assert done.error is None
    shown += str([output.data for output in done.outputs]) + shell.user_ns["word"]
    dump = "\n".join(session.current().store(CometSettings.instance())._connection.iterdump())
    assert "word" in shell.user_ns
    assert KEY not in dump
    assert KEY not in shown


def test_an_error_has_the_text_and_the_usage_however_it_came(serve: Callable[..., WireServer]) -> None:
    serve(called({"a": "x"}), called({"a": "y"}))
    with pytest.raises(ReplyError) as caught:
        comet_magic.ask("?", as_=dict[str, int])
    assert caught.value.text == '{"a": "y"}'
    assert caught.value.usage is not None
    assert caught.value.usage.output_tokens == 6
    serve(called({"a": 1}, reason="max_tokens"))
    with pytest.raises(ReplyError) as caught:
        comet_magic.ask("?", as_=dict[str, int])
    assert caught.value.usage is not None


def test_prose_where_a_way_is_known_to_fit_is_the_models_own(serve: Callable[..., WireServer]) -> None:
    server = serve(canonical('{"value": 4}'), canonical("I would rather not say."))
    CometSettings.instance().dialects = {"*": "messages"}
    assert comet_magic.ask("?", as_=int) == 4
    with pytest.raises(ReplyError):
        comet_magic.ask("?", as_=int)
    assert [ways(sent) for sent in server.received] == ["format"] * 3
    with pytest.raises(ReplyError):
        comet_magic.ask("?", as_=int, model="new")  # nothing is known of it, and nothing learned from this
    with pytest.raises(ReplyError):
        comet_magic.ask("?", as_=int, model="new")
    assert [ways(sent) for sent in server.received[3:]] == ["format", "forced", "words", "words"] * 2


def test_a_dry_run_shows_what_is_said_of_the_form(serve: Callable[..., WireServer], shell: Any) -> None:
    serve(canonical("Prose."), canonical("Prose."), canonical('{"value": 4}'))
    assert comet_magic.ask("?", as_=int) == 4  # in words
    done = Ran(shell, "%%claude --as int --dry-run\nHow many?")
    assert "Reply with nothing but JSON that fits this JSON Schema" in done.plain


@pytest.mark.parametrize("default", [float("inf"), float("nan")])
def test_a_default_that_no_json_is_stays_here(default: float) -> None:
    def scale(by: float = default) -> float:
        return by

    assert "default" not in json.dumps(schemas.signature_of(scale, "scale").json, allow_nan=False)


def test_one_stray_refusal_unlearns_nothing(serve: Callable[..., WireServer]) -> None:
    server = serve(canonical('{"value": 4}'), refused("a bad word"), canonical('{"value": 4}'))
    assert comet_magic.ask("?", as_=int) == 4
    with pytest.raises(APIError, match="bad word"):
        comet_magic.ask("?", as_=int)
    assert comet_magic.ask("?", as_=int) == 4
    assert [ways(sent) for sent in server.received] == ["format"] * 3


class Lenient(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)
    n: Annotated[int, pydantic.BeforeValidator(lambda value: str(value).replace(",", ""))] = pydantic.Field(alias="N")


class Level(enum.IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "3.0", 3), (float, "3", 3.0), (Level, "1", Level.LOW), (Lenient, '{"n": "1,234"}', Lenient(N=1234)),
        (dt.datetime, '"2026-01-02T03:04:05Z"', dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)),
        (set[int], "[1, 2]", {1, 2}), (dict[int, str], '{"1": "a"}', {1: "a"}), (Literal[1, 2], "2", 2),
    ],
)  # fmt: skip
def test_what_is_rightly_meant_is_read(kind: Any, text: str, value: Any) -> None:
    assert typed.output_type(kind).value_of(text) == value


def test_times_of_several_zones_become_one_column() -> None:
    rows = [["2026-01-02T00:00:00Z"], ["2026-01-02T00:00:00+02:00"]]
    table = {"columns": [{"name": "t", "type": "datetime"}], "rows": rows}
    assert str(typed.output_type(pd.DataFrame).value_of(json.dumps(table))["t"].dtype) == "datetime64[us, UTC]"
