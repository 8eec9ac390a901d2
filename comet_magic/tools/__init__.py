"""Calls of the model in, results out: functions of the user as tools, and `query`, which is one of ours."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tool import query, tool

__all__ = ["query", "tool"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(".tool", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
