"""How far a run is: counts, and the line that says them, while it goes on and when it has ended."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from ..messages.usage import Usage
from ..text import dollars, many


@dataclass
class Progress:
    """Counts of one run.

    rows: those that were given.        samples: how often each is asked.
    requests: those that are to be answered: equal rows are one.
    stored: of those, how many the store had.        answered, failed: what has come; `failed` by reason.
    unfilled: rows for which the prompt could not be filled in, by reason.
    failed_rows: once the run has ended: all rows that failed, by reason; equal rows are one request.
    nulls: rows that are not sent, for a field that the prompt names is missing.
    cut: rows of which a value was cut.        twice: requests that may have been paid twice.
    at_once: requests under way.        left_s: seconds that it may still take, None where nothing tells.
    waiting: why nothing is sent now, in words.        model: that was asked; "" where nothing was.
    state: "running", "stopping", "stopped" or "done".
    """

    rows: int = 0
    samples: int = 1
    requests: int = 0
    stored: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    unfilled: Counter[str] = field(default_factory=Counter)
    failed_rows: Counter[str] | None = None
    nulls: int = 0
    cut: int = 0
    twice: int = 0
    at_once: int = 0
    left_s: float | None = None
    usage: Usage = field(default_factory=Usage)
    usd: float | None = None
    waiting: str = ""
    model: str = ""
    state: str = "running"
    notes: tuple[str, ...] = ()
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def note(self, text: str) -> None:
        """Say something once, under the counts."""
        if text and text not in self.notes:
            self.notes = (*self.notes, text)

    @property
    def seconds(self) -> float:
        return (time.monotonic() if self.ended is None else self.ended) - self.began

    @property
    def rate(self) -> float:
        """Replies a second."""
        return (self.answered + self.failed.total()) / max(self.seconds, 0.001)

    @property
    def done(self) -> int:
        return self.stored + self.answered + self.failed.total()

    @property
    def line(self) -> str:
        """Where it stands, in one line."""
        if self.state in ("done", "stopped"):
            return self.summary
        parts = [f"{self.done:,} of {self.requests:,}"]
        parts += [f"{self.stored:,} from the store"] if self.stored else []
        parts += [f"{self.failed.total():,} failed"] if self.failed else []
        parts += [f"{self.at_once:,} under way", f"{self.rate:.3g}/s"] if self.at_once else []
        parts += self._used
        if self.state == "stopping":
            parts.append("stopping: waiting for what is under way; interrupt once more to drop it")
        elif self.waiting:
            parts.append(self.waiting)
        elif self.left_s is not None:
            parts.append(f"about {duration(self.left_s)} left")
        return " · ".join(parts)

    @property
    def size(self) -> str:
        """How much there is to ask."""
        times = f", {self.samples} times each" if self.samples > 1 else ""
        different = f" · {self.requests:,} different" if self.requests != self.rows * self.samples else ""
        return f"{many(self.rows, 'row')}{times}{different}"

    @property
    def _used(self) -> list[str]:
        tokens = (self.usage.prompt_tokens or 0) + (self.usage.output_tokens or 0)
        money = [f"≈ {dollars(self.usd)}"] if self.usd else []
        return [*([f"{tokens:,} tokens"] if tokens else []), *money]

    @property
    def _failed_rows(self) -> Counter[str]:
        return self.failed + self.unfilled if self.failed_rows is None else self.failed_rows

    @property
    def summary(self) -> str:
        """What came of it, in one line."""
        parts = [self.size]
        is_all = " all" if self.stored and not self.answered else f" {self.stored:,} of them"
        stored = f",{is_all} from the store" if self.stored else ""
        parts.append(f"{self.answered + self.stored:,} answered{stored}")
        parts += [f"{many(self.nulls, 'row')} skipped: a value is missing"] if self.nulls else []
        parts += [f"{many(self._failed_rows.total(), 'row')} failed"] if self._failed_rows else []
        if (open_ := self.requests - self.done) > 0:
            parts.append(f"{open_:,} not asked: run it again, and it goes on from here")
        parts += [*filter(None, [self.model]), *self._used, duration(self.seconds)]
        return " · ".join(parts)

    @property
    def details(self) -> list[str]:
        """What failed, by reason, and what else there is to say, a line each."""
        failed = self._failed_rows
        reasons = [f"{count:,} × {reason}" for reason, count in failed.most_common(10)]
        others = len(failed) - 10
        reasons += [f"and {others:,} other reasons: comet_magic.last_run.errors"] if others > 0 else []
        notes = list(self.notes)
        if self.cut:
            notes.append(f"{many(self.cut, 'row')} had a value that was cut to text_tokens")
        if self.twice:
            notes.append(f"{many(self.twice, 'request')} may have been paid twice: no answer came in time")
        return [*reasons, *notes]


class RowScreen(Protocol):
    """Where a run is shown, and where the user is asked."""

    def paint(self, progress: Progress) -> None: ...
    def finish(self, progress: Progress) -> None: ...
    def ask(self, question: str) -> bool | None:
        """Return whether the user says yes; None where nobody can answer."""


def duration(seconds: float) -> str:
    """Return a span of time as one says it."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
