"""What `comet_magic` costs, as ratios to a floor measured in the same run.

    make bench                  all of it, about two minutes
    make bench ARGS="load cell"  some of it: load, first, cell, ask, stream, lag, paint, kept,
                                   crowd, cards, size, page, shapes, dialects, embed, rows
    make bench-smoke            every part once, with few rounds: that it runs, not what it says

Machines are noisy: read the ratios. The servers run in processes of their own. The package is compiled first, and
measured as it is installed; a switched-off bytecode cache of the caller is not inherited.
"""

from __future__ import annotations

import compileall
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import dialects  # noqa: E402
import rows as rows_part  # noqa: E402
from wire_server import (  # noqa: E402
    CLOSE,
    LAST_CHUNK,
    MESSAGE,
    OPEN_HEAD,
    SSE_HEAD,
    Script,
    WireServer,
    block,
    chunk,
    delta,
    reply,
    start,
    stop,
)

DELTAS = 20_000
Row = tuple[str, str, str, str, str]  # what, ours, floor, ratio, demand


def serve(script: Script | Callable[[Any], Script], pipe: Any) -> None:
    with WireServer(script) as server:
        pipe.send(server.url)
        pipe.recv()


@contextmanager
def server(script: Script | Callable[[Any], Script]) -> Iterator[str]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(script, theirs), daemon=True)
    process.start()
    yield ours.recv()
    ours.send(None)
    process.join(5)


_smoke = False


