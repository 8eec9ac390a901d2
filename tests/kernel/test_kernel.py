"""In a real kernel, over the messages that a front end sees."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from kernels import Kernel
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from wire_server import CLOSE, HOLD, OPEN_HEAD, WireServer, block, canonical, chunk, delta, event, start, stream

SECRET = "sk-test-SECRETSECRET-f3a9"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    kernel = Kernel()
    yield kernel
    kernel.close()


def use(kernel: Kernel, server: WireServer) -> None:
    assert kernel.run("%load_ext comet_magic").reply["status"] == "ok"
    kernel.run(f"%config CometSettings.endpoint = {server.url!r}")


PINGING = [step for _ in range(300) for step in (0.1, chunk(event("ping")))]
HELLO = (start(), block(), delta("Hello"))


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        (stream(*HELLO, end=[HOLD]), "Hello"),
        (stream(*HELLO, end=PINGING), "Hello"),
        ([OPEN_HEAD, b"".join(HELLO), HOLD], "Hello"),
        (stream(start(), end=[HOLD]), "thinking …"),
    ],
    ids=["stalled", "only pings", "un-chunked", "no text yet"],
)
def test_66_an_interrupt_ends_the_cell_at_once(kernel: Kernel, script: Any, seen: str) -> None:
    with WireServer(script, canonical()) as server:
        use(kernel, server)
        ran = kernel.run("%%claude\nhi", interrupt_when=seen)
        assert ran.reply["status"] == "error"
        assert ran.reply["ename"] == "KeyboardInterrupt"
        assert ran.ended - ran.interrupted < 1  # measured 0.02 to 0.1 s; the machine may be busy
        assert len(ran.error) == 2
        assert "[◈ stopped by you]" in ran.plain
        assert server.closed_by_client.wait(40)
        said = kernel.run("import comet_magic\nprint(comet_magic.last.incomplete)").messages
        assert any(m["content"].get("text") == "stopped by you\n" for m in said)
        assert kernel.run("%%claude\nhi").plain.startswith("4\n")


def test_an_interrupt_before_any_answer(kernel: Kernel) -> None:
    with WireServer([HOLD], canonical()) as server:
        use(kernel, server)
        asked = kernel.send("%%claude\nhi")
        while not server.received:
            time.sleep(0.01)
        began = time.monotonic()
        kernel.manager.interrupt_kernel()
        assert kernel.until_idle(asked).reply["ename"] == "KeyboardInterrupt"
        assert time.monotonic() - began < 40  # without the interrupt it would be 120 s, the read timeout
        assert server.closed_by_client.wait(40)
        assert kernel.run("%%claude\nhi").plain.startswith("4\n")


def test_a_failing_cell_stops_run_all(kernel: Kernel) -> None:
    with WireServer(stream(*HELLO, end=[CLOSE])) as server:
        use(kernel, server)
        ran = kernel.run("%%claude\nhi")
    assert ran.reply["status"] == "error"
    assert [line.split(":")[0] for line in ran.error] == ["TransportError", "  → run the cell again"]


def test_the_kernels_result_history_is_left_alone(kernel: Kernel) -> None:
    with WireServer(canonical()) as server:
        use(kernel, server)
        kernel.run("1 + 1")
        kernel.run("%%claude\nhi")
        assert kernel.run("%%claude\nhi").reply["status"] == "ok"
        shown = kernel.run("_, len([key for key in Out])").messages
    assert any(m["content"].get("data", {}).get("text/plain") == "(2, 1)" for m in shown)


def test_what_a_notebook_keeps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    text = "# Title\n\nIt costs $5 to $9, $x^2$.\n\n```python\nx = 1\n```\n<img src=x onerror=alert(1)>\n"
    with WireServer(canonical(text)) as server:
        cells = ["%load_ext comet_magic", f"%config CometSettings.endpoint = {server.url!r}", "%%claude\nhi"]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        NotebookClient(notebook, kernel_name="python3", extra_arguments=["--log-level=ERROR"]).execute()
    nbformat.validate(notebook)
    (output,) = notebook.cells[2].outputs
    assert set(output.data) == {"text/markdown", "text/plain"}
    assert output.metadata["comet_magic"]["stop_reason"] == "end_turn"
    assert output.data["text/plain"].startswith("# Title\n\nIt costs $5 to $9, $x^2$.\n\n```python")
    assert "SECRETSECRET" not in nbformat.writes(notebook)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert "&lt;img src=x onerror" in page
    assert "<img src=x" not in page
    assert "Title</h1>" in page.replace('<a class="anchor-link" href="#Title">¶</a>', "")


def test_a_terminal_streams_without_escape_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    with WireServer(canonical("Hello \x1b[31mred\x1b[0m $5")) as server:
        monkeypatch.setenv("COMET_MAGIC_ENDPOINT", server.url)
        code = "%load_ext comet_magic\n%claude what is up?\n"
        done = subprocess.run(
            [sys.executable, "-m", "IPython", "--no-banner", "--simple-prompt", "--colors=NoColor"],
            input=code, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    assert "Hello \ufffd[31mred\ufffd[0m $5\n◈ m · 11 in · 5 out · " in done.stdout
    assert "\x1b[31mred" not in done.stdout
    assert "IPython.core.display" not in done.stdout


def test_a_cell_of_a_subshell_is_seen_with_what_it_displayed(kernel: Kernel) -> None:
    """Its outputs come on another thread, which has hooks of its own. Source: ipykernel 7, JEP 91."""
    with WireServer(canonical()) as server:
        use(kernel, server)
        if not (subshell := kernel.subshell()):
            pytest.skip("ipykernel before 7 has no subshells")
        session = kernel.client.session
        content = {"code": "print('printed')\ndisplay({'shown': 1})\n2 + 3", "silent": False, "store_history": True,
                   "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}  # fmt: skip
        message = session.msg("execute_request", content, metadata={"cellId": "sub"})
        message["header"]["subshell_id"] = subshell
        kernel.client.shell_channel.send(message)
        kernel.until_idle(message["header"]["msg_id"])
        kernel.run("%%claude --alone\nWhat of {{cells[-1]}}?")
        text = server.received[-1].json["messages"][-1]["content"]
        text = text if isinstance(text, str) else "".join(block.get("text", "") for block in text)
    assert "printed" in text
    assert "{'shown': 1}" in text
    assert text.count("'shown': 1}") == 2  # in the code, and on the screen


def test_a_callback_sends_its_own_text_and_not_the_cell_s(kernel: Kernel) -> None:
    """The last lines of the last cell may be the very same."""
    with WireServer(canonical()) as server:
        use(kernel, server)
        kernel.run("import ipywidgets as W\nb = W.Button()\n"
                   "b.on_click(lambda _: get_ipython().run_cell_magic('claude', '--alone', 'yes'))\nb.comm.comm_id")  # fmt: skip
        comm = kernel.run("b.comm.comm_id").result.strip("'")
        kernel.run("%%claude --alone\n>>> Delete all? Answer\nyes", cell="c")
        session = kernel.client.session
        data = {"method": "custom", "content": {"event": "click"}}
        kernel.client.shell_channel.send(session.msg("comm_msg", {"comm_id": comm, "data": data}))
        kernel.run("1")
        asked = [received.json["messages"][-1]["content"] for received in server.received]
    assert asked == [">>> Delete all? Answer\nyes", "yes"]
