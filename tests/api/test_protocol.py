"""The cases of the protocol notes, section 8, groups A to E, against a server that writes scripted bytes.

Each test names its case. 66 is in test_kernel.py (a real kernel), 86 and 94 also in test_secrets.py.
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import gzip
import json
import re
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from processes import wait_until
from wire_server import (
    CLOSE,
    HOLD,
    LAST_CHUNK,
    MESSAGE,
    OPEN_HEAD,
    RESET,
    SSE_HEAD,
    Script,
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

from comet_magic.api.client import Client, MessageStream, TimeLimits
from comet_magic.api.endpoint import Endpoint
from comet_magic.api.retry import Retrying
from comet_magic.api.transport import MOST_ROUTES, HTTPRequest, PooledTransport, RequestsTransport
from comet_magic.errors import APIError, CometError, ConfigError, TransportError
from comet_magic.keys import Key
from comet_magic.messages.message import Message
from comet_magic.messages.request import Request
from comet_magic.messages.usage import Usage
from comet_magic.origins import base_url
from comet_magic.render.message import ending, notes, to_markdown, to_plain
from comet_magic.settings import CometSettings

KEY = "sk-test-0123456789abcdef"
AT_ONCE_S = 40  # far below the 100 s that it would take otherwise, and far above what a busy machine needs


class Asking:
    """A client for one server, with what it announced and how long it waited."""

    def __init__(self, url: str, **limits: float) -> None:
        self.announced: list[str] = []
        self.waits: list[float] = []
        transport = Retrying(RequestsTransport(), 2, self.announced.append, self.waits.append)
        limits = TimeLimits(**{"connect_s": 2.0, "read_s": 2.0, "deadline_s": 5.0, **limits})
        self.client = Client(transport, Endpoint(url, Key(KEY, "the test")), self.announced.append, limits)

    def stream(self, prompt: str = "2+2?", **fields: Any) -> MessageStream:
        return self.client.stream(
            Request(**{"model": "m", "max_tokens": 9, **fields}, messages=(Message.user(prompt),))
        )

    def ask(self, prompt: str = "2+2?", **fields: Any) -> Message:
        with self.stream(prompt, **fields) as replying:
            return replying.until_done()


def answer(*scripts: Script, stream: bool = True, **limits: float) -> Message:
    with WireServer(*scripts) as server:
        return Asking(server.url, **limits).ask(stream=stream)


def failure(*scripts: Script, stream: bool = True, **limits: float) -> CometError:
    with pytest.raises(CometError) as caught:
        answer(*scripts, stream=stream, **limits)
    assert KEY not in f"{caught.value}{caught.value!r}{caught.value._render_traceback_()}"
    return caught.value


# ---- A: successful bodies


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=utf-8", "text/html", None, "application/json"])
def test_1_3_json_is_utf8_whatever_its_type_says(kind: str | None) -> None:
    assert answer(reply(MESSAGE, kind), stream=False).text == "Héllo ✓"


def test_2_emulated_reply_without_content() -> None:
    message = answer(
        reply(
            {
                "id": "chatcmpl-1",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 11, "output_tokens": 5},
            },
            "text/plain",
        ),
        stream=False,
    )
    assert (message.content, ending(message)) == ((), "(empty reply)")
    assert "11 in · 5 out" in message.usage_line()


def test_4_gzip() -> None:
    packed = gzip.compress(json.dumps(MESSAGE).encode())
    assert answer(reply(packed, content_encoding="gzip"), stream=False).text == "Héllo ✓"
    body = gzip.compress(b"".join([start(), block(), delta("4"), stop()]))
    assert answer(reply(body, "text/event-stream", content_encoding="gzip")).text == "4"


@pytest.mark.parametrize("before", ["\ufeff", "\n\n  ", "\ufeff\n"])
def test_5_bom_and_blank_lines_before_json(before: str) -> None:
    assert answer(reply(before + json.dumps(MESSAGE)), stream=False).text == "Héllo ✓"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([], ""),
        (None, ""),
        ("plain", "plain"),
        ([{"type": "text", "text": None}, None], ""),
        ([{"type": "thinking", "thinking": ""}, {"type": "text", "text": "42"}], "42"),
    ],
)
def test_6_7_8_content_of_every_shape(content: object, text: str) -> None:
    message = answer(reply({**MESSAGE, "content": content}), stream=False)
    assert message.text == text
    shown = to_markdown(message)
    assert "11 in · 5 out" in to_plain(message)
    assert "<details>" not in shown
    assert ("(empty reply)" in to_plain(message)) == (text == "")


def test_9_unknown_block_and_stop_reason() -> None:
    message = answer(
        reply({**MESSAGE, "content": [{"type": "hologram"}, *MESSAGE["content"]], "stop_reason": "tired"}), stream=False
    )
    assert message.text == "Héllo ✓"
    assert notes(message) == ["stop reason: tired", "not shown: hologram"]


def test_10_no_usage() -> None:
    message = answer(reply({k: v for k, v in MESSAGE.items() if k != "usage"}), stream=False)
    assert "usage not reported" in message.usage_line()
    assert "0" not in str(message.usage)


def test_11_usage_of_odd_types() -> None:
    usage = {"input_tokens": 3.0, "output_tokens": "4", "cache_read_input_tokens": None}
    assert answer(reply({**MESSAGE, "usage": usage}), stream=False).usage == Usage(3, 4)


def test_12_an_error_with_status_200() -> None:
    error = failure(
        reply({"error": {"message": "no such (request id: 77)", "type": "comet_api_error", "code": "c1"}}), stream=False
    )
    assert isinstance(error, APIError)
    assert (error.status, error.code, error.request_id) == (200, "c1", "77")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<!doctype html><title>Console</title>", "HTML page"),
        ('{"object":"chat.completion","choices":[]}', "not a Messages reply: chat.completion"),
        ("", "empty stream"),
        ('{"type":"message","content":[{"ty', "not whole JSON"),
        (json.dumps(MESSAGE).encode("utf-16"), "not whole JSON"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_13_14_15_65_a_200_that_is_no_reply(body: str | bytes, words: str, streamed: bool) -> None:
    error = failure(reply(body, "text/html"), stream=streamed)
    assert words in str(error)
    assert "endpoint" in error.hint or "again" in error.hint
    assert len(str(error)) < 300


def test_16_a_body_shorter_than_its_length() -> None:
    whole = reply(MESSAGE)[0]
    error = failure([whole[:-10], CLOSE], stream=False)  # type: ignore[index]
    assert isinstance(error, TransportError)
    assert "cut off" in str(error)


# ---- B: streams that must work


def test_17_canonical() -> None:
    message = answer(stream(start(), block(), delta("4"), stop()))
    assert (message.text, message.usage, message.stop_reason, message.incomplete) == (
        "4",
        Usage(11, 5),
        "end_turn",
        None,
    )
    assert notes(message) == []


def test_18_20_one_byte_at_a_time_with_every_newline() -> None:
    for newline in (b"\n", b"\r\n", b"\r"):
        data = b"".join([start(), event("ping"), block(), delta("Héllo ✓"), stop()]).replace(b"\n", newline)
        assert answer([OPEN_HEAD, *(bytes([byte]) for byte in data), CLOSE]).text == "Héllo ✓"


def test_19_a_chunk_cut_inside_a_character() -> None:
    data = delta("✓")
    middle = data.index("✓".encode()) + 1
    assert answer(stream(start(), block(), data[:middle], data[middle:], stop())).text == "✓"


def test_21_a_last_event_without_its_empty_line() -> None:
    data = b"".join([start(), block(), delta("4"), stop()]).rstrip(b"\n")
    assert answer([OPEN_HEAD, data, CLOSE]).incomplete is None


def test_22_23_24_25_26_28_30_odd_framing() -> None:
    plain = b"".join([start(), block(), delta("a\u2028\u0085b"), stop()])
    for data in (
        b"\xef\xbb\xbf" + plain,
        plain.replace(b"event: ", b"event:").replace(b"data: ", b"data:"),
        b"id: 3\nretry: 10\n\n: PING\n\n" + plain,
        b"\n".join(line for line in plain.split(b"\n") if not line.startswith(b"event")) + b"\n\ndata: [DONE]\n\n",
        plain.replace(b"event: content_block_delta", b"event: message"),
        plain.replace(b'"index": 0, "delta"', b'"index": 0,\ndata: "delta"'),
    ):
        for kind in ("text/plain", "text/event-stream; charset=iso-8859-1"):
            assert answer(reply(data, kind)).text == "a\u2028\x85b"


def test_27_pings() -> None:
    ping = event("ping")
    assert answer(stream(ping, start(), *[ping] * 12, block(), delta("4"), stop())).text == "4"


def test_29_a_delta_of_5_mb() -> None:
    big = "x" * 5_000_000
    with WireServer([OPEN_HEAD, start() + block() + delta(big) + stop(), CLOSE]) as server:
        asking = Asking(server.url)
        began = time.monotonic()
        tracemalloc.start()
        message = asking.ask()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert message.text == big
    assert time.monotonic() - began < 10  # measured 0.2 s; the quadratic way takes 43
    assert peak < 60e6
    assert len(to_markdown(message)) < 250_000
    assert "first 200,000 of 5,000,000 characters" in to_plain(message)


def test_31_json_although_a_stream_was_asked_for() -> None:
    assert answer(reply(MESSAGE)).text == "Héllo ✓"


def test_32_an_unchunked_stream_is_not_held_back() -> None:
    script = [OPEN_HEAD, start() + block(), *[step for n in range(4) for step in (delta(str(n)), 0.25)], stop(), CLOSE]
    seen = []
    with WireServer(script) as server, Asking(server.url).stream() as replying:
        for one in replying:
            if one["type"] == "content_block_delta":
                seen.append(time.monotonic())
    gaps = [later - earlier for earlier, later in zip(seen, seen[1:], strict=False)]
    assert all(0.1 < gap < 0.5 for gap in gaps)
    assert replying.text == "0123"


def test_33_unknown_events_deltas_and_blocks() -> None:
    odd = [
        event("weather", sun=1),
        event("content_block_delta", index=0, delta={"type": "smell_delta", "smell": "x"}),
        block(1, type="hologram"),
    ]
    message = answer(stream(start(), block(), delta("4"), *odd, stop()))
    assert message.text == "4"
    assert message.unknown_blocks == ["hologram"]


def tool(*parts: str, reason: str = "tool_use") -> Message:
    deltas = [
        event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": part})
        for part in parts
    ]
    return answer(
        stream(start(), block(type="tool_use", id="toolu_1", name="get_weather", input={}), *deltas, stop(reason))
    )


def test_34_35_tool_use() -> None:
    assert tool("", '{"ci', 'ty": "Os', 'lo"}').content[0]["input"] == {"city": "Oslo"}
    assert tool().content[0]["input"] == {}
    assert ending(tool()) == "a tool call is pending: get_weather"
    unfinished = tool('{"city": "Os', reason="max_tokens")
    assert unfinished.content[0]["input"] == {}
    assert "unfinished" in unfinished.warnings[0]


def test_36_thinking_is_kept_verbatim() -> None:
    thought = [
        event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": part})
        for part in ("hm", "…")
    ]
    signed = event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "Eq"})
    message = answer(
        stream(
            start(),
            block(0, type="thinking", thinking="", signature=""),
            *thought,
            signed,
            block(1, type="redacted_thinking", data="Em"),
            block(2),
            delta("42", 2),
            stop(),
        )
    )
    assert message.text == "42"
    assert message.content[:2] == (
        {"type": "thinking", "thinking": "hm…", "signature": "Eq"},
        {"type": "redacted_thinking", "data": "Em"},  # type: ignore[typeddict-unknown-key]
    )
    assert "<details><summary>Thinking</summary>" in to_markdown(message)


def test_37_citations() -> None:
    cited = event("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {"url": "u"}})
    message = answer(stream(start(), block(), delta("4"), cited, stop()))
    assert (message.text, message.content[0]["citations"]) == ("4", [{"url": "u"}])


def test_38_39_40_usage_is_merged() -> None:
    two = (
        event("message_delta", delta={}, usage={"output_tokens": 3}),
        stop(output_tokens=9, input_tokens=10682, server_tool_use={"web_search_requests": 1}),
    )
    assert answer(stream(start(input_tokens=2679), block(), delta("4"), *two)).usage == Usage(
        10682, 9, web_search_requests=1
    )
    late = stream(
        start(input_tokens=0, output_tokens=0),
        block(),
        stop(input_tokens=7, output_tokens=5, cache_read_input_tokens=4),
    )
    assert answer(late).usage == Usage(7, 5, 4)
    early = stream(start(input_tokens=3, output_tokens=5), block(), stop(input_tokens=0, output_tokens=0))
    assert answer(early).usage == Usage(3, 5)
    bare = (
        event("message_start", message={"model": "m", "usage": None}),
        block(),
        event("message_delta", delta={"stop_reason": "end_turn"}),
        event("message_stop"),
    )
    assert str(answer(stream(*bare)).usage) == "usage not reported"


def test_41_no_message_stop_but_a_stop_reason() -> None:
    message = answer(stream(start(), block(), delta("4"), event("message_delta", delta={"stop_reason": "end_turn"})))
    assert (message.incomplete, message.warnings) == (None, ("the stream ended without message_stop",))


def test_42_a_socket_left_open() -> None:
    began = time.monotonic()
    assert answer(stream(start(), block(), delta("4"), stop(), end=[HOLD]), read_s=100, deadline_s=100).text == "4"
    assert time.monotonic() - began < AT_ONCE_S


def test_43_44_block_indexes() -> None:
    mixed = [block(0), block(1), delta("A", 0), delta("B", 1), delta("a", 0), delta("b", 1)]
    assert answer(stream(start(), *mixed, stop())).text == "AaBb"
    assert answer(stream(start(), delta("4", 7), stop())).text == "4"
    assert answer(stream(delta("4"), stop())).text == "4"


def test_45_refusal() -> None:
    refused = event(
        "message_delta",
        delta={"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "cyber", "explanation": "no"}},
    )
    message = answer(stream(start(), refused, event("message_stop")))
    assert (ending(message), message.stop_reason) == ("refused (cyber): no", "refusal")


def test_46_nothing_but_a_frame() -> None:
    assert ending(answer(stream(start(), stop()))) == "(empty reply)"


def test_47_surrogates_and_nul() -> None:
    halves = [
        b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"%s"}}\n\n' % half
        for half in (rb"\ud83d", rb"\ude00", rb"\ud800\u0000")
    ]
    message = answer(stream(start(), block(), *halves, stop()))
    assert message.text == "😀\ufffd\x00"
    assert to_plain(message).startswith("😀\ufffd\ufffd")
    to_markdown(message).encode()


def test_48_hostile_text() -> None:
    message = answer(stream(start(), block(), delta("<script>x</script> $x$ \x1b[31m"), stop()))
    assert "<script>" not in to_markdown(message)
    assert to_plain(message).startswith("<script>x</script> $x$ \ufffd[31m")


# ---- C: streams that break


@pytest.mark.parametrize(
    "end", [[LAST_CHUNK], [RESET], [CLOSE], [chunk(b"<html><center>nginx</center></html>"), LAST_CHUNK]]
)
def test_49_50_51_58_a_cut_stream_keeps_what_came(end: Script) -> None:
    with WireServer(stream(start(), block(), delta("Hel"), delta("lo"), end=[0.1, *end])) as server:
        with pytest.raises(TransportError, match="cut off") as caught:
            Asking(server.url).ask()
        assert len(server.received) == 1
    partial = caught.value.partial
    assert partial is not None
    assert partial.text == "Hello"
    assert partial.incomplete
    assert partial.incomplete.startswith("cut off")
    assert "(partial)" in partial.usage_line()


def test_51_a_length_that_is_not_met() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\ncontent-type: text/event-stream\r\n\r\n"
    assert failure([head + start() + block() + delta("Hello"), 0.05, CLOSE]).partial.text == "Hello"  # type: ignore[union-attr]


OVERLOADED = event("error", error={"type": "overloaded_error", "message": "Overloaded"}, request_id="req_77")


@pytest.mark.parametrize(
    ("data", "words", "request_id"),
    [
        (OVERLOADED, "Overloaded", "req_77"),
        (b'{"error":{"message":"upstream (request id: 1)","type":"x"}}', "upstream", "1"),
        (b'data: {"error":{"message":"bad","type":"comet_api_error","code":"x"}}\n\n', "x: bad", None),
        (b"event: error\ndata: out of luck\n\n", "out of luck", None),
    ],
)
def test_52_53_55_56_57_an_error_in_the_stream(data: bytes, words: str, request_id: str | None) -> None:
    error = failure(stream(start(), block(), *[delta("x")] * 100, data))
    assert isinstance(error, APIError)
    assert words in str(error)
    assert error.request_id == request_id
    assert error.partial is not None
    assert error.partial.text == "x" * 100


def test_54_an_error_as_the_first_event_is_tried_once_more() -> None:
    with WireServer(stream(OVERLOADED), canonical()) as server:
        asking = Asking(server.url)
        assert asking.ask().text == "4"
        assert len(server.received) == 2
    assert "overloaded" in asking.announced[0]
    assert isinstance(failure(stream(OVERLOADED)), APIError)


def test_59_60_what_cannot_be_read_is_skipped() -> None:
    message = answer(stream(start(), block(), delta("a"), b"data: {nope\n\n", delta("b"), stop()))
    assert message.text == "ab"
    assert "could not be read" in message.warnings[0]
    assert answer(stream(start(), block(), delta("a?b").replace(b"?", b"\xff"), stop())).text == "a\ufffdb"


def test_61_a_stalled_stream() -> None:
    with WireServer(stream(start(), block(), delta("Hel"), end=[HOLD])) as server:
        with pytest.raises(TransportError, match="nothing came for 0.3 s") as caught:
            Asking(server.url, read_s=0.3).ask()
        assert len(server.received) == 1
    assert caught.value.partial is not None


@pytest.mark.parametrize("ping", [event("ping"), b": PING\n\n"])
def test_62_only_pings(ping: bytes) -> None:
    began = time.monotonic()
    error = failure(stream(*[ping], end=[step for _ in range(1000) for step in (0.1, chunk(ping))]), deadline_s=0.6)
    assert "took more than 0.6 s" in str(error)
    assert time.monotonic() - began < AT_ONCE_S


@pytest.mark.parametrize("script", [[SSE_HEAD, HOLD], [HOLD]])
def test_63_silence(script: Script) -> None:
    with WireServer(script) as server:
        with pytest.raises(TransportError, match="nothing came|no answer"):
            Asking(server.url, read_s=0.3).ask()
        assert len(server.received) == 1


def test_64_an_empty_stream() -> None:
    assert "empty stream" in str(failure([SSE_HEAD, LAST_CHUNK]))


def test_67_stopped_from_another_thread() -> None:
    with WireServer(stream(start(), block(), delta("Hel"), end=[HOLD])) as server:
        replying = Asking(server.url, read_s=100, deadline_s=100).stream()
        threading.Timer(0.3, replying.stop).start()
        began = time.monotonic()
        message = replying.until_done()
        assert time.monotonic() - began < AT_ONCE_S
        assert server.closed_by_client.wait(AT_ONCE_S)
    assert (message.text, ending(message)) == ("Hel", "stopped by you")


# ---- D: errors and retries

REFUSED = {"type": "error", "error": {"type": "some_error", "message": "no: because"}, "request_id": "req_1"}


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_68_refusals_are_final(status: int) -> None:
    with WireServer(reply(REFUSED, status=status)) as server:
        with pytest.raises(APIError) as caught:
            Asking(server.url).ask()
        assert len(server.received) == 1
    error = caught.value
    assert (error.status, error.type, error.request_id) == (status, "some_error", "req_1")
    assert str(error).startswith(f"{status} some_error: no: because (request id: req_1)")
    assert error.hint


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "", "message": "Invalid token (request id: 5)"}},
        REFUSED,
        {"error": "Unauthorized"},
        "<html><title>401 Unauthorized</title></html>",
    ],
)
def test_69_a_rejected_key(body: Any) -> None:
    assert "key was rejected" in failure(reply(body, status=401)).hint


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 524, 529])
def test_70_passing_troubles_are_tried_three_times(status: int) -> None:
    with WireServer(reply({"error": {"message": "busy"}}, status=status)) as server:
        asking = Asking(server.url)
        with pytest.raises(APIError):
            asking.ask()
        assert len(server.received) == 3
    assert 0.375 <= asking.waits[0] <= 0.5
    assert 0.75 <= asking.waits[1] <= 1
    assert asking.announced[0].startswith(f"{status}: waiting 0.")
    assert asking.announced[1].endswith("try 3 of 3")


def test_a_wait_without_end_is_not_waited_for() -> None:
    for after in ("inf", "1e300", "nan"):
        with WireServer(reply(REFUSED, status=429, retry_after=after)) as server, pytest.raises(APIError):
            Asking(server.url).ask()


def test_a_request_given_up_before_it_is_sent_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib3.util.connection as connection

    connect = connection.create_connection

    def slowly(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.6)
        return connect(*args, **kwargs)

    monkeypatch.setattr(connection, "create_connection", slowly)
    with WireServer(canonical()) as server:
        with pytest.raises(TransportError, match="no answer"):
            Asking(server.url, deadline_s=0.2).ask()
        time.sleep(0.8)
        assert server.received == []


def waited(**headers: str) -> list[float]:
    with WireServer(reply("{}", status=429, **headers), canonical()) as server:
        asking = Asking(server.url)
        assert asking.ask().text == "4"
    return asking.waits


def test_71_72_how_long_the_server_asks_to_wait() -> None:
    assert waited(retry_after="2") == [2]
    assert waited(retry_after_ms="300") == [0.3]
    assert 1 < waited(retry_after=formatdate(time.time() + 3, usegmt=True))[0] <= 3
    for nonsense in ("-1", "soon"):
        assert 0.375 <= waited(retry_after=nonsense)[0] <= 0.5
    with WireServer(reply(REFUSED, status=429, retry_after="3600")) as server:
        with pytest.raises(APIError) as caught:
            Asking(server.url).ask()
        assert len(server.received) == 1
    assert caught.value.retry_after == 3600
    assert "3,600 s" in caught.value.hint


def test_73_the_server_knows_best() -> None:
    with WireServer(reply(REFUSED, status=400, x_should_retry="true"), canonical()) as server:
        assert Asking(server.url).ask().text == "4"
    with WireServer(reply(REFUSED, status=503, x_should_retry="false")) as server:
        with pytest.raises(APIError):
            Asking(server.url).ask()
        assert len(server.received) == 1


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            500,
            {"error": {"message": "field messages is required", "type": "comet_api_error", "code": "invalid_request"}},
            "refuses what was asked",
        ),
        (
            503,
            {"error": {"code": "model_not_found", "message": "no available channel", "type": "comet_api_error"}},
            "%claude_models",
        ),
        (
            429,
            {
                "error": {
                    "type": "rate_limit_error",
                    "message": "cap",
                    "details": {"error_code": "enforced_spend_limit_reached"},
                }
            },
            "spending limit",
        ),
    ],
)
def test_74_75_76_what_can_never_succeed_is_not_tried_again(status: int, body: Any, words: str) -> None:
    with WireServer(reply(body, status=status)) as server:
        with pytest.raises(APIError) as caught:
            Asking(server.url).ask()
        assert len(server.received) == 1
    assert words in caught.value.hint


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            524,
            "<html><head><title>api | 524: A timeout occurred</title></head>" + "x" * 20_000,
            "524: A timeout occurred",
        ),
        (503, "", "503: no text came with it"),
        (500, "Internal Server Error", "500: Internal Server Error"),
    ],
)
def test_77_pages_are_cut_to_their_title(status: int, body: str, words: str) -> None:
    error = failure(reply(body, "text/html", status))
    assert words in str(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": "thinking: no"}, "thinking: no"),
        ({"detail": "Not StoredReply"}, "Not StoredReply"),
        (["nope"], "nope"),
        ({"error": {"message": {"message": "inner"}, "type": None}}, "inner"),
        ({"error": {"message": "余额不足 (request id: 20260101)", "type": "x"}}, "余额不足"),
        ({"error": {"code": 13, "message": "n"}}, "13: n"),
        ({"success": False, "message": "m"}, "m"),
    ],
)
def test_78_79_bodies_of_every_shape(body: Any, words: str) -> None:
    error = failure(reply(body, status=400))
    assert isinstance(error, APIError)
    assert words in error.what
    assert "\n" not in error.what
    assert error.request_id == ("20260101" if "余" in words else None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_80_81_a_redirect_is_not_followed(status: int) -> None:
    with WireServer(reply("<html>")) as target, WireServer(reply("", status=status, location=target.url)) as server:
        with pytest.raises(APIError, match=target.url):
            Asking(server.url).ask()
        assert target.received == []
        assert len(server.received) == 1


def test_a_host_of_one_word_needs_its_scheme() -> None:
    assert base_url("https://gateway/v1") == "https://gateway"
    with pytest.raises(ConfigError, match="is not auto"):
        base_url("gateway")


def test_82_reset_before_an_answer() -> None:
    with WireServer([RESET], [RESET], canonical()) as server:
        asking = Asking(server.url)
        assert asking.ask().text == "4"
    assert "may have been billed" in asking.announced[0]


def test_83_no_connection() -> None:
    with WireServer() as server:
        url = server.url
    asking = Asking(url)
    with pytest.raises(TransportError, match="cannot connect to 127.0.0.1.*nothing listens"):
        asking.ask()
    assert len(asking.waits) == 2
    with pytest.raises(TransportError, match="cannot connect"):
        Asking("http://no-such-host.invalid").ask()
    with WireServer(greeting=b"not TLS at all\r\n\r\n") as server:
        asking = Asking(server.url.replace("http", "https"))
        with pytest.raises(TransportError, match=r"WRONG_VERSION_NUMBER\); it seems to answer without TLS") as raised:
            asking.ask()
        assert "_ssl.c" not in str(raised.value)
        assert asking.waits == []


def test_83_a_request_for_which_there_is_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    asking = Asking("http://127.0.0.1:9")
    with pytest.raises(TransportError, match="nothing was sent: this computer cannot start another thread"):
        asking.ask()
    assert asking.waits == []


@pytest.mark.parametrize(
    ("days", "host", "trusts", "words"),
    [
        (-1, "127.0.0.1", True, "its certificate is not trusted: certificate has expired"),
        (1, "10.0.0.1", True, "not trusted: IP address mismatch, certificate is not valid for '127.0.0.1'$"),
        (1, "127.0.0.1", False, "its certificate is not trusted: self-signed certificate"),
    ],
)
def test_83_a_certificate_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, host: str, trusts: bool, words: str
) -> None:
    both = certificate(tmp_path, days, host)
    if trusts:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(both))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)

        def serve() -> None:
            with contextlib.suppress(OSError):
                context.wrap_socket(listener.accept()[0], server_side=True).close()

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(TransportError) as raised:
            Asking(f"https://127.0.0.1:{listener.getsockname()[1]}").ask()
    assert re.search(words, raised.value.what)
    assert "_ssl.c" not in str(raised.value)


def test_83_certificates_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(TransportError, match="nothing was sent: the certificates are not in .*none.pem"):
        Asking("https://127.0.0.1:9").ask()
    (tmp_path / "none.pem").write_text("junk")
    with WireServer() as server, pytest.raises(TransportError, match=r"no certificate or crl found|\(NO_"):
        Asking(server.url.replace("http", "https")).ask()


def certificate(folder: Path, days: int, host: str) -> Path:
    """A file with a key, and a certificate of its own for an address, which ends in so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(timezone.utc)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(9)).not_valid_after(now + timedelta(days))
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    form = serialization.Encoding.PEM
    secret = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "both.pem"
    path.write_bytes(secret + made.sign(key, hashes.SHA256()).public_bytes(form))
    return path


