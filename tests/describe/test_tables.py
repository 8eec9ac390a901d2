"""A table becomes a card: of any library, whatever is in it, within its bound, and the same each time."""

from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import dask.dataframe
import duckdb
import narwhals
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comet_magic.describe import frames
from comet_magic.describe.description import Limits
from comet_magic.describe.question import question
from comet_magic.describe.tables import is_table, table
from comet_magic.messages.tokens import estimated_tokens
from comet_magic.settings import CometSettings
from comet_magic.text import many

ROOT = Path(__file__).parents[2]
DAYS = [dt.datetime(2024, 1, 1) + dt.timedelta(days=day) for day in range(6)]
SALES = {
    "city": ["Oslo", "Bergen", "Oslo", None, "Oslo", "Bergen"],
    "price": [1.5, 2.5, None, 4.0, 5.0, 40.25],
    "count": [1, 2, 3, 4, 5, 6],
    "paid": [True, False, True, True, True, False],
    "day": DAYS,
}
MAKERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
    "duckdb": lambda columns: duckdb.from_arrow(pa.table(columns)),
    "narwhals": lambda columns: narwhals.from_native(pl.DataFrame(columns)),
}


def card(value: Any, **bounds: Any) -> str:
    return table(value, Limits(**bounds)).text


def line(text: str, column: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"{column} ("))


@pytest.mark.parametrize("library", MAKERS)
def test_every_library_gives_the_same_figures(library: str) -> None:
    text = card(MAKERS[library](SALES))
    assert text.startswith("6 rows × 5 columns")
    dtypes = {"city", "price", "count", "paid", "day"}
    facts = {name: line(text, name).split(")|", 1)[1] for name in dtypes}
    assert facts == {
        "city": '1 (16.7 %)|2|"Oslo" ×3, "Bergen" ×2',
        "price": "1 (16.7 %)|all 5|1.5|2.5|4|5|40.25|10.65|16.6016|0",
        "count": "0|all 6|1|2.25|3.5|4.75|6|3.5|1.8708|0",
        "paid": "0|2|true ×4, false ×2",
        "day": "0|all 6|2024-01-01||2024-01-03 12:00:00||2024-01-06|every 1 day, without a gap",
    }
    head = text.splitlines().index(f"all rows: row|{'|'.join(SALES)}")
    assert text.splitlines()[head + 4] == "3|null|4|4|true|2024-01-04"
    assert len(text.splitlines()[head + 1 :]) == 6
    many_rows = MAKERS[library]({name: values * 20 for name, values in SALES.items()})
    assert "5 rows, chosen by a seed: row|" in card(many_rows)
    assert " · 114 rows repeat an earlier one" in card(many_rows)


def test_lazy_frames_give_their_schema_and_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr(pl.LazyFrame, "collect", refuse)
    monkeypatch.setattr(type(dask.dataframe.from_dict({"a": [1]}, npartitions=1)), "compute", refuse)
    lazy = card(pl.LazyFrame(SALES).map_batches(refuse, schema={"city": pl.String, "price": pl.Float64}))
    assert "it is lazy, and was not computed" in lazy
    assert "price (Float64)" in lazy
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distributed = card(dask.dataframe.from_pandas(pd.DataFrame(SALES), npartitions=2))
        assert "count (int64)" in distributed
        assert "price (float64)" in card(dask.dataframe.from_pandas(pd.DataFrame(SALES), npartitions=2).price)
    assert "1 row" not in distributed


@pytest.mark.parametrize(
    "value",
    [pd.Series([1, 2, 3], name="n"), pl.Series("n", [1, 2, 3]), pa.chunked_array([[1, 2], [3]]), pd.Series([1, 2, 3])],
)
def test_a_series_is_a_table_of_one_column(value: Any) -> None:
    described = table(value, Limits())
    assert described.label.startswith("3 values, card of ")
    assert "|0|all 3|1|1.5|2|2.5|3|2|1|0" in described.text


def test_a_record_batch_is_a_table() -> None:
    assert "2 rows × 1 column" in card(pa.record_batch({"a": [1, 2]}))


def test_other_things_are_no_tables() -> None:
    assert not any(map(is_table, (5, "x", [1], {"a": [1]}, np.arange(3), pd, pd.DataFrame, pd.Index([1]), duckdb)))


# ---- odd frames


