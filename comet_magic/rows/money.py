"""What a run may spend: its own budget, and those of the session and the day, with what is in flight set aside."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping

from ..errors import ConfigError
from ..exchange import budget
from ..exchange.session import Session
from ..messages.prices import Price
from ..messages.usage import Usage
from ..store import requests
from ..store import rows as row_store
from ..store.database import Store
from ..store.requests import RequestRecord
from ..store.rows import Paid
from ..text import dollars

AHEAD = 8  # requests for which money is set aside at once: each time is a transaction
_QUESTION = '{"role": "user", "content": "one prompt over the rows of a table"}'


class Money:
    """The money of one run.

    cap_usd: what the run may cost; None: no bound of its own.        limits: of session and day, in US dollars.
    usage, spent_usd: of the run so far; spent_usd counts what may have been billed, too.
    """

    def __init__(
        self, store: Store, session: Session, endpoint: str, model: str, price: Price | None,
        limits: Mapping[str, float], cap_usd: float | None,
    ) -> None:  # fmt: skip
        self._store, self._session, self._price, self._limits = store, session, price, limits
        self.cap_usd = cap_usd
        self.refusal = ""  # why a request was not allowed, in words
        self.usage, self.spent_usd, self.replies = Usage(), 0.0, 0
        self._in_flight = self._reserved = self._left_usd = 0.0
        self._written_usd = 0.0
        self._is_begun = False
        self.lock = threading.RLock()  # a reply that is mended asks for money on its own thread
        fields = (model, "{}", _QUESTION, endpoint, session.id)
        self._entry = RequestRecord(os.urandom(16).hex(), time.time(), "", *fields)
        self._held = RequestRecord(os.urandom(16).hex(), time.time(), "", *fields, most_usd=0.0)

    @property
    def held_id(self) -> str:
        """The record that holds what is in flight."""
        return self._held.id

    def check_price(self) -> None:
        """Raises: ConfigError where there is a budget, and no price by which it could be held."""
        if self._price is None and (self.cap_usd is not None or self._limits):
            error = budget.no_price(self._held.model)
            if self.cap_usd is not None:
                error.hint = error.hint.replace("set CometSettings.budget = None", "leave the budget out")
            raise error

    def covers(self, most_usd: float) -> bool:
        """Return whether there are budgets, and they have room for so much."""
        if self._price is None or (self.cap_usd is None and not self._limits):
            return False
        with self.lock:
            if self.cap_usd is not None and self.spent_usd + self._in_flight + most_usd > self.cap_usd:
                return False
            if not self._limits:
                return True
            has_room = self._reserve(self._in_flight + most_usd)
            return self._reserve(self._in_flight) and has_room

    def reserve(self, most_usd: float) -> bool:
        """Set aside what a request may cost. Returns: whether the budgets have room for it."""
        if self._price is None:
            return True
        with self.lock:
            wanted = self._in_flight + most_usd
            if self.cap_usd is not None and self.spent_usd + wanted - self.cap_usd > budget.ROUNDING_USD:
                left = max(self.cap_usd - self.spent_usd - self._in_flight, 0.0)
                self.refusal = (
                    f"one reply may cost up to {dollars(most_usd)}, and {dollars(left)} of this run's"
                    f" {dollars(self.cap_usd)} is left; -t makes replies shorter, --budget raises the bound"
                )
                return False
            if wanted > self._reserved and not (self._reserve(wanted + AHEAD * most_usd) or self._reserve(wanted)):
                return False
            self._in_flight = wanted
            return True

    def _reserve(self, usd: float) -> bool:
        """Write down what is in flight, so that other kernels see it. Returns: whether the budgets allow it."""
        record = self._held._replace(most_usd=usd + self.spent_usd - self._written_usd)
        former = self._reserved
        self._session.promise(record.id, usd)
        check = budget.check_of(self._store, self._limits, record, self._session)
        try:
            if self._is_begun:
                requests.raise_most(self._store, record.id, record.most_usd or 0.0, check)
            else:
                requests.begin(self._store, record, check)
                self._is_begun = True
        except ConfigError as error:
            self.refusal = f"{error.what.removeprefix('not sent: ')}; {error.hint}"
            self._session.promise(record.id, former)
            return False
        self._reserved = usd
        return True

    def release(self, most_usd: float) -> None:
        """Give back what was set aside for a request that has ended."""
        with self.lock:
            self._in_flight = max(self._in_flight - most_usd, 0.0)

    def cost_of(self, usage: Usage) -> float | None:
        return self._price.cost(usage) if self._price else None

    def count(self, usage: Usage, cost_usd: float | None) -> None:
        """Count a reply, whatever came of it."""
        self.usage += usage
        self.replies += 1
        self._spend(usage, cost_usd)

    def count_lost(self, most_usd: float) -> None:
        """Count a request without an answer that may have been billed."""
        if most_usd:
            self._spend(Usage(), most_usd)

    def _spend(self, usage: Usage, usd: float | None) -> None:
        """Move an amount from what was set aside to what is spent: both together are what the budgets allow."""
        with self.lock:
            self.spent_usd += usd or 0.0
            self._reserved = max(self._reserved - (usd or 0.0), 0.0)
            if self._is_begun:
                self._session.promise(self._held.id, self._reserved)
            self._session.count(usage, usd)

    def is_written(self, paid: Paid) -> None:
        """Note that the ledger has that by now: what is not in it counts as set aside for other kernels."""
        with self.lock:
            self._written_usd = paid.cost_usd or 0.0

    def paid(self) -> Paid:
        """Return what is in the ledger for this run by now."""
        return Paid(self._entry, self.usage, self.spent_usd if self._price else None, self.replies)

    def leave(self, most_usd: float) -> None:
        """Keep an amount set aside when the run ends: a batch that goes on will cost it."""
        self._left_usd += most_usd

    def close(self) -> None:
        """Give back all that was set aside, but for what is left with a batch."""
        self._session.promise(self._held.id, self._left_usd)
        if self._is_begun and self._left_usd:
            requests.raise_most(self._store, self._held.id, self._left_usd)
        elif self._is_begun:
            requests.withdraw(self._store, self._held.id)

    def forget(self, held: str) -> None:
        """Count no longer what a run had left with a batch: what that has cost is known now."""
        is_alive = row_store.is_in_flight(self._store, held, but=self._session.id)
        if held != self._held.id and not is_alive:
            self._session.promise(held, 0.0)
            requests.withdraw(self._store, held)
            row_store.forget_entry(self._store, held)
