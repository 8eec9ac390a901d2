"""`comet_magic.mcp`: the tools of an MCP server, for `--tools` and `ask(tools=…)`.

All that a server says of its tools is somebody else's text, which the model reads as orders: it is bounded, cleaned,
and shown in a dry run; and every call is asked about.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..background import in_background
from ..describe.description import Description, Limits
from ..describe.images import image
from ..errors import ConfigError
from ..output.schema import Schema, schema_of
from ..redaction import Redactor, Secrets
from ..settings import CometSettings
from ..text import clean, home, many, one_line, spelled, whole_text
from .mcp_client import Connection, ServerFailed, started
from .server_process import environment_of, found
from .timeouts import TimedOut

LONGEST_NAME = 64  # characters, says the API
LONGEST_SERVER = 24  # characters of a server's name in those of its tools
LONGEST_DESCRIPTION = 1000  # characters, of a tool and of each of its parameters
LARGEST_SCHEMA = 30_000  # characters of the JSON of a tool's parameters
MOST_OF_ERROR = 20_000  # characters of what a server says went wrong
LIST_S = 10.0  # seconds for a list of the tools, which is asked for with each question
SAFE = "_comet_magic_is_safe"


def mcp(
    command: str | Path, *args: object, env: Mapping[str, str] | None = None, name: str = "",
    folder: str | Path | None = None, wait_s: float = 60.0,
) -> ServerTools:  # fmt: skip
    """Start an MCP server, and return its tools as a list.

    shop = comet_magic.mcp("uvx", "mcp-server-time")        then: %%claude --tools shop

    command, args: the program and its arguments, each word by itself; no shell reads them.
    env: variables for it. It gets those, PATH, HOME, USER, LANG and TERM, and no other; no key.
    name: begins the names of its tools; what the server calls itself, if not given.
    folder: that it works in; your home folder, if not given, so that no file of a notebook's folder is run.
    wait_s: seconds for its start.

    It ends with the kernel, with `.close()`, or when nothing refers to its tools any more.
    Raises: ConfigError when it does not start.
    """
    given, settings = _checked_environment(env or {}), CometSettings.instance()
    if any(settings.is_key(value) for value in given.values()):
        raise ConfigError("env has your CometAPI key in it, and no server gets that", "leave it out")
    environment = environment_of(given)
    words = [found(str(command), environment.get("PATH")), *map(str, args)]
    place = str(Path(folder).expanduser().absolute()) if folder is not None else home() or "/"
    hide = _hider(given)

    def hint(said: str) -> str:
        if folder is None and re.search(r"no such file|can't open|cannot find|not found|enoent", said, re.I):
            return f"it was started in {place}: name files in full, or add folder='.' to start it here"
        return "try the command in a terminal"

    try:
        connection, own_name, listed = started(words, environment, place, wait_s, hint)
    except ConfigError as error:
        raise ConfigError(hide(error.what), error.hint) from None
    server = Server(_server_name(name or own_name or Path(words[0]).stem), words, connection, hide)
    return ServerTools(server, listed)


class Server:
    """A running server. It is ended when nothing refers to it any more. name: begins the names of its tools."""

    def __init__(self, name: str, words: list[str], connection: Connection, hide: Callable[[str], str]) -> None:
        self.name, self.connection, self.hide = name, connection, hide
        self._words = words
        self._end = weakref.finalize(self, in_background, connection.end)
        self._end.atexit = False  # all that run are ended then, and at the same time

    def digest_of(self, definition: Mapping[str, Any]) -> str:
        """Return what an "always" holds for: this command, and the tool as it is described now."""
        said = {part: definition.get(part) for part in ("name", "description", "inputSchema")}
        return sha256(json.dumps([self._words, said], sort_keys=True).encode()).hexdigest()

    def close(self) -> None:
        if self._end.detach():
            self.connection.end()

    def failed(self, error: ServerFailed) -> ServerFailed:
        return ServerFailed(self.hide(str(error)))


class ServerTool:
    """A tool of a server. Called by itself, it asks nobody, for it is you who calls it.

    name: SERVER__TOOL, as the model calls it.        description: the server's own words, bounded and cleaned.
    schema: of its parameters.        digest: of what the server says of it now.
    has_changed: since the last question.
    """

    name: str
    description: str
    schema: Schema
    digest: str
    has_changed = False

    def __init__(self, server: Server, definition: Mapping[str, Any]) -> None:
        """Raises: ConfigError, saying why it cannot be offered."""
        self._server = server
        self.own_name = str(definition.get("name") or "")
        self.define(definition)

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def server(self) -> str:
        return self._server.name

    @property
    def of(self) -> Server:
        return self._server

    @property
    def is_safe(self) -> bool:
        """Whether you have said so by `comet_magic.tool(safe=True)`; what the server says of it counts for nothing."""
        return bool(self.__dict__.get(SAFE))

    def define(self, definition: Mapping[str, Any]) -> None:
        """Take what the server says of it now. Raises: ConfigError, saying why it cannot be offered."""
        digest = self._server.digest_of(definition)
        self.has_changed = digest != getattr(self, "digest", digest)
        if digest == getattr(self, "digest", ""):
            return
        self.name = _tool_name(self._server.name, self.own_name)
        self.description = _bounded(str(definition.get("description") or ""))
        self.schema = _schema(definition.get("inputSchema"), self.name)
        self.digest = digest
        self.__dict__.pop(SAFE, None)  # that was said of another tool

    def call(self, limit_s: float, /, **arguments: Any) -> ServerResult:
        """Call it. limit_s: seconds to wait. Raises: ServerFailed, TimedOut."""
        try:
            result = self._server.connection.call(self.own_name, arguments, limit_s)
        except ServerFailed as error:
            raise self._server.failed(error) from None
        came = ServerResult(result, self._server.hide)
        if result.get("isError"):
            raise self._server.failed(ServerFailed(came.text[:MOST_OF_ERROR] or "it says that it failed, and not why"))
        return came

    def __call__(self, **arguments: Any) -> Any:
        """Call it, and return its text, or the result with what else is in it."""
        came = self.call(CometSettings.instance().tool_timeout_s, **arguments)
        return came if came.pictures else came.text

    def __repr__(self) -> str:
        return f"<{self.name}: {one_line(self.description, 100)}>"


class ServerTools(list[ServerTool]):
    """The tools of a server. left_out: those that cannot be offered, and why."""

    def __init__(self, server: Server, listed: Iterable[Mapping[str, Any]]) -> None:
        self.left_out: dict[str, str] = {}
        self._server = server
        for definition in listed:
            try:
                self.append(ServerTool(server, definition))
            except ConfigError as error:
                if "not installed" in error.what:
                    server.close()
                    raise
                self.left_out[clean(str(definition.get("name")))[:LONGEST_NAME]] = server.hide(error.what)
        times = Counter(tool.name for tool in self)
        for tool in [tool for tool in self if times[tool.name] > 1]:
            self.remove(tool)
            self.left_out[clean(tool.own_name)[:LONGEST_NAME]] = (
                f"{times[tool.name]} of its tools are called {tool.name}"
            )
        if self.left_out:
            first, why = next(iter(self.left_out.items()))
            more = f"; and {len(self.left_out) - 1:,} more: see .left_out" if len(self.left_out) > 1 else ""
            warnings.warn(f"left out of {server.name}: {first}: {why}{more}", stacklevel=3)

    def close(self) -> None:
        """End the server."""
        self._server.close()

    @property
    def log(self) -> str:
        """The last lines that the server wrote on stderr."""
        return self._server.hide("\n".join(self._server.connection.last_words))

    def __repr__(self) -> str:
        ended = "" if self._server.connection.is_running else ", which has ended"
        head = f"{many(len(self), 'tool')} of the MCP server {self._server.name}{ended}"
        return "\n".join([head, *(f"  {tool.name}: {one_line(tool.description, 90)}" for tool in self)])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


class ServerResult:
    """What a call gave. text: its texts, and what there is besides them, named.        pictures: their bytes.

    All is as it came; what goes to the model is bounded, and has no secrets in it.
    """

    def __init__(self, result: Mapping[str, Any], hide: Callable[[str], str]) -> None:
        content = result.get("content")
        self.pictures: list[bytes] = []
        parts = [
            self._part(block) for block in (content if isinstance(content, list) else ()) if isinstance(block, dict)
        ]
        if not parts and "structuredContent" in result:
            parts = [json.dumps(result["structuredContent"], ensure_ascii=False)]
        self.text = whole_text("\n".join(filter(None, parts)))
        self._hide = hide

    def _part(self, block: Mapping[str, Any]) -> str:
        """Return the text of a block, and put a picture aside."""
        kind = block.get("type")
        if kind == "text":
            return str(block.get("text") or "")
        if kind == "image":
            try:
                self.pictures.append(base64.b64decode(str(block.get("data") or ""), validate=True))
            except binascii.Error:
                return "(a picture that cannot be read)"
            return ""
        resource = block.get("resource")
        inner = resource if isinstance(resource, dict) else block
        if isinstance(inner.get("text"), str):
            return str(inner["text"])
        return f"({one_line(str(kind), 40)} {one_line(str(inner.get('uri') or inner.get('mimeType') or ''), 200)})"

    def described(self, limits: Limits) -> list[Description]:
        """Return it as it goes to the model. The user has named its server for this cell, so its values may go."""
        shared = limits._replace(share_values=True, hide=lambda text: limits.hide(self._hide(text)))
        texts = [Description("str", shared.fitted(self.text), is_value=True)] if self.text else []
        return [*texts, *(_picture(content, shared) for content in self.pictures)]

    def __repr__(self) -> str:
        return "\n".join(filter(None, [self.text, many(len(self.pictures), "picture") if self.pictures else ""]))


def current_tools(tools: Iterable[ServerTool]) -> None:
    """Take what the servers say of these tools now, for it may be another thing than when they were started.

    Raises: ConfigError where a server has ended, does not answer, or has such a tool no more.
    """
    by_server: dict[int, list[ServerTool]] = {}
    for tool in tools:
        by_server.setdefault(id(tool.of), []).append(tool)
    for group in by_server.values():
        server = group[0].of
        try:
            listed = server.connection.tools(LIST_S)
        except (ServerFailed, TimedOut) as error:
            why = (
                server.hide(str(error))
                if isinstance(error, ServerFailed)
                else f"it does not answer within {LIST_S:g} s"
            )
            raise ConfigError(
                f"the MCP server {server.name} cannot be used: {why}", "nothing was sent; run the cell that starts it"
            ) from None
        now = {str(definition.get("name") or ""): definition for definition in listed}
        for tool in group:
            if tool.own_name not in now:
                raise ConfigError(
                    f"the MCP server {server.name} has no tool {clean(tool.own_name)} any more",
                    "nothing was sent; run the cell that starts it",
                )
            tool.define(now[tool.own_name])


def _picture(content: bytes, limits: Limits) -> Description:
    try:
        return image(content, "a picture", limits)
    except ConfigError as error:
        return Description("str", f"(a picture that cannot be shown: {error.what})", is_value=True)


def _checked_environment(env: object) -> dict[str, str]:
    if not isinstance(env, Mapping):
        raise ConfigError("env is a dict of variables", 'env={"NAME": "value"}')
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str) or not name or "=" in name or "\0" in name + value:
            raise ConfigError(f"env: {name!r} is no variable with a text", 'env={"NAME": "value"}')
    return dict(env)


def _hider(given: Mapping[str, str]) -> Callable[[str], str]:
    """Return what takes secrets out of a server's words: those that it was given, and all that are known."""
    own = Redactor(Secrets(given))

    def hide(text: str) -> str:
        return Redactor(CometSettings.instance().secrets())(own(text))

    return hide