def test_names_may_be_anything_and_the_same_twice() -> None:
    frame = pd.DataFrame([[1, 2, 3, 4, 5]], columns=["x", "x", 7, None, ("a", 1)])
    text = card(frame)
    starts = [line.split(" (")[0] for line in text.splitlines()[2:7]]
    assert starts == ["x [1]", "x [2]", "7", "None" if "\nNone" in text else "nan", "a / 1"]
    assert list(frame.columns)[:2] == ["x", "x"]
    assert "\nx [2] (int64)|" in card(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]))


def test_an_index_that_says_something_is_said() -> None:
    frame = pd.DataFrame({"v": [1.0, 2.0]}, index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", "n"]))
    text = card(frame)
    assert "index: k (2 distinct), n (2 distinct) MultiIndex · unique · from a / 1 to b / 2" in text
    assert "\na / 1|1\n" in text
    days = card(
        pd.DataFrame({"v": range(3)}, index=pd.date_range("2024-01-01", periods=3, tz="Europe/Oslo", name="day"))
    )
    assert "index: day DatetimeIndex (datetime64[" in days
    assert "from 2024-01-01 00:00:00+01:00 to 2024-01-03 00:00:00+01:00" in days
    assert "index:" not in card(pd.DataFrame({"v": [1]}))
    columns = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])
    assert "\na / y (int64)|" in card(pd.DataFrame([[1, 2]], columns=columns))


def test_odd_columns() -> None:
    frame = pd.DataFrame(
        {
            "mixed": [1, "a", 2.5, None], "nested": [[1], [1, 2], None, [3]], "dicts": [{"a": 1}, {}, None, {"b": 2}],
            "nothing": [None] * 4, "infinite": [1.0, math.inf, -math.inf, math.nan], "big": [10**30, 1, 2, 3],
            "money": [Decimal("1.10"), Decimal("2.20"), None, Decimal("3.30")], "zones": pd.Series(DAYS[:4]).dt.tz_localize("UTC"),
            "category": pd.Categorical(["b", "a", None, "b"]), "period": pd.period_range("2024", periods=4, freq="M"),
            "long": ["x" * 5000, "y", "z", "é\n\t\x00"], "bytes": [b"\0\1", b"", None, b"x"], "complex": [1j, 2, 3, 4],
            "times": [dt.time(1), dt.time(2), None, dt.time(3)], "spans": pd.to_timedelta([1, 2, 3, None], "h"),
            "aware and not": [DAYS[0], DAYS[1].replace(tzinfo=dt.timezone.utc), None, DAYS[2]],
            "interval": pd.interval_range(0, 4), "int": pd.array([1, 2, None, 3], dtype="Int64"),
        }
    )  # fmt: skip
    text = card(frame, table_tokens=5000)
    assert "mixed: int 33.3 %, str 33.3 %, float 33.3 %" in line(text, "mixed")
    assert "|1 (25 %)||list 100 %; 1 … 2 items; e.g. [1]" in line(text, "nested")
    assert line(text, "nothing").endswith("(object)|all")
    assert "|1 (25 %)|all 3|1|1|1|1|1|1||0|2 infinite" in line(text, "infinite")
    assert "|all 4|1|" in line(text, "big")
    assert f"|{10**30}|" in line(text, "big")
    assert "|1.10|" in line(text, "money")
    assert "|3.30|" in line(text, "money")
    assert "|2024-01-01 00:00:00+00:00||2024-01-02 12:00:00+00:00||2024-01-04 00:00:00+00:00|" in line(text, "zones")
    assert '"b" ×2, "a" ×1' in line(text, "category")
    assert "(5,000 characters)" in line(text, "long")
    assert "|1|1.5|2|2.5|3|2|1|0" in line(text, "int")
    assert "|01:00:00||02:00:00||03:00:00" in line(text, "times")
    assert "|2024-01||2024-02||2024-04" in line(text, "period")
    assert "|(0, 1]||||(3, 4]" in line(text, "interval")
    assert "mixed" not in line(text, "complex")
    assert "\x00" not in text


@pytest.mark.parametrize(
    "frame", [pd.DataFrame(), pl.DataFrame(), pa.table({}), pd.DataFrame({"a": []}), pd.DataFrame(index=range(3))]
)
def test_empty_frames(frame: Any) -> None:
    assert " × " in card(frame).splitlines()[0]


