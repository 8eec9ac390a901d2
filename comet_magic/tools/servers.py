"""`comet_magic.mcp`: start an MCP server, and return its tools, for `--tools` and `ask(tools=…)`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..output.schema import schema_of
from ..redaction import EDGE, SHORTEST_WITHIN, Redactor, Secrets, is_secret_name
from ..settings import CometSettings
from ..text import expanded, home, one_line
from .mcp_client import Connection, ServerFailed
from .server_process import environment_of, find_program
from .server_tools import Server, ServerTools
from .timeouts import TimedOut

LONGEST_SERVER = 24  # characters of a server's name in those of its tools


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
