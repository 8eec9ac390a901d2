"""Runs that are cut short: killed at any moment, interrupted once and twice, ended with their process. Cases 2, 6, 18, 22."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from row_server import RowServer

import comet_magic
from comet_magic.exchange import session
from comet_magic.rows import gate
from comet_magic.settings import CometSettings
from comet_magic.store import rows as row_store

MODEL = "claude-haiku-4-5"
PROMPT = "Tone of this review? {{row.review}}"
WORKERS = 8
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> CometSettings:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setattr(gate, "_gates", {})
    settings = CometSettings.instance()
    settings.model = MODEL
    return settings


def frame(name: str, count: int) -> pd.DataFrame:
    return pd.DataFrame({"review": [f"{name} {number}" for number in range(count)]})


RUN = f"""
import sys, threading, time
import pandas as pd
import comet_magic, comet_magic.mapping, comet_magic.rows.run
from comet_magic.settings import CometSettings
settings = CometSettings.instance()
settings.endpoint, settings.model = sys.argv[1], {MODEL!r}
rows = pd.DataFrame({{"review": [f"{{sys.argv[2]}} {{number}}" for number in range(int(sys.argv[3]))]}})
print("begun", flush=True)
try:
    comet_magic.map(rows, {PROMPT!r}, yes=True, workers={WORKERS})
    print("ended", flush=True)
except KeyboardInterrupt:
    print("interrupted", comet_magic.last_run.progress.answered, flush=True)
    if "look" in sys.argv:
        time.sleep(2)
        print("threads", len([one for one in threading.enumerate() if one.name == "comet_magic rows"]), flush=True)
"""


def started(server: RowServer, name: str, count: int, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", RUN, server.url, name, str(count), *more]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def ended(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=60)
    return said


def until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_6_a_kernel_that_is_killed_pays_twice_for_no_more_than_what_was_in_flight(settings: CometSettings) -> None:
    drawn = random.Random(19)
    count = 120
    with RowServer(delay=0.05) as server:
        settings.endpoint = server.url
        paid_twice = []
        for number in range(20):
            name = f"round {number}, row"
            before = server.stats()
            process = started(server, name, count)
            if number < 18:
                time.sleep(drawn.uniform(0.0, 1.1))
            elif number == 18:
                until(lambda before=before: server.stats()["answered"] - before["answered"] >= count * 0.99)
            process.kill()
            ended(process)
            session.reset()
            result = comet_magic.map(frame(name, count), PROMPT, yes=True, workers=WORKERS)
            assert result.error.isna().all()
            after = server.stats()
            assert after["different"] - before["different"] == count
            paid_twice.append(after["answered"] - before["answered"] - count)
        assert max(paid_twice) <= WORKERS + 2, paid_twice


def test_6_what_is_not_written_down_yet_counts_as_in_flight(
    settings: CometSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the disk takes: what a killed kernel pays for again is no more than what was in flight."""
    keep_rows, written, lost = row_store.keep_rows, [0], [0]

    def slowly(store: Any, run: int, came: Any, paid: Any) -> None:
        time.sleep(0.2)  # more than a reply takes
        lost.append(server.stats()["requests"] - written[0])
        keep_rows(store, run, came, paid)
        written[0] += len(came)

    with RowServer(delay=0.05) as server:
        settings.endpoint = server.url
        monkeypatch.setattr(row_store, "keep_rows", slowly)
        result = comet_magic.map(frame("row", 60), PROMPT, yes=True, workers=WORKERS)
        assert result.error.isna().all()
    assert max(lost) == WORKERS
    assert written == [60]


def test_18_an_interrupt_keeps_what_is_in_flight_and_the_next_run_goes_on(settings: CometSettings) -> None:
    with RowServer(delay=0.3) as server:
        process = started(server, "row", 200, "look")
        until(lambda: server.stats()["answered"] >= 20)
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        begun = server.stats()["requests"]
        said = ended(process)
        counts = server.stats()
        assert counts["requests"] == begun  # none has begun since
        assert f"interrupted {counts['answered']}\nthreads 0" in said
        settings.endpoint = server.url
        result = comet_magic.map(frame("row", 200), PROMPT, yes=True, workers=64)
        assert result.error.isna().all()
        assert server.stats()["answered"] == 200


def test_18_a_second_interrupt_drops_what_is_in_flight() -> None:
    with RowServer(delay=30) as server:
        process = started(server, "row", 50)
        until(lambda: server.stats()["requests"] >= 1)
        process.send_signal(signal.SIGINT)
        time.sleep(1.0)  # two signals that come as one are one interrupt
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert "interrupted 0" in ended(process)
        assert time.monotonic() - began < 2


ENDS = """
import sys, threading, time
import comet_magic
from comet_magic.settings import CometSettings
settings = CometSettings.instance()
settings.endpoint, settings.model = sys.argv[1], "claude-haiku-4-5"
rows = [{"review": f"row {number}"} for number in range(50)]
threading.Thread(target=lambda: comet_magic.map(rows, "Tone? {{row.review}}", yes=True), daemon=True).start()
while not comet_magic.last_run: time.sleep(0.05)
time.sleep(0.5)
print(time.time(), flush=True)
sys.exit(3)
"""


def test_18_a_process_that_ends_is_not_held_up() -> None:
    with RowServer(delay=8) as server:
        process = subprocess.Popen([sys.executable, "-c", ENDS, server.url], stdout=subprocess.PIPE, text=True)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 3
        assert time.time() - float(said) < 2


def test_2_and_22_thousands_of_rows_meet_faults_and_none_is_lost(settings: CometSettings) -> None:
    with RowServer("faults", delay=0.01) as server:
        settings.endpoint = server.url
        result = comet_magic.map(frame("row", 1500), PROMPT, yes=True, workers=32)
        assert result.error.isna().all()
        assert (result.reply == "good").all()
        assert server.stats()["answered"] == 1500
    store = session.current().store(settings)
    store.close()
    size = os.path.getsize(store.path)
    session.reset()
    assert size / 1500 < 300 + len("good")
    count = session.current().store(settings).read(lambda db: db.execute("SELECT count(*) FROM rows").fetchone()[0])
    assert count == 1500


def test_2_a_limit_is_found_without_hammering(settings: CometSettings) -> None:
    with RowServer("limit", delay=0.05) as server:
        settings.endpoint = server.url
        result = comet_magic.map(frame("row", 500), PROMPT, yes=True, workers=64)
        assert result.error.isna().all()
        counts = server.stats()
        assert counts["answered"] == 500
        assert counts["refused"] <= 0.4 * 500


def test_a_run_on_another_thread_leaves_interrupts_to_the_main_thread(settings: CometSettings) -> None:
    former = signal.getsignal(signal.SIGINT)
    results: list[Any] = []
    with RowServer(delay=0.05) as server:
        settings.endpoint = server.url
        thread = threading.Thread(target=lambda: results.append(comet_magic.map(frame("row", 40), PROMPT, yes=True)))
        thread.start()
        until(lambda: server.stats()["answered"] >= 1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        thread.join()
    assert results[0].error.isna().all()
    assert signal.getsignal(signal.SIGINT) is former


def test_a_second_interrupt_loses_nothing_that_has_come(settings: CometSettings) -> None:
    with RowServer(delay=0.05) as server:
        for number in range(4):
            name = f"round {number}, row"
            before = server.stats()["answered"]
            process = started(server, name, 400)
            until(lambda before=before: server.stats()["answered"] - before >= 40)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
            said = ended(process)
            answered = server.stats()["answered"] - before
            assert answered - WORKERS <= int(said.split()[1]) <= answered