def test_thousands_of_columns_degrade_column_by_column() -> None:
    frame = pd.DataFrame(np.zeros((10, 5000)), columns=[f"column_{n}" for n in range(5000)])
    described = table(frame, Limits())
    assert estimated_tokens(described.text) <= 1500
    lines = described.text.splitlines()
    in_full = [line for line in lines if line.endswith(" (float64)|0|1|0 ×10; mean 0")]
    # The last column is most often what a data set is about.
    assert [line.split(" ")[0] for line in in_full[:3]] == ["column_4999", "column_0", "column_1"]
    more = next(line for line in lines if "more columns, for want of room without figures: " in line)
    named = more.count("column_")
    assert more.startswith(f"{named} more columns")
    last = next(line for line in lines if line.startswith("… and "))
    assert f"… and {5000 - len(in_full) - named:,} more columns not named here: float64 × " in last
    assert described.label.startswith("10 × 5,000, card of ")


def test_a_bound_is_kept() -> None:
    for tokens in (100, 200, 500, 1500, 4000):
        assert estimated_tokens(card(pd.DataFrame(SALES), table_tokens=tokens)) <= tokens


# ---- large frames


LARGE = 40_000


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "duckdb"])
def test_a_large_frame_says_what_is_exact_and_what_is_of_a_sample(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = np.arange(LARGE, dtype="float64")
    numbers[7] = np.nan
    words = [None if n == 5 else f"word {n % 7}" for n in range(LARGE)]
    columns: dict[str, Any] = {**{f"n{n}": numbers for n in range(17)}, "w": words}
    frame = MAKERS[library](columns if library == "pandas" else pa.table(columns).to_pydict())
    text = card(frame, table_tokens=4000)
    # All of it is exact, the one null and the quartiles, too.
    assert line(text, "n3").split(")|", 1)[1] == "1 (<0.1 %)|39999|0|10000|20000|30000|39999|20000|11547|1"
    assert ")|1 (<0.1 %)|7|" in line(text, "w")
    assert '"word 0" ×5715' in line(text, "w")
    monkeypatch.setattr(frames, "COUNTED", 0)
    text = card(frame, table_tokens=4000)
    how = "of blocks chosen by a seed" if library == "duckdb" else "250 seeded runs of 40 rows"
    assert f"are of a sample of 10,000 rows ({how})." in text
    # Exact: the one null, which few samples would meet, both ends and the mean.
    cells = line(text, "n3").split("|")[1:]
    assert [cells[0], cells[2], cells[6], cells[7]] == ["1 (<0.1 %)", "0", "39999", "20000"]
    assert all(cell.startswith("~") for cell in cells[3:6])
    quartiles = [float(cell[1:]) for cell in cells[3:6]]
    assert quartiles == pytest.approx([LARGE / 4, LARGE / 2, LARGE * 3 / 4], abs=LARGE / 100)
    assert ")|1 (<0.1 %)|≥7|" in line(text, "w")
    assert "~14." in line(text, "w")


def test_what_costs_too_much_is_of_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "SCANNED", 4 * LARGE)
    frame = pd.DataFrame({f"n{n}": np.arange(LARGE) for n in range(20)})
    text = card(frame)
    assert "~" not in line(text, "n2")
    assert "|~0|≥10000|~" in line(text, "n3")
    assert "~" not in line(text, "n19")  # the last one comes first


@pytest.mark.parametrize("rows", [8_334, 9_999, 10_001])
def test_wide_tables_that_are_just_too_large(rows: int) -> None:
    assert f"{rows:,} rows × 70 columns" in card(pd.DataFrame(np.zeros((rows, 70))))


def test_the_same_frame_gives_the_same_card() -> None:
    frame = pd.DataFrame({f"n{n}": np.random.default_rng(n).normal(size=LARGE) for n in range(20)})
    assert card(frame) == card(frame.copy())
    assert card(pd.DataFrame({"o": [object(), object()]})) == card(pd.DataFrame({"o": [object(), object()]}))


def test_exact_figures_are_exact() -> None:
    large = pd.DataFrame({"id": np.arange(600_000) + 1234567890123456789, "f": np.arange(600_000.0)})
    assert "|1234567890123456789|" in line(card(large), "id")
    assert "|1234567890124056788|" in line(card(large), "id")
    used = pd.DataFrame({"k": range(1000), "j": 1, "v": 0}).set_index(["k", "j"]).head(2)
    assert "index: k (2 distinct), j (1 distinct)" in card(used)


def test_long_names_stay_within_their_lines() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=["x" * 5000, "line\n- fake (int64) · 5 nulls"])
    text = card(frame)
    assert text.startswith("2 rows × 1 column")
    assert "\n- fake" not in text
    assert "\nfake" not in text


