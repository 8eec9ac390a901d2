"""Any valid reply, passed through what gateways do to one: the same message, or an error with what had arrived.

Never a wrong value, and never a turn that later requests choke on. Each deformation was met in the wild.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tool_calls import check

from comet_magic.api.events import MessageBuilder, stream_events
from comet_magic.api.unpacking import Unpacker
from comet_magic.errors import CometError
from comet_magic.messages.conversation import Turn
from comet_magic.messages.message import Message

Event = dict[str, Any]
Reply = list[Event]
HEAD = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}


def reply_of(blocks: list[Event], reason: str) -> Reply:
    """The events of a reply, a delta for each three characters."""
    events: Reply = [{"type": "message_start", "message": {**HEAD, "usage": {"input_tokens": 9, "output_tokens": 1}}}]
    for index, block in enumerate(blocks):
        began: Event = {**block, "input": {}} if block["type"] == "tool_use" else {**block, block["type"]: ""}
        began.pop("signature", None)
        events.append({"type": "content_block_start", "index": index, "content_block": began})
        field = {"text": "text", "thinking": "thinking", "tool_use": "partial_json"}[block["type"]]
        kind = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}[block["type"]]
        text = json.dumps(block["input"]) if block["type"] == "tool_use" else block[block["type"]]
        for at in range(0, len(text), 3):
            events.append(_delta(index, kind, **{field: text[at : at + 3]}))
        if "signature" in block:
            events.append(_delta(index, "signature_delta", signature=block["signature"]))
        events.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": reason, "stop_sequence": None}
    return [*events, {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 7}}, {"type": "message_stop"}]


def _delta(index: int, kind: str, **fields: Any) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def as_sse(events: Reply) -> bytes:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def read(body: bytes) -> Message:
    builder = MessageBuilder()
    painted = ""
    for event in stream_events([body]):
        if event["type"] == "error":
            raise AssertionError(event)
        builder.add(event)
        if not builder.message().warnings:  # of an endpoint that begins anew
            assert builder.text.startswith(painted)
        painted = builder.text
    message = builder.message()
    assert message.text.startswith(painted) or message.warnings
    return message


# ---- what is done to a reply


def of_each(change: Callable[[Event], Event]) -> Callable[[Reply], bytes]:
    return lambda events: as_sse([change(event) for event in events])


def without_stops(events: Reply) -> bytes:
    return as_sse([event for event in events if event["type"] != "content_block_stop"])


def at_one_index(events: Reply) -> bytes:
    return as_sse([{**event, "index": 0} if "index" in event else event for event in events])


def started_twice(events: Reply) -> bytes:
    return as_sse([events[0], *events])


def begun_anew(events: Reply) -> bytes:
    """A gateway lost its upstream in the middle, and asked another."""
    half = events[: max(2, len(events) // 2)]
    again = {**events[0], "message": {**events[0]["message"], "id": "msg_2"}}
    return as_sse([*half, again, *events[1:]])


def without_types(events: Reply) -> bytes:
    def change(event: Event) -> Event:
        delta = event.get("delta", {})
        plain = {name: value for name, value in delta.items() if name != "type"}
        return {**event, "delta": plain} if delta.get("type", "").endswith(("text_delta", "json_delta")) else event

    return of_each(change)(events)


def glued(events: Reply) -> bytes:
    return ("".join(f"data: {json.dumps(event)}\n" for event in events) + "\n").encode()


def with_heartbeats(events: Reply) -> bytes:
    beat = b': keep-alive\n\ndata: ping\n\ndata:\n\nevent: ping\ndata: {}\n\ndata: {"type": "ping"}\n\n'
    return b"".join(beat + as_sse([event]) for event in events) + b"data: [DONE]\n\n"


def with_null_errors(events: Reply) -> bytes:
    return of_each(lambda event: {"error": None, **event})(events)


def arguments_in_the_start(events: Reply) -> bytes:
    arguments: dict[int, str] = {}
    for event in events:
        if event.get("delta", {}).get("type") == "input_json_delta":
            arguments[event["index"]] = arguments.get(event["index"], "") + event["delta"]["partial_json"]
    made = []
    for event in events:
        if event.get("delta", {}).get("type") == "input_json_delta":
            continue
        made.append(event)
        if event.get("content_block", {}).get("type") == "tool_use":
            whole = json.loads(arguments[event["index"]])
            made[-1] = {**event, "content_block": {**event["content_block"], "input": whole}}
            made.append(_delta(event["index"], "input_json_delta", partial_json=""))
    return as_sse(made)


def with_empty_arguments_first(events: Reply) -> bytes:
    made = []
    for event in events:
        made.append(event)
        if event.get("content_block", {}).get("type") == "tool_use":
            made.append(_delta(event["index"], "input_json_delta", partial_json="{}"))
    return as_sse(made)


def repeated_calls(events: Reply) -> bytes:
    calls = [event["index"] for event in events if event.get("content_block", {}).get("type") == "tool_use"]
    again = [{**event, "index": event["index"] + 50} for event in events if event.get("index") in calls]
    return as_sse([*events[:-2], *again, *events[-2:]])


def in_one_piece(events: Reply) -> bytes:
    builder = MessageBuilder()
    for event in events:
        builder.add(event)  # type: ignore[arg-type]
    message = builder.message()
    whole = {
        **HEAD,
        "content": message.content,
        "stop_reason": message.stop_reason,
        "usage": {"input_tokens": 9, "output_tokens": 7},
    }
    return json.dumps(whole).encode()


def arguments_as_text(times: int) -> Callable[[Reply], bytes]:
    def change(events: Reply) -> bytes:
        whole = json.loads(in_one_piece(events))
        for block in whole["content"]:
            for _ in range(times if block["type"] == "tool_use" else 0):
                block["input"] = json.dumps(block["input"])
        return json.dumps(whole).encode()

    return change


def other_words(events: Reply) -> bytes:
    words = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
    return as_sse([
        {**event, "delta": {**event["delta"], "stop_reason": words[event["delta"]["stop_reason"]]}}
        if event["type"] == "message_delta" else event
        for event in events
    ])  # fmt: skip


def unpacked(packed: bytes, encoding: str) -> bytes:
    unpacker = Unpacker(encoding)
    pieces = [piece for at in range(0, len(packed), 7) for piece in unpacker.feed(packed[at : at + 7])]
    return b"".join([*pieces, *unpacker.end()])


DEFORMATIONS: dict[str, Callable[[Reply], bytes]] = {
    "none": as_sse, "no stops": without_stops, "one index": at_one_index, "started twice": started_twice,
    "begun anew": begun_anew, "no types": without_types, "no empty lines": glued, "heartbeats": with_heartbeats,
    "error null": with_null_errors, "arguments in the start": arguments_in_the_start, "one piece": in_one_piece,
    "{} first": with_empty_arguments_first, "calls repeated": repeated_calls, "stop reasons of others": other_words,
    "arguments as text": arguments_as_text(1), "arguments as text of text": arguments_as_text(2),
    "CRLF": lambda events: as_sse(events).replace(b"\n", b"\r\n"),
    "CR": lambda events: as_sse(events).replace(b"\n", b"\r"),
    "BOM": lambda events: b"\xef\xbb\xbf" + as_sse(events),
    "gzip unsaid": lambda events: unpacked(gzip.compress(as_sse(events)), ""),
    "gzip said, none sent": lambda events: unpacked(as_sse(events), "gzip"),
    "deflate": lambda events: unpacked(zlib.compress(as_sse(events)), "deflate"),
    "several gzips": lambda events: unpacked(b"".join(gzip.compress(as_sse([event])) for event in events), "gzip"),
    "no message_stop": lambda events: as_sse(events[:-1]),
    "no end line": lambda events: as_sse(events).rstrip(b"\n"),
}  # fmt: skip

# What begins with a tag of reasoning is no plain text, and has tests of its own.
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), min_size=1, max_size=20).filter(
    lambda text: text.strip() and not re.match(r"\s*(◁think▷|\[think\])", text, re.I)
)
THINKING = st.fixed_dictionaries({"type": st.just("thinking"), "thinking": WORDS, "signature": st.just("sig")})
CALL = st.fixed_dictionaries(
    {
        "type": st.just("tool_use"),
        "name": st.just("f"),
        "input": st.dictionaries(WORDS, WORDS | st.integers(), min_size=1, max_size=3),
    }
)
TEXT = st.fixed_dictionaries({"type": st.just("text"), "text": WORDS})


@st.composite
def replies(draw: st.DrawFn) -> tuple[list[Event], str]:
    blocks = [*draw(st.lists(THINKING, max_size=1)), draw(TEXT)]
    calls = draw(st.lists(CALL, max_size=3))
    blocks += [{**call, "id": f"toolu_{number}"} for number, call in enumerate(calls)]
    return blocks, "tool_use" if calls else draw(st.sampled_from(["end_turn", "max_tokens"]))


@pytest.mark.parametrize("deform", DEFORMATIONS.values(), ids=DEFORMATIONS)
@settings(max_examples=25, deadline=None)
@given(made=replies())
def test_a_deformed_reply_is_the_same(deform: Callable[[Reply], bytes], made: tuple[list[Event], str]) -> None:
    blocks, reason = made
    message = read(deform(reply_of(blocks, reason)))
    assert [{key: value for key, value in block.items() if key != "citations"} for block in message.content] == blocks
    assert message.stop_reason == reason
    assert message.usage.input_tokens is not None
    if reason == "tool_use":
        results = [{"type": "tool_result", "tool_use_id": use["id"], "content": "ok"} for use in message.tool_uses]
        parts = (
            Message.user("q"),
            message,
            Message("user", tuple(results)),
            Message("assistant", ({"type": "text", "text": "so"},)),
        )  # type: ignore[arg-type]
        check([part.without_thinking().to_wire() for part in Turn.of("c", parts).messages])


@settings(max_examples=100, deadline=None)
@given(made=replies(), cut=st.floats(0, 1))
def test_a_reply_that_is_cut_anywhere_is_an_error_with_its_beginning(made: tuple[list[Event], str], cut: float) -> None:
    body = as_sse(reply_of(*made))
    end = body.index(b"event: message_delta")
    builder = MessageBuilder()
    try:
        for event in stream_events([body[: int(cut * end)]]):
            builder.add(event)
    except CometError:
        pass
    text = next(block["text"] for block in made[0] if block["type"] == "text")
    assert text.startswith(builder.text)
    assert not builder.finished
    assert not builder.message(incomplete="cut").is_whole


@settings(max_examples=50, deadline=None)
@given(answer=WORDS, thought=WORDS, name=st.sampled_from(["think", "thinking", "THINK"]))
def test_reasoning_in_tags_is_no_answer(answer: str, thought: str, name: str) -> None:
    text = f"\n<{name}>{thought}</{name}>\n\n{answer.strip()}"
    for deform in (as_sse, in_one_piece, without_stops):
        message = read(deform(reply_of([{"type": "text", "text": text}], "end_turn")))
        assert message.text == answer.strip()
        assert message.thinking == thought.strip()
        assert Turn.of("c", (Message.user("q"), message)).reply == answer.strip()


def test_reasoning_that_is_not_closed_is_cut() -> None:
    message = read(as_sse(reply_of([{"type": "text", "text": "<think>I wonder, 3?"}], "max_tokens")))
    assert message.text == ""
    assert message.thinking == "I wonder, 3?"
    assert not message.is_whole


@pytest.mark.parametrize("text", ["a <think>b</think> c", "<thinker>x</thinker>", "<", "<thi", "1 < 2", "  \n"])
def test_other_text_is_no_reasoning(text: str) -> None:
    message = read(as_sse(reply_of([{"type": "text", "text": text}], "end_turn")))
    assert message.text == text
    assert message.thinking == ""
