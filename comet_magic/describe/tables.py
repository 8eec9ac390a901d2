"""A table of any library → one compact card, from which a model can reason without seeing the rows.

Exact where that is cheap; else of a seeded sample, and marked so.
"""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from ..messages.tokens import estimated_tokens
from ..redaction import REDACTED, is_secret_field
from ..text import many
from .columns import HEAD, Column, Figures, Style, step_of
from .correlations import ROWS, strongest
from .dependencies import has, table_library, type_name
from .description import Description, Limits
from .frames import COLUMNS, SEED, WHOLE, FrameSample, as_label, read, values_of
from .scalars import formatted

SMALL = 40  # rows of a table that are all shown, where they fit
CLOSE = 0.9  # a correlation of columns that are nearly the same
FEW_RELATED = 10  # columns, up to which each is shown with the one that it goes with most
STEPS = 100_000  # labels of an index, up to which their steps are looked at
# Tried one after the other, each with so many rows, until all columns fit: texts and figures get shorter first.
STYLES = (
    (Style(), 5),
    (Style(levels=12), 3),
    (Style(digits=4, levels=8, top=3, text=24), 3),
    (Style(digits=4, levels=5, top=3, text=24), 2),
    (Style(digits=4, levels=5, top=2, text=16), 0),
    (Style(digits=3, levels=4, top=2, text=12), 0),
    (Style(digits=3, levels=3, top=2, text=12, has_quartiles=False), 0),
)


def is_table(value: object) -> bool:
    """Return whether it is a table or a series of one."""
    return bool(table_library(value)) or has(value, "__narwhals_dataframe__")


