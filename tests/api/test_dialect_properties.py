"""Whatever a conversation holds: its body is valid in every dialect, and a reply is the same message in each.

The stand-in for other services is judged, too: by the official client of that API, which reads the same bytes.
"""

from __future__ import annotations

import json
import re
from itertools import count
from typing import Any

import openai
import pytest
from chat_wire import DONE, call, calls, data, named, part, responses, said, usage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tool_calls import check
from wire_server import WireServer, block, event, start, stop

from comet_magic.api.chat_body import all_required, chat_body
from comet_magic.api.client import MessageStream
from comet_magic.api.dialect import dialect
from comet_magic.api.responses_body import responses_body
from comet_magic.api.transport import HTTPResponse
from comet_magic.messages.conversation import Turn
from comet_magic.messages.message import MARKS, Message
from comet_magic.messages.request import CHAT, MESSAGES, RESPONSES, Form, Request

MODELS = ("claude-opus-5", "gpt-6-luna", "gemini-3-pro", "deepseek-v4", "o9")
PNG = "iVBORw0KGgo="
words = st.text("abc \n{}[]\"'<>é\u2028😀", min_size=1, max_size=30).filter(str.strip)
image = st.just({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}})
pdf = st.just(
    {
        "type": "document",
        "title": "a",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
    }
)
text = words.map(lambda said: {"type": "text", "text": said})
arguments = st.dictionaries(st.sampled_from(("a", "b")), st.one_of(st.integers(), words, st.none()), max_size=2)
thinking = st.one_of(
    words.map(lambda said: {"type": "thinking", "thinking": said, "signature": "c2ln"}),
    words.map(lambda said: {"type": "thinking", "thinking": said, "extra": {"field": "reasoning_content"}}),
    st.just(
        {
            "type": "thinking",
            "thinking": "",
            "extra": {"item": {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"}},
        }
    ),
)
extras = st.one_of(st.just({}), st.just({"extra": {"extra_content": {"google": {"thought_signature": "c2ln"}}}}))


@st.composite
def turn(draw: Any, ids: Any) -> tuple[Message, ...]:
    """A question, rounds of calls with their results, and a reply."""
    messages = [Message("user", tuple(draw(st.lists(st.one_of(text, image, pdf), min_size=1, max_size=3))))]
    for _ in range(draw(st.integers(0, 2))):
        thoughts = draw(st.lists(thinking, max_size=1))
        uses = [
            {"type": "tool_use", "id": f"call_{next(ids)}", "name": "f", "input": draw(arguments), **draw(extras)}
            for _ in range(draw(st.integers(1, 3)))
        ]
        messages.append(Message("assistant", (*thoughts, *draw(st.lists(text, max_size=1)), *uses)))
        results = [
            {"type": "tool_result", "tool_use_id": use["id"],
             "content": draw(st.one_of(words, st.lists(st.one_of(text, image), min_size=1, max_size=2))),
             **draw(st.sampled_from(({}, {"is_error": True})))}
            for use in uses
        ]  # fmt: skip
        messages.append(Message("user", tuple(results)))
    return (*messages, Message("assistant", (*draw(st.lists(thinking, max_size=1)), draw(text))))


@st.composite
def requests(draw: Any) -> Request:
    ids = count()
    turns = [
        Turn.of(f"c{number}", draw(turn(ids)), draw(st.sampled_from(("", *MODELS))))
        for number in range(draw(st.integers(0, 3)))
    ]
    messages = draw(turn(ids))[:-1]  # a question, or one that goes on after calls
    tools = ({"name": "f", "description": "F.", "input_schema": {"type": "object", "properties": {}}},)
    form = Form({"type": "object", "properties": {"value": {"type": "integer"}}}, None)
    return Request(
        draw(st.sampled_from(MODELS)), 99, messages, system=draw(st.sampled_from((None, "Short."))), history=tuple(turns),
        tools=tools if draw(st.booleans()) else (), may_call=draw(st.booleans()),
        form=draw(st.sampled_from((None, form))), mode=draw(st.sampled_from(("format", "forced", "object", "words"))),
        sends_thinking=draw(st.sampled_from((None, True, False))),
    )  # fmt: skip


OF_ROLE = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls", "reasoning_content"},
    "tool": {"role", "content", "tool_call_id"},
}


def blocks_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    return message["content"] if isinstance(message["content"], list) else []


def check_chat(body: dict[str, Any]) -> None:
    """That a body is as the API of chat completions demands."""
    assert set(body) <= {
        "model", "messages", "max_tokens", "max_completion_tokens", "tools", "tool_choice", "response_format", "stream",
        "stream_options",
    }  # fmt: skip
    assert ("max_tokens" in body) != ("max_completion_tokens" in body)
    assert "tool_choice" not in body or body["tools"]
    pending: list[str] = []
    for index, message in enumerate(body["messages"]):
        role = message["role"]
        assert set(message) <= OF_ROLE[role]
        assert role != "system" or index == 0
        if role == "tool":
            assert isinstance(message["content"], str)
            assert message["content"]
            pending.remove(message["tool_call_id"])
            continue
        assert pending == [], "each call is answered before anybody else speaks"
        if role == "assistant":
            assert message["content"] is None or (isinstance(message["content"], str) and message["content"])
            assert message["content"] or message.get("tool_calls")
            for one in message.get("tool_calls", ()):
                assert set(one) <= {"id", "type", "function", "extra_content"}
                assert isinstance(json.loads(one["function"]["arguments"]), dict)
                assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", one["function"]["name"])
                pending.append(one["id"])
            assert len(set(pending)) == len(pending)
        elif isinstance(message["content"], list):
            for one in message["content"]:
                assert one["type"] in ("text", "image_url", "file")
                assert one["type"] != "text" or one["text"]
        else:
            assert message["content"]
    assert pending == []
    assert body["messages"][-1]["role"] in ("user", "tool")


def check_responses(body: dict[str, Any]) -> None:
    assert body["store"] is False
    pending: list[str] = []
    for item in body["input"]:
        kind = item.get("type", "message")
        if kind == "function_call":
            assert isinstance(json.loads(item["arguments"]), dict)
            pending.append(item["call_id"])
        elif kind == "function_call_output":
            assert isinstance(item["output"], str)
            pending.remove(item["call_id"])
        elif kind == "message":
            assert item["role"] == "assistant" or pending == []
            kinds = {"output_text"} if item["role"] == "assistant" else {"input_text", "input_image", "input_file"}
            assert item["content"]
            assert {one["type"] for one in item["content"]} <= kinds
        else:
            assert kind == "reasoning"
    assert pending == []


@given(requests())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_conversation_is_a_valid_body_in_every_dialect(request: Request) -> None:
    check_chat(chat_body(request))
    check_responses(responses_body(request))
    wire = request.to_wire()
    check(wire["messages"])
    assert not any(mark in block for message in wire["messages"] for block in blocks_of(message) for mark in MARKS)
    foreign = [
        block
        for message in request.full_messages[: -len(request.messages)]
        for block in blocks_of(message)
        if "extra_content" in block.get("extra", {}) and block.get("model", request.model) != request.model
    ]
    every = json.dumps(request.full_messages).count("thought_signature")
    assert json.dumps(chat_body(request)).count("thought_signature") <= every - len(foreign)


@st.composite
def replies(draw: Any) -> tuple[list[Any], list[Any]]:
    """The events of one reply, as Messages has them and as chat completions has them."""
    thought, answer = draw(st.one_of(st.just(""), words)), draw(st.one_of(st.just(""), words))
    uses = [(f"call_{number}", draw(arguments)) for number in range(draw(st.integers(0 if answer else 1, 3)))]

    def pieces(whole: str) -> list[str]:
        size = draw(st.integers(1, 9))
        return [whole[at : at + size] for at in range(0, len(whole), size)]

    ours: list[bytes] = [start()]
    theirs: list[bytes] = [part({"role": "assistant", "content": ""})]
    index = -1
    for kind, whole in (("thinking", thought), ("text", answer)):
        if not whole:
            continue
        index += 1
        ours.append(block(index, type=kind, **{kind: ""}))
        for piece in pieces(whole):
            ours.append(event("content_block_delta", index=index, delta={"type": f"{kind}_delta", kind: piece}))
            theirs.append(part({"reasoning_content" if kind == "thinking" else "content": piece}))
    for number, (key, given_) in enumerate(uses):
        index += 1
        ours.append(block(index, type="tool_use", id=key, name="f", input={}))
        for at, piece in enumerate(pieces(json.dumps(given_))):
            ours.append(
                event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": piece})
            )
            entry: dict[str, Any] = {"index": number, "function": {"arguments": piece}}
            theirs.append(
                part(
                    {
                        "tool_calls": [
                            entry if at else {**entry, "id": key, "function": {"name": "f", "arguments": piece}}
                        ]
                    }
                )
            )
    ours.append(stop("tool_use" if uses else "end_turn", output_tokens=9))
    theirs += [part({}, "tool_calls" if uses else "stop"), data(choices=[], usage=usage(11, 9)), DONE]
    return ours, theirs


def message_of(events: list[bytes], name: str, size: int) -> Message:
    raw = b"".join(events)
    chunks = [raw[at : at + size] for at in range(0, len(raw), size)]
    request = Request("g", 99, (Message.user("hi"),), dialect=name)
    reply = MessageStream(request, HTTPResponse(200, {}, chunks), 0.0, events=dialect(name).events)
    return reply.until_done()


@given(replies(), st.integers(1, 400))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_reply_is_the_same_message_in_both(both: tuple[list[Any], list[Any]], size: int) -> None:
    ours, theirs = (message_of(events, name, size) for events, name in zip(both, (MESSAGES, CHAT), strict=True))
    assert (theirs.text, theirs.thinking, theirs.stop_reason) == (ours.text, ours.thinking, ours.stop_reason)
    uses = [[(use["id"], use["name"], use["input"]) for use in message.tool_uses] for message in (ours, theirs)]
    assert uses[0] == uses[1]
    assert (theirs.usage.input_tokens, theirs.usage.output_tokens) == (11, 9)


def test_strict_schemas_have_every_property_required() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "string"}, "b": {"type": "integer"}, "c": {"enum": ["x", "y"]}, "d": {"$ref": "#/$defs/D"},
            "e": {"type": "array", "items": {"type": "object", "properties": {"f": {"type": "number"}}}},
        },
        "required": ["a", "e"], "$defs": {"D": {"type": "object", "properties": {}}},
    }  # fmt: skip
    strict = all_required(schema)
    assert strict["required"] == ["a", "b", "c", "d", "e"]
    assert strict["properties"]["a"] == {"type": "string"}
    assert strict["properties"]["b"] == {"type": ["integer", "null"]}
    assert strict["properties"]["c"] == {"anyOf": [{"enum": ["x", "y"]}, {"type": "null"}]}
    assert strict["properties"]["d"] == {"anyOf": [{"$ref": "#/$defs/D"}, {"type": "null"}]}
    items = strict["properties"]["e"]["items"]
    assert (items["required"], items["additionalProperties"]) == (["f"], False)
    assert strict["$defs"]["D"]["additionalProperties"] is False


