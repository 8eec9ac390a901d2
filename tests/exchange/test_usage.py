"""Tokens, money and the budget: what is known, what is estimated, and what is refused before it is sent."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cells import Ran
from traitlets import TraitError
from wire_server import (
    CLOSE,
    HOLD,
    MESSAGE,
    RESET,
    Received,
    WireServer,
    block,
    canonical,
    delta,
    event,
    reply,
    start,
    stream,
)

import comet_magic
from comet_magic.api.client import Client
from comet_magic.api.endpoint import Endpoint
from comet_magic.api.transport import RequestsTransport
from comet_magic.errors import APIError, ConfigError, TransportError
from comet_magic.exchange import session
from comet_magic.exchange.negotiate import Sender
from comet_magic.messages import models as catalog
from comet_magic.messages.message import Message
from comet_magic.messages.models import OfferedModel
from comet_magic.messages.prices import Price, estimated_prompt, price_of
from comet_magic.messages.request import Request
from comet_magic.messages.usage import Usage
from comet_magic.settings import CometSettings
from comet_magic.store import ledger, offered
from comet_magic.text import dollars


@pytest.fixture
def server(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    with WireServer(canonical()) as server:
        shell.run_line_magic("config", f"CometSettings.endpoint = {server.url!r}")
        shell.run_line_magic("config", "CometSettings.replay = 'never'")
        yield server


def list_price(model: str) -> Price:
    price = price_of(model, {}, {})
    assert price is not None
    return price


# ---- prices


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        ("claude-sonnet-4-6", Usage(1_000_000, 1_000_000), 18),
        ("claude-sonnet-4-6", Usage(224, 310, 980), (224 * 3 + 980 * 0.3 + 310 * 15) / 1e6),
        ("claude-sonnet-4-6", Usage(0, 0, 0, 1_000_000), 3.75),
        ("claude-sonnet-4-6", Usage(0, 0, 0, 1_000_000, 1_000_000), 6),
        ("claude-sonnet-4-6", Usage(0, 0, 0, 1_000_000, 400_000), 0.6 * 3.75 + 0.4 * 6),
        ("claude-opus-5-5", Usage(0, 0, 1_000_000), 0.20),
        ("claude-fable-5-2", Usage(0, 0, 1_000_000), 0.20),
        ("claude-haiku-5-5", Usage(100_000, 1_000_000), 0.01 + 0.5),
        ("claude-haiku-5-5", Usage(1_000_000, 1_000_000), 3.00),  # the higher tier, for the whole request
        ("claude-haiku-5-5", Usage(1, 0, 100_000), 5 * (0.1 + 1000) / 1e6),  # cached tokens count for the tier
        ("anthropic/claude-opus-5", Usage(1_000_000, 0), 5),
        ("claude-sonnet-4-5-20250929-thinking", Usage(1_000_000, 0), 3),
        ("claude-sonnet-4-6", Usage(0, 0, web_search_requests=1000), 10),
    ],
)
def test_caches_tiers_and_searches_are_priced_right(model: str, usage: Usage, usd: float) -> None:
    assert list_price(model).cost(usage) == pytest.approx(usd)


def test_where_a_count_is_missing_there_is_no_price() -> None:
    assert list_price("claude-opus-5").cost(Usage()) is None
    assert list_price("claude-opus-5").cost(Usage(3, None)) is None
    assert price_of("gpt-9", {}, {}) is None


def test_every_known_model_has_prices_in_the_providers_proportions() -> None:
    for model, facts in catalog.KNOWN.items():
        price = list_price(model)
        assert price.write == pytest.approx(facts.price_in * 1.25)
        assert price.write_1h == pytest.approx(facts.price_in * 2)
        assert 0.02 * price.input < price.read <= 0.1 * price.input
        assert price.source == "list price"


def test_your_price_beats_the_endpoints_which_beats_the_list() -> None:
    named = {"claude-opus-5": (4.0, 20.0), "m": (1.0, 2.0)}
    published = {
        name: OfferedModel(name, price_in=price_in, price_out=price_out)
        for name, (price_in, price_out) in named.items()
    }
    assert price_of("claude-opus-5", {"claude-opus-5": [1, 2]}, published) == Price(
        1, 2, 1.25, 2, 0.1, None, "your price"
    )
    theirs = price_of("claude-opus-5", {}, published)
    assert theirs is not None
    assert (theirs.input, theirs.read, theirs.source) == (4, pytest.approx(0.4), "the endpoint's price")
    assert price_of("m", {}, published) == Price(1, 2, 1.25, 2, 0.1, None, "the endpoint's price")
    full = {"input": 1, "output": 2, "write": 3, "write_1h": 4, "read": 5}
    assert price_of("m", {"m": full}, {}) == Price(1, 2, 3, 4, 5, None, "your price")


@pytest.mark.parametrize(
    "bad", [[1], [1, -2], {"input": 1}, {"input": 1, "output": 2, "colour": 3}, "cheap", 3, [1, "x"]]
)
def test_a_price_that_is_none_is_refused_with_a_sentence(bad: Any) -> None:
    with pytest.raises(TraitError, match=r"CometSettings.prices\['m'\]"):
        CometSettings.instance().prices = {"m": bad}


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (12.3, "$12.30"),
        (0.21, "$0.21"),
        (0.0083, "$0.0083"),
        (0.00001234, "$0.000012"),
        (1234.5, "$1,234.50"),
        (0.05, "$0.050"),
    ],
)
def test_money_is_never_shown_as_nothing(usd: float, text: str) -> None:
    assert dollars(usd) == text


def listed(*models: Any, total: int | None = None) -> Any:
    return reply({"success": True, "page": 1, "total": total or len(models), "data": list(models)})


def model(name: str, price_in: Any, price_out: Any, currency: str = "USD / M Tokens") -> dict[str, Any]:
    return {"id": name, "pricing": {"currency": currency, "input": price_in, "output": price_out, "per_request": None}}


def test_the_endpoints_prices_are_read_as_it_publishes_them_without_a_key() -> None:
    pages = [
        listed(model("a", 2.4, 12), model("free", None, None), model("song", 1, 1, "USD / song"), {"id": 3}, total=6),
        listed(model("b", 1, 5), model("c", "x", 5), total=6),
        listed(total=6),
    ]
    with WireServer(*pages) as server:
        from comet_magic.keys import Key

        client = Client(RequestsTransport(), Endpoint(server.url, Key("sk-0123456789abcdef", "test")))
        prices = {name: offered.price for name, offered in client.published_models().items()}
        assert prices == {"a": (2.4, 12.0), "b": (1.0, 5.0), "free": None, "song": None, "c": None}
    assert [received.header("authorization") for received in server.received] == [None] * len(server.received)
    assert server.received[1].line.startswith("GET /api/models?page=2&")


@pytest.mark.parametrize("page", [reply("<html>console</html>", "text/html"), reply([]), reply({}, status=404)])
def test_an_endpoint_without_prices_costs_nothing_but_the_question(
    shell: Any, server: WireServer, monkeypatch: pytest.MonkeyPatch, page: Any
) -> None:
    with WireServer(lambda received: page if "/api/" in received.line else canonical()) as gateway:
        monkeypatch.setenv("COMETAPI_BASE_URL", gateway.url)
        shell.run_line_magic("config", "CometSettings.endpoint = 'cometapi'")
        for _ in range(3):
            assert "≈ $0.00011 · session" in Ran(shell, "%%claude\nhi").plain
        asked_for_prices = [received for received in gateway.received if "/api/" in received.line]
    assert len(asked_for_prices) == 1


def test_the_endpoints_own_price_counts_as_soon_as_it_is_known(
    shell: Any, server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = listed(model("claude-sonnet-4-6", 300, 1500))
    with WireServer(lambda received: published if "/api/" in received.line else canonical()) as gateway:
        monkeypatch.setenv("COMETAPI_BASE_URL", gateway.url)
        shell.run_line_magic("config", "CometSettings.endpoint = 'cometapi'")
        Ran(shell, "%%claude\nhi")
        kept = session.current().store(CometSettings.instance())
        deadline = time.monotonic() + 60
        while not offered.find_offered(kept, gateway.url)[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "≈ $0.011 · session ≈ $0.011" in Ran(shell, "%%claude\nhi").plain


# ---- what the gateway says was spent


def bills(*cents: float) -> Any:
    """A gateway that says, each time it is asked, the next of these sums; of the $50 that the account was given."""
    left = list(cents)

    def answer(received: Received) -> Any:
        if "billing/subscription" in received.line:
            return reply({"object": "billing_subscription", "hard_limit_usd": 50})
        if "billing/usage" in received.line:
            return reply({"object": "list", "total_usage": left.pop(0) if len(left) > 1 else left[0]})
        return canonical() if received.body else reply({"data": [{"id": "claude-sonnet-4-6"}]})

    return answer


def test_the_gateways_own_sum_stands_beside_the_estimate(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [bills(1230, 1231)]
    assert (
        "the gateway says of this key's account: spent $12.30 in all, $37.70 left" in Ran(shell, "%claude_test").printed
    )
    Ran(shell, "%%claude\nhi")
    said = str(Ran(shell, "%claude_usage").result.result)
    assert "spent $12.31 in all, $37.69 left; since " in said
    assert ": $0.010, and the estimate is ≈ $0.00011" in said


@pytest.mark.parametrize(
    "answer",
    [reply({}, status=404), reply("<html>", "text/html"), reply({"total_usage": "much"}), reply({"error": "no"})],
)
def test_where_it_does_not_answer_nothing_is_said(shell: Any, server: WireServer, answer: Any) -> None:
    server.scripts[:] = [lambda received: answer if "billing" in received.line else canonical()]
    Ran(shell, "%%claude\nhi")
    assert "gateway" not in str(Ran(shell, "%claude_usage").result.result)


def test_without_a_limit_only_the_sum_is_said(shell: Any, server: WireServer) -> None:
    def answer(received: Received) -> Any:
        return reply({"hard_limit_usd": 100_000_000} if "subscription" in received.line else {"total_usage": 5})

    server.scripts[:] = [answer]
    assert str(Ran(shell, "%claude_usage").result.result).endswith("account: spent $0.050 in all")


# ---- the usage line


def test_the_usage_line_has_money_and_the_session(shell: Any, server: WireServer) -> None:
    wire = {"input_tokens": 224, "output_tokens": 310, "cache_read_input_tokens": 980}
    server.scripts[:] = [reply({**MESSAGE, "usage": wire})]
    first = Ran(shell, "%%claude --alone\nhi").plain.split("\n")[-1]
    assert first.startswith("◈ m · 1,204 in (980 cached) · 310 out · ")
    assert first.endswith(f" s · ≈ $0.0056 · session ≈ $0.0056 · sent to {server.url[7:]}")
    assert "· ≈ $0.0056 · session ≈ $0.011 ·" in Ran(shell, "%%claude --alone\nhi").plain


def test_without_a_price_there_are_tokens_and_no_money(shell: Any, server: WireServer) -> None:
    shell.run_line_magic("config", "CometSettings.model = 'mystery'")
    line = Ran(shell, "%%claude --alone\nhi").plain.split("\n")[-1]
    assert line.startswith("◈ m · 11 in · 5 out · ")
    assert "$" not in line
    mixed = Ran(shell, "%%claude --alone -m opus\nhi").plain.split("\n")[-1]
    assert "session ≈ $0.00018, 1 of 2 replies without a price ·" in mixed


def test_a_reply_without_usage_has_no_price_of_its_own(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [reply({**MESSAGE, "usage": None})]
    line = Ran(shell, "%%claude\nhi").plain.split("\n")[-1]
    assert "usage not reported" in line
    assert line.count("$") == 1  # of the session, which it has cost something all the same
    shell.run_line_magic("config", "CometSettings.budget = {'session': 0.0003}")
    assert Ran(shell, "%%claude -t 5\nhi").error is None
    assert isinstance(Ran(shell, "%%claude -t 5\nhi").error, ConfigError)


def test_a_reply_that_broke_off_is_paid_for_all_the_same(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [stream(start(), block(), delta("word " * 600), end=[CLOSE])]
    ran = Ran(shell, "%%claude\nhi")
    assert "output not reported (partial)" in ran.plain
    assert session.current().totals.usd == pytest.approx((11 * 3 + 1000 * 15) / 1e6)


# ---- the report


def test_usage_by_model_conversation_and_day(shell: Any, server: WireServer) -> None:
    Ran(shell, "%%claude\nhi")
    Ran(shell, "%%claude -m opus -c eda\nhi")
    Ran(shell, "%%claude -m mystery --alone\nhi")
    report = Ran(shell, "%claude_usage").result.result
    assert [(line.name, line.replies, line.cost_usd) for line in report.lines["model"]] == [
        ("claude-opus-5", 1, pytest.approx(0.00018)),
        ("claude-sonnet-4-6", 1, pytest.approx(0.000108)),
        ("mystery", 1, None),
    ]
    assert {line.name for line in report.lines["conversation"]} == {"eda", "", comet_magic.conversations.names()[1]}
    (today,) = report.lines["day"]
    assert (today.replies, today.input, today.output, today.unpriced) == (3, 33, 15, 1)
    assert today.name == time.strftime("%Y-%m-%d")
    text = str(report)
    assert "claude-opus-5            1  11" in text
    assert "≈ $0.00029 + 1 without a price" in text
    markdown = report._repr_mimebundle_()["text/markdown"]
    assert "| mystery | 1 | 11 |" in markdown


def test_all_time_knows_the_sessions_before(shell: Any, server: WireServer) -> None:
    Ran(shell, "%%claude\nhi")
    session.reset()
    assert "no replies yet" in str(Ran(shell, "%claude_usage").result.result)
    assert Ran(shell, "%claude_usage --all").result.result.lines["day"][0].replies == 1
    assert isinstance(Ran(shell, "%claude_usage by model").error, ConfigError)


def test_the_report_as_a_data_frame_and_a_plot(shell: Any, server: WireServer) -> None:
    Ran(shell, "%%claude\nhi")
    kept = session.current().store(CometSettings.instance())
    yesterday = "INSERT INTO ledger SELECT 'x', session, at - 86400, endpoint, model, conversation, 1, 1, 0, 0, 0.5, 1 FROM ledger"
    kept.write(lambda db: db.execute(yesterday))
    report = Ran(shell, "%claude_usage --all").result.result
    frame = report.frame
    assert list(frame["by"]) == ["model", "conversation", "day", "day"]
    assert frame[frame["by"] == "day"]["cost_usd"].sum() == pytest.approx(0.500108)
    assert len(report.plot().axes[0].patches) == 2
    assert "data:image/png;base64," in report._repr_mimebundle_()["text/markdown"]


# ---- the budget


def test_a_request_that_could_pass_the_budget_is_not_sent(shell: Any, server: WireServer) -> None:
    shell.run_line_magic("config", "CometSettings.budget = 0.05")
    refused = Ran(shell, "%%claude\nhi")
    assert isinstance(refused.error, ConfigError)
    assert refused.error.what.startswith(
        "not sent: it could cost up to $0.061, and the budget of the session is $0.050, of which $0.00 is spent"
    )
    assert "lower max_tokens" in refused.error.hint
    assert server.received == []
    assert Ran(shell, "%%claude -t 1000\nhi").error is None


def test_what_is_spent_counts_for_the_session_and_the_day(shell: Any, server: WireServer) -> None:
    wire = {"input_tokens": 11, "output_tokens": 1000}
    server.scripts[:] = [reply({**MESSAGE, "usage": wire})]
    shell.run_line_magic("config", "CometSettings.budget = {'day': 0.04}")
    assert Ran(shell, "%%claude --alone -t 1000\nhi").error is None
    assert Ran(shell, "%%claude --alone -t 1000\nhi").error is None
    session.reset()  # another session, the same day
    third = Ran(shell, "%%claude --alone -t 1000\nhi")
    assert isinstance(third.error, ConfigError)
    assert "the budget of the day is $0.040, of which $0.030 is spent or reserved" in third.error.what
    shell.run_line_magic("config", "CometSettings.budget = {'session': 0.04}")
    assert Ran(shell, "%%claude --alone -t 1000\nhi").error is None


def test_yesterday_is_another_day(shell: Any, server: WireServer) -> None:
    session.current().count(Usage(1, 1), 3.0)  # by a kernel that has run for days
    shell.run_line_magic("config", "CometSettings.budget = {'day': 0.1}")
    assert Ran(shell, "%%claude\nhi").error is None
    shell.run_line_magic("config", "CometSettings.budget = {'session': 0.1}")
    assert isinstance(Ran(shell, "%%claude\nhi").error, ConfigError)


def test_a_day_that_is_not_kept_is_told(shell: Any, server: WireServer) -> None:
    shell.run_line_magic("config", "CometSettings.keep = False")
    shell.run_line_magic("config", "CometSettings.budget = {'day': 1}")
    assert (
        "[◈ the day's budget counts this kernel only, because nothing is being stored]"
        in Ran(shell, "%%claude\nhi").plain
    )


def test_a_replay_passes_any_budget(shell: Any, server: WireServer) -> None:
    shell.run_line_magic("config", "CometSettings.replay = 'always'")
    Ran(shell, "%%claude\nhi")
    session.reset()
    shell.run_line_magic("config", "CometSettings.budget = 0")
    assert "replayed" in Ran(shell, "%%claude --alone\nhi").plain


def test_a_budget_that_cannot_be_kept_refuses(shell: Any, server: WireServer) -> None:
    shell.run_line_magic("config", "CometSettings.budget = 1")
    ran = Ran(shell, "%%claude -m mystery\nhi")
    assert isinstance(ran.error, ConfigError)
    assert "there is a budget, and no price is known for mystery" in ran.error.what
    assert "CometSettings.prices = {'mystery': [input, output]}" in ran.error.hint
    assert [one.line for one in server.received if one.body] == []
    shell.run_line_magic("config", "CometSettings.prices = {'mystery': [1, 1000]}")
    assert isinstance(Ran(shell, "%%claude -m mystery\nhi").error, ConfigError)
    shell.run_line_magic("config", "CometSettings.prices = {'mystery': [0, 0]}")
    assert Ran(shell, "%%claude -m mystery\nhi").error is None


def spent_usd() -> float:
    return ledger.spent(session.current().store(CometSettings.instance())).usd


THINKING = [start(), block(0, type="thinking", thinking="")]
THINKING += [event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "so. " * 250})] * 80
CALLING = [start(), block(0, type="tool_use", id="a", name="f", input={})]
CALLING += [
    event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": "word " * 200})
] * 80
FREE = {**MESSAGE, "content": "x" * 40_000, "usage": {"input_tokens": 0, "output_tokens": 0}}


@pytest.mark.parametrize(
    ("script", "least"),
    [
        ([RESET], 0.06),
        ([HOLD], 0.06),
        (stream(*THINKING, end=(CLOSE,)), 0.3),
        (stream(*CALLING, end=(CLOSE,)), 0.3),
        (reply(FREE), 0.1),
    ],
    ids=["reset", "silence", "thinking", "calling", "free"],
)
def test_what_may_have_been_spent_counts(shell: Any, server: WireServer, script: Any, least: float) -> None:
    settings = CometSettings.instance()
    settings.model, settings.read_timeout_s, settings.retries = "sonnet", 0.3, 0
    server.scripts[:] = [script]
    Ran(shell, "%%claude --alone\nhi")
    assert spent_usd() >= least
    assert session.current().totals.usd == pytest.approx(spent_usd())
    settings.budget = 0.06
    assert isinstance(Ran(shell, "%%claude --alone\nhi").error, ConfigError)
    assert len(server.received) == 1


def test_what_was_not_sent_or_was_refused_costs_nothing(shell: Any, server: WireServer) -> None:
    settings = CometSettings.instance()
    settings.retries = 0
    server.scripts[:] = [reply({"error": {"message": "no"}}, status=400)]
    Ran(shell, "%%claude --alone\nhi")
    settings.endpoint = "http://127.0.0.1:9"
    Ran(shell, "%%claude --alone\nhi")
    assert spent_usd() == 0


def test_each_try_that_may_have_been_billed_counts_and_passes_the_budget(
    shell: Any, server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comet_magic.api.retry.backoff_s", lambda tried: 0.01)
    settings = CometSettings.instance()
    settings.model, settings.retries = "sonnet", 3
    server.scripts[:] = [[RESET], canonical()]
    done = Ran(shell, "%%claude --alone\nhi")
    assert "a try may have been billed, and counts as ≈ $0.061" in done.plain
    assert 0.061 < spent_usd() < 0.062
    settings.budget = {"session": 0.2}
    server.scripts[:] = [[RESET]]
    assert isinstance(Ran(shell, "%%claude --alone\nhi").error, ConfigError)
    assert len(server.received) == 2 + 2  # a third try could have passed it
    assert 0.18 < spent_usd() < 0.2


def test_the_deadline_is_for_all_tries_and_waits(shell: Any, server: WireServer) -> None:
    settings = CometSettings.instance()
    settings.retries, settings.deadline_s = 5, 1.5
    server.scripts[:] = [reply({"error": {"message": "x"}}, status=429, retry_after="1")]
    assert Ran(shell, "%%claude --alone\nhi").error is not None
    assert len(server.received) == 2  # a second wait would end too late
    server.scripts[:] = [reply({"error": {"message": "x"}}, status=429, retry_after="59")]
    Ran(shell, "%%claude --alone\nhi")
    assert len(server.received) == 3


PAID = {**MESSAGE, "usage": {"input_tokens": 10, "output_tokens": 4096}}
CALLED = reply(
    {**PAID, "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}], "stop_reason": "tool_use"}
)


@comet_magic.tool(safe=True)
def f() -> int:
    return 1


@pytest.mark.parametrize(("budget", "sent"), [(0.15, 2), (0.2, 3)])
def test_a_try_of_a_later_round_counts_beside_the_rounds_before(
    shell: Any, server: WireServer, monkeypatch: pytest.MonkeyPatch, budget: float, sent: int
) -> None:
    monkeypatch.setattr("comet_magic.api.retry.backoff_s", lambda tried: 0.01)
    settings = CometSettings.instance()
    settings.model, settings.retries, settings.budget = "sonnet", 2, {"session": budget}
    server.scripts[:] = [CALLED, [RESET]]

    with pytest.raises(ConfigError):
        comet_magic.ask("hi", tools=[f])
    assert len(server.received) == sent
    assert (sent - 0.5) * 0.061 < spent_usd() < budget


def test_a_follow_up_without_an_answer_counts(shell: Any, server: WireServer) -> None:
    settings = CometSettings.instance()
    settings.model, settings.retries = "sonnet", 0
    server.scripts[:] = [CALLED, [RESET]]

    with pytest.raises(TransportError):
        comet_magic.ask("hi", tools=[f])
    assert spent_usd() > 0.122


def test_what_is_in_flight_in_another_store_counts(shell: Any, server: WireServer, tmp_path: Path) -> None:
    settings = CometSettings.instance()
    settings.model, settings.budget = "sonnet", {"session": 0.1}
    server.scripts[:] = [[1.0, *reply(PAID)]]
    asking = threading.Thread(target=lambda: comet_magic.ask("hi"))
    asking.start()
    while not server.received:
        time.sleep(0.01)
    settings.store = str(tmp_path / "other.sqlite")
    with pytest.raises(ConfigError, match="budget"):
        comet_magic.ask("hi")
    asking.join()


def test_a_request_in_another_way_has_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def refused(client: Client, request: Request) -> Any:
        given.append(client.limits.deadline_s)
        time.sleep(0.05)
        raise APIError("cache_control is not permitted", status=400)

    monkeypatch.setattr(Client, "stream", refused)
    send = Sender(Client(RequestsTransport(), Endpoint("http://127.0.0.1:9")), "e", set(), None)
    with pytest.raises(APIError):
        send(Request("m", 9, (Message.user("hi"),), cached=(0,)))
    assert len(given) == 2
    assert given[1] <= given[0] - 0.05


def test_a_fork_spends_its_parents_money(shell: Any, server: WireServer) -> None:
    settings = CometSettings.instance()
    settings.model, settings.budget = "sonnet", {"session": 0.1}
    server.scripts[:] = [reply({**MESSAGE, "usage": {"input_tokens": 10, "output_tokens": 4096}})]
    comet_magic.ask("hi")
    for _ in range(3):
        if (child := os.fork()) == 0:
            try:
                comet_magic.ask(f"hi {os.getpid()}")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    assert len(server.received) == 1
    assert spent_usd() < 0.1


CHILD = """
import sys, comet_magic
from comet_magic.settings import CometSettings
settings = CometSettings.instance()
settings.endpoint, settings.budget, settings.retries = sys.argv[1], {sys.argv[2]: float(sys.argv[3])}, 0
for number in range(int(sys.argv[4])):
    try:
        comet_magic.ask("hi")
    except comet_magic.CometError:
        pass
