"""`comet_magic.mcp`: the tools of an MCP server, for `--tools` and `ask(tools=…)`.

All that a server says of its tools is somebody else's text, which the model reads as orders: it is bounded, cleaned,
and shown in a dry run; and every call is asked about.
"""

from __future__ import annotations

import base64
import inspect
import json
import keyword
import re
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..background import in_background
from ..describe.description import Description, Limits
from ..describe.images import image
from ..errors import ConfigError, ToolError
from ..output.schema import Schema, schema_of
from ..redaction import EDGE, SHORTEST_WITHIN, Redactor, Secrets, hidden_beginning, is_secret_name
from ..settings import CometSettings
from ..suggestions import did_you_mean
from ..text import clean, expanded, home, many, one_line, whole_text
from .mcp_client import Connection, ServerFailed
from .names import LONGEST_NAME, SAFE, unique_name
from .server_process import environment_of, find_program
from .server_schema import Unusable, bounded, cleaned_schema
from .timeouts import TimedOut

LONGEST_SERVER = 24  # characters of a server's name in those of its tools
LARGEST_LIST = 200_000  # characters of all that a server says of its tools
MOST_PICTURES, MOST_OF_PICTURES = 20, 10_000_000  # of a result: their number, and bytes of all together
LIST_S = 10.0  # seconds for a list of the tools, which is asked for with each question


def mcp(
    command: str | Path, *args: object, env: Mapping[str, str] | None = None, name: str = "",
    folder: str | Path | None = None, wait_s: float = 60.0,
) -> ServerTools:  # fmt: skip
    """Start an MCP server, and return its tools as a list.

    shop = comet_magic.mcp("uvx", "mcp-server-time")        then: %%claude --tools shop

    command, args: The program and its arguments, each word by itself; no shell reads them.
    env: Variables to set for it. Apart from these it gets PATH, HOME, USER, LANG and TERM only, and no key.
    name: Begins the names of its tools; what the server calls itself, if not given.
    folder: Its working folder; your home folder, if not given, so that nothing beside the notebook is run.
    wait_s: Seconds to wait for its start.

    It ends with the kernel, with `.close()`, at the end of a `with`, or when nothing refers to its tools any more.
    Raises: ConfigError when it does not start.
    """
    _check_command(command, args)
    _check_start(name, folder, wait_s)
    given, settings = _checked_environment(env or {}), CometSettings.instance()
    environment = environment_of(given)
    words = [find_program(str(command), environment.get("PATH")), *map(str, args)]
    if any(settings.is_key(text) for text in (*words, *given.values())):
        raise ConfigError("your CometAPI key is in the command or in env, and no server gets it", "leave it out")
    working_folder = _working_folder(folder)
    schema_of({"type": "object"}, "mcp")  # whether what checks arguments is installed
    started_by = [working_folder, words, sorted(given.items())]
    server = Server(Connection(words, environment, working_folder, _redactor_for(given, words)), started_by)
    own_name, listed = _opened(server.connection, words[0], wait_s, hint_of_folder=folder is None)
    server.name = _server_name(name or server.connection.hide(own_name[:EDGE]) or Path(words[0]).stem)
    return ServerTools(server, listed)


def _working_folder(folder: str | Path | None) -> str:
    """Raises: ConfigError where there is no such folder."""
    try:
        path = expanded(folder).absolute() if folder is not None else Path(home() or "/")
    except OSError:  # the kernel's own is gone
        path = Path(str(folder))
    if not path.is_dir():
        raise ConfigError(f"there is no folder {path}", "folder='.' is the working folder")
    return str(path)


def _opened(
    connection: Connection, program: str, wait_s: float, *, hint_of_folder: bool
) -> tuple[str, list[dict[str, Any]]]:
    """Return what a server calls itself, and its tools; one that does not say it in time is ended.

    hint_of_folder: whether the user may not know where it was started.        Raises: ConfigError.
    """
    try:
        deadline = time.monotonic() + wait_s
        return connection.initialize(wait_s), connection.tools(max(1.0, deadline - time.monotonic()))
    except BaseException as error:
        final_words = connection.final_words
        connection.end()
        if isinstance(error, ServerFailed):
            said = one_line(str(error), 500)
            raise ConfigError(f"{program} did not start as a server: {said}", _hint(said, hint_of_folder)) from None
        if isinstance(error, TimedOut):
            raise ConfigError(
                f"{program} did not answer as an MCP server within {wait_s:g} s{final_words and f': {final_words}'}",
                "check that it is one that speaks on its standard input and output; wait_s=300 waits longer",
            ) from None
        raise


def _hint(said: str, hint_of_folder: bool) -> str:
    """Return what to do about a server that did not start, by what was said of it."""
    if re.search(r"no module named", said, re.I):
        return "install it for that Python, or name the Python that has it"
    if hint_of_folder and re.search(r"no such file|can't open|cannot find|enoent", said, re.I):
        return f"it was started in {home() or '/'}: name files in full, or add folder='.' to start it here"
    return "try the command in a terminal; it gets none of the variables there: pass them with env={…}"


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


