"""What a process has asked for so far, and what that has cost."""

from __future__ import annotations

from typing import NamedTuple

from .messages import Usage
from .rendering import dollars


class Totals(NamedTuple):
    """What this process has asked for so far. usd: of the replies with a known price, all but `unpriced`."""

    replies: int = 0
    usage: Usage = Usage()
    usd: float = 0.0
    unpriced: int = 0
    replayed: int = 0

    def plus(self, usage: Usage, usd: float | None) -> Totals:
        unpriced = self.unpriced + (1 if usd is None else 0)
        return Totals(self.replies + 1, self.usage + usage, self.usd + (usd or 0), unpriced, self.replayed)

    @property
    def money(self) -> str:
        """`session ≈ $0.21`, or "" where no price is known."""
        if self.unpriced == self.replies:
            return ""
        rest = f", {self.unpriced} of {self.replies} replies without a price" if self.unpriced else ""
        return f"session ≈ {dollars(self.usd)}{rest}"

    def __str__(self) -> str:
        again = [f"{self.replayed:,} replayed at no cost"] if self.replayed else []
        if not self.replies:
            return "".join(again) or "no replies yet"
        parts = [f"{self.replies:,} {'reply' if self.replies == 1 else 'replies'}", str(self.usage)]
        return " · ".join([*parts, *([f"≈ {dollars(self.usd)}"] if self.money else []), *again])
