"""What cells showed on the screen, their pictures, and what failed, as a prompt names it."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import pytest
from cells import Ran
from IPython.core.history import HistoryManager
from kernels import Kernel
from PIL import Image
from wire_server import WireServer, canonical

from comet_magic.errors import ConfigError
from comet_magic.settings import CometSettings

mpl.use("agg")
import matplotlib.pyplot as plt

KEY = "sk-test-0123456789abcdef"
# IPython 8 keeps no outputs: what is printed or returned is not known there, and what is displayed is.
keeps_outputs = pytest.mark.skipif(not hasattr(HistoryManager, "outputs"), reason="IPython 8 keeps no outputs")


@pytest.fixture
def server(serve: Callable[..., WireServer]) -> Iterator[WireServer]:
    plt.close("all")
    yield serve(canonical("A reply."))
    plt.close("all")


def content(server: WireServer) -> list[dict[str, Any]]:
    """The blocks of the question that was sent last."""
    sent: Any = server.received[-1].json["messages"][-1]["content"]
    return [{"type": "text", "text": sent}] if isinstance(sent, str) else sent


def words(server: WireServer) -> str:
    return "\n".join(block.get("text", "") for block in content(server))


def sizes(server: WireServer) -> list[tuple[int, int]]:
    """The sizes of the pictures that were sent last."""
    sources = [block["source"]["data"] for block in content(server) if block["type"] == "image"]
    return [Image.open(io.BytesIO(base64.b64decode(data))).size for data in sources]


@pytest.fixture(scope="module")
def kernel() -> Iterator[tuple[Kernel, WireServer]]:
    with WireServer(canonical("A reply.")) as server:
        kernel = Kernel(COMETAPI_KEY=KEY, COMET_MAGIC_ENDPOINT=server.url, COMET_MAGIC_REPLAY="never")
        try:
            kernel.run(
                "%load_ext comet_magic\n%matplotlib inline\nimport pandas as pd, matplotlib.pyplot as plt", cell="load"
            )
            kernel.run(
                "df = pd.DataFrame({'a': [1, 3, 2]})\nfrom IPython.display import display, clear_output, SVG, Image, JSON",
                cell="df",
            )
            yield kernel, server
        finally:
            kernel.close()


def shown_size(ran: Any) -> tuple[int, int]:
    """The size of the picture that the front end got."""
    found = [bundle["image/png"] for bundle in ran.bundles() if "image/png" in bundle]
    return Image.open(io.BytesIO(base64.b64decode(found[-1]))).size


def test_the_last_picture_is_the_one_on_the_screen(kernel: tuple[Kernel, WireServer]) -> None:
    run, server = kernel
    drawn = run.run("df.plot(figsize=(4, 3))", cell="plot")
    assert not run.run("%%claude --alone\nWhat is odd about {{plot}}?", cell="ask").error
    assert sizes(server) == [shown_size(drawn)]
    assert words(server).startswith("What is odd about [plot, the image that follows: PNG ")
    run.run("x = 1", cell="between")
    run.run("%%claude --alone\n{{plot}} {{plot}}", cell="ask")
    assert sizes(server) == [shown_size(drawn)]
    run.run("fig, ax = plt.subplots(figsize=(2, 2)); ax.plot([1, 2]); plt.close(fig); display(fig)", cell="displayed")
    run.run("%%claude --alone\n{{plot}}", cell="ask")
    assert max(sizes(server)[0]) < 250


@keeps_outputs
def test_what_a_cell_returns_may_be_the_last_picture(kernel: tuple[Kernel, WireServer]) -> None:
    run, server = kernel
    run.run("fig, ax = plt.subplots(figsize=(1, 1)); ax.plot([1, 2]); plt.close(fig); fig", cell="result")
    run.run("%%claude --alone\n{{plot}}", cell="ask")
    assert max(sizes(server)[0]) < 150


@keeps_outputs
def test_cells_carry_their_pictures_where_they_stood(kernel: tuple[Kernel, WireServer]) -> None:
    run, server = kernel
    run.run(
        "print('before')\nfor n in (2, 3):\n    plt.figure(figsize=(n, n)); plt.plot([n]); plt.show()\nprint('after')",
        cell="two",
    )
    assert not run.run("%%claude --alone\n{{cells[-1]}}", cell="ask").error
    assert len(sizes(server)) == 2
    text = words(server)
    shown = text.partition("its output:\n")[2]
    assert shown.index("before\n") < shown.index("[picture 1]\n") < shown.index("[picture 2]\n") < shown.index("after")
    assert "the image that follows: picture 1, PNG" in text
    run.run("for n in range(6):\n    plt.figure(figsize=(1, 1)); plt.plot([n]); plt.show()", cell="six")
    run.run("%%claude --alone\n{{cells[-1]}}", cell="ask")
    assert len(sizes(server)) == 4
    assert words(server).count("[a picture, which is not sent]") == 2


@keeps_outputs
def test_what_was_cleared_is_not_sent(kernel: tuple[Kernel, WireServer]) -> None:
    run, server = kernel
    run.run("print('gone'); display('gone, too'); clear_output(); print('stays')", cell="clear")
    run.run("%%claude --alone\n{{cells[-1]}}", cell="ask")
    assert "its output:\nstays" in words(server)
    run.run("print('stays here'); clear_output(wait=True)", cell="clear")
    run.run("%%claude --alone\n{{cells[-1]}}", cell="ask")
    assert "its output:\nstays here" in words(server)
    run.run("for n in range(50):\n    clear_output(wait=True); print('step', n)", cell="clear")
    run.run("%%claude --alone\n{{cells[-1]}}", cell="ask")
    assert "its output:\nstep 49\n" in words(server)
    run.run("h = display('first', display_id=True); print('between'); h.update('second')", cell="update")
    run.run("%%claude --alone\n{{cells[-1]}}", cell="ask")
    assert "its output:\n'second'\nbetween" in words(server)


def test_an_svg_is_sent_as_its_text(kernel: tuple[Kernel, WireServer]) -> None:
    run, server = kernel
    run.run('display(SVG(\'<svg xmlns="http://www.w3.org/2000/svg"><circle r="5"/></svg>\'))', cell="svg")
    assert not run.run("%%claude --alone\n{{plot}}", cell="ask").error
    assert '<circle r="5"/>' in words(server)


def test_a_variable_of_the_user_s_own_wins(shell: Any, server: WireServer) -> None:
    Ran(shell, "plot = 'my own'")
    Ran(shell, "%%claude\n{{plot}}")
    assert words(server).startswith("my own")


def test_without_a_picture_that_is_said(shell: Any, server: WireServer) -> None:
    refused = Ran(shell, "%%claude\n{{plot}}").error
    assert isinstance(refused, ConfigError)
    assert "no cell has displayed a picture" in refused.what
    assert server.received == []


def test_a_figure_that_nothing_displays_is_the_last_picture(shell: Any, server: WireServer) -> None:
    Ran(shell, "import matplotlib.pyplot as plt; plt.figure(figsize=(2, 1)); plt.plot([1, 2]);")
    Ran(shell, "%%claude\n{{plot}}")
    assert len(sizes(server)) == 1


def test_pictures_are_values(shell: Any, server: WireServer) -> None:
    CometSettings.instance().share_values = False
    Ran(shell, "import matplotlib.pyplot as plt; plt.plot([1, 2]);")
    assert isinstance(Ran(shell, "%%claude\n{{plot}}").error, ConfigError)
    assert server.received == []


@keeps_outputs
def test_progress_is_its_last_line(shell: Any, server: WireServer) -> None:
    Ran(shell, "for i in range(300): print(f'\\r{i:3}/300 ' + '#' * (i // 10), end='')\nprint('\\x1b[31mdone\\x1b[0m')")
    Ran(shell, "%%claude\n{{cells[-1]}}")
    assert "its output:\n299/300 #############################done\n" in words(server)
    assert len(words(server)) < 400


@pytest.mark.filterwarnings("ignore:To exit")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failure_in_a_thread_and_an_exit_are_the_last_error(shell: Any, server: WireServer) -> None:
    Ran(shell, "1/0")
    shell.user_ns["threading"] = threading
    Ran(shell, "t = threading.Thread(target=lambda: [].pop()); t.start(); t.join()")
    Ran(shell, "%%claude\n{{error}}")
    assert "IndexError: pop from empty list" in words(server)
    Ran(shell, "raise SystemExit(3)")
    Ran(shell, "%%claude\n{{error}}")
    assert "SystemExit: 3" in words(server)
    Ran(shell, "class Odd(Exception):\n    def __str__(self): raise RuntimeError\nraise Odd")
    Ran(shell, "%%claude\n{{error}}")
    assert "RuntimeError" in words(server)
    assert "SystemExit" not in words(server)