def test_a_pivot_table_says_what_its_columns_are() -> None:
    frame = pd.crosstab(pd.Series(["a", "b"], name="origin"), pd.Series([4, 8], name="cylinders"))
    assert "columns named cylinders" in card(frame)


def test_one_column_that_fails_is_alone() -> None:
    spans = pa.array(np.arange(LARGE), pa.duration("s"))
    large = card(pa.table({"d": spans, **{f"n{n}": np.arange(LARGE) for n in range(16)}}))
    assert "|0|10000|20000|29999|39999|" in line(large, "n1")
    assert "a [2] (INTEGER)" in card(duckdb.sql("select 1 as a, 2 as a"))
    frame = pd.DataFrame({f"n{n}": np.arange(LARGE) for n in range(20)})
    frame.attrs["array"] = np.arange(3)
    assert "|39999|" in line(card(frame), "n1")


def test_long_texts_and_nested_values_are_sampled_sooner() -> None:
    nested = pl.DataFrame({"e": [[0.5] * 1000] * 3000})
    assert "of a sample of " in card(nested)
    long = pd.DataFrame({"t": ["x" * 20_000] * 3000})
    assert "of a sample of " in card(long)


# ---- room, digits, and what questions need


def test_thirty_columns_of_numbers_have_figures_within_the_default_bound() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({f"measure number {n}": random.normal(100, 10 ** (n % 5), 1000) for n in range(30)})
    frame["target"] = random.integers(0, 2, 1000)
    text = card(frame)
    assert estimated_tokens(text) <= Limits().table_tokens
    assert all(len(line(text, name).split("|")) == 11 for name in frame.columns[:-1])
    assert line(text, "target").startswith("target (int64)|0|2|")
    assert " ×" in line(text, "target")


def test_what_the_question_names_comes_first_then_the_last_column() -> None:
    frame = pd.DataFrame(np.zeros((10, 500)), columns=[f"column_{n}" for n in range(500)])
    names = [row.split(" (")[0] for row in card(frame, about="Is column_321 odd? And column_7?").splitlines()[2:6]]
    assert names == ["column_7", "column_321", "column_499", "column_0"]


def test_the_head_says_how_many_rows_are_below() -> None:
    for rows in (1, 3, 50):
        for width in (2, 12, 25):
            text = card(pd.DataFrame({f"c{n}": [f"{n} {row}" for row in range(rows)] for n in range(width)}))
            told = [row for row in text.splitlines() if ": row|" in row]
            if told and not told[0].startswith("all rows"):
                below = text.splitlines()[text.splitlines().index(told[0]) + 1 :]
                assert told[0].startswith(many(len(below), "row"))


@pytest.mark.parametrize(
    ("values", "facts"),
    [
        ([1_700_000_000.5 + step for step in range(0, 3600, 60)], ["|1700000000.5|", "|1700003540.5|"]),
        ([59.9110 + step / 10_000 for step in range(60)], ["|59.911|", "|59.9169|"]),
        ([1234.56 + 17.31 * step for step in range(60)], ["|1234.56|", "|2255.85|"]),
        ([10**12 + step for step in range(60)], ["|1000000000000|", "|1000000000059|"]),
        ([1e-9 * step for step in range(1, 60)], ["|1e-09|", "|5.9e-08|"]),
        ([0.5] * 59 + [1e-7], ["1e-07 ×1"]),
    ],
)
def test_digits_tell_values_apart(values: list[float], facts: list[str]) -> None:
    text = line(card(pd.DataFrame({"v": values})), "v")
    assert [fact for fact in facts if fact not in text] == []


