"""The budget: what a session and a day may cost, in US dollars; held before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..store import ledger, requests
from ..store.connection import Connection
from ..store.database import Store
from ..store.requests import RequestRecord
from ..text import dollars

if TYPE_CHECKING:
    from .session import Session

ROUNDING_USD = 1e-12  # sums of floats are not exact


def check(
    db: Connection, store: Store, budget: Mapping[str, float], record: RequestRecord, payer: str, session_usd: float
) -> None:
    """Check that a request which is written down, but not yet sent, cannot pass the budget.

    db: the transaction in which it was written: the sums are read in it, so that no reply can end between them.
    budget: US dollars by "session" and "day".        session_usd: what this process has spent, in whatever store.
    payer: the session that pays.
    Raises: ConfigError when the request could pass the budget, saying by how much; or when no price is known.
    """
    model, most = record.model, record.most_usd
    if budget and most is None:
        raise no_price(model)
    for span, limit in budget.items():
        payer_of, since = (payer, 0.0) if span == "session" else ("", ledger.midnight())
        may = ledger.promised_usd(db, payer=payer_of, since=since)
        may += store.look_behind(partial(ledger.promised_usd, payer=payer_of, since=since)) or 0.0
        if span == "session":  # also where it was written down in another store
            may = max(may, session_usd + (most or 0))
        if most is not None and may - limit > ROUNDING_USD:
            raise ConfigError(
                f"not sent: it could cost up to {dollars(most)}, and the budget of the {span} is {dollars(limit)},"
                f" of which {dollars(may - most)} is spent or reserved",
                "lower max_tokens (-t), take a cheaper model (-m), or raise CometSettings.budget",
            )


def no_price(model: str) -> ConfigError:
    return ConfigError(
        f"not sent: there is a budget, and no price is known for {model}",
        f"say one in US dollars per million tokens: CometSettings.prices = {{{model!r}: [input, output]}},"
        " [0, 0] for a model of your own; or set CometSettings.budget = None",
    )


def check_of(
    store: Store, budget: Mapping[str, float], record: RequestRecord, session: Session
) -> Callable[[Connection], None]:
    """Return the check of a request of this process, for the transaction in which it is written down."""
    if not budget:
        return requests.unchecked
    # In whatever store it was written down: what this process has spent, and what it has promised.
    spent = session.parent_usd + session.totals.usd + session.promised_usd() - (record.most_usd or 0)
    return lambda db: check(db, store, budget, record, session.payer, spent)


def budget_note(store: Store, budget: Mapping[str, float]) -> str:
    """Return what the budget does not see, in words; "" where it sees all."""
    if "day" in budget and not store.is_file and store.behind is None:
        return "the day's budget counts this kernel only, because nothing is being stored"
    return ""
