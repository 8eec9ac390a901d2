"""Writes replies down beside the run, as they come; what waits together is written together.

A reply that is not written down yet is paid for again by the next run if the kernel dies, as one in flight is. So the
engine counts it as in flight.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue

from ..background import in_background
from ..store.rows import Paid, StoredRow

Came = Sequence[tuple[bytes, StoredRow]]


class Writer:
    """One thread, which lives as long as the run."""

    def __init__(self, keep: Callable[[Came, Paid], None], written: Callable[[], None] = lambda: None) -> None:
        """keep: writes down what came, and what the run has used by then.

        written: is called whenever something has been written down, on the writer's own thread.
        """
        self._keep, self._written = keep, written
        self._rows_put = self._rows_kept = 0
        self._queue: SimpleQueue[tuple[Came, Paid] | threading.Event | None] = SimpleQueue()
        self._done: Future[None] = in_background(self._work)

    @property
    def waiting(self) -> int:
        """How many replies are not written down yet; 0 once the thread has ended, for then `put` says why."""
        return 0 if self._done.done() else self._rows_put - self._rows_kept

    def put(self, came: Came, paid: Paid) -> None:
        if self._done.done():  # it has ended before its time: what it raises is raised here
            self._done.result()
            self._keep(came, paid)
        else:
            self._rows_put += len(came)
            self._queue.put((came, paid))

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            waiting: list[tuple[Came, Paid]] = []
            flushed: list[threading.Event] = []
            one: tuple[Came, Paid] | threading.Event | None = first
            while one is not None:
                if isinstance(one, threading.Event):
                    flushed.append(one)
                else:
                    waiting.append(one)
                if self._queue.empty():
                    break
                one = self._queue.get()
            if waiting:
                rows = [row for came, _ in waiting for row in came]
                self._keep(rows, waiting[-1][1])
                self._rows_kept += len(rows)
                self._written()
            for event in flushed:
                event.set()
            if one is None:
                return

    def flush(self) -> None:
        """Return when all that was put is written down. Raises: what the writing raised."""
        written = threading.Event()
        self._queue.put(written)
        while not written.wait(0.1) and not self._done.done():
            pass
        if self._done.done():
            self._done.result()

    def close(self) -> None:
        """Return when all is written down. Raises: what the writing raised."""
        self._queue.put(None)
        self._done.result()
