"""What gateways and servers were seen to send, and what a user gets of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cells import Ran
from tool_calls import check
from wire_server import (
    CLOSE,
    LAST_CHUNK,
    MESSAGE,
    OPEN_HEAD,
    RESET,
    WireServer,
    block,
    canonical,
    chunk,
    delta,
    event,
    reply,
    start,
    stop,
    stream,
)

import comet_magic
from comet_magic.api.client import connect
from comet_magic.api.error_replies import error_from
from comet_magic.api.retry import wait_of
from comet_magic.errors import APIError, CometError, ReplyError, TransportError
from comet_magic.exchange import session
from comet_magic.settings import CometSettings
from comet_magic.store import ledger

TOOL = "import comet_magic\ncalls = []\n@comet_magic.tool(safe=True)\ndef stock(item: str) -> int:\n    calls.append(item)\n    return 12"


@pytest.fixture
def serve(serve: Callable[..., WireServer], shell: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., WireServer]:
    """The same for all tests, with retries that do not wait, no replays, and the tool `stock`."""
    monkeypatch.setattr("comet_magic.api.retry.backoff_s", lambda tried: 0.01)
    shell.run_cell(TOOL)

    def started(*scripts: Any) -> WireServer:
        server = serve(*scripts)
        settings = CometSettings.instance()
        settings.replay, settings.retries = "never", 2
        return server

    return started


def json_delta(text: str, index: int = 0) -> bytes:
    return event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": text})


def thinking(text: str, index: int = 0) -> bytes:
    return event("content_block_delta", index=index, delta={"type": "thinking_delta", "thinking": text})


def signature(text: str, index: int = 0) -> bytes:
    return event("content_block_delta", index=index, delta={"type": "signature_delta", "signature": text})


def call(key: str, index: int = 0, **more: Any) -> bytes:
    return block(index, type="tool_use", id=key, name="stock", input={}, **more)


# ---- blocks


def test_a_delta_opens_a_block_of_its_own_type(serve: Callable[..., WireServer], shell: Any) -> None:
    thought = block(0, type="thinking", thinking="")
    serve(
        stream(
            start(),
            thought,
            thinking("hm"),
            delta("On a thinking block. "),
            call("t", 1),
            delta("On a call.", 1),
            stop(),
        )
    )
    ran = Ran(shell, "%%claude\nhi")
    assert comet_magic.last.text == "On a thinking block. On a call."  # type: ignore[attr-defined]
    assert comet_magic.last.thinking == "hm"  # type: ignore[attr-defined]
    assert ran.error is None


def test_two_calls_in_one_slot_are_two(serve: Callable[..., WireServer], shell: Any) -> None:
    first, second = call("t1") + json_delta('{"item": "lamp"}'), call("t2") + json_delta('{"item": "chair"}')
    server = serve(stream(start(), first, second, stop("tool_use")), canonical())
    Ran(shell, "%%claude --tools stock\nGo.")
    assert shell.user_ns["calls"] == ["lamp", "chair"]
    check(server.received[-1].json["messages"])


def test_the_same_call_is_run_once(serve: Callable[..., WireServer], shell: Any) -> None:
    once = [call("t1", 0), json_delta('{"item": "lamp"}', 0)]
    serve(stream(start(), *once, call("t1", 1), json_delta('{"item": "lamp"}', 1), stop("tool_use")), canonical())
    Ran(shell, "%%claude --tools stock\nGo.")
    assert shell.user_ns["calls"] == ["lamp"]


# ---- the end


def test_an_error_behind_the_end_makes_no_turn(serve: Callable[..., WireServer], shell: Any) -> None:
    late = event("error", error={"type": "timeout_error", "message": "upstream idle"})
    server = serve([OPEN_HEAD + start() + block() + delta("Half of") + stop() + late, CLOSE], canonical())
    ran = Ran(shell, "%%claude\none")
    assert isinstance(ran.error, CometError)
    assert "upstream idle" in ran.error.what
    Ran(shell, "%%claude\ntwo")
    assert len(server.received[-1].json["messages"]) == 1


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (reply("upstream connect error or disconnect", kind="text/plain"), "upstream connect error"),
        (
            [OPEN_HEAD + start() + block() + delta("Hel") + b"upstream request timeout", CLOSE],
            "upstream request timeout",
        ),
        (reply("<html><title>502 Bad Gateway</title></html>", kind="text/html"), "502 Bad Gateway"),
        (reply({"code": 1113, "msg": "no package"}), "no package"),
        (reply({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}), "insufficient balance"),
    ],
)
def test_words_in_place_of_a_reply_are_told(
    serve: Callable[..., WireServer], shell: Any, script: Any, words: str
) -> None:
    serve(script)
    error = Ran(shell, "%%claude\nhi").error
    assert isinstance(error, CometError)
    assert words in error.what


# ---- later requests


def test_thinking_before_calls_is_sent_back_where_it_is_wanted(serve: Callable[..., WireServer], shell: Any) -> None:
    thought = [block(0, type="thinking", thinking=""), thinking("hm"), signature("S1")]
    called = stream(start(), *thought, call("t1", 1), json_delta('{"item": "lamp"}', 1), stop("tool_use"))
    wanted = "The `content[].thinking` in the thinking mode must be passed back to the API."

    def picky(received: Any) -> Any:
        if received.json["messages"][-1]["content"] == "Go.":
            return called
        for message in received.json["messages"]:
            kinds = [part["type"] for part in message["content"]] if isinstance(message["content"], list) else []
            if "tool_use" in kinds and "thinking" not in kinds:
                return reply({"error": {"message": wanted, "type": "invalid_request_error"}}, status=400)
        return canonical()

    server = serve(picky)
    Ran(shell, "%%claude -c x --tools stock\nGo.")
    assert Ran(shell, "%%claude -c x\nAnd?").error is None
    asked = len(server.received)
    assert Ran(shell, "%%claude -c x\nAnd now?").error is None
    assert len(server.received) == asked + 1  # learned


def test_thinking_is_left_out_otherwise_and_where_it_is_refused(serve: Callable[..., WireServer], shell: Any) -> None:
    thought = [block(0, type="thinking", thinking=""), thinking("hm"), signature("S1")]
    called = stream(start(), *thought, call("t1", 1), json_delta('{"item": "lamp"}', 1), stop("tool_use"))

    def strict(received: Any) -> Any:
        if received.json["messages"][-1]["content"] == "Go.":
            return called
        if '"thinking"' in json.dumps(received.json["messages"]):
            return reply({"error": {"message": "messages.1: Invalid `signature` in `thinking` block"}}, status=400)
        return canonical()

    serve(strict)
    assert Ran(shell, "%%claude -c x --tools stock\nGo.").error is None
    assert Ran(shell, "%%claude -c x\nAnd?").error is None


def test_unsigned_thinking_is_not_sent_back(serve: Callable[..., WireServer], shell: Any) -> None:
    thought = [block(0, type="thinking", thinking=""), thinking("hm")]
    server = serve(
        stream(start(), *thought, call("t1", 1), json_delta('{"item": "lamp"}', 1), stop("tool_use")), canonical()
    )
    Ran(shell, "%%claude --tools stock\nGo.")
    assert '"thinking"' not in json.dumps(server.received[-1].json["messages"])


def test_ids_of_another_model_are_rewritten(serve: Callable[..., WireServer], shell: Any) -> None:
    use = {"type": "tool_use", "id": "functions.stock:0", "name": "stock", "input": {"item": "lamp"}}
    server = serve(reply({**MESSAGE, "content": [use], "stop_reason": "tool_use"}), canonical())
    Ran(shell, "%%claude -c x --tools stock\nGo.")
    Ran(shell, "%%claude -c x\nAnd?")
    messages = server.received[-1].json["messages"]
    check(messages)
    assert "functions.stock" not in json.dumps(messages)


# ---- words of other APIs


def test_a_paused_reply_goes_on_by_itself(serve: Callable[..., WireServer], shell: Any) -> None:
    search = block(1, type="server_tool_use", id="srv_1", name="web_search", input={"query": "x"})
    paused = stream(
        start(), block(), delta("I will search. "), event("content_block_stop", index=0), search, stop("pause_turn")
    )
    server = serve(paused, paused, canonical("Found."))
    done = Ran(shell, "%%claude\nhi")
    assert done.plain.startswith("I will search. I will search. Found.")
    assert [message["role"] for message in server.received[-1].json["messages"]] == ["user", "assistant"]
    assert server.received[-1].json["messages"][-1]["content"][1]["type"] == "server_tool_use"
    server = serve(paused)
    done = Ran(shell, "%%claude\nagain")
    assert len(server.received) == 11
    assert "paused by the server" in done.plain


def test_sources_are_shown_as_links(serve: Callable[..., WireServer], shell: Any) -> None:
    def cited(url: str, title: str) -> bytes:
        citation = {"type": "web_search_result_location", "url": url, "title": title, "cited_text": "42"}
        return event("content_block_delta", index=0, delta={"type": "citations_delta", "citation": citation})

    pages = [cited("https://example.org/a(b)?q=$1", "A [page]"), cited("javascript:alert(1)", "<b>evil</b>")]
    serve(stream(start(), block(), delta("It is 42."), *pages, pages[0], stop()))
    done = Ran(shell, "%%claude\nhi")
    assert "[A &#91;page&#93;](https://example.org/a%28b%29?q=%241)" in done.markdown
    assert "javascript" not in done.markdown
    assert "<b>" not in done.markdown
    assert done.plain.count("source: A [page] https://example.org/a(b)?q=$1") == 1


@pytest.mark.parametrize("before", [[], [start()], [start(), block()]])
@pytest.mark.parametrize("wait_s", [0.0, 0.3])
def test_overloaded_before_any_words_is_asked_once_more(
    serve: Callable[..., WireServer], shell: Any, before: list[bytes], wait_s: float
) -> None:
    busy = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    server = serve(stream(*before, end=[wait_s, chunk(busy), LAST_CHUNK]), canonical("4"))
    assert Ran(shell, "%%claude\nhi").plain.startswith("4")
    assert len(server.received) == 2


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "7"}, "", 7), ({"retry-after-ms": "1500"}, "", 1.5), ({"x-ratelimit-reset": "2"}, "", 2),
        ({"x-ratelimit-reset-requests": "1m2s", "x-ratelimit-reset-tokens": "120ms"}, "", 0.12),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-tokens": "1s",
          "x-ratelimit-remaining-tokens": "9"}, "", 360),
        ({}, "Rate limit reached. Please try again in 20s.", 20), ({}, "retry after 3 seconds", 3),
        ({}, '{"retryDelay": "16s"}', 16), ({}, "try again in 1.5 minutes", 90), ({}, "wait a little", None),
        ({"x-ratelimit-limit": "60"}, "", None), ({"x-ratelimit-reset": "soon"}, "", None),
    ],
)  # fmt: skip
def test_every_way_to_ask_for_patience_is_read(headers: dict[str, str], body: str, seconds: float | None) -> None:
    assert wait_of(headers, body.encode()) == seconds


def test_a_time_to_come_is_waited_for() -> None:
    then = time.time() + 30
    for value in (f"{then:.0f}", f"{then * 1000:.0f}", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(then))):
        assert wait_of({"anthropic-ratelimit-tokens-reset": value}) == pytest.approx(30, abs=2)


# ---- values, models, prices


def test_reasoning_is_not_read_as_a_value(serve: Callable[..., WireServer], shell: Any) -> None:
    serve(canonical('<think>\nMaybe {"value": 3}? No, I say 42.\n</think>\n\n42'))
    Ran(shell, "%%claude --as int -o number\nHow many?")
    assert shell.user_ns["number"] == 42
    serve(canonical("<think>```json\n3\n```"))
    assert isinstance(Ran(shell, "%%claude --as int\nHow many?").error, ReplyError)


def test_a_list_of_models_is_read_to_its_end(serve: Callable[..., WireServer]) -> None:
    pages = [{"data": [{"id": f"m{page}"}], "has_more": page < 3, "last_id": f"m{page}"} for page in range(4)]
    server = serve(*map(reply, pages))
    assert [model["id"] for model in connect(CometSettings.instance()).models()] == ["m0", "m1", "m2", "m3"]
    assert [received.line.split()[1] for received in server.received][1:] == [
        f"/v1/models?after_id=m{n}" for n in range(3)
    ]
    serve(reply({"data": [{"name": "x"}, {"name": "y"}]}))
    with pytest.raises(APIError, match="list of 2 models names no id"):
        connect(CometSettings.instance()).models()


def test_a_list_of_models_that_goes_round_ends(serve: Callable[..., WireServer]) -> None:
    server = serve(reply({"data": [{"id": "m"}], "has_more": True, "last_id": "m"}))
    assert len(connect(CometSettings.instance()).models()) == 1
    assert len(server.received) == 2


def test_a_second_generation_is_paid_for_too(serve: Callable[..., WireServer], shell: Any) -> None:
    again = start().replace(b"msg_1", b"msg_2")
    serve(stream(start(), block(), delta("x" * 3000), again, block(), delta("Whole."), stop()))
    done = Ran(shell, "%%claude\nhi")
    assert done.plain.startswith("Whole.")
    assert "began its reply anew" in done.plain
    usage = ledger.lines(session.current().store(CometSettings.instance()), "model")[0]
    assert usage.input == 22
    assert usage.output is not None
    assert usage.output > 500


@pytest.mark.parametrize("encoding", ["br", "zstd", "zap"])
def test_a_packing_that_was_not_asked_for_is_named(serve: Callable[..., WireServer], shell: Any, encoding: str) -> None:
    serve(reply(b"\x8b\x00\x80\x01", content_encoding=encoding))
    error = Ran(shell, "%%claude\nhi").error
    assert isinstance(error, TransportError)
    assert repr(encoding) in error.what
    serve(reply(MESSAGE, content_encoding=encoding))
    assert Ran(shell, "%%claude\nhi").error is None


# ---- what an attacker found


@pytest.mark.parametrize("end", [[CLOSE], [RESET], [0.05, RESET]])
def test_a_connection_that_breaks_when_all_has_come_is_no_matter(
    serve: Callable[..., WireServer], shell: Any, end: list[Any]
) -> None:
    server = serve(stream(start(), block(), delta("Hi"), stop(), end=end), canonical())
    assert Ran(shell, "%%claude\none").error is None
    Ran(shell, "%%claude\ntwo")
    assert len(server.received[-1].json["messages"]) == 3


def test_a_second_reply_that_is_cut_is_no_turn(serve: Callable[..., WireServer], shell: Any) -> None:
    ended = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5})
    again = start().replace(b"msg_1", b"msg_2")
    server = serve(stream(start(), block(), delta("Whole"), ended, again, block(), delta("Half")), canonical())
    assert isinstance(Ran(shell, "%%claude\none").error, CometError)
    Ran(shell, "%%claude\ntwo")
    assert len(server.received[-1].json["messages"]) == 1


def test_what_is_painted_behind_a_call_is_a_beginning_too(
    serve: Callable[..., WireServer], shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comet_magic.notebook import display

    monkeypatch.setattr(display, "PAINT_S", 0.0)
    called = stream(start(), call("t1"), json_delta('{"item": "lamp"}'), stop("tool_use"))
    tags = [delta("<thi"), delta("nk>secret</think>Tw"), delta("elve.")]
    paused = [step for tag in tags for step in (chunk(tag), 0.1)]
    serve(called, [*stream(start(), block(), end=[0.1]), *paused, chunk(stop()), LAST_CHUNK])
    done = Ran(shell, "%%claude --tools stock\nGo.")
    painted = [output.data.get("text/markdown", "") for output in done.outputs]
    assert not [text for text in painted if "thi" in text.split("12")[-1]]
    assert "Twelve." in done.plain


@pytest.mark.parametrize("message", ["insufficient balance (1008)", "The model `x` does not exist"])
def test_what_does_not_go_by_is_asked_once(serve: Callable[..., WireServer], shell: Any, message: str) -> None:
    server = serve(stream(event("error", error={"type": "api_error", "message": message})), canonical())
    assert isinstance(Ran(shell, "%%claude\nhi").error, APIError)
    assert len(server.received) == 1


@pytest.mark.parametrize("content", [[], [{"type": "text", "text": "Half"}]])
def test_an_error_in_a_whole_reply_is_told(serve: Callable[..., WireServer], shell: Any, content: list[Any]) -> None:
    serve(reply({**MESSAGE, "content": content, "error": {"message": "upstream failed"}}))
    error = Ran(shell, "%%claude\nhi").error
    assert isinstance(error, APIError)
    assert "upstream failed" in error.what
    assert bool(error.partial) is bool(content)


@pytest.mark.parametrize(
    "events",
    [
        [block(0, type="tool_use", id="t", name="stock", input={"item": "lamp"}), json_delta("{}")],
        [call("t"), event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": {"item": "lamp"}})],
        [call("t"), json_delta('{"item": "lamp"}{"item": "lamp"}')],
        [call("t"), json_delta('"{\\"item\\": \\"lamp\\"}"')],
    ],
)  # fmt: skip
def test_arguments_arrive_in_every_shape(serve: Callable[..., WireServer], shell: Any, events: list[bytes]) -> None:
    serve(stream(start(), *events, stop("tool_use")), canonical())
    Ran(shell, "%%claude --tools stock\nGo.")
    assert shell.user_ns["calls"] == ["lamp"]


@pytest.mark.parametrize("arguments", ["null", "[]", '""', "{}{}", "", "{}"])
def test_a_call_without_arguments_is_run(serve: Callable[..., WireServer], shell: Any, arguments: str) -> None:
    shell.run_cell("@comet_magic.tool(safe=True)\ndef now() -> int:\n    calls.append('now')\n    return 1")
    serve(
        stream(start(), block(type="tool_use", id="t", name="now", input={}), json_delta(arguments), stop("tool_use")),
        canonical(),
    )
    Ran(shell, "%%claude --tools now\nGo.")
    assert shell.user_ns["calls"] == ["now"]


def test_an_index_may_be_a_text(serve: Callable[..., WireServer], shell: Any) -> None:
    def at(index: Any, data: bytes) -> bytes:
        return data.replace(b'"index": 0', f'"index": {json.dumps(index)}'.encode())

    calls = [at(str(n), call(f"t{n}")) for n in (0, 1)]
    parts = [at(str(n), json_delta(part)) for part in ('{"item": ', '"lamp"}') for n in (0, 1)]
    serve(stream(start(), *calls, *parts, stop("tool_use")), canonical())
    Ran(shell, "%%claude --tools stock\nGo.")
    assert shell.user_ns["calls"] == ["lamp", "lamp"]


def test_the_same_call_in_a_later_round_is_not_run_again(serve: Callable[..., WireServer], shell: Any) -> None:
    called = stream(start(), call("t1"), json_delta('{"item": "lamp"}'), stop("tool_use"))
    server = serve(called, called, canonical())
    Ran(shell, "%%claude --tools stock\nGo.")
    assert shell.user_ns["calls"] == ["lamp"]
    check(server.received[-1].json["messages"])


def test_arguments_of_a_tool_that_the_server_runs_make_no_call(serve: Callable[..., WireServer], shell: Any) -> None:
    for kind in ("mcp_tool_use", "server_tool_use"):
        server = serve(
            stream(
                start(),
                block(0, type=kind, id="m", name="x", input={}),
                json_delta('{"a": 1}'),
                block(1),
                delta("So.", 1),
                stop(),
            )
        )
        done = Ran(shell, "%%claude --alone --tools stock\nGo.")
        assert done.error is None
        assert len(server.received) == 1
        assert "pending" not in done.plain


@pytest.mark.parametrize(
    ("usage", "events"),
    [
        ({"output_tokens": 0}, [block(), delta("word " * 1000)]),
        ({"output_tokens": 0}, [call("t"), json_delta('{"item": "lamp"}')]),
        ({"output_tokens": 10**11}, [block(), delta("Hi")]),
    ],
)
def test_a_count_that_cannot_be_is_not_told(
    serve: Callable[..., WireServer], shell: Any, usage: Any, events: list[bytes]
) -> None:
    serve(stream(start(), *events, stop(**usage)))
    done = Ran(shell, "%%claude -t 100\nhi")
    assert "output not reported" in done.plain
    assert "000,000" not in done.plain


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('data: {"code":1113,"msg":"no package"}\n\n', "no package"), ('data: {"detail":"Not allowed"}\n\n', "Not allowed"),
        ('data: {"base_resp":{"status_code":1008,"status_msg":"no balance"}}\n\n', "no balance"),
        ("data: upstream connect error\n\n", "upstream connect error"),
        ('event: error\ndata: {"type":"no_such_thing","message":"It broke"}\n\n', "It broke"),
        ('data: {"object":"chat.completion.chunk","choices":[{"delta":{"content":"x"}}]}\n\n', "chat completions"),
        ('{"success":false,"message":"无权访问"}', "无权访问"), ('{"message":"Forbidden"}', "Forbidden"), ('"Unauthorized"', "Unauthorized"),
        ('[{"error":{"code":403,"message":"denied"}}]', "denied"), ("Ошибка сервера", "Ошибка"),
    ],
)  # fmt: skip
def test_an_error_in_any_clothes_is_told(serve: Callable[..., WireServer], shell: Any, body: str, words: str) -> None:
    serve(reply(body))
    error = Ran(shell, "%%claude\nhi").error
    assert isinstance(error, CometError)
    assert words in error.what


@pytest.mark.parametrize(
    "body",
    [
        f": OPENROUTER PROCESSING\n\n{json.dumps(MESSAGE)}", f"data: {json.dumps(MESSAGE)}\n\n",
        f'data: "ping"\n\ndata: [PING]\n\ndata: 1712345678\n\ndata: {json.dumps(MESSAGE)}\n\n',
    ],
)  # fmt: skip
def test_a_whole_reply_in_a_stream_is_read(serve: Callable[..., WireServer], shell: Any, body: str) -> None:
    serve(reply(body, kind="text/event-stream"))
    done = Ran(shell, "%%claude\nhi")
    assert done.plain.startswith("Héllo ✓")
    assert "could not be read" not in done.plain


@pytest.mark.parametrize(
    "error",
    [{"type": "overloaded_error", "message": "x"}, {"type": "engine_overloaded_error", "message": "x"}, {"code": 503, "message": "Provider overloaded"}, "Overloaded"],
)  # fmt: skip
def test_overloaded_in_one_piece_is_asked_once_more(serve: Callable[..., WireServer], shell: Any, error: Any) -> None:
    server = serve(reply({"error": error}), canonical("4"))
    assert Ran(shell, "%%claude\nhi").plain.startswith("4")
    assert len(server.received) == 2


@pytest.mark.parametrize(
    ("status", "message", "about"),
    [
        (429, "Too many tokens, please wait before trying again.", ""), (503, "The model x is currently not available due to high demand", ""),
        (429, "You exceeded your current quota. Please retry in 16.5s", ""), (500, "failed to stop upstream", ""),
        (503, "invalid model response from upstream, please retry", ""), (503, "当前分组 default 下对于模型 x 无可用渠道", "model"),
        (404, "The model `Qwen/Qwen2.5-7B` does not exist", "model"), (404, "model 'llama3.2:1b' not found", "model"),
        (400, "Prompt exceeds max length", "length"), (400, "exceeded model token limit: 8192", "length"),
        (403, "Key limit exceeded", "money"), (400, "You have reached your specified API usage limits", "money"),
    ],
)  # fmt: skip
def test_what_goes_by_is_told_from_what_does_not(status: int, message: str, about: str) -> None:
    assert error_from(status, {"error": {"message": message}}).about == about


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({}, "try again in 6m0s", 360), ({}, "try again in 1m12.5s", 72.5), ({}, "wait 2 hours", 7200), ({}, "retry in 5 mins", 300),
        ({"retry-after": "30s"}, "", 30), ({}, '{"retry_after": 20}', 20), ({"ratelimit": '"default";r=0;t=50'}, "", 50),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "99"}, "", None),
    ],
)  # fmt: skip
def test_more_ways_to_ask_for_patience(headers: dict[str, str], body: str, seconds: float | None) -> None:
    assert wait_of(headers, body.encode()) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "<think>a</think>\n<think>b</think>ans", "<think >a</think >ans", "<think>a</thinking>ans", "[THINK]a[/THINK]ans", "◁think▷a◁/think▷ans",
    ],
)  # fmt: skip
def test_reasoning_in_other_tags(serve: Callable[..., WireServer], shell: Any, text: str) -> None:
    serve(canonical(text))
    Ran(shell, "%%claude\nhi")
    assert comet_magic.last.text == "ans"  # type: ignore[attr-defined]


def test_a_page_of_models_that_is_not_there_loses_none(serve: Callable[..., WireServer]) -> None:
    serve(reply({"data": [{"id": "m"}], "has_more": True}), reply({"error": {"message": "no"}}, status=404))
    assert [model["id"] for model in connect(CometSettings.instance()).models()] == ["m"]


def test_an_interrupt_between_two_parts_of_a_paused_reply_doubles_nothing(
    serve: Callable[..., WireServer], shell: Any
) -> None:
    paused = stream(start(), block(), delta("searching"), stop("pause_turn"))
    serve(paused, reply({"error": {"message": "no"}}, status=400))
    done = Ran(shell, "%%claude\nhi")
    assert done.plain.startswith("searching\n")
