"""Ordinary Python: texts and numbers, collections, dataclasses, functions, classes, modules, estimators.

What has a source is given by it; what has values is outlined, and the outline says what it leaves out.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
import textwrap
import types
import warnings
from collections.abc import Iterable, Iterator, Mapping, Set
from decimal import Decimal
from enum import Enum
from heapq import nsmallest
from itertools import islice
from numbers import Number
from typing import Any

from ..docstrings import docstring
from ..messages.tokens import estimated_tokens
from ..text import many
from .dependencies import has, home, is_collection, plain, table_library, type_name
from .description import Description, Limits, TokenBudget, stable_repr, without_addresses
from .records import as_json, fields_of

DOCSTRING_TOKENS = 1000  # of a function whose source is not there
DEEPEST = 4  # levels of collections in collections that are opened
FEW = 12  # items of a collection, up to which it may stand on one line
FEW_CANDIDATES = 5
LOOKED_AT = 1000  # items of a collection, whose kinds tell those of the others


def text(value: str, limits: Limits) -> Description:
    if value:
        limits.refuse_values("a text")
    formatted = limits.fitted(value)
    some = "" if len(formatted) == len(value) else ", in part"
    return Description(
        "text", formatted, f"{many(len(value), 'character')}{some}" if len(value) > 80 else "", is_value=True
    )


def simple(value: Any, limits: Limits) -> Description:
    """Describe numbers, None, dates and the like as `str` does."""
    if isinstance(value, dt.date | dt.time | dt.timedelta) or getattr(value, "dtype", None) is not None:
        limits.refuse_values(f"a {type_name(value)}")
    try:
        return Description(type_name(value), limits.fitted(str(value)), is_value=True)
    except ValueError:  # of thousands of digits
        return Description(type_name(value), f"a number of too many digits ({type_name(value)})", is_value=True)


def collection(value: Any, limits: Limits) -> Description:
    """Describe dicts, lists, tuples and sets: whole where they fit, else in outline."""
    label = many(len(value), "item")
    if limits.share_values and len(value) <= FEW and _is_plain(value):
        line = stable_repr(value)
        if len(line) <= 200 and "..." not in line:
            return Description(type_name(value), limits.hide(line), label, is_value=True)
    room = TokenBudget(limits.table_tokens)
    _outline(value, limits, room, "", 0)
    return Description(type_name(value), limits.hide(str(room)), label)


def _outline(value: Any, limits: Limits, room: TokenBudget, lead: str, depth: int) -> None:
    """Write a line for each item; of many, for the first ones, and how many more there are."""
    indent = "  " * depth
    kind = f"{type_name(value)} of {len(value):,}"
    if not limits.share_values:
        room.add(f"{indent}{lead}{kind}{_type_counts(value)}")
        return
    if not isinstance(value, Mapping) and not any(map(is_collection, islice(value, LOOKED_AT))):
        room.add(f"{indent}{lead}{kind}: {_on_one_line(value, limits, room.tokens)}")
        return
    if not room.add(f"{indent}{lead}{kind}") or depth == DEEPEST:
        return
    if isinstance(value, Mapping):
        items: Iterable[tuple[str, Any]] = ((f"{_key(key, limits)}: ", item) for key, item in value.items())
    else:
        items = (("- ", item) for item in _in_order(value))
    # What is nested may take a part of what is left, and not all of it.
    for number, (name, item) in enumerate(items):
        inner = TokenBudget(room.tokens // 2 if depth else room.tokens - 20)
        line = stable_repr(item) if is_collection(item) and len(item) <= FEW and _is_plain(item) else ""
        if 0 < len(line) <= 160:
            inner.add(f"{indent}  {name}{limits.hide(line)}")
        elif is_collection(item) and len(item):
            _outline(item, limits, inner, name, depth + 1)
        else:
            inner.add(f"{indent}  {name}{brief(item, limits)}")
        if not inner.lines or not room.add(str(inner)):
            room.add(f"{indent}  … {len(value) - number:,} more")
            return


def _on_one_line(value: Any, limits: Limits, tokens: int) -> str:
    left, summary = tokens - 20, []
    # The order of a set is another one in each process.
    for number, item in enumerate(_in_order(value)):
        summary.append(brief(item, limits))
        left -= estimated_tokens(f"{summary[-1]}, ")
        if left < 0:
            return f"{', '.join(summary[:-1])}, … {len(value) - number:,} more"
    return ", ".join(summary)


def _in_order(value: Iterable[Any]) -> Iterable[Any]:
    return nsmallest(LOOKED_AT, value, key=stable_repr) if isinstance(value, Set) else value


def _key(key: Any, limits: Limits) -> str:
    return limits.short(key if isinstance(key, str) else stable_repr(plain(key)), 60)


def _type_counts(value: Any) -> str:
    """Return what is in it, without any value: neither items nor keys."""
    if isinstance(value, Mapping):
        keys, items = list(islice(value, LOOKED_AT)), list(islice(value.values(), LOOKED_AT))
        return f": {_types_of(keys)} → {_types_of(items)}" if keys else ""
    return f": {_types_of(islice(_in_order(value), LOOKED_AT))}" if len(value) else ""


def _types_of(values: Iterable[Any]) -> str:
    return ", ".join(sorted({type_name(value) for value in values}))


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Return whether its repr is harmless: nothing in it computes a table, or says more than it should."""
    if is_collection(value):
        items = islice([*value.keys(), *value.values()] if isinstance(value, Mapping) else value, 2 * FEW)
        return depth < DEEPEST and all(_is_plain(item, depth + 1) for item in items)
    return isinstance(plain(value), str | bytes | Number | Decimal | dt.date | dt.time | dt.timedelta | None)


