"""The Model Context Protocol on the input and output of a program: JSON-RPC, one object a line.

Source: modelcontextprotocol.io, specification 2025-06-18: lifecycle, transports (stdio), cancellation, tools.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._version import VERSION
from ..errors import ConfigError
from ..strict_json import json_or_none
from ..text import clean, one_line, whole_text
from .server_process import ServerProcess
from .timeouts import TimedOut

PROTOCOL = "2025-06-18"
METHOD_NOT_FOUND = -32601
MOST_PAGES, MOST_TOOLS = 100, 1000  # of a list of tools
SHOWN = 300  # characters of what a server says went wrong


class ServerFailed(Exception):
    """A server answered with an error, or not at all. Its text says what, for the model and for the user."""


class _Answer:
    def __init__(self) -> None:
        self.came = threading.Event()
        self.message: Mapping[str, Any] | None = None


class Connection:
    """A server that runs, and the requests to it that are open."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
        """Start it. Raises: ConfigError when it cannot be started."""
        self._numbers = itertools.count(1)
        self._open: dict[str, _Answer] = {}
        self._has_ended = False
        self._process: ServerProcess | None = None
        self._process = ServerProcess(command, environment, folder, on_line=self._read, on_end=self._ended)

    @property
    def is_running(self) -> bool:
        return self._running_process.is_running and not self._has_ended

    @property
    def pid(self) -> int:
        return self._running_process.pid

    @property
    def last_words(self) -> list[str]:
        return self._running_process.last_words

    def end(self) -> None:
        self._running_process.end()

    def greet(self, seconds: float) -> str:
        """Return what the server calls itself. Raises: ServerFailed, TimedOut."""
        client = {"name": "comet_magic", "version": VERSION}
        asked = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client}
        answer = self._request("initialize", asked, seconds)
        version = str(answer.get("protocolVersion"))
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", version):
            raise ServerFailed(f"it speaks no version of the protocol that is known here: {one_line(version, SHOWN)}")
        self._notify("notifications/initialized")
        info = answer.get("serverInfo")
        return str(info.get("name") or "") if isinstance(info, dict) else ""

    def tools(self, seconds: float) -> list[dict[str, Any]]:
        """Return the tools that the server offers now, as it describes them. Raises: ServerFailed, TimedOut."""
        deadline, tools, cursor = time.monotonic() + seconds, list[dict[str, Any]](), ""
        seen = set[str]()
        while len(seen) < MOST_PAGES and len(tools) < MOST_TOOLS:
            seen.add(cursor)
            page = self._request("tools/list", {"cursor": cursor} if cursor else {}, deadline - time.monotonic())
            listed = page.get("tools")
            tools += [tool for tool in (listed if isinstance(listed, list) else ()) if isinstance(tool, dict)]
            cursor = str(page.get("nextCursor") or "")
            if not cursor or cursor in seen:
                break
        return tools[:MOST_TOOLS]

    def call(self, name: str, arguments: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        """Return the result of a call as it came. Raises: ServerFailed, TimedOut."""
        return self._request("tools/call", {"name": name, "arguments": dict(arguments)}, seconds)

    # ---- JSON-RPC

    @property
    def _running_process(self) -> ServerProcess:
        assert self._process is not None  # but for the first lines of __init__
        return self._process

    def _request(self, method: str, params: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        if not self._running_process.is_ours:
            raise ServerFailed("it was started by another process, of which this one is a copy; start it here")
        key, answer = str(next(self._numbers)), _Answer()
        self._open[key] = answer
        deadline = time.monotonic() + seconds
        try:
            self._send({"jsonrpc": "2.0", "id": int(key), "method": method, "params": params})
            # In short steps, for Windows interrupts nothing longer.
            while not self._has_ended and not answer.came.wait(max(0.0, min(0.05, deadline - time.monotonic()))):
                if time.monotonic() >= deadline:
                    raise TimedOut
        except BaseException:  # an interrupt, too: the server lives on, and need not go on with this
            if method != "initialize":  # which must not be cancelled
                self._notify("notifications/cancelled", {"requestId": int(key), "reason": "nobody waits any more"})
            raise
        finally:
            self._open.pop(key, None)
        return self._result(answer)

    def _result(self, answer: _Answer) -> Mapping[str, Any]:
        if answer.message is None:
            raise ServerFailed(self.obituary())
        if "error" in answer.message:
            error = answer.message["error"]
            said = error.get("message") if isinstance(error, dict) else error
            raise ServerFailed(clean(str(said)) or "it says that it failed, and not why")
        result = answer.message.get("result")
        if not isinstance(result, dict):
            raise ServerFailed("its answer has no result in it")
        return result

    def obituary(self) -> str:
        """Return how it ended, with its last words."""
        self._running_process.wait_for_end(1.0)
        words = " / ".join(filter(None, self.last_words[-5:]))
        return f"it has ended ({self._running_process.how_it_ended})" + (f": {words[-SHOWN:]}" if words else "")

    def _notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        self._send({"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})})

    def _send(self, message: Mapping[str, Any]) -> None:
        text = json.dumps(message)
        if "\\ud" in text:  # there may be half a character, which is no JSON to many
            text = json.dumps(json.loads(whole_text(json.dumps(message, ensure_ascii=False))))
        if self._process is not None:
            self._process.write(text.encode())

    # ---- what it sends, on another thread

    def _read(self, line: bytes) -> None:
        message = json_or_none(line) if line.strip()[:1] in (b"{", b"[") else None  # programs print banners, too
        for one in message if isinstance(message, list) else [message]:
            if isinstance(one, dict):
                self._take(one)

    def _take(self, message: dict[str, Any]) -> None:
        key, method = message.get("id"), message.get("method")
        if method is None:
            answer = self._open.get(str(key))
            if answer and not answer.came.is_set():
                answer.message = message
                answer.came.set()
        elif isinstance(key, str | int):  # a request of the server's
            # It may ask whether we are there, and for nothing else: no model, no files, no words of the user's.
            says = {"result": {}} if method == "ping" else {"error": _refusal(str(method))}
            self._send({"jsonrpc": "2.0", "id": key, **says})

    def _ended(self) -> None:
        self._has_ended = True
        for answer in list(self._open.values()):
            answer.came.set()


def _refusal(method: str) -> dict[str, Any]:
    return {"code": METHOD_NOT_FOUND, "message": f"this client does not offer {one_line(clean(method), 100)}"}


def started(
    command: Sequence[str], environment: Mapping[str, str], folder: str, seconds: float, hint: Callable[[str], str]
) -> tuple[Connection, str, list[dict[str, Any]]]:
    """Start a server. Returns: the connection, what the server calls itself, and its tools.

    hint: returns what to do, given what went wrong.        Raises: ConfigError when it does not start in time.
    """
    connection = Connection(command, environment, folder)
    try:
        deadline = time.monotonic() + seconds
        name = connection.greet(seconds)
        return connection, name, connection.tools(max(1.0, deadline - time.monotonic()))
    except BaseException as error:
        words = " / ".join(connection.last_words[-3:])
        connection.end()
        if isinstance(error, ServerFailed):
            raise ConfigError(f"{command[0]} did not start as a server: {error}", hint(str(error))) from None
        if isinstance(error, TimedOut):
            said = f"; it wrote: {words[-SHOWN:]}" if words else ""
            raise ConfigError(
                f"{command[0]} did not answer as an MCP server within {seconds:g} s{said}",
                "is it one, and by stdio? the first start of a package may take longer: wait_s=300",
            ) from None
        raise