def test_medians_of_dates_and_spans_are_medians() -> None:
    days = pd.to_datetime(["2020-01-01"] * 30 + ["2021-01-01"] * 30)
    frame = pd.DataFrame({"when": days, "span": pd.to_timedelta([1] * 30 + [3] * 30, unit="h")})
    for value in (frame, pl.from_pandas(frame), pd.concat([frame] * 1000)):
        text = card(value)
        assert line(text, "when").split("|")[5] == "2020-07-02"
        assert line(text, "span").split("|")[5].endswith("2:00:00")


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (pd.date_range("2013-01-01", periods=500).strftime("%Y-%m-%d"), "dates as text: 2013-01-01 … 2014-05-15"),
        (
            pd.date_range("2013-01-01", periods=500).strftime("%d/%m/%Y"),
            "dates as text (%d/%m/%Y): 01/01/2013 … 15/05/2014",
        ),
        (["01/02/2020", "02/03/2020", "03/01/2020"], "dates as text (%d/%m/%Y or %m/%d/%Y): "),
        (pd.date_range("2013-01-01", periods=500).strftime("%b %d, %Y"), "(%b %d, %Y): Jan 01, 2013 … May 15, 2014"),
        (["20130101", "20130102", "20141231"], "dates as text (%Y%m%d): 20130101 … 20141231"),
        (["2020-01-01T10:00:00Z", "2021-01-01T10:00:00+01:00"], "dates as text: 2020-01-01T10:00:00Z … "),
        (["1,200", "$3.50", "99", "-7"] * 5, "numbers as text: -7 … 1,200"),
        (["12 %", "7.5 %", "100 %"] * 5, "numbers as text: 7.5 % … 100 %"),
        (["1,5", "2,25", "0,75"] * 5, "numbers as text: 0,75 … 2,25"),
        (["1,234", "12,5", "0,25", "100,75"], "numbers as text: 0,25 … 100,75"),
        (["1.234,5", "99,5"] * 5, "numbers as text: 99,5 … 1.234,5"),
        ([*map(str, range(200)), "?", "?"], 'numbers as text: 0 … 199, but for "?"'),
    ],
)
def test_texts_that_hold_dates_or_numbers_have_their_range(texts: Any, told: str) -> None:
    assert told in line(card(pd.DataFrame({"t": list(texts)})), "t")


def test_texts_are_texts() -> None:
    words = [f"city {n}" for n in range(100)] + ["may 5", "", " "]
    text = line(card(pd.DataFrame({"t": words})), "t")
    assert "as text" not in text
    assert "2 empty" in text


def test_categories_have_their_order_and_those_that_no_row_has() -> None:
    sizes = pd.Categorical(["S", "M"] * 250, categories=["XS", "S", "M", "XXL"], ordered=True)
    places = pd.Categorical(["a", "b"] * 250, categories=["c", "b", "a"])
    frame = pd.DataFrame({"size": sizes, "place": places})
    for value in (frame, pd.concat([frame] * 100)):
        text = card(value)
        assert '"XS" < "S" < "M" < "XXL"; "' in line(text, "size")
        assert 'unused: "c"; ' in line(text, "place")
    assert "XXL" not in card(frame, share_values=False)
    enum = pl.DataFrame({"e": pl.Series(["a", "b"] * 30, dtype=pl.Enum(["b", "a", "c"]))})
    assert '"b" < "a" < "c"' in line(card(enum), "e")


def test_all_levels_up_to_twenty_are_named() -> None:
    frame = pd.DataFrame({"month": [n % 12 + 1 for n in range(240)], "word": [f"w{n % 20}" for n in range(240)]})
    text = card(frame)
    assert line(text, "month").count("×20") == 12
    assert line(text, "word").count("×12") == 20


def test_duplicate_rows_are_counted() -> None:
    frame = pd.DataFrame({"a": [1, 1, 2], "b": ["x", "x", "y"]})
    assert " · 1 row repeats an earlier one" in card(frame)
    assert " · no row repeats another" in card(frame.drop_duplicates())
    assert "repeat" not in card(pd.DataFrame({"a": [[1], [1]], "b": [1, 1]}))


def test_the_strongest_correlations_are_told() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    frame = pd.DataFrame(
        {"x": x, "y": -2 * x + random.normal(size=300) / 10, "noise": random.normal(size=300), "one": 1.0}
    )
    frame.loc[:50, "y"] = np.nan
    r = frame.x.corr(frame.y)
    for value in (frame, pl.from_pandas(frame), pa.table(frame)):
        assert f"strongest correlations: x and y {r:.2f}\n" in card(value)


def test_an_index_of_moments_has_its_step() -> None:
    frame = pd.DataFrame({"v": range(100)}, index=pd.date_range("2024-01-01", periods=100, freq="h"))
    assert "every 1:00:00, without a gap" in card(frame).splitlines()[0]
    assert "every 1:00:00, with 1 exception" in card(frame.drop(frame.index[40])).splitlines()[0]


def test_classes_that_are_made_from_a_library_s_are_tables() -> None:
    class GeoSeries(pd.Series):
        pass

    class Frame(pd.DataFrame):
        @property
        def _constructor(self) -> Any:
            raise TypeError("only whole")

    assert "|1 (33.3 %)|all 2|1|" in card(GeoSeries([1.0, 2.0, None], name="geometry"))
    assert "2 rows × 1 column" in card(Frame({"a": [1, 2]}))


