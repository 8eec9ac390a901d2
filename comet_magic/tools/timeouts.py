"""A limit of time for a function that is the user's own, and may never return."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 2.0  # seconds for one that is told to stop
AGAIN_S = 1.0  # seconds until one that swallowed the first exception gets it once more


class TimedOut(BaseException):
    """No Exception, for the function may catch those."""


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """Return what `function` returns. Raises: TimedOut after `seconds`; or whatever it raises.

    On the main thread it is stopped there, at its next step in Python. Where there are no alarms, as on Windows or on
    another thread, it runs on a thread of its own, and is left behind.
    """
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        return _with_alarm(seconds, function)
    return on_a_thread(seconds, function)


def _with_alarm(seconds: float, function: Callable[[], Any]) -> Any:
    is_over = False

    def ring(*_: object) -> None:
        if not is_over:
            raise TimedOut

    began = time.monotonic()
    former = signal.signal(signal.SIGALRM, ring)
    others, interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        result = function()
        is_over = True
        return result
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        if others:  # somebody else's alarm goes on
            signal.setitimer(signal.ITIMER_REAL, max(0.001, others - (time.monotonic() - began)), interval)


def on_a_thread(seconds: float, function: Callable[[], Any], stop: Callable[[], None] | None = None) -> Any:
    """Return what `function` returns. Raises: TimedOut after `seconds`; or whatever it raises.

    stop: is called when it is left behind, and given a while to take effect.
    """
    ended: list[tuple[Any, BaseException | None]] = []
    done = threading.Event()

    def run() -> None:
        try:
            ended.append((function(), None))
        except BaseException as error:  # noqa: BLE001  # it is raised again, where it was called
            ended.append((None, error))
        done.set()

    threading.Thread(target=run, daemon=True).start()
    until = time.monotonic() + seconds
    is_over = False
    try:
        while not is_over and time.monotonic() < until:
            is_over = done.wait(0.05)  # in short steps, for Windows interrupts nothing longer
    finally:
        if not is_over and stop:
            stop()
            done.wait(PATIENCE_S)
    if not is_over:
        raise TimedOut
    result, error = ended[0]
    if error is not None:
        raise error
    return result
