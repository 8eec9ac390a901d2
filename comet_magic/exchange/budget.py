"""The budget: what a session and a day may cost, in US dollars; held before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ConfigError
from ..store import ledger
from ..store.database import Store
from ..store.requests import RequestRecord
from ..text import dollars

ROUNDING_USD = 1e-12  # sums of floats are not exact


def check(store: Store, budget: Mapping[str, float], record: RequestRecord, session_usd: float) -> str:
    """Return why the budget cannot be kept, "" if it can.

    budget: US dollars by "session" and "day".        session_usd: what this process has spent, in whatever store.
    record: written down by now, for kernels that ask at once must see one another.
    Raises: ConfigError when the request could pass the budget, saying by how much.
    """
    model, most = record.model, record.most_usd
    if budget and most is None:
        mend = f"CometSettings.prices = {{{model!r}: [input, output]}} says one"
        return f"the budget cannot be kept: no price is known for {model}; {mend}"
    for span, limit in budget.items():
        session, since = (record.session, 0.0) if span == "session" else ("", ledger.midnight())
        spent = ledger.spent(store, session=session, since=since).usd
        in_flight = ledger.in_flight_usd(store, session=session, since=since)
        may = max(spent, session_usd if span == "session" else 0) + in_flight
        if most is not None and may - limit > ROUNDING_USD:
            raise ConfigError(
                f"not sent: it may cost {dollars(most)}, which passes the {span}'s budget of {dollars(limit)}"
                f" by {dollars(may - limit)}: {dollars(may - most)} is spent or promised",
                "lower max_tokens (-t), take a cheaper model (-m), or raise CometSettings.budget",
            )
    if "day" in budget and not store.is_file and store.behind is None:
        return "the day's budget counts this kernel alone, for nothing is being kept"
    return ""
