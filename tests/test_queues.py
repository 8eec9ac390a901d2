"""What another thread has put is taken, or the time is over; nothing waits for longer."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue

import pytest

from comet_magic.queues import next_of


def test_what_is_there_is_taken_at_once_and_what_comes_is_waited_for() -> None:
    queue: SimpleQueue[int] = SimpleQueue()
    queue.put(1)
    assert next_of(queue, 0.0) == 1
    threading.Timer(0.05, queue.put, [2]).start()
    assert next_of(queue, 30.0) == 2


@pytest.mark.parametrize("wait_s", [0.0, -1.0, 1e-9, 1e-6, 1e-5])
def test_an_empty_queue_never_holds_the_thread_up(wait_s: float) -> None:
    """Without the first look, Python 3.10 waits for ever within the first thousands of rounds."""
    found_empty = 0
    for _ in range(50_000):
        queue: SimpleQueue[int] = SimpleQueue()
        queue.put(1)
        assert queue.get() == 1
        try:
            next_of(queue, wait_s)
        except Empty:
            found_empty += 1
    assert found_empty == 50_000
