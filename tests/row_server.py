"""An endpoint for many rows, in a process of its own: replies after a while, refusals, a limit; and what it was asked.

    with RowServer(delay=0.2, kind="faults") as server: …; server.stats()

kind: "clean"; "faults" (5 % refused with Retry-After: 1, 1 % errors, drawn for each row and try, so that every client
meets the same); "limit" (100 requests a second, the others refused after 5 ms); "once" (each row is refused once).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

RATE = 100  # a second, of "limit"


class Endpoint:
    def __init__(self, kind: str, delay: float) -> None:
        self.kind, self.delay = kind, delay
        self.tries: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.refused = self.connections = self.open = self.most_open = 0
        self.tokens, self.at = float(RATE), time.monotonic()

    def status_of(self, text: str) -> int:
        self.tries[text] += 1
        if self.kind == "faults":
            drawn = int.from_bytes(sha256(f"{text} {self.tries[text]}".encode()).digest()[:4], "big") / 2**32
            return 429 if drawn < 0.05 else 500 if drawn < 0.06 else 200
        if self.kind == "limit":
            now = time.monotonic()
            self.tokens, self.at = min(RATE, self.tokens + (now - self.at) * RATE), now
            if self.tokens < 1:
                return 429
            self.tokens -= 1
        return 429 if self.kind == "once" and self.tries[text] == 1 else 200

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").lower().split("\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
                body = await reader.readexactly(length)
                status, reply = await self.answer(lines[0], body)
                after = "retry-after: 1\r\n" if status == 429 else ""
                kind = "content-type: application/json\r\n"
                writer.write(
                    f"HTTP/1.1 {status} X\r\n{kind}{after}content-length: {len(reply)}\r\n\r\n".encode() + reply
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, line: str, body: bytes) -> tuple[int, bytes]:
        if line.startswith("get /stats"):
            return 200, json.dumps(self.stats()).encode()
        if not body:
            return 404, b"{}"
        asked = json.loads(body)
        text = json.dumps(asked["messages"])
        status = self.status_of(text)
        if status != 200:
            self.refused += status == 429
            await asyncio.sleep(0.005 if self.kind == "limit" else self.delay)
            kind = "rate_limit_error" if status == 429 else "api_error"
            return status, json.dumps({"type": "error", "error": {"type": kind, "message": "not now"}}).encode()
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.answered[text] += 1
        await asyncio.sleep(self.delay)
        self.open -= 1
        words = "good" if "output_config" not in asked else '{"value": "good"}'
        message = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "stop_reason": "end_turn",
            "content": [{"type": "text", "text": words}], "stop_sequence": None,
            "usage": {"input_tokens": len(text) // 4, "output_tokens": 5},
        }  # fmt: skip
        return 200, json.dumps(message).encode()

    def stats(self) -> dict[str, Any]:
        return {
            "requests": sum(self.tries.values()), "answered": sum(self.answered.values()),
            "different": len(self.answered), "refused": self.refused, "connections": self.connections,
            "most_open": self.most_open,
        }  # fmt: skip


class RowServer:
    """The endpoint in a process of its own. Use it in a `with`."""

    def __init__(self, kind: str = "clean", delay: float = 0.2) -> None:
        words = [sys.executable, str(Path(__file__)), kind, str(delay)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/stats") as response:
            return dict(json.load(response))

    def __enter__(self) -> RowServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("delay", type=float)
    options = parser.parse_args()
    server = await asyncio.start_server(
        Endpoint(options.kind, options.delay).serve, "127.0.0.1", 0, limit=2**24, backlog=200
    )  # fmt: skip
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
