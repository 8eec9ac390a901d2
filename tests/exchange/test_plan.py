"""Settings, session and endpoint are read once for a question, into its plan."""

from __future__ import annotations

from typing import Any

import pytest
from cells import Ran
from wire_server import Received, Script, WireServer, canonical

import comet_magic
from comet_magic import conversations
from comet_magic.exchange import run, session
from comet_magic.keys import Key, without_key
from comet_magic.messages.message import Message
from comet_magic.settings import CometSettings
from comet_magic.store import requests

KEY = "sk-test-SECRETSECRET-f3a9"


def test_a_setting_that_changes_in_the_middle_of_a_question_is_for_the_next_one(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A panel changes the endpoint while the first one answers: all that is written down is of the first."""
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    settings = CometSettings.instance()
    settings.prices, settings.dialects = {"m": [1, 2]}, {"m": "messages"}

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


def test_an_interrupt_between_two_snapshots_ends_the_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it may come while `ask` asks for the next one."""
    ended: list[str] = []

    def snapshots() -> Any:
        try:
            yield "growing"
        except KeyboardInterrupt:
            ended.append("interrupted")
            yield "the message"
            raise

    def interrupted(generator: Any) -> Any:
        raise KeyboardInterrupt

    growing = snapshots()
    assert next(growing) == "growing"
    monkeypatch.setattr(run, "next", interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt):
        run.finished(growing)
    assert ended == ["interrupted"]
    assert list(growing) == []


class Shy:
    def __repr__(self) -> str:
        raise RuntimeError("never shown")


def test_a_value_whose_repr_fails_costs_no_reply() -> None:
    message = Message("assistant", ({"type": "text", "text": f"is it {KEY}?"},), value=Shy())
    assert without_key(message, Key(KEY, "test")).text == "is it …f3a9?"


@pytest.mark.parametrize("secret", ['sk-test"quoted"-0123', "sk-test'quoted'-0123", "sk-test\\back-0123"])
def test_a_key_of_any_signs_is_hidden_wherever_it_stands(
    serve: Any, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    serve(canonical(f'it is {secret}, isn\'t "it"?'))
    monkeypatch.setenv("COMETAPI_KEY", secret)
    reply = comet_magic.ask(f"is it {secret}?", chat="c", system=f"keep {secret}")
    assert secret not in reply.text
    kept = session.current().store(CometSettings.instance())
    rows = kept.read(lambda db: [str(tuple(row)) for row in db.execute("SELECT parameters, question FROM requests")])
    assert "quoted" not in str(rows) + str(conversations.get("c").turns)
    assert "back-" not in str(rows) + str(conversations.get("c").turns)


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
