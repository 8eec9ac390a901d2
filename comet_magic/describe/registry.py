"""Any value → a `Description`: by what was registered for its type, by its own `_repr_llm_`, or by what we know of it.

`register(type, function)` adds a describer. It gets the value and returns a text, or whatever has a describer itself (a
table, a figure, a list of such), which is then described in its place.
"""

from __future__ import annotations

import datetime as dt
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any

from ..errors import CometError, ConfigError
from ..messages.image_size import PDF, media_type
from ..messages.message import Message
from ..text import exception_text
from . import arrays, files, images, objects, own_words, records, tables
from .dependencies import has, home, is_collection, plain, type_name
from .description import Description, Limits, stable_repr, without_addresses
from .tracebacks import failure

__all__ = ["register", "unregister"]

FEW_VALUES = 100
DEEPEST = 5  # describers that hand on to one another
_registered: dict[type, Callable[[Any], Any]] = {}


def register(type: type, function: Callable[[Any], Any]) -> None:
    """Describe values of `type`, and of its subclasses, with what `function` makes of them. A later one replaces it.

    function: gets the value; returns a text, or something that has a describer itself, or a list of those.
    """
    if not inspect.isclass(type) or not callable(function):
        raise TypeError("register(type, function) takes a class, and a function of one value")
    _registered[type] = function


def unregister(type: type) -> None:
    """Forget what was registered for `type`, if anything was."""
    _registered.pop(type, None)


def describe(value: Any, limits: Limits) -> list[Description]:
    """Return what stands for `value`: mostly one description; several where a describer gave a list.

    Raises: ConfigError, naming the describer that failed.
    """
    return [one.hidden(limits.hide) for one in _described(value, limits, 0)]


def _described(value: Any, limits: Limits, depth: int) -> list[Description]:
    if own := _own_describer(value):
        made = _called(own, value)
        if depth == DEEPEST:
            raise ConfigError(f"the describer {_name(own)} only hands on to others", "nothing was sent")
        parts = made if isinstance(made, list | tuple) else [made]
        described = [part for one in parts for part in _described_part(one, value, limits, depth)]
        return described or [Description(type_name(value), "(nothing)")]
    made = _called(_called(_describer, value), value, limits)
    found: list[Description] = made if isinstance(made, list) else [made]
    # A user's own text may well say where something is in memory.
    is_text = isinstance(value, str | PurePath)
    return found if is_text else [one._replace(text=without_addresses(one.text)) for one in found]


def _described_part(part: Any, of: Any, limits: Limits, depth: int) -> list[Description]:
    if isinstance(part, str):
        return [Description(type_name(of), limits.fitted(part))]
    return _described(part, limits, depth + 1)


def _own_describer(value: Any) -> Callable[[Any], Any] | None:
    for kind in type(value).__mro__:
        if kind in _registered:
            return _registered[kind]
    own = getattr(type(value), "_repr_llm_", None)
    return own if callable(own) else None


def _called(describer: Callable[..., Any], value: Any, *more: Any) -> Any:
    try:
        return describer(value, *more)
    except CometError:
        raise
    except Exception as error:  # a user's describer, and the libraries behind ours, raise what they like
        raise ConfigError(
            f"the describer {_name(describer)} failed on a {type_name(value)}:"
            f" {type(error).__name__}: {exception_text(error)}",
            "nothing was sent; comet_magic.describe.register(type, function) puts another one in its place",
        ) from error


def _name(describer: Any) -> str:
    return getattr(describer, "__qualname__", None) or stable_repr(describer)


def _describer(value: Any) -> Callable[[Any, Limits], Any]:
    """Return what makes a description of it, or a list of them; libraries are recognised, and never imported."""
    if own := getattr(type(value), "_describe_", None):  # of another part of this package
        return own  # type: ignore[no-any-return]
    match value:
        case str():
            return objects.text
        case Message():
            return _reply
        case Enum():
            return objects.record
        case (
            bool()
            | int()
            | float()
            | complex()
            | None
            | Decimal()
            | Fraction()
            | dt.date()
            | dt.time()
            | dt.timedelta()
        ):
            return objects.simple
        case PurePath():
            return files.file
        case BaseException():
            return failure
        case types.ModuleType():
            return objects.module
        case type():
            return objects.class_
    if images.is_picture(value):
        return images.picture
    if tables.is_table(value):
        return tables.table
    if home(value) == "pandas" and has(value, "tolist", "dtype"):  # an index, an extension array
        return _pandas_values
    if home(value) == "xarray" and has(value, "subtree", "groups"):
        return arrays.tree
    if arrays.is_labelled(value):
        return arrays.labelled
    if arrays.is_array(value):
        return arrays.array
    return _other(value)


def _other(value: Any) -> Callable[[Any, Limits], Description]:
    if isinstance(value, bytes | bytearray) and media_type(bytes(value[:16])) == PDF:
        return lambda content, limits: files.document(bytes(content), "PDF", limits, "the PDF")
    if isinstance(value, bytes | bytearray):
        return files.binary
    if inspect.isroutine(value) or has(value, "cache_info", "__call__"):
        return objects.function
    if objects.is_estimator(value):
        return objects.estimator
    if not is_collection(value) or hasattr(type(value), "_fields"):
        if records.fields_of(value) is not None:
            return objects.record
    if isinstance(value, list | tuple) and value and hasattr(type(value[0]), "_describe_list_"):
        if all(type(item) is type(value[0]) for item in value):
            return type(value[0])._describe_list_  # type: ignore[no-any-return]
    if records.are_records(value):
        return _records
    if is_collection(value):
        return objects.collection
    if home(value) == "numpy" and has(value, "item", "dtype"):  # a number, or an array of no dimension
        return _numpy_scalar
    return _by_itself


def _records(value: Any, limits: Limits) -> Description:
    """Describe a list of records; where values are not shared, one of dicts as a list, for their keys may be values."""
    hides_keys = not limits.share_values and any(isinstance(item, Mapping) for item in value)
    return objects.collection(value, limits) if hides_keys else records.records(value, limits)


def _by_itself(value: Any, limits: Limits) -> Description:
    return own_words.described(value, limits, lambda held, limits: _describer(held)(held, limits))


def _numpy_scalar(value: Any, limits: Limits) -> Description:
    """Describe the number, day or span; one that Python has no type for, as NumPy writes it."""
    converted = plain(value)
    describer = objects.simple if converted is value else _describer(converted)
    return describer(converted, limits)


def _reply(message: Message, limits: Limits) -> Description:
    """Describe a reply as what it says: what it cost and when it came is another thing at each run."""
    if message.as_type and message.value is not None:
        described = _describer(message.value)(message.value, limits)
        return described[0] if isinstance(described, list) else described  # type: ignore[no-any-return]
    return objects.text(message.full_text, limits)


def _pandas_values(values: Any, limits: Limits) -> Description:
    """Describe a few values one by one; of many, describe a series of them."""
    if len(values) <= FEW_VALUES:
        return objects.collection(values.tolist(), limits)
    return tables.table(sys.modules["pandas"].Series(values), limits)
