"""Records, sets, scalars, and things that can say what they are: what the user sees of them goes along."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import sqlite3
import subprocess
import sys
from collections import Counter, namedtuple
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import duckdb
import networkx
import numpy as np
import pandas as pd
import polars as pl
import pydantic
import pytest
from IPython.display import HTML, JSON, Markdown
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from comet_magic.describe.description import Description, Limits, stable_repr
from comet_magic.describe.registry import describe
from comet_magic.output.dataframes import Rows


def described(value: Any, **bounds: Any) -> Description:
    return describe(value, Limits(**bounds))[0]


def text(value: Any, **bounds: Any) -> str:
    return described(value, **bounds).text


# ---- scalars and records


class Size(Enum):
    SMALL = "S"


@dataclasses.dataclass
class Metrics:
    acc: float
    parts: dict[str, Any] = dataclasses.field(default_factory=dict)


class Fit(NamedTuple):
    slope: float
    day: dt.date


class Person(pydantic.BaseModel):
    name: str
    tags: list[str] = []


def test_numpy_s_numbers_keep_their_value_wherever_they_are() -> None:
    assert text(Metrics(np.float64(0.9375))).startswith("acc = 0.9375\n")
    result = namedtuple("TtestResult", "statistic pvalue")(np.float64(-1.5), np.float32(0.0625))
    assert text(result) == "statistic = -1.5\npvalue = 0.0625"
    assert "0.125, 0.25" in text([np.float64(n / 8) for n in range(20)])
    assert "m5: 105" in text({f"m{n}": np.int64(n + 100) for n in range(20)})
    assert text({"a": np.float32(0.5), "b": [np.bool_(True)]}) == "{'a': 0.5, 'b': [True]}"
    assert stable_repr({np.int64(1): np.str_("x")}) == "{1: 'x'}"


def test_lists_of_records_go_whole_as_json() -> None:
    assert text([{"a": 1, "b": None}, {"a": np.int64(2), "b": "x"}]) == '[{"a": 1, "b": null},\n{"a": 2, "b": "x"}]'
    assert text([Fit(0.5, dt.date(2024, 1, 2))] * 2).startswith('[{"slope": 0.5, "day": "2024-01-02"},\n')
    people = [Person(name="Ada", tags=["x"]), Person(name="Bob")]
    assert text(people) == '[{"name": "Ada", "tags": ["x"]},\n{"name": "Bob", "tags": []}]'
    nested = [Metrics(1, {"size": Size.SMALL, "cost": Decimal("1.50"), "set": {3, 1}})] * 2
    assert text(nested).startswith('[{"acc": 1, "parts": {"size": "S", "cost": "1.50", "set": [1, 3]}},\n')
    assert described(people).kind == "list of 2 records"
    assert described(people).label == "2 records"
    assert text(Metrics(1, {"a": [1, 2]})) == 'acc = 1\nparts = {"a": [1, 2]}'


def test_the_records_of_a_typed_reply_are_called_what_they_are() -> None:
    rows = Rows.of([{"name": "a", "n": 1}] * 3, {"properties": {"name": {}, "n": {}}})
    assert described(rows).kind == "list of 3 records"
    assert text(rows).count('{"name": "a", "n": 1}') == 3


def test_many_records_are_a_table_s_card() -> None:
    records = [{"name": f"n{n}", "score": n / 2, "kind": "ab"[n % 2], "more": {"deep": [n]}} for n in range(2000)]
    shown = text(records)
    assert shown.startswith("2,000 rows × 4 columns")
    assert "\nscore (float)|0|all 2000|0|249.88|499.75|749.62|999.5|" in shown
    assert '\nkind (str)|0|2|"a" ×1000, "b" ×1000\n' in shown
    assert described(records).label.startswith("2,000 × 4, card of ")


def test_what_is_no_list_of_records_is_a_list() -> None:
    assert text([{"a": 1}]) == "[{'a': 1}]"
    assert text([{"a": 1}, {"b": 1}, {"c": 1}]) == "[{'a': 1}, {'b': 1}, {'c': 1}]"
    assert "list of dict" in text([{1: object()}] * 50) or "list of 50" in text([{1: object()}] * 50)


def test_without_values_no_field_s_value_is_told_and_no_key_of_a_dict() -> None:
    assert "Ada" not in text([Person(name="Ada"), Person(name="Bob")], share_values=False)
    assert "Carol" not in text([{"Carol": "x"}, {"Carol": "y"}], share_values=False)


def test_sets_have_one_order_in_every_process() -> None:
    code = (
        "from comet_magic.describe.registry import describe; from comet_magic.describe.description import Limits\n"
        "import dataclasses\n@dataclasses.dataclass\nclass D:\n    s: set\n"
        "words = {f'word {n}' for n in range(3000)}\n"
        "values = [words, {1: words}, [frozenset(words), 2], D({'b', 'a'}), [{'x': {'b', 'a', 'c'}}] * 2, {frozenset('ab'), 'x'},"
        " {(1, frozenset('abc'))}, {'k': {'n': {'b', 'a'}}}, type('S', (set,), {})('abc')]\n"
        "print([describe(value, Limits())[0].text for value in values])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1
    assert b"D(" not in printed.pop()[:0]
    assert text({"b": 1, "a": {2, 1}}) == "{'b': 1, 'a': {1, 2}}"
    assert stable_repr(Counter("abb")) == "Counter({'a': 1, 'b': 2})"


# ---- in their own words


class Graph:
    def __str__(self) -> str:
        return "Graph with 34 nodes"


class Rendered:
    def _repr_markdown_(self) -> str:
        return "| a | 1 |"

    def __str__(self) -> str:
        return "less"


class Summed:
    def summary(self) -> str:
        return "three rows, one column"


class Printing:
    def summary(self) -> None:
        print("layer 1: 5 weights")


class Wanting:
    def __init__(self) -> None:
        self.weight, self._hidden = np.float64(2.5), 1

    def summary(self, of: str) -> str:
        return of


class Silent:
    pass


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Graph(), "Graph with 34 nodes"),
        (Rendered(), "| a | 1 |"),
        (Summed(), "three rows, one column"),
        (Printing(), "layer 1: 5 weights"),
        (Wanting(), "Wanting, with\nweight = 2.5"),
        (Markdown("# title"), "# title"),
        (HTML("<b>hi</b>"), "<b>hi</b>"),
        (JSON({"a": [1]}), "{'a': [1]}"),
        (networkx.path_graph(4), "Graph with 4 nodes and 3 edges"),
        (pd.DataFrame({"a": [1, 2]}).style.highlight_max(), "a (int64)|0|all 2|1|"),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).groupby("b"), "grouped by b\n2 rows × 2 columns"),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).groupby("b").a, "2 rows × 1 column"),
        (pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}).group_by("b"), "2 rows × 2 columns"),
        (pd.DataFrame({"a": range(9)}).rolling(3), "9 rows × 1 column"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_things_say_what_they_are(value: Any, told: str) -> None:
    assert told in text(value)


def test_a_picture_of_itself_is_a_picture() -> None:
    written = io.BytesIO()
    Image.new("RGB", (4, 3)).save(written, format="PNG")

    class Drawn:
        def _repr_png_(self) -> Any:
            return written.getvalue(), {"width": 4}

    assert described(Drawn()).label == "PNG 4×3"


def test_a_summary_s_own_time_is_not_sent() -> None:
    from statsmodels.regression.linear_model import OLS

    fitted = OLS([1.0, 2.0, 4.0], [[1.0], [2.0], [3.0]]).fit()
    shown = text(fitted)
    assert "OLS Regression Results" in shown
    assert str(dt.datetime.now().year) not in shown


def test_a_connection_says_its_tables_and_keeps_its_result() -> None:
    connection = duckdb.connect()
    connection.execute("create table sales(i int, city text)")
    result = connection.execute("select 5")
    assert text(connection) == "connection with 1 table:\n- sales (i INTEGER, city VARCHAR)"
    assert result.fetchall() == [(5,)]
    connection.close()
    assert "cannot be read" in text(connection)
    with sqlite3.connect(":memory:") as lite:
        lite.execute("create table t(a integer)")
        assert text(lite) == "connection with 1 table:\n- t (a INTEGER)"
    lite.close()


def test_what_says_nothing_is_its_class() -> None:
    assert text(Silent()).endswith("Silent object>")
    assert " at 0x" not in text(Silent())


def test_pipelines_and_searches_tell_what_they_learned() -> None:
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0]}, cv=2).fit(x, y)
    shown = text(search)
    assert "2 candidates, the best:" in shown
    assert "{'logisticregression__C': " in shown
    assert "mean_: [19.0, 20.0]" in shown
    assert "coef_: [[" in shown
    assert "fit_time" not in shown
    assert "not fitted" in text(pipeline)
    assert "class_weight = None" in text(LogisticRegression())


def test_what_is_not_shared_is_not_said() -> None:
    from comet_magic.errors import ConfigError

    frame = pd.DataFrame({"v": ["SECRETVAL", "b"], "n": [1, 2]})
    for value in (
        frame.groupby(frame.v),
        frame.groupby(np.array(["SECRETVAL", "b"])),
        pl.DataFrame(frame.to_dict("list")).group_by(pl.col("v") == "SECRETVAL"),
    ):
        assert "SECRETVAL" not in text(value, share_values=False)
    connection = duckdb.connect()
    connection.execute("create type e as enum ('SECRETVAL'); create table t (a e)")
    assert "SECRETVAL" not in text(connection, share_values=False)
    connection.close()
    assert text(Size.SMALL, share_values=False).endswith("Size.SMALL")
    for value in (Graph(), Rendered(), HTML("x"), b"bytes"):
        with pytest.raises(ConfigError, match="share_values"):
            text(value, share_values=False)
