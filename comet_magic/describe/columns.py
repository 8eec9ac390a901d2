"""A column's values → one line: dtype, nulls, distinct, and range and quartiles or the most frequent values."""

from __future__ import annotations

import datetime as dt
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

from .description import Limits

TOP, TOP_OF_MANY = 5, 3  # most frequent values that are named
FEW_NAMED = 8  # distinct values, up to which all are named; so few numbers are codes rather than amounts
TELLING = 5  # distinct values from which on a mean tells nothing of a single one
_ORDERED = (dt.date, dt.time, dt.timedelta)  # a datetime is a date


class Column(NamedTuple):
    """name, dtype: as they are shown.        rows: of the whole table.

    values: of all rows, or of a sample's, those that are null included.        is_sample: whether it is that.
    nulls: of all rows, where it is known.        low, high, mean: of all rows, where they are known.
    """

    name: str
    dtype: str
    rows: int
    values: Sequence[Any]
    is_sample: bool = False
    nulls: int | None = None
    low: Any = None
    high: Any = None
    mean: float | None = None

    def line(self, limits: Limits) -> str:
        return " · ".join([f"{self.name} ({self.dtype})", *self._facts(limits)])

    def _facts(self, limits: Limits) -> Iterable[str]:
        """Figures marked ~ are of the sample."""
        values = _present(self.values)
        about = "~" if self.is_sample else ""
        yield self._null_count(len(values), about)
        if not values:
            return
        try:
            counts = Counter(values)
        except Exception:  # noqa: BLE001  # lists and dicts have no hash, and a user's class may raise what it likes
            yield from _nested(values, limits, about)
            return
        kind = _kind(values)
        if kind != "bool":
            distinct = f"{'≥ ' if about else ''}{len(counts)} distinct"
            yield f"all {distinct}" if len(counts) == len(values) > 1 and not about else distinct
        if kind == "mixed":
            yield f"mixed: {_types(values, about)}"
        elif kind == "text":
            yield from _lengths(values, about)
        elif kind == "number":
            yield from self._amounts(values, len(counts), limits, about)
        elif kind == "time" and limits.share_values:
            ordered = sorted(values)
            yield self._range(ordered, limits)
            yield f"median {about}{formatted(ordered[len(ordered) // 2], limits)}"
        if limits.share_values and kind != "time":
            yield from _top(counts, len(values), kind, limits, about)

    def _null_count(self, present: int, about: str) -> str:
        if self.nulls is not None:
            nulls, of, about = self.nulls, self.rows, ""
        else:
            nulls, of = len(self.values) - present, len(self.values)
        if not nulls:
            return f"{about}no nulls"
        if nulls == of:
            return f"{about}all null"
        return f"{about}{percent(nulls, of)} null" if about else f"{nulls} null ({percent(nulls, of)})"

    def _amounts(self, values: list[Any], distinct: int, limits: Limits, about: str) -> Iterable[str]:
        ordered = sorted(values)
        finite = ordered[bisect_right(ordered, -math.inf) : bisect_left(ordered, math.inf)]
        if len(finite) < len(ordered):
            yield f"{about}{len(ordered) - len(finite)} infinite"
        if not finite:
            return
        if not limits.share_values:
            # Rounded, and only of several: the mean of one value is the value.
            if distinct >= TELLING:
                yield f"mean ≈ {_mean(finite):.2g}"
            return
        yield self._range(finite, limits)
        if distinct > FEW_NAMED:
            digits = 4 if about else 6
            quartiles = [formatted(_quantile(finite, part), limits, digits) for part in (0.25, 0.5, 0.75)]
            yield f"quartiles {about}{', '.join(quartiles)}"
        mean = self.mean if self.mean is not None else _mean(finite)
        yield f"mean {about if self.mean is None else ''}{mean:.6g}"

    def _range(self, ordered: list[Any], limits: Limits) -> str:
        if self.low is not None and self.high is not None:
            return f"{formatted(self.low, limits)} … {formatted(self.high, limits)}"
        about = "~" if self.is_sample else ""
        return f"{about}{formatted(ordered[0], limits)} … {about}{formatted(ordered[-1], limits)}"


def _present(values: Sequence[Any]) -> list[Any]:
    try:
        return [value for value in values if value is not None and value == value]  # the quick way of `is_null`
    except (TypeError, ValueError, ArithmeticError):
        return [value for value in values if not is_null(value)]


