"""Questions that a reader answers from the card alone, and could not from `str(df)`: what each must find there.

A model that knew nothing but the cards was asked them, too; the release notes say how many it got right.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from data_sets import data

from comet_magic.describe.description import Limits
from comet_magic.describe.tables import table
from comet_magic.messages.tokens import estimated_tokens

QUESTIONS = json.loads((Path(__file__).parent / "questions.json").read_text("utf-8"))
loaded = lru_cache(data)


def test_there_are_forty_about_eight_data_sets() -> None:
    assert len(QUESTIONS) == 40
    assert len({asked["data"] for asked in QUESTIONS}) == 8


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: asked["question"])
def test_the_card_has_the_facts_and_the_repr_has_not(asked: dict[str, Any]) -> None:
    df = loaded(asked["data"])
    assert eval(asked["holds"], {"df": df, "np": np, "pd": pd})
    card = table(df, Limits(about=asked["question"])).text
    assert estimated_tokens(card) <= Limits().table_tokens
    assert [fact for fact in asked["facts"] if fact not in card] == []
    assert not all(fact in str(df) for fact in asked["facts"])
