"""What the replies become: columns with the types that were asked for, whatever came.

A type decides its column, and never the values: all rows may have failed, and two runs can be put together. A value
that the column has no room for makes its row an error.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from ..errors import ConfigError
from ..named_tuple import NamedTuple
from ..output.schema import Mismatch
from ..output.typed import OutputType
from ..suggestions import did_you_mean
from ..text import whole_text

ERROR = "error"
TEXT: Mapping[str, Any] = {"type": "string"}
NESTED = ("objects", "columns")
_SCALARS = ("string", "integer", "number", "boolean")
_MOMENTS = {"date": "date", "date-time": "datetime"}
DEEPEST = 8  # references to references that are followed


class Column(NamedTuple):
    """A column of the result. name: its own.        path: of the field in a reply; () for the reply itself.

    schema: JSON Schema of its values, without references.
    """

    name: str
    path: tuple[str, ...]
    schema: Mapping[str, Any]

    @property
    def labels(self) -> list[Any]:
        """The values that it may have, where they are listed and differ; [] elsewhere."""
        schema = _not_null(self.schema)
        listed = schema.get("enum", []) if "const" not in schema else [schema["const"]]
        labels = [label for label in listed if label is not None]
        is_plain = all(isinstance(label, str | int) for label in labels)
        return labels if is_plain and len(set(labels)) == len(labels) else []

    @property
    def kind(self) -> str:
        """`string`, `integer`, `number`, `boolean`, `date`, `datetime`, `array`, `object`, or "" for anything."""
        schema = _not_null(self.schema)
        kind = schema.get("type", "")
        if kind == "string" and (moment := _MOMENTS.get(str(schema.get("format", "")))):
            return moment
        return str(kind) if kind in (*_SCALARS, "array", "object") else ""


def _not_null(schema: Any) -> Mapping[str, Any]:
    """Return the one alternative that is not null; the schema itself where there are more, and {} for `true`."""
    if not isinstance(schema, Mapping):
        return {}
    others = [
        part for part in schema.get("anyOf", []) if not (isinstance(part, Mapping) and part.get("type") == "null")
    ]
    if isinstance(kinds := schema.get("type"), list):
        rest = [kind for kind in kinds if kind != "null"]
        return {**schema, "type": rest[0] if len(rest) == 1 else ""}
    return _not_null(others[0]) if len(others) == 1 else schema


def columns_for(
    output: OutputType | None, into: str | None, nested: str, taken: Iterable[Any], samples: int = 1, *,
    ignores_case: bool = False,
) -> list[Column]:  # fmt: skip
    """Return the columns of the result, without those of errors.

    into: name of the one column; None: a column for each field of an object, else `reply`.
    nested: "objects" or "columns", for objects in objects.        taken: the names that the table has.
    samples: how often each row is asked; then each column has a number behind its name.
    ignores_case: whether the table does not tell `Error` from `error`.
    Raises: ConfigError where a name is taken.
    """
    if nested not in NESTED:
        near = did_you_mean(str(nested), NESTED)
        raise ConfigError(f"nested is 'objects' or 'columns', not {nested!r}{near}", "nothing was sent")
    if output is not None and output.is_table:
        raise ConfigError(
            "each row gives one value, and not a table", "nothing was sent; as_=str, a Literal or a dataclass"
        )
    schema: Any = TEXT if output is None else _resolved(output.form.schema, output.form.schema)
    if output is not None and output.is_held:
        schema = schema["properties"]["value"]
    if output is not None and output.is_json_schema:  # whose dates stay the texts that they are
        schema = _without_formats(schema)
    is_object = _not_null(schema).get("type") == "object" and bool(_not_null(schema).get("properties"))
    has_fields = is_object and into is None
    columns = list(_fields(_not_null(schema), (), nested)) if has_fields else [Column(into or "reply", (), schema)]
    spell = str.casefold if ignores_case else str
    known = {spell(str(name)) for name in taken}
    own: set[str] = set()
    for name in [*names_of(columns, samples), ERROR]:
        if spell(name) in known:
            what = f"the table has a column {name!r} already"
            raise ConfigError(
                what, "nothing was sent; into='…' (in a cell: --column …) names the new one, or drop the old one"
            )
        if spell(name) in own:
            what = f"two columns of the result would be called {name!r}"
            raise ConfigError(what, "nothing was sent; name the field of the type otherwise, or use into='…'")
        own.add(spell(name))
    return columns


def names_of(columns: Sequence[Column], samples: int) -> list[str]:
    """Return the names of the new columns."""
    if samples == 1:
        return [column.name for column in columns]
    return [f"{column.name}_{sample + 1}" for column in columns for sample in range(samples)]


def _fields(schema: Mapping[str, Any], path: tuple[str, ...], nested: str) -> Iterable[Column]:
    for name, part in schema["properties"].items():
        inner = _not_null(part)
        if nested == "columns" and inner.get("type") == "object" and inner.get("properties"):
            yield from _fields(inner, (*path, name), nested)
        else:
            yield Column("_".join((*path, name)), (*path, name), part if isinstance(part, Mapping) else {})


def _resolved(schema: Any, whole: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a schema with what its references name in their place; what refers to itself becomes anything."""
    if isinstance(schema, list):
        return [_resolved(part, whole, depth) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    if isinstance(reference := schema.get("$ref"), str):
        from urllib.parse import unquote

        target: Any = whole
        for step in unquote(reference).removeprefix("#").strip("/").split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            target = target.get(step, {}) if isinstance(target, Mapping) else {}
        return _resolved(target, whole, depth + 1) if depth < DEEPEST else {}
    return {
        name: _resolved(part, whole, depth) for name, part in schema.items() if name not in ("$defs", "definitions")
    }


def _without_formats(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_formats(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {name: _without_formats(part) for name, part in schema.items() if name != "format"}


# ---- values


def cells(value: Any, columns: Sequence[Column]) -> tuple[Any, ...]:
    """Return what stands in each column for a reply's value. Raises: Mismatch where a column has no room for it."""
    plain = _plain(value)
    return tuple(_cell(_at(plain, column.path), column.schema) for column in columns)


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _plain(value: Any) -> Any:
    """Return a value as lists, dicts and scalars."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(by_alias=True))
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    return value


def _cell(value: Any, schema: Any) -> Any:
    """Return a value as its schema says: texts as texts, moments without a zone, whole numbers of at most 64 bits."""
    if value is None:
        return None
    if isinstance(value, str):
        return whole_text(value)
    column = Column("", (), _not_null(schema))
    match column.kind:
        case "integer":
            if not -(2**63) <= value < 2**63:
                raise Mismatch(f"{value} is larger than a column of whole numbers holds")
            return value if isinstance(value, bool) else int(value)
        case "number":
            return float(value)
        case "date" if isinstance(value, dt.datetime):
            return value.date()
        case "datetime" if isinstance(value, dt.datetime) and value.tzinfo:
            return value.astimezone(dt.timezone.utc).replace(tzinfo=None)  # one column has one zone
        case "string" if not column.labels:
            return value.isoformat() if isinstance(value, dt.time) else _text(value)
        case "array" if isinstance(value, list):
            return [_cell(part, column.schema.get("items", {})) for part in value]
        case "object" if isinstance(value, Mapping) and column.schema.get("properties"):
            parts = column.schema["properties"]
            return {name: _cell(part, parts.get(name, {})) for name, part in value.items()}
    return value


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# ---- the libraries' own columns


def built(library: str, column: Column, values: list[Any]) -> Any:
    """Return a column of the library. values: as `cells` gives them; None where there is none."""
    make: Callable[[Column, list[Any]], Any] = {
        "pandas": _pandas, "polars": _polars, "pyarrow": _arrow, "duckdb": _arrow,
        "list": lambda column, values: values,
    }[library]  # fmt: skip
    # Rows that are equal share their reply, and must not share what can be changed.
    return make(column, [deepcopy(value) if isinstance(value, list | dict) else value for value in values])


def text_column(library: str, values: list[str | None]) -> Any:
    return built(library, Column(ERROR, (), TEXT), values)


def _pandas(column: Column, values: list[Any]) -> Any:
    pandas = sys.modules["pandas"]
    if labels := column.labels:
        return pandas.Categorical(values, categories=labels)
    dtypes = {"integer": "Int64", "number": "Float64", "boolean": "boolean"}
    kind = column.kind
    if kind in dtypes:
        return pandas.array(values, dtype=dtypes[kind])
    if kind == "string":
        is_old = int(pandas.__version__.split(".")[0]) < 3
        return pandas.array(values, dtype="object" if is_old else "str")
    if kind in ("date", "datetime"):
        with contextlib.suppress(ValueError, OverflowError):  # an older pandas knows fewer years
            return pandas.Series(values, dtype="datetime64[us]").array
    objects = pandas.Series([None] * len(values), dtype="object")
    for number, value in enumerate(values):
        objects.iat[number] = value
    return objects.array


def _as_json(values: list[Any]) -> list[str | None]:
    return [None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values]


class _Types(NamedTuple):
    """A library's own types. of: by kind of column.

    listed: a list's type, of its items'.        struct: a record's type, of its fields' by name.
    """

    of: Mapping[str, Any]
    listed: Callable[[Any], Any]
    struct: Callable[[dict[str, Any]], Any]


def _type_of(schema: Any, types: _Types) -> Any:
    """Return the library's type for a schema; None where it may be anything."""
    inner = _not_null(schema)
    column = Column("", (), inner)
    if column.kind in types.of:
        return types.of[column.kind]
    if column.labels:
        return types.of["integer"] if all(type(label) is int for label in column.labels) else None
    if column.kind == "array":
        of = _type_of(inner.get("items", {}), types)
        return None if of is None else types.listed(of)
    if column.kind == "object" and inner.get("properties"):
        parts = {name: _type_of(part, types) for name, part in inner["properties"].items()}
        return None if any(part is None for part in parts.values()) else types.struct(parts)
    return None


def _polars(column: Column, values: list[Any]) -> Any:
    polars = sys.modules["polars"]
    labels = column.labels
    if labels and all(isinstance(label, str) for label in labels):
        return polars.Series(column.name, values, dtype=polars.Enum(labels))
    of = {
        "string": polars.String, "integer": polars.Int64, "number": polars.Float64, "boolean": polars.Boolean,
        "date": polars.Date, "datetime": polars.Datetime("us"),
    }  # fmt: skip
    kind = _type_of(column.schema, _Types(of, polars.List, polars.Struct))
    if kind is None:
        return polars.Series(column.name, _as_json(values), dtype=polars.String)
    return polars.Series(column.name, values, dtype=kind)


def _arrow(column: Column, values: list[Any]) -> Any:
    arrow = sys.modules["pyarrow"]
    labels = column.labels
    if labels and all(isinstance(label, str) for label in labels):
        numbers = {label: number for number, label in enumerate(labels)}
        indices = arrow.array([None if value is None else numbers[value] for value in values], arrow.int32())
        return arrow.DictionaryArray.from_arrays(indices, arrow.array(labels, arrow.string()))
    of = {
        "string": arrow.string(), "integer": arrow.int64(), "number": arrow.float64(), "boolean": arrow.bool_(),
        "date": arrow.date32(), "datetime": arrow.timestamp("us"),
    }  # fmt: skip
    kind = _type_of(column.schema, _Types(of, arrow.list_, lambda parts: arrow.struct(list(parts.items()))))
    if kind is None:
        return arrow.array(_as_json(values), arrow.string())
    return arrow.array(values, kind)
