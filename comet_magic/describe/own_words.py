"""Things that can say what they are: by a representation for readers, a summary, a text, what they hold."""

from __future__ import annotations

import base64
import contextlib
import inspect
import io
from collections.abc import Callable, Iterator
from typing import Any

from ..messages.image_size import media_type
from ..messages.lasting import with_sorted_sets
from ..text import cut, lazy_pattern, many
from .dependencies import has, home, table_library, type_name
from .description import Description, Limits, TokenBudget, stable_repr, without_addresses
from .frames import dtype_text
from .images import image

# A default repr says the class alone; without its address it is the same for each of them.
_DEFAULT = lazy_pattern(r"<[\w.<>]+ (?:object|instance)(?: at 0x[0-9A-Fa-f]+)?>")
# When a summary was made, which is another time at each run.
_WHEN = lazy_pattern(r"((?:Date|Time):\s+)(?:\w{3}, \d\d \w{3} \d{4}|\d\d:\d\d:\d\d)")
_LAZY = ("pyspark", "dask", "ibis", "sqlframe")  # whose summaries are computed
MOST_ATTRIBUTES = 40


def described(value: Any, limits: Limits, describe: Callable[[Any, Limits], Description]) -> Description:
    """Return what the value says of itself, in the order in which it is worth most.

    describe: describes what is found in it.
    """
    if home(value) in ("duckdb", "_duckdb", "sqlite3") and has(value, "execute", "cursor"):
        return _connection(value, limits)
    if (held := _held_table(value)) is not None:
        inner = describe(held, limits)
        grouping = f"grouped by {limits.short(_keys(value))}\n" if has(value, "agg") and _keys(value) else ""
        return inner._replace(kind=f"{type_name(value)} of a {inner.kind}", text=f"{grouping}{inner.text}")
    for say in (_markdown, _picture, _summary, _text, _data):
        said = say(value, limits)
        if said is not None:
            return said
    return _attributes(value, limits)


def _called(value: Any, name: str) -> Any:
    """Return what a method of its class returns when nothing is given to it; None where that fails."""
    method = getattr(type(value), name, None)
    if not callable(method):
        return None
    with contextlib.suppress(Exception):  # a user's class raises what it likes
        return method(value)
    return None


def _said(value: Any, text: str, limits: Limits) -> Description:
    limits.refuse_values(f"what {type_name(value)} says of itself")
    text = _WHEN.sub(r"\1…", with_sorted_sets(without_addresses(text))).strip("\n")
    formatted = limits.fitted(text)
    return Description(type_name(value), formatted, is_value=len(formatted) <= 80)


def _markdown(value: Any, limits: Limits) -> Description | None:
    text = _called(value, "_repr_markdown_")
    text = text[0] if isinstance(text, tuple) and text else text
    return _said(value, text, limits) if isinstance(text, str) and text.strip() else None


def _picture(value: Any, limits: Limits) -> Description | None:
    for name in ("_repr_png_", "_repr_jpeg_"):
        content = _called(value, name)
        content = content[0] if isinstance(content, tuple) and content else content
        if isinstance(content, str):
            with contextlib.suppress(ValueError):
                content = base64.b64decode(content)
        if isinstance(content, bytes) and media_type(content):
            return image(content, type_name(value), limits)
    return None


def _summary(value: Any, limits: Limits) -> Description | None:
    """Return what `summary()` returns or prints, where it wants nothing."""
    if home(value) in _LAZY or not limits.share_values:
        return None
    try:  # of the instance: statsmodels' results are wrapped; but a mock's answer is no method
        is_method = inspect.ismethod(value.summary)
    except Exception:  # noqa: BLE001  # it may raise what it likes
        is_method = False
    if not is_method:
        return None
    printed = io.StringIO()
    with contextlib.suppress(Exception), contextlib.redirect_stdout(printed):  # it may want more than itself
        returned = value.summary()
        text = str(returned) if returned is not None else printed.getvalue()
        return _said(value, text, limits) if text.strip() and not _DEFAULT.fullmatch(text.strip()) else None
    return None


