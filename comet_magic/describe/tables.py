"""A table of any library → one compact card, from which a model can reason without seeing the rows.

Exact where that is cheap; else of a seeded sample, and marked so.
"""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from ..messages.tokens import estimated_tokens
from ..text import many
from .columns import Column, formatted, is_null
from .dependencies import has, table_library, type_name
from .description import Description, Limits, TokenBudget
from .frames import COLUMNS, SEED, WHOLE, FrameSample, as_label, read

ROWS = 5  # that are shown of a larger table
SMALL = 40  # rows of a table that are all shown, where they fit
BRIEF_HEAD = 25  # tokens of the words before a list of columns without figures


def is_table(value: object) -> bool:
    """Return whether it is a table or a series of one."""
    return bool(table_library(value)) or has(value, "__narwhals_dataframe__")


def table(value: Any, limits: Limits) -> Description:
    """Raises: ConfigError without narwhals; whatever the library raises about a table that is broken."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about one another; nobody would know whose
        card = _Card(read(value, limits), limits)
        text = limits.fitted(card.text(), limits.table_tokens)
    return Description(type_name(value), text, f"{card.size}, card of {estimated_tokens(text):,} tokens")


class _Card:
    def __init__(self, outline: FrameSample, limits: Limits) -> None:
        self._sample, self._limits = outline, limits
        self._values: dict[int, list[Any]] = {}

    @property
    def size(self) -> str:
        rows, columns = self._sample.rows, len(self._sample.names)
        if rows is None:
            return f"{many(columns, 'column')}, not computed"
        return many(rows, "value") if self._sample.is_series else f"{rows:,} × {columns:,}"

    def text(self) -> str:
        room = TokenBudget(self._limits.table_tokens)
        for line in self._head():
            room.add(line)
        in_full = self._add_columns(room)
        if self._limits.share_values and self._sample.frame is not None and in_full:
            self._add_rows(room, in_full)
        return str(room)

    def _head(self) -> Iterator[str]:
        outline = self._sample
        if outline.rows is None:
            size = many(len(outline.names), "column")
            yield f"{size}; rows not counted: it is lazy, and was not computed. Name (dtype):"
            return
        axis = f"columns named {outline.axis}" if outline.axis else ""
        parts = [
            f"{many(outline.rows, 'row')} × {many(len(outline.names), 'column')}",
            axis,
            outline.memory,
            *self._index(),
        ]
        yield " · ".join(filter(None, parts))
        if outline.how:
            yield (
                f"Rows, nulls, min, max and mean are exact unless marked; figures marked ~ or ≥, and the rows below, "
                f"are of {outline.how}."
            )
        if not self._limits.share_values:
            yield "Schema and statistics only; cell values are not shared."

    def _index(self) -> Iterator[str]:
        """Yield the lines about the index of pandas and its kin, unless it only counts."""
        index = self._sample.index
        if index is None or type(index).__name__ == "RangeIndex":
            return
        kind = type(index).__name__
        names = [as_label(name, self._limits) if name is not None else "" for name in index.names]
        if hasattr(index, "levels"):
            levels = (index.remove_unused_levels() if len(index) <= WHOLE else index).levels
            sizes = zip(names, levels, strict=True)
            names = [", ".join(f"{name or 'unnamed'} ({len(level):,} distinct)" for name, level in sizes)]
        else:
            kind += f" ({index.dtype})"
        yield f"index: {' '.join(filter(None, [*names, kind]))}"
        if self._limits.share_values and len(index):
            yield f"from {self._row_name(0)} to {self._row_name(len(index) - 1)}"

    def _row_name(self, position: int) -> str:
        """Return its label where there are labels that mean something, else where it stands."""
        index = self._sample.index
        if index is None or type(index).__name__ == "RangeIndex":
            return str(position)
        name = index[position]
        parts = name if isinstance(name, tuple) else (name,)
        limits = self._limits
        return " / ".join(limits.short(part) if isinstance(part, str) else formatted(part, limits) for part in parts)

    def _add_columns(self, room: TokenBudget) -> list[int]:
        """Add each column in full, as long as there is room for the others' names. Returns: which are in full."""
        names, dtypes = self._sample.names, self._sample.dtypes
        brief = [f"{name} ({dtype})" for name, dtype in zip(names, dtypes, strict=True)]
        costs = list(accumulate((estimated_tokens(f"{text}, ") for text in reversed(brief)), initial=0))[::-1]
        at, in_full = 0, []
        total = room.tokens
        rows_part = total // 4 if self._limits.share_values else 0
        while self._sample.frame is not None and at < min(len(names), COLUMNS):
            line = self._column(at).line(self._limits)
            reserved = rows_part + min(costs[at + 1] + (BRIEF_HEAD if costs[at + 1] else 0), total // 3)
            if room.tokens - estimated_tokens(line) < reserved or not room.add(f"- {line}"):
                break
            in_full.append(at)
            at += 1
        if at < len(names):
            fits = costs[at] + BRIEF_HEAD <= room.tokens - rows_part
            self._add_brief(room, brief[at:], dtypes[at:], len(in_full), rows_part if in_full and fits else 0)
        return in_full

    def _add_brief(
        self, room: TokenBudget, brief: list[str], dtypes: Sequence[str], before: int, rows_part: int
    ) -> None:
        left = room.tokens - rows_part - BRIEF_HEAD
        if sum(estimated_tokens(f"{text}, ") for text in brief) > left:
            left -= BRIEF_HEAD
        named = []
        for text in brief:
            left -= estimated_tokens(f"{text}, ")
            if left < 0:
                break
            named.append(text)
        more = f"{many(len(named), 'more column')}, for want of room without figures: " if before else ""
        if named:
            room.add(f"{more}{', '.join(named)}")
        if unnamed := dtypes[len(named) :]:
            dtypes_of = ", ".join(f"{dtype} × {count:,}" for dtype, count in Counter(unnamed).most_common(3))
            room.add(f"… and {many(len(unnamed), 'more column')} not named here: {dtypes_of}")

    def _column(self, number: int) -> Column:
        outline = self._sample
        nulls, low, high, mean = outline.exact.get(number, (None, None, None, None))
        name, dtype = outline.names[number], outline.dtypes[number]
        return Column(name, dtype, outline.rows or 0, self._cells(number), bool(outline.how), nulls, low, high, mean)

    def _cells(self, number: int) -> list[Any]:
        if number not in self._values:
            assert self._sample.frame is not None
            try:
                self._values[number] = self._sample.frame[str(number)].to_list()
            except Exception as error:  # noqa: BLE001  # values that Python has no type for, such as a year 99999
                self._values[number] = [f"({type(error).__name__})"] * len(self._sample.frame)
        return self._values[number]

    def _add_rows(self, room: TokenBudget, columns: list[int]) -> None:
        """All rows of a small table that has room for them, else a few."""
        assert self._sample.frame is not None
        count = len(self._sample.frame)
        which = "" if len(columns) == len(self._sample.names) else f", of the first {many(len(columns), 'column')}"
        names = " | ".join(self._sample.names[number] for number in columns)
        everything = [self._line(row, columns) for row in range(count)] if count <= SMALL else []
        head = f"all rows{which}: row | {names}"
        if everything and not self._sample.how and estimated_tokens("\n".join([head, *everything, ""])) < room.tokens:
            for line in [head, *everything]:
                room.add(line)
            return
        chosen = sorted(random.Random(SEED).sample(range(count), min(ROWS, count)))
        lines = [self._line(row, columns) for row in chosen]
        head = f"{many(len(chosen), 'row')}, chosen by a seed{which}: row | {names}"
        if lines and estimated_tokens(head) + estimated_tokens(lines[0]) < room.tokens:
            room.add(head)
            for line in lines:
                room.add(line)

    def _line(self, row: int, columns: list[int]) -> str:
        positions = self._sample.positions
        return " | ".join(["·" if positions is None else self._row_name(positions[row]), *self._row(row, columns)])

    def _row(self, row: int, columns: list[int]) -> Iterator[str]:
        for number in columns:
            value = self._cells(number)[row]
            text = isinstance(value, str)
            yield self._limits.short(value) if text else "null" if is_null(value) else formatted(value, self._limits)
