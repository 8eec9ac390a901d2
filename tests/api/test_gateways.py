"""What gateways and servers were seen to send, and what a user gets of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cells import Ran
from tool_calls import check
from wire_server import (
    CLOSE,
    LAST_CHUNK,
    MESSAGE,
    OPEN_HEAD,
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
from comet_magic.api.retry import wait_of
from comet_magic.errors import APIError, CometError, ReplyError, TransportError
from comet_magic.exchange import session
from comet_magic.settings import CometSettings
from comet_magic.store import ledger

TOOL = "import comet_magic\ncalls = []\n@comet_magic.tool(safe=True)\ndef stock(item: str) -> int:\n    calls.append(item)\n    return 12"


@pytest.fixture
def serve(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., WireServer]]:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setattr("comet_magic.api.retry.backoff_s", lambda tried: 0.01)
    servers: list[WireServer] = []

    def started(*scripts: Any) -> WireServer:
        servers.append(WireServer(*scripts).__enter__())
        settings = CometSettings.instance()
        settings.endpoint, settings.replay = servers[-1].url, "never"
        return servers[-1]

    shell.run_cell(TOOL)
    yield started
    for server in servers:
        server.__exit__()


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
        if received.json["messages"][-1]["content"] == "Go.\n":
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
        if received.json["messages"][-1]["content"] == "Go.\n":
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
    with pytest.raises(APIError, match="list of 2 models gives none of them an id"):
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
