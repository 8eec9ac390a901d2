"""Texts that hold dates or numbers, as a CSV's columns often do: what they hold, and its range."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..named_tuple import NamedTuple
from ..text import lazy_pattern

LOOKED_AT = 20_000  # distinct texts that are read
TRIED = 50  # of them that must be read before the others are
ENOUGH = 0.9  # share of the values that must be read

_NUMBER = lazy_pattern(
    r"[-+−(]?\s?[$€£¥]?\s?(\d{1,3}(?:[ ,'’\u00a0\u202f]\d{3})+|\d+)?([.,]\d+)?([eE][-+]?\d+)?\s?[$€£¥%]?\)?"
)
_DATE = lazy_pattern(r"\d[/.:-]\d|\d{8}|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ -]\d")
_DIGITS = lazy_pattern(r"\D")
_DECIMAL_COMMA = lazy_pattern(r"^[^,]*\d,(?:\d{1,2}|\d{4,})(?!\d)[^,]*$")
_FORMATS = (
    "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y", "%Y-%m",
    "%b %d %Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y",
    "%d-%b-%Y", "%d-%b-%y", "%b-%y",
    "%b %Y", "%B %Y", "%Y%m%d", "%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%H:%M", "%H:%M:%S",
)  # fmt: skip


class Held(NamedTuple):
    """What texts hold. kind: "dates" or "numbers".        low, high: the texts that hold the least and the greatest.

    form: how dates are written, "" for ISO 8601.        others: texts that hold none of it.
    is_part: whether only some of the texts were read.
    """

    kind: str
    low: str
    high: str
    form: str = ""
    others: tuple[str, ...] = ()
    is_part: bool = False


def held_in(counts: Counter[str]) -> Held | None:
    """Return what most of the texts hold; None where they are only texts."""
    texts = list(counts)[:LOOKED_AT]
    some = texts[:TRIED]
    if len(some) < 2:
        return None
    read = _comma_number if any(map(_DECIMAL_COMMA.search, texts)) else _number
    if _share(some, counts, read) >= ENOUGH and not all(len(text) == 8 and _date("%Y%m%d")(text) for text in some):
        return _held("numbers", texts, counts, read, "")
    if _share(some, counts, _iso) >= ENOUGH:
        return _held("dates", texts, counts, _iso, "")
    if not any(map(_DATE.search, some[:3])):
        return None
    fitting = [
        form for form in _FORMATS if any(map(_date(form), some[:3])) and _share(some, counts, _date(form)) >= ENOUGH
    ]
    best = [held for form in fitting if (held := _held("dates", texts, counts, _date(form), form))]
    fewest = min((len(held.others) for held in best), default=0)
    best = [held for held in best if len(held.others) == fewest]
    return best[0]._replace(form=" or ".join(held.form for held in best)) if best else None


def _share(texts: list[str], counts: Counter[str], read: Callable[[str], Any]) -> float:
    return sum(counts[text] for text in texts if read(text) is not None) / sum(counts[text] for text in texts)


def _held(kind: str, texts: list[str], counts: Counter[str], read: Callable[[str], Any], form: str) -> Held | None:
    values = {text: value for text in texts if (value := read(text)) is not None}
    others = tuple(text for text in texts if text not in values)
    if _share(texts, counts, values.get) < ENOUGH:
        return None
    try:
        low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    except TypeError:  # some have a zone, and some have not
        return None
    return Held(kind, low.strip(), high.strip(), form, others, len(texts) < len(counts))


def _number(text: str) -> float | None:
    text = text.strip()
    match = _NUMBER.fullmatch(text) if 0 < len(text) <= 30 else None
    if match is None or not (match[1] or match[2]):
        return None
    number = float(f"{_DIGITS.sub('', match[1] or '0')}{(match[2] or '').replace(',', '.')}{match[3] or ''}")
    return -number if text[0] in "-−(" else number


def _comma_number(text: str) -> float | None:
    """Read a number whose comma is before its decimals, as `1.234,5`."""
    return _number(text.replace(".", "").replace(",", ".")) if "," in text else _number(text)


def _iso(text: str) -> dt.datetime | None:
    text = text.strip()
    if not (10 <= len(text) <= 35 and text[4] == "-" and text[7] == "-"):
        return None
    try:
        return dt.datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text))
    except ValueError:
        return None


def _date(form: str) -> Callable[[str], dt.datetime | None]:
    def read(text: str) -> dt.datetime | None:
        try:
            moment = dt.datetime.strptime(text.strip(), form)
        except ValueError:
            return None
        return moment if 1800 <= moment.year <= 2200 or "%H" in form else None

    return read