def is_null(value: Any) -> bool:
    """None, and whatever is not equal to itself: NaN, NaT, NA."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError, ArithmeticError):  # arrays, and Decimal's signalling NaN; pandas' NA says nothing
        return type(value).__name__ in ("NAType", "Decimal")


def _quantile(ordered: list[Any], part: float) -> float:
    """Return between the two nearest values, in proportion, as statistics libraries do."""
    whole, share = divmod(part * (len(ordered) - 1), 1)
    low, high = ordered[int(whole)], ordered[min(int(whole) + 1, len(ordered) - 1)]
    try:
        return float(low) + share * (float(high) - float(low))
    except OverflowError:
        return math.inf


def _mean(values: list[Any]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # integers that no float can hold
        return math.inf


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
    if are(*_ORDERED):
        return "time" if _are_ordered(values) else "mixed"
    return "mixed" if len(types) > 1 else "other"


def _are_ordered(values: list[Any]) -> bool:
    """Times with and without a zone are not, nor are days and hours."""
    try:
        min(values)
    except (TypeError, ArithmeticError):
        return False
    return True


def _types(values: list[Any], about: str) -> str:
    counts = Counter(type(value).__name__ for value in values).most_common(4)
    return ", ".join(f"{name} {about}{percent(count, len(values))}" for name, count in counts)


def _nested(values: list[Any], limits: Limits, about: str) -> Iterable[str]:
    yield f"values: {_types(values, about)}"
    sizes = [len(value) for value in values if hasattr(value, "__len__")]
    if sizes:
        yield f"{about}{min(sizes)} … {about}{max(sizes)} items"
    if limits.share_values:
        yield f"e.g. {formatted(values[0], limits)}"


def _lengths(values: list[Any], about: str) -> Iterable[str]:
    longest = max(map(len, values))
    if longest > 30:
        yield f"{about}{min(map(len, values))} … {about}{longest} characters"


def _top(counts: Counter[Any], total: int, kind: str, limits: Limits, about: str) -> Iterable[str]:
    if kind == "number" and len(counts) > FEW_NAMED:  # its ends and quartiles are examples enough
        return
    if len(counts) == total or counts.most_common(1)[0][1] == 1:
        yield f"e.g. {', '.join(formatted(value, limits) for value in list(counts)[:2])}"
        return
    top = counts.most_common(len(counts) if len(counts) <= FEW_NAMED else TOP)
    if len(counts) > FEW_NAMED and top[0][1] < total / 50:  # none is frequent
        top = top[:TOP_OF_MANY]
    named = [f"{formatted(value, limits)} {_share(count, total) if about else f'×{count}'}" for value, count in top]
    rest = len(counts) - len(top)
    yield f"top {', '.join(named)}{f', {rest} more' if rest else ''}"


def _share(count: int, total: int) -> str:
    share = percent(count, total)
    return share if share[0] in "<>" else f"~{share}"


def plain(value: Any) -> Any:
    """Return one of NumPy's numbers, days and spans as Python's own."""
    if type(value).__module__ != "numpy" or getattr(value, "shape", None) != ():
        return value
    kind = value.dtype.kind
    return value.astype(f"{kind}8[us]").item() if kind in "mM" else value.item()


def percent(part: int, whole: int) -> str:
    """Return `3.1 %`; never 0 % or 100 % for what is not."""
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1 %"
    if 99.9 < share < 100:
        return ">99.9 %"
    return f"{share:.1f}".rstrip("0").rstrip(".") + " %"


def formatted(value: Any, limits: Limits, digits: int = 6) -> str:
    """Return one value as it stands in a card. digits: of a number that is not whole."""
    match plain(value):
        case None:
            return "null"
        case bool() as flag:
            return str(flag).lower()
        case int() as number:
            return str(number) if number.bit_length() <= 200 else f"an integer of {number.bit_length()} bits"
        case float() as number:
            return f"{number:.0f}" if number.is_integer() and abs(number) < 1e15 else f"{number:.{digits}g}"
        case dt.datetime() as moment:
            return moment.isoformat(sep=" ", timespec="auto").removesuffix(" 00:00:00")
        case dt.date() | dt.time() as day:
            return day.isoformat()
        case str() as text:
            return f'"{limits.short(text)}"'
    is_plain = isinstance(value, dt.timedelta | Decimal) or type(value).__module__.startswith("pandas")
    return limits.short(str(value) if is_plain else value)