# ---- the stand-in, as the official client reads it


@pytest.mark.parametrize(
    "script", [said("Four, and no more."), calls(call("f", {"a": 1}, "x", 0), call("f", {"b": 2}, "y", 1), text="So:")]
)
def test_the_official_client_reads_our_chat_completions_as_we_do(script: Any) -> None:
    with WireServer(script) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client:
        asked = {"model": "g", "messages": [{"role": "user", "content": "hi"}]}
        with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as theirs:
            completion = theirs.get_final_completion()
    raw = b"".join(step for step in script if isinstance(step, bytes)).partition(b"\r\n\r\n")[2]
    ours = message_of([_unchunked(raw)], CHAT, 999)
    message = completion.choices[0].message
    assert (message.content or "") == ours.text
    assert [(one.id, json.loads(one.function.arguments)) for one in message.tool_calls or ()] == [
        (use["id"], use["input"]) for use in ours.tool_uses
    ]
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (29, 2)


def test_the_official_client_reads_our_responses_as_we_do() -> None:
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Four", "annotations": []}]}  # fmt: skip
    delta = named("response.output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta="Four",
                  sequence_number=1, logprobs=[])  # fmt: skip
    script = responses(delta, output=[item])
    with WireServer(script) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client:
        texts = [
            one.delta
            for one in client.responses.create(model="o9", input="hi", stream=True)
            if one.type == "response.output_text.delta"
        ]
    raw = b"".join(step for step in script if isinstance(step, bytes)).partition(b"\r\n\r\n")[2]
    assert "".join(texts) == message_of([_unchunked(raw)], RESPONSES, 999).text == "Four"


def _unchunked(raw: bytes) -> bytes:
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        body, raw = body + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
    return body
