"""Requests for rows, many at once: begun as the gate and the money allow, asked again where that can help.

One thread decides all of it, and never waits for a single row: what is to be asked again has a time at which it is due.
"""

from __future__ import annotations

import heapq
import math
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import Empty
from typing import Any

from ..api.retry import may_be_billed
from ..errors import APIError, CometError, ConfigError, TransportError
from ..messages import prices
from ..messages.message import Message
from ..messages.request import Request
from ..named_tuple import NamedTuple
from ..queues import next_of
from ..store.rows import StoredRow
from ..text import many
from . import failures
from .failures import MOMENT, NOT_SENT, RUN
from .gate import Gate, Ticket
from .money import Money
from .pool import Pool

TRIES = 5  # of a request whose errors pass
TRIES_AFTER_TIMEOUT = 2  # each of them may be billed
FIRST_WAIT_S = 0.5
LONGEST_BACKOFF_S = 30.0
HURRY_S = 1.0
PATIENCE_S = 600.0  # without a success, until a run of refusals ends
PATIENCE_TO_CONNECT_S = 120.0
FEW = 5  # rows that may be given up after PATIENCE_S without ending the run, when all others have been answered
MOST_AT_ONCE = 500  # outcomes that are handed on together
LOOK_S = 0.05  # seconds between two looks at the time, the gate, and whether there was an interrupt


class Task(NamedTuple):
    """A request for a row. item: the number of what is asked.        tokens: estimated, of prompt and reply.

    most_usd: what it may cost.        usd: what its former tries have cost.
    tries, timeouts, refusals: of it so far.
    """

    item: int
    request: Request
    most_usd: float = 0.0
    tokens: int = 0
    usd: float = 0.0
    tries: int = 0
    timeouts: int = 0
    refusals: int = 0


class _Begun(NamedTuple):
    """A request under way. further: US dollars set aside for each further request of the same reply."""

    task: Task
    ticket: Ticket
    at: float
    further: list[float]


class Outcome(NamedTuple):
    """What came of an item in the end. message: the reply, whose value is read.        error: else why there is none.

    is_lasting: the very same request can never succeed.        tries, seconds: what it took.
    """

    item: int
    message: Message | None
    error: str = ""
    is_lasting: bool = False
    tries: int = 1
    seconds: float = 0.0
    usd: float | None = None


