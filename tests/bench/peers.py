"""The strongest peers beside `comet_magic` in one run, each in an environment of its own under build/peers.

    make bench-peers            the first run installs them (a few minutes)

Against the same instant local server: loading, the first reply, a warm call, CPU for each delta of a stream.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench import DELTAS, HERE, bodies, server
from wire_server import MESSAGE, reply

ROOT = HERE.parent.parent
PLACE = ROOT / "build" / "peers"
PEERS = {
    "comet_magic": [str(ROOT)],
    "anthropic": ["anthropic"],
    "chatlas": ["chatlas", "anthropic"],
    "jupyter-ai-magics": ["jupyter-ai-magics<3", "langchain-anthropic", "ipython<9"],
}
# `load` brings the library to where it can be asked; `ask` and `drain` are one call, and one stream read to its end.
CODE = {
    "comet_magic": """
def load():
    import comet_magic; from comet_magic.settings import CometSettings; CometSettings.instance(endpoint=URL)
def ask():
    import comet_magic; assert comet_magic.ask('hi', stream=False).text
def drain():
    import comet_magic; assert len(comet_magic.ask('hi').text) == SIZE
""",
    "anthropic": """
def load():
    global client; import anthropic; client = anthropic.Anthropic(api_key='sk-x', base_url=URL)
def ask():
    assert client.messages.create(model='m', max_tokens=9, messages=[{'role': 'user', 'content': 'hi'}]).content[0].text
def drain():
    with client.messages.stream(model='m', max_tokens=9, messages=[{'role': 'user', 'content': 'hi'}]) as stream:
        assert sum(map(len, stream.text_stream)) == SIZE
""",
    "chatlas": """
def load():
    global chat; import chatlas; chat = chatlas.ChatAnthropic(api_key='sk-x', model='m', kwargs={'base_url': URL})
def ask():
    chat.set_turns([]); assert str(chat.chat('hi', echo='none', stream=False))
def drain():
    chat.set_turns([]); assert sum(map(len, chat.stream('hi', echo='none'))) == SIZE
""",
    "jupyter-ai-magics": """
def load():
    global shell; import os; os.environ['ANTHROPIC_API_KEY'] = 'sk-x'; os.environ['ANTHROPIC_BASE_URL'] = URL
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell.instance(); shell.run_line_magic('load_ext', 'jupyter_ai_magics')
def ask():
    from IPython.utils.capture import capture_output
    with capture_output(): result = shell.run_cell('%%ai anthropic-chat:claude-3-5-sonnet-20240620\\nhi')
    result.raise_error()
drain = None
""",
}
MEASURE = """
import json, resource, statistics, time
def timed(run):
    cpu, wall = time.process_time(), time.perf_counter(); run()
    return (time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3
out = {'load': timed(load)[0], 'first': timed(ask)[0]}
out['warm'] = statistics.median(timed(ask)[1] for _ in range(40))
out['peak'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(json.dumps(out))
"""
STREAM = """
import json, statistics, time
def timed(run):
    cpu = time.process_time(); run(); return (time.process_time() - cpu) / DELTAS * 1e6
load()
print(json.dumps({'delta': statistics.median(timed(drain) for _ in range(3))}))
"""


def environment(name: str) -> Path:
    place = PLACE / name
    python = place / "bin" / "python"
    if not (place / ".ready").exists():
        print(f"installing {name} …", file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run(["python3", "-m", "venv", str(place)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PEERS[name]]
        subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
        (place / ".ready").touch()
    return python


def measured(name: str, code: str, url: str) -> dict[str, float]:
    head = f"URL = {url!r}; SIZE = {4 * DELTAS}; DELTAS = {DELTAS}\n"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("COMET", "ANTHROPIC"))}
    command = [str(environment(name)), "-W", "ignore", "-c", head + CODE[name] + code]
    done = subprocess.run(command, capture_output=True, text=True, env=clean, check=False)
    if done.returncode:
        print(f"{name}: {done.stderr.strip().splitlines()[-1] if done.stderr else 'failed'}", file=sys.stderr)
        return {}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    columns = {
        "load": "load, CPU ms",
        "first": "first, CPU ms",
        "warm": "warm, ms",
        "peak": "peak, MB",
        "delta": "delta, µs",
    }
    print("".ljust(20) + "".join(title.rjust(15) for title in columns.values()))
    for name in sys.argv[1:] or PEERS:
        with server(reply(MESSAGE)) as url:
            got = measured(name, MEASURE, url)
        if "drain = None" not in CODE[name]:
            with server(bodies()["chunked per event"]) as url:
                got |= measured(name, STREAM, url)
        print(
            name.ljust(20) + "".join(f"{got[c]:.1f}".rjust(15) if c in got else "–".rjust(15) for c in columns),
            flush=True,
        )


if __name__ == "__main__":
    main()
