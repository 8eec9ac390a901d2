"""Bytes to events to messages, without a network: however the bytes are cut, the result is one."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comet_magic.api.events import MessageBuilder, stream_events, whole_reply
from comet_magic.api.sse import ServerSentEvent, SSEDecoder
from comet_magic.errors import APIError
from comet_magic.messages.message import Message
from comet_magic.messages.usage import Usage
from comet_magic.render.message import notes

STREAM = (
    'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","model":"m","usage":{"input_tokens":7}}}\n\n'
    ': PING\n\nevent: ping\ndata: {"type":"ping"}\n\n'
    'event:content_block_start\ndata:{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n\n'
    "id: 4\nretry: 5\nevent: content_block_delta\n"
    'data: {"type":"content_block_delta","index":0,\ndata: "delta":{"type":"text_delta","text":"Hé ✓ \u2028\u0085"}}\n\n'
    'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ud83d"}}\n\n'
    'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ude00."}}\n\n'
    'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}\n\n'
    "data: [DONE]\n\n"
    'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
EXPECTED = Message(
    role="assistant",
    content=({"type": "text", "text": "Hé ✓ \u2028\x85\ud83d\ude00."},),
    model="m",
    stop_reason="end_turn",
    usage=Usage(input_tokens=7, output_tokens=5),
    id="msg_1",
)


def folded(chunks: list[bytes]) -> Message:
    builder = MessageBuilder()
    for event in stream_events(chunks):
        builder.add(event)
    return builder.message()


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_every_newline_and_every_chunk_size_give_one_message(newline: str, bom: str) -> None:
    data = (bom + STREAM.replace("\n", newline)).encode()
    for size in [*range(1, 70), 200, len(data)]:
        assert folded(cut(data, size)) == EXPECTED
    assert EXPECTED.text == "Hé ✓ \u2028\x85😀."


def slow_events(data: bytes) -> list[ServerSentEvent]:
    """The obvious reading of the specification, over the whole text at once."""
    events, name, values = [], "", []
    for line in [*re.split("\r\n|\n|\r", data.decode("utf-8", "replace")), ""]:
        field, _, value = line.partition(":")
        if line == "":
            if values:
                events.append(ServerSentEvent(name, "\n".join(values)))
            name, values = "", []
        elif field == "data" and ":" in line:
            values.append(value.removeprefix(" "))
        elif field == "event" and ":" in line:
            name = value.removeprefix(" ")
    return events


PIECES = st.sampled_from(
    [
        "data:",
        "data: ",
        "event: x",
        "event:",
        ":",
        "id: 1",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "{",
        "é",
        "✓",
        "a",
        " ",
        "\u2028",
        "\x85",
    ]
)


@settings(max_examples=1000, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join), st.lists(st.integers(1, 7), min_size=1))
def test_the_decoder_agrees_with_the_obvious_one(text: str, sizes: list[int]) -> None:
    data, chunks, at = text.encode(), [], 0
    while at < len(data):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(data[at : at + size])
        at += size
    decoder = SSEDecoder()
    events = [event for piece in chunks for event in decoder.feed(piece)] + decoder.flush()
    assert events == slow_events(data)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 9))
def test_no_bytes_do_more_than_raise_one_of_our_errors(data: bytes, size: int) -> None:
    from comet_magic.errors import CometError

    try:
        folded(cut(data, size))
    except CometError as error:
        assert "Traceback" not in str(error)


WIRE_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("type index delta message content_block usage text content stop_reason error name".split()),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                "message_start content_block_start content_block_delta content_block_stop message_delta x".split()
            ),
            WIRE_JSON,
        ),
        max_size=6,
    )
)
def test_events_of_any_shape_are_survived(shapes: list[tuple[str, object]]) -> None:
    data = b"".join(
        b"data: " + json.dumps({**(shape if isinstance(shape, dict) else {}), "type": kind}).encode() + b"\n\n"
        for kind, shape in shapes
    )
    builder = MessageBuilder()
    if data:
        for event in stream_events([data]):
            if event["type"] != "error":
                builder.add(event)
    message = builder.message()
    assert isinstance(message.text, str)
    assert isinstance(message.usage_line(), str)
    assert all(isinstance(note, str) for note in notes(message))


def test_a_long_line_is_linear_in_time_and_space() -> None:
    decoder = SSEDecoder()
    line = b'data: "' + b"x" * 2_000_000 + b'"\n\n'
    events = [event for piece in cut(line, 512) for event in decoder.feed(piece)]
    assert [len(event.data) for event in events] == [2_000_002]


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({"input_tokens": 3.0, "output_tokens": "4"}, Usage(3, 4)),
        ({"input_tokens": None, "output_tokens": True}, Usage()),
        ({"input_tokens": -1, "output_tokens": "many"}, Usage()),
        (None, Usage()),
        ({"server_tool_use": {"web_search_requests": 1}}, Usage(web_search_requests=1)),
    ],
)
def test_counts_are_taken_as_far_as_they_are_counts(wire: object, usage: Usage) -> None:
    assert Usage.from_wire(wire) == usage


def test_usage_adds_up_what_was_reported() -> None:
    assert Usage(1, None, 0) + Usage(2, None, 5) == Usage(3, None, 5)


def test_a_body_that_is_no_reply_says_what_it_is() -> None:
    for body, words in (
        (b"<html><title>Welcome</title></html>", "HTML page"),
        (b'{"object":"chat.completion","choices":[]}', "chat.completion"),
        (b'{"type":"message","conten', "not whole JSON"),
        ("{}".encode("utf-16"), "not whole JSON"),
        (b'["nope"]', "nope"),
    ):
        with pytest.raises(APIError, match=words):
            whole_reply(body)