def brief(value: Any, limits: Limits) -> str:
    """Return a value in a few words, wherever it stands."""
    value = plain(value)
    if table_library(value) or has(value, "shape", "dtype"):
        return f"{type_name(value)} {_shape(value)}".strip()
    if inspect.isroutine(value) or isinstance(value, type | types.ModuleType):
        return f"{type_name(value)} {getattr(value, '__name__', '')}"
    if not limits.share_values:
        return type_name(value)
    if isinstance(value, str):
        return f'"{limits.short(value, 120)}"'
    return limits.short(value, 120)


def _shape(value: Any) -> str:
    """Return the shape of a value that has it at hand; a lazy table has not."""
    if not has(value, "shape") or home(value) in ("duckdb", "_duckdb", "dask", "pyspark", "ibis"):
        return ""
    shape = value.shape
    return " × ".join(map(str, shape)) if isinstance(shape, tuple) else ""


def record(value: Any, limits: Limits) -> Description:
    """Return a dataclass, a named tuple, a model, an Enum's member: fields and values."""
    if isinstance(value, Enum):
        text = f"{type_name(value)}.{value.name}"
        if limits.share_values:
            text = f"{value}: {brief(value.value, limits)}"
        return Description(type_name(value), text, is_value=True)
    found = fields_of(value) or {}
    room = TokenBudget(limits.table_tokens)
    for name, item in found.items():
        room.add(f"{name} = {_whole(item, limits, room.tokens)}")
    return Description(type_name(value), limits.hide(str(room)), many(len(found), "field"))


def _whole(value: Any, limits: Limits, tokens: int) -> str:
    """Return what is nested as JSON where that fits, else a value in a few words."""
    is_nested = is_collection(value) or fields_of(value) is not None
    text = as_json(value) if is_nested and limits.share_values else None
    return text if text is not None and estimated_tokens(text) <= tokens - 20 else brief(value, limits)


def function(value: Any, limits: Limits) -> Description:
    """Return its source; where there is none, its signature and docstring."""
    source = _source(value)
    about = docstring(value)
    body = source or "\n".join(filter(None, [_head(value), about]))
    formatted = limits.fitted(body, limits.text_tokens if source else min(limits.text_tokens, DOCSTRING_TOKENS))
    label = _lines(source, formatted)
    if not source and about:
        label = f"signature and docstring, about {estimated_tokens(formatted):,} tokens"
    return Description(f"{type_name(value)} {getattr(value, '__name__', '')}".strip(), formatted, label)


def class_(value: type, limits: Limits) -> Description:
    """Return its source where it is the user's; else its docstring and its public methods."""
    source = _source(value)
    if source and estimated_tokens(source) <= limits.text_tokens and not _is_installed(value):
        return Description(f"class {value.__qualname__}", limits.fitted(source), _lines(source, source))
    methods = [
        _head(member)
        for name, member in sorted(vars(value).items())
        if inspect.isroutine(member) and not name.startswith("_")
    ]
    bases = ", ".join(base.__name__ for base in value.__bases__)
    parts = [f"class {value.__qualname__}({bases})", docstring(value), *methods]
    return Description(f"class {value.__qualname__}", limits.fitted("\n".join(filter(None, parts))), "a class")


def module(value: types.ModuleType, limits: Limits) -> Description:
    """Name, version, docstring, and its public names with their signatures."""
    known = vars(value)  # never getattr: a lazy module would import what is behind the name
    version = known.get("__version__", "")
    # Some make `__all__` of a set, whose order is another one in each process.
    names = sorted(known.get("__all__") or [name for name in known if not name.startswith("_")])
    room = TokenBudget(limits.text_tokens)
    room.add(f"module {value.__name__} {version}".strip())
    room.add(limits.hide(docstring(value))[:1000])
    for number, name in enumerate(names):
        member = known.get(name)
        formatted = (
            _head(member) if callable(member) else f"{name}: {type_name(member)}" if name in known else str(name)
        )
        if not room.add(formatted):
            room.lines.append(f"… {len(names) - number:,} more names")
            break
    return Description(f"module {value.__name__}", limits.hide(str(room)), many(len(names), "name"))


