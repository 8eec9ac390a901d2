"""Whatever JSON an endpoint sends, in one piece or as a stream: a `Message` comes of it, or a `CometError`."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from comet_magic.api.events import MessageBuilder, stream_events
from comet_magic.errors import CometError
from comet_magic.messages.conversation import Turn
from comet_magic.messages.message import Message
from comet_magic.messages.usage import Usage
from comet_magic.render.message import to_markdown, to_plain
from comet_magic.store import requests

WORDS = (
    "type text thinking tool_use message message_start message_delta message_stop content_block_start signature index"
    " content_block_delta error usage content delta stop_reason end_turn input_tokens output_tokens name id input role"
    " assistant text_delta thinking_delta input_json_delta citations_delta signature_delta partial_json citations model"
    " stop_details refusal content_block request_id"
).split()
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.sampled_from(WORDS)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=12,
)
EVENTS = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(WORDS)}, optional=dict.fromkeys(WORDS[1:], VALUES)), max_size=8
)


def read(body: bytes) -> None:
    """Read a reply, show it, keep it, and send it on."""
    builder = MessageBuilder()
    try:
        for event in stream_events([body]):
            if event["type"] != "error":
                builder.add(event)
    except CometError:
        return
    message = builder.message()
    assert isinstance(message, Message)
    assert all(count is None or 0 <= count < 2**63 for count in message.usage)
    assert isinstance(message.usage, Usage)
    assert len(to_markdown(message)) < 10**6
    assert to_plain(message) is not None
    again = requests.from_json(requests.to_json(message))
    assert again is not None
    assert again.text == message.text
    if message.is_whole:
        assert Turn.of("c", (Message.user("q"), message)).is_whole


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_any_json_in_one_piece(value: Any) -> None:
    read(json.dumps(value).encode())
    read(json.dumps({"type": "message", "content": value, "usage": value, "stop_reason": value}).encode())
    read(json.dumps({"type": "message", "content": [value, {"type": "text", "text": value}], **{"id": value}}).encode())


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_any_json_as_events(events: list[Any]) -> None:
    read("".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + b'data: {"type":"message_stop"}\n\n')


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes(body: bytes) -> None:
    read(body)
    read(b"event: x\ndata: " + body + b"\n\n")