class Engine:
    """Asks for the tasks of one run. Its methods are for one thread.

    stopped: what ended the run before its time, if anything did.        twice: requests that may be billed twice.
    """

    def __init__(
        self, ask: Callable[[Task, list[float]], Message], gate: Gate, money: Money, workers: int, *,
        rpm: float | None = None, tpm: float | None = None, raised_max_tokens: int | None = None,
        unwritten: Callable[[], int] = lambda: 0,
    ) -> None:  # fmt: skip
        """ask: makes one request, on some thread; it adds to the list what it sets aside for further ones.

        raised_max_tokens: with which a reply that is cut is asked for once more; None: it stays cut.
        unwritten: returns how many replies are not written down yet: they count as in flight.
        """
        self._pool = Pool(lambda begun: ask(begun.task, begun.further), workers)
        self._open: dict[int, _Begun] = {}
        self._gate, self._money, self._workers, self._rpm, self._tpm = gate, money, workers, rpm, tpm
        self._unwritten = unwritten
        self.raised_max_tokens, self.has_raised = raised_max_tokens, False
        self._again: list[tuple[float, int, Task]] = []
        self._next: Task | None = None
        self._last_success = time.monotonic()
        self._refused_usd = math.inf  # of a request for which there was no money, while nothing was under way
        self._order = 0
        self._guessed: set[int] = set()  # numbers in `_again` of those for which the endpoint gave no time
        self._hurried = 0.0
        self.has_succeeded = False
        self.stopped: CometError | None = None
        self.twice = 0
        self.interrupts = 0

    @property
    def in_flight(self) -> int:
        return self._pool.busy

    @property
    def waiting(self) -> str:
        """Why nothing is begun now, in words; "" where something is."""
        seconds, why = self._gate.hold
        if seconds > 1:
            return f"waiting {seconds:.0f} s: {why}"
        if self._again and not self._pool.busy and (wait := self._again[0][0] - time.monotonic()) > 1:
            return f"waiting {wait:.0f} s before {many(len(self._again), 'row')} is asked again"
        return ""

    def run(self, tasks: Iterator[Task]) -> Iterator[list[Outcome]]:
        """Yield what has come, every now and then, until all tasks have ended; an empty list means that time went by.

        An interrupt, or what no row would survive, ends it once what is in flight has come.
        """
        self._last_success = time.monotonic()
        with self._interrupts_counted():
            while True:
                if refused := self._begin_some(tasks):
                    yield refused
                if not self._pool.busy and not self._has_more(tasks):
                    return
                yield self.take(self._wait_s())
                if self.interrupts > 1:
                    raise KeyboardInterrupt

    def _has_more(self, tasks: Iterator[Task]) -> bool:
        if self.stopped or self.interrupts:
            return False
        return bool(self._again) or self._peek(tasks) is not None

    def _peek(self, tasks: Iterator[Task]) -> Task | None:
        if self._next is None:
            self._next = next(tasks, None)
        return self._next

    def _begin_some(self, tasks: Iterator[Task]) -> list[Outcome]:
        """Begin what may begin now. Returns: what will never be sent, for the money is spent."""
        refused: list[Outcome] = []
        while not self.stopped and not self.interrupts and self._pool.busy + self._unwritten() < self._workers:
            if len(refused) == MOST_AT_ONCE:
                break
            now = time.monotonic()
            is_again = bool(self._again) and self._again[0][0] <= now
            if self._gate.hold[0]:
                break
            task = self._again[0][2] if is_again else self._peek(tasks)
            if task is None:
                break
            if task.most_usd >= self._refused_usd or not self._money.reserve(task.most_usd):
                if self._pool.busy:  # what comes may have cost less than was set aside for it
                    break
                self._refused_usd = min(self._refused_usd, task.most_usd)
                self._drop(is_again)
                refused.append(Outcome(task.item, None, NOT_SENT, tries=task.tries, usd=task.usd or None))
                continue
            ticket = self._gate.begin(rpm=self._rpm, tpm=self._tpm, tokens=task.tokens)
            if ticket is None:
                self._money.release(task.most_usd)
                break
            self._drop(is_again)
            self._give(_Begun(task, ticket, now, []))
        return refused

    def _give(self, begun: _Begun) -> None:
        try:
            self._open[id(begun)] = begun
            self._pool.give(begun)
        except CometError as error:
            self._let_go(begun)
            self.stopped = error

    def _let_go(self, begun: _Begun) -> None:
        """Give back the place and the money of a request that nobody waits for any more."""
        del self._open[id(begun)]
        self._gate.end(begun.ticket, is_refused=False, is_success=False)
        self._money.release(begun.task.most_usd + sum(begun.further))

    def _drop(self, is_again: bool) -> None:
        if is_again:
            heapq.heappop(self._again)
        else:
            self._next = None

    def _wait_s(self) -> float:
        """Return the seconds until there is something to be looked at, whatever comes."""
        due_s = self._again[0][0] - time.monotonic() if self._again else LOOK_S
        return min(LOOK_S, max(due_s, 0.001))

    def take(self, wait_s: float = 0.0) -> list[Outcome]:
        """Return what has come. wait_s: for the first of it."""
        came: list[Outcome] = []
        try:
            while True:
                begun, message, error = next_of(self._pool.done, wait_s)
                wait_s = 0.0
                if begun is None:  # a wake
                    continue
                self._pool.busy -= 1
                if outcome := self._ended(begun, message, error):
                    came.append(outcome)
        except Empty:
            return came

    def _ended(self, begun: _Begun, message: Message | None, error: BaseException | None) -> Outcome | None:
        """Take the end of a request. Returns: the outcome; None where it is asked again, or was given up."""
        task, now = begun.task._replace(tries=begun.task.tries + 1), time.monotonic()
        del self._open[id(begun)]
        self._refused_usd = math.inf
        is_refused = error is not None and failures.is_refusal(error)
        wait_s = error.retry_after if isinstance(error, APIError) else None
        if wait_s is not None and wait_s > failures.LONGEST_WAIT_S:  # it ends this run, and holds up no other
            wait_s = None
        self._gate.end(begun.ticket, is_refused=is_refused, is_success=error is None, wait_s=wait_s)
        with self._money.lock:  # release and count in one step: no amount is counted twice, or not at all
            self._money.release(task.most_usd + sum(begun.further))
            usd = self._count(task, message, error)
        if usd is not None:
            task = task._replace(usd=task.usd + usd)
            usd = task.usd
        took = Outcome(task.item, None, tries=task.tries, seconds=now - begun.at, usd=usd)
        if error is None and message is not None:
            self.has_succeeded, self._last_success = True, now
            self._hurry(now)
            return took._replace(message=message)
        assert error is not None
        most = self.raised_max_tokens
        if most and _is_too_short(error) and task.request.max_tokens < most:
            self.has_raised = True
            self._ask_again(_raised(task, most), 0.0)
            return None
        meaning = failures.meaning(error)
        if meaning == RUN:
            self.stopped = self.stopped or _as_ours(error)
            return None
        if meaning == MOMENT:
            if again := self._later(task, error, is_refused=is_refused, wait_s=wait_s):
                self._ask_again(*again, is_guessed=is_refused and wait_s is None)
                return None
            if self.stopped:
                return None
        partial = error.partial if isinstance(error, CometError) else None
        more = "; -t raises that" if _is_too_short(error) else ""
        return took._replace(message=partial, error=failures.said(error) + more, is_lasting=failures.is_lasting(error))

    def _count(self, task: Task, message: Message | None, error: BaseException | None) -> float | None:
        """Count what a request has cost. Returns: US dollars; None where that is not known."""
        came = message or (error.partial if isinstance(error, CometError) else None)
        if came is not None:
            # An endpoint that reports no counts is not free.
            usd = self._money.cost_of(prices.estimated_usage(came.usage, task.request, came.text))
            self._money.count(came.usage, usd)
            return usd
        if may_be_billed(error) and not isinstance(error, ConfigError):
            self._money.count_lost(task.most_usd)
        return None

    def _later(
        self, task: Task, error: BaseException, *, is_refused: bool, wait_s: float | None
    ) -> tuple[Task, float] | None:  # fmt: skip
        """Return the task as it is asked again, and in how many seconds; None where it has failed for good."""
        silent_s = time.monotonic() - self._last_success
        is_unreached = isinstance(error, TransportError) and error.kind == "connect"
        if is_refused or is_unreached:  # no fault of the row's, however often
            if silent_s > (PATIENCE_TO_CONNECT_S if is_unreached else PATIENCE_S):
                is_alone = self.has_succeeded and not self._pool.busy and len(self._again) < FEW and not self._next
                self.stopped = None if is_alone else _as_ours(error)  # the few that are left may be refused for good
                return None
            task = task._replace(tries=task.tries - 1, refusals=task.refusals + 1)
            tried = task.refusals
        else:
            if isinstance(error, TransportError) and error.kind in ("timeout", "cut", "other"):
                task = task._replace(timeouts=task.timeouts + 1)
                if task.timeouts >= TRIES_AFTER_TIMEOUT:
                    return None
            if task.tries >= TRIES:
                return None
            if may_be_billed(error):
                self.twice += 1
            tried = task.tries
        backoff = min(FIRST_WAIT_S * 2 ** min(tried, 10), LONGEST_BACKOFF_S)
        return task, (wait_s * random.uniform(1.0, 1.1) if wait_s else random.uniform(0.05, 1.0) * backoff)

    def _hurry(self, now: float) -> None:
        """Ask again soon for what was refused without a time: the endpoint answers now."""
        if self._guessed and now > self._hurried + HURRY_S:
            self._hurried = now
            soon = (
                (min(due, now + random.uniform(0.0, HURRY_S)) if order in self._guessed else due, order, task)
                for due, order, task in self._again
            )
            self._again = list(soon)
            heapq.heapify(self._again)
            self._guessed.clear()

    def _ask_again(self, task: Task, wait_s: float, *, is_guessed: bool = False) -> None:
        self._order += 1
        heapq.heappush(self._again, (time.monotonic() + wait_s, self._order, task))
        if is_guessed:
            self._guessed.add(self._order)

    def wake(self) -> None:
        """Have another look at what may begin; from any thread."""
        self._pool.done.put((None, None, None))

    def close(self) -> None:
        """Let go of what is still under way, which may be billed all the same."""
        for begun in list(self._open.values()):
            self._let_go(begun)
            self._money.count_lost(begun.task.most_usd)
        self._pool.close()

    # ---- interrupts

    @contextmanager
    def _interrupts_counted(self) -> Iterator[None]:
        """Count interrupts, and let the first cut nothing short: a reply that is just coming has been paid for."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = signal.getsignal(signal.SIGINT)
        if former in (signal.SIG_IGN, None):  # None: not set by Python, so it cannot be set back
            yield
            return

        def count_interrupt(number: int, frame: Any) -> None:
            self.interrupts += 1
            if self.interrupts > 2:  # whatever holds the thread up
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, count_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, former)


def _is_too_short(error: BaseException) -> bool:
    partial = error.partial if isinstance(error, CometError) else None
    return partial is not None and partial.stop_reason == "max_tokens"


def _raised(task: Task, max_tokens: int) -> Task:
    request = replace(task.request, max_tokens=max_tokens)
    share = max_tokens / task.request.max_tokens
    return task._replace(request=request, most_usd=task.most_usd * share)


def _as_ours(error: BaseException) -> CometError:
    if isinstance(error, CometError):
        return error
    return ConfigError(f"a request failed with {type(error).__name__}: {error}", "what had come is kept")


def stored_row(outcome: Outcome, text: str) -> StoredRow | None:
    """Return what is kept of an outcome; None where it is to be asked again another time."""
    usage = outcome.message.usage if outcome.message else None
    tokens = None if usage is None or usage.prompt_tokens is None else usage.prompt_tokens + (usage.output_tokens or 0)
    if outcome.error:
        return StoredRow("", tokens, outcome.usd, outcome.error) if outcome.is_lasting else None
    return StoredRow(text, tokens, outcome.usd)
