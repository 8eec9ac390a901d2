"""A reply that is a table: its schema, and the DataFrame, with right dtypes, of whichever library was named.

No such library is imported: the class that the user named is at hand, and its module with it.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

from ..errors import ConfigError
from ..render.table import Table
from ..text import many, one_line
from .schema import Mismatch, Schema, lax_reader, schema_of

KINDS = {"string": str, "integer": int, "number": float, "boolean": bool, "date": dt.date, "datetime": dt.datetime}
SHOWN_ROWS = 60  # of a list of records; as many as Jupyter shows of a DataFrame
SHOWN_CHARACTERS = 100  # of a value in it
_POLARS = {
    "string": "String", "integer": "Int64", "number": "Float64", "boolean": "Boolean", "date": "Date",
    "datetime": "Datetime",
}  # fmt: skip
_ARROW = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool_", "date": "date32",
    "datetime": "timestamp",
}  # fmt: skip
_CELL = {"anyOf": [{"type": kind} for kind in ("string", "number", "boolean", "null")]}
_TABLE = {
    "type": "object",
    "description": "A table. Dates are written as in ISO 8601; what is missing is null.",
    "properties": {
        "columns": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "type": {"type": "string", "enum": list(KINDS)}},
                "required": ["name", "type"],
                "additionalProperties": False,
            },
        },
        "rows": {"type": "array", "items": {"type": "array", "items": _CELL}},
    },
    "required": ["columns", "rows"],
    "additionalProperties": False,
}


def is_frame_class(kind: Any) -> bool:
    home = _home(kind) if isinstance(kind, type) else ""
    return (home, getattr(kind, "__name__", "")) in (
        ("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table"),
    )  # fmt: skip


def _home(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def frame_schema(kind: Any) -> Schema:
    """Return the schema of a table whose columns the model chooses."""
    outline = schema_of(_TABLE, "DataFrame")

    def read(value: Any) -> Any:
        outline.read(value)
        names = [column["name"] for column in value["columns"]]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise Mismatch(f"columns: two are called {twice[0]!r}")
        for number, row in enumerate(value["rows"]):
            if len(row) != len(names):
                raise Mismatch(f"rows[{number}]: {len(row)} values for {len(names)} columns")
        types_of = {column["name"]: column["type"] for column in value["columns"]}
        columns = {
            name: _column([row[at] for row in value["rows"]], name, types_of[name]) for at, name in enumerate(names)
        }
        try:
            return _frame(kind, columns, types_of)
        except Exception as error:  # as for an integer that the library has no room for
            raise Mismatch(f"{type(error).__name__}: {error}") from error

    return replace(outline, read=read)


def _column(values: list[Any], name: str, kind: str) -> list[Any]:
    if kind in ("date", "datetime") and not all(isinstance(value, str | None) for value in values):
        raise Mismatch(f"column {name!r} of type {kind}: it is written as a text, as in 2026-01-31")
    of = list[KINDS[kind] | None]  # type: ignore[valid-type]
    try:
        made = list((lax_reader(of) if kind in ("date", "datetime") else schema_of(of, name).read)(values))
    except Mismatch as problem:
        raise Mismatch(f"column {name!r} of type {kind}: {problem}") from None
    if kind == "datetime" and len({value.tzinfo is None for value in made if value is not None}) > 1:
        raise Mismatch(f"column {name!r}: some times have a zone, and some have none")
    if kind == "datetime" and len({value.utcoffset() for value in made if value is not None}) > 1:
        made = [value and value.astimezone(dt.timezone.utc) for value in made]  # one column has one zone
    return made


def _frame(kind: Any, columns: dict[str, list[Any]], types_of: dict[str, str]) -> Any:
    """Return a DataFrame of that kind. types_of: the type of each column, as far as it is known."""
    library = sys.modules[_home(kind)]
    if _home(kind) == "polars":
        known = {name: _type(library, _POLARS, of, columns[name]) for name, of in types_of.items()}
        return kind(columns, schema_overrides={name: of for name, of in known.items() if of is not None})
    if _home(kind) == "pyarrow":
        types = {name: _type(library, _ARROW, types_of.get(name), values) for name, values in columns.items()}
        return library.table({name: library.array(values, types[name]) for name, values in columns.items()})
    frame = kind(columns)
    dtypes = {name: dtype for name in columns if (dtype := _dtype(types_of.get(name), columns[name]))}
    text = library.Series(["text"]).dtype
    frame = frame.astype({name: text if dtype == "text" else dtype for name, dtype in dtypes.items()})
    for name, of in types_of.items():
        if of == "datetime" and str(frame[name].dtype).startswith("datetime64[ns"):  # as pandas before 3 has them
            frame[name] = frame[name].dt.as_unit("us")
    return frame


def _is_empty(values: list[Any]) -> bool:
    return all(value is None for value in values)


def _type(library: Any, names: dict[str, str], kind: str | None, values: list[Any]) -> Any:
    """Return the library's own; None to take what it infers itself."""
    if kind == "datetime":
        return getattr(library, names[kind])("us") if _is_empty(values) else None
    return getattr(library, names[kind])() if kind in names else None


