"""What a value is, told by its class alone: libraries are recognised without being imported, and no value is touched.

An instance may answer yes to any attribute (a mock, a proxy, a lazy object), or raise; its class does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

TABLE_LIBRARIES = frozenset(
    "narwhals pandas polars pyarrow modin cudf duckdb _duckdb dask dask_expr pyspark ibis sqlframe".split()
)
SERIES = ("Series", "ChunkedArray")
_TABLES = (*SERIES, "DataFrame", "LazyFrame", "Table", "DuckDBPyRelation", "RecordBatch")


def has(value: object, *names: str) -> bool:
    """Return whether its class has all of these."""
    return all(hasattr(type(value), name) for name in names)


def home(value: object) -> str:
    """Return the library that its class is of."""
    return str(type(value).__module__).split(".")[0]


def table_library(value: object) -> str:
    """Return the library whose table or series it is, or is made from; "" for other things."""
    return _table_class(value)[0]


def is_series_like(value: object) -> bool:
    """Return whether it is a single column."""
    return _table_class(value)[1] in SERIES


def _table_class(value: object) -> tuple[str, str]:
    homes = [(str(kind.__module__).split(".")[0], kind.__name__) for kind in type(value).__mro__]
    return next((home for home in homes if home[0] in TABLE_LIBRARIES and home[1] in _TABLES), ("", ""))


def is_collection(value: object) -> bool:
    kind = type(value)
    return issubclass(kind, Mapping | Sequence | Set) and not issubclass(
        kind, str | bytes | bytearray | range | memoryview
    )


def type_name(value: Any) -> str:
    """Return `pandas DataFrame`, `dict`, `sklearn LinearRegression`: the library and the class."""
    kind = value if issubclass(type(value), type) else type(value)
    library = str(kind.__module__).split(".")[0]
    return kind.__qualname__ if library in ("builtins", "__main__") else f"{library} {kind.__qualname__}"


def plain(value: Any) -> Any:
    """Return one of NumPy's numbers, days and spans as Python's own; one that Python cannot hold stays as it is."""
    if type(value).__module__ != "numpy" or getattr(value, "shape", None) != ():
        return value
    if value.dtype.kind not in "mM":
        return value.item()
    converted = value.astype(f"{value.dtype.kind}8[us]").item()
    return value if isinstance(converted, int) else converted
