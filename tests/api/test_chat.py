"""Chat completions: the cases C1 to C24, by number, against a server that writes scripted bytes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from cells import Ran
from chat_wire import (
    DONE,
    asked,
    call,
    calls,
    chat,
    data,
    named,
    of_server,
    part,
    responses,
    said,
    usage,
)
from wire_server import RESET, WireServer, canonical, reply, stream

import comet_magic
from comet_magic import conversations
from comet_magic.api.client import Client, TimeLimits
from comet_magic.api.endpoint import Endpoint
from comet_magic.api.transport import RequestsTransport
from comet_magic.errors import APIError, CometError, TransportError
from comet_magic.exchange import session
from comet_magic.messages.message import Message
from comet_magic.messages.request import CHAT, RESPONSES, Request
from comet_magic.render.message import ending, to_plain
from comet_magic.settings import CometSettings

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(60)).decode()


def reply_to(script: Any, dialect: str = CHAT, **fields: Any) -> Message:
    """The message that a client makes of it. Raises what iterating raises."""
    with WireServer(script) as server:
        client = Client(RequestsTransport(), Endpoint(server.url), limits=TimeLimits(2, 2, 5))
        request = Request(
            **{"model": "g", "max_tokens": 99, "dialect": dialect, **fields}, messages=(Message.user("hi"),)
        )
        with client.stream(request) as stream_of_reply:
            return stream_of_reply.until_done()


def failure_of(script: Any, dialect: str = CHAT) -> CometError:
    with pytest.raises(CometError) as raised:
        reply_to(script, dialect)
    return raised.value


Serve = Callable[..., WireServer]


@pytest.fixture
def gateway(serve: Serve) -> Serve:
    """Start a server that has a list of models and speaks chat completions."""
    return lambda *scripts: serve(of_server(*scripts))


def test_c1_text_usage_and_the_end(gateway: Serve, shell: Any) -> None:
    server = gateway(said("Four, and no more."))
    ran = Ran(shell, "%%claude -m gpt-6-luna -s Short. --stop END --temperature 0.5\n2+2?")
    assert "Four, and no more." in ran.plain
    assert "29 in · 2 out" in ran.plain
    assert comet_magic.last.stop_reason == "end_turn"
    (body,) = asked(server.received)
    assert body == {
        "model": "gpt-6-luna", "max_completion_tokens": 4096, "temperature": 0.5, "stop": ["END"], "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "Short."}, {"role": "user", "content": "2+2?"}],
    }  # fmt: skip
    assert [one.line for one in server.received] == ["GET /v1/models HTTP/1.1", "POST /v1/chat/completions HTTP/1.1"]
    Ran(shell, "%%claude -m gpt-6-luna\nand 2+3?")
    assert [one["content"] for one in asked(server.received)[1]["messages"]] == [
        "2+2?",
        "Four, and no more.",
        "and 2+3?",
    ]
    assert len(server.received) == 3  # the list is asked for once


def test_c2_the_last_chunk_holds_reason_usage_and_a_call() -> None:
    entry = call("query", {"sql": "SELECT 1"})
    message = reply_to(stream(part({"content": "So:"}), part({"tool_calls": [entry]}, "stop", usage=usage(7, 3)), DONE))
    assert message.stop_reason == "tool_use"
    assert message.tool_uses == [{"type": "tool_use", "id": "call_a", "name": "query", "input": {"sql": "SELECT 1"}}]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 3)


def test_c3_usage_in_every_chunk_is_not_added_up() -> None:
    chunks = [part({"content": str(n)}, usage=usage(10, n)) for n in range(1, 6)]
    message = reply_to(stream(*chunks, part({}, "stop", usage=usage(10, 5)), DONE))
    assert (message.text, message.usage.input_tokens, message.usage.output_tokens) == ("12345", 10, 5)


TWO = [("f", {"a": 1}), ("f", {"b": 2})]


def fragments(arguments: str, *keys: str | None) -> list[dict[str, Any]]:
    """A call in as many fragments as keys; the name is in the first."""
    ends = [len(arguments) * number // len(keys) for number in range(len(keys) + 1)]
    cut = [arguments[begin:end] for begin, end in pairwise(ends)]
    first = {"index": 0, "id": keys[0], "function": {"name": "f", "arguments": cut[0]}}
    others = [
        {"index": 0, **({} if key is None else {"id": key}), "function": {"arguments": text}}
        for key, text in zip(keys[1:], cut[1:], strict=True)
    ]
    return [first, *others]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([call("f", {"a": 1}, None, None), call("f", {"b": 2}, None, None)], TWO),  # C4
        ([call("f", {"a": 1}, "x", None), call("f", {"b": 2}, "y", None)], TWO),
        ([call("f", {"a": 1}, "x", 0), call("f", {"b": 2}, "y", 0)], TWO),  # C5
        ([call("f", {"a": 1}, None, 0), call("f", {"b": 2}, None, 0)], TWO),
        (fragments('{"a": 12345}', "x", None, None, None, None), [("f", {"a": 12345})]),  # C6
        (fragments('{"a": 12345}', *["x"] * 5), [("f", {"a": 12345})]),
        (fragments('{"a": 12345}', "x", "", "", "", ""), [("f", {"a": 12345})]),
        ([{"index": 0, "id": "x", "function": {"name": "f", "arguments": {"a": 1}}}], [("f", {"a": 1})]),
        ([{"index": 0, "id": "x", "function": {"arguments": '{"a"'}},
          {"index": 0, "function": {"name": "f", "arguments": ": 1}"}}], [("f", {"a": 1})]),
        ([{"index": 0, "id": "x", "function": {"name": "f", "arguments": '{"a": '}},
          {"index": 1, "id": "y", "function": {"name": "f", "arguments": '{"b": '}},
          {"index": 0, "function": {"arguments": "1}"}}, {"index": 1, "function": {"arguments": "2}"}}], TWO),
        ([{"index": 0, "id": "x", "function": {"name": "f", "arguments": ""}}], [("f", {})]),
    ],
)  # fmt: skip
def test_c4_c5_c6_calls_are_put_together_by_id_then_index_then_order(
    entries: list[dict[str, Any]], expected: list[Any]
) -> None:
    message = reply_to(calls(*entries))
    assert [(use["name"], use["input"]) for use in message.tool_uses] == expected
    ids = [use["id"] for use in message.tool_uses if use["id"]]
    assert len(set(ids)) == len(ids)
    assert all("partial_json" not in use for use in message.tool_uses)


ADD = "def add(a: int, b: int) -> int:\n    return a + b\nimport comet_magic\nadd = comet_magic.tool(safe=True)(add)"


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "function_call"])
def test_c7_calls_run_whatever_the_reason_says(gateway: Serve, shell: Any, finish: str) -> None:
    server = gateway(calls(call("add", {"a": 2, "b": 3}), finish=finish, text="I add."), said("It is 5."))
    shell.run_cell(ADD)
    ran = Ran(shell, "%%claude -m gpt-6-luna --tools add\n2+3?")
    assert "add(a=2, b=3) → 5" in ran.plain
    assert "It is 5." in ran.plain
    first, second = asked(server.received)
    assert [tool["function"]["name"] for tool in first["tools"]] == ["add"]
    assert first["tools"][0]["function"]["parameters"]["properties"].keys() == {"a", "b"}
    calling, result = second["messages"][-2:]
    assert calling["content"] == "I add."
    assert calling["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 2, "b": 3}'}
    assert result == {"role": "tool", "tool_call_id": "call_a", "content": "5"}


@pytest.mark.parametrize("end", [[DONE], []])
def test_c8_calls_without_a_reason_are_shown_and_not_run(gateway: Serve, shell: Any, end: list[bytes]) -> None:
    server = gateway(stream(part({"content": "I add."}), part({"tool_calls": [call("add", {"a": 2, "b": 3})]}), *end))
    shell.run_cell(ADD)
    ran = Ran(shell, "%%claude -m gpt-6-luna --tools add\n2+3?")
    assert len(asked(server.received)) == 1
    why = "ended without saying why" if end else "cut off"
    assert why in str(ran.error)
    assert why in ran.plain
    assert "add" in [use["name"] for use in comet_magic.last.tool_uses]
    assert comet_magic.last.calls == ()
    assert conversations.get().turns == ()


@pytest.mark.parametrize(("end", "why"), [([], "cut off"), ([DONE], "the reply ended without saying why")])
def test_c9_text_without_a_reason_is_no_turn(gateway: Serve, shell: Any, end: list[bytes], why: str) -> None:
    gateway(stream(part({"content": "Half of"}), part({"content": " it"}, ""), *end))
    ran = Ran(shell, "%%claude -m gpt-6-luna\nhi")
    assert isinstance(ran.error, TransportError)
    assert why in ran.plain
    assert "Half of it" in ran.plain
    assert conversations.get().turns == ()


def test_c10_chunks_without_choices_or_delta_are_passed_over() -> None:
    odd = [data(id="", choices=[], prompt_filter_results=[{"prompt_index": 0}]), data(choices=None), data(id="x")]
    last = data(choices=[{"index": 0, "finish_reason": "stop", "content_filter_results": {}}])
    nothing = data(choices=[{"index": 0, "delta": None, "finish_reason": None}])
    message = reply_to(stream(*odd, part({"content": "Four"}), nothing, b": PING\n\n", last, DONE))
    assert (message.text, message.stop_reason, message.warnings) == ("Four", "end_turn", ())


@pytest.mark.parametrize(
    "wrong",
    [
        data(error="the upstream is gone"),
        data(error={"message": "the upstream is gone", "code": 502}),
        data(choices=[], error={"message": "the upstream is gone"}),
        data(error_type="upstream", error_message="the upstream is gone"),
        b'event: error\ndata: {"message": "the upstream is gone"}\n\n',
        b"event: error\ndata: the upstream is gone\n\n",
    ],
)
def test_c11_an_error_in_the_stream_is_one_wherever_it_stands(wrong: bytes) -> None:
    assert "the upstream is gone" in str(failure_of(stream(wrong, DONE)))
    late = failure_of(stream(part({"content": "Half"}), wrong, DONE))
    assert "the upstream is gone" in str(late)
    assert late.partial is not None
    assert late.partial.text == "Half"
    behind = stream(part({"content": "All"}), part({}, "stop"), wrong, DONE)
    assert "the upstream is gone" in str(failure_of(behind))


def test_c11_what_passes_is_asked_again_while_nothing_was_shown(gateway: Serve, shell: Any) -> None:
    busy = stream(data(error={"message": "Rate limit reached, try again", "code": 429}), DONE)
    server = gateway(busy, said("Four"))
    assert "Four" in Ran(shell, "%%claude -m gpt-6-luna\nhi").plain
    assert len(asked(server.received)) == 2


def test_c11_an_error_in_a_whole_body() -> None:
    error = failure_of(reply({"error": {"message": "no such thing", "type": "x"}}))
    assert "no such thing" in str(error)
    assert "not a chat completion" in str(failure_of(reply({"object": "list", "data": []})))
    assert "HTML page" in str(failure_of(reply("<html><title>Hi</title>", "text/html")))


@pytest.mark.parametrize("both", [False, True])
def test_c12_reasoning_is_thinking_once(both: bool) -> None:
    also = {"reasoning": "Two and two"} if both else {}
    message = reply_to(chat(part({"reasoning_content": "Two and two", **also}), part({"content": "Four"})))
    assert (message.thinking, message.text) == ("Two and two", "Four")
    other = reply_to(
        chat(part({"reasoning": "Two"}), part({"reasoning_details": [{"text": "Two"}]}), part({"content": "4"}))
    )
    assert (other.thinking, other.text) == ("Two", "4")


def test_c13_reasoning_in_tags_at_the_start() -> None:
    message = reply_to(chat(part({"content": "<thi"}), part({"content": "nk>\na</think>\nb"})))
    assert (message.thinking, message.text) == ("a", "b")


@pytest.mark.parametrize("size", [100, 2_000_000])
@pytest.mark.parametrize("cut", [10**9, 13, 40_000])
def test_c14_pictures_in_the_text_are_cut_out(size: int, cut: int) -> None:
    if size // cut > 10_000:
        return
    data_of_picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(size)).decode()
    text = f"Here: ![image](data:image/png;base64,{data_of_picture}) and a list [1, 2]! ![a](b.png) Done!"
    began = time.monotonic()
    message = reply_to(chat(*(part({"content": text[at : at + cut]}) for at in range(0, len(text), cut))))
    assert time.monotonic() - began < 20  # far above what it takes, and far below what a quadratic way would
    assert message.text == "Here:  and a list [1, 2]! ![a](b.png) Done!"
    (picture,) = [block for block in message.content if block["type"] == "image"]
    assert picture["source"] == {"type": "base64", "media_type": "image/png", "data": data_of_picture}
    assert data_of_picture[:50] not in str(message.to_history())


def test_c14_a_picture_is_an_output_and_no_part_of_the_history(gateway: Serve, shell: Any) -> None:
    server = gateway(said(f"A boat: ![image](data:image/png;base64,{PNG})"), said("Blue."))
    ran = Ran(shell, "%%claude -m gemini-3-pro\ndraw")
    shown = [output for output in ran.outputs if "image/png" in output.data]
    assert [output.data["image/png"] for output in shown] == [PNG]
    assert PNG not in "".join(
        output.data.get("text/markdown", "") + output.data["text/plain"] for output in ran.outputs
    )
    Ran(shell, "%%claude -m gemini-3-pro\nof which colour?")
    assert PNG not in json.dumps(asked(server.received)[1])
    assert asked(server.received)[1]["messages"][1]["content"].strip() == "A boat:"


@pytest.mark.parametrize("tail", [f"![image](data:image/png;base64,{PNG * 9}", "![image](data:im", "![ima", "!"])
def test_c14_what_only_looks_like_a_picture_is_not_lost(tail: str) -> None:
    text = reply_to(said(f"It ends: {tail}")).text
    assert text == (f"It ends: {tail}" if "base64" not in tail else "It ends: [a picture that was cut off]")


UNSUPPORTED = {
    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter",
}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, UNSUPPORTED), (500, {**UNSUPPORTED, "type": "comet_api_error", "code": "invalid_request"})],
)
def test_c15_c16_the_name_of_the_limit_is_learned(gateway: Serve, shell: Any, status: int, error: Any) -> None:
    server = gateway(reply({"error": error}, status=status), said("Four"))
    assert "Four" in Ran(shell, "%%claude -m qwen3 --alone\n2+2?").plain
    Ran(shell, "%%claude -m qwen3 --alone\n2+3?")
    limits = [[name for name in body if name.startswith("max_")] for body in asked(server.received)]
    assert limits == [["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]]
    session.reset()  # as a new kernel
    Ran(shell, "%%claude -m qwen3 --alone\n2+4?")
    assert len(asked(server.received)) == 4


def test_a_field_that_the_user_asked_for_is_refused_aloud(gateway: Serve, shell: Any) -> None:
    error = {
        "message": "Unsupported value: 'temperature' does not support 0.2 with this model.",
        "code": "unsupported_value",
    }
    server = gateway(reply({"error": error}, status=400))
    ran = Ran(shell, "%%claude -m gpt-6-luna --temperature 0.2\nhi")
    assert "temperature" in str(ran.error)
    assert len(asked(server.received)) == 1


def test_a_model_that_is_only_behind_responses_is_asked_there(gateway: Serve, shell: Any) -> None:
    text = "This model is only supported in v1/responses and not in v1/chat/completions."
    message = [{"type": "message", "content": [{"type": "output_text", "text": "Four"}]}]
    server = gateway(reply({"error": {"message": text}}, status=404), responses(output=message))
    for prompt in ("2+2?", "2+3?"):
        assert "Four" in Ran(shell, f"%%claude -m gpt-6-luna --alone\n{prompt}").plain
    (row,) = shell.run_line_magic("claude_models", "gpt").rows
    assert row[2] == "responses"
    lines = [one.line.split()[1] for one in server.received if one.line.startswith("POST")]
    assert lines == ["/v1/chat/completions", "/v1/responses", "/v1/responses"]


SIGNATURE = {"google": {"thought_signature": "c2lnbmF0dXJl/+=="}}


def test_c17_what_a_model_wants_back_goes_back_to_it_alone(gateway: Serve, shell: Any) -> None:
    server = gateway(
        calls(call("add", {"a": 2, "b": 3}, "fc-1", None, extra_content=SIGNATURE), finish="stop"), said("It is 5."),
        said("Yes."), canonical("Yes."), said("Yes."),
    )  # fmt: skip
    shell.run_cell(ADD)
    Ran(shell, "%%claude -m gemini-3-pro --tools add\n2+3?")
    for model in ("gemini-3-pro", "claude-sonnet-5", "deepseek-v4"):
        assert "Yes." in Ran(shell, f"%%claude -m {model}\nsure?").plain
    _, same_turn, same_model, claude, other = asked(server.received)
    for body in (same_turn, same_model):
        (calling,) = [message for message in body["messages"] if "tool_calls" in message]
        assert calling["tool_calls"][0]["extra_content"] == SIGNATURE
    assert "signature" not in json.dumps(claude)
    assert set(claude["messages"][1]["content"][0]) == {"type", "id", "name", "input"}
    texts = [message["content"] for message in other["messages"]]
    assert 'called add with {"a": 2, "b": 3}' in texts[1]
    assert "[add returned:]\n5" in texts[2]
    assert not any("tool_calls" in message or message["role"] == "tool" for message in other["messages"])


def test_c17_a_signature_in_a_delta_of_its_own_is_kept() -> None:
    late = {"index": 0, "extra_content": SIGNATURE, "function": {}}
    (use,) = reply_to(calls(call("add", {"a": 2}), late)).tool_uses
    assert use["extra"] == {"extra_content": SIGNATURE}
    assert use["input"] == {"a": 2}


def test_c18_results_follow_their_calls_and_pictures_are_the_users(gateway: Serve, shell: Any) -> None:
    code = (
        "import comet_magic\nfrom PIL import Image\n@comet_magic.tool(safe=True)\ndef draw(name: str):\n"
        "    'Draw.'\n    return Image.new('RGB', (4, 4))\n@comet_magic.tool(safe=True)\ndef size(name: str) -> int:\n    return 4"
    )
    shell.run_cell(code)
    both = calls(call("draw", {"name": "x"}, "call_1", 0), call("size", {"name": "x"}, "call_2", 1))
    server = gateway(both, said("Black."))
    assert "Black." in Ran(shell, "%%claude -m gpt-6-luna --tools draw,size\ndraw").plain
    messages = asked(server.received)[1]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert [message.get("tool_call_id") for message in messages[2:4]] == ["call_1", "call_2"]
    assert [message["content"] for message in messages[1:4]][::2] == [None, "4"]
    assert isinstance(messages[2]["content"], str)
    text, picture = messages[4]["content"]
    assert "call_1" in text["text"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")


def test_c19_the_ladder_of_forms_is_gone_down_once(gateway: Serve, shell: Any) -> None:
    refused = reply(
        {"error": {"message": "This response_format type is unavailable now", "type": "invalid_request_error"}},
        status=400,
    )
    forced = {"message": "deepseek-reasoner does not support this tool_choice", "type": "invalid_request_error"}
    server = gateway(refused, reply({"error": forced}, status=400), said('{"value": 4}'))
    Ran(shell, "%%claude -m deepseek-v4 --as int -o n --alone\n2+2?")
    assert shell.user_ns["n"] == 4
    Ran(shell, "%%claude -m deepseek-v4 --as int -o n --alone\n2+3?")
    first, second, third, again = asked(server.received)
    assert first["response_format"]["json_schema"]["strict"] is True
    assert second["tool_choice"] == {"type": "function", "function": {"name": "reply"}}
    for body in (third, again):
        assert body["response_format"] == {"type": "json_object"}
        assert "JSON Schema" in body["messages"][-1]["content"]


def test_c19_a_forced_call_is_the_value(gateway: Serve, shell: Any) -> None:
    refused = reply({"error": {"message": "response_format is not supported"}}, status=400)
    gateway(refused, calls(call("reply", {"value": 4}), finish="stop"))
    Ran(shell, "%%claude -m deepseek-v4 --as int -o n\n2+2?")
    assert shell.user_ns["n"] == 4


def test_c20_a_refusal_is_shown_and_is_no_turn(gateway: Serve, shell: Any) -> None:
    gateway(chat(part({"refusal": "I cannot "}), part({"refusal": "do that."})))
    ran = Ran(shell, "%%claude -m gpt-6-luna\nhi")
    assert "refused: I cannot do that." in ran.plain
    assert conversations.get().turns == ()


def test_c20_a_content_filter_keeps_what_came(gateway: Serve, shell: Any) -> None:
    gateway(chat(part({"content": "It begins"}), finish="content_filter"))
    ran = Ran(shell, "%%claude -m gpt-6-luna\nhi")
    assert "It begins" in ran.plain
    assert "refused (content filter)" in ran.plain
    assert conversations.get().turns == ()


@pytest.mark.parametrize(
    ("counts", "expected", "words"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 30, "total_tokens": 100}, (20, 80), "80 out (50 reasoning)"),  # C21
        (usage(20, 30, completion_tokens_details={"reasoning_tokens": 12}), (20, 30), "30 out (12 reasoning)"),
        (usage(20, 30, prompt_tokens_details={"cached_tokens": 15}), (5, 30), "20 in (15 cached)"),
        (usage(20, 30, prompt_cache_hit_tokens=20), (0, 30), "20 in (20 cached)"),
        (usage(5, 30, prompt_tokens_details={"cached_tokens": 15}), (5, 30), "20 in (15 cached)"),
        (usage(20, 30, prompt_tokens_details={"cache_write_tokens": 8}), (12, 30), "20 in (8 written to cache)"),
    ],
)
def test_c21_counts_are_read_for_what_they_are(counts: dict[str, Any], expected: tuple[int, int], words: str) -> None:
    message = reply_to(chat(part({"content": "Four"}), counts=counts))
    assert (message.usage.input_tokens, message.usage.output_tokens) == expected
    assert words in str(message.usage)


TEXT = named("response.output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta="Four")


def test_c22_how_responses_end() -> None:
    message = reply_to(responses(TEXT), RESPONSES)
    assert (message.text, message.stop_reason, message.model) == ("Four", "end_turn", "o9")
    assert str(message.usage) == "29 in (9 cached) · 12 out (10 reasoning)"
    cut = reply_to(responses(TEXT, status="incomplete", incomplete_details={"reason": "max_output_tokens"}), RESPONSES)
    assert cut.stop_reason == "max_tokens"
    filtered = reply_to(
        responses(TEXT, status="incomplete", incomplete_details={"reason": "content_filter"}), RESPONSES
    )
    assert ending(filtered) == "refused (content filter)"
    error = failure_of(
        responses(TEXT, status="failed", error={"code": "server_error", "message": "it broke"}), RESPONSES
    )
    assert isinstance(error, APIError)
    assert error.code == "server_error"
    assert "it broke" in error.what
    assert "cut off" in failure_of(stream(TEXT), RESPONSES).what
    assert "it broke" in failure_of(stream(named("error", code="x", message="it broke")), RESPONSES).what
    refused = reply_to(responses(named("response.refusal.delta", output_index=0, delta="No.")), RESPONSES)
    assert ending(refused) == "refused: No."


def test_c22_responses_in_one_piece() -> None:
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"text": "Two and two"}], "encrypted_content": "e"},
        {"type": "message", "content": [{"type": "output_text", "text": "Four"}]},
    ]
    message = reply_to(reply({"id": "r", "object": "response", "status": "completed", "output": output}), RESPONSES)
    assert (message.thinking, message.text, message.stop_reason) == ("Two and two", "Four", "end_turn")


def test_c23_arguments_of_two_items_may_take_turns() -> None:
    events = [
        named(
            "response.output_item.added",
            output_index=at,
            item={"type": "function_call", "id": f"fc_{at}", "call_id": f"c{at}", "name": "f"},
        )
        for at in (0, 1)
    ]
    for text in ('{"n"', ": ", "1}"):
        events += [
            named("response.function_call_arguments.delta", item_id=f"fc_{at}", output_index=at, delta=text)
            for at in (0, 1)
        ]
    message = reply_to(responses(*events), RESPONSES)
    assert [(use["id"], use["input"]) for use in message.tool_uses] == [("c0", {"n": 1}), ("c1", {"n": 1})]
    assert message.stop_reason == "tool_use"


def test_responses_are_asked_without_storing_and_get_their_reasoning_back(gateway: Serve, shell: Any) -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    fc = {"type": "function_call", "id": "fc_1", "call_id": "call_9", "name": "add", "arguments": '{"a": 2, "b": 3}'}
    done = [named("response.output_item.done", output_index=at, item=one) for at, one in enumerate((item, fc))]
    server = gateway(responses(*done), responses(TEXT), responses(TEXT), said("Five."))
    shell.run_cell(ADD)
    ran = Ran(shell, "%%claude -m o9-mini --tools add -s Short. --effort high\n2+3?")
    assert "add(a=2, b=3) → 5" in ran.plain
    Ran(shell, "%%claude -m o9-mini\nsure?")
    Ran(shell, "%%claude -m qwen3\nsure?")
    first, second, third, other = asked(server.received)
    assert first["store"] is False
    assert first["include"] == ["reasoning.encrypted_content"]
    assert first["reasoning"] == {"effort": "high", "summary": "auto"}
    assert first["instructions"] == "Short."
    assert first["max_output_tokens"] == 4096
    assert first["tools"][0]["name"] == "add"
    assert second["input"][1:] == [
        item, {"type": "function_call", "call_id": "call_9", "name": "add", "arguments": '{"a": 2, "b": 3}'},
        {"type": "function_call_output", "call_id": "call_9", "output": "5"},
    ]  # fmt: skip
    assert item in third["input"]
    assert "gAAAA" not in json.dumps(other)


def test_c24_all_of_the_tokens_may_go_into_reasoning() -> None:
    counts = usage(10, 99, completion_tokens_details={"reasoning_tokens": 99})
    message = reply_to(chat(finish="length", counts=counts))
    assert "max_tokens = 99 was used up by reasoning" in to_plain(message)
    assert "-t" in to_plain(message)


# ---- beyond the list


def test_a_reply_in_one_piece_is_the_same(gateway: Serve, shell: Any) -> None:
    whole = {"role": "assistant", "content": "Four", "refusal": None, "reasoning_content": "2+2", "annotations": []}
    body = {
        "id": "c",
        "object": "chat.completion",
        "model": "g",
        "choices": [{"index": 0, "message": whole, "finish_reason": "stop"}],
        "usage": usage(),
    }
    message = reply_to(reply(body), stream=False)
    assert (message.text, message.thinking, message.usage.output_tokens) == ("Four", "2+2", 2)


def test_a_reset_behind_the_reason_is_no_matter_and_before_it_is_a_cut() -> None:
    whole = stream(part({"content": "Four"}), part({}, "stop", usage=usage()), end=(0.2, RESET))
    assert reply_to(whole).text == "Four"
    cut = failure_of(stream(part({"content": "Half"}), end=(0.2, RESET)))
    assert cut.partial is not None
    assert cut.partial.text == "Half"


def test_a_stop_between_two_reasons_does_not_undo_the_calls() -> None:
    script = stream(part({"tool_calls": [call("f", {})]}, "tool_calls"), part({}, "stop"), DONE)
    assert reply_to(script).stop_reason == "tool_use"
    assert reply_to(chat(part({"content": "Four"}), finish="tool_calls")).stop_reason == "end_turn"


def test_reasoning_goes_back_before_calls_and_everywhere_once_it_is_asked_for(gateway: Serve, shell: Any) -> None:
    thought = part({"reasoning_content": "I must add."})
    missing = reply(
        {"error": {"message": "The `reasoning_content` in the thinking mode must be passed back"}}, status=400
    )
    server = gateway(
        chat(thought, part({"tool_calls": [call("add", {"a": 2, "b": 3})]}), finish="tool_calls"),
        missing,
        said("5"),
        said("Yes"),
    )
    shell.run_cell(ADD)
    assert "5" in Ran(shell, "%%claude -m deepseek-v4 --tools add\n2+3?").plain
    bodies = asked(server.received)
    assert len(bodies) == 3
    for body in bodies[1:]:
        assert body["messages"][1]["reasoning_content"] == "I must add."
    Ran(shell, "%%claude -m deepseek-v4\nsure?")
    assert asked(server.received)[3]["messages"][1]["reasoning_content"] == "I must add."


def test_citations_are_links(gateway: Serve, shell: Any) -> None:
    note = {"type": "url_citation", "url_citation": {"url": "https://example.org/a", "title": "A page"}}
    gateway(chat(part({"content": "Four"}), part({"annotations": [note]})))
    assert "[A page](https://example.org/a)" in Ran(shell, "%%claude -m gpt-6-luna\n2+2?").markdown


def test_an_interrupt_keeps_what_came(gateway: Serve, shell: Any) -> None:
    with WireServer(stream(part({"content": "Half"}), end=(30,))) as server:
        client = Client(RequestsTransport(), Endpoint(server.url))
        with client.stream(Request("g", 9, (Message.user("hi"),), dialect=CHAT)) as growing:
            for event in growing:
                if event["type"] == "content_block_delta":
                    break
    assert (growing.message.text, growing.message.incomplete) == ("Half", "stopped by you")


def test_extra_fields_of_the_users_go_along(gateway: Serve, shell: Any) -> None:
    server = gateway(said("Four"))
    CometSettings.instance().extra_body = {"enable_thinking": False}
    Ran(shell, "%%claude -m qwen3\n2+2?")
    assert asked(server.received)[0]["enable_thinking"] is False


# ---- what an attack and a reading found


def test_what_stands_beside_text_in_a_delta_is_kept() -> None:
    both = part({"content": " and", "tool_calls": [call("f", {"a": 1})]})
    message = reply_to(chat(part({"content": "Text"}), both, part({"content": ".", "reasoning_content": "why"})))
    assert (message.text, message.thinking) == ("Text and.", "why")
    assert [use["input"] for use in message.tool_uses] == [{"a": 1}]


@pytest.mark.parametrize(
    "text",
    [
        'f"![p](data:image/png;base64,{b64})" ok',
        '"![p](data:image/png;base64," + b64 + ")" and all of the rest',
        "![p](data:image/png;base64,iVBORw0KGgo",
        "`![p](data:image/png;base64,…)` is how it is written",
        "![p](data:image/svg+xml;base64,AAAA)",
    ],
)
@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_code_about_such_addresses_stays(text: str, cut: int) -> None:
    assert reply_to(chat(*(part({"content": text[at : at + cut]}) for at in range(0, len(text), cut)))).text == text


def test_a_picture_is_shown_only_where_it_is_one(gateway: Serve, shell: Any) -> None:
    for source in (
        {"type": "base64", "media_type": "text/html", "data": "<script>alert(1)</script>"}, "x", {}, {"type": "base64"},
        {"type": "base64", "media_type": "image/png", "data": "<script>alert(1)</script>"},
    ):  # fmt: skip
        message = Message("assistant", ({"type": "image", "source": source}, {"type": "text", "text": "hi"}))  # type: ignore[typeddict-item]
        assert message.pictures == []
        assert "script" not in str(message._repr_mimebundle_())


def test_a_reply_of_a_picture_alone_is_whole(gateway: Serve, shell: Any) -> None:
    server = gateway(said(f"![image](data:image/png;base64,{PNG})"), said("Blue."))
    ran = Ran(shell, "%%claude -m gemini-3-pro\ndraw")
    assert "later cells do not see" not in ran.plain
    Ran(shell, "%%claude -m gemini-3-pro\nand now?")
    assert asked(server.received)[1]["messages"][1]["content"] == "(a picture)"


@pytest.mark.parametrize("reason", ["insufficient_system_resource", "error"])
def test_calls_of_a_reply_that_failed_are_not_run(gateway: Serve, shell: Any, reason: str) -> None:
    server = gateway(calls(call("add", {"a": 2, "b": 3}), finish=reason), said("5"))
    shell.run_cell(ADD)
    Ran(shell, "%%claude -m gpt-6-luna --tools add\n2+3?")
    assert comet_magic.last.stop_reason == reason
    assert comet_magic.last.calls == () or len(asked(server.received)) == 1


def test_a_refusal_of_another_dialect_leaves_the_cache_of_claude(gateway: Serve, shell: Any) -> None:
    long = "word " * 12_000
    server = gateway(said(long), reply({"error": UNSUPPORTED}, status=400), said("Yes."), canonical("Yes."))
    CometSettings.instance().history_tokens = 100_000
    for cell in ("-m qwen3\nwrite", "-m qwen3\nsure?", "-m opus\nsure?"):
        Ran(shell, f"%%claude {cell}")
    bodies = asked(server.received)
    assert len(bodies) == 4
    assert "cache_control" in json.dumps(bodies[3])


def test_ids_are_unique_in_a_conversation_whoever_made_them(gateway: Serve, shell: Any) -> None:
    def round_of(key: str | None) -> list[Any]:
        return [calls(call("add", {"a": 2, "b": 3}, key)), said("5")]

    server = gateway(*round_of(None), *round_of("functions.add:0"), *round_of("functions.add:0"), canonical("Yes."))
    shell.run_cell(ADD)
    for model in ("gpt-6-luna", "gemini-3-pro", "gpt-6-luna"):
        Ran(shell, f"%%claude -m {model} --tools add\n2+3?")
    Ran(shell, "%%claude\nsure?")
    for body in asked(server.received)[:-1]:
        ids = [one["id"] for message in body["messages"] for one in message.get("tool_calls", ())]
        results = [message["tool_call_id"] for message in body["messages"] if message["role"] == "tool"]
        assert ids == results
        assert len(set(ids)) == len(ids)
    blocks = [
        block
        for message in asked(server.received)[-1]["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
    ]
    ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert len(set(ids)) == 3
    assert ids == [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]


def test_the_same_call_without_an_id_is_run_in_each_round(gateway: Serve, shell: Any) -> None:
    gateway(calls(call("step", {}, None)), calls(call("step", {}, None)), said("Done."))
    shell.run_cell(
        "import comet_magic\nn = 0\n@comet_magic.tool(safe=True)\ndef step() -> int:\n    'Step.'\n    global n\n    n += 1\n    return n"
    )
    Ran(shell, "%%claude -m gpt-6-luna --tools step\ngo")
    assert [one.result for one in comet_magic.last.calls] == ["1", "2"]


def test_a_name_that_is_repeated_opens_no_call() -> None:
    again = {"index": 0, "function": {"name": "f", "arguments": ""}}
    message = reply_to(calls(call("f", {"x": 1}, None), again))
    assert [use["input"] for use in message.tool_uses] == [{"x": 1}]


def test_an_optional_field_may_come_as_null(gateway: Serve, shell: Any) -> None:
    server = gateway(
        said('{"name": "x", "n": null, "tags": null, "of": {"name": "y", "n": null, "tags": ["a"], "of": null}}')
    )
    shell.run_cell(
        "import dataclasses, typing\n@dataclasses.dataclass\nclass D:\n    name: str\n    n: int = 3\n"
        "    tags: list[str] = dataclasses.field(default_factory=list)\n    of: typing.Optional['E'] = None\n"
        "@dataclasses.dataclass\nclass E:\n    name: str\n    n: int = 4\n    tags: list[str] = dataclasses.field(default_factory=list)"
    )
    ran = Ran(shell, "%%claude -m gpt-6-luna --as D -o d\nmake one")
    assert ran.error is None
    assert (shell.user_ns["d"].n, shell.user_ns["d"].tags) == (3, [])
    assert len(asked(server.received)) == 1
    assert '"default"' not in json.dumps(asked(server.received)[0]["response_format"])


def test_lines_without_empty_lines_between_are_read() -> None:
    lines = [part({"content": "Four"}), part({}, "stop"), DONE]
    assert reply_to(stream(b"".join(line.replace(b"\n\n", b"\n") for line in lines))).text == "Four"


def test_a_message_in_place_of_a_delta_is_read() -> None:
    whole = data(choices=[{"index": 0, "message": {"role": "assistant", "content": "Four"}, "finish_reason": "stop"}])
    assert reply_to(stream(whole, DONE)).text == "Four"


def test_other_choices_are_no_part_of_the_reply() -> None:
    def of(index: int, text: str, finish: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": {"content": text}, "finish_reason": finish}

    script = stream(
        data(choices=[of(0, "A")]), data(choices=[of(1, "B")]), data(choices=[of(1, "B"), of(0, "a", "stop")]), DONE
    )
    assert reply_to(script).text == "Aa"


def test_counts_and_indexes_as_text_are_read() -> None:
    fragments_ = [
        {"index": index, "function": {"name": name, "arguments": text}}
        if name
        else {"index": index, "function": {"arguments": text}}
        for index, name, text in (("0", "f", '{"a":'), ("1", "f", '{"b":'), ("0", "", "1}"), (1.0, "", "2}"))
    ]
    counts = {"prompt_tokens": "100", "completion_tokens": 7.0}
    message = reply_to(chat(*(part({"tool_calls": [one]}) for one in fragments_), counts=counts))
    assert [use["input"] for use in message.tool_uses] == [{"a": 1}, {"b": 2}]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (100, 7)


def test_what_a_responses_stream_leaves_to_its_end_comes_once() -> None:
    item = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Four and more"}]}
    late = named("response.output_text.delta", item_id="msg_1", output_index=1, delta="Four")
    done = named("response.output_item.done", item_id="msg_1", output_index=1, item=item)
    assert reply_to(responses(late, done, output=[item]), RESPONSES).text == "Four and more"
    assert (
        reply_to(
            responses(output=[{**item, "content": [{"type": "output_text", "text": "Four", "annotations": 1}]}]),
            RESPONSES,
        ).text
        == "Four"
    )
    begun = named(
        "response.output_item.added", output_index=0, item={"type": "function_call", "call_id": "c", "name": "f"}
    )
    given = named("response.function_call_arguments.done", output_index=0, arguments='{"a": 1}')
    assert [use["input"] for use in reply_to(responses(begun, given), RESPONSES).tool_uses] == [{"a": 1}]
    whole = responses(TEXT)
    assert reply_to([*whole[:-1], RESET], RESPONSES).text == "Four"


def test_the_order_of_reasoning_and_calls_goes_back_as_it_came() -> None:
    from comet_magic.api.responses_body import responses_body

    blocks: list[Any] = []
    for number in (1, 2):
        item = {"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": "e"}
        blocks.append({"type": "thinking", "thinking": "", "extra": {"item": item}})
        blocks.append({"type": "tool_use", "id": f"call_{number}", "name": "f", "input": {}})
    results = [{"type": "tool_result", "tool_use_id": f"call_{number}", "content": "1"} for number in (1, 2)]
    messages = (Message.user("hi"), Message("assistant", tuple(blocks)), Message("user", tuple(results)))  # type: ignore[arg-type]
    kinds = [item.get("type") for item in responses_body(Request("o9", 9, messages))["input"]]
    assert kinds[1:5] == ["reasoning", "function_call", "reasoning", "function_call"]


def test_what_a_dialect_has_no_field_for_is_said(gateway: Serve, shell: Any) -> None:
    gateway(responses(TEXT))
    ran = Ran(shell, "%%claude -m o9 --stop END --think adaptive\nhi")
    assert "thinking = 'adaptive': not sent, for /v1/responses has no field for it" in ran.plain
    assert "the stop sequences: not sent" in ran.plain


@pytest.mark.parametrize(
    ("script", "dialect"),
    [
        (stream(data(detail="no such model")), RESPONSES),
        (stream(b"event: error\ndata: no such model\n\n"), RESPONSES),
        (stream(b'data: [{"error": {"code": 400, "message": "no such model"}}]\n\n'), CHAT),
    ],
)
def test_the_reason_that_is_given_is_said(script: Any, dialect: str) -> None:
    assert "no such model" in str(failure_of(script, dialect))


def test_an_endpoint_that_sends_us_to_and_fro_is_asked_twice(gateway: Serve, shell: Any) -> None:
    def elsewhere(received: Any) -> Any:
        other = "chat completions" if "responses" in received.line else "responses"
        return reply({"error": {"message": f"use the {other} endpoint: /v1/{other}"}}, status=400)

    server = gateway(elsewhere)
    ran = Ran(shell, "%%claude -m gpt-6-luna\nhi")
    assert isinstance(ran.error, APIError)
    assert len(asked(server.received)) == 2


def test_a_model_without_responses_is_asked_in_chat_unless_the_user_says_otherwise(gateway: Serve, shell: Any) -> None:
    def answer(received: Any) -> Any:
        return reply({}, status=404) if "responses" in received.line else said("Four")

    server = gateway(answer)
    for _ in range(2):
        assert "Four" in Ran(shell, "%%claude -m o9 --alone --fresh\n2+2?").plain
    paths = [one.line.split()[1].rpartition("/")[2] for one in server.received if one.body]
    assert paths == ["responses", "completions", "completions"]
    CometSettings.instance().dialects = {"o9": "responses"}
    assert isinstance(Ran(shell, "%%claude -m o9 --alone --fresh\n2+2?").error, APIError)
    assert "responses" in [one.line for one in server.received if one.body][3]


PICTURE = "from pathlib import Path\nfrom PIL import Image\nred = Image.new('RGB', (4, 4), 'red')\nPath('a.pdf').write_bytes(b'%PDF-1.4 ' + b'x' * 99)\npaper = Path('a.pdf')"


@pytest.mark.parametrize("model", ["gpt-6-luna", "gemini-3-pro", "o9"])
def test_pictures_and_pdf_files_go_along(gateway: Serve, shell: Any, model: str) -> None:
    server = gateway(responses(TEXT) if model == "o9" else said("Red."))
    shell.run_cell(PICTURE)
    assert Ran(shell, f"%%claude -m {model}\nWhat is in {{{{red}}}} and {{{{paper}}}}?").error is None
    (body,) = asked(server.received)
    parts = (body.get("messages") or body["input"])[-1]["content"]
    urls = [part["image_url"] for part in parts if "image_url" in part]
    files = [part.get("file", part) for part in parts if part["type"] in ("file", "input_file")]
    assert [(url if isinstance(url, str) else url["url"])[:22] for url in urls] == ["data:image/png;base64,"]
    assert [one["file_data"][:28] for one in files] == ["data:application/pdf;base64,"]
    assert files[0]["filename"].endswith(".pdf")


def test_a_value_of_a_model_behind_responses(gateway: Serve, shell: Any) -> None:
    delta = named("response.output_text.delta", output_index=0, delta='{"value": 4}')
    server = gateway(responses(delta))
    assert Ran(shell, "%%claude -m o9 --as int -o n\n2+2?").error is None
    assert shell.user_ns["n"] == 4
    form = asked(server.received)[0]["text"]["format"]
    assert (form["type"], form["strict"], form["schema"]["required"]) == ("json_schema", True, ["value"])
