"""What the user names as a tool → a `Tool` that the model may call; and `query`, a ready-made one for tables.

It is a function, a tool of LangChain's or LlamaIndex's, or one of an MCP server's; or a list of those.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any, TypeVar, cast, overload

from ..docstrings import docstring
from ..errors import ConfigError
from ..messages.request import REPLY_TOOL
from ..output.schema import Schema, plain_json, schema_of, signature_of
from .library_tools import library_of, library_tool
from .server_tools import LONGEST_NAME, SAFE, ServerTool, ServerTools, current_tools
from .sql import Query

__all__ = ["query", "tool"]

F = TypeVar("F", bound=Callable[..., Any])

query = Query()


@overload
def tool(function: F) -> F: ...
@overload
def tool(*, safe: bool = False) -> Callable[[F], F]: ...
def tool(function: Any = None, *, safe: bool = False) -> Any:
    """Mark a function as a tool. safe: it may run without asking, whatever the arguments; also where nobody can answer.

    A tool of LangChain's, LlamaIndex's or a server's can be marked, too.

    @comet_magic.tool(safe=True)
    def stock(item: str) -> int:
        "Pieces of an item in the store."
    """

    def marked(function: F) -> F:
        try:
            setattr(function, SAFE, safe)
        except (AttributeError, ValueError):  # a model of pydantic's has no other attributes than its fields
            object.__setattr__(function, SAFE, safe)
        return function

    return marked if function is None else marked(function)


@dataclass(frozen=True)
class Tool:
    """name: as the model calls it.        schema: of its parameters.        is_safe: it is run without asking.

    identity: what an "always" of the user's is for: the very object that was named, or the digest of a server's tool.
    server: the name of the MCP server that it is a tool of; "" for others.
    has_changed: whether that server says something else of it than for the last question.
    """

    name: str
    description: str
    schema: Schema
    function: Callable[..., Any]
    identity: object
    is_safe: bool = False
    server: str = ""
    has_changed: bool = False

    def wire(self, hide: Callable[[str], str]) -> dict[str, Any]:
        """Return an entry of a request's `tools`. hide: takes secrets out of it, for a default may be one."""
        described = {"description": self.description} if self.description else {}
        return dict(json.loads(hide(json.dumps({"name": self.name, **described, "input_schema": self.schema.json}))))


def tools_of(
    functions: object, tables: Mapping[str, Any], limit_s: float, names: Iterable[str] = ()
) -> dict[str, Tool]:
    """Return the functions as tools, by name; a list among them stands for what is in it.

    tables: what `query` is to see.        limit_s: for how long it, and a call of a server, may run.
    names: of the functions, if known.

    Raises: ConfigError for one that no model can call.
    """
    if not _is_group(functions):
        raise ConfigError("tools are given as a list of functions", "nothing was sent; tools=[f, g]")
    pairs = zip_longest(cast(Iterable[Any], functions), names, fillvalue="")
    single = [pair for function, name in pairs for pair in _flattened(function, name)]
    current_tools(function for function, _ in single if isinstance(function, ServerTool))
    tools: dict[str, Tool] = {}
    for function, name in single:
        made = _tool(function, name, tables, limit_s)
        if made.name == REPLY_TOOL:
            raise ConfigError(f"a tool cannot be called {REPLY_TOOL}: typed replies are", "nothing was sent; rename it")
        if made.name in tools:
            raise ConfigError(f"two tools are called {made.name}", "nothing was sent; rename one")
        tools[made.name] = made
    return tools


def is_tool(value: object) -> bool:
    """Return whether a value is a tool of a library or a server, or a list of a server's."""
    return issubclass(type(value), ServerTool | ServerTools) or bool(library_of(value))


def _is_group(value: object) -> bool:
    is_one = callable(value) or isinstance(value, str) or library_of(value)
    return not is_one and isinstance(value, Iterable)


def _flattened(function: object, name: str) -> Iterator[tuple[Any, str]]:
    if isinstance(function, list | tuple):
        for one in function:
            yield from _flattened(one, "")
    else:
        yield function, name


def _tool(function: Any, name: str, tables: Mapping[str, Any], limit_s: float) -> Tool:
    if isinstance(function, ServerTool):
        return _of_server(function, limit_s)
    if library_of(function):
        return _of_library(function)
    function_of = getattr(function, "func", function)  # of a functools.partial
    own = str(getattr(function_of, "__name__", ""))
    name = re.sub(r"\W", "_", own if own.isidentifier() else name or own, flags=re.ASCII)[:LONGEST_NAME]
    if not callable(function) or not name.strip("_"):
        raise ConfigError(
            f"{name or function!r} is not a function that has a name", "nothing was sent; define it with def"
        )
    if inspect.iscoroutinefunction(function):
        raise _async(name)
    if isinstance(function, Query):
        function = function.over(tables, limit_s)
    described = docstring(getattr(function, "func", function))
    return Tool(name, described, signature_of(function, name), function, function, _is_safe(function))


def _of_library(tool: Any) -> Tool:
    own = library_tool(tool)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", own.name)[:LONGEST_NAME]
    if not name.strip("_-"):
        raise ConfigError(f"a tool of {library_of(tool)} has no name", "nothing was sent; give it one")
    if own.is_async:
        raise _async(name)
    schema = schema_of(plain_json(own.schema), name)
    return Tool(name, own.description, schema, own.run, tool, _is_safe(tool) or _is_safe(own.function))


def _of_server(tool: ServerTool, limit_s: float) -> Tool:
    run = partial(tool.call, limit_s)
    return Tool(
        tool.name, tool.description, tool.schema, run, tool.digest, tool.is_safe, tool.server, tool.has_changed
    )  # fmt: skip


def _is_safe(function: Any) -> bool:
    return bool(getattr(function, SAFE, False))


def _async(name: str) -> ConfigError:
    return ConfigError(f"{name} is async, and a tool is not", "nothing was sent; write a plain function around it")
