"""Records, and lists of them: dicts, dataclasses, named tuples, models. Whole as JSON, or else as a table's card."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from collections.abc import Callable, Mapping, Sequence, Set
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

from ..messages.tokens import estimated_tokens
from ..text import many
from .dependencies import has, plain, type_name
from .description import Description, Limits, in_one_order
from .frames import FrameSample
from .tables import card

DEEPEST = 8  # levels of values in values
FEW = 2  # records that make a list of records
ALIKE = 0.5  # of the names that all records have, how many the average one has


class _NotPlain(Exception):
    pass


def fields_of(value: Any) -> Mapping[str, Any] | None:
    """Return a record's fields by name; None for what is no record."""
    kind = type(value)
    if issubclass(kind, Mapping):
        return value if value and all(isinstance(key, str) for key in value) else None
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.repr]
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names = list(kind._fields)
    elif isinstance(getattr(kind, "model_fields", None), dict):  # pydantic's
        names = list(kind.model_fields)
    elif hasattr(kind, "__attrs_attrs__"):
        names = [field.name for field in kind.__attrs_attrs__]
    else:
        return None
    return {name: getattr(value, name, None) for name in names}


def are_records(value: Any) -> bool:
    """Return whether it is a list of records that are alike."""
    if not isinstance(value, list | tuple) or hasattr(type(value), "_fields") or len(value) < FEW:
        return False
    found = [fields_of(item) for item in value[:1000]]
    if not all(found):
        return False
    names = {name for fields in found if fields for name in fields}
    return sum(len(fields or ()) for fields in found) >= ALIKE * len(names) * len(found)


def records(value: Sequence[Any], limits: Limits) -> Description:
    """Describe a list of records: all as JSON, one a line, where they fit; else as a card, as of a table."""
    kind = f"list of {many(len(value), 'record')}"
    if limits.share_values and len(value) <= limits.table_tokens:
        texts = [text for item in value if (text := as_json(item)) is not None]
        text = f"[{f',{chr(10)}'.join(texts)}]"
        if len(texts) == len(value) and estimated_tokens(text) <= limits.table_tokens:
            return Description(kind, limits.hide(text), many(len(value), "record"))
    columns = _columns(value)
    kinds = [_type_names(values) for values in columns.values()]
    sample = FrameSample.of_lists(list(columns), kinds, list(columns.values()), limits)
    described = card(sample, limits)
    return described._replace(kind=kind)


def _columns(value: Sequence[Any]) -> dict[str, list[Any]]:
    rows = [fields_of(item) or {} for item in value]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [_cell(row.get(name)) for row in rows] for name in names}


def _cell(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else plain(value)


def _type_names(values: Sequence[Any]) -> str:
    return ", ".join(sorted({type_name(value) for value in values if value is not None})[:3]) or "None"


def as_json(value: Any) -> str | None:
    """Return a value of plain data as JSON on one line; None where there is something else in it."""
    try:
        return json.dumps(_plain(value, 0), ensure_ascii=False)
    except (_NotPlain, ValueError, TypeError, RecursionError):
        return None


def _plain(value: Any, depth: int) -> Any:
    value = plain(value)
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float) and not isinstance(value, Enum):
        return value if math.isfinite(value) else str(value)
    if depth > DEEPEST:
        raise _NotPlain
    for kinds, convert in _CONVERTED:
        if isinstance(value, kinds):
            return _plain(convert(value), depth + 1)
    if (fields := fields_of(value)) is not None or isinstance(value, Mapping):
        pairs = fields if fields is not None else {str(plain(key)): item for key, item in value.items()}
        return {name: _plain(item, depth + 1) for name, item in pairs.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, Set):
        texts = [json.dumps(_plain(item, depth + 1), ensure_ascii=False) for item in value]
        return [json.loads(text) for text in in_one_order(texts, len(texts))]
    if has(value, "tolist", "shape", "flat") and value.size <= 50:
        return _plain(value.tolist(), depth + 1)
    raise _NotPlain


_CONVERTED: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: value.value),
    ((Decimal, Fraction, PurePath, UUID, dt.timedelta), str),
    ((dt.date, dt.time), lambda value: value.isoformat()),
)
