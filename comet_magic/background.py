"""Work that goes on beside the kernel's: one daemon thread a task, and a `Future` for what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(function: Callable[[], T]) -> Future[T]:
    """Run `function` on a daemon thread, which the end of the process does not wait for.

    Returns: a future of what it returns; what it raises is in the future, and shown nowhere else.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  # it is raised again, where the future is asked
            future.set_exception(error)

    try:
        threading.Thread(target=run, daemon=True).start()
    except RuntimeError as error:  # there is no thread to be had
        future.set_exception(error)
    return future