class Places(pd.DataFrame):
    """As geopandas' frames are: with a coordinate system and bounds."""

    crs = "EPSG:25833"
    total_bounds = (5.0, 58.0, 11.0, 71.0)


def test_coordinates_and_bounds_are_told() -> None:
    assert "coordinates EPSG:25833 · bounds 5 58 11 71" in card(Places({"v": [1, 2]}))
    assert "bounds" not in card(Places({"v": [1, 2]}), share_values=False)


def test_columns_that_are_named_like_secrets_are_hidden() -> None:
    users = pd.DataFrame(
        {
            "user": ["ann", "bob"],
            "password": ["swordfish99", "Tr0ub4dor&3"],
            "api_key": ["plain1", "plain2"],
            "tokens": [5, 6],
        }
    )
    text = card(users)
    assert [value for value in ("swordfish99", "Tr0ub4dor", "plain1") if value in text] == []
    assert "[redacted]" in line(text, "password")
    assert "|5|5.25|5.5|" in line(text, "tokens")


def test_no_dtype_and_no_pivoted_name_shows_a_value() -> None:
    sparse = pd.DataFrame({"salary": pd.arrays.SparseArray([987654, 987654, 1], fill_value=987654)})
    assert "987654" not in card(sparse, share_values=False)
    pivoted = pd.crosstab(pd.Series(["a", "b"], name="origin"), pd.Series(["Alice", "Bob"], name="who"))
    assert "Alice" not in card(pivoted, share_values=False)
    assert "Alice" in card(pivoted)


def test_quartiles_of_ordered_rows_are_near() -> None:
    frame = pd.DataFrame({"t": np.arange(11_000_000)})
    cells = line(card(frame), "t").split("|")
    quartiles = [float(cell.removeprefix("~")) / len(frame) for cell in cells[4:7]]
    assert cells[4].startswith("~")
    assert all(abs(found - true) < 0.003 for found, true in zip(quartiles, (0.25, 0.5, 0.75), strict=True))


# ---- what was found wrong, each a kind of its own


def test_what_is_rare_in_a_large_table_is_told() -> None:
    few = np.full(300_000, np.nan)
    few[[5, 6, 7]] = 1.0, 2.0, 5.0
    far = np.arange(300_000.0)
    far[[500, 7]] = np.inf, -np.inf
    for maker in (pd.DataFrame, pl.DataFrame):
        text = card(maker({"few": few if maker is pd.DataFrame else [None if v != v else v for v in few], "far": far}))
        assert line(text, "few").endswith("|299997 (>99.9 %)|3|1|1.5|2|3.5|5|2.6667|2.0817|0")
        assert line(text, "far").endswith("|1 (<0.1 %)|2 infinite") or line(text, "far").endswith("|1|2 infinite")
        assert "|0|75001|" in line(text, "far")
    words = pl.DataFrame({"w": [None] * 299_997 + ["a", "b", "b"], "e": [""] * 299_999 + ["zzz"]})
    assert line(card(words), "w").endswith('|299997 (>99.9 %)|2|"b" ×2, "a" ×1')
    assert "|0|2|299999 empty; " in line(card(words), "e")


@pytest.mark.parametrize("maker", [pd.DataFrame, lambda columns: pl.from_pandas(pd.DataFrame(columns))])
def test_moments_of_a_zone_are_those_of_the_world_s_clock(maker: Callable[[Any], Any]) -> None:
    for start, end, count in (("2024-10-26", "2024-10-29", 74), ("2024-03-30", "2024-04-02", 72)):
        hours = pd.date_range(start, end, freq="h", tz="Europe/Berlin")
        assert f"|0|all {count}|" in card(maker({"t": hours}))
        assert "every 1:00:00, without a gap" in card(maker({"t": hours}))
    for zone in ("America/New_York", "Europe/Berlin"):
        minutes = pd.Series(pd.date_range("2024-01-01", "2024-08-31", freq="min", tz=zone))
        cells = line(card(maker({"t": minutes})), "t").split(")|")[1].split("|")
        assert cells[1] == f"all {len(minutes)}"
        assert cells[4] == str(minutes.median()).removesuffix(" 00:00:00")


