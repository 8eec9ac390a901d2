"""Calls of the model in, results out: functions of the user, tools of libraries and servers, and our own `query`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .functions import query, tool

__all__ = ["functions", "names", "query", "runner", "servers", "tool"]


def __getattr__(name: str) -> Any:
    if name in ("query", "tool"):
        return getattr(import_module(".functions", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
