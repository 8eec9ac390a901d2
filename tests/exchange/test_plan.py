"""Settings, session and endpoint are read once for a question, into its plan."""

from __future__ import annotations

from typing import Any

import pytest
from cells import Ran
from wire_server import Received, Script, WireServer, canonical

import comet_magic
from comet_magic import conversations
from comet_magic.exchange import session
from comet_magic.settings import CometSettings
from comet_magic.store import requests

KEY = "sk-test-SECRETSECRET-f3a9"


def test_a_setting_that_changes_in_the_middle_of_a_question_is_for_the_next_one(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A panel changes the endpoint while the first one answers: all that is written down is of the first."""
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    settings = CometSettings.instance()
    settings.prices = {"m": [1, 2]}

    def answering(received: Received) -> Script:
        settings.endpoint, settings.model = other.url, "another"
        settings.prices, settings.show_usage, settings.keep = {}, False, False
        return canonical(f"your key is {KEY}")

    with WireServer(answering) as first, WireServer(canonical()) as other:
        settings.endpoint, settings.model = first.url, "m"
        ran = Ran(shell, "%%claude\nhi")
        assert ran.error is None
        assert len(first.received) == 1
        assert other.received == []
        assert KEY not in ran.plain
        assert "≈ $" in ran.plain  # priced, and shown with its usage, as the first one's
        settings.endpoint, settings.model, settings.keep = first.url, "m", True
        store = session.current().store(settings)
        row = store.read(lambda db: db.execute("SELECT endpoint, model, state FROM requests").fetchone())
        assert tuple(row) == (first.url, "m", requests.WHOLE)
        assert store.read(lambda db: db.execute("SELECT cost_usd FROM ledger").fetchone()[0]) > 0
        assert conversations.get().turns[0].reply == "your key is …f3a9"


def test_the_key_is_in_no_field_of_a_reply(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    from wire_server import MESSAGE, reply

    said = {**MESSAGE, "id": KEY, "model": KEY, "stop_reason": KEY, "stop_sequence": KEY, "stop_details": {"why": KEY}}
    with WireServer(reply(said)) as server:
        CometSettings.instance().endpoint = server.url
        ran = Ran(shell, f"%%claude -o answer\nis it {KEY}?")
        assert ran.error is None
        assert KEY not in repr(shell.user_ns["answer"])
        assert KEY not in repr(comet_magic.last)
        assert KEY not in str([output.data for output in ran.outputs]) + str(
            [output.metadata for output in ran.outputs]
        )
        store = session.current().store(CometSettings.instance())
        assert KEY not in "\n".join(store._connection.iterdump())