"""


def test_a_spawned_child_spends_its_parents_money(shell: Any, server: WireServer) -> None:
    settings = CometSettings.instance()
    settings.model, settings.budget = "sonnet", {"session": 0.1}
    server.scripts[:] = [reply({**MESSAGE, "usage": {"input_tokens": 10, "output_tokens": 4096}})]
    comet_magic.ask("hi")
    subprocess.run([sys.executable, "-c", CHILD, server.url, "session", "0.1", "2"], check=True)
    assert len(server.received) == 1


@pytest.mark.parametrize("run", range(int(os.environ.get("BUDGET_RUNS", "3"))))
def test_many_processes_never_pass_a_days_budget(server: WireServer, run: int) -> None:
    """However their replies end. BUDGET_RUNS=50 in the environment repeats it as often."""
    ends = [
        [0.02, *reply({**MESSAGE, "usage": {"input_tokens": 10, "output_tokens": 4096}})],
        [0.01, RESET],
        [0.02, *stream(start(), delta("x"), end=(CLOSE,))],
        [0.01, *reply({"error": {"message": "no"}}, status=400)],
    ]
    server.scripts[:] = [lambda received: random.choice(ends)]
    command = [sys.executable, "-c", CHILD, server.url, "day", "0.62", "6"]
    children = [subprocess.Popen(command) for _ in range(8)]
    assert [child.wait(120) for child in children] == [0] * 8
    assert 0.2 < spent_usd() <= 0.62


def test_two_that_ask_at_once_see_one_another(server: WireServer) -> None:
    settings = CometSettings.instance()
    settings.budget = 0.02
    server.scripts[:] = [[1.0, *canonical()]]
    refused: list[str] = []

    def one() -> None:
        try:
            comet_magic.ask("hi", max_tokens=1000)
        except ConfigError as error:
            refused.append(error.what)

    asking = [threading.Thread(target=one) for _ in range(2)]
    for thread in asking:
        thread.start()
        time.sleep(0.3)
    for thread in asking:
        thread.join()
    assert len(refused) == 1
    assert len(server.received) == 1


def test_an_estimate_is_not_below_what_texts_take() -> None:
    request = Request("m", 9, (Message.user("What is the difference between a list and a tuple?"),), system="Be brief.")
    assert estimated_prompt(request) >= 16  # as counted by the provider's tokenizer, roughly


def test_a_conversation_is_called_what_a_reader_knows_it_by() -> None:
    from comet_magic.conversations import called

    assert called("/home/somebody/work/sales.ipynb") == "sales.ipynb"
    assert called("kernel-20261125-003207-ef44") == "unsaved notebook, 25 Nov 00:32"
    assert called("") == "without conversation"
    assert called("kernel-20261399-000000-a") == "kernel-20261399-000000-a"
    assert called("eda") == "eda"


def test_an_export_shows_data_in_a_block_of_its_own(shell: Any, tmp_path: Path) -> None:
    with WireServer(canonical()) as server:
        CometSettings.instance().endpoint = server.url
        Ran(shell, "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]})")
        Ran(shell, "%%claude -c eda\nWhat is in {{df}}, please?")
        Ran(shell, f"%claude_history -c eda --export {tmp_path / 'eda.md'}")
    text = (tmp_path / "eda.md").read_text()
    assert '```text\n<data name="df"' in text
    assert "</data>\n```\n\n, please?" in text


def test_a_dry_run_says_the_highest_price(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    said = Ran(shell, "%%claude --dry-run -m opus -t 1000\nhi").plain
    assert re.search(r"It would go to claude-opus-5 at .*, and up to 1,000 back, at most ≈ \$0\.\d+", said)
