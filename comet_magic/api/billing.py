"""What the gateway itself says of the account behind a key: what was spent, and what is left.

Source: new-api's `/v1/dashboard/billing/subscription` (`hard_limit_usd`: all that the account was given) and `/usage`
(`total_usage`: cents that it has spent), which take the API key and cost nothing. Other endpoints have no such routes.
"""

from __future__ import annotations

import math

from ..errors import CometError
from ..named_tuple import NamedTuple
from ..text import dollars
from .client import Client

BILLING_S = 3.0  # seconds that it may take: it is an extra
NO_LIMIT_USD = 1e6  # what gateways say where there is none


class Billing(NamedTuple):
    """spent_usd: of the account, in all.        given_usd: what it may spend in all; None where there is no limit."""

    spent_usd: float
    given_usd: float | None

    def __str__(self) -> str:
        """Return `spent $12.30 in all, $37.70 left`."""
        left = "" if self.given_usd is None else f", {dollars(max(self.given_usd - self.spent_usd, 0))} left"
        return f"spent {dollars(self.spent_usd)} in all{left}"


def find_billing(client: Client) -> Billing | None:
    """Return what the gateway says; None where it says nothing, or no key is sent."""
    if client.endpoint.key is None:
        return None
    brief = client._replace(limits=client.limits._replace(read_s=BILLING_S, deadline_s=BILLING_S))
    try:
        given = _amount(brief.fetch("/v1/dashboard/billing/subscription"), "hard_limit_usd")
        spent = _amount(brief.fetch("/v1/dashboard/billing/usage"), "total_usage")
    except CometError:
        return None
    if spent is None:
        return None
    return Billing(spent / 100, given if given is not None and given < NO_LIMIT_USD else None)


def _amount(body: dict[str, object], name: str) -> float | None:
    value = body.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number and value >= 0 else None  # type: ignore[arg-type,operator]  # it is a number then
