"""How much a counterpart may send: bytes, blocks, names, models; and what is left behind when a request has ended."""

from __future__ import annotations

import gzip
import json
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from cells import Ran
from wire_server import (
    CLOSE,
    MESSAGE,
    OPEN_HEAD,
    RESET,
    SSE_HEAD,
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
)  # fmt: skip

import comet_magic
from comet_magic.api.client import MOST_MODELS, connect
from comet_magic.api.transport import MOST_BYTES
from comet_magic.errors import CometError
from comet_magic.settings import CometSettings


@pytest.fixture
def server(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[WireServer]:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    settings = CometSettings.instance()
    with WireServer(canonical()) as server:
        settings.endpoint, settings.retries, settings.replay = server.url, 0, "never"
        yield server


def bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(b'{"type":"message","content":[{"type":"text","text":"')
    packed += b"".join(packer.compress(b"a" * 10**6) for _ in range(megabytes))
    return packed + packer.compress(b'"}]}') + packer.flush()


@pytest.mark.parametrize("status", [200, 400])
def test_a_small_body_that_becomes_a_large_one_is_ended(server: WireServer, shell: Any, status: int) -> None:
    head = f"HTTP/1.1 {status} X\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n".encode()
    server.scripts[:] = [[head, bomb(400), CLOSE]]
    error = Ran(shell, "%%claude\nhi").error
    assert isinstance(error, CometError)
    assert len(str(error)) < 2000
    if status == 200:
        assert f"larger than {MOST_BYTES // 10**6} MB" in error.what


def test_what_is_packed_several_times_is_not_read(server: WireServer, shell: Any) -> None:
    body = gzip.compress(gzip.compress(json.dumps(MESSAGE).encode()))
    server.scripts[:] = [reply(body, content_encoding="gzip, gzip")]
    error = Ran(shell, "%%claude\nhi").error
    assert isinstance(error, CometError)
    assert len(error.what) < 500


def test_a_reply_is_read_only_a_little_ahead(server: WireServer) -> None:
    """A counterpart that sends faster than anybody reads waits; it fills no memory."""
    sent = [0]

    def endless(received: Any) -> Any:
        yield OPEN_HEAD
        yield start() + block()
        for _ in range(200):
            sent[0] += 10**6
            yield delta("x" * 10**6)
        yield CLOSE

    server.scripts[:] = [endless]
    with connect(CometSettings.instance()).stream(CometSettings.instance().request(())) as reply_of:
        next(iter(reply_of))
        time.sleep(1.0)
        assert sent[0] < 60 * 10**6


def test_blocks_and_citations_are_bounded(server: WireServer, shell: Any) -> None:
    blocks = b"".join(
        event("content_block_start", index=i, content_block={"type": "text", "text": "a"}) for i in range(5000)
    )
    cited = event("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {"a": 1}}) * 5000
    server.scripts[:] = [[SSE_HEAD, chunk(start() + blocks + cited + stop()), b"0\r\n\r\n"]]
    done = Ran(shell, "%%claude\nhi")
    assert "blocks beyond the first 1,000 are left out: 4,000" in done.plain
    assert len(comet_magic.last.content) == 1000  # type: ignore[attr-defined]
    assert len(comet_magic.last.content[0]["citations"]) == 1000  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "m" * 10**7}, {"stop_reason": "m" * 10**6}, {"id": "m" * 10**6},
        {"content": [], "stop_reason": "refusal", "stop_details": {"explanation": "m" * 10**6}},
        {"content": [{"type": "text", "text": "a"}, *({"type": f"t{i}" * 20} for i in range(900))]},
        {"content": [{"type": "tool_use", "id": "x", "name": "n" * 10**5, "input": {}}] * 900},
    ],
)  # fmt: skip
def test_names_are_short_whatever_they_are(server: WireServer, shell: Any, fields: dict[str, Any]) -> None:
    server.scripts[:] = [reply({**MESSAGE, **fields})]
    done = Ran(shell, "%%claude\nhi")
    assert len(json.dumps([output.data for output in done.outputs])) < 300_000
    server.scripts[:] = [canonical()]
    assert Ran(shell, "%%claude\nagain").error is None
    assert Ran(shell, "%claude_history").error is None


@pytest.mark.parametrize("count", [10**19, 2**63, 1e300, -5, "1e400", True, None, [1], "9" * 5000])
def test_a_count_that_is_none_loses_no_reply(server: WireServer, shell: Any, count: Any) -> None:
    text = count if str(count).startswith("999") else json.dumps(count)
    body = json.dumps({**MESSAGE, "usage": {"input_tokens": 1234321, "output_tokens": 5}}).replace("1234321", text)
    server.scripts[:] = [reply(body)]
    done = Ran(shell, "%%claude\nhi")
    assert done.error is None
    assert done.plain.startswith("Héllo ✓")


def test_a_list_of_models_is_bounded(server: WireServer) -> None:
    models = [{"id": f"m{number}"} for number in range(10_000)]
    server.scripts[:] = [reply({"data": [{"id": "x" * 10**6}, {"id": "a\x1b[2J"}, *models]})]
    offered = [model["id"] for model in connect(CometSettings.instance()).models()]
    assert offered == [f"m{number}" for number in range(MOST_MODELS)]


@pytest.mark.parametrize("script", [canonical(), reply(MESSAGE), [RESET], stream(start(), delta("x"), end=(CLOSE,))])
def test_no_thread_is_left_behind(server: WireServer, shell: Any, script: Any) -> None:
    before = set(threading.enumerate())
    server.scripts[:] = [script]
    Ran(shell, "%%claude\nhi")
    until = time.monotonic() + 20
    while (
        left := [
            thread
            for thread in set(threading.enumerate()) - before
            if "_accept" not in thread.name and "_serve" not in thread.name
        ]
    ) and (time.monotonic() < until):
        time.sleep(0.05)
    assert left == []
