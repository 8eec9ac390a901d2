"""Usage → money, or nothing where no price is known: never $0, and never an exception.

Where a price comes from: the user's own, else what the endpoint publishes, else the provider's list price, which
`models` holds. Every amount is an estimate; the endpoint's bill is what counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..named_tuple import NamedTuple
from .models import OfferedModel, known
from .request import Request
from .tokens import OF_A_MESSAGE, estimated_message, estimated_tokens
from .usage import Usage

WRITE_FACTOR, WRITE_1H_FACTOR, READ_FACTOR = 1.25, 2.0, 0.1  # of the input price, where no other is known
WEB_SEARCH_USD = 0.01
LIST_PRICE = "list price"


class Price(NamedTuple):
    """US dollars per million tokens.

    write, write_1h: tokens written to the prompt cache for 5 minutes, or for an hour.        read: read from it.
    long_prompt: prompts of more tokens than the first cost the second times as much, all of them.
    source: whose price it is, in words.
    """

    input: float
    output: float
    write: float
    write_1h: float
    read: float
    long_prompt: tuple[int, float] | None = None
    source: str = LIST_PRICE

    def cost(self, usage: Usage) -> float | None:
        """Return US dollars; None where a count that it depends on was not reported."""
        prompt = usage.prompt_tokens
        if prompt is None or usage.output_tokens is None:
            return None
        written = usage.cache_creation_input_tokens or 0
        for_an_hour = min(usage.ephemeral_1h_input_tokens or 0, written)
        tokens = (
            (usage.input_tokens or 0) * self.input
            + (written - for_an_hour) * self.write
            + for_an_hour * self.write_1h
            + (usage.cache_read_input_tokens or 0) * self.read
            + usage.output_tokens * self.output
        )
        return tokens * self._factor(prompt) / 1e6 + (usage.web_search_requests or 0) * WEB_SEARCH_USD

    def most(self, prompt_tokens: int, max_tokens: int) -> float:
        """Return US dollars that a request may cost: nothing is read from the cache, all may be written to it."""
        prompt = prompt_tokens * max(self.input, self.write)
        return (prompt + max_tokens * self.output) * self._factor(prompt_tokens) / 1e6

    def _factor(self, prompt_tokens: int) -> float:
        return self.long_prompt[1] if self.long_prompt and prompt_tokens > self.long_prompt[0] else 1.0


def price_of(model: str, own: Mapping[str, Any], offered: Mapping[str, OfferedModel]) -> Price | None:
    """Return the price of `model`: the user's, else the endpoint's, else the list price; None if none is known.

    own: `CometSettings.prices`.        offered: what the endpoint says of its models, by their ids.
    """
    facts = known(model)
    if model in own and not media_price(own[model]):
        return own_price(own[model])
    if model in offered and (published := offered[model].price):
        price_in, price_out = published
        source = "the endpoint's price"
    elif facts:
        price_in, price_out, source = facts.price_in, facts.price_out, LIST_PRICE
    else:
        return None
    # An endpoint does not publish what its cache costs: the provider's proportion holds.
    read = price_in * (facts.price_read / facts.price_in if facts else READ_FACTOR)
    long_prompt = facts.long_prompt if facts else None
    return Price(price_in, price_out, price_in * WRITE_FACTOR, price_in * WRITE_1H_FACTOR, read, long_prompt, source)


def own_price(value: Any) -> Price:
    """Return a price as a user writes it: [input, output], or a mapping with those and, if need be, write and read.

    Raises: ValueError for anything else.
    """
    names = ("input", "output", "write", "write_1h", "read")
    if not isinstance(value, Mapping | list | tuple):
        raise ValueError("a price is [input, output], in US dollars per million tokens")
    given = dict(value) if isinstance(value, Mapping) else dict(zip(names, value, strict=False))
    if not {"input", "output"} <= set(given) <= set(names):
        raise ValueError(
            "a price is [input, output], in US dollars per million tokens; or {'request': …} or {'second': …}"
        )
    amounts = {name: float(amount) for name, amount in given.items()}
    if not all(0 <= amount < 1e6 for amount in amounts.values()):
        raise ValueError("a price is not below 0, and in US dollars per million tokens")
    price_in = amounts["input"]
    defaults = {
        "write": price_in * WRITE_FACTOR,
        "write_1h": price_in * WRITE_1H_FACTOR,
        "read": price_in * READ_FACTOR,
    }
    return Price(**{**defaults, **amounts}, long_prompt=None, source="your price")


def media_price(value: Any) -> tuple[float | None, float | None] | None:
    """Return US dollars for each thing that is made, and for each second; None for a price per million tokens.

    value: as a user writes it, {"request": 0.04} or {"second": 0.1}. Raises: ValueError for no amount.
    """
    if not isinstance(value, Mapping) or not value or not set(value) <= {"request", "second"}:
        return None
    amounts = {name: float(amount) for name, amount in value.items()}
    if not all(0 <= amount < 1e6 for amount in amounts.values()):
        raise ValueError("a price is not below 0, and in US dollars")
    return amounts.get("request"), amounts.get("second")


def estimated_prompt(request: Request) -> int:
    """Return tokens of a request's system prompt, tools, earlier turns and messages, rather too many than too few."""
    forms = [*request.tools, *([request.form.schema] if request.form else [])]
    system = estimated_tokens(request.system or "") + sum(estimated_tokens(json.dumps(form)) for form in forms)
    earlier = sum(turn.tokens_sent for turn in request.history)
    return system + earlier + sum(estimated_message(message) + OF_A_MESSAGE for message in request.messages)


def estimated_usage(usage: Usage, request: Request, text: str) -> Usage:
    """Return `usage` with estimates for the counts that a broken-off reply did not report."""
    prompt = {} if usage.input_tokens is not None else {"input_tokens": estimated_prompt(request)}
    output = {} if usage.output_tokens is not None else {"output_tokens": estimated_tokens(text)}
    return usage.merged(Usage(**prompt, **output))
