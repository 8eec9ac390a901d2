"""What the notebook has, for a prompt: tables and variables, functions, imports, versions. Never a value."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..describe.dependencies import has, home, table_library, type_name
from ..describe.description import Description, Limits, TokenBudget
from ..describe.frames import column_names
from ..describe.objects import brief
from ..messages.tokens import estimated_tokens
from ..redaction import is_secret_name
from ..text import many

MOST_COLUMNS = 40  # of a table that are named
OURS = ("__main__", "comet_magic", "IPython", "ipykernel")


def describe_namespace(namespace: Mapping[str, Any], hidden: Mapping[str, Any], limits: Limits) -> Description:
    """Describe the user's own names, in an order that is the same however often cells were run.

    hidden: what IPython has put there.
    """
    own = [name for name in namespace if not name.startswith("_") and name not in hidden]
    names = {name: namespace[name] for name in sorted(own)}
    room = TokenBudget(limits.table_tokens)
    sections = _sections(names, limits)
    versions = f"versions: {', '.join(_versions(names))}"
    room.tokens -= estimated_tokens(versions)
    left_out = sum(not _add(room, title, lines) for title, lines in sections.items() if lines)
    if left_out:
        room.lines.append("… and more")
    room.lines.append(versions[: 4 * limits.table_tokens])
    return Description("outline of the notebook", str(room), many(sum(map(len, sections.values())), "name"))


def _add(room: TokenBudget, title: str, lines: list[str]) -> bool:
    """Add a section, or as much of it as there is room for. Returns: whether there was room for any of it."""
    if not room.add(f"{title}:"):
        return False
    for number, line in enumerate(lines):
        if not room.add(f"- {line}"):
            room.lines.append(f"… {len(lines) - number:,} more")
            break
    return True


def _sections(names: Mapping[str, Any], limits: Limits) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {"tables": [], "variables": [], "functions and classes": [], "imports": []}
    for name, value in names.items():
        try:
            if _is_secret(name, value, limits):
                continue
            section, line = _line(name, value, limits)
        except Exception:  # noqa: BLE001  # a proxy may raise what it likes
            section, line = "variables", f"{name}: {type_name(value)}"
        sections[section].append(line)
    return sections


def _is_secret(name: str, value: Any, limits: Limits) -> bool:
    """Return whether a name's content looks like a secret: then not even the name is told."""
    if is_secret_name(name):
        return True
    return isinstance(value, str) and limits.hide(value[:10_000]) != value[:10_000]


def _line(name: str, value: Any, limits: Limits) -> tuple[str, str]:
    kind = type(value)
    if issubclass(kind, types.ModuleType):
        return "imports", f"import {value.__name__}" + (f" as {name}" if value.__name__ != name else "")
    if issubclass(kind, type) or inspect.isroutine(value):
        module = getattr(value, "__module__", None)
        if module not in (None, "__main__"):
            own = getattr(value, "__name__", name)
            return "imports", f"from {module} import {own}" + (f" as {name}" if own != name else "")
        if issubclass(kind, type):
            return "functions and classes", f"class {name}"
        return "functions and classes", f"{name}{_signature(value)}"
    if table_library(value):
        columns = column_names(value, limits)
        shown = ", ".join(columns[:MOST_COLUMNS])
        more = f", and {len(columns) - MOST_COLUMNS:,} more" if len(columns) > MOST_COLUMNS else ""
        return "tables", f"{name}: {brief(value, limits)}: {shown}{more}"
    if has(value, "shape", "dtype"):
        return "variables", f"{name}: {brief(value, limits._replace(share_values=False))}"
    size = f" of {len(value):,}" if isinstance(value, list | tuple | dict | set | frozenset) else ""
    return "variables", f"{name}: {type_name(value)}{size}"


def _signature(function: Any) -> str:
    """Return its parameters; a default may be a value, and is not told."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return "(…)"
    empty = inspect.Parameter.empty
    parameters = [
        parameter if parameter.default is empty else parameter.replace(default=_ANY)
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters))


class _Any:
    def __repr__(self) -> str:
        return "…"


_ANY = _Any()


def _versions(names: Mapping[str, Any]) -> Iterator[str]:
    """Yield the versions of Python and of the libraries of the names."""
    yield f"Python {sys.version.split()[0]}"
    homes = [_home(value) for value in names.values()]
    yield from versions_of(sorted(name for name in homes if name.split(".")[0] != "ipywidgets"))


def versions_of(modules: Iterable[str]) -> Iterator[str]:
    """Yield `pandas 3.1.1` for each library of these modules, but for those that run the notebook."""
    for library in dict.fromkeys(name.split(".")[0] for name in modules):
        is_told = library not in sys.stdlib_module_names and library not in OURS
        if is_told and (version := _version_of(library)):
            yield f"{library} {version}"


def _home(value: Any) -> str:
    """Return the module that a value is, or is of. By its class: a proxy may raise when it is asked."""
    return str(value.__name__) if issubclass(type(value), types.ModuleType) else home(value)


def _version_of(library: str) -> str:
    """Return the version of a module that is loaded; some have it only when it is asked for."""
    try:
        return str(getattr(sys.modules.get(library), "__version__", ""))
    except Exception:  # noqa: BLE001  # a module may raise what it likes
        return ""
