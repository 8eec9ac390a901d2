"""A small table that displays itself, as Markdown in a notebook and as text in a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..text import clean, dollars, escaped


@dataclass(frozen=True)
class Table:
    """title: above it, "" for none.  head: one text a column.  rows: the same.  notes: sentences below it."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        lines = [clean(self.title)] if self.title else []
        if self.rows:
            wide = [max(len(clean(row[at])) for row in [self.head, *self.rows]) for at in range(len(self.head))]
            numeric = self._numeric()
            lines += [
                "  ".join(
                    clean(text).rjust(width) if right else clean(text).ljust(width)
                    for text, width, right in zip(row, wide, numeric, strict=True)
                ).rstrip()
                for row in [self.head, *self.rows]
            ]
        return "\n".join([*lines, *map(clean, self.notes)])

    def _numeric(self) -> list[bool]:
        """Return which columns hold numbers, and nothing else."""
        return [
            any(row[at] for row in self.rows) and all(re.fullmatch(r"(≈ )?\$?[\d.,]*", row[at]) for row in self.rows)
            for at in range(len(self.head))
        ]

    def to_markdown(self) -> str:
        parts = [f"**{escaped(self.title)}**"] if self.title else []
        if self.rows:
            rule = ["--:" if right else ":--" for right in self._numeric()]
            rows = [[escaped(text) for text in row] for row in [self.head, *self.rows]]
            rows.insert(1, rule)
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        parts += [f"<small>{escaped(note)}</small>" for note in self.notes]
        return "\n\n".join(parts)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/markdown": self.to_markdown(), "text/plain": str(self)}


def counted(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def about(usd: float | None) -> str:
    """Return an amount that is an estimate."""
    return "" if usd is None else f"≈ {dollars(usd)}"
