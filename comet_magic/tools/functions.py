"""What the user names as a tool → a `Tool` that the model may call; and `query`, a ready-made one for tables.

It is a function, a tool of LangChain's or LlamaIndex's, or one of an MCP server's; or a list of those.
"""

from __future__ import annotations

import inspect
import re
import weakref
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
from .names import LONGEST_NAME, SAFE, api_name
from .server_tools import ServerTool, ServerTools, update_tools
from .sql import Query

__all__ = ["query", "tool"]

F = TypeVar("F", bound=Callable[..., Any])

DEEPEST = 10  # lists of tools within one another

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
        if isinstance(function, list):
            raise ConfigError("a list of tools is not safe as a whole", "mark each: tool(safe=True)(shop['stock'])")
        # A copy of a library's tool has its attributes, too, and may run another function.
        mark = weakref.ref(function) if safe and library_of(function) else safe
        try:
            setattr(function, SAFE, mark)
        except (AttributeError, ValueError):  # a model of pydantic's has no other attributes than its fields
            object.__setattr__(function, SAFE, mark)
        return function

    return marked if function is None else marked(function)


@dataclass(frozen=True)
class Tool:
    """name: as the model calls it.        schema: of its parameters.        is_safe: it is run without asking.

    identity: what an "always" is remembered for: the very object that was named, or the digest of a server's tool.
    of_server: the tool of an MCP server that it is made of; None for others.
    """

    name: str
    description: str
    schema: Schema
    function: Callable[..., Any]
    identity: object
    is_safe: bool = False
    of_server: ServerTool | None = None

    def wire(self, hide: Callable[[str], str]) -> dict[str, Any]:
        """Return an entry of a request's `tools`. hide: takes secrets out of it, for a default may be one."""
        described = {"description": self.description} if self.description else {}
        # Text by text: what looks like a secret in the JSON of all of them may go on beyond the end of one.
        return {"name": self.name, **_hidden({**described, "input_schema": self.schema.json}, hide)}


_TO_THE_LETTER = ("enum", "const", "required", "pattern", "format", "type", "$ref")


def _hidden(value: Any, hide: Callable[[str], str]) -> Any:
    """Return a schema without secrets. Of words that mean what they say, known ones alone are taken out."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, list):
        return [_hidden(part, hide) for part in value]
    if not isinstance(value, dict):
        return value
    known = getattr(hide, "known", hide)
    return {name: _hidden(part, known if name in _TO_THE_LETTER else hide) for name, part in value.items()}


def tools_of(
    functions: object, tables: Mapping[str, Any], limit_s: float, names: Iterable[str] = ()
) -> dict[str, Tool]:
    """Return the functions as tools, by name; a list among them stands for what is in it.

    tables: what `query` is to see.        limit_s: for how long it, and a call of a server, may run.
    names: of the functions, if known.

    Raises: ConfigError for one that no model can call.
    """
    if not _is_group(functions):
        raise ConfigError("tools takes a list of functions or tools", "nothing was sent; tools=[f, g]")
    pairs = zip_longest(cast(Iterable[Any], functions), names, fillvalue="")
    single = [pair for function, name in pairs for pair in _flattened(function, name)]
    update_tools(function for function, _ in single if isinstance(function, ServerTool))
    tools: dict[str, Tool] = {}
    for function, name in single:
        made = _tool(function, name, tables, limit_s)
        if made.name == REPLY_TOOL:
            raise ConfigError(f"a tool cannot be called {REPLY_TOOL}: typed replies are", "nothing was sent; rename it")
        if made.name in tools:
            hint = 'start one with mcp(…, name="other")' if made.of_server else "rename one"
            raise ConfigError(f"two tools are called {made.name}", f"nothing was sent; {hint}")
        tools[made.name] = made
    return tools


def is_tool(value: object) -> bool:
    """Return whether a value is a tool of a library or a server, or a list of a server's."""
    return issubclass(type(value), ServerTool | ServerTools) or bool(library_of(value))


def _is_group(value: object) -> bool:
    is_one = callable(value) or isinstance(value, str) or library_of(value)
    return not is_one and isinstance(value, Iterable)


def _flattened(function: object, name: str, depth: int = 0) -> Iterator[tuple[Any, str]]:
    if depth > DEEPEST:
        raise ConfigError("the list of tools has lists in lists in lists", "nothing was sent; give one list")
    if isinstance(function, list | tuple):
        for one in function:
            yield from _flattened(one, "", depth + 1)
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
    name = api_name(own.name)
    if not name.strip("_-"):
        raise ConfigError(f"a tool of {library_of(tool)} has no name", "nothing was sent; give it one")
    if own.is_async:
        raise _async(name)
    schema = schema_of(plain_json(own.schema), name)
    return Tool(name, own.description, schema, own.run, tool, _is_safe(tool) or _is_safe(own.function))


def _of_server(tool: ServerTool, limit_s: float) -> Tool:
    run = partial(tool.call, limit_s)
    return Tool(tool.name, tool.description, tool.schema, run, tool.digest, tool.is_safe, tool)


def _is_safe(function: Any) -> bool:
    mark = getattr(function, SAFE, False)
    return mark is True or (isinstance(mark, weakref.ref) and mark() is function)


def _async(name: str) -> ConfigError:
    return ConfigError(f"{name} is async, and a tool is not", "nothing was sent; write a plain function around it")
