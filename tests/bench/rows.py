"""One prompt over many rows beside a bare thread pool, and beside chatlas where it is installed: a part of the bench.

The bound is the time that so many replies take with 64 at once, and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from row_server import RowServer

AT_ONCE, DELAY = 64, 0.2

HEAD = """
import json, os, resource, sys, time
N, URL, WORKERS = int(os.environ['BENCH_ROWS']), os.environ['BENCH_URL'], 64
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
def tell(began, cpu, lost, memory=0.0, **more):
    wall = time.perf_counter() - began
    print(json.dumps({'wall': wall, 'cpu': (time.process_time() - cpu) / N * 1e3, 'lost': lost, 'memory': memory, **more}))
"""
OURS = (
    HEAD
    + """
import pandas, comet_magic
from comet_magic.settings import CometSettings
settings = CometSettings.instance(); settings.endpoint, settings.model = URL, 'claude-haiku-4-5'
comet_magic.map([{'a': 'warm'}], 'q {{row.a}}', **MORE)
rows = pandas.DataFrame({'review': [f'review number {n} was fine' for n in range(N)]})
before, began, cpu = peak(), time.perf_counter(), time.process_time()
got = comet_magic.map(rows, 'Tone of this review? {{row.review}}', yes=True, workers=WORKERS, **MORE)
tell(began, cpu, int(got.error.notna().sum()), peak() - before)
"""
)
AGAIN = (
    HEAD
    + """
import pandas, comet_magic, comet_magic.mapping
from comet_magic.settings import CometSettings
settings = CometSettings.instance(); settings.endpoint, settings.model = URL, 'claude-haiku-4-5'
rows = pandas.DataFrame({'review': [f'review number {n} was fine' for n in range(N)]})
began, cpu = time.perf_counter(), time.process_time()
got = comet_magic.map(rows, 'Tone of this review? {{row.review}}', budget=0)
store = comet_magic.exchange.session.current().store(settings)
tell(began, cpu, int(got.error.notna().sum()), store=os.path.getsize(store.path) / N)
"""
)
BARE = (
    HEAD
    + """
import requests
from concurrent.futures import ThreadPoolExecutor
session = requests.Session(); session.mount('http://', requests.adapters.HTTPAdapter(pool_maxsize=WORKERS))
def ask(n):
    for _ in range(20):
        message = {'role': 'user', 'content': f'Tone of this review? review number {n} was fine'}
        body = {'model': 'm', 'max_tokens': 9, 'messages': [message]}
        reply = session.post(URL + '/v1/messages', json=body)
        if reply.status_code == 200: return reply.json()['content'][0]['text']
        time.sleep(float(reply.headers.get('retry-after', 0.5)))
ask(-1)
began, cpu = time.perf_counter(), time.process_time()
with ThreadPoolExecutor(WORKERS) as pool: got = list(pool.map(ask, range(N)))
tell(began, cpu, got.count(None))
"""
)
CHATLAS = (
    HEAD
    + """
import asyncio, chatlas
chat = chatlas.ChatAnthropic(api_key='sk-x', model='m', kwargs={'base_url': URL})
prompts = [f'Tone of this review? review number {n} was fine' for n in range(N)]
async def run(): return await chatlas.parallel_chat_text(chat, prompts, max_active=WORKERS, rpm=10**9, on_error='continue')
began, cpu = time.perf_counter(), time.process_time()
got = asyncio.run(run())
tell(began, cpu, sum(not isinstance(one, str) for one in got))
"""
)
CLUSTER = "client = __import__('distributed').Client(__import__('distributed').LocalCluster({}))\nMORE = dict(client=client)\n"


def _run(code: str, url: str, count: int, folder: str, python: str = sys.executable) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COMET", "ANTHROPIC"))}
    environment |= {
        "BENCH_ROWS": str(count), "BENCH_URL": url, "COMETAPI_KEY": "sk-0123456789abcdef",
        "COMET_MAGIC_STORE": f"{folder}/store.sqlite",
    }  # fmt: skip
    words = [python, "-W", "ignore", "-c", "if __name__ == '__main__':\n" + _indented(code)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())


def _chatlas() -> str:
    """The Python of the environment in which chatlas is, made where there is none; "" where it cannot be."""
    from peers import environment

    try:
        return str(environment("chatlas"))
    except (OSError, subprocess.CalledProcessError):
        return ""


def rows(rounds: Callable[[int], int], row: Callable[..., Any]) -> list[Any]:
    is_smoke = rounds(100) < 100
    count = 200 if is_smoke else 2000
    shown: list[Any] = []
    chatlas = "" if is_smoke else _chatlas()
    kinds = [("clean", "clean", count, "1.10 x"), ("faults", "5 % 429, 1 % 500", count, "1.45 x")]
    kinds.append(("limit", "a limit of 100/s", 200 if is_smoke else 1500, "1.12 x"))
    for kind, words, size, demand in kinds:
        bound = DELAY * size / AT_ONCE if kind != "limit" else max((size - 100) / 100, 0.1)
        codes = {"ours": "MORE = {}\n" + OURS, "a bare thread pool": BARE}
        codes |= {"chatlas": CHATLAS} if chatlas and kind != "limit" else {}
        for name, code in codes.items():
            python = chatlas if name == "chatlas" else sys.executable
            # What is refused is drawn from the text: the last rows may be unlucky, so other texts are tried, too.
            texts = ["review number"] if is_smoke or kind != "faults" else ["review number", "review", "number"]
            runs = []
            for text in texts:
                with tempfile.TemporaryDirectory() as folder, RowServer(kind, DELAY) as server:
                    runs.append(_run(code.replace("review number {", f"{text} {{"), server.url, size, folder, python))
                    refused = server.stats()["refused"]
            got = sorted(runs, key=lambda one: one["wall"])[len(runs) // 2]
            what = f"{size:,} rows, {words}, {name} (floor: the bound)"
            shown.append(row(what, got["wall"], bound, demand if name == "ours" else "", "s", 2))
            more = f"  CPU a row; lost {got['lost']:.0f}, refused {refused}"
            shown.append(row(more, got["cpu"], None, "1 ms, 0 lost" if name == "ours" else "", "ms", 2))
    for words, options, demand in (
        ("threads", "n_workers=1, threads_per_worker=64, processes=False", "1.25 x"),
        ("2 processes", "n_workers=2, threads_per_worker=32, processes=True", "1.5 x"),
    ):
        code = CLUSTER.format(f"{options}, dashboard_address=None") + OURS
        with tempfile.TemporaryDirectory() as folder, RowServer("clean", DELAY) as server:
            got = _run(code, server.url, count, folder)
        bound = DELAY * count / AT_ONCE
        shown.append(row(f"{count:,} rows by Dask in {words} (floor: the bound)", got["wall"], bound, demand, "s", 2))
    many = 1000 if is_smoke else 100_000
    with tempfile.TemporaryDirectory() as folder, RowServer("clean", 0.005) as server:
        got = _run("MORE = {}\n" + OURS, server.url, many, folder)
        shown.append(row(f"{many:,} rows of 5 ms: memory over the frame", got["memory"], None, "60 MB", "MB"))
        again = _run(AGAIN, server.url, many, folder)
    shown.append(row("  the same again: all are in the store", again["wall"], None, "2 s", "s", 2))
    shown.append(row("  the store, a row (a reply of 4 bytes)", again["store"], None, "304 B", "B", 0))
    return shown
