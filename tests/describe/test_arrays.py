"""Arrays: exact figures of all elements, a line for each column of a matrix of few, and xarray's variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray

from comet_magic.describe.description import Limits
from comet_magic.describe.registry import describe


def text(value: Any, **bounds: Any) -> str:
    return describe(value, Limits(**bounds))[0].text


def line(value: Any, start: str = "elements") -> str:
    """Return the cells of the line about one part."""
    found = next(line for line in text(value).splitlines() if line.startswith(f"{start} ("))
    return found.split(")|", 1)[1]


def test_a_small_array_is_shown_whole() -> None:
    small = text(np.array([[1.0, 2.0], [np.nan, 4.0]]))
    assert small.startswith("shape (2 × 2), dtype float64\n")
    assert "\nelements (float64)|1 (25 %)|all 3|1|1.5|2|3|4|2.3333|1.5275|0\n" in small
    assert "values: [[ 1.  2.]" in small
    assert "values:" not in text(np.arange(5), share_values=False)
    assert describe(np.zeros((3, 4, 5)), Limits())[0].label == "3 × 4 × 5"
    assert text(np.float64(2.5)) == "2.5"
    assert text(np.int64(7)) == "7"
    assert "shape (0)" in text(np.array([]))
    assert text(np.arange(10).reshape(2, 5)[:, ::2]).startswith("shape (2 × 3)")


def test_figures_are_of_all_elements_and_of_each_column() -> None:
    rgba = np.zeros((1000, 1000, 4), np.uint8)
    rgba[..., 1], rgba[..., 3] = 128, 255
    assert line(rgba).startswith("0|")
    assert line(rgba) == "0|3|0 ×2000000, 128 ×1000000, 255 ×1000000; mean 95.75"
    assert line(rgba, "[:, :, 1]") == "0|1|128 ×1000000; mean 128"
    points = np.column_stack([np.full(1_000_000, 8.0), np.arange(1_000_000.0)])
    assert "|999999|250004|" in line(points)
    assert line(points, "[:, 0]") == "0|1|8 ×1000000; mean 8"
    assert line(points, "[:, 1]") == "0|1000000|0|250000|500000|749999|999999|500000|288675|1".replace(
        "|1000000|", "|all 1000000|"
    )
    nans = np.ones((1_000_000, 2))
    nans[::2, 1] = np.nan
    assert line(nans).startswith("500000 (25 %)|")
    assert line(nans, "[:, 0]").startswith("0|1|")


def test_the_quartiles_of_what_is_too_large_are_of_elements_in_equal_parts() -> None:
    cells = line(np.arange(11_000_000)).split("|")
    assert [cells[2], cells[6], cells[7]] == ["0", "10999999", "5500000"]
    quartiles = [float(cell.removeprefix("~")) / 11_000_000 for cell in cells[3:6]]
    assert all(abs(found - true) < 0.002 for found, true in zip(quartiles, (0.25, 0.5, 0.75), strict=True))
    assert cells[3].startswith("~")


def test_odd_arrays_are_what_they_are() -> None:
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1, 2], [3, 4]])  # type: ignore[no-untyped-call]
    assert "|all 4|1|1.75|2.5|3.25|4|" in line(matrix)
    far = text(np.array(["20000-01-01", "2020-01-01"], "M8[s]"))
    assert "|2020-01-01||11010-01-01T00:00:00||20000-01-01T00:00:00" in far
    assert text(np.datetime64("20000-01-01")) == "20000-01-01"
    fields = np.array([(1, 2.5), (2, 9.75)], dtype=[("n", "i4"), ("x", "f8")])
    assert line(fields, "n") == "0|all 2|1|1.25|1.5|1.75|2|1.5|0.70711|0"
    assert line(fields, "x").endswith("|9.75|6.125|5.1265|0")
    assert line(np.ma.masked_less(np.arange(30_000), 5)).startswith("5 (<0.1 %)|29995|5|")  # type: ignore[no-untyped-call]
    infinite = np.array([1, np.inf, np.nan] * 20_000)
    assert line(infinite).startswith("20000 (33.3 %)|1|1 ×20000; mean 1")
    assert line(infinite).endswith("|20000 infinite")
    assert line(np.array([np.nan] * 30_000)) == "all"
    assert line(np.array([-128, 127] * 20_000, np.int8)).startswith("0|2|-128 ×20000, 127 ×20000")
    assert line(np.array([2**64 - 1, 5] * 20_000, np.uint64)).startswith("0|2|")
    assert line(np.array([True, False] * 20_000)) == "0|2|true ×20000, false ×20000"
    assert "(1+2j)" in line(np.array([1 + 2j, 3]))
    assert line(np.arange("2020", "2030", dtype="M8[D]")).endswith("|every 1 day, without a gap")
    assert line(np.array([1, 2], dtype=np.longdouble)).startswith("0|all 2|1")


def test_xarray_in_memory_has_figures_and_what_is_not_is_left_alone() -> None:
    values = xarray.DataArray(
        [[1.0, np.nan], [3, 40.5]], dims=("lat", "lon"), coords={"lat": [10.5, 20.5]}, name="t", attrs={"unit": "K"}
    )
    shown = text(values)
    assert shown.startswith("dimensions lat: 2, lon: 2\ncoordinate lat (lat) float64: 10.5 … 20.5\n")
    assert "\nvariable t (lat, lon) float64; unit = K\n" in shown
    assert "  elements (float64)|1 (25 %)|all 3|1|2|3|21.75|40.5|" in shown
    assert "40.5" in text(values.to_dataset())
    hidden = text(values, share_values=False)
    assert [value for value in ("10.5", "20.5", "40.5", "K") if value in hidden] == []
    assert "value: 1.5" in text(xarray.DataArray(1.5))
    assert "1.5" not in text(xarray.DataArray(1.5), share_values=False)
    hidden = text(xarray.Dataset({"password": ("x", ["hunter2"])}, attrs={"api_key": "plain-1"}))
    assert "hunter2" not in hidden
    assert "plain-1" not in hidden
    assert "hunter2" not in text(np.array([(1, "hunter2")], dtype=[("n", "i4"), ("password", "U9")]))
    tree = xarray.DataTree.from_dict({"/land": xarray.Dataset({"t2m": 1})})
    assert "group /land\n" in text(tree)
    lazy = values.chunk({"lat": 1})
    assert "40.5" not in text(lazy)