def is_estimator(value: Any) -> bool:
    return has(value, "get_params", "fit")


def estimator(value: Any, limits: Limits) -> Description:
    """Describe an estimator of scikit-learn or its kin: the parameters that are set, and what it learned."""
    room = TokenBudget(limits.table_tokens)
    is_fitted = _add_estimator(value, limits, room, "", 0)
    return Description(type_name(value), limits.hide(str(room)), "fitted" if is_fitted else "not fitted")


def _add_estimator(value: Any, limits: Limits, room: TokenBudget, lead: str, depth: int) -> bool:
    """Add an estimator and, below it, those that it is made of. Returns: whether it is fitted."""
    indent = "  " * depth
    parts = _estimators_in(value) if depth < DEEPEST else []
    room.add(f"{indent}{lead}{type_name(value)}, parameters:")
    for name, parameter in sorted(value.get_params(deep=False).items()):
        if name != "steps" and not any(parameter is part for _, part in parts):
            room.add(f"{indent}  {name} = {brief(parameter, limits)}")
    # How long it took is another time at each run.
    names = [name for name in vars(value) if name.endswith("_") and name[0] != "_" and "time" not in name]
    is_fitted = _is_fitted(value, bool(names))
    room.add(f"{indent}fitted:" if names else f"{indent}fitted" if is_fitted else f"{indent}not fitted")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of attributes that are going away
        for name in sorted(names):
            learned = getattr(value, name, None)
            if name == "cv_results_" and isinstance(learned, Mapping):
                for line in _searched(learned, limits):
                    room.add(f"{indent}  {line}")
            elif not any(learned is part for _, part in parts):
                room.add(f"{indent}  {name}: {_learned(learned, limits)}")
    for name, part in parts:
        _add_estimator(part, limits, room, f"{name}: ", depth + 1)
    return is_fitted


def _is_fitted(value: Any, has_learned: bool) -> bool:
    try:
        return bool(value.__sklearn_is_fitted__()) if has(value, "__sklearn_is_fitted__") else has_learned
    except Exception:  # noqa: BLE001  # a pipeline asks its last step, which may be anything
        return has_learned


def _estimators_in(value: Any) -> list[tuple[str, Any]]:
    """Return the steps of a pipeline, the transformers of columns, and the best estimator of a search, by name."""
    held = [(name, getattr(value, name, None)) for name in ("best_estimator_", "transformers_", "steps")]
    named = [(name, part) for name, part in held if is_estimator(part)]
    for _, parts in held[1:]:
        if isinstance(parts, list):
            named += [(str(part[0]), part[1]) for part in parts if isinstance(part, tuple) and len(part) > 1]
    return [(name, part) for name, part in named if is_estimator(part)]


def _searched(results: Mapping[str, Any], limits: Limits) -> Iterator[str]:
    """Yield the best candidates of a search: its parameters and scores, without the times that they took."""
    tried, scores = results.get("params"), results.get("mean_test_score")
    if tried is None or scores is None or not limits.share_values:
        return
    spread = results.get("std_test_score")
    best = sorted(range(len(tried)), key=lambda number: -scores[number] if scores[number] == scores[number] else 1e9)
    yield f"{many(len(tried), 'candidate')}, the best:"
    for number in best[:FEW_CANDIDATES]:
        about = f" ± {spread[number]:.4g}" if spread is not None else ""
        yield f"  {limits.short(tried[number], 200)}: {scores[number]:.4g}{about}"


def _learned(value: Any, limits: Limits) -> str:
    """Return a few numbers as they are; of dicts, such as a search's results with its times, only how many."""
    if isinstance(value, Mapping) and not (len(value) <= FEW and _is_plain(value) and limits.share_values):
        return f"{type_name(value)} of {len(value):,}"
    is_short = limits.share_values and has(value, "size", "tolist") and 0 < value.size <= FEW
    return limits.short(_rounded(value.tolist()), 300) if is_short else brief(value, limits)


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _source(value: Any) -> str:
    with contextlib.suppress(OSError, TypeError):
        return textwrap.dedent(inspect.getsource(value))
    return ""


def _head(value: Any) -> str:
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", type_name(value))
    with contextlib.suppress(ValueError, TypeError):
        return without_addresses(f"{name}{inspect.signature(value)}")
    return f"{name}(…)"


def _is_installed(value: type) -> bool:
    home = inspect.getsourcefile(value) or ""
    return "site-packages" in home or "dist-packages" in home


def _lines(source: str, formatted: str) -> str:
    if not source:
        return "its signature"
    return many(len(source.splitlines()), "line") + ("" if formatted == source else ", in part")