def rounds(count: int) -> int:
    """How often something is measured; few times where it only has to run."""
    return max(2, count // 50) if _smoke else count


def median_of(times: int, run: Callable[[], float]) -> float:
    return statistics.median(run() for _ in range(rounds(times)))


def row(what: str, ours: float, floor: float | None, demand: str, unit: str, digits: int = 1) -> Row:
    ratio = f"{ours / floor:.2f} x" if floor else ""
    return what, f"{ours:.{digits}f} {unit}", f"{floor:.{digits}f} {unit}" if floor is not None else "", ratio, demand


def in_process(code: str, **environment: str) -> dict[str, float]:
    """Execution `code` in a fresh process; it prints a JSON object."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**clean, **environment}, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


# ---- loading

SHELL = """
import json, resource, sys, time
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
shell = InteractiveShell.instance()
shell.run_cell("1 + 1")
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
"""


def load() -> list[Row]:
    """In a running kernel: what `%load_ext comet_magic` adds."""
    with kernel() as run:
        code = "import time, resource\ndef _rss(): return int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6"
        run(code)
        run(
            "_cpu, _mem = time.process_time(), _rss()\n%load_ext comet_magic\n_cpu, _mem = time.process_time() - _cpu, _rss() - _mem"
        )
        run("_cpu0 = time.process_time()\nimport requests\n_cpu0 = time.process_time() - _cpu0")
        cpu, mem, floor = json.loads(run("print([_cpu * 1e3, _mem, _cpu0 * 1e3])"))
    return [
        row("%load_ext in a kernel, CPU (beside: import requests)", cpu, floor, "3 ms", "ms"),
        row("%load_ext in a kernel, memory", mem, None, "1 MB", "MB", 2),
    ]


def first() -> list[Row]:
    """From a bare shell to the first reply."""
    ask = (
        SHELL + "began, before = time.process_time(), rss()\n"
        "with capture_output():\n    shell.run_line_magic('load_ext', 'comet_magic'); shell.run_cell('%%claude\\nhi')\n"
        "import comet_magic; assert comet_magic.last.text\n"
        "print(json.dumps([['cpu', (time.process_time() - began) * 1e3], ['more', rss() - before], ['peak', peak()]]))"
    )
    plain = (
        SHELL + "import os; began, before = time.process_time(), rss()\n"
        "import requests; requests.post(os.environ['COMET_MAGIC_ENDPOINT'] + '/v1/messages', json={}).json()\n"
        "print(json.dumps([['cpu', (time.process_time() - began) * 1e3], ['more', rss() - before], ['peak', peak()]]))"
    )
    bare = SHELL + "print(json.dumps([['peak', peak()]]))"
    with server(reply(MESSAGE)) as url:
        environment = {"COMET_MAGIC_ENDPOINT": url, "COMETAPI_KEY": "sk-0123456789abcdef"}
        ours = [in_process(ask, **environment) for _ in range(rounds(5) + 1)][1:]
        floor = [in_process(plain, **environment) for _ in range(rounds(5))]
        shell = [in_process(bare, **environment) for _ in range(rounds(3))]
    of = lambda runs, name: statistics.median(run[name] for run in runs)  # noqa: E731
    return [
        row(
            "first reply over a bare shell, CPU (floor: requests)",
            of(ours, "cpu"),
            of(floor, "cpu"),
            "75 ms, 1.4 x",
            "ms",
        ),
        row("the same, memory", of(ours, "more"), of(floor, "more"), "", "MB"),
        row("the same, peak (floor: the bare shell)", of(ours, "peak"), of(shell, "peak"), "45 MB more", "MB"),
    ]


# ---- one cell


CELLS = """
import os, statistics, threading
import requests
from IPython.display import Markdown, display
url = os.environ['COMET_MAGIC_ENDPOINT'] + '/v1/messages'
shell.run_line_magic('load_ext', 'comet_magic')
shell.run_line_magic('config', 'CometSettings.stream = False')
from comet_magic.api import client
from comet_magic.exchange import session
from comet_magic.messages.conversation import Turn
from comet_magic.messages.message import Message
from comet_magic.settings import CometSettings
from comet_magic.store import turns
number = iter(range(10**6))
cell = [None]
# As JupyterLab asks for an execution: with the id of the cell.
shell.get_parent = lambda: {'metadata': {'cellId': cell[0]}, 'header': {'msg_id': str(next(number))}}
store = session.current().store(CometSettings.instance())
def fill(db):
    made = turns.conversation_id(store, db, 'long')
    for n in range(340):
        text = 'Some words of a reply, as long as replies are. ' * 20
        pair = (Message.user('A question of a line or two, as people ask it in a notebook?'), Message('assistant', ({'type': 'text', 'text': text},)))
        turns.put_turn(db, made, Turn.of(f'c{n}', pair, at=1.0))
store.write(fill)
# A new cell each time, but for the long conversation, whose last cell is run again.
kinds = {
    'alone': lambda n: (f'a{n}', '%%claude --alone\\nhi'),
    'first': lambda n: (f'b{n}', f'%%claude -c one{n}\\nhi'),
    'long': lambda n: ('c340', '%%claude -c long\\nhi'),
}
sent = {}
transport = client._transport
def recording(request):
    sent['now'] = request.body
    return transport(request)
requests_session = requests.Session()
shell.user_ns.update(Markdown=Markdown, display=display)
def timed(run):
    began = time.perf_counter(); run(); return (time.perf_counter() - began) * 1e3
def timed_cell(kind, n):
    cell[0], text = kinds[kind](n)
    return timed(lambda: shell.run_cell(text))
out = []
with capture_output():
    for text in ('None', 'display(Markdown("4"))'):
        shell.run_cell(text)
    bodies = {}
    for kind in kinds:
        client._transport = recording
        for n in range(3):
            timed_cell(kind, -1 - n)
        client._transport = transport
        bodies[kind] = sent['now']
    statements = []
    store._connection.set_trace_callback(statements.append)
    timed_cell('long', 0)
    store._connection.set_trace_callback(None)
    got = {name: [] for name in (*kinds, 'empty', 'shown', *(f'call {kind}' for kind in kinds))}
    for n in range(ROUNDS):
        for kind, body in bodies.items():
            got[kind].append(timed_cell(kind, n))
            got[f'call {kind}'].append(timed(lambda: requests_session.post(url, data=body).json()))
        got['empty'].append(timed(lambda: shell.run_cell('None')))
        got['shown'].append(timed(lambda: shell.run_cell('display(Markdown("4"))')))
out = {name: statistics.median(seen) for name, seen in got.items()}
out['sent'] = len(json.loads(bodies['long'])['messages']) // 2
out['transactions'] = sum(text.startswith('BEGIN') for text in statements)
out['statements'] = len(statements) - 2 * out['transactions']
print(json.dumps(out))
"""


def cell() -> list[Row]:
    """A warm cell, non-streamed, its store on disk; floor: a session's call with the same bytes + an empty cell + a display."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, server(reply(MESSAGE)) as url:
        environment = {"COMET_MAGIC_ENDPOINT": url, "COMET_MAGIC_STORE": f"{folder}/store.sqlite"}
        code = SHELL + CELLS.replace("ROUNDS", str(rounds(300)))
        got = in_process(code, COMETAPI_KEY="sk-0123456789abcdef", **environment)
    for kind, what, demand in (
        ("alone", "--alone", "1.25 x"),
        ("first", "first turn of a conversation", "1.35 x"),
        ("long", f"{got['sent']:.0f} turns sent, of 340", "1.4 x"),
    ):
        floor = got[f"call {kind}"] + got["empty"] + (got["shown"] - got["empty"])
        rows.append(
            row(f"a warm cell, {what} (floor: the same call, cell, display)", got[kind], floor, demand, "ms", 2)
        )
    rows.append(row("  SQL statements of it", got["statements"], None, "6", "", 0))
    rows.append(row("  transactions of it", got["transactions"], None, "2", "", 0))
    return rows


ASK = """
import statistics, requests
import comet_magic
url = os.environ['COMET_MAGIC_ENDPOINT'] + '/v1/messages'
comet_magic.CometSettings.instance().stream = False
session = requests.Session()
body = {'model': 'claude-sonnet-4-6', 'max_tokens': 4096, 'messages': [{'role': 'user', 'content': 'hi'}]}
def timed(run):
    began = time.perf_counter(); run(); return (time.perf_counter() - began) * 1e3
def ours(): comet_magic.ask('hi')
def bare(): session.post(url, json=body).json()
for run in (ours, bare): run(); run()
got = {'ours': [], 'bare': []}
for _ in range(ROUNDS):
    got['ours'].append(timed(ours)); got['bare'].append(timed(bare))
print(json.dumps({name: statistics.median(seen) for name, seen in got.items()}))
"""


def ask() -> list[Row]:
    """A warm `ask`, non-streamed, its store on disk, outside IPython; `make bench-peers` has other libraries beside it."""
    with tempfile.TemporaryDirectory() as folder, server(reply(MESSAGE)) as url:
        code = "import json, os, time\n" + ASK.replace("ROUNDS", str(rounds(400)))
        environment = {"COMET_MAGIC_ENDPOINT": url, "COMET_MAGIC_STORE": f"{folder}/store.sqlite"}
        got = in_process(code, COMETAPI_KEY="sk-0123456789abcdef", **environment)
    return [row("a warm ask, store on disk (floor: a session's call)", got["ours"], got["bare"], "0.8 ms", "ms", 2)]


# ---- streams


def bodies() -> dict[str, Script]:
    import gzip

    events = [start(), block(), *[delta("word")] * DELTAS, stop()]
    data = b"".join(events)
    chunked = b"".join(map(chunk, events))
    rechunked = b"".join(chunk(data[i : i + 1460]) for i in range(0, len(data), 1460))
    packed = gzip.compress(data)
    zipped = SSE_HEAD[:-2] + b"content-encoding: gzip\r\n\r\n"
    return {
        "chunked per event": [SSE_HEAD, chunked + LAST_CHUNK],
        "re-chunked": [SSE_HEAD, rechunked + LAST_CHUNK],
        "un-chunked": [OPEN_HEAD, data, CLOSE],
        "gzipped": [zipped, b"".join(chunk(packed[i : i + 1460]) for i in range(0, len(packed), 1460)) + LAST_CHUNK],
    }


STREAM = """
import json, os, sys, time, requests
from comet_magic.api.client import Client
from comet_magic.api.endpoint import Endpoint
from comet_magic.api.transport import RequestsTransport
from comet_magic.messages.message import Message
from comet_magic.messages.request import Request
url = os.environ['BENCH_URL']
client = Client(RequestsTransport(), Endpoint(url))
request = Request('m', 9, (Message.user('x'),))
def ours():
    with client.stream(request) as stream:
        for _ in stream: pass
    assert len(stream.text) == 4 * 20000
session = requests.Session()
def bare():
    with session.post(url + '/v1/messages', json={}, stream=True) as r:
        buffer, n = b'', 0
        while chunk := r.raw.read1(65536, decode_content=True):
            *lines, buffer = (buffer + chunk).split(b'\\n')
            for line in lines:
                if line.startswith(b'data: '):
                    json.loads(line[6:]); n += 1
    assert n > 20000
times = {'ours': [], 'bare': []}
for _ in range(7):
    for name, run in (('ours', ours), ('bare', bare)):
        began = time.process_time(); run(); times[name].append((time.process_time() - began) / 20000 * 1e6)
print(json.dumps([[name, sorted(seen)[len(seen) // 2]] for name, seen in times.items()]))
"""


def stream() -> list[Row]:
    """CPU for each delta, unthrottled, nothing painted."""
    rows = []
    for name, script in bodies().items():
        with server(script) as url:
            got = in_process(STREAM, BENCH_URL=url)
        rows.append(row(f"a delta, {name} (floor: read1 + json.loads)", got["ours"], got["bare"], "1.5 x", "µs"))
    return rows


def lag() -> list[Row]:
    """How long after its bytes a delta is seen, 80 deltas a second; and the first paint."""
    from comet_magic.api.client import Client
    from comet_magic.api.endpoint import Endpoint
    from comet_magic.api.transport import RequestsTransport
    from comet_magic.exchange.loop import Reply
    from comet_magic.messages.message import Message
    from comet_magic.messages.request import Request
    from comet_magic.notebook.display import LiveDisplay, Notebook

    rows = []
    for name, head, wrap in (("chunked", SSE_HEAD, chunk), ("un-chunked", OPEN_HEAD, bytes)):
        sent: list[float] = []

        def script(_: Any, head: bytes = head, wrap: Any = wrap, sent: list[float] = sent) -> Iterator[Any]:
            yield head + wrap(start() + block())
            for _ in range(240):
                time.sleep(1 / 80)
                sent.append(time.perf_counter())
                yield wrap(delta("word"))
            yield wrap(stop())
            yield LAST_CHUNK if wrap is chunk else CLOSE

        with WireServer(script) as wire:  # type: ignore[arg-type]  # a generator is a script that knows the time
            client = Client(RequestsTransport(), Endpoint(wire.url))
            seen, painted = [], []
            with client.stream(Request("m", 9, (Message.user("x"),))) as replying:
                for event in replying:
                    if event["type"] == "content_block_delta":
                        seen.append(time.perf_counter())
            lags = sorted((b - a) * 1e3 for a, b in zip(sent, seen, strict=True))
            rows.append(row(f"lag of a delta, {name}, median", lags[len(lags) // 2], None, "0.5 ms", "ms", 2))
            rows.append(row(f"lag of a delta, {name}, 95 %", lags[int(len(lags) * 0.95)], None, "2 ms", "ms", 2))
            sent.clear()
            screen = Notebook(
                lambda painted=painted, **_: painted.append(time.perf_counter()), show_usage=True, remote_images=False
            )
            request = Request("m", 9, (Message.user("x"),))

            def snapshots(client: Client = client, request: Request = request) -> Iterator[Any]:
                with Reply(request, client.stream) as growing:
                    for _ in growing:
                        yield growing
                    yield growing.message

            LiveDisplay(screen).show(snapshots())  # type: ignore[arg-type]  # it is not interrupted
            rows.append(row(f"first text painted, {name}", (painted[0] - sent[0]) * 1e3, None, "15 ms", "ms", 2))
    return rows


# ---- painting in a real kernel


@contextmanager
def kernel(**environment: str) -> Iterator[Callable[[str], str]]:
    from jupyter_client.manager import KernelManager

    with tempfile.TemporaryDirectory() as home:
        manager = KernelManager(kernel_name="python3", transport="ipc")
        manager.start_kernel(
            extra_arguments=["--log-level=ERROR"], env={**os.environ, "IPYTHONDIR": home, **environment}
        )
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        sizes: list[int] = []

        def run(code: str) -> str:
            printed: list[str] = []
            sizes.clear()

            def note(message: dict[str, Any]) -> None:
                if message["msg_type"] == "stream":
                    printed.append(message["content"]["text"])
                elif message["msg_type"] in ("display_data", "update_display_data"):
                    parts = (message["header"], message["parent_header"], message["metadata"], message["content"])
                    sizes.append(sum(len(json.dumps(part, default=str, ensure_ascii=False).encode()) for part in parts))

            # As a notebook is run where nobody can be asked: of a client that allows stdin, a console's is expected.
            got = client.execute_interactive(code, timeout=300, output_hook=note, allow_stdin=False)
            assert got["content"]["status"] == "ok", got["content"]
            return "".join(printed)

        run.sizes = sizes  # type: ignore[attr-defined]  # what was published by the last cell
        yield run
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def paced(seconds: float, size: int, count: int) -> Script:
    text = ("Some **bold** words, `code`, and a line.\n\n" * (size * count // 40 + 1))[: size * count]
    deltas = [delta(text[i : i + size]) for i in range(0, len(text), size)]
    steps = [step for data in deltas for step in (seconds / count, chunk(data))]
    return [SSE_HEAD, chunk(start() + block()), *steps, chunk(stop()), LAST_CHUNK]


BARE_PAINTER = """
import json, os, requests, time
from IPython.display import Markdown, display
def bare():
    text, due = "", 0.0
    handle = display(Markdown(""), display_id=True)
    with requests.post(os.environ["COMET_MAGIC_ENDPOINT"] + "/v1/messages", json={}, stream=True) as r:
        buffer = b""
        while chunk := r.raw.read1(65536, decode_content=True):
            *lines, buffer = (buffer + chunk).split(b"\\n")
            for line in lines:
                if line.startswith(b"data: "):
                    text += json.loads(line[6:]).get("delta", {}).get("text", "")
            if (now := time.monotonic()) >= due:
                handle.update(Markdown(text))
                due = now + max(0.1, len(text) / 40_000)
    handle.update(Markdown(text))
"""


def paint() -> list[Row]:
    rows = []
    for name, seconds, size, count, cpu_demand, bytes_demand in (
        ("10 s at 80 deltas a second", 10, 4, 800, "150 ms", "300 kB"),
        ("80 kB in 20 s", 20, 40, 2000, "", f"{(20 * 50_000 + 3 * 80_000) / 1e3:.0f} kB"),
    )[: 1 if _smoke else 2]:
        key = {"COMETAPI_KEY": "sk-0123456789abcdef"}  # without one, it would be looked for in the system's keyring
        with server(paced(seconds, size, count)) as url, kernel(COMET_MAGIC_ENDPOINT=url, **key) as run:
            run("%load_ext comet_magic\nimport time, comet_magic.api.client, comet_magic.notebook.display, requests")
            run(BARE_PAINTER)
            run("_cpu = time.process_time()\nbare()\n_floor = time.process_time() - _cpu")
            run("_cpu = time.process_time()")
            run("%%claude\nhi")
            published = sum(run.sizes) / 1e3  # type: ignore[attr-defined]
            messages = len(run.sizes)  # type: ignore[attr-defined]
            assert messages > seconds, "the reply was not painted while it grew"
            cpu, floor = json.loads(run("print([(time.process_time() - _cpu) * 1e3, _floor * 1e3])"))
        rows.append(row(f"painting {name}: kernel CPU (floor: bare loop)", cpu, floor, cpu_demand, "ms"))
        rows.append(row(f"painting {name}: {messages} messages", published, None, bytes_demand, "kB"))
    return rows


# ---- the store


def kept() -> list[Row]:
    """A long conversation, a large store, a replay's first paint."""
    from comet_magic.describe.question import Question
    from comet_magic.exchange.cells import Cell
    from comet_magic.exchange.journal import Journal
    from comet_magic.exchange.plan import Options, make_plan
    from comet_magic.exchange.run import run
    from comet_magic.exchange.session import Session
    from comet_magic.messages.conversation import Turn
    from comet_magic.messages.message import Message
    from comet_magic.messages.request import Request
    from comet_magic.messages.usage import Usage
    from comet_magic.settings import CometSettings
    from comet_magic.store import requests, turns
    from comet_magic.store.database import Store
    from comet_magic.store.requests import RequestRecord

    text = "Some words of a reply, as long as replies are. " * 20
    question = Message.user("A question of a line or two, as people ask it in a notebook?")
    answer = Message("assistant", ({"type": "text", "text": text},), "m", "end_turn", usage=Usage(11, 5))

    def fill(store: Store, count: int, name: str, endpoint: str) -> None:
        def act(db: Any) -> None:
            for number in range(count):
                request = Request("m", 9, (Message.user(f"{number}?"),))
                asked = RequestRecord.of(
                    request, question, id=f"{name}{number}", endpoint=endpoint, session="s", conversation=name,
                    cell=f"c{number}", at=time.time() - count + number,
                )  # fmt: skip
                requests.put_request(store, db, asked, requests.WHOLE)
                requests._put_reply(db, asked.id, answer)
                requests.put_entry(db, asked, answer.usage, 0.001)
                if name:
                    turn = Turn.of(f"c{number}", (question, answer), request=asked.id, at=asked.at)
                    turns.put_turn(db, turns.conversation_id(store, db, name), turn)

        store.write(act)

    rows = []
    with tempfile.TemporaryDirectory() as folder, server(reply(MESSAGE)) as url:
        path = Path(folder) / "store.sqlite"
        store = Store(path)
        fill(store, 1000, "long", url)
        fill(store, 1000 if _smoke else 100_000, "", "elsewhere")
        store.close()
        size = path.stat().st_size / 1e6

        settings = CometSettings.instance()
        settings.endpoint, settings.store, settings.replay = url, str(path), "never"

        def opened() -> float:
            began = time.perf_counter()
            session = Session()
            session.store(settings)
            took = time.perf_counter() - began
            session.close()
            return took * 1e3

        rows.append(
            row(f"opening a store of 101,000 replies ({size:.0f} MB)", median_of(9, opened), None, "50 ms", "ms")
        )

        session = Session()
        number = iter(range(10**6))

        def planned() -> Any:
            cell = Cell("long", "c1000", 1, next(number), True)
            return make_plan(Question(question), Options(), cell, settings, session)

        def turn() -> float:
            """Own time: all of a turn but the call itself."""
            began = time.perf_counter()
            plan = planned()
            waited = 0.0
            with Journal(session, plan) as journal:
                snapshots = run(plan, journal, session)
                while True:
                    before = time.perf_counter()
                    if isinstance(next(snapshots, question), Message):
                        break
                    waited += time.perf_counter() - before
            return (time.perf_counter() - began - waited) * 1e3

        def call(request: Any) -> float:
            from comet_magic.api.client import connect

            began = time.perf_counter()
            with connect(settings).stream(request) as stream:
                took = time.perf_counter() - began
                stream.until_done()
            return took * 1e3

        for what, most, tokens in (("as set by default", 50, 50_000), ("all 1,000 sent", 1000, 10**9)):
            settings.history_turns, settings.history_tokens = most, tokens
            own = median_of(9, turn)
            request = planned().request
            sent = median_of(9, lambda request=request: call(request))
            rows.append(row(f"turn 1,000, {what} (floor: the bare call)", own, sent, "10 ms more", "ms"))
        session.close()

        environment = {"COMET_MAGIC_ENDPOINT": url, "COMET_MAGIC_STORE": str(path), "COMET_MAGIC_REPLAY": "always"}
        got = in_process(SHELL + REPLAY, COMETAPI_KEY="sk-0123456789abcdef", **environment)
        rows.append(row("a replay painted, first cell of a kernel (with its imports)", got["first"], None, "", "ms"))
        rows.append(row("a replay painted, later (floor: empty cell)", got["later"], got["empty"], "20 ms", "ms", 2))
    return rows


REPLAY = """
from statistics import median
def timed(cell):
    began = time.perf_counter(); shell.run_cell(cell); return (time.perf_counter() - began) * 1e3
shell.run_line_magic('load_ext', 'comet_magic')
with capture_output():
    shell.run_cell('%%claude --alone\\nhi')
    from comet_magic.exchange import session; session.reset(); import comet_magic
    timed('None')
    first = timed('%%claude --alone\\nhi'); assert comet_magic.last.receipt.replayed
    later = [timed('%%claude --alone\\nhi') for _ in range(50)]
    empty = [timed('None') for _ in range(50)]
print(json.dumps([['first', first], ['later', median(later)], ['empty', median(empty)]]))
"""


def crowd() -> list[Row]:
    """8 processes, 500 turns each, at once into one conversation."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "store.sqlite")
        code = "import os, sys; sys.path[:0] = sys.argv[1].split(os.pathsep); from test_database import write_many; write_many(sys.argv[2], int(sys.argv[3]), TURNS)".replace(
            "TURNS", str(rounds(500))
        )
        began = time.perf_counter()
        running = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    code,
                    os.pathsep.join([str(HERE.parent), str(HERE.parent / "store")]),
                    path,
                    str(number),
                ]
            )
            for number in range(8)
        ]
        assert [process.wait() for process in running] == [0] * 8
        took = time.perf_counter() - began
        from comet_magic.store import turns
        from comet_magic.store.database import Store

        kept = turns.conversation(Store(path), "c").turns
        assert len({turn.question for turn in kept}) == len(kept)
    return [
        row("8 processes x 500 turns at once: kept", len(kept), None, "4,000", "turns", 0),
        row("the same: time", took, None, "", "s"),
    ]


# ---- cards


def cards() -> list[Row]:
    """Tables of 10,000,000 rows x 20 columns. Floor: their nulls, min and max alone."""
    rows: list[Row] = []
    for library in ("polars",) if _smoke else ("pandas", "polars", "pyarrow", "duckdb"):
        done = subprocess.run(
            [sys.executable, str(HERE / "large.py"), library], check=True, capture_output=True, text=True
        )
        got = json.loads(done.stdout)
        rows += [
            row(f"card of 10M x 20, {library}", got["large"], got["exact"], "1 s", "s", 2),
            row("  extra memory", got["extra"], None, "100 MB", "MB", 0),
            row("  of its first 1,000 rows", got["small"], None, "15 ms", "ms"),
            row("  characters a column", got["characters"], None, "100", "", 0),
        ]
    return [*rows, row("a prompt of 1 MB without references", got["prompt"], None, "5 ms", "ms", 2)]


# ---- size


def size() -> list[Row]:
    """Distributions and MB that a plain `pip install` of the project adds to ipython."""
    root = HERE.parent.parent
    with tempfile.TemporaryDirectory() as folder:
        counts, sizes = [], []
        for what in (["ipython"], [str(root)]):
            place = Path(folder) / str(len(counts))
            pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
            pins = ["-c", str(root / "tests" / "constraints.txt")]
            subprocess.run(["python3", *pip[1:], *pins, "--target", str(place), *what], check=True, capture_output=True)
            counts.append(len(list(place.glob("*.dist-info"))))
            sizes.append(sum(f.stat().st_size for f in place.rglob("*") if f.is_file()) / 1e6)
    return [
        row("distributions beyond ipython", counts[1] - counts[0], None, "12", "", 0),
        row("MB beyond ipython", sizes[1] - sizes[0], None, "14 MB", "MB"),
    ]


def page() -> list[Row]:
    """How far JupyterLab lags behind when 80 kB come in 20 s."""
    import lab_lag

    with server(paced(20, 40, 2000)) as url:
        return [row("JupyterLab behind the end of 80 kB in 20 s", lab_lag.measure(url), None, "2 s", "s")]


def shapes() -> list[Row]:
    """What is read of the shapes that gateways send, and what the official SDK reads; `make third-party` installs it."""
    command = [sys.executable, "-W", "ignore", str(HERE / "third_party.py"), "--shapes"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.split("  ") for line in done.stdout.splitlines()[1:]]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return [
        (f"a reply with: {name} (beside: the official SDK)", ours, sdk[:11], "", "read") for name, ours, sdk in cells
    ]


PARTS = {
    "load": load,
    "first": first,
    "cell": cell,
    "ask": ask,
    "stream": stream,
    "lag": lag,
    "paint": paint,
    "kept": kept,
    "crowd": crowd,
    "cards": cards,
    "size": size,
    "page": page,
    "shapes": shapes,
}


def other_dialects() -> list[Row]:
    """Cells and deltas of other dialects, interleaved with those of Messages."""
    return dialects.dialects(server, in_process, rounds, row)


def embedded() -> list[Row]:
    """Embeddings, with a store on disk, against a server that answers at once."""
    with tempfile.TemporaryDirectory() as folder:
        return dialects.embed(server, in_process, rounds, row, folder)


def many_rows() -> list[Row]:
    """One prompt over many rows, with a store on disk."""
    return rows_part.rows(rounds, row)


PARTS.update(dialects=other_dialects, embed=embedded, rows=many_rows)


def main() -> None:
    global _smoke
    for name in [name for name in os.environ if name.startswith("COMET")]:
        del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    arguments = [argument for argument in sys.argv[1:] if argument != "--smoke"]
    _smoke = "--smoke" in sys.argv
    import comet_magic

    compileall.compile_dir(str(Path(comet_magic.__file__).parent), quiet=1)
    widths = (72, 12, 12, 9, 14)
    heads = ("what", "ours", "floor", "ratio", "demand")
    print("".join(text.ljust(width) for text, width in zip(heads, widths, strict=True)))
    for name in arguments or PARTS:
        if _smoke and name in UNSUITED:
            continue
        for cells in PARTS[name]():
            print("".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)), flush=True)


# Installations from a registry, and a page that is watched for half a minute: other commands run them.
UNSUITED = ("size", "page")


if __name__ == "__main__":
    main()