# ---- E: the client's side


def test_84_netrc_does_not_replace_the_key(nobody_home: Path) -> None:
    (nobody_home / "home" / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    with WireServer(canonical()) as server:
        Asking(server.url).ask()
        assert server.received[0].header("authorization") == f"Bearer {KEY}"
        assert server.received[0].header("x-api-key") is None


def test_85_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with WireServer(canonical()) as server:
        asking = Asking(server.url)
        with pytest.raises(TransportError, match="proxy"):
            asking.ask()
        assert asking.waits == []
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert asking.ask().text == "4"


both_transports = pytest.mark.parametrize(
    "make", [RequestsTransport, partial(PooledTransport, 2)], ids=["alone", "pooled"]
)


@both_transports
def test_85_a_proxy_gets_the_whole_address(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(canonical()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert make()(HTTPRequest("http://nowhere.invalid/v1/messages", b"{}")).status == 200
        assert proxy.received[0].line == "POST http://nowhere.invalid/v1/messages HTTP/1.1"
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(TransportError, match="the proxy for nowhere.invalid cannot be reached"):
        make()(HTTPRequest("http://nowhere.invalid/v1/messages", b"{}"))


ODD_PROXIES = ["http://proxy.corp:80a", "http://proxy.corp:99999", "htp://proxy.corp:80", "http://[::1"]


@both_transports
@pytest.mark.parametrize("proxy", ODD_PROXIES)
def test_85_a_proxy_that_is_mistyped_is_said_once(
    proxy: str, make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    said: list[str] = []
    ask = Retrying(make(), 2, said.append, lost=said.append)
    with pytest.raises(TransportError, match="nothing was sent: the address of nowhere.invalid, or of its proxy"):
        ask(HTTPRequest("http://nowhere.invalid/v1/messages", b"{}"))
    assert said == []


@both_transports
def test_a_head_that_cannot_be_read_is_not_asked_for_again(make: Callable[[], Any]) -> None:
    said: list[str] = []
    with WireServer([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", CLOSE]) as server:
        ask = Retrying(make(), 2, said.append, lost=said.append)
        with pytest.raises(TransportError, match="the head of the reply from .* cannot be read"):
            ask(HTTPRequest(f"{server.url}/v1/messages", b"{}"))
        assert len(server.received) == 1
    assert said == []


def test_giving_a_reply_up_that_has_come_cuts_no_other_on_its_connection() -> None:
    body = b"first" * 100
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    with WireServer([head, chunk(body), 0.05, chunk(b"more"), LAST_CHUNK], [0.3, *reply(MESSAGE)]) as server:
        transport, request = RequestsTransport(), HTTPRequest(f"{server.url}/v1/messages", b"{}", environment=())
        given_up = transport(request)
        time.sleep(0.2)  # it has come, and nobody has taken it
        second: list[bytes] = []
        asking = threading.Thread(target=lambda: second.append(transport(request).body()))
        asking.start()
        wait_until(lambda: len(server.received) == 2)
        given_up.close(at_once=True)
        asking.join(5)
        assert server.connections == 1
    assert json.loads(second[0])["id"]


@both_transports
def test_a_header_that_comes_twice_is_one(make: Callable[[], Any]) -> None:
    with WireServer([b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 2\r\n\r\n{}"]) as server:
        response = make()(HTTPRequest(f"{server.url}/v1/messages", b"{}"))
        assert response.headers["x-a"] == "1, 2"
        assert response.body() == b"{}"


def test_a_pool_that_is_closed_closes_its_connections() -> None:
    with WireServer(reply(MESSAGE)) as server:
        transport = PooledTransport(2)
        assert transport(HTTPRequest(f"{server.url}/v1/messages", b"{}", environment=())).status == 200
        assert not server.ended.is_set()
        transport.close()
        gc.collect()
        assert server.ended.wait(5)


def test_more_urls_than_are_remembered_share_their_connections() -> None:
    transport = RequestsTransport()
    with WireServer(reply(MESSAGE)) as server:
        for n in range(3 * MOST_ROUTES):
            request = HTTPRequest(f"{server.url}/v1/{n}", b"{}", environment=("",))
            assert json.loads(transport(request).body())["id"]
        assert [received.line.split()[1] for received in server.received] == [f"/v1/{n}" for n in range(n + 1)]
        assert server.connections == 1  # they are the host's


@pytest.mark.parametrize(
    "bad", [" ", "sk one", "sk\ntwo", "“sk-curly-quotes-0123”", "sk-é0123456789", "'sk-0123456789'"]
)
def test_86_a_key_that_no_header_can_carry(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from comet_magic.api.client import connect

    monkeypatch.setenv("COMETAPI_KEY", bad)
    with pytest.raises(ConfigError) as caught:
        connect(CometSettings.instance(endpoint="http://127.0.0.1:9"))
    shown = f"{caught.value}{caught.value!r}"
    assert bad.strip() == "" or bad.strip() not in shown
    assert "COMETAPI_KEY" in shown


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("https://api.cometapi.com", "https://api.cometapi.com"),
        ("https://api.cometapi.com/", "https://api.cometapi.com"),
        ("https://api.cometapi.com/v1", "https://api.cometapi.com"),
        ("https://api.cometapi.com/v1/", "https://api.cometapi.com"),
        ("https://api.cometapi.com/v1/messages", "https://api.cometapi.com"),
        ("https://host/prefix/v1//messages/", "https://host/prefix"),
        ("api.cometapi.com", "https://api.cometapi.com"),
        ("localhost:8080/v1", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_87_base_urls(typed: str, url: str) -> None:
    assert base_url(typed) == url


@pytest.mark.parametrize(
    "bad",
    ["ftp://x.y", "http://", "https://u:p@host.org", "https://a b.org", "https://a.org?x=1", "nonsense", "http://a:b"],
)
def test_87_what_is_no_base_url(bad: str) -> None:
    with pytest.raises(ConfigError):
        base_url(bad)


def test_88_a_prompt_of_any_characters_round_trips() -> None:
    prompt = "\ud800 \x00 \r\n é✓ " + "x" * 2_000_000
    with WireServer(canonical()) as server:
        Asking(server.url).ask(prompt)
        assert server.received[0].json["messages"] == [{"role": "user", "content": prompt}]
        server.received[0].body.decode("utf-8")


@pytest.mark.parametrize("empty", ["", " \n\t"])
def test_89_nothing_to_send(empty: str) -> None:
    from comet_magic import ask

    with pytest.raises(ConfigError, match="empty"):
        ask(empty)


def test_90_nothing_is_sent_that_was_not_asked_for() -> None:
    with WireServer(canonical()) as server:
        asking = Asking(server.url)
        asking.ask()
        asking.ask(system="s", temperature=0.0, stop_sequences=("E",), effort="low", thinking=2048, stream=False)
        plain, full = (request.json for request in server.received)
        headers = {name.lower() for name, _ in server.received[0].headers}
    messages = [{"role": "user", "content": "2+2?"}]
    assert plain == {"model": "m", "max_tokens": 9, "messages": messages, "stream": True}
    assert full == {
        "model": "m",
        "max_tokens": 9,
        "messages": messages,
        "system": "s",
        "temperature": 0.0,
        "stop_sequences": ["E"],
        "output_config": {"effort": "low"},
        "thinking": {"type": "enabled", "budget_tokens": 2048},
    }
    assert headers == set(
        "host user-agent accept accept-encoding content-type content-length anthropic-version authorization".split()
    )
    assert server.received[0].line == "POST /v1/messages HTTP/1.1"


def test_92_replies_in_threads_do_not_meet() -> None:
    def echo(received: Any) -> Script:
        return canonical(received.json["messages"][0]["content"])

    got: dict[str, str] = {}
    with WireServer(echo) as server:
        asking = Asking(server.url)

        def run(prompt: str) -> None:
            got[prompt] = asking.ask(prompt).text

        threads = [threading.Thread(target=run, args=(f"p{n}",)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == {f"p{n}": f"p{n}" for n in range(20)}


def test_connections_are_used_again() -> None:
    with WireServer(canonical()) as server:
        asking = Asking(server.url)
        for _ in range(5):
            asking.ask()
        assert server.connections == 1


def test_models_are_read_in_both_shapes() -> None:
    for listed in (
        {"data": [{"type": "model", "id": "claude-a", "display_name": "A"}], "has_more": False},
        {"object": "list", "success": True, "data": [{"id": "claude-a", "object": "model", "owned_by": "x"}]},
    ):
        with WireServer(reply(listed)) as server:
            assert [model["id"] for model in Asking(server.url).client.models()] == ["claude-a"]
            assert server.received[0].line == "GET /v1/models HTTP/1.1"
    with WireServer(reply({"error": {"message": "no"}})) as server, pytest.raises(APIError):
        Asking(server.url).client.models()


def test_a_token_count_is_a_bonus() -> None:
    request = Request("m", 9, (Message.user("x"),))
    with WireServer(reply({"input_tokens": 14})) as server:
        assert Asking(server.url).client.count_tokens(request) == 14
        assert "max_tokens" not in server.received[0].json
    with WireServer(reply({"error": {"message": "Invalid URL"}}, status=404)) as server:
        assert Asking(server.url).client.count_tokens(request) is None


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(t.name == "comet_magic reader" for t in threading.enumerate()):
        time.sleep(0.02)
    assert not [t for t in threading.enumerate() if t.name == "comet_magic reader"]
