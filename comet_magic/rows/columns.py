"""What the replies become: columns with the types that were asked for, whatever came.

A type decides its column, and never the values: all rows may have failed, and two runs can be put together.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..output.typed import OutputType
from ..suggestions import did_you_mean

ERROR = "error"
TEXT: Mapping[str, Any] = {"type": "string"}
_SCALARS = ("string", "integer", "number", "boolean")


class Column(NamedTuple):
    """A column of the result. name: its own.        path: of the field in a reply; () for the reply itself.

    schema: JSON Schema of its values, without references.
    """

    name: str
    path: tuple[str, ...]
    schema: Mapping[str, Any]

    @property
    def labels(self) -> list[Any]:
        """The values that it may have, where they are listed; [] where they are not."""
        schema = _not_null(self.schema)
        listed = schema.get("enum", []) if "const" not in schema else [schema["const"]]
        labels = [label for label in listed if label is not None]
        return labels if all(isinstance(label, str | int | bool) for label in labels) else []

    @property
    def kind(self) -> str:
        """`string`, `integer`, `number`, `boolean`, `date`, `datetime`, `array`, `object`, or "" for anything."""
        schema = _not_null(self.schema)
        form = {"date": "date", "date-time": "datetime"}.get(str(schema.get("format", "")))
        kind = schema.get("type", "")
        if kind == "string" and form:
            return form
        return str(kind) if kind in (*_SCALARS, "array", "object") else ""


def _not_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the one alternative that is not null; the schema itself where there are more."""
    others = [part for part in schema.get("anyOf", []) if part.get("type") != "null"]
    if isinstance(kinds := schema.get("type"), list):
        rest = [kind for kind in kinds if kind != "null"]
        return {**schema, "type": rest[0] if len(rest) == 1 else ""}
    return _not_null(others[0]) if len(others) == 1 else schema


def columns_for(output: OutputType | None, into: str | None, nested: str, taken: Iterable[Any]) -> list[Column]:
    """Return the columns of the result, without those of errors.

    into: name of the one column; None: a column for each field of an object, else `reply`.
    nested: "objects" or "columns", for objects in objects.        taken: the names that the table has.
    Raises: ConfigError where a name is taken.
    """
    if nested not in ("objects", "columns"):
        raise ConfigError(
            f"nested is 'objects' or 'columns', not {nested!r}{did_you_mean(str(nested), ('objects', 'columns'))}",
            "nothing was sent",
        )
    schema = TEXT if output is None else _resolved(output.form.schema, output.form.schema)
    if output is not None and output.is_held:
        schema = schema["properties"]["value"]
    is_object = schema.get("type") == "object" and bool(schema.get("properties"))
    has_fields = is_object and into is None
    columns = list(_fields(schema, (), nested)) if has_fields else [Column(into or "reply", (), schema)]
    known = set(map(str, taken))
    for column in [*(column.name for column in columns), ERROR]:
        if column in known:
            what = f"the table has a column {column!r} already"
            raise ConfigError(what, "nothing was sent; into='…' names the new one, or drop the old one before")
        known.add(column)
    return columns


def _fields(schema: Mapping[str, Any], path: tuple[str, ...], nested: str) -> Iterable[Column]:
    for name, part in schema["properties"].items():
        inner = _not_null(part)
        if nested == "columns" and inner.get("type") == "object" and inner.get("properties"):
            yield from _fields(inner, (*path, name), nested)
        else:
            yield Column("_".join((*path, name)), (*path, name), part)


