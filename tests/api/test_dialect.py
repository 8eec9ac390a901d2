"""Which dialect a model is asked in, and what lists of models say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cells import Ran
from chat_wire import list_of, said
from traitlets import TraitError
from wire_server import WireServer, canonical, reply

from comet_magic.api.dialect import dialect_of, offered_model
from comet_magic.exchange import session
from comet_magic.messages.models import OfferedModel
from comet_magic.messages.request import CHAT, MESSAGES, RESPONSES
from comet_magic.origins import base_url
from comet_magic.settings import CometSettings
from comet_magic.store import offered

Serve = Callable[..., WireServer]


@pytest.mark.parametrize(
    ("model", "dialects", "expected"),
    [
        ("claude-sonnet-5", "", MESSAGES),
        ("claude-sonnet-5", "messages chat", MESSAGES),
        ("claude-sonnet-5", "chat", MESSAGES),
        ("anthropic-claude-3", "", MESSAGES),
        ("my-claude", "", MESSAGES),
        ("aws:claude-x", "", MESSAGES),
        ("claudette", "", MESSAGES),
        ("declaude", "", CHAT),
        ("anthropic/claude-opus-5", "", MESSAGES),
        ("bedrock.claude-opus-5", "", MESSAGES),
        ("gpt-6-luna", "", CHAT),
        ("gpt-6-luna", "chat messages responses", CHAT),
        ("gpt-6-luna", "responses", RESPONSES),
        ("my-model", "messages", MESSAGES),
        ("gpt-6-pro", "", RESPONSES),
        ("gpt-6-pro-2026-08-01", "chat responses", RESPONSES),
        ("gpt-6-pro", "chat", CHAT),
        ("o9", "", RESPONSES),
        ("o4-mini", "", RESPONSES),
        ("openai/o3", "", RESPONSES),
        ("gpt-6-codex", "", RESPONSES),
        ("gemini-3-pro", "", CHAT),
        ("qwen-image-pro", "", CHAT),
        ("olmo-3", "", CHAT),
    ],
)
def test_the_list_decides_then_the_name(model: str, dialects: str, expected: str) -> None:
    listed = OfferedModel(model, dialects=frozenset(dialects.split())) if dialects else None
    assert dialect_of(model, {}, (model,), listed, is_chat_server=True) == expected


def test_what_the_user_says_comes_first() -> None:
    listed = OfferedModel("m", dialects=frozenset((CHAT,)))
    own = {"*-large": RESPONSES, "luna": MESSAGES}
    assert dialect_of("gpt-6-luna", own, ("luna", "gpt-6-luna"), listed, is_chat_server=True) == MESSAGES
    assert dialect_of("x-large", own, ("x-large",), listed, is_chat_server=True) == RESPONSES
    assert dialect_of("claude-opus-5", {"claude-*": CHAT}, ("opus", "claude-opus-5"), None, is_chat_server=True) == CHAT


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"id": "gpt-6-luna", "model_type": "text", "endpoints": '["/v1/chat/completions", "/v1/responses"]',
             "context_length": 400_000, "max_completion_tokens": 128_000,
             "pricing": {"currency": "USD / M Tokens", "input": 0.25, "output": 2}},
            OfferedModel("gpt-6-luna", "chat", frozenset((CHAT, RESPONSES)), 400_000, 128_000, 0.25, 2.0),
        ),
        ({"id": "a", "api_doc_url": "https://example.org/api/text/anthropic-messages"}, OfferedModel("a", "chat", frozenset((MESSAGES,)))),
        ({"id": "a", "api_doc_url": "https://example.org/api/text/chat"}, OfferedModel("a", "chat", frozenset((CHAT,)))),
        ({"id": "a", "api_doc_url": "https://example.org/api/text/responses"}, OfferedModel("a", "chat", frozenset((RESPONSES,)))),
        ({"id": "a", "object": "model", "supported_endpoint_types": ["openai", "anthropic"]}, OfferedModel("a", "chat", frozenset((CHAT, MESSAGES)))),
        ({"id": "a", "object": "model", "supported_endpoint_types": ["openai-response"]}, OfferedModel("a", "chat", frozenset((RESPONSES,)))),
        ({"id": "a", "object": "model", "supported_endpoint_types": ["image-generation"]}, OfferedModel("a")),
        ({"id": "a", "type": "model", "display_name": "A", "max_input_tokens": 200_000}, OfferedModel("a", "chat", frozenset((MESSAGES,)), 200_000)),
        ({"id": "gpt-5", "object": "model", "shutdown_date": "2026-12-11"}, OfferedModel("gpt-5", shuts_down="2026-12-11")),
        ({"id": "claude-x", "type": "model", "retires_at": "2027-01-14T00:00:00Z"}, OfferedModel("claude-x", "chat", frozenset((MESSAGES,)), shuts_down="2027-01-14")),
        ({"id": "a", "object": "model", "max_model_len": 4096, "retires_at": None}, OfferedModel("a", context=4096)),
        ({"id": "text-embedding-3-small", "object": "model"}, OfferedModel("text-embedding-3-small", "embedding")),
        ({"id": "whisper-1", "object": "model"}, OfferedModel("whisper-1", "transcript")),
        ({"id": "x", "model_type": "image", "pricing": {"currency": "USD", "per_request": 0.03}}, OfferedModel("x", "image", per_request=0.03)),
        ({"id": "x", "model_type": "video", "pricing": {"per_second": 0.1}}, OfferedModel("x", "video", per_second=0.1)),
        ({"id": "a", "context_length": "many", "pricing": "free", "endpoints": 7}, OfferedModel("a")),
    ],
)  # fmt: skip
def test_what_lists_say(record: dict[str, Any], expected: OfferedModel) -> None:
    assert offered_model(record) == expected


def test_a_server_that_has_no_list_is_asked_in_messages(serve: Serve, shell: Any) -> None:
    server = serve(lambda sent: reply("<html>", "text/html", 404) if sent.line.startswith("GET") else canonical())
    for _ in range(2):
        assert Ran(shell, "%%claude -m mystery --alone --fresh\nhi").error is None
    assert [one.line.split()[1] for one in server.received] == ["/v1/models", "/v1/messages", "/v1/messages"]


def test_a_claude_and_a_model_of_a_named_dialect_ask_for_no_list(serve: Serve, shell: Any) -> None:
    server = serve(lambda sent: said("4") if "chat" in sent.line else canonical())
    Ran(shell, "%%claude\nhi")
    CometSettings.instance().dialects = {"myst*": "chat"}
    assert Ran(shell, "%%claude -m mystery\nhi").error is None
    assert [one.line.split()[1] for one in server.received] == ["/v1/messages", "/v1/chat/completions"]


def test_a_list_holds_for_a_day_in_other_kernels_too(serve: Serve, shell: Any) -> None:
    server = serve(lambda sent: list_of("m1") if sent.line.startswith("GET") else said("4"))
    Ran(shell, "%%claude -m m1\nhi")
    store = session.current().store(CometSettings.instance())
    assert list(offered.find_offered(store, server.url)[0]) == ["m1"]
    session.reset()
    Ran(shell, "%%claude -m m1 --fresh\nand again")
    assert sum(one.line.startswith("GET") for one in server.received) == 1


def test_a_replay_and_a_dry_run_ask_nothing(serve: Serve, shell: Any) -> None:
    server = serve(lambda sent: list_of("m1") if sent.line.startswith("GET") else said("4"))
    ran = Ran(shell, "%%claude -m m1 --dry-run\nhi")
    assert server.received == []
    assert "Nothing was sent" in ran.plain
    CometSettings.instance().dialects = {"m1": "chat"}
    assert "/v1/chat/completions" in Ran(shell, "%%claude -m m1 --dry-run\nhi").plain
    assert "stream_options" in Ran(shell, "%%claude -m m1 --dry-run\nhi").plain


@pytest.mark.parametrize(
    "path", ["", "/", "/v1", "/v1/", "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/models"]
)
def test_every_way_to_write_an_address_is_one(path: str) -> None:
    assert base_url(f"http://localhost:11434{path}") == "http://localhost:11434"


@pytest.mark.parametrize(
    ("value", "said_"),
    [
        (
            {"qwen*": "chats"},
            "CometSettings.dialects['qwen*'] = 'chats' is no API; there are messages, chat, responses; did you mean chat?",
        ),
        ({"qwen*": ["chat"]}, "is no API; there are messages, chat, responses"),
        (["qwen"], "must be a dict, such as {'qwen*': 'chat'}"),
        ("chat", "must be a dict, such as {'qwen*': 'chat'}"),
    ],
)
def test_a_wrong_dialect_is_refused_with_what_there_is(value: Any, said_: str) -> None:
    with pytest.raises(TraitError) as raised:
        CometSettings.instance().dialects = value
    assert said_ in str(raised.value)


def test_the_dialect_that_the_user_names_is_kept_to(serve: Serve, shell: Any) -> None:
    text = "This model is only supported in v1/responses and not in v1/chat/completions."
    server = serve(reply({"error": {"message": text}}, status=404))
    CometSettings.instance().dialects = {"qwen3": "chat"}
    ran = Ran(shell, "%%claude -m qwen3\nhi")
    assert "only supported in v1/responses" in str(ran.error)
    assert len(server.received) == 1


def test_a_model_that_is_not_there_is_told_its_neighbour(serve: Serve, shell: Any) -> None:
    def answer(received: Any) -> Any:
        if received.line.startswith("GET"):
            return list_of("gpt-6-luna", "qwen3")
        return reply({"error": {"message": "The model does not exist", "code": "model_not_found"}}, status=404)

    serve(answer)
    assert "did you mean gpt-6-luna?" in str(Ran(shell, "%%claude -m gpt-6-lune\nhi").error)
