"""However a question is asked, it is a turn of the cell that asks: in a real kernel, which is told its cells' names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernels import Kernel
from wire_server import WireServer, canonical

ASK = "get_ipython().run_cell_magic('claude', '', 'w?')"
WAYS = {
    "a cell": "%%claude\nw?",
    "timed": "%%time\n%%claude\nw?",
    "captured": "%%capture\n%%claude\nw?",
    "blank lines": "\n\n%%claude\nw?",
    "a line": "%claude w?",
    "a line in a block": "if True:\n    %claude w?",
    "run_cell_magic": ASK,
    "a function": f"def f():\n    {ASK}\nf()",
    "a script": "%run -i script.py",
    "exec": f"exec({ASK!r})",
    "a widget": f"with out:\n    {ASK}",
    "ask": "import comet_magic\nprint(comet_magic.ask('w?', chat=name).text)",
}


@pytest.fixture
def server() -> Iterator[WireServer]:
    with WireServer(lambda received: canonical(f"answer {len(server.received)}")) as server:
        yield server


@pytest.fixture
def kernel(server: WireServer, nobody_home: Path) -> Iterator[Kernel]:
    path = str(nobody_home / "nb.ipynb")
    (nobody_home / "script.py").write_text(ASK)
    kernel = Kernel(COMETAPI_KEY="sk-test-0123456789abcdef", COMET_MAGIC_ENDPOINT=server.url, JPY_SESSION_NAME=path)
    kernel.run("%load_ext comet_magic\nimport ipywidgets as W\nout = W.Output()", cell="load")
    kernel.run("from comet_magic.exchange.cells import notebook_path\nfrom comet_magic import CometSettings\n"
               "name = notebook_path(CometSettings.instance())", cell="load")  # fmt: skip
    yield kernel
    kernel.close()


def questions(server: WireServer) -> list[str]:
    return [message["content"].strip() for message in server.received[-1].json["messages"][::2]]


@pytest.mark.parametrize("code", WAYS.values(), ids=WAYS)
def test_asked_twice_it_is_one_turn_of_its_cell(kernel: Kernel, server: WireServer, code: str) -> None:
    kernel.run("%%claude\nfirst", cell="a")
    for _ in range(2):
        assert not kernel.run(code, cell="w").error
        assert questions(server) == ["first", "w?"]
    kernel.run("%%claude\nlast", cell="z")
    assert questions(server) == ["first", "w?", "last"]
    kernel.run(code, cell="w")
    assert questions(server) == ["first", "w?"]


def test_in_a_subshell_too(kernel: Kernel, server: WireServer) -> None:
    session = kernel.client.session
    if not (subshell := kernel.subshell()):
        pytest.skip("ipykernel before 7 has no subshells")
    kernel.run("%%claude\nfirst", cell="a")
    for _ in range(2):
        content: dict[str, Any] = {"code": "%%claude\nw?", "silent": False, "store_history": True, "allow_stdin": False}
        message = session.msg("execute_request", {**content, "user_expressions": {}}, metadata={"cellId": "w"})
        message["header"]["subshell_id"] = subshell
        kernel.client.shell_channel.send(message)
        kernel.until_idle(message["header"]["msg_id"])
        assert questions(server) == ["first", "w?"]


def test_what_a_callback_asks_is_a_turn_behind_the_others(kernel: Kernel, server: WireServer) -> None:
    """It is no cell's: each click is a turn of the notebook's conversation."""
    kernel.run("%%claude\nfirst", cell="a")
    comm = kernel.run(f"b = W.Button()\nb.on_click(lambda _: {ASK})\nb.comm.comm_id", cell="b").result.strip("'")
    data = {"method": "custom", "content": {"event": "click"}}
    for expected in (["first", "w?"], ["first", "w?", "w?"]):
        kernel.client.shell_channel.send(kernel.client.session.msg("comm_msg", {"comm_id": comm, "data": data}))
        kernel.run("1", cell="other")
        assert questions(server) == expected