def test_single_precision_and_arrow_s_nan_are_as_they_should_be() -> None:
    values = np.random.default_rng(0).normal(1000, 3, 100_000)
    for dtype in ("float32", "Float32"):
        column = pd.Series(values).astype(dtype)
        mean = column.astype("float64").mean()
        assert f"|{mean:.3f}".rstrip("0") in line(card(pd.DataFrame({"x": column})), "x")
    mixed = pd.Series([1.0, math.nan, None] * 50_000).astype("double[pyarrow]")
    assert line(card(pd.DataFrame({"x": mixed})), "x").endswith("|100000 (66.7 %)|1|1 ×50000; mean 1")


def test_what_costs_much_is_left() -> None:
    began = time.perf_counter()
    card(pd.DataFrame({"x": [[n] for n in range(100_000)]}))
    card(pd.DataFrame({"x": [{"a": n} for n in range(60_000)]}))
    wide = card(pd.DataFrame(np.zeros((10, 30_000))))
    assert "… and " in wide
    assert time.perf_counter() - began < 60  # it was minutes


def test_a_column_of_infinite_values_alone() -> None:
    for rows in (5, 100_000):
        for frame in (pd.DataFrame({"x": [math.inf] * rows}), pl.DataFrame({"x": [math.inf] * rows})):
            assert "infinite" in line(card(frame), "x")


def test_odd_values_do_not_refuse_the_card() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        __hash__ = object.__hash__

        def __len__(self) -> int:
            raise RuntimeError

    text = card(pd.DataFrame({"odd": [Odd()] * 3, "n": pd.Series([10**400, 1, 2], dtype=object)}))
    assert "|0|1|" in line(text, "odd")
    assert "|0|all 3|1|1.5|2|" in line(text, "n")
    spans = card(duckdb.sql("select interval (i) day d from range(60000) t(i)"))
    assert "|0|all 60000|0:00:00||29999 days, 12:00:00||59999 days, 0:00:00" in spans
    assert "24 days, 0:00:00" in card(duckdb.sql("select interval (i) day d from range(60) t(i)"))


def test_values_do_not_leave_by_other_names() -> None:
    secret = pd.DataFrame({"v": ["SECRETVAL"] * 3, "n": range(3)})
    row = secret.set_index("v").loc[["SECRETVAL"]].iloc[0]
    sparse = pd.arrays.SparseArray(np.array(["2077-01-01"] * 3, "M8[us]"), fill_value=np.datetime64("2077-01-01"))
    for value in (row, secret.set_index("v"), pd.DataFrame({"s": sparse})):
        text = card(value, share_values=False)
        assert "SECRETVAL" not in text
        assert "2077" not in text


def test_an_index_and_a_pivot_named_like_secrets_are_hidden() -> None:
    frame = pd.DataFrame({"password": ["hunter2", "swordfish"], "n": [1, 2]})
    assert "hunter2" not in card(frame.set_index("password"))
    assert "hunter2" not in card(frame.set_index(["password", "n"]).assign(m=1))
    assert "hunter2" not in card(frame.assign(k=1).pivot(index="k", columns="password", values="n"))
    assert "hunter2" not in card(frame.rename(columns={"password": "pwd"}))


# ---- values that must not leave


def test_without_values_there_are_schema_and_statistics_only() -> None:
    frame = pd.DataFrame(
        {
            "name": ["Alice", "Bob", "Carol", "Dave", "Erin", "Erin"], "pay": [12345.5, 23456.5, 34567.5, 45678.5, 56789.5, None],
            "one": [98765] * 6, "day": DAYS, "list": [["Zoe"]] * 6, "mixed": [1, "Mallory", None, 2, 3, 4],
        },
        index=["Frank", "Grace", "Heidi", "Ivan", "Judy", "Ken"],
    )  # fmt: skip
    text = card(frame, share_values=False)
    assert "Schema and statistics only; cell values are not shared." in text
    values = [str(value) for column in frame for value in frame[column].dropna()] + list(frame.index)
    assert [value for value in values if value in text and value not in ("1", "2", "3", "4")] == []
    assert "Zoe" not in text
    assert "2024" not in text
    assert "mean ≈ 3.5e+04" in line(text, "pay")
    enum = pl.DataFrame({"a": pl.Series(["ALICE"], dtype=pl.Enum(["ALICE", "BOB"]))})
    assert "ALICE" not in card(enum, share_values=False)
    assert "mean" not in line(text, "one")


# ---- whatever is in it

