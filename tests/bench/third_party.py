"""Servers and a client of others on the same bytes: what `comet_magic` makes of them, and what the official SDK does.

    make third-party            the first run installs them under build/third (half a gigabyte, a minute)

A table of shapes that gateways send, read by us and by the official SDK; a LiteLLM proxy in front of a scripted
upstream; aimock; gptme, which reads a conversation of ours. It ends with 1 when one of our answers is not right. The embedded llama.cpp server is in the suite.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PLACE = ROOT / "build" / "third"
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "api")]

from test_deformations import DEFORMATIONS, reply_of  # noqa: E402
from wire_server import CLOSE, MESSAGE, WireServer, event, reply, start  # noqa: E402

TEXT = {"type": "text", "text": "The answer is 42."}
THINKING = {"type": "thinking", "thinking": "Let me see.", "signature": "sig"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"item": "lamp"}}
EXPECTED = ["The answer is 42.", ["lamp"], "tool_use"]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
GZIP = HEAD.replace(b"connection", b"content-encoding: gzip\r\nconnection")
PACKED = ("gzip unsaid", "gzip said, none sent", "deflate", "several gzips")  # which are unpacked there
SDK = """
import json, sys, anthropic
client = anthropic.Anthropic(api_key="sk-x", base_url=sys.argv[1], max_retries=0)
try:
    with client.messages.stream(model="m", max_tokens=99, messages=[{"role": "user", "content": "hi"}]) as stream:
        message = stream.get_final_message()
    text = "".join(block.text for block in message.content if block.type == "text")
    calls = [block.input.get("item") if isinstance(block.input, dict) else block.input for block in message.content if block.type == "tool_use"]
    print(json.dumps([text, calls, message.stop_reason]))
except Exception as error:
    print(json.dumps(type(error).__name__))
"""
LITELLM = """
model_list:
  - model_name: m
    litellm_params: {{model: anthropic/claude-sonnet-4-6, api_base: {upstream}, api_key: sk-upstream}}
