"""The budget: what a session and a day may cost, in US dollars; held before anything is sent."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError
from ..settings import CometSettings, budget_spans
from ..store import ledger
from ..store.database import Store
from ..store.requests import Asked
from ..text import dollars


def check(store: Store, settings: CometSettings, asked: Asked, session_usd: float) -> str:
    """Why the budget cannot be kept, "" if it can.

    session_usd: what this process has spent, in whatever store it was kept.
    asked: written down by now, for kernels that ask at once must see one another.
    Raises: ConfigError when the request could pass the budget, saying by how much.
    """
    spans = budget_spans(settings.budget)
    model, most = asked.request.model, asked.most_usd
    if spans and most is None:
        mend = f"CometSettings.prices = {{{model!r}: [input, output]}} says one"
        return f"the budget cannot be kept: no price is known for {model}; {mend}"
    for span, limit in spans.items():
        of: dict[str, Any] = {"session": asked.session} if span == "session" else {"since": ledger.midnight()}
        spent = ledger.spent(store, **of).usd
        may = max(spent, session_usd if span == "session" else 0) + ledger.in_flight_usd(store, **of)
        if most is not None and may > limit:
            raise ConfigError(
                f"not sent: it may cost {dollars(most)}, which passes the {span}'s budget of {dollars(limit)}"
                f" by {dollars(may - limit)}: {dollars(may - most)} is spent or promised",
                "lower max_tokens (-t), take a cheaper model (-m), or raise CometSettings.budget",
            )
    if "day" in spans and not store.is_file and store.behind is None:
        return "the day's budget counts this kernel alone, for nothing is being kept"
    return ""
