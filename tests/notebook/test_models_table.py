"""`%claude_models`: what the endpoint's lists say, searched."""

from __future__ import annotations

from typing import Any

import pytest
from cells import Ran
from wire_server import WireServer, reply

from comet_magic.settings import CometSettings

RECORDS = [
    {"id": "gpt-6-luna", "model_type": "text", "endpoints": '["/v1/chat/completions"]', "context_length": 400_000,
     "pricing": {"currency": "USD / M Tokens", "input": 0.25, "output": 2}},
    {"id": "gpt-5", "model_type": "text", "shutdown_date": "2026-12-11"},
    {"id": "gpt-6-pro", "model_type": "text"},
    {"id": "claude-opus-5", "model_type": "text"},
    {"id": "seedream-5", "model_type": "image"},
]  # fmt: skip


@pytest.fixture
def listed(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def answer(received: Any) -> Any:
        if "/api/models" in received.line:
            return reply({"success": True, "data": RECORDS, "total": len(RECORDS)})
        return reply({"object": "list", "data": [{"id": one["id"], "object": "model"} for one in RECORDS]})

    with WireServer(answer) as server:
        monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
        monkeypatch.setenv("COMETAPI_BASE_URL", server.url)
        CometSettings.instance().endpoint = "cometapi"
        yield server


def test_each_model_has_its_line(listed: WireServer, shell: Any) -> None:
    CometSettings.instance().aliases = {"luna": "gpt-6-luna"}
    table = Ran(shell, "%claude_models").result.result
    assert table.head == ("model", "alias", "kind", "asked as", "context", "$ in", "$ out", "")
    assert table.rows == [
        ("claude-opus-5", "opus", "chat", "messages", "1M", "5", "25", ""),
        ("gpt-5", "", "chat", "chat", "", "", "", "shuts down 2026-12-11"),
        ("gpt-6-luna", "luna", "chat", "chat", "400k", "0.25", "2", ""),
        ("gpt-6-pro", "", "chat", "responses", "", "", "", ""),
        ("seedream-5", "", "image", "", "", "", "", ""),
    ]
    assert listed.received[0].header("authorization") == "Bearer sk-test-0123456789abcdef"
    assert [one.header("authorization") for one in listed.received if "/api/" in one.line] == [None]


@pytest.mark.parametrize(
    ("words", "names"),
    [("image", ["seedream-5"]), ("GPT chat 2026", ["gpt-5"]), ("luna", ["gpt-6-luna"]), ("nothing", [])],
)
def test_words_narrow_it(listed: WireServer, shell: Any, words: str, names: list[str]) -> None:
    table = Ran(shell, f"%claude_models {words}").result.result
    assert [row[0] for row in table.rows] == names
    assert names or "none of the 5 models has nothing in its line" in str(table)


def test_a_dialect_of_the_users_is_shown(listed: WireServer, shell: Any) -> None:
    CometSettings.instance().dialects = {"gpt-6-*": "messages"}
    table = Ran(shell, "%claude_models gpt-6").result.result
    assert [row[:3][-1] for row in table.rows] == ["messages", "messages"]


def test_the_panel_says_what_is_known_of_the_model(listed: WireServer, shell: Any) -> None:
    from comet_magic.notebook.panel import close_panel, panel

    Ran(shell, "%claude_models")
    CometSettings.instance().model = "gpt-6-luna"
    assert "chat · 400k context · $0.25 in, $2 out per MTok" in str(panel()._facts.value)
    CometSettings.instance().model = "gpt-5"
    assert "shuts down 2026-12-11" in str(panel()._facts.value)
    close_panel()