def _dtype(kind: str | None, values: list[Any]) -> str:
    """Return what pandas calls it; "" to take what it infers itself."""
    has_nulls = any(value is None for value in values)
    match kind:
        case "integer":
            fits = all(value is None or -(2**63) <= value < 2**63 for value in values)
            return ("Int64" if has_nulls else "int64") if fits else ""
        case "number":
            return "float64"
        case "boolean":
            return "boolean" if has_nulls else "bool"
        case "date":
            return "datetime64[us]"
        case "datetime":
            return "datetime64[us]" if _is_empty(values) else ""
        case "string":
            return "text" if _is_empty(values) else ""
    return ""


class Rows(list[Any]):
    """A list of records of one type, which shows itself as a table; `rows.to(DataFrame)` makes it one."""

    _schema: dict[str, Any] = {}  # JSON Schema of one record

    @classmethod
    def of(cls, records: Iterable[Any], schema: dict[str, Any]) -> Rows:
        rows = cls(records)
        rows._schema = schema
        return rows

    @property
    def columns(self) -> dict[str, list[Any]]:
        records = [record.model_dump(by_alias=True) if hasattr(record, "model_dump") else record for record in self]
        return {name: [_field(record, name) for record in records] for name in self._schema.get("properties", {})}

    def to(self, kind: Any) -> Any:
        """Convert to `kind`: DataFrame of pandas or polars, or pyarrow's Table. Raises: TypeError for another."""
        if not is_frame_class(kind):
            raise TypeError(f"rows.to(DataFrame) takes the class of pandas or polars, or pyarrow's Table, not {kind!r}")
        types_of = {name: of for name, part in self._schema.get("properties", {}).items() if (of := _kind(part))}
        return _frame(kind, self.columns, types_of)

    def _table(self) -> Table:
        columns = self.columns
        rows = [tuple(map(_formatted, row)) for row in zip(*columns.values(), strict=True)]
        hidden = len(rows) - SHOWN_ROWS
        more = f", of which {hidden:,} are not shown" if hidden > 0 else ""
        size = f"{many(len(rows), 'row')} × {many(len(columns), 'column')}{more}"
        return Table("", tuple(columns), rows[:SHOWN_ROWS], [size])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self._table()._repr_mimebundle_()


def _field(record: Any, name: str) -> Any:
    value = record.get(name) if isinstance(record, dict) else getattr(record, name, None)
    return value.value if isinstance(value, Enum) else value


def _formatted(value: Any) -> str:
    return "" if value is None else one_line(str(value), SHOWN_CHARACTERS)


def _kind(schema: dict[str, Any]) -> str:
    """Return which of KINDS a property is; "" if it is another."""
    parts: Sequence[Any] = schema.get("anyOf", [schema])
    known = {_plain_kind(part) for part in parts if part.get("type") != "null"}
    return known.pop() if len(known) == 1 else ""


def _plain_kind(schema: dict[str, Any]) -> str:
    kind = str(schema.get("type", ""))
    if kind == "string":
        form = schema.get("format")
        return {"date": "date", "date-time": "datetime", None: "" if "enum" in schema else "string"}.get(form, "")
    return kind if kind in KINDS else ""


def record_schema(schema: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema of one record, where the schema is that of a list of records; None where it is not."""
    item = schema.get("items") if schema.get("type") == "array" else None
    if isinstance(item, dict) and "$ref" in item:
        item = schema.get("$defs", {}).get(item["$ref"].rpartition("/")[2])
    return item if isinstance(item, dict) and item.get("properties") else None


def reader(read: Callable[[Any], Any], schema: dict[str, Any]) -> Callable[[Any], Any]:
    """Return `read`, changed so that a list of records becomes Rows."""
    record = record_schema(schema)
    if record is None:
        return read
    return lambda value: Rows.of(read(value), record)


def need_frame_class() -> Any:
    """Return the DataFrame that the name alone means. Raises: ConfigError where no library has been imported."""
    for name in ("pandas", "polars"):
        if library := sys.modules.get(name):
            return library.DataFrame
    raise ConfigError("DataFrame: neither pandas nor polars has been imported", "nothing was sent; import pandas as pd")
