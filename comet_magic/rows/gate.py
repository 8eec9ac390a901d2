"""How many requests may be under way at once, and when the next may begin: one gate for all that ask the same model.

It opens with each success, and closes when the *share* of refusals is high: single refusals come from anywhere, and a
gate that closed for each of them would sink to a few at once. What an endpoint says in its headers is believed.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from ..api.retry import seconds_in
from ..named_tuple import NamedTuple
from ..text import lazy_pattern

FIRST = 8  # at once, to begin with
WINDOW = 64  # outcomes that are looked at
FEWEST = 10  # of them, before the share says anything
SHARE = 0.2  # of refusals, above which fewer are sent at once
LONGEST_HOLD_S = 300.0
_COUNT = lazy_pattern(r"\s*[0-9]{1,12}\s*")
_LIMITS = ("requests", "input-tokens", "output-tokens", "tokens")


class Ticket(NamedTuple):
    """A request under way. epoch: how often the gate had been cut when it began."""

    epoch: int


class Gate:
    """Shared by all runs of this process that ask one model of one endpoint with one key; from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._limit = float(FIRST)
        self._in_flight = 0
        self._epoch = 0
        self._outcomes: deque[bool] = deque(maxlen=WINDOW)  # of requests begun after the last cut; True: refused
        self._held_until = 0.0
        self._why = ""
        self._due: dict[str, float] = {}  # by kind of limit, when the bucket of `rpm` and `tpm` has room again

    @property
    def limit(self) -> int:
        """How many may be under way at once."""
        return max(1, int(self._limit))

    @property
    def hold(self) -> tuple[float, str]:
        """The seconds for which nothing is begun, and why, in words; (0, "") where it is open."""
        left = self._held_until - self._clock()
        return (left, self._why) if left > 0 else (0.0, "")

    def begin(self, *, rpm: float | None = None, tpm: float | None = None, tokens: int = 0) -> Ticket | None:
        """Take a place, if there is one now. tokens: that the request may take.

        rpm, tpm: requests and tokens a minute that the user allows.
        """
        now = self._clock()
        with self._lock:
            if now < self._held_until or self._in_flight >= self.limit:
                return None
            rates = [(name, amount, rate) for name, amount, rate in (("r", 1, rpm), ("t", tokens, tpm)) if rate]
            # A second's worth may go at once, for limits hold over short spans, too.
            if any(self._due.get(name, 0.0) > now + 1.0 for name, _, _ in rates):
                return None
            for name, amount, rate in rates:
                self._due[name] = max(self._due.get(name, 0.0), now) + amount * 60.0 / rate
            self._in_flight += 1
            return Ticket(self._epoch)

    def end(self, ticket: Ticket, *, is_refused: bool, is_success: bool, wait_s: float | None = None) -> None:
        """Give the place back.

        is_refused: the endpoint said that there are too many.        wait_s: seconds that it asks to wait.
        """
        with self._lock:
            self._in_flight -= 1
            if ticket.epoch == self._epoch:
                self._outcomes.append(is_refused)
            if is_success:
                # Until the first cut it doubles with each round trip; then it grows by two.
                self._limit += 1.0 if self._epoch == 0 else 2.0 / max(self._limit, 1.0)
            refused = sum(self._outcomes)
            share = refused / max(len(self._outcomes), 1)
            if is_refused and len(self._outcomes) >= FEWEST and share > SHARE:
                self._limit = max(1.0, min(self._limit, self._in_flight + 1) * (1 - share) * 0.95)
                self._epoch += 1
                self._outcomes.clear()
                self._hold(wait_s or 0.5, "too many requests, says the endpoint")

    def warmed(self) -> None:
        """Note that a first request has come back alone: there is no reason to go on as slowly."""
        with self._lock:
            if self._epoch == 0:
                self._limit = max(self._limit, 4.0 * FIRST)

    def read_headers(self, headers: Mapping[str, str]) -> None:
        """Hold while less is left of a limit than is under way. Source: Anthropic's reference for rate limits."""
        for name in _LIMITS:
            left = headers.get(f"anthropic-ratelimit-{name}-remaining")
            reset = headers.get(f"anthropic-ratelimit-{name}-reset")
            if left is None or reset is None or not _COUNT.fullmatch(left):
                continue
            with self._lock:
                is_short = int(left) < self._in_flight if name == "requests" else int(left) == 0
                if is_short and (wait_s := seconds_in(reset)):
                    self._hold(wait_s, f"the limit of {name.replace('-', ' ')} is used up, says the endpoint")

    def _hold(self, wait_s: float, why: str) -> None:
        until = self._clock() + min(wait_s, LONGEST_HOLD_S) * random.uniform(1.0, 1.03)
        if until > self._held_until:
            self._held_until, self._why = until, why


_gates: dict[tuple[str, str, str], Gate] = {}
_lock = threading.Lock()


def gate_for(endpoint: str, key: str, model: str) -> Gate:
    """Return the gate of this process. key: what tells keys apart, and is none itself."""
    with _lock:
        return _gates.setdefault((endpoint, key, model), Gate())
