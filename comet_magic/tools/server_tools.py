"""The tools of an MCP server, as they are offered to the model.

All that a server says of its tools is somebody else's text, which the model reads as orders: it is bounded, cleaned,
and shown in a dry run; and every call is asked about.
"""

from __future__ import annotations

import inspect
import json
import keyword
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from ..background import in_background
from ..errors import ConfigError, ToolError
from ..output.schema import Schema, schema_of
from ..redaction import EDGE, hidden_beginning
from ..settings import CometSettings
from ..suggestions import did_you_mean
from ..text import clean, many, one_line
from .mcp_client import Connection, ServerFailed
from .names import LONGEST_NAME, SAFE, unique_name
from .server_result import ServerResult
from .server_schema import Unusable, bounded, cleaned_schema
from .timeouts import TimedOut

LARGEST_LIST = 200_000  # characters of all that a server says of its tools
LIST_S = 10.0  # seconds for the lists of all servers, which are asked for with each question


class Server:
    """A running server. It is ended when nothing refers to it any more. name: begins the names of its tools."""

    def __init__(self, connection: Connection, started_by: list[Any]) -> None:
        """started_by: what makes it this server and no other."""
        self.name, self.connection = "", connection
        self._started_by = started_by
        self._end = weakref.finalize(self, in_background, connection.end)
        self._end.atexit = False  # all that run are ended then, and at the same time

    def digest_of(self, definition: Mapping[str, Any]) -> str:
        """Return what an "always" holds for: this program, where and with what it runs, and the tool as described."""
        described = {part: definition.get(part) for part in ("name", "description", "inputSchema")}
        return sha256(json.dumps([self._started_by, described], sort_keys=True).encode()).hexdigest()

    def close(self) -> None:
        self._end.detach()
        self.connection.close()

    @property
    def hint(self) -> str:
        return "" if self.connection.is_running else "run the cell that starts its server"


class ServerTool:
    """A tool of a server. Calling it yourself runs it without asking.

    name: SERVER__TOOL, as the model calls it.        own_name: the server's.
    description: the server's own words, bounded and cleaned.        schema: of its parameters.
    size: characters of what the model reads of it.
    digest: of what the server says of it now.        asked_digest: of what it said when a question was asked last.
    """

    name: str
    description: str
    schema: Schema
    size: int
    digest: str = ""

    def __init__(self, server: Server, definition: Mapping[str, Any]) -> None:
        """Raises: Unusable."""
        self.server = server
        self.own_name = str(definition.get("name") or "")
        self.update(definition)
        self.asked_digest = self.digest

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def is_safe(self) -> bool:
        """Whether you have said so by `comet_magic.tool(safe=True)`; what the server says of it counts for nothing."""
        return bool(self.__dict__.get(SAFE))

    def update(self, definition: Mapping[str, Any]) -> None:
        """Take what the server says of it now. Raises: Unusable where it cannot be offered any more."""
        digest = self.server.digest_of(definition)
        if digest == self.digest:
            return
        self.__dict__.pop(SAFE, None)  # that was said of another tool
        if not self.own_name.strip():
            raise Unusable("it has no name")
        hide = self.server.connection.hide
        name = unique_name(f"{self.server.name}__", hidden_beginning(self.own_name, EDGE, hide))
        description = bounded(inspect.cleandoc(str(definition.get("description") or "")), hide)
        try:
            schema = schema_of(cleaned_schema(definition.get("inputSchema"), hide), name)
        except ConfigError as error:
            raise Unusable(error.what) from None
        self.name, self.description, self.schema, self.digest = name, description, schema, digest
        self.size = len(description) + len(json.dumps(schema.json))
        self.__doc__ = description

    def call(self, limit_s: float, /, **arguments: Any) -> ServerResult:
        """Call it. limit_s: seconds to wait. Raises: ServerFailed, TimedOut."""
        connection = self.server.connection
        result = connection.call(self.own_name, arguments, limit_s)
        came = ServerResult(result, connection.hide)
        if result.get("isError"):
            raise connection.failure(came.text)
        return came

    def __call__(self, /, *values: object, **arguments: Any) -> Any:
        """Call it, and return its text; of a result with pictures, the `ServerResult`. Nobody is asked: you call it.

        Raises: ToolError where it gives no result in time.
        """
        if values:
            names = ", ".join(f"{name}=…" for name in self.schema.json["properties"])
            raise ConfigError(f"{self.name} takes its arguments by name", f"{self.name}({names})")
        limit_s = CometSettings.instance().tool_timeout_s
        try:
            json.dumps(arguments, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.name}: its arguments are no JSON: {error}", "give texts, numbers, lists"
            ) from None
        try:
            came = self.call(limit_s, **arguments)
        except ServerFailed as error:
            raise ToolError(f"{self.name}: {error}", self.server.hint) from None
        except TimedOut:
            raise ToolError(
                f"{self.name} gave no result within {limit_s:g} s", "tool_timeout_s sets how long"
            ) from None
        return came if came.pictures else came.text

    @property
    def __signature__(self) -> inspect.Signature:
        """The parameters that its schema names, for Tab and `help`."""
        names = [name for name in self.schema.json["properties"] if name.isidentifier() and not keyword.iskeyword(name)]
        return inspect.Signature([inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names])

    def __repr__(self) -> str:
        return f"<{_line_of(self, 100)}>"


