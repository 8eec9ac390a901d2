"""What a run will cost and take, from the replies that have come: about, at most, and in how many seconds."""

from __future__ import annotations

from collections.abc import Sequence

from ..messages.message import Message
from ..messages.prices import Price
from ..messages.tokens import BYTES_A_TOKEN
from ..named_tuple import NamedTuple
from ..text import dollars
from .progress import Progress, duration


class PilotReply(NamedTuple):
    """A reply that has come. characters: of the whole prompt that it answers.        seconds: that it took."""

    message: Message
    characters: int
    seconds: float


class Estimate(NamedTuple):
    """For the requests that are left. usd, most_usd: None without a price.        seconds: about; None for a batch."""

    requests: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    most_usd: float | None
    seconds: float | None

    def line(self, progress: Progress, model: str) -> str:
        """Return what would be asked, and what that would cost."""
        parts = [progress.size.replace(" · ", ", ")]
        parts += [f"{progress.cut:,} cut to text_tokens"] if progress.cut else []
        parts += [f"{progress.stored:,} in the store"] if progress.stored else []
        parts += [f"{progress.answered:,} asked already"] if progress.answered else []
        money = f"about {self.input_tokens + self.output_tokens:,} tokens, and no price is known"
        if self.usd is not None and self.most_usd is not None:
            money = f"about {dollars(self.usd)}, at most {dollars(self.most_usd)} if each reply is as long as it may be"
        when = "within a day" if self.seconds is None else f"about {duration(self.seconds)}"
        return f"{', '.join(parts)}: {self.requests:,} requests to {model}; {money}, {when}"


def estimate(
    known: Sequence[PilotReply], lengths: Sequence[int], fixed: int, price: Price | None, most_usd: float, at_once: int,
    factor: float = 1.0,
) -> Estimate:  # fmt: skip
    """Return what the requests for rows of these lengths will take.

    lengths: characters of each row's part of the prompt.        fixed: characters that are the same for all.
    most_usd: the most that they can cost, by their own prompts and `max_tokens`.
    at_once: requests that will be under way.        factor: of the price, as 0.5 for batches.
    """
    count, characters = len(lengths), sum(lengths) + fixed * len(lengths)
    seen = max(sum(one.characters for one in known), 1)
    prompt = sum(one.message.usage.prompt_tokens or -(-one.characters // BYTES_A_TOKEN) for one in known)
    replied = sum(one.message.usage.output_tokens or 0 for one in known)
    input_tokens = round(prompt / seen * characters)
    output_tokens = round(replied / max(len(known), 1) * count)
    usd = None
    if price is not None:
        # What has been written to the cache once is read from it by the others.
        usages = [one.message.usage for one in known]
        written = ((u.cache_creation_input_tokens or 0) + (u.cache_read_input_tokens or 0) for u in usages)
        cached = max(written, default=0)
        reads = min(cached * count, input_tokens)
        per_token = (input_tokens - reads) * price.input + reads * price.read + output_tokens * price.output
        usd = per_token / 1e6 * factor
    each_s = sum(one.seconds for one in known) / max(len(known), 1)
    seconds = each_s * count / max(min(at_once, count), 1)
    most = None if price is None else max(most_usd * factor, usd or 0.0)
    return Estimate(count, input_tokens, output_tokens, usd, most, seconds)
