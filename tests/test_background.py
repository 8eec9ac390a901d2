"""Work beside the kernel's own."""

from __future__ import annotations

import threading

import pytest

from comet_magic.background import in_background


def test_what_it_returns_and_raises_is_in_the_future() -> None:
    assert in_background(lambda: 3).result(10) == 3
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 / 0).result(10)


def test_it_runs_on_a_thread_that_nobody_waits_for() -> None:
    thread = in_background(threading.current_thread).result(10)
    assert thread is not threading.current_thread()
    assert thread.daemon
