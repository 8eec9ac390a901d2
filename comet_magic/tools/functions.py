"""The user's functions as tools that the model may call; and `query`, a ready-made one for tables."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from ..docstrings import docstring
from ..errors import ConfigError
from ..messages.request import REPLY_TOOL
from ..output.schema import Schema, signature_of
from .sql import Query

__all__ = ["query", "tool"]

F = TypeVar("F", bound=Callable[..., Any])
LONGEST_NAME = 64  # characters, says the API
_SAFE = "_comet_magic_is_safe"

query = Query()


@overload
def tool(function: F) -> F: ...
@overload
def tool(*, safe: bool = False) -> Callable[[F], F]: ...
def tool(function: Any = None, *, safe: bool = False) -> Any:
    """Mark a function as a tool. safe: it may run without asking, whatever the arguments; also where nobody can answer.

    @comet_magic.tool(safe=True)
    def stock(item: str) -> int:
        "Pieces of an item in the store."
    """

    def marked(function: F) -> F:
        setattr(function, _SAFE, safe)
        return function

    return marked if function is None else marked(function)


@dataclass(frozen=True)
class Tool:
    """name: as the model calls it.        schema: of its parameters.        is_safe: it is run without asking."""

    name: str
    description: str
    schema: Schema
    function: Callable[..., Any]
    is_safe: bool = False

    def wire(self, hide: Callable[[str], str]) -> dict[str, Any]:
        """Return an entry of a request's `tools`. hide: takes secrets out of it, for a default may be one."""
        described = {"description": self.description} if self.description else {}
        return dict(json.loads(hide(json.dumps({"name": self.name, **described, "input_schema": self.schema.json}))))


def tools_of(
    functions: object, tables: Mapping[str, Any], limit_s: float, names: Iterable[str] = ()
) -> dict[str, Tool]:
    """Return the functions as tools, by name.

    tables: what `query` is to see, and limit_s: for how long it may run.        names: of the functions, if known.

    Raises: ConfigError for one that no model can call.
    """
    if callable(functions) or isinstance(functions, str) or not isinstance(functions, Iterable):
        raise ConfigError("tools are given as a list of functions", "nothing was sent; tools=[f, g]")
    functions, known = list(functions), list(names)
    tools: dict[str, Tool] = {}
    for index, function in enumerate(functions):
        name = known[index] if known else getattr(function, "__name__", "")
        made = _tool(function, name, tables, limit_s)
        if made.name in tools:
            raise ConfigError(f"two tools are called {made.name}", "nothing was sent; rename one")
        tools[made.name] = made
    return tools


def _tool(function: Any, name: str, tables: Mapping[str, Any], limit_s: float) -> Tool:
    function_of = getattr(function, "func", function)  # of a functools.partial
    own = str(getattr(function_of, "__name__", ""))
    name = re.sub(r"\W", "_", own if own.isidentifier() else name, flags=re.ASCII)[:LONGEST_NAME]
    if not callable(function) or not name.strip("_"):
        raise ConfigError(
            f"{name or function!r} is not a function that has a name", "nothing was sent; define it with def"
        )
    if inspect.iscoroutinefunction(function):
        raise ConfigError(f"{name} is async, and a tool is not", "nothing was sent; write a plain function around it")
    if name == REPLY_TOOL:
        raise ConfigError(f"a tool cannot be called {REPLY_TOOL}: typed replies are", "nothing was sent; rename it")
    if isinstance(function, Query):
        function = function.over(tables, limit_s)
    described = docstring(getattr(function, "func", function))
    return Tool(name, described, signature_of(function, name), function, bool(getattr(function, _SAFE, False)))
