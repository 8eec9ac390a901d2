"""Message Batches: half the price where they are offered, and no second batch by accident. Case 24."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from wire_server import HOLD, MESSAGE, Received, Script, WireServer, reply

import comet_magic
from comet_magic.errors import APIError, CometError, ConfigError
from comet_magic.exchange import session
from comet_magic.rows import batches
from comet_magic.settings import CometSettings
from comet_magic.store import rows as row_store

Serve = Callable[..., WireServer]
MODEL = "claude-haiku-4-5"
PROMPT = "Tone? {{row.review}}"
KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def settings(priced: CometSettings, monkeypatch: pytest.MonkeyPatch) -> CometSettings:
    monkeypatch.setattr(batches, "FIRST_POLL_S", 0.05)
    return priced


def message(text: str = "fine") -> dict[str, Any]:
    return {**MESSAGE, "content": [{"type": "text", "text": text}], "usage": {"input_tokens": 20, "output_tokens": 5}}


class Offer:
    """An endpoint with Message Batches. outcome: what comes of a request; polls: how often a batch is not done yet."""

    def __init__(self, outcome: Callable[[str], dict[str, Any]], polls: int = 1, live: str = "fine") -> None:
        self.outcome, self.polls, self.live = outcome, polls, live
        self.batches: dict[str, list[dict[str, Any]]] = {}
        self.looked: dict[str, int] = {}
        self.asked_live = 0
        self.cancelled: list[str] = []
        self.hidden: set[str] = set()  # texts whose results are missing
        self.holds = False

    def status(self, name: str) -> dict[str, Any]:
        self.looked[name] = self.looked.get(name, 0) + 1
        is_ended = self.looked[name] > self.polls
        size = len(self.batches[name])
        counts = {"processing": 0, "succeeded": size} if is_ended else {"processing": size, "succeeded": 0}
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        state = "ended" if is_ended else "in_progress"
        return {"id": name, "processing_status": state, "request_counts": counts, "created_at": created}

    def __call__(self, received: Received) -> Script:
        method, path, _ = received.line.split(" ")
        if path == "/v1/messages" and method == "POST":
            self.asked_live += 1
            return reply(message(self.live))
        if not path.startswith("/v1/messages/batches"):
            return reply({}, status=404)
        rest = path.partition("?")[0].removeprefix("/v1/messages/batches").strip("/")
        if method == "POST" and not rest:
            name = f"msgbatch_{len(self.batches) + 1}"
            self.batches[name] = received.json["requests"]
            return [HOLD] if self.holds else reply(self.status(name))
        if not rest:
            return reply({"data": [self.status(name) for name in self.batches], "has_more": False})
        name, _, what = rest.partition("/")
        if what == "cancel":
            self.cancelled.append(name)
            return reply(self.status(name))
        if what != "results":
            return reply(self.status(name))
        lines = [
            json.dumps({"custom_id": one["custom_id"], "result": self.outcome(text_of(one))})
            for one in self.batches[name]
            if text_of(one) not in self.hidden
        ]
        random.Random(1).shuffle(lines)
        return reply("\n".join(lines) + "\n", "application/x-jsonl")


def text_of(one: dict[str, Any]) -> str:
    return str(one["params"]["messages"][0]["content"])


def succeeded(text: str) -> dict[str, Any]:
    return {"type": "succeeded", "message": message(text.rsplit(" ", 1)[1])}


def frame(count: int) -> pd.DataFrame:
    return pd.DataFrame({"review": [f"review {number}" for number in range(count)]})


def test_results_come_in_any_order_at_half_the_price(serve: Serve) -> None:
    offer = Offer(succeeded)
    serve(offer)
    result = comet_magic.map(frame(50), PROMPT, batch=True, yes=True)
    assert list(result.reply) == ["fine", *[str(number) for number in range(1, 50)]]
    assert (offer.asked_live, [len(one) for one in offer.batches.values()]) == (1, [49])
    requests = offer.batches["msgbatch_1"]
    assert all(len(one["custom_id"]) == 64 and int(one["custom_id"], 16) for one in requests)
    assert all("stream" not in one["params"] for one in requests)
    each = 20 / 1e6 + 5 * 5 / 1e6
    assert session.current().totals.usd == pytest.approx(each * (1 + 49 / 2))
    assert comet_magic.last_run is not None
    assert any("its results are there until" in note for note in comet_magic.last_run.progress.notes)
    comet_magic.map(frame(50), PROMPT, batch=True)
    assert (offer.asked_live, len(offer.batches)) == (1, 1)


def test_what_failed_expired_or_is_missing_is_each_treated_as_it_is(serve: Serve) -> None:
    seen: set[str] = set()

    def outcome(text: str) -> dict[str, Any]:
        number = text.rsplit(" ", 1)[1]
        if number == "3":
            error = {"type": "invalid_request_error", "message": "prompt is too long"}
            return {"type": "errored", "error": {"type": "error", "error": error}}
        if number in ("4", "5") and text not in seen:
            seen.add(text)
            return {"type": "expired" if number == "4" else "canceled"}
        if number == "6" and text not in seen:
            seen.add(text)
            return {"type": "errored", "error": {"type": "error", "error": {"type": "api_error", "message": "oops"}}}
        return succeeded(text)

    offer = Offer(outcome)
    offer.hidden = {"Tone? review 7"}
    serve(offer)

    def listed(received: Received) -> Script:
        if len(offer.batches) > 1:
            offer.hidden = set()
        return offer(received)

    serve(listed)
    result = comet_magic.map(frame(10), PROMPT, batch=True, yes=True)
    assert "prompt is too long" in result.error[3]
    assert result.error.notna().sum() == 1
    assert sorted(map(text_of, offer.batches["msgbatch_2"])) == [f"Tone? review {number}" for number in (4, 5, 6, 7)]


def test_what_does_not_fit_is_asked_live(serve: Serve) -> None:
    offer = Offer(
        lambda text: {"type": "succeeded", "message": message('{"value": "good"}' if "4" not in text else "x")}
    )
    offer.live = '{"value": "bad"}'
    serve(offer)
    from typing import Literal

    result = comet_magic.map(frame(6), PROMPT, as_=Literal["good", "bad"], into="tone", batch=True)
    assert list(result.tone) == ["bad", "good", "good", "good", "bad", "good"]
    assert offer.asked_live == 2


@pytest.mark.parametrize(
    "answer",
    [reply({"error": {"message": "no"}}, status=404), reply("<html>hi</html>", "text/html"), reply({"data": 7})],
)
def test_where_there_are_none_nothing_is_sent(serve: Serve, answer: Script) -> None:
    server = serve(answer)
    with pytest.raises(ConfigError, match="offers no Message Batches"):
        comet_magic.map(frame(30), PROMPT, batch=True, yes=True)
    assert not [one for one in server.received if one.body]


def test_batches_that_all_fail_for_one_reason_are_the_runs_error(serve: Serve) -> None:
    error = {"type": "invalid_request_error", "message": "Your credit balance is too low"}
    serve(Offer(lambda text: {"type": "errored", "error": {"type": "error", "error": error}}))
    with pytest.raises(APIError, match="credit balance"):
        comet_magic.map(frame(30), PROMPT, batch=True, yes=True)


def test_the_estimate_is_of_half_the_price_and_a_budget_holds(serve: Serve, settings: CometSettings) -> None:
    offer = Offer(succeeded)
    serve(offer)
    with pytest.raises(ConfigError, match="nobody could be asked"):
        comet_magic.map(frame(60), PROMPT, batch=True)
    assert offer.batches == {}
    settings.prices = {MODEL: [0, 100]}
    result = comet_magic.map(frame(60), "Other? {{row.review}}", batch=True, budget=0.01, max_tokens=10)
    sent = sum(map(len, offer.batches.values()))  # each may cost $0.0005, and half of it is what it costs
    assert len(offer.batches["msgbatch_1"]) < sent
    assert (result.error == "not sent: budget").sum() == 60 - 1 - sent
    assert comet_magic.last_run is not None
    assert 0.008 <= (comet_magic.last_run.usd or 0) <= 0.01


KILLED = f"""
import os, sys, pandas as pd, comet_magic
from comet_magic.rows import batches
from comet_magic.settings import CometSettings
batches.FIRST_POLL_S = 0.05
settings = CometSettings.instance(); settings.endpoint, settings.model, settings.prices = sys.argv[1], {MODEL!r}, {{{MODEL!r}: [1, 5]}}
rows = pd.DataFrame({{"review": [f"review {{n}}" for n in range(30)]}})
print("begun", flush=True)
comet_magic.map(rows, {PROMPT!r}, batch=True, yes=True)
"""


def killed(url: str, offer: Offer, *, when: Callable[[], bool]) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 30
    while not when():
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def submitter_killed(serve: Serve, offer: Offer) -> WireServer:
    """Serve an offer to a kernel that dies when its batch was made, and before it knows of it."""
    offer.holds = True
    server = serve(offer)
    killed(server.url, offer, when=lambda: bool(offer.batches))
    offer.holds = False
    return server


def test_a_batch_of_a_kernel_that_died_while_waiting_is_collected(serve: Serve) -> None:
    offer = Offer(succeeded, polls=10_000)
    server = serve(offer)
    killed(server.url, offer, when=lambda: offer.looked.get("msgbatch_1", 0) > 2)
    offer.polls = 0
    result = comet_magic.map(frame(30), PROMPT, batch=True)
    assert result.error.isna().all()
    assert (len(offer.batches), offer.asked_live) == (1, 1)


def test_a_batch_whose_answer_never_came_is_found_and_not_submitted_again(serve: Serve) -> None:
    offer = Offer(succeeded, polls=0)
    submitter_killed(serve, offer)
    result = comet_magic.map(frame(30), PROMPT, batch=True)
    assert result.error.isna().all()
    assert (len(offer.batches), offer.asked_live) == (1, 1)


def test_where_that_cannot_be_told_the_user_is_asked(serve: Serve) -> None:
    offer = Offer(succeeded, polls=10_000)
    server = submitter_killed(serve, offer)
    offer.batches["msgbatch_9"] = [*offer.batches["msgbatch_1"]]  # another of the same size
    with pytest.raises(ConfigError, match="cannot be told"):
        comet_magic.map(frame(30), PROMPT, batch=True)
    assert len(offer.batches) == 2
    store = session.current().store(CometSettings.instance())
    assert [one.state for one in row_store.open_batches(store, server.url, MODEL)] == [row_store.SUBMITTING]


def test_a_batch_that_was_never_made_is_submitted(serve: Serve) -> None:
    offer = Offer(succeeded, polls=0)
    submitter_killed(serve, offer)
    offer.batches.clear()
    result = comet_magic.map(frame(30), PROMPT, batch=True, yes=True)
    assert result.error.isna().all()
    assert len(offer.batches) == 1


def test_results_that_cannot_be_read_are_not_asked_for_anew(serve: Serve) -> None:
    for broken in (reply("<html>login</html>", "text/html"), reply("")):
        offer = Offer(succeeded)
        server = serve(
            lambda received, offer=offer, broken=broken: broken if "/results" in received.line else offer(received)
        )
        rows = frame(30).assign(review=lambda df, broken=broken: df.review + str(len(broken[0])))
        with pytest.raises(CometError, match="results of batch|cannot be read|missing"):
            comet_magic.map(rows, PROMPT, batch=True, yes=True)
        server.scripts[:] = [offer]
        result = comet_magic.map(rows, PROMPT, batch=True)
        assert result.error.isna().all()
        assert (len(offer.batches), offer.asked_live) == (1, 1)


@pytest.mark.parametrize(
    "answer", [reply("<html>", "text/html", status=504), reply({"ok": True}), reply("<html>", "text/html")]
)
def test_an_unclear_answer_to_a_submission_is_no_reason_for_another(serve: Serve, answer: Script) -> None:
    offer = Offer(succeeded, polls=0)
    is_first = True

    def broken(received: Received) -> Script:
        nonlocal is_first
        script = offer(received)
        if received.line.startswith("POST /v1/messages/batches ") and is_first:
            is_first = False
            return answer
        return script

    serve(broken)
    with pytest.raises(CometError) as raised:
        comet_magic.map(frame(30), PROMPT, batch=True, yes=True)
    assert "may have been made" in raised.value.hint
    result = comet_magic.map(frame(30), PROMPT, batch=True)
    assert result.error.isna().all()
    assert (len(offer.batches), offer.asked_live) == (1, 1)


@pytest.mark.parametrize("lacking", ["created_at", "request_counts"])
def test_a_list_that_says_too_little_is_no_proof(serve: Serve, lacking: str) -> None:
    offer = Offer(succeeded, polls=10_000)
    status = offer.status
    offer.status = lambda name: {field: value for field, value in status(name).items() if field != lacking}  # type: ignore[method-assign]
    submitter_killed(serve, offer)
    with pytest.raises(ConfigError, match="cannot be told"):
        comet_magic.map(frame(30), PROMPT, batch=True, yes=True)
    assert len(offer.batches) == 1


def test_another_kernel_that_is_submitting_is_left_to_it(serve: Serve) -> None:
    offer = Offer(succeeded, polls=0)
    offer.holds = True
    server = serve(offer)
    process = subprocess.Popen([sys.executable, "-c", KILLED, server.url], stdout=subprocess.PIPE)
    until = time.monotonic() + 30
    while not offer.batches:
        assert time.monotonic() < until
        time.sleep(0.02)
    with pytest.raises(ConfigError, match="another kernel is submitting"):
        comet_magic.map(frame(30), PROMPT, batch=True, yes=True)
    process.kill()
    process.communicate()
    assert len(offer.batches) == 1


def test_a_short_outage_ends_no_wait_and_a_batch_that_is_gone_is_asked_about(serve: Serve) -> None:
    offer = Offer(succeeded, polls=4)
    count = 0

    def shaky(received: Received) -> Script:
        nonlocal count
        if received.line.startswith("GET /v1/messages/batches/msgbatch_1 "):
            count += 1
            if count in (2, 3, 4, 5):
                return reply({"error": {"type": "api_error", "message": "oops"}}, status=500)
        return offer(received)

    server = serve(shaky)
    assert comet_magic.map(frame(30), PROMPT, batch=True, yes=True).error.isna().all()

    def gone(received: Received) -> Script:
        if "/results" in received.line:
            return reply({"error": {"type": "not_found_error", "message": "no such batch"}}, status=404)
        return offer(received)

    server.scripts[:] = [gone]
    rows = frame(30).assign(review=lambda df: df.review + "!")
    with pytest.raises(ConfigError, match="has batch msgbatch_2 or its results no more"):
        comet_magic.map(rows, PROMPT, batch=True, budget=5)
    server.scripts[:] = [lambda received: offer(received) if "msgbatch_2" not in received.line else gone(received)]
    assert comet_magic.map(rows, PROMPT, batch=True, yes=True).error.isna().all()


def test_an_interrupt_leaves_the_batch_and_its_money_where_they_are(serve: Serve, settings: CometSettings) -> None:
    import signal
    import threading

    offer = Offer(succeeded, polls=10_000)
    serve(offer)
    threading.Timer(1.0, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.raises(KeyboardInterrupt):
        comet_magic.map(frame(30), PROMPT, batch=True, yes=True)
    assert session.current().promised_usd() > 0
    assert offer.cancelled == []
    offer.polls = 0
    assert comet_magic.map(frame(30), PROMPT, batch=True).error.isna().all()
    assert session.current().promised_usd() == 0
    assert len(offer.batches) == 1


def test_what_was_cancelled_is_asked_once_more_and_once_only(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal
    import threading

    from comet_magic.notebook import rows_display

    offer = Offer(succeeded, polls=10_000)
    serve(offer)
    monkeypatch.setattr(rows_display.NoScreen, "ask", lambda self, question: "Cancel" in question)
    threading.Timer(1.0, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.raises(KeyboardInterrupt):
        comet_magic.map(frame(30), PROMPT, batch=True, yes=True)
    assert offer.cancelled == ["msgbatch_1"]
    done = {f"Tone? review {number}" for number in range(1, 11)}
    offer.outcome = lambda text: succeeded(text) if text in done or len(offer.batches) > 1 else {"type": "canceled"}
    offer.polls = 0
    result = comet_magic.map(frame(30), PROMPT, batch=True, yes=True)
    assert result.error.isna().all()
    assert [len(batch) for batch in offer.batches.values()] == [29, 18]  # 19 are left, of which one goes live
    assert offer.asked_live == 2
    assert comet_magic.last_run is not None
    assert comet_magic.last_run.progress.answered == 29


def test_a_budget_that_is_too_small_for_any_is_said(serve: Serve) -> None:
    offer = Offer(succeeded)
    serve(offer)
    result = comet_magic.map(frame(30), PROMPT, batch=True, budget=0.0001)
    assert set(result.error) == {"not sent: budget"}
    assert offer.batches == {}


def test_a_batch_of_one_that_is_too_long_is_an_error_of_its_row(serve: Serve) -> None:
    error = {"type": "invalid_request_error", "message": "prompt is too long"}
    offer = Offer(lambda text: {"type": "errored", "error": {"type": "error", "error": error}})
    serve(offer)
    result = comet_magic.map(frame(2), PROMPT, batch=True)
    assert "prompt is too long" in result.error[1]
    comet_magic.map(frame(2), PROMPT, batch=True)
    assert len(offer.batches) == 1


def test_a_batch_that_is_gone_in_its_own_run_is_asked_for_anew(serve: Serve) -> None:
    offer = Offer(succeeded, polls=0)

    def forgetful(received: Received) -> Script:
        if "/msgbatch_1" in received.line:
            return reply({"error": {"type": "not_found_error", "message": "no such batch"}}, status=404)
        return offer(received)

    serve(forgetful)
    result = comet_magic.map(frame(30), PROMPT, batch=True, yes=True)
    assert result.error.isna().all()
    assert len(offer.batches) == 2


def test_two_batches_keep_their_money_while_they_go_on(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal
    import threading

    monkeypatch.setattr(batches, "MOST_REQUESTS", 15)
    offer = Offer(succeeded, polls=10_000)
    serve(offer)
    threading.Timer(1.0, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.raises(KeyboardInterrupt):
        comet_magic.map(frame(31), PROMPT, batch=True, yes=True, max_tokens=100)
    each = 0.5 * 100 * 5 / 1e6  # of the replies alone
    assert session.current().promised_usd() >= 30 * each
    assert len(offer.batches) == 2
    offer.polls = 0
    assert comet_magic.map(frame(31), PROMPT, batch=True, max_tokens=100).error.isna().all()
    assert session.current().promised_usd() == 0
    assert len(offer.batches) == 2


def test_results_that_break_off_are_counted_once(serve: Serve, settings: CometSettings) -> None:
    offer = Offer(succeeded, polls=0)
    is_broken = True

    def breaking(received: Received) -> Script:
        script = offer(received)
        if "/results" in received.line and is_broken:
            head, _, body = bytes(script[0]).partition(b"\r\n\r\n")  # type: ignore[arg-type]
            return [head + b"\r\n\r\n" + body[: len(body) // 2], "close"]
        return script

    serve(breaking)
    with pytest.raises(CometError):
        comet_magic.map(frame(30), PROMPT, batch=True, yes=True)
    is_broken = False
    assert comet_magic.map(frame(30), PROMPT, batch=True).error.isna().all()
    each = 20 / 1e6 + 5 * 5 / 1e6
    assert session.current().totals.usd == pytest.approx(each * (1 + 29 / 2))
    assert (len(offer.batches), offer.asked_live) == (1, 1)


def test_rows_of_a_batch_that_goes_on_are_not_asked_live(serve: Serve) -> None:
    import signal
    import threading

    offer = Offer(succeeded, polls=10_000)
    serve(offer)
    threading.Timer(1.0, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.raises(KeyboardInterrupt):
        comet_magic.map(frame(30), PROMPT, batch=True, yes=True)
    with pytest.raises(ConfigError, match="29 rows of these are in a batch"):
        comet_magic.map(frame(30), PROMPT, yes=True)
    assert comet_magic.map(frame(30), PROMPT, yes=True, fresh=True).error.isna().all()


def test_a_dialect_without_batches_is_refused(serve: Serve, settings: CometSettings) -> None:
    server = serve(Offer(succeeded))
    settings.dialects = {"g": "chat"}
    with pytest.raises(ConfigError, match="batches are of the Messages API"):
        comet_magic.map(frame(30), PROMPT, batch=True, yes=True, model="g")
    assert not [one for one in server.received if one.body]
