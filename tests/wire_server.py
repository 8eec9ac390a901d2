"""A raw TCP server that writes scripted bytes: no HTTP framework can produce most of the faults in the wild."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

RESET = "reset"  # end the connection with an RST
CLOSE = "close"  # end it with a FIN
HOLD = "hold"  # keep it open, silently, until the client closes it

Step = bytes | float | str
Script = Sequence[Step]


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class WireServer:
    """Answers the n-th request with the n-th script, and all further ones with the last. Use it in a `with`."""

    def __init__(self, *scripts: Script | Callable[[Received], Script], greeting: bytes = b"") -> None:
        """greeting: what every connection gets at once, before it has asked anything."""
        self.scripts = list(scripts)
        self.greeting = greeting
        self.received: list[Received] = []
        self.connections = 0
        self.closed_by_client = threading.Event()  # in the middle of a script
        self.ended = threading.Event()  # a connection has, whoever ended it
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> WireServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for connection in self._sockets:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._sockets.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        rest = b""
        try:
            connection.sendall(self.greeting)
            while self.scripts and (request := self._read(connection, rest)):
                received, rest = request
                self.received.append(received)
                script = self.scripts[min(len(self.received), len(self.scripts)) - 1]
                if not self._play(connection, script(received) if callable(script) else script):
                    break
        except OSError:
            self.closed_by_client.set()
        finally:
            connection.close()
            self.ended.set()

    def _read(self, connection: socket.socket, rest: bytes) -> tuple[Received, bytes] | None:
        while b"\r\n\r\n" not in rest:
            data = connection.recv(65536)
            if not data:
                return None
            rest += data
        head, _, rest = rest.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = [tuple(text.split(": ", 1)) for text in lines]
        length = int(dict((k.lower(), v) for k, v in headers).get("content-length", 0))
        while len(rest) < length:
            rest += connection.recv(65536)
        return Received(line, headers, rest[:length]), rest[length:]  # type: ignore[arg-type]

    def _play(self, connection: socket.socket, script: Script) -> bool:
        """Write the script; whether the connection goes on."""
        for step in script:
            if isinstance(step, bytes):
                connection.sendall(step)
            elif isinstance(step, int | float):
                time.sleep(step)
            elif step == RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            elif step == CLOSE:
                return False
            elif step == HOLD:
                connection.settimeout(30)
                if not connection.recv(1):
                    self.closed_by_client.set()
                return False
        return True


# ---- what is written


def reply(
    body: bytes | str | dict[str, Any] | list[Any],
    kind: str | None = "application/json",
    status: int = 200,
    **headers: str,
) -> Script:
    """A whole response with a length."""
    if not isinstance(body, bytes | str):
        body = json.dumps(body, ensure_ascii=False)
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(raw)}"]
    lines += [f"content-type: {kind}"] if kind else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ["\r\n".join([*lines, "", ""]).encode() + raw]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
OPEN_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n".encode()


def start(**usage: Any) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    return event("message_start", message={**message, "usage": usage or {"input_tokens": 11, "output_tokens": 1}})


def block(index: int = 0, **fields: Any) -> bytes:
    return event("content_block_start", index=index, content_block=fields or {"type": "text", "text": ""})


def delta(text: str, index: int = 0) -> bytes:
    return event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def stop(reason: str | None = "end_turn", **usage: Any) -> bytes:
    ended = event(
        "message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage or {"output_tokens": 5}
    )
    return event("content_block_stop", index=0) + ended + event("message_stop")


def stream(*events: bytes, end: Script = (LAST_CHUNK,), head: bytes = SSE_HEAD) -> Script:
    """A chunked stream, one chunk an event."""
    return [head, *(chunk(data) for data in events), *end]


def canonical(text: str = "4") -> Script:
    return stream(start(), block(), delta(text), stop())


MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Héllo ✓"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 11, "output_tokens": 5},
}