def _text(value: Any, limits: Limits) -> Description | None:
    """Return its `str()` or its repr, where its class has one of its own that says more than its class."""
    kind: Any = type(value)
    writer: Callable[[Any], str] | None = None
    if kind.__str__ is not object.__str__:
        writer = str
    elif kind.__repr__ is not object.__repr__:
        writer = stable_repr
    if writer is None:
        return None
    try:
        text = writer(value)
    except Exception as error:  # noqa: BLE001  # it may raise what it likes
        text = f"<{type_name(value)}, whose text fails: {type(error).__name__}>"
    return None if not text.strip() or _DEFAULT.fullmatch(text.strip()) else _said(value, text, limits)


def _data(value: Any, limits: Limits) -> Description | None:
    """Return the text under one of IPython's objects for display, and the like."""
    is_display = home(value) == "IPython"
    data = getattr(value, "data", None) if is_display else getattr(value, "__dict__", {}).get("data")
    if isinstance(data, dict | list) and data:
        return _said(value, stable_repr(data), limits)
    return _said(value, data, limits) if isinstance(data, str) and data.strip() else None


def _held_table(value: Any) -> Any:
    """Return the table under a Styler, a GroupBy, a rolling window; None where there is none."""
    if table_library(value) or not hasattr(value, "__dict__"):
        return None
    if home(value) not in ("pandas", "polars", "modin", "cudf"):
        return None
    attributes = vars(value)
    return next((held for name in ("data", "obj", "df") if table_library(held := attributes.get(name))), None)


def _keys(value: Any) -> str:
    """Return the names of the columns that a table is grouped by; of other keys, which may be values, the kind."""
    attributes = vars(value)
    keys = attributes.get("keys", attributes.get("by"))
    if keys is None:
        return ""
    parts = keys if isinstance(keys, list | tuple) else [keys]
    return ", ".join(part if isinstance(part, str) else type_name(part) for part in parts[:10])


def _connection(connection: Any, limits: Limits) -> Description:
    """Describe a connection of DuckDB or SQLite by its tables; a cursor of its own leaves its results alone."""
    query = (
        "SELECT m.name, p.name, p.type FROM sqlite_master m JOIN pragma_table_info(m.name) p"
        " WHERE m.type IN ('table', 'view')"
        if home(connection) == "sqlite3"
        else "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " ORDER BY table_name, ordinal_position"
    )
    tables: dict[str, list[str]] = {}
    try:
        for table, column, kind in connection.cursor().execute(query).fetchall():
            tables.setdefault(str(table), []).append(f"{column} {dtype_text(str(kind))}".strip())
    except Exception as error:  # noqa: BLE001  # as of one that is closed
        return Description(type_name(connection), f"a connection that cannot be read: {type(error).__name__}")
    room = TokenBudget(limits.table_tokens)
    room.add(f"connection with {many(len(tables), 'table')}{':' if tables else ''}")
    for number, (table, columns) in enumerate(sorted(tables.items())):
        if not room.add(f"- {cut(table, 60)} ({', '.join(columns)})"):
            room.lines.append(f"… {len(tables) - number} more")
            break
    return Description(type_name(connection), str(room), many(len(tables), "table"))


def _attributes(value: Any, limits: Limits) -> Description:
    """Return its public attributes: of the instance alone, as those of its class may compute much."""
    from .objects import brief  # which asks this module for what it does not know

    room = TokenBudget(limits.table_tokens)
    for name, attribute in _public(value):
        room.add(f"{name} = {brief(attribute, limits)}")
    kind = type_name(value)
    if room.lines:
        return Description(kind, "\n".join([f"{kind}, with", *room.lines]), many(len(room.lines), "attribute"))
    limits.refuse_values(f"the repr of {kind}")
    text = without_addresses(stable_repr(value))
    label = "only its class: nothing more is known of it" if text.endswith(" object>") else ""
    return Description(kind, text, label, is_value=True)


def _public(value: Any) -> Iterator[tuple[str, Any]]:
    attributes = dict(vars(value)) if hasattr(value, "__dict__") else {}
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            with contextlib.suppress(Exception):  # not set, or not wanted
                attributes.setdefault(name, getattr(value, name))
    shown = [(name, held) for name, held in attributes.items() if not name.startswith("_") and not callable(held)]
    yield from shown[:MOST_ATTRIBUTES]
