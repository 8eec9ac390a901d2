"""What other dialects cost beside Messages, and embeddings beside the bare requests: parts of the bench."""

from __future__ import annotations

import json
from array import array
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from wire_server import LAST_CHUNK, MESSAGE, SSE_HEAD, Received, Script, block, chunk, delta, reply, start, stop

DELTAS = 20_000

CELL = """
import json, os, statistics, time
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
shell = InteractiveShell.instance()
shell.run_line_magic('load_ext', 'comet_magic')
shell.run_line_magic('config', 'CometSettings.stream = False')
def timed(model):
    began = time.perf_counter(); shell.run_cell(f'%%claude -m {model} --alone\\nhi'); return (time.perf_counter() - began) * 1e3
with capture_output():
    got = {model: [] for model in ('claude-sonnet-5', 'gpt-6-luna')}
    for n in range(ROUNDS + 5):
        for model, seen in got.items():
            took = timed(model)
            if n >= 5: seen.append(took)
print(json.dumps({model: statistics.median(seen) for model, seen in got.items()}))
"""

STREAM = """
import json, os, time
from comet_magic.api.client import Client
from comet_magic.api.endpoint import Endpoint
from comet_magic.api.transport import RequestsTransport
from comet_magic.messages.message import Message
from comet_magic.messages.request import Request
client = Client(RequestsTransport(), Endpoint(os.environ['BENCH_URL']))
def run(dialect):
    with client.stream(Request('m', 9, (Message.user('x'),), dialect=dialect)) as stream:
        for _ in stream: pass
    assert len(stream.text) == 4 * 20000
times = {'messages': [], 'chat': [], 'responses': []}
for _ in range(ROUNDS + 1):
    for name, seen in times.items():
        began = time.process_time(); run(name); seen.append((time.process_time() - began) / 20000 * 1e6)
print(json.dumps({name: sorted(seen[1:])[len(seen) // 2] for name, seen in times.items()}))
"""

EMBED = """
import base64, json, os, time
import numpy, requests
import comet_magic
url = os.environ['COMET_MAGIC_ENDPOINT'] + '/v1/embeddings'
session = requests.Session()
texts = [f'short text {n}' for n in range(10_000)]
def posted(tag, **more):
    for at in range(0, len(texts), 2048):
        body = {'model': 'e', 'input': [tag + text for text in texts[at:at + 2048]], **more}
        yield from session.post(url, json=body).json()['data']
def bare(tag): return numpy.array([one['embedding'] for one in posted(tag)], numpy.float32)
def coded(tag):
    rows = posted(tag, encoding_format='base64')
    return numpy.stack([numpy.frombuffer(base64.b64decode(one['embedding']), '<f4') for one in rows])
def ours(tag): comet_magic.embed([tag + text for text in texts], model='e')
times = {'bare': [], 'coded': [], 'ours': []}
for n in range(ROUNDS + 1):
    for name, run in (('bare', bare), ('coded', coded), ('ours', ours)):
        began = time.perf_counter(); run(f'{name}{n} '); times[name].append((time.perf_counter() - began) * 1e3)
got = {name: sorted(seen[1:])[len(seen) // 2 - 1] for name, seen in times.items()}
many = [f'another text {n}' for n in range(100_000)]
comet_magic.embed(many, model='e')
began = time.perf_counter(); comet_magic.embed(many, model='e'); got['cached'] = (time.perf_counter() - began) * 1e3
print(json.dumps(got))
"""


def _data(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def _chat(delta_of: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta_of, "finish_reason": reason}
    return _data(id="chatcmpl-1", object="chat.completion.chunk", created=1, model="g", choices=[choice])


def _response(kind: str, **fields: Any) -> bytes:
    return f"event: response.{kind}\n".encode() + _data(type=f"response.{kind}", **fields)


def _streams(received: Received) -> Script:
    """20,000 deltas in the dialect that is asked."""
    if "/v1/chat" in received.line:
        events = [
            _chat({"role": "assistant", "content": ""}),
            *[_chat({"content": "word"})] * DELTAS,
            _chat({}, "stop"),
        ]
    elif "/v1/responses" in received.line:
        one = _response("output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta="word")
        events = [*[one] * DELTAS, _response("completed", response={"status": "completed", "output": []})]
    else:
        events = [start(), block(), *[delta("word")] * DELTAS, stop()]
    return [SSE_HEAD, b"".join(map(chunk, events)) + LAST_CHUNK]


COMPLETION = {
    "id": "c", "object": "chat.completion", "model": "g", "usage": {"prompt_tokens": 11, "completion_tokens": 5},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Héllo ✓"}, "finish_reason": "stop"}],
}  # fmt: skip


def _whole(received: Received) -> Script:
    if received.line.startswith("GET"):
        return reply({"object": "list", "data": [{"id": "gpt-6-luna", "object": "model"}]})
    return reply(COMPLETION if "/v1/chat" in received.line else MESSAGE)


_NUMBERS = [number / 1000 for number in range(256)]
_VECTOR = b64encode(array("f", _NUMBERS).tobytes()).decode()
_replies: dict[tuple[int, bool], Script] = {}


def _embedded(received: Received) -> Script:
    """An instant reply: it is made once for each number of texts, as numbers or as base64."""
    if received.line.startswith("GET"):
        return reply({}, status=404)
    asked = received.json
    kind = len(asked["input"]), asked.get("encoding_format") == "base64"
    if kind not in _replies:
        data = [{"index": index, "embedding": _VECTOR if kind[1] else _NUMBERS} for index in range(kind[0])]
        _replies[kind] = reply({"data": data, "usage": {"prompt_tokens": kind[0]}})
    return _replies[kind]


def dialects(
    server: Callable[[Any], Any], in_process: Callable[..., dict[str, float]], rounds: Callable[[int], int],
    row: Callable[..., Any],
) -> list[Any]:  # fmt: skip
    key = {"COMETAPI_KEY": "sk-0123456789abcdef", "COMET_MAGIC_KEEP": "0"}
    with server(_whole) as url:
        got = in_process(CELL.replace("ROUNDS", str(rounds(200))), COMET_MAGIC_ENDPOINT=url, **key)
    rows = [
        row(
            "a warm cell of chat completions (floor: of Messages)",
            got["gpt-6-luna"],
            got["claude-sonnet-5"],
            "1.15 x",
            "ms",
            2,
        )
    ]
    with server(_streams) as url:
        got = in_process(STREAM.replace("ROUNDS", str(rounds(7))), BENCH_URL=url)
    rows += [
        row(f"a delta of {what} (floor: of Messages)", got[name], got["messages"], "1.2 x", "µs")
        for name, what in (("chat", "chat completions"), ("responses", "responses"))
    ]
    return rows


def embed(
    server: Callable[[Any], Any], in_process: Callable[..., dict[str, float]], rounds: Callable[[int], int],
    row: Callable[..., Any], folder: str,
) -> list[Any]:  # fmt: skip
    environment = {"COMETAPI_KEY": "sk-0123456789abcdef", "COMET_MAGIC_STORE": f"{folder}/store.sqlite"}
    with server(_embedded) as url:
        got = in_process(EMBED.replace("ROUNDS", str(rounds(7))), COMET_MAGIC_ENDPOINT=url, **environment)
    return [
        row("embed of 10,000 short texts (floor: the bare requests)", got["ours"], got["bare"], "1.3 x", "ms", 0),
        row("  the same (floor: bare requests for base64; nothing stored)", got["ours"], got["coded"], "", "ms", 0),
        row("embed of 100,000 texts that are in the store", got["cached"], None, "1,000 ms", "ms", 0),
    ]
