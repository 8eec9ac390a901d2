"""What an order may cost, and what it cost: by the user's own price, else by what the endpoint's list says.

A list has prices for tokens, for each thing that is made, or for each second. What is not known is not guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ..messages.image_size import pixels
from ..messages.models import OfferedModel
from ..messages.prices import Price, media_price, own_price
from ..messages.tokens import estimated_tokens
from ..messages.usage import Usage
from ..named_tuple import NamedTuple
from ..text import many
from .order import IMAGE, SPEECH, TRANSCRIPT, VIDEO, Order

# Output tokens of a picture of 1024 × 1024. Source: OpenAI's guide to pictures; `auto` may be any of them.
_PICTURE_TOKENS = {"low": 410, "medium": 1600, "high": 6300}
TOKENS_OF_INPUT = 1600  # of a picture that goes along
# As gateways count it: a minute of sound is 1,000 tokens.
TOKENS_A_SECOND = 1000 / 60
CHARACTERS_A_SECOND, DENSE_CHARACTERS_A_SECOND = 12.0, 4.0  # of speech; the other, of scripts without letters
LONGEST_FILM_S = 15.0  # of any model's films, where no length is given. Source: CometAPI's reference for Seedance


class Rate(NamedTuple):
    """US dollars. tokens: a price per million tokens; per_request, per_second: for what is made.

    source: whose price it is, in words.
    """

    tokens: Price | None = None
    per_request: float | None = None
    per_second: float | None = None
    source: str = "the endpoint's price"


def rate_of(model: str, own: Mapping[str, Any], offered: OfferedModel | None) -> Rate | None:
    """Return the price of a model: the user's, else the endpoint's; None where neither is known."""
    if model in own:
        if other := media_price(own[model]):
            return Rate(None, *other, source="your price")
        return Rate(own_price(own[model]), source="your price")
    if offered is None:
        return None
    tokens = own_price(offered.price) if offered.price else None
    if tokens is None and offered.per_request is None and offered.per_second is None:
        return None
    return Rate(tokens, offered.per_request, offered.per_second)


class Estimate(NamedTuple):
    """usd: what an order may cost at most, None where that is not known.        how: in words."""

    usd: float | None
    how: str


def estimate(order: Order, rate: Rate | None, seconds: float | None = None, requests: int = 1) -> Estimate:
    """Return what an order may cost. seconds: of the sound that goes along, where that is known.

    requests: in how many it is sent.
    """
    if rate is None:
        return Estimate(None, "no price is known")
    length_s = _length_s(order, seconds)
    if rate.per_request is not None:
        times = order.number if order.kind == IMAGE else requests
        each = order.nouns[0] if order.kind == IMAGE else "request"
        how = f"{rate.source} of a {each}" if times == 1 else f"{rate.source}, for {times} {order.nouns[1]}"
        return Estimate(
            rate.per_request * times, how if order.kind == IMAGE else f"{rate.source}, for {many(times, each)}"
        )
    if rate.per_second is not None:
        if length_s is None:
            return Estimate(None, f"${rate.per_second:g} a second, and its length is not known")
        return Estimate(rate.per_second * length_s, f"{rate.source}, for {length_s:,.0f} s")
    assert rate.tokens is not None
    tokens = _tokens(order, length_s)
    if tokens is None:
        return Estimate(None, "its price is for tokens, and how many there will be is not known")
    return Estimate(rate.tokens.most(*tokens), f"{rate.source}, for up to {sum(tokens):,} tokens")


def _length_s(order: Order, seconds: float | None) -> float | None:
    if order.kind == TRANSCRIPT:
        return seconds
    if order.kind == SPEECH:
        is_dense = any(ord(character) >= 0x2E80 for character in order.prompt)
        a_second = (DENSE_CHARACTERS_A_SECOND if is_dense else CHARACTERS_A_SECOND) * min(
            _number(order, "speed") or 1, 1
        )
        return math.ceil(len(order.prompt) / a_second)
    if order.kind == VIDEO:
        known = [_number(order, name) for name in ("seconds", "duration", "durationSeconds")]
        times = max([1.0, *(_number(order, name) or 0 for name in ("n", "sampleCount"))])
        return max((one for one in known if one), default=LONGEST_FILM_S) * times
    return None


def _number(order: Order, name: str) -> float | None:
    """Return a parameter that is a number above 0; None for others."""
    try:
        number = float(order.parameters[name])
    except (KeyError, TypeError, ValueError):
        return None
    return number if 0 < number < math.inf else None


def _tokens(order: Order, length_s: float | None) -> tuple[int, int] | None:
    """Return tokens in and out, rather too many than too few; None where nothing is known of them."""
    prompt = estimated_tokens(order.prompt)
    if order.kind == IMAGE:
        each = _PICTURE_TOKENS.get(str(order.parameters.get("quality")), max(_PICTURE_TOKENS.values()))
        return prompt + TOKENS_OF_INPUT * len(order.inputs), math.ceil(each * _area(order)) * order.number
    if length_s is None:
        return None
    sound = math.ceil(length_s * TOKENS_A_SECOND)
    return (prompt, sound) if order.kind == SPEECH else (prompt + sound, math.ceil(length_s * 6))


def _area(order: Order) -> float:
    """Return how many times 1024 × 1024 pixels a picture has; at least one."""
    if of_gemini := re.search(r"\b([124])k\b", str(order.parameters.get("size", "")), re.I):
        return float(of_gemini[1]) ** 2
    wide, found, high = str(order.parameters.get("size", "")).replace("×", "x").partition("x")
    if found and wide.isdigit() and high.isdigit():
        return max(1.0, int(wide) * int(high) / 1024**2)
    sizes = [size for one in order.inputs if (size := pixels(one.content))]
    return max([1.0, *(wide * high / 1024**2 for wide, high in sizes)])


def cost_of(order: Order, rate: Rate | None, usage: Usage, made: int, seconds: float | None) -> float | None:
    """Return what it cost; None where that cannot be told. made: how many there are; seconds: of sound or film."""
    if rate is None:
        return None
    if rate.per_request is not None:
        return rate.per_request * max(made, 1) if order.kind == IMAGE else None  # the others: as estimated
    if rate.per_second is not None:
        length_s = seconds if seconds is not None else _length_s(order, None)
        return None if length_s is None else rate.per_second * length_s
    return rate.tokens.cost(usage) if rate.tokens else None