class ServerResult:
    """What a call gave. text: its texts, and what there is besides them, named.        pictures: their bytes.

    All is as it came; what goes to the model is bounded, and has no secrets in it.
    """

    def __init__(self, result: Mapping[str, Any], hide: Callable[[str], str]) -> None:
        content = result.get("content")
        self.pictures: list[bytes] = []
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        blocks = [block for block in (content if isinstance(content, list) else ()) if isinstance(block, dict)]
        parts = [self._part(block) for block in blocks]
        if not any(parts) and not self.pictures and "structuredContent" in result:
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
                picture = base64.b64decode("".join(str(block.get("data") or "").split()), validate=True)
            except ValueError:
                return "(a picture that cannot be read)"
            if len(self.pictures) == MOST_PICTURES or sum(map(len, self.pictures)) + len(picture) > MOST_OF_PICTURES:
                return "(a picture more, which is left out)"
            self.pictures.append(picture)
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


def _picture(content: bytes, limits: Limits) -> Description:
    try:
        return image(content, "a picture", limits)
    except ConfigError as error:
        return Description("str", f"(a picture that cannot be shown: {error.what})", is_value=True)


# ---- what the user gives


def _check_command(command: object, args: tuple[object, ...]) -> None:
    """Raises: ConfigError where the command is given in another form, saying how it is given here."""
    if isinstance(command, Mapping):
        words = [command.get("command"), *(command.get("args") or ())]
        env = ", env={…}" if command.get("env") else ""
        raise ConfigError("mcp takes a program and its arguments, not a dict", f"mcp({_quoted(words)}{env})")
    if isinstance(command, list | tuple):
        raise ConfigError("mcp takes each word by itself, not a list", f"mcp({_quoted([*command, *args])})")
    if not isinstance(command, str | Path) or not str(command).strip():
        raise ConfigError(f"mcp takes the name of a program, not {command!r}", 'mcp("uvx", "mcp-server-time")')
    if re.match(r"https?://", str(command)):
        raise ConfigError("only a server that is a program can be used, and none by its address", "name its command")
    if "\0" in "".join(map(str, (command, *args))):
        raise ConfigError("no word of a command can have a NUL in it", "leave it out")
    if len(words := str(command).split()) > 1 and not expanded(command).exists():
        what = f"there is no program {str(command)!r}"
        raise ConfigError(what, f"each word by itself: mcp({_quoted([*words, *args])})")


def _check_start(name: object, folder: object, wait_s: object) -> None:
    """Raises: ConfigError."""
    if not isinstance(name, str):
        raise ConfigError(f"name is a text, not {name!r}", 'name="shop"')
    if folder is not None and not isinstance(folder, str | Path):
        raise ConfigError(f"folder is a path, not {folder!r}", 'folder="."')
    if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not wait_s > 0:
        raise ConfigError(f"wait_s is a number of seconds, not {wait_s!r}", "wait_s=60")


def _quoted(words: Iterable[object]) -> str:
    return ", ".join(json.dumps(str(word), ensure_ascii=False) for word in words)


def _checked_environment(env: object) -> dict[str, str]:
    if not isinstance(env, Mapping):
        raise ConfigError("env is a dict of variables", 'env={"NAME": "value"}')
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str) or not name or "=" in name or "\0" in name + value:
            raise ConfigError(f"env: {name!r} is no variable with a text", 'env={"NAME": "value"}')
    return dict(env)


def _redactor_for(given: Mapping[str, str], words: list[str]) -> Callable[[str], str]:
    """Return what takes secrets out of a server's words: those that it was given, and all that are known.

    words: of its command, in which there may be `--token VALUE` or `--token=VALUE`.
    """
    pairs = [*pairwise(words), *(tuple(word.split("=", 1)) for word in words if "=" in word)]
    named = [(flag.lstrip("-").replace("-", "_"), value) for flag, value in pairs if flag.startswith("-")]
    named += given.items()
    own = Redactor(Secrets({}, lambda: [value for name, value in named if _is_secret(name, value)]))

    def hide(text: str) -> str:
        return Redactor(CometSettings.instance().secrets())(own(text))

    return hide


_NO_SECRET = re.compile(
    r"(?i)(no|use|disable|enable|with|without)_|.*(tokens|(partition|sort|primary|foreign|row)_key)$"
)


def _is_secret(name: str, value: str) -> bool:
    """Return whether a value that was given by name is one; a short or a common word would hide others everywhere."""
    is_word = len(value) < SHORTEST_WITHIN or value.isdigit() or value.startswith(("-", "/", "~"))
    return is_secret_name(name) and not _NO_SECRET.match(name) and not is_word


def _server_name(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name[:EDGE].split("/")[-1]).strip("_-")[:LONGEST_SERVER].rstrip("_-")
    return plain or f"server_{sha256(name.encode('utf-8', 'replace')).hexdigest()[:4]}"
