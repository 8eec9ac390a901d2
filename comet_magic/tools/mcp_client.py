"""The Model Context Protocol on the input and output of a program: JSON-RPC, one object a line.

Source: modelcontextprotocol.io, specification 2025-06-18: lifecycle, transports (stdio), cancellation, tools.
"""

from __future__ import annotations

import codecs
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._version import VERSION
from ..redaction import hidden_beginning
from ..strict_json import json_or_none
from ..text import clean, one_line, whole_text
from .server_process import ServerProcess
from .timeouts import TimedOut

PROTOCOL = "2025-06-18"
METHOD_NOT_FOUND = -32601
MOST_PAGES, MOST_TOOLS = 100, 1000  # of a list of tools
MOST_PENDING = 1000  # lines that a server has not read; no more of its requests are answered then
LONGEST_ERROR = 20_000  # characters of what a server says went wrong
LONGEST_FINAL = 300  # characters of what it wrote before it ended


class ServerFailed(Exception):
    """A server answered with an error, or not at all. Its text says what went wrong, without secrets."""


class _Answer:
    def __init__(self) -> None:
        self.came = threading.Event()
        self.message: Mapping[str, Any] | None = None


class Connection:
    """A server that runs, and the requests to it that are open.

    hide: takes secrets out of what the server says in words.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: str, hide: Callable[[str], str]
    ) -> None:
        """Start it. Raises: ConfigError when it cannot be started."""
        self.hide = hide
        self._numbers = itertools.count(1)
        self._open: dict[str, _Answer] = {}
        self._has_ended = False
        self._process = ServerProcess(command, environment, folder, hide)
        self._process.listen(self._read, self._ended)

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """The last lines of its standard error."""
        return self.hide("\n".join(self._process.stderr_lines))

    @property
    def final_words(self) -> str:
        """What it wrote on its standard error right before its end, on one line; "" if nothing."""
        every = "\n".join(self._process.stderr_lines)
        hidden = self.hide(every)
        # Where a secret of several lines is hidden, the lines are no longer those that were written last.
        lines = self._process.final_lines if hidden == every else hidden.split("\n")[-3:]
        return " / ".join(lines)[-LONGEST_FINAL:]

    def end(self) -> None:
        self._process.end()

    def close(self) -> None:
        """End it, as the user says."""
        self._process.is_closed = True
        self.end()

    def initialize(self, seconds: float) -> str:
        """Return what the server calls itself. Raises: ServerFailed, TimedOut."""
        client = {"name": "comet_magic", "version": VERSION}
        params = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client}
        result = self._request("initialize", params, seconds)
        version = str(result.get("protocolVersion"))
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", version):
            raise ServerFailed(f"it speaks no version of the protocol that is known here: {one_line(version, 40)}")
        self._notify("notifications/initialized")
        info = result.get("serverInfo")
        return str(info.get("name") or "") if isinstance(info, dict) else ""

    def tools(self, seconds: float) -> list[dict[str, Any]]:
        """Return the tools that the server offers now, as it describes them. Raises: ServerFailed, TimedOut.

        Where there are more than are read, the last one is empty.
        """
        deadline, tools, cursor = time.monotonic() + seconds, list[dict[str, Any]](), ""
        seen = set[str]()
        while len(seen) < MOST_PAGES and len(tools) <= MOST_TOOLS:
            seen.add(cursor)
            page = self._request("tools/list", {"cursor": cursor} if cursor else {}, deadline - time.monotonic())
            listed = page.get("tools")
            tools += [tool for tool in (listed if isinstance(listed, list) else ()) if isinstance(tool, dict)]
            cursor = str(page.get("nextCursor") or "")
            if not cursor or cursor in seen:
                break
        else:
            return [*tools[:MOST_TOOLS], {}]
        return tools if len(tools) <= MOST_TOOLS else [*tools[:MOST_TOOLS], {}]

    def call(self, name: str, arguments: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        """Return the result of a call as it came. Raises: ServerFailed, TimedOut."""
        return self._request("tools/call", {"name": name, "arguments": dict(arguments)}, seconds)

    def exit_message(self) -> str:
        """Return why it has ended, and what it wrote right before."""
        self._process.wait_for_end(1.0)
        words = "" if self._process.is_closed else self.final_words
        return f"it has ended ({self._process.exit_reason})" + (f": {words}" if words else "")

    def failure(self, said: object) -> ServerFailed:
        """Return the error that says what the server says."""
        text = clean(whole_text(str(said or ""))) or "it failed, and did not say why"
        return ServerFailed(hidden_beginning(text, LONGEST_ERROR, self.hide))

    # ---- JSON-RPC

    def _request(self, method: str, params: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        if not self._process.is_ours:
            raise ServerFailed("it was started by another process, of which this one is a fork; start it here")
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
            raise ServerFailed(self.exit_message())
        if (error := answer.message.get("error")) is not None:
            raise self.failure(error.get("message") if isinstance(error, dict) else error)
        result = answer.message.get("result")
        if not isinstance(result, dict):
            raise ServerFailed("its answer has no result in it")
        return result

    def _notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        self._send({"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})})

    def _send(self, message: Mapping[str, Any]) -> None:
        text = json.dumps(message)
        if "\\ud" in text:  # there may be half a character, which is no JSON to many
            text = json.dumps(json.loads(whole_text(json.dumps(message, ensure_ascii=False))))
        self._process.write(text.encode())

    # ---- what it sends, on another thread

    def _read(self, line: bytes) -> None:
        line = line.removeprefix(codecs.BOM_UTF8).strip()
        message = json_or_none(line) if line[:1] in (b"{", b"[") else None  # programs print banners, too
        if message is None and line[:1] == b"{" and b'"jsonrpc"' in line:
            message = {"id": None, "error": {"message": "its answer cannot be read"}}
        for one in message if isinstance(message, list) else [message]:
            if isinstance(one, dict):
                self._take(one)

    def _take(self, message: dict[str, Any]) -> None:
        key, method = message.get("id"), message.get("method")
        if method is None:
            waiting = list(self._open.values())
            # An answer to what could not be read has no id; of one request that is open, it is clear whose it is.
            answer = self._open.get(str(key)) if key is not None else waiting[0] if len(waiting) == 1 else None
            if answer and not answer.came.is_set():
                answer.message = message
                answer.came.set()
        elif isinstance(key, str | int) and self._process.pending < MOST_PENDING:  # a request of the server's
            # It may ask whether we are there, and for nothing else: no model, no files, no words of the user's.
            says = {"result": {}} if method == "ping" else {"error": _refusal(str(method))}
            self._send({"jsonrpc": "2.0", "id": key, **says})

    def _ended(self) -> None:
        self._has_ended = True
        for answer in list(self._open.values()):
            answer.came.set()


def _refusal(method: str) -> dict[str, Any]:
    return {"code": METHOD_NOT_FOUND, "message": f"this client does not offer {one_line(clean(method), 100)}"}
