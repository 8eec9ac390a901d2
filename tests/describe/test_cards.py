"""Questions that a reader answers from the card alone, and could not from `str(df)`: what each must find there."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from comet_magic.describe.description import Limits
from comet_magic.describe.tables import table

QUESTIONS = json.loads((Path(__file__).parent / "questions.json").read_text("utf-8"))


def data(name: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the data sets' package is older than pandas 3
        from vega_datasets import local_data

        return getattr(local_data, name)()


def test_there_are_twenty_about_five_data_sets() -> None:
    assert len(QUESTIONS) >= 20
    assert len({asked["data"] for asked in QUESTIONS}) >= 5


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: asked["question"])
def test_the_card_has_the_facts_and_the_repr_has_not(asked: dict[str, Any]) -> None:
    df = data(asked["data"])
    assert eval(asked["holds"], {"df": df})
    card = table(df, Limits()).text
    assert [fact for fact in asked["facts"] if fact not in card] == []
    assert not all(fact in str(df) for fact in asked["facts"])
