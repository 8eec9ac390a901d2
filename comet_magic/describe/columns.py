"""A column's values → one line of a card: nulls, distinct, and the figures or the most frequent values.

What a line holds is fixed once; how much room it takes is a `Style`.
"""

from __future__ import annotations

import datetime as dt
import math
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from numbers import Real
from typing import Any

from ..named_tuple import NamedTuple
from ..redaction import REDACTED, is_secret_field, is_secret_name
from .description import Limits
from .scalars import Scale, formatted, is_null, percent
from .texts import held_in

HEAD = "column (dtype)|nulls|distinct|min|q1|median|q3|max|mean|sd|zeros (or, behind distinct: values)"
CODES = 8  # distinct numbers, up to which they are codes rather than amounts
TELLING = 5  # distinct values from which on a mean tells nothing of a single one
ROW_DIGITS = 6  # of a number among the rows
_ORDERED_NAMES = (
    "Period",
    "Interval",
    "datetime64",
    "timedelta64",
)  # of pandas, and of NumPy for what Python cannot hold
_ORDERED = (dt.date, dt.time, dt.timedelta)  # a datetime is a date


class Style(NamedTuple):
    """How much of each column is written.

    digits: of a number's spread.        levels: distinct values, up to which all are named.
    top: of more, the most frequent ones.        text: characters of a text.        has_quartiles: and sd, and zeros.
    """

    digits: int = 5
    levels: int = 20
    top: int = 5
    text: int = 40
    has_quartiles: bool = True


class Figures(NamedTuple):
    """What is known of a column's values; None where it is not. counts: each value and how often it is there."""

    nulls: int | None = None
    distinct: int | None = None
    low: Any = None
    q1: Any = None
    median: Any = None
    q3: Any = None
    high: Any = None
    mean: float | None = None
    sd: float | None = None
    zeros: int | None = None
    infinite: int | None = None
    counts: Sequence[tuple[Any, int]] | None = None


FULL, UNKNOWN = Style(), Figures()