def _resolved(schema: Any, whole: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a schema with what its references name in their place; what refers to itself becomes anything."""
    if isinstance(schema, list):
        return [_resolved(part, whole, depth) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    if isinstance(reference := schema.get("$ref"), str):
        target: Any = whole
        for step in reference.removeprefix("#").strip("/").split("/"):
            target = target.get(step, {}) if isinstance(target, Mapping) else {}
        return _resolved(target, whole, depth + 1) if depth < 8 else {}
    return {
        name: _resolved(part, whole, depth) for name, part in schema.items() if name not in ("$defs", "definitions")
    }


# ---- values


def field_of(value: Any, path: Sequence[str]) -> Any:
    """Return a field of a reply's value; None where it has none."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


def plain_value(value: Any) -> Any:
    """Return a value as lists, dicts and scalars, as a column holds them."""
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "model_dump"):
        return plain_value(value.model_dump(by_alias=True))
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain_value(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain_value(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(part) for part in value]
    return value


# ---- the libraries' own columns


def built(library: str, column: Column, values: list[Any]) -> Any:
    """Return a column of the library. values: None where there is none."""
    make: Callable[[Column, list[Any]], Any] = {
        "pandas": _pandas, "polars": _polars, "pyarrow": _arrow, "duckdb": _arrow,
        "list": lambda column, values: values,
    }[library]  # fmt: skip
    return make(column, values)


def text_column(library: str, values: list[str | None]) -> Any:
    return built(library, Column(ERROR, (), TEXT), values)


def _pandas(column: Column, values: list[Any]) -> Any:
    pandas = sys.modules["pandas"]
    if labels := column.labels:
        return pandas.Categorical(values, categories=labels)
    kind = column.kind
    if kind == "integer":
        fits = all(value is None or -(2**63) <= value < 2**63 for value in values)
        return pandas.array(values, dtype="Int64" if fits else "object")
    if kind == "number":
        return pandas.array([None if value is None else float(value) for value in values], dtype="Float64")
    if kind == "boolean":
        return pandas.array(values, dtype="boolean")
    if kind == "string":
        is_old = int(pandas.__version__.split(".")[0]) < 3
        return pandas.array(values, dtype="object" if is_old else "str")
    if kind in ("date", "datetime"):
        moments = _in_one_zone(values) if kind == "datetime" else values
        with_zone = any(value is not None and getattr(value, "tzinfo", None) for value in moments)
        dtype = "datetime64[us, UTC]" if with_zone else "datetime64[us]"
        try:
            return pandas.Series(moments, dtype=dtype).array
        except (ValueError, OverflowError):  # as of the year 0001 in an older pandas
            return _objects(pandas, values)
    return _objects(pandas, values)


def _objects(pandas: Any, values: list[Any]) -> Any:
    column = pandas.Series([None] * len(values), dtype="object")
    for number, value in enumerate(values):
        column.iat[number] = value
    return column.array


def _in_one_zone(values: list[Any]) -> list[Any]:
    """Return moments that can stand in one column: all without a zone, or all in UTC."""
    if not any(isinstance(value, dt.datetime) and value.tzinfo for value in values):
        return values
    utc = dt.timezone.utc
    return [
        value and (value.astimezone(utc) if value.tzinfo else value.replace(tzinfo=utc)) for value in values
    ]  # fmt: skip


def _as_json(values: list[Any]) -> list[str | None]:
    return [None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values]


def _polars(column: Column, values: list[Any]) -> Any:
    polars = sys.modules["polars"]
    labels = column.labels
    if labels and all(isinstance(label, str) for label in labels):
        return polars.Series(column.name, values, dtype=polars.Enum(labels))
    kind = _polars_type(polars, column.schema)
    if kind is None:
        return polars.Series(column.name, _as_json(values), dtype=polars.String)
    if column.kind == "datetime":
        values = _in_one_zone(values)
        with_zone = any(value is not None and value.tzinfo for value in values)
        kind = polars.Datetime("us", "UTC" if with_zone else None)
    return polars.Series(column.name, values, dtype=kind, strict=False)


def _polars_type(polars: Any, schema: Mapping[str, Any]) -> Any:
    """Return the type of polars for a schema; None where it may be anything."""
    names = {"string": "String", "integer": "Int64", "number": "Float64", "boolean": "Boolean", "date": "Date"}
    column = Column("", (), schema)
    inner = _not_null(schema)
    if column.kind in names:
        return getattr(polars, names[column.kind])
    if column.labels:
        return polars.Int64 if all(type(label) is int for label in column.labels) else None
    if column.kind == "datetime":
        return polars.Datetime("us")
    if column.kind == "array":
        of = _polars_type(polars, inner.get("items", {}))
        return None if of is None else polars.List(of)
    if column.kind == "object" and inner.get("properties"):
        parts = {name: _polars_type(polars, part) for name, part in inner["properties"].items()}
        return None if None in parts.values() else polars.Struct(parts)
    return None


def _arrow(column: Column, values: list[Any]) -> Any:
    arrow = sys.modules["pyarrow"]
    labels = column.labels
    if labels and all(isinstance(label, str) for label in labels):
        numbers = {label: number for number, label in enumerate(labels)}
        indices = arrow.array([None if value is None else numbers[value] for value in values], arrow.int32())
        return arrow.DictionaryArray.from_arrays(indices, arrow.array(labels, arrow.string()))
    kind = _arrow_type(arrow, column.schema)
    if kind is None:
        return arrow.array(_as_json(values), arrow.string())
    if column.kind == "datetime":
        values = _in_one_zone(values)
        with_zone = any(value is not None and value.tzinfo for value in values)
        kind = arrow.timestamp("us", "UTC" if with_zone else None)
    return arrow.array(values, kind)


def _arrow_type(arrow: Any, schema: Mapping[str, Any]) -> Any:
    """Return the type of pyarrow for a schema; None where it may be anything."""
    names = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool_", "date": "date32"}
    column = Column("", (), schema)
    inner = _not_null(schema)
    if column.kind in names:
        return getattr(arrow, names[column.kind])()
    if column.labels:
        return arrow.int64() if all(type(label) is int for label in column.labels) else None
    if column.kind == "datetime":
        return arrow.timestamp("us")
    if column.kind == "array":
        of = _arrow_type(arrow, inner.get("items", {}))
        return None if of is None else arrow.list_(of)
    if column.kind == "object" and inner.get("properties"):
        parts = [(name, _arrow_type(arrow, part)) for name, part in inner["properties"].items()]
        return None if any(part is None for _, part in parts) else arrow.struct(parts)
    return None
