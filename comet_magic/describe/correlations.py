"""Which columns of numbers go together: the strongest linear correlations, of the rows at hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

LEAST_ROWS = 10
LEAST = 0.5  # a weaker one says little
ROWS = 10_000  # that are looked at


def strongest(columns: Mapping[str, Sequence[Any]]) -> list[tuple[str, str, float]]:
    """Return (column, column, Pearson's r) of all pairs that go together, the strongest first.

    columns: of numbers or moments. A pair counts the rows in which both have one. [] without NumPy, or of few rows.
    """
    names = list(columns)
    if len(names) < 2 or len(columns[names[0]]) < LEAST_ROWS:
        return []
    try:
        import numpy
    except ImportError:
        return []
    table = numpy.array([_numbers(values[:ROWS], numpy) for values in columns.values()])
    r = _correlations(table, numpy)
    upper = numpy.argwhere(numpy.triu(numpy.abs(r) >= LEAST, 1))
    pairs = [(names[one], names[other], float(r[one, other])) for one, other in upper]
    return sorted(pairs, key=lambda pair: -abs(pair[2]))


def _numbers(values: Sequence[Any], numpy: Any) -> Any:
    first = next((value for value in values if value is not None), None)
    try:
        if not isinstance(first, dt.date):
            return numpy.array(values, dtype=float)
        moments = numpy.array(values, dtype="datetime64[us]")
        return numpy.where(numpy.isnat(moments), numpy.nan, moments.astype(numpy.int64) / 1e6)
    except (TypeError, ValueError, OverflowError):  # missing values of pandas' own, and what no float holds
        return numpy.array([_number(value) for value in values])


def _number(value: Any) -> float:
    if isinstance(value, dt.date) and value == value:  # pandas' NaT is a date that is not
        moment = value if isinstance(value, dt.datetime) else dt.datetime(value.year, value.month, value.day)
        return (
            float(moment.toordinal() * 86_400 + moment.hour * 3600 + moment.minute * 60 + moment.second)
            + moment.microsecond / 1e6
        )
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _correlations(table: Any, numpy: Any) -> Any:
    """Return the matrix of correlations, 0 where there is none."""
    there = numpy.isfinite(table)
    count = there.sum(axis=1, keepdims=True)
    with numpy.errstate(all="ignore"):
        mean = numpy.where(there, table, 0).sum(axis=1, keepdims=True) / count
        centered = numpy.where(there, table - mean, 0)
        scale = numpy.abs(centered).max(axis=1, keepdims=True)
        centered = centered / numpy.where(scale > 0, scale, 1)
        there = there.astype(float)
        both = there @ there.T
        sums, squares = centered @ there.T, (centered**2) @ there.T
        products = centered @ centered.T
        covariance = products - sums * sums.T / both
        spread = (squares - sums**2 / both) * (squares.T - sums.T**2 / both)
        r = covariance / numpy.sqrt(spread)
    # Of a column that does not vary, rounding leaves something like a correlation.
    varies = (squares - sums**2 / numpy.maximum(both, 1)) > 1e-9 * numpy.maximum(squares, 1e-300)
    return numpy.where((both >= LEAST_ROWS) & varies & varies.T & numpy.isfinite(r), numpy.clip(r, -1, 1), 0)
