"""One value → a few characters, as they stand in a card."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

from ..named_tuple import NamedTuple
from .dependencies import plain
from .description import CELL, Limits

WHOLE_FLOATS = 1e15  # below it a float that is whole is written as such
PLACES = 9  # most decimal places; a column that needs more is written with exponents


def is_null(value: Any) -> bool:
    """Return whether a value is None, or not equal to itself, as NaN, NaT and NA are."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except Exception:  # noqa: BLE001  # arrays, Decimal's signalling NaN, a user's class; pandas' NA says nothing
        return type(value).__name__ in ("NAType", "Decimal")


def percent(part: int, whole: int) -> str:
    """Return `3.1 %`; never 0 % or 100 % for what is not."""
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1 %"
    if 99.9 < share < 100:
        return ">99.9 %"
    return f"{share:.1f}".rstrip("0").rstrip(".") + " %"


class Scale(NamedTuple):
    """How the numbers of one column are written: with as many digits as tell its values apart.

    center, spread: where most of them are, and how far apart.
    """

    center: float = 0.0
    spread: float = 0.0

    @classmethod
    def of(cls, low: Any, q1: Any, median: Any, q3: Any, high: Any) -> Scale:
        try:
            spread = float(q3) - float(q1) or float(high) - float(low)
            scale = cls(float(median), abs(spread))
        except (TypeError, ValueError, ArithmeticError):  # integers that no float can hold
            return cls()
        return scale if all(map(math.isfinite, scale)) else cls()

    def written(self, number: float, digits: int) -> str:
        """Return the number with so many digits of the spread or, far from the others, of its distance to them."""
        if not math.isfinite(number) or number == 0:
            return f"{number:g}"
        if number.is_integer() and abs(number) < WHOLE_FLOATS:
            return f"{number:.0f}"
        distance = max(self.spread, abs(number - self.center)) if self.spread else abs(number)
        places = digits - 1 - math.floor(math.log10(distance))
        if abs(number) >= WHOLE_FLOATS or places > PLACES:
            return f"{number:.{max(digits, digits + math.floor(math.log10(abs(number) / distance)))}g}"
        text = f"{number:.{max(0, places)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return f"{number:.2g}" if text in ("0", "-0") else text


NO_SCALE = Scale()


def formatted(value: Any, limits: Limits, digits: int = 6, scale: Scale = NO_SCALE, characters: int = CELL) -> str:
    """Return one value as it stands in a card. digits: of a number that is not whole.  characters: of a text."""
    match plain(value):
        case None:
            return "null"
        case bool() as flag:
            return str(flag).lower()
        case int() as number:
            return str(number) if number.bit_length() <= 200 else f"an integer of {number.bit_length()} bits"
        case float() as number:
            return scale.written(number, digits)
        case dt.datetime() as moment:
            return moment.isoformat(sep=" ", timespec="auto").removesuffix(" 00:00:00")
        case dt.date() | dt.time() as day:
            return day.isoformat()
        case str() as text:
            return f'"{limits.short(text, characters)}"'
    home = type(value).__module__
    is_plain = isinstance(value, dt.timedelta | Decimal) or home.startswith("pandas") or home == "numpy"
    return limits.short(str(value) if is_plain else value, characters)