litellm_settings: {{num_retries: 0, telemetry: false}}
"""
FIXTURES = {
    "fixtures": [
        {"match": {"userMessage": "hello"}, "response": {"content": "Hello from aimock."}},
        {"match": {"userMessage": "a lamp"}, "response": {"toolCalls": [{"name": "f", "arguments": {"item": "lamp"}}]}},
    ]
}


def installed() -> None:
    """Install what is not there yet."""
    for name, packages in {"sdk": ["anthropic"], "litellm": ["litellm[proxy]"], "gptme": ["gptme"]}.items():
        if (PLACE / name / ".done").exists():
            continue
        shutil.rmtree(PLACE / name, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", PLACE / name], check=True)
        subprocess.run([PLACE / name / "bin" / "pip", "install", "-q", *packages], check=True)
        (PLACE / name / ".done").touch()
    if shutil.which("npm") and not (PLACE / "aimock" / "node_modules").exists():
        (PLACE / "aimock").mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--prefix", PLACE / "aimock", "@copilotkit/aimock"], check=True)


def ours(url: str) -> Any:
    import comet_magic
    from comet_magic.settings import CometSettings

    asked: list[str] = []

    @comet_magic.tool(safe=True)
    def f(item: str = "") -> str:
        asked.append(item)
        return "ok"

    settings = CometSettings.instance()
    settings.endpoint, settings.retries, settings.tool_rounds = url, 0, 1
    try:
        message = comet_magic.ask("a lamp", tools=[f], max_tokens=99)
    except comet_magic.CometError as error:
        return type(error).__name__
    first = message.before[0] if message.before else message
    return [first.text, asked, first.stop_reason]


def theirs(url: str) -> Any:
    if not (PLACE / "sdk" / ".done").exists():
        return "not installed"
    command = [PLACE / "sdk" / "bin" / "python", "-c", SDK, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else "crashed"


def shapes() -> int:
    """Print the table. Returns: how many we did not read."""
    print(f"{'shape':<32}{'comet_magic':<16}official SDK")
    wrong = 0
    events = reply_of([THINKING, TEXT, CALL], "tool_use")
    last = reply_of([{"type": "text", "text": "Done."}], "end_turn")
    plain = DEFORMATIONS["none"]
    bodies = {name: (HEAD, deform(events)) for name, deform in DEFORMATIONS.items() if name not in PACKED}
    bodies |= {"gzip unsaid": (HEAD, gzip.compress(plain(events))), "gzip said, none sent": (GZIP, plain(events))}
    for name, (head, body) in bodies.items():

        def script(received: Any, head: bytes = head, body: bytes = body) -> Any:
            return [HEAD + plain(last) if "tool_result" in received.body.decode() else head + body, CLOSE]

        with WireServer(script) as server:
            words = [_word(read(server.url)) for read in (ours, theirs)]
        wrong += words[0] != "read"
        print(f"{name:<32}{words[0]:<16}{words[1]}")
    return wrong


def _word(got: Any) -> str:
    if got == EXPECTED:
        return "read"
    return got if isinstance(got, str) else f"wrong: {json.dumps(got)[:60]}"


@contextmanager
def running(command: list[str], port: int, path: str, **environment: str) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
        try:
            until = time.monotonic() + 90
            while not _answers(port) and time.monotonic() < until and process.poll() is None:
                time.sleep(0.3)
            yield url
        finally:
            process.terminate()
            process.wait(20)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check(name: str, act: Callable[[], Any], is_right: Callable[[Any], bool]) -> int:
    import comet_magic

    try:
        got = act()
    except comet_magic.CometError as error:
        got = error
    right = is_right(got) if not isinstance(got, comet_magic.TransportError) else False
    print(f"{'ok   ' if right else 'WRONG'} {name}{'' if right else f': {got!r}'[:200]}")
    return not right


def asked(url: str, prompt: str, **named: Any) -> Any:
    import comet_magic
    from comet_magic.settings import CometSettings

    settings = CometSettings.instance()
    settings.endpoint, settings.retries = url, 0
    return comet_magic.ask(prompt, model="m", **named)


def litellm() -> int:
    scripts: list[Any] = []
    with (
        WireServer(lambda received: scripts[0](received) if callable(scripts[0]) else scripts[0]) as upstream,
        tempfile.TemporaryDirectory() as folder,
    ):
        config = Path(folder) / "config.yaml"
        config.write_text(LITELLM.format(upstream=upstream.url))
        port = free_port()
        command = [
            str(PLACE / "litellm" / "bin" / "litellm"),
            "--config",
            str(config),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        with running(
            command,
            port,
            "/health/liveliness",
            LITELLM_LOCAL_MODEL_COST_MAP="True",
            LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY="true",
        ) as url:
            events = [HEAD + DEFORMATIONS["none"](reply_of([{"type": "text", "text": "Hi there."}], "end_turn")), CLOSE]
            scripts[:] = [reply({**MESSAGE, "content": [{"type": "text", "text": "Hi there."}]})]
            wrong = check(
                "LiteLLM: a reply in one piece",
                lambda: asked(url, "hi", stream=False).text,
                lambda got: got == "Hi there.",
            )
            scripts[:] = [events]
            wrong += check("LiteLLM: a stream", lambda: asked(url, "hi").text, lambda got: got == "Hi there.")
            usage = check(
                "LiteLLM: no count of 0", lambda: asked(url, "hi").usage, lambda got: 0 not in (got[0], got[1])
            )
            error = {
                "type": "error",
                "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"},
            }
            scripts[:] = [reply(error, status=400)]
            told = check(
                "LiteLLM: an error says why",
                lambda: asked(url, "hi"),
                lambda got: "too long" in str(got) and "--alone" in str(got),
            )
            scripts[:] = [
                [HEAD + start() + event("error", error={"type": "overloaded_error", "message": "busy"}), CLOSE]
            ]
            busy = check(
                "LiteLLM: an error in the stream is one",
                lambda: asked(url, "hi"),
                lambda got: isinstance(got, Exception),
            )
            none = check("LiteLLM: no such model", lambda: _other_model(url), lambda got: "%claude_models" in str(got))
            return wrong + usage + told + busy + none + _by_chat(url, scripts)


def _by_chat(url: str, scripts: list[Any]) -> int:
    """The same proxy, asked as chat completions: what it makes of its upstream's Messages is read by us."""
    import comet_magic

    settings = comet_magic.CometSettings.instance()
    settings.dialects = {"m": "chat"}

    def add(a: int, b: int) -> int:
        "Add."
        return a + b

    def upstream(text: str) -> list[Any]:
        return [HEAD + DEFORMATIONS["none"](reply_of([{"type": "text", "text": text}], "end_turn")), CLOSE]

    try:
        scripts[:] = [upstream("Hi there.")]
        wrong = check("LiteLLM by chat: a stream", lambda: asked(url, "hi").text, lambda got: got == "Hi there.")
        wrong += check("LiteLLM by chat: its end", lambda: comet_magic.last.stop_reason, lambda got: got == "end_turn")
        wrong += check("LiteLLM by chat: usage", lambda: comet_magic.last.usage, lambda got: bool(got.input_tokens))
        scripts[:] = [reply({**MESSAGE, "content": [{"type": "text", "text": "Hi there."}]})]
        wrong += check(
            "LiteLLM by chat: in one piece", lambda: asked(url, "hi", stream=False).text, lambda got: got == "Hi there."
        )
        error = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}
        scripts[:] = [reply(error, status=400)]
        wrong += check("LiteLLM by chat: an error", lambda: asked(url, "hi"), lambda got: "too long" in str(got))
        call = [{"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 2, "b": 3}}]
        called = [HEAD + DEFORMATIONS["none"](reply_of(call, "tool_use")), CLOSE]
        left = [called, upstream("It is 5.")]
        scripts[:] = [lambda received: left.pop(0) if len(left) > 1 else left[0]]
        wrong += check(
            "LiteLLM by chat: a tool",
            lambda: asked(url, "2+3?", tools=[comet_magic.tool(safe=True)(add)]),
            lambda got: got.text == "It is 5." and [call.result for call in got.calls] == ["5"],
        )
        return wrong
    finally:
        settings.dialects = {}


def _other_model(url: str) -> Any:
    import comet_magic

    return comet_magic.ask("hi", model="no-such-model")


def aimock() -> int:
    binary = PLACE / "aimock" / "node_modules" / ".bin" / "aimock"
    if not binary.exists():
        print("not tried: aimock, for there is no npm here")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        fixtures, config = Path(folder) / "fixtures.json", Path(folder) / "aimock.json"
        fixtures.write_text(json.dumps(FIXTURES))
        config.write_text(json.dumps({"llm": {"fixtures": str(fixtures)}}))
        port = free_port()
        with running([str(binary), "--config", str(config), "--port", str(port)], port, "/") as url:
            wrong = check("aimock: a stream", lambda: asked(url, "hello").text, lambda got: got == "Hello from aimock.")
            wrong += check(
                "aimock: in one piece",
                lambda: asked(url, "hello", stream=False).text,
                lambda got: got == "Hello from aimock.",
            )
            wrong += check(
                "aimock: no count of 0", lambda: asked(url, "hello").usage, lambda got: 0 not in (got[0], got[1])
            )
            return wrong + check("aimock: a call of a tool", lambda: ours(url), lambda got: got[1][:1] == ["lamp"])


GPTME = """
import json, sys
from pathlib import Path
from gptme.logmanager import Log
print(json.dumps([[one.role, one.content] for one in Log.read_jsonl(Path(sys.argv[1])).messages]))
"""


def gptme() -> int:
    """What gptme reads of a conversation of ours, written by the manual's recipe."""
    from comet_magic import conversations

    Path("talk.json").write_text(json.dumps([
        {"role": "user", "content": [{"type": "text", "text": "Lamps?"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "12"}]},
        {"role": "assistant", "content": "Twelve."},
    ]))  # fmt: skip
    conversations.load("talk.json", "talk")
    spoken = [message for message in conversations.get("talk").messages if message.text]
    lines = [json.dumps({"role": message.role, "content": message.text}) for message in spoken]
    Path("conversation.jsonl").write_text("\n".join(lines))
    command = [PLACE / "gptme" / "bin" / "python", "-c", GPTME, "conversation.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    read = done.stdout.splitlines()[-1:] or [done.stderr[-200:]]
    return check(
        "gptme: a conversation",
        lambda: json.loads(read[0]),
        lambda got: got == [["user", "Lamps?"], ["assistant", "Twelve."]],
    )


def main() -> int:
    is_all = "--shapes" not in sys.argv  # the table alone, of what is installed, for `make bench`
    if is_all:
        installed()
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, XDG_DATA_HOME=home, XDG_CONFIG_HOME=home, COMETAPI_KEY="sk-test-0123456789abcdef")
        os.chdir(home)
        wrong = shapes()
        return int(bool(wrong + gptme() + litellm() + aimock() if is_all else wrong))


if __name__ == "__main__":
    sys.exit(main())