VALUES = [
    st.none(), st.integers(), st.integers(-3, 3), st.floats(), st.booleans(), st.text(max_size=20), st.text(min_size=200, max_size=300),
    st.just("{{boom}}"), st.datetimes(), st.dates(), st.times(), st.timedeltas(), st.decimals(allow_nan=False), st.binary(max_size=5), st.complex_numbers(),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.just(10**400),
    st.builds(object), st.fractions(), st.uuids(), st.just(pd.NaT), st.just(pd.NA), st.sampled_from(["</data>", "<data>"]),
]  # fmt: skip
NAMES = st.one_of(
    st.text(max_size=10), st.integers(), st.none(), st.tuples(st.text(max_size=3), st.integers()), st.just("same")
)


def inferred(column: pd.Series) -> pd.Series:
    try:
        return column.infer_objects()
    except OverflowError:  # pandas 2 cannot for the largest integers
        return column


@st.composite
def any_frames(draw: Any) -> pd.DataFrame:
    rows = draw(st.integers(0, 12))
    columns = draw(st.lists(st.tuples(NAMES, st.lists(st.sampled_from(VALUES), min_size=1, max_size=3)), max_size=8))
    made = [pd.Series([draw(draw(st.sampled_from(kinds))) for _ in range(rows)], dtype=object) for _, kinds in columns]
    made = [inferred(column) if draw(st.booleans()) else column for column in made]
    frame = pd.concat(made, axis=1) if made else pd.DataFrame(index=range(rows))
    frame.columns = pd.Index([name for name, _ in columns], dtype=object)
    return frame


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_frames(), st.sampled_from([100, 300, 1500]), st.booleans())
def test_a_frame_of_any_mix_has_a_card(frame: pd.DataFrame, tokens: int, share: bool) -> None:
    before = [str(name) for name in frame.columns]
    text = card(frame, table_tokens=tokens, share_values=share)
    assert estimated_tokens(text) <= tokens
    assert text.startswith(f"{many(len(frame), 'row')} × {many(frame.shape[1], 'column')}")
    assert [str(name) for name in frame.columns] == before
    assert card(frame, table_tokens=tokens, share_values=share) == text


@settings(max_examples=30, deadline=None)
@given(any_frames())
def test_no_value_of_a_frame_is_read_as_a_reference(frame: pd.DataFrame) -> None:
    asked = question("{{frame}} {{n}}", CometSettings.instance(), {"frame": frame, "n": 5})
    assert asked.message.text.endswith(" 5")
    assert asked.parts[0] == "your text"
    assert asked.parts[1].startswith("frame (")


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1), min_size=1, max_size=8),
        st.sampled_from([pl.Int8, pl.Float32, pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Duration, pl.Time, pl.List(pl.Int64),
                         pl.Struct({"a": pl.Int64}), pl.Categorical, pl.Decimal(10, 2), pl.Binary, pl.Null, pl.Enum(["a", "b"])]),
        max_size=8,
    ),
    st.integers(0, 3),
)  # fmt: skip
def test_every_dtype_of_polars_and_arrow_has_a_card(schema: dict[str, Any], nulls: int) -> None:
    frame = pl.DataFrame({name: pl.Series(name, [None] * nulls, dtype=dtype) for name, dtype in schema.items()})
    for value in (frame, frame.to_arrow()):
        assert f"× {many(len(schema), 'column')}" in card(value, table_tokens=3000)


# ---- the older pandas


@pytest.mark.timeout(300)
def test_the_same_with_pandas_2(tmp_path: Path) -> None:
    """This file's other tests, with pandas 2 before pandas 3 on the path."""
    if pd.__version__.startswith("2."):
        return
    older = ROOT / ".venv" / "pandas-2"
    if not older.is_dir():
        where = tmp_path / "pandas-2"
        wanted = ["--target", str(where), "--no-deps", "pandas==2.3.*", "pytz"]
        tool = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        if subprocess.run([*tool[:3], "--version"], capture_output=True, check=False).returncode:
            tool = ["uv", "pip", "install", "-q", "--python", sys.executable]
        subprocess.run([*tool, *wanted], check=True, capture_output=True)
        older = where
    code = f"import sys; sys.path.insert(0, {str(older)!r}); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    ignored = ["-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning", "-p", "no:cacheprovider"]
    tests = ["-q", *ignored, "-k", "not pandas_2 and not dask", "--rootdir", str(ROOT), str(Path(__file__))]
    done = subprocess.run(
        [sys.executable, "-c", code, *tests], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    version = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(older)!r}); import pandas; print(pandas.__version__)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert version.stdout.startswith("2.3")