class ServerTools(list[ServerTool]):
    """The tools of a server. left_out: those that cannot be offered, and why."""

    def __init__(self, server: Server, listed: list[dict[str, Any]]) -> None:
        self.left_out: dict[str, str] = {}
        self._server = server
        self._size = 0
        for definition in filter(None, listed):
            try:
                self._add(ServerTool(server, definition))
            except Unusable as reason:
                self._leave_out(str(definition.get("name") or ""), str(reason))
        times = Counter(tool.name for tool in self)
        for tool in [tool for tool in self if times[tool.name] > 1]:
            self.remove(tool)
            self._leave_out(tool.own_name, f"{times[tool.name]} of its tools are called {tool.name}")
        if listed and not listed[-1]:
            self._leave_out("…", "it offers more tools than are read")
        if self.left_out:
            first, why = next(iter(self.left_out.items()))
            more = f"; and {len(self.left_out) - 1:,} more: see .left_out" if len(self.left_out) > 1 else ""
            warnings.warn(f"left out of {server.name}: {first}: {why}{more}", stacklevel=3)

    def _add(self, tool: ServerTool) -> None:
        if self._size + tool.size > LARGEST_LIST:
            raise Unusable(f"the tools before it are described in nearly {LARGEST_LIST:,} characters")
        self._size += tool.size
        self.append(tool)

    def _leave_out(self, name: str, why: str) -> None:
        shown = clean(hidden_beginning(name, LONGEST_NAME, self._server.connection.hide)) or "(no name)"
        while shown in self.left_out:
            shown += "'"
        self.left_out[shown] = self._server.connection.hide(why)

    def __getitem__(self, which: Any) -> Any:
        """Return a tool by its number or its name, with or without the server's; or several, by a slice."""
        if not isinstance(which, str):
            return super().__getitem__(which)
        for tool in self:
            if which in (tool.name, tool.own_name):
                return tool
        near = did_you_mean(which, [tool.own_name for tool in self])
        raise KeyError(f"{self._server.name} has no tool {which!r}{near}")

    @property
    def log(self) -> str:
        """The last lines that the server wrote on its standard error."""
        return self._server.connection.log

    def close(self) -> None:
        """End the server."""
        self._server.close()

    def __enter__(self) -> ServerTools:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        ended = "" if self._server.connection.is_running else ", which has ended"
        head = f"{many(len(self), 'tool')} of the MCP server {self._server.name}{ended}"
        return "\n".join([head, *(f"  {_line_of(tool, 90)}" for tool in self)])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


def update_tools(tools: Iterable[ServerTool]) -> None:
    """Update these tools to what their servers say of them now.

    Raises: ConfigError where a server has ended, does not answer, or no longer has the tool.
    """
    by_server: dict[int, list[ServerTool]] = {}
    for tool in tools:
        by_server.setdefault(id(tool.server), []).append(tool)
    deadline = time.monotonic() + LIST_S  # for all of them
    for group in by_server.values():
        _update_group(group, max(0.1, deadline - time.monotonic()))


def _update_group(group: list[ServerTool], seconds: float) -> None:
    """Update tools of one server. Raises: ConfigError."""
    server, again = group[0].server, "nothing was sent; run the cell that starts it"
    try:
        listed = server.connection.tools(seconds)
    except (ServerFailed, TimedOut) as error:
        why = one_line(str(error), 500) or f"it does not answer within {seconds:.0f} s"
        raise ConfigError(f"the MCP server {server.name} cannot be used: {why}", again) from None
    times = Counter(str(definition.get("name") or "") for definition in listed)
    now = {str(definition.get("name") or ""): definition for definition in listed}
    for tool in group:
        shown = clean(tool.own_name[:LONGEST_NAME])
        if times[tool.own_name] != 1:
            has = "has two tools called" if times[tool.own_name] else "no longer has the tool"
            raise ConfigError(f"the MCP server {server.name} {has} {shown}", again)
        try:
            tool.update(now[tool.own_name])
        except Unusable as why:
            what = f"the tool {shown} of the MCP server {server.name} cannot be offered any more: {why}"
            raise ConfigError(what, again) from None
    if sum(tool.size for tool in group) > LARGEST_LIST:
        what = f"the MCP server {server.name} now describes its tools in more than {LARGEST_LIST:,} characters"
        raise ConfigError(what, "nothing was sent; name fewer of its tools")


def _line_of(tool: ServerTool, characters: int) -> str:
    return f"{tool.name}: {one_line(tool.description, characters)}" if tool.description else tool.name
