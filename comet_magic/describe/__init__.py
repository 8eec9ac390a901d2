"""Any Python value in; a `Description` of it for the prompt out. `register` teaches it another type."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .registry import describe, register, unregister

__all__ = [
    "changes",
    "dependencies",
    "describe",
    "description",
    "frames",
    "images",
    "objects",
    "question",
    "register",
    "registry",
    "scalars",
    "template",
    "tracebacks",
    "unregister",
]


def __getattr__(name: str) -> Any:
    if name in ("describe", "register", "unregister"):
        return getattr(import_module(".registry", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
