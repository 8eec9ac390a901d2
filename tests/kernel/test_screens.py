"""Where outputs are not updated in place, the whole reply is shown, once: widgets, captured cells, engines, consoles."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
from kernels import Kernel, Ran
from nbclient import NotebookClient
from wire_server import LAST_CHUNK, SSE_HEAD, Script, WireServer, block, chunk, delta, start, stop

PARTS = [f"part {number} of four. " for number in range(1, 5)]
WHOLE = "".join(PARTS).strip()


def slow(*parts: str) -> Script:
    """A reply that comes in parts, a moment apart."""
    body: list[bytes | float] = [chunk(start()), chunk(block())]
    for part in parts:
        body += [0.15, chunk(delta(part))]
    return [SSE_HEAD, *body, chunk(stop()), LAST_CHUNK]


ACCOUNT = "m · 11 in · 5 out"


@pytest.fixture
def server() -> Iterator[WireServer]:
    with WireServer(lambda received: slow(*PARTS)) as server:
        yield server


@pytest.fixture
def kernel(server: WireServer) -> Iterator[Kernel]:
    kernel = Kernel(
        COMETAPI_KEY="sk-test-0123456789abcdef", COMET_MAGIC_ENDPOINT=server.url, COMET_MAGIC_REPLAY="never"
    )
    kernel.run("%load_ext comet_magic")
    yield kernel
    kernel.close()


def shown(ran: Ran) -> list[str]:
    """What is displayed, each display and each update by itself."""
    return [bundle.get("text/plain", "") for bundle in ran.bundles() if "text/markdown" in bundle]


def is_whole(text: str) -> bool:
    return WHOLE in text and ACCOUNT in text


def test_in_a_notebook_it_grows_in_one_output(kernel: Kernel) -> None:
    ran = kernel.run("%%claude --alone\nhi", cell="c")
    assert len(shown(ran)) > 2
    assert is_whole(ran.plain)
    kinds = [message["msg_type"] for message in ran.messages if "display_data" in message["msg_type"]]
    assert kinds == ["display_data", *["update_display_data"] * (len(kinds) - 1)]


WIDGETS = {
    "with": "with out:\n    get_ipython().run_cell_magic('claude', '--alone', 'hi')",
    "nested": "with W.Output():\n    with out:\n        get_ipython().run_cell_magic('claude', '--alone', 'hi')",
    "interact": (
        "def again(q):\n    get_ipython().run_cell_magic('claude', '--alone', q)\nW.interactive(again, q=['one']).update()"
    ),
}


@pytest.mark.parametrize("code", WIDGETS.values(), ids=WIDGETS)
def test_an_output_widget_gets_one_display(kernel: Kernel, server: WireServer, code: str) -> None:
    kernel.run("import ipywidgets as W\nout = W.Output()")
    texts = shown(kernel.run(code, cell="c"))
    assert len(texts) == len(server.received)  # `interactive` runs the function when it is made, too
    assert all(map(is_whole, texts))
    assert len(shown(kernel.run("%%claude --alone\nhi", cell="c"))) > 2  # once the widget takes nothing any more


def test_a_captured_reply_is_one_output(kernel: Kernel) -> None:
    kernel.run("%%capture said\n%%claude --alone\nhi", cell="c")
    texts = shown(kernel.run("print(len(said.outputs))\nsaid.show()", cell="d"))
    assert len(texts) == 1
    assert is_whole(texts[0])


def test_a_value_in_a_widget_is_shown_and_so_is_what_there_is_to_say(kernel: Kernel, server: WireServer) -> None:
    server.scripts[:] = [slow('{"value": ', "[1, 2]}")]
    kernel.run("import ipywidgets as W\nout = W.Output()")
    code = "with out:\n    get_ipython().run_cell_magic('claude', \"--alone --as 'list[int]'\", 'hi')"
    bundles = kernel.run(code, cell="c").bundles()
    assert [bundle["text/plain"].split(" in ")[0] for bundle in bundles] == ["[1, 2]", "◈ m · 11"]


@pytest.mark.skipif(sys.platform == "win32", reason="pexpect needs a terminal of Unix")
def test_jupyter_console_prints_the_whole_reply_once(server: WireServer, nobody_home: Any) -> None:
    import pexpect

    environment = {
        **os.environ, "TERM": "dumb", "COMETAPI_KEY": "sk-test-0123456789abcdef", "COMET_MAGIC_ENDPOINT": server.url,
    }  # fmt: skip
    command = ["-m", "jupyter_console", "--kernel=python3", "--simple-prompt"]
    for _ in range(3):  # now and then it waits for a kernel that has answered before it listened
        console = pexpect.spawn(
            sys.executable, command, env=environment, encoding="utf-8", timeout=60, dimensions=(50, 200), use_poll=True
        )
        if console.expect([r"In \[1\]:", pexpect.TIMEOUT], timeout=20) == 0:
            break
        console.close(force=True)
    try:
        console.sendline("%load_ext comet_magic")
        console.expect(r"In \[2\]:")
        console.sendline("%claude hi")
        console.expect(r"In \[3\]:")
        said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.before)
        console.sendline("%%claude --as int\nhi")
    finally:
        console.close(force=True)
    assert said.count("part 1 of four.") == 1
    assert said.count("part 4 of four.") == 1
    assert ACCOUNT in said


def test_an_engine_of_ipyparallel_shows_it_once(server: WireServer, nobody_home: Any) -> None:
    cells = [
        "import ipyparallel as ipp\ncluster = ipp.Cluster(n=1)\nrc = cluster.start_and_connect_sync()\nrc[:].activate()",
        "%px %load_ext comet_magic",
        f"%px %config CometSettings.endpoint = {server.url!r}",
        "%%px --block\n%%claude --alone\nhi",
        "cluster.stop_cluster_sync()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for output in notebook.cells[3].outputs if output.output_type == "display_data"]
    texts = [output.data["text/plain"] for output in outputs if "text/markdown" in output.data]
    assert len(texts) == 1
    assert is_whole(texts[0])
