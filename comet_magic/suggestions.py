"""Names that do not exist, and the nearest that do."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable, Mapping
from typing import Any

ALIKE, VERY_ALIKE = 0.6, 0.8  # as difflib measures it


def _close(word: str, words: Iterable[str], most: int, cutoff: float) -> list[str]:
    from difflib import get_close_matches  # not at the top: few questions have a mistake

    return get_close_matches(word, words, most, cutoff)


def nearest(word: str, words: Iterable[object], most: int = 3) -> list[str]:
    return _close(word, dict.fromkeys(name for name in words if isinstance(name, str)), most, ALIKE)


def did_you_mean(word: str, words: Iterable[object]) -> str:
    """Return `; did you mean price?`, or ""."""
    close = nearest(word, words, 1)
    return f"; did you mean {close[0]}?" if close else ""


class MissingName:
    """A name that was looked up and is not there. where: what it was looked for in, in words.

    is_data: it is a key of a dict, and so may be a value rather than a name.
    """

    def __init__(self, name: str, where: str, known: Iterable[object], *, is_data: bool = False) -> None:
        self.name, self.where, self.is_data = name, where, is_data
        self.nearest = nearest(name, known)

    def __str__(self) -> str:
        close = f"; similar: {', '.join(self.nearest)}" if self.nearest else ""
        return f"{self.where} has no {self.name!r}{close}"


def missing(error: BaseException, tree: ast.AST | None, namespace: Mapping[str, Any]) -> MissingName | None:
    """Return the name that `error` is about, as far as that can be told. tree: the code that raised it.

    No code of `tree` is run to find out: only plain names are looked up, and asked for their attributes or columns.
    """
    try:
        return _missing(error, tree, namespace)
    except Exception:  # noqa: BLE001  # what is asked may be broken, and that is what the error is about
        return None


def nearest_to(error: BaseException, tree: ast.AST | None, namespace: Mapping[str, Any]) -> str:
    """Return what is near to the name that `error` is about, in words; "" where nothing is."""
    name = missing(error, tree, namespace)
    *others, last = name.nearest if name and name.nearest else [""]
    return f"did you mean {', '.join(others)}{' or ' if others else ''}{last}?" if last else ""


def _missing(error: BaseException, tree: ast.AST | None, namespace: Mapping[str, Any]) -> MissingName | None:
    if isinstance(error, NameError) and error.name:
        # There are so many builtins that one is somewhat alike to anything.
        near = _close(error.name, dir(builtins), 3, VERY_ALIKE)
        return MissingName(error.name, "the namespace", [*_public(namespace), *near])
    if isinstance(error, AttributeError) and error.name and error.obj is not None:
        kind = error.obj.__name__ if isinstance(error.obj, type) else type(error.obj).__name__
        public = not error.name.startswith("_")
        known = [name for name in dir(error.obj) if not (public and name.startswith("_"))]
        return MissingName(error.name, kind, [*known, *([] if isinstance(error.obj, Mapping) else _keys(error.obj))])
    name_from = getattr(error, "name_from", None)  # from Python 3.12 on
    if isinstance(error, ImportError) and error.name and name_from:
        return MissingName(name_from, error.name, dir(sys.modules.get(error.name)))
    if isinstance(error, LookupError) and error.args and isinstance(error.args[0], str) and tree is not None:
        return _missing_key(error.args[0], tree, namespace)
    return None


def _missing_key(message: str, tree: ast.AST, namespace: Mapping[str, Any]) -> MissingName | None:
    """Return the key that is not there.

    Libraries word a KeyError as they like: the key is a text of the code that the error repeats.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):  # df["prise"]
            of, parts = node.value, [node.slice]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # df.groupby("prise")
            of, parts = node.func.value, [*node.args, *(keyword.value for keyword in node.keywords)]
        else:
            continue
        value = _looked_up(of, namespace)
        keys = _keys(value)
        for key in [
            constant.value for part in parts for constant in ast.walk(part) if isinstance(constant, ast.Constant)
        ]:
            if isinstance(key, str) and key in message and keys and key not in keys:
                return MissingName(key, ast.unparse(of), keys, is_data=isinstance(value, dict))
    return None


def _looked_up(node: ast.AST, namespace: Mapping[str, Any]) -> Any:
    """Return the value of a plain name, or of a chain like df.loc, whose last part is left out; None for all else."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return namespace.get(node.id) if isinstance(node, ast.Name) else None


def _keys(value: Any) -> list[Any]:
    keys = getattr(value, "columns", None)
    if keys is None:
        keys = list(value) if isinstance(value, dict) else ()
    try:
        return list(keys)
    except TypeError:
        return []


def _public(namespace: Mapping[str, Any]) -> list[str]:
    return [name for name in namespace if not name.startswith("_")]