def table(value: Any, limits: Limits) -> Description:
    """Raises: ConfigError without narwhals; whatever the library raises about a table that is broken."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about one another; nobody would know whose
        return card(read(value, limits), limits)._replace(kind=type_name(value))


def card(sample: FrameSample, limits: Limits) -> Description:
    """Return the card of what was read of a table."""
    made = _Card(sample, limits)
    text = limits.fitted(made.text(), limits.table_tokens)
    return Description("table", text, f"{made.size}, card of {estimated_tokens(text):,} tokens")


class _Card:
    def __init__(self, sample: FrameSample, limits: Limits) -> None:
        self._sample, self._limits = sample, limits
        self._columns: dict[int, Column] = {}

    @property
    def size(self) -> str:
        rows, columns = self._sample.rows, len(self._sample.names)
        if rows is None:
            return f"{many(columns, 'column')}, not computed"
        return many(rows, "value") if self._sample.is_series else f"{rows:,} × {columns:,}"

    def text(self) -> str:
        head = list(self._head())
        if self._sample.frame is None:
            return "\n".join([*head, *self._names(range(len(self._sample.names)), head)])
        everything = range(len(self._sample.names))
        if len(everything) <= COLUMNS:
            for text in self._styled(head):
                if self._fits(text):
                    return text
        return self._partial(head)

    def _fits(self, text: str) -> bool:
        return estimated_tokens(text) <= self._limits.table_tokens

    def _styled(self, head: list[str]) -> Iterator[str]:
        """Yield the whole card, shorter and shorter. All rows of a small table are worth more than long lines."""
        chosen = sorted(self._sample.chosen)
        count = len(self._sample.frame) if self._sample.frame is not None else 0
        whole = [(style, count) for style, _ in STYLES[:3]] if count <= SMALL and not self._sample.how else []
        for style, rows in [*whole, *STYLES]:
            lines = [HEAD, *(self._column(number).line(self._limits, style) for number in chosen)] if chosen else []
            yield "\n".join([*head, *lines, *self._correlated(style), *self._rows(chosen, rows, style)])

    def _partial(self, head: list[str]) -> str:
        """Return a card in which only some columns have figures: those that the question names, then the last one."""
        style, names = STYLES[-1][0], self._sample.names
        limit = self._limits.table_tokens
        lines, others = [*head, HEAD], list(range(len(names)))
        in_full: list[int] = []
        for number in self._sample.chosen:
            rest = [other for other in others if other not in in_full and other != number]
            line = self._column(number).line(self._limits, style)
            # Names of columns may take a third, or all of them where that is less.
            names_part = min(estimated_tokens("\n".join(self._names(rest, head))), limit // 3)
            if estimated_tokens("\n".join([*lines, line, ""])) + names_part > limit:
                break
            in_full.append(number)
            lines.append(line)
        if not in_full:
            lines = head
        rest = [other for other in others if other not in in_full]
        return "\n".join([*lines, *self._names(rest, lines)])

    def _head(self) -> Iterator[str]:
        sample = self._sample
        if sample.rows is None:
            size = many(len(sample.names), "column")
            yield f"{size}; rows not counted: it is lazy, and was not computed. Name (dtype):"
            return
        parts = [
            f"{many(sample.rows, 'row')} × {many(len(sample.names), 'column')}",
            f"columns named {sample.axis}" if sample.axis else "",
            sample.memory,
            self._repeated(),
            *sample.notes,
            *self._index(),
        ]
        yield " · ".join(filter(None, parts))
        if sample.how:
            yield f"Figures are exact unless marked; those marked ~ or ≥, and the rows below, are of {sample.how}."
        if not self._limits.share_values:
            yield "Schema and statistics only; cell values are not shared."

    def _repeated(self) -> str:
        """Return how many rows are there before, in words; "" where that is not known, or says nothing."""
        sample = self._sample
        if len(sample.names) < 2 or (sample.rows or 0) < 2:
            return ""
        is_whole = not sample.how and len(sample.names) <= COLUMNS
        has_key = is_whole and any(self._column(number).is_unique for number in sample.chosen)
        count = 0 if has_key else sample.duplicates()
        if count is None:
            return ""
        return (
            f"{many(count, 'row')} repeat{'s' if count == 1 else ''} an earlier one"
            if count
            else "no row repeats another"
        )

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
        if len(index) > 1:
            yield "unique" if index.is_unique else "not unique"
        if self._limits.share_values and len(index) and not self._hides_index:
            yield f"from {self._row_name(0)} to {self._row_name(len(index) - 1)}"
            if 2 < len(index) <= STEPS and kind.startswith(("Datetime", "Timedelta")):
                yield step_of(sorted(set(index.dropna())))

    def _row_name(self, position: int) -> str:
        """Return its label where there are labels that mean something, else where it stands."""
        index = self._sample.index
        if index is None or type(index).__name__ == "RangeIndex":
            return str(position)
        if self._hides_index:
            return REDACTED
        name = index[position]
        parts = name if isinstance(name, tuple) else (name,)
        limits = self._limits
        return " / ".join(limits.short(part) if isinstance(part, str) else formatted(part, limits) for part in parts)

    @cached_property
    def _hides_index(self) -> bool:
        return any(is_secret_field(str(name)) for name in self._sample.index.names)

    def _names(self, numbers: Iterable[int], before: list[str]) -> list[str]:
        """Return the lines that name columns without figures, as many as there is room for behind `before`."""
        names, dtypes = self._sample.names, self._sample.dtypes
        texts = [f"{names[number]} ({dtypes[number]})" for number in numbers]
        if not texts:
            return []
        is_alone = self._sample.frame is None
        intro = "" if is_alone else f"{many(len(texts), 'more column')}, for want of room without figures: "
        left = self._limits.table_tokens - estimated_tokens("\n".join([*before, intro, ""]))
        if sum(estimated_tokens(f"{text}, ") for text in texts) <= left:
            return [f"{intro}{', '.join(texts)}"]
        left -= estimated_tokens(f"… and {len(texts):,} more columns not named here: {'x' * 60}") + 2
        named = 0
        for text in texts:
            left -= estimated_tokens(f"{text}, ")
            if left < 0:
                break
            named += 1
        intro = "" if is_alone else f"{many(named, 'more column')}, for want of room without figures: "
        dtypes_of = Counter(dtypes[number] for number in list(numbers)[named:]).most_common(3)
        summary = ", ".join(f"{dtype[:16]} × {count:,}" for dtype, count in dtypes_of)
        more = f"… and {many(len(texts) - named, 'more column')} not named here: {summary}"
        return [f"{intro}{', '.join(texts[:named])}", more] if named else [more]

    def _column(self, number: int) -> Column:
        if number not in self._columns:
            sample = self._sample
            categories, is_ordered = sample.categories.get(number, ((), False))
            self._columns[number] = Column(
                sample.names[number], sample.dtypes[number], sample.rows or 0, self._values(number),
                is_sample=bool(sample.how), exact=sample.exact.get(number, Figures()), categories=categories,
                is_ordered=is_ordered,
            )  # fmt: skip
        return self._columns[number]

    def _values(self, number: int) -> list[Any]:
        assert self._sample.frame is not None
        return values_of(self._sample.frame, number)

    @cached_property
    def _correlations(self) -> list[tuple[str, str, float]]:
        columns = [self._column(number) for number in sorted(self._sample.chosen)]
        values = {column.name: column.values for column in columns if column.is_numeric or column.is_moment}
        index = self._sample.index
        if index is not None and type(index).__name__ == "DatetimeIndex" and self._sample.positions is not None:
            values["the index"] = [index[position] for position in self._sample.positions[:ROWS]]
        return strongest(values)

    def _correlated(self, style: Style) -> list[str]:
        """Return lines about the strongest pairs, and about those of what the question names and of the last column."""
        if not style.has_quartiles:
            return []
        pairs, names, about = self._correlations, self._sample.names, "~" if self._sample.how else ""
        shown = pairs[: style.top]
        if len({name for pair in pairs for name in pair[:2]}) <= FEW_RELATED:  # each with what it goes with most
            best = {name: pair for pair in reversed(pairs) for name in pair[:2]}
            shown = [pair for pair in pairs if pair in shown or pair in best.values()]
        lines = [f"strongest correlations: {_in_words(shown, about)}"] if shown else []
        if close := sum(abs(pair[2]) >= CLOSE for pair in pairs if pair not in shown):
            lines[0] += f", and {many(close, 'more pair')} beyond {CLOSE}"
        first = [names[number] for number in self._sample.chosen[:3] if number in self._sample.named]
        for name in dict.fromkeys([*first, *names[-1:]]):
            more = [pair for pair in pairs if name in pair][: style.top]
            if more and not set(more) <= set(shown):
                lines.append(f"with {name}: {_in_words([_from(name, pair) for pair in more], about)}")
        return lines

    def _rows(self, columns: list[int], most: int, style: Style) -> list[str]:
        """Return all rows of a small table that has room for them, else a few."""
        if not (self._limits.share_values and columns and most and self._sample.frame is not None):
            return []
        count = len(self._sample.frame)
        if not count:
            return []
        is_whole = count <= most and not self._sample.how
        chosen = range(count) if is_whole else sorted(random.Random(SEED).sample(range(count), min(most, count)))
        names = "|".join(self._sample.names[number] for number in columns)
        head = "all rows" if is_whole else f"{many(len(chosen), 'row')}, chosen by a seed"
        return [f"{head}: row|{names}", *(self._line(row, columns, style) for row in chosen)]

    def _line(self, row: int, columns: list[int], style: Style) -> str:
        positions = self._sample.positions
        cells = [
            self._column(number).cell(self._column(number).values[row], self._limits, style.text) for number in columns
        ]
        return "|".join(["·" if positions is None else self._row_name(positions[row]), *cells])


def _from(name: str, pair: tuple[str, str, float]) -> tuple[str, str, float]:
    """Return a pair without the name that all have."""
    return ("", pair[1] if pair[0] == name else pair[0], pair[2])


def _in_words(pairs: list[tuple[str, str, float]], about: str) -> str:
    return ", ".join(f"{f'{one} and ' if one else ''}{other} {about}{r:.2f}" for one, other, r in pairs)