class Column:
    """One column. rows: of the whole table.

    values: of all rows, or of a sample's, those that are null included.        is_sample: whether it is that.
    exact: what is known of all rows.        categories, is_ordered: of a categorical column.
    """

    def __init__(
        self, name: str, dtype: str, rows: int, values: Sequence[Any], *, is_sample: bool = False,
        exact: Figures = UNKNOWN, categories: Sequence[Any] = (), is_ordered: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.dtype, self.rows, self.values = name, dtype, rows, values
        self.is_sample = is_sample
        self._about = "~" if is_sample else ""
        self._exact = exact
        self._categories, self._is_ordered = categories, is_ordered
        self._present = _present(values)
        if not self._present and exact.counts:  # so few that no sample meets one
            self._present = [value for value, _ in exact.counts]

    @cached_property
    def kind(self) -> str:
        """Return what its values are: number, time, text, bool, mixed, nested, other; "" if there is none."""
        if not self._present:
            return ""
        try:
            # Lists and dicts have no hash, and a user's class may raise what it likes.
            deque(map(hash, self._present), maxlen=0)
        except Exception:  # noqa: BLE001
            return "nested"
        return _kind(self._present)

    @property
    def is_secret(self) -> bool:
        if self.kind == "nested":
            return is_secret_name(self.name)
        return self.kind in ("text", "mixed", "other") and is_secret_field(self.name)

    @property
    def is_numeric(self) -> bool:
        return self.kind == "number" and (self._known("low") is not None or self._infinite < len(self._present))

    @property
    def is_moment(self) -> bool:
        return self.kind == "time" and isinstance(self._present[0], dt.date)

    @cached_property
    def is_unique(self) -> bool:
        """Whether no two rows have the same value, as far as that is known of all rows."""
        if self._about:
            return self._exact.distinct == self.rows and self._exact.nulls == 0
        return bool(self.kind) and self.kind != "nested" and len(self._counts) == len(self.values)

    def line(self, limits: Limits, style: Style = FULL) -> str:
        return "|".join([f"{self.name} ({self.dtype})", *self._cells(limits, style)])

    def cell(self, value: Any, limits: Limits, characters: int) -> str:
        """Return one of its values as it stands in a row."""
        if is_null(value):
            return "null"
        if self.is_secret:
            return REDACTED
        if isinstance(value, str):
            return limits.short(value, characters)
        return formatted(value, limits, ROW_DIGITS, self._scale, characters)

    # ---- its cells in the card

    def _cells(self, limits: Limits, style: Style) -> Iterator[str]:
        yield self._null_count(style)
        if not self._present:
            return
        yield self._distinct_count()
        if self.is_secret:
            yield f"{REDACTED}, for its name is a secret's"
            return
        if self.kind == "number":
            yield from self._number_cells(limits, style)
        elif self.kind == "time":
            yield from self._time_cells(limits, style)
        elif self.kind == "nested":
            yield "; ".join(_nested(self._present, limits, self._about))
        else:
            yield "; ".join(filter(None, self._words(limits, style)))

    def _null_count(self, style: Style) -> str:
        if self._exact.nulls is not None:
            nulls, of, about = self._exact.nulls, self.rows, ""
        else:
            nulls, of, about = len(self.values) - len(self._present), len(self.values), self._about
        if nulls == of and of:
            return f"{about}all"
        if not nulls:
            return f"{about}0"
        if about:
            return f"{about}{percent(nulls, of)}"
        return f"{nulls} ({percent(nulls, of)})" if style.has_quartiles else str(nulls)

    def _distinct_count(self) -> str:
        if self.kind == "nested":
            return ""
        if self._exact.distinct is not None:
            return f"{'all ' if self.is_unique and self.rows > 1 else ''}{self._exact.distinct}"
        if self._about:
            return f"≥{len(self._counts)}"
        return f"{'all ' if len(self._counts) == len(self._present) > 1 else ''}{len(self._counts)}"

    def _number_cells(self, limits: Limits, style: Style) -> Iterator[str]:
        distinct, has_amounts = self._exact.distinct or len(self._counts), self.is_numeric
        if not limits.share_values:
            # Rounded, and only of several: the mean of one value is the value.
            mean = self._figure("mean") if distinct >= TELLING and has_amounts else None
            yield f"mean ≈ {mean:.2g}" if isinstance(mean, float) else ""
            return
        counts = self._top(limits, style)
        if has_amounts and distinct <= CODES and counts and not self._about_of("counts"):
            yield f"{counts}; mean {self._written('mean', limits, style)}"
        elif has_amounts:
            names = ("low", "q1", "median", "q3", "high", "mean", "sd", "zeros")
            shorter = ("q1", "q3", "sd", "zeros")
            yield from (
                self._written(name, limits, style) if style.has_quartiles or name not in shorter else ""
                for name in names
            )
        if self._infinite:
            yield f"{self._about_of('infinite')}{self._infinite} infinite"
        if has_amounts and counts and CODES < distinct <= style.levels:
            yield counts

    def _time_cells(self, limits: Limits, style: Style) -> Iterator[str]:
        if not limits.share_values:
            return
        low, high = (self._written(name, limits, style) for name in ("low", "high"))
        yield from (low, "", self._written("median", limits, style), "", high)
        if not self._about and (step := step_of(sorted(self._counts))):
            yield step
        elif (self._exact.distinct or len(self._counts)) <= style.levels:
            yield self._top(limits, style)

    def _words(self, limits: Limits, style: Style) -> Iterator[str]:
        if self.kind == "mixed":
            yield f"mixed: {_types(self._present, self._about)}"
        texts = [value for value in self._counts if isinstance(value, str)] if self.kind in ("text", "mixed") else []
        if texts and max(map(len, texts)) > 30:
            yield f"{self._about}{min(map(len, texts))} … {self._about}{max(map(len, texts))} characters"
        if not limits.share_values:
            return
        if self.kind == "text":
            yield from self._held(limits, style)
        yield from self._levels(limits, style)
        yield self._top(limits, style)

    def _held(self, limits: Limits, style: Style) -> Iterator[str]:
        counts = self._all_counts
        if empty := sum(count for text, count in counts.items() if not text.strip()):
            about = self._about_of("counts")
            yield f"{about}{percent(empty, sum(counts.values()))} empty" if about else f"{empty} empty"
        if (held := self._text_values) is None:
            return
        about = "~" if held.is_part else self._about_of("counts")
        low, high = (limits.short(text, style.text) for text in (held.low, held.high))
        form = f" ({held.form})" if held.form else ""
        others = [formatted(text, limits, characters=style.text) for text in held.others[:3] if text.strip()]
        but = f", but for {', '.join(others)}{' …' if len(held.others) > 3 else ''}" if others else ""
        yield f"{held.kind} as text{form}: {about}{low} … {about}{high}{but}"

    @cached_property
    def _text_values(self) -> Any:
        return held_in(self._all_counts)

    @cached_property
    def _all_counts(self) -> Counter[Any]:
        """Return the counts of all rows where they are known, else those of the values at hand."""
        return self._counts if self._exact.counts is None else Counter(dict(self._exact.counts))

    def _levels(self, limits: Limits, style: Style) -> Iterator[str]:
        """Yield the order of categories, and those that no row has."""
        named = [formatted(level, limits, characters=style.text) for level in self._categories[: style.levels]]
        if self._is_ordered and len(named) == len(self._categories):
            yield " < ".join(named)
        elif not self._about or self._exact.counts is not None:
            there = {value for value, _ in self._exact.counts} if self._exact.counts is not None else self._counts
            unused = [level for level in self._categories if level not in there]
            if unused:
                named = [formatted(level, limits, characters=style.text) for level in unused[: style.top]]
                yield f"unused: {', '.join(named)}{' …' if len(unused) > style.top else ''}"

    def _top(self, limits: Limits, style: Style) -> str:
        """Return the most frequent values; examples where none is there twice."""
        about = self._about_of("counts")
        many = self._exact.distinct or len(self._counts)
        if self.kind == "number" and many > style.levels:  # its ends and quartiles are examples enough
            return ""
        counts = self._exact.counts if self._exact.counts is not None else self._counts.most_common()
        total = sum(count for _, count in counts)

        def named(value: Any) -> str:
            return formatted(value, limits, ROW_DIGITS, self._scale, style.text)

        if not counts:
            return ""
        if counts[0][1] == 1 or (self._about and about and len(counts) == len(self._present)):
            is_listed = self.kind == "number" or self._lists_text_values
            return "" if is_listed else f"e.g. {', '.join(named(value) for value, _ in counts[:2])}"
        top = counts[: style.levels if many <= style.levels else style.top]
        if many > style.levels and counts[0][1] < total / 50:  # none is frequent
            top = top[: max(1, style.top // 2)]
        if len(top) == many and self.kind in ("number", "time"):
            top = sorted(top)
        texts = [f"{named(value)} {_share(count, total) if about else f'×{count}'}" for value, count in top]
        rest = many - len(top)
        return f"{', '.join(texts)}{f', {rest} more' if rest else ''}"

    @property
    def _lists_text_values(self) -> bool:
        return self.kind == "text" and self._text_values is not None

    # ---- its figures

    @cached_property
    def _counts(self) -> Counter[Any]:
        return Counter(self._present)

    @cached_property
    def _sorted(self) -> list[Any]:
        return sorted(self._present)

    @cached_property
    def _amounts(self) -> list[Any]:
        """Return the numbers in order, without those that are infinite."""
        ordered = self._sorted
        return ordered[bisect_right(ordered, -math.inf) : bisect_left(ordered, math.inf)]

    @cached_property
    def _infinite(self) -> int:
        """Return how many numbers are infinite."""
        if self.kind == "number" and self._exact.infinite is not None:
            return self._exact.infinite
        if self.kind != "number" or (self._known("low") is not None and self._known("high") is not None):
            return 0
        return len(self._present) - len(self._amounts)

    @cached_property
    def _sampled(self) -> Figures:
        """Return the figures of the values at hand."""
        if self.kind == "time":
            return Figures(low=self._sorted[0], median=_middle(self._sorted), high=self._sorted[-1])
        amounts = self._amounts
        if not amounts:
            return Figures()
        mean = _mean(amounts)
        return Figures(
            low=amounts[0], q1=_quantile(amounts, 0.25), median=_quantile(amounts, 0.5), q3=_quantile(amounts, 0.75),
            high=amounts[-1], mean=mean, sd=_deviation(amounts, mean), zeros=amounts.count(0),
        )  # fmt: skip

    def _known(self, name: str) -> Any:
        """Return a figure of all rows; None where it is not known, or where infinite values spoil it."""
        value = getattr(self._exact, name)
        return None if isinstance(value, float) and not math.isfinite(value) else value

    def _about_of(self, name: str) -> str:
        return self._about if self._known(name) is None else ""

    def _figure(self, name: str) -> Any:
        known = self._known(name)
        return known if known is not None else getattr(self._sampled, name)

    @cached_property
    def _scale(self) -> Scale:
        if not self.is_numeric:
            return Scale()
        return Scale.of(*map(self._figure, ("low", "q1", "median", "q3", "high")))

    def _written(self, name: str, limits: Limits, style: Style) -> str:
        value, about = self._figure(name), self._about_of(name)
        if value is None:
            return ""
        if name == "zeros":
            if about:
                return _share(value, len(self._present)) if value else f"{about}0"
            has_share = style.digits >= FULL.digits and 100 * value >= self.rows
            return f"{value} ({percent(value, self.rows)})" if has_share else str(value)
        digits = min(style.digits, 4) if about else style.digits
        scale = self._scale._replace(center=value) if name == "sd" else self._scale  # it is a distance itself
        return f"{about}{formatted(value, limits, digits, scale)}"


def _present(values: Sequence[Any]) -> list[Any]:
    try:
        return [value for value in values if value is not None and value == value]  # the quick way of `is_null`
    except Exception:  # noqa: BLE001  # arrays, and a user's class, which may raise what it likes
        return [value for value in values if not is_null(value)]


def _quantile(ordered: list[Any], part: float) -> float:
    """Return between the two nearest values, in proportion, as statistics libraries do."""
    whole, share = divmod(part * (len(ordered) - 1), 1)
    low, high = ordered[int(whole)], ordered[min(int(whole) + 1, len(ordered) - 1)]
    if low == high or not share:
        return low  # type: ignore[no-any-return]
    try:
        return float(low) + share * (float(high) - float(low))
    except OverflowError:  # integers that no float can hold
        return low + int((high - low) * Fraction(share)) if _are_integers([low, high]) else math.inf


def _are_integers(values: list[Any]) -> bool:
    return all(isinstance(value, int) for value in values)


def _middle(ordered: list[Any]) -> Any:
    """Return the median of moments or spans; None where two of them have no middle."""
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    try:
        if type(low).__name__ == "Period":
            return low + (high - low).n // 2
        return low if low == high else low + (high - low) / 2
    except Exception:  # noqa: BLE001  # times of a day, periods, and what else has an order only
        return None


def _mean(values: list[Any]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # integers that no float can hold
        return sum(values) // len(values) if _are_integers(values) else math.inf


def _deviation(values: list[Any], mean: float) -> float | None:
    """Return the standard deviation of a sample, as statistics libraries do; None of a single value."""
    try:
        if len(values) < 2 or not math.isfinite(mean):
            return None
        return math.sqrt(math.fsum([(float(value) - mean) ** 2 for value in values]) / (len(values) - 1))
    except OverflowError:
        return None


def step_of(ordered: Sequence[Any]) -> str:
    """Return how far apart neighbouring moments are, of three or more in order: `every 1 day`; "" if that varies."""
    if len(ordered) < 3 or (len(ordered) > 50 and not step_of(ordered[:50])):
        return ""
    try:
        steps = Counter(high - low for low, high in pairwise(ordered))
        (step, count), *_ = steps.most_common(1)
        gaps = sum(steps.values()) - count
        if gaps > max(count / 10, len(ordered) <= 50) or not isinstance(step, dt.timedelta):
            return ""
    except Exception:  # noqa: BLE001  # times of a day, periods, and what else has an order only
        return ""
    return f"every {_span(step)}" + (f", with {gaps} exception{'s' if gaps > 1 else ''}" if gaps else ", without a gap")


def _span(step: dt.timedelta) -> str:
    text = str(dt.timedelta(days=step.days, seconds=step.seconds, microseconds=step.microseconds))
    return text.removesuffix(", 0:00:00")


def _kind(values: list[Any]) -> str:
    types = set(map(type, values))

    def are(*types_of: type) -> bool:
        return all(issubclass(kind, types_of) for kind in types)

    if are(bool) or all(kind.__name__ == "bool" for kind in types):  # NumPy's, in old versions, is none of Python's
        return "bool"
    if are(Real, Decimal) and not any(issubclass(kind, bool) for kind in types):
        return "number" if _are_ordered(values) else "mixed"
    if are(str):
        return "text"
    if are(*_ORDERED) or (len(types) == 1 and next(iter(types)).__name__ in _ORDERED_NAMES):
        return "time" if _are_ordered(values) else "mixed"
    return "mixed" if len(types) > 1 else "other"


def _are_ordered(values: list[Any]) -> bool:
    """Return whether values can be ordered: times with and without a zone cannot, nor can days beside hours."""
    try:
        min(values)
    except (TypeError, ArithmeticError):
        return False
    return True


def _types(values: list[Any], about: str) -> str:
    counts = Counter(type(value).__name__ for value in values).most_common(4)
    return ", ".join(f"{name} {about}{percent(count, len(values))}" for name, count in counts)


def _nested(values: list[Any], limits: Limits, about: str) -> Iterable[str]:
    yield _types(values, about)
    sizes = list(_sizes(values))
    if sizes:
        yield f"{about}{min(sizes)} … {about}{max(sizes)} items"
    if limits.share_values:
        yield f"e.g. {formatted(values[0], limits)}"


def _sizes(values: list[Any]) -> Iterator[int]:
    for value in values:
        with suppress(Exception):  # a user's class raises what it likes
            yield len(value)


def _share(count: int, total: int) -> str:
    share = percent(count, total)
    return share if share[0] in "<>" else f"~{share}"
