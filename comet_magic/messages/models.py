"""What is known of models: sizes, list prices, and what each refuses. A name that is not here is as good as any other.

As of 2026-11-22: the provider's model pages, price list and migration guides. CometAPI's own prices are usually lower.
"""

from __future__ import annotations

import re

from ..named_tuple import NamedTuple


class OfferedModel(NamedTuple):
    """What an endpoint's list says of a model. None, "" and the empty set: it does not say.

    kind: "chat", "image", "speech", "transcript", "embedding", "video", "music" or another word.
    dialects: the names of those in which it may be asked.        context, max_output: tokens.
    price_in, price_out: US dollars per million tokens.        shuts_down: the day, as `2026-12-01`.
    per_request, per_second: US dollars for a picture or another thing that is made, and for a second of sound or film.
    """

    id: str
    kind: str = "chat"
    dialects: frozenset[str] = frozenset()
    context: int | None = None
    max_output: int | None = None
    price_in: float | None = None
    price_out: float | None = None
    shuts_down: str = ""
    per_request: float | None = None
    per_second: float | None = None

    @property
    def price(self) -> tuple[float, float] | None:
        """(input, output) in US dollars per million tokens; None where it is not said."""
        return None if self.price_in is None or self.price_out is None else (self.price_in, self.price_out)

    def __str__(self) -> str:
        """Return `chat · 400k context · $0.25 in, $2 out per MTok · shuts down 2026-12-11`."""
        parts = [self.kind, f"{short_count(self.context)} context" if self.context else ""]
        parts.append(f"{short_count(self.max_output)} output" if self.max_output else "")
        parts.append(f"${self.price_in:g} in, ${self.price_out:g} out per MTok" if self.price else "")
        parts.append(f"${self.per_request:g} a request" if self.per_request is not None else "")
        parts.append(f"${self.per_second:g} a second" if self.per_second is not None else "")
        parts.append(f"shuts down {self.shuts_down}" if self.shuts_down else "")
        return " · ".join(filter(None, parts))


class KnownModel(NamedTuple):
    """context, max_output: tokens.        price_in, price_out: list price, US dollars per million tokens.

    sampling: takes a temperature.        thinking: which of "off", "adaptive" and "budget" it takes.
    forced: whether it can be made to call a tool.
    price_read: of tokens read from the prompt cache.        cacheable: tokens that a prefix needs to be cached.
    long_prompt: prompts of more tokens than the first cost the second times as much, all of them.
    """

    context: int
    max_output: int
    price_in: float
    price_out: float
    sampling: bool
    thinking: frozenset[str]
    price_read: float
    cacheable: int = 4096  # the most that any model asks for
    long_prompt: tuple[int, float] | None = None
    forced: bool = True

    def __str__(self) -> str:
        price = f"list price ${self.price_in:g} in, ${self.price_out:g} out per MTok"
        return f"{short_count(self.context)} context · {short_count(self.max_output)} output · {price}"


def short_count(tokens: int) -> str:
    """Return `200k` or `1M`."""
    if tokens < 1000:
        return str(tokens)
    return f"{tokens // 1_000_000}M" if tokens >= 1_000_000 else f"{tokens // 1000}k"


_M, _LARGE, _SMALL = 1_000_000, 128_000, 64_000
_ALWAYS = frozenset(("adaptive",))  # always on
_NEWER = frozenset(("off", "adaptive"))
_OLDER = frozenset(("off", "budget"))
_ALL = frozenset(("off", "adaptive", "budget"))

KNOWN: dict[str, KnownModel] = {
    "claude-fable-5-2": KnownModel(_M, _LARGE, 8, 40, False, _ALWAYS, 0.2, forced=False),
    "claude-fable-5-1": KnownModel(_M, _LARGE, 10, 50, False, _ALWAYS, 0.25, forced=False),
    "claude-fable-5": KnownModel(_M, _LARGE, 10, 50, False, _ALWAYS, 1, 512),
    "claude-opus-5-5": KnownModel(_M, _LARGE, 4, 20, False, _ALWAYS, 0.2, forced=False),
    "claude-opus-5": KnownModel(_M, _LARGE, 5, 25, False, _NEWER, 0.5, 512),
    "claude-opus-4-8": KnownModel(_M, _LARGE, 5, 25, False, _NEWER, 0.5, 1024),
    "claude-opus-4-7": KnownModel(_M, _LARGE, 5, 25, False, _NEWER, 0.5, 2048),
    "claude-opus-4-6": KnownModel(_M, _LARGE, 5, 25, True, _ALL, 0.5),
    "claude-opus-4-5": KnownModel(200_000, _SMALL, 5, 25, True, _OLDER, 0.5),
    "claude-sonnet-5-5": KnownModel(_M, _LARGE, 2, 10, False, _ALWAYS, 0.1, forced=False),
    "claude-sonnet-5": KnownModel(_M, _LARGE, 2, 10, False, _NEWER, 0.2, 1024),
    "claude-sonnet-4-6": KnownModel(_M, _LARGE, 3, 15, True, _ALL, 0.3, 2048),
    "claude-sonnet-4-5": KnownModel(200_000, _SMALL, 3, 15, True, _OLDER, 0.3, 1024),
    "claude-haiku-5-5": KnownModel(_M, _LARGE, 0.1, 0.5, False, _NEWER, 0.01, long_prompt=(100_000, 5)),
    "claude-haiku-4-5": KnownModel(200_000, _SMALL, 1, 5, True, _OLDER, 0.1),
}


def known(model: str) -> KnownModel | None:
    """Return what is known of `model`, whatever vendor's prefix, date or gateway's `-thinking` its name has."""
    name = model.rpartition("/")[2].removeprefix("cometapi-")
    name = re.sub(r"(-\d{8})?(-thinking)?$", "", name)
    return KNOWN.get(name) or KNOWN.get(f"claude-{name}")


def refusal(model: str, parameter: str) -> str | None:
    """Return why `model` will not take `parameter`; None if it may.

    parameter: "temperature", or a way of thinking: "off", "adaptive", "budget".
    """
    facts = known(model)
    if facts is None:
        return None
    if parameter == "temperature":
        return None if facts.sampling else f"{model} refuses a temperature"
    return None if parameter in facts.thinking else f"{model} refuses thinking: {parameter}"
