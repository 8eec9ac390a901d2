"""Work beside the kernel's own."""

from __future__ import annotations

import threading

import pytest

from comet_magic.background import in_background


def test_what_it_returns_and_raises_is_in_the_future() -> None:
    assert in_background(lambda: 3).result(10) == 3
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 / 0).result(10)


def test_where_there_is_no_thread_to_be_had_that_is_what_comes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start"):
        in_background(lambda: 3).result(10)


def test_it_runs_on_a_thread_that_nobody_waits_for() -> None:
    thread = in_background(threading.current_thread).result(10)
    assert thread is not threading.current_thread()
    assert thread.daemon
