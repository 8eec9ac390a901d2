"""Threads that each make one request at a time; what comes of it is put into a queue.

They are daemons and no executor's: an executor joins its threads at exit, and one abandoned request would hold that up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from ..errors import NO_THREAD, NO_THREAD_HINT, TransportError


class Pool:
    """Threads that are started as they are needed.

    done: gets (task, result, error) of each task; three times None wakes its reader.
    """

    def __init__(self, act: Callable[[Any], Any], most: int) -> None:
        """act: what a thread does with a task; runs on many threads at once."""
        self._act, self._most = act, most
        self._tasks: SimpleQueue[Any] = SimpleQueue()
        self.done: SimpleQueue[tuple[Any, Any, BaseException | None]] = SimpleQueue()
        self._threads = 0
        self.busy = 0  # tasks that were given and have not been taken back

    def give(self, task: Any) -> None:
        """Have a thread act on a task. Raises: TransportError where no thread can be had."""
        self.busy += 1
        if self.busy > self._threads and self._threads < self._most:
            try:
                threading.Thread(target=self._work, name="comet_magic rows", daemon=True).start()
                self._threads += 1
            except RuntimeError:
                if not self._threads:
                    self.busy -= 1
                    raise TransportError(f"nothing was sent: {NO_THREAD}", NO_THREAD_HINT, kind="thread") from None
                self._most = self._threads
        self._tasks.put(task)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            result = error = None
            try:
                result = self._act(task)
            except BaseException as raised:  # noqa: BLE001  # it is told to the thread that waits for it
                error = raised
            self.done.put((task, result, error))
            task = result = error = None

    def close(self) -> None:
        """Let the threads end when they have done what they do."""
        for _ in range(self._threads):
            self._tasks.put(None)
