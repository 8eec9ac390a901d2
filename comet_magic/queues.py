"""Waiting for what another thread puts into a queue."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def next_of(queue: SimpleQueue[T], wait_s: float) -> T:
    """Return the next item of a queue that only this thread takes from. wait_s: for it; 0 does not wait.

    Raises: `queue.Empty` where none has come.
    """
    # Python 3.10 waits for ever in `get(timeout=…)` where the time is over by its second look at an empty queue, and
    # it looks twice unless the last to look found nothing: this is the first look.
    try:
        return queue.get_nowait()
    except Empty:
        if wait_s <= 0:
            raise
    return queue.get(timeout=wait_s)