def _server_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name.split("/")[-1]).strip("_-")[:LONGEST_SERVER].rstrip("_-") or "server"


def _tool_name(server: str, name: str) -> str:
    """Return SERVER__TOOL. Raises: ConfigError for a tool without a name.

    The end of a long one becomes a digest of all of it, so that no other begins with the same characters.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    if not plain.strip("_-"):
        raise ConfigError("it has no name")
    whole = f"{server}__{plain}"
    if len(whole) <= LONGEST_NAME:
        return whole
    return f"{whole[: LONGEST_NAME - 9]}_{sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _bounded(text: str) -> str:
    text = clean(text).strip()
    return text if len(text) <= LONGEST_DESCRIPTION else f"{text[: LONGEST_DESCRIPTION - 1]}…"


def _schema(schema: object, name: str) -> Schema:
    """Return the schema of a tool's parameters. Raises: ConfigError where it cannot be offered."""
    if not isinstance(schema, dict):
        raise ConfigError("it does not say what it takes")
    plain = {"type": "object", "properties": {}, **_cleaned(schema)}
    if len(json.dumps(plain)) > LARGEST_SCHEMA:
        raise ConfigError(f"what it takes needs more than {LARGEST_SCHEMA:,} characters to say")
    if any(spelled(text) != text for text in _words(plain)):
        raise ConfigError("a name or a value of its parameters has characters in it that cannot be seen")
    return schema_of(plain, name)


_TEXTS = ("description", "title", "$comment")


def _cleaned(schema: Any, *, is_names: bool = False) -> Any:
    """Return a schema with its explanations bounded and cleaned; all else in it means what it says, to the letter."""
    if isinstance(schema, list):
        return [_cleaned(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _bounded(part) if name in _TEXTS and isinstance(part, str) and not is_names else
        part if name in ("enum", "const", "default", "examples") and not is_names else
        _cleaned(part, is_names=name in ("properties", "$defs", "definitions") and not is_names)
        for name, part in schema.items()
    }  # fmt: skip


def _words(schema: Any) -> Iterator[str]:
    """Yield all texts of a schema but for its explanations, which have been cleaned."""
    if isinstance(schema, dict):
        for name, part in schema.items():
            yield str(name)
            if not (name in _TEXTS and isinstance(part, str)):
                yield from _words(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _words(part)
    elif isinstance(schema, str):
        yield schema
