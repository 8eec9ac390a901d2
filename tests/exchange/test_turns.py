"""Turns in a real kernel, with the cell ids that a front end gives: re-runs, failures, restarts, kills, two at once."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernels import Kernel, Ran
from wire_server import CLOSE, HOLD, Received, WireServer, block, canonical, delta, reply, start, stream

NOTEBOOK = "/somewhere/analysis.ipynb"


class Notebook:
    """A kernel as a server starts it for a notebook, with an endpoint that numbers its answers."""

    def __init__(self, server: WireServer, path: str = NOTEBOOK) -> None:
        self.kernel = Kernel(
            COMETAPI_KEY="sk-test-0123456789abcdef", COMET_MAGIC_ENDPOINT=server.url, JPY_SESSION_NAME=path
        )
        self.server = server
        self.kernel.run("%load_ext comet_magic")

    def run(self, cell: str, code: str, **options: Any) -> Ran:
        return self.kernel.run(code, cell=cell, **options)

    def history(self) -> str:
        return self.run("history", "%claude_history").result

    def sent(self) -> list[str]:
        """The texts of the latest request, without the newline that IPython puts at the end of a cell."""
        return [message["content"] for message in self.server.received[-1].json["messages"]]


@pytest.fixture
def server() -> Iterator[WireServer]:
    with WireServer() as server:
        server.scripts[:] = [lambda received: canonical(f"answer {len(server.received)}")]
        yield server


@pytest.fixture
def notebooks(server: WireServer) -> Iterator[Any]:
    """Opens notebooks, and shuts their kernels down."""
    opened: list[Notebook] = []

    def open_notebook(path: str = NOTEBOOK) -> Notebook:
        opened.append(Notebook(server, path))
        return opened[-1]

    yield open_notebook
    for notebook in opened:
        notebook.kernel.close()


def failing(received: Received) -> Any:
    return reply({"error": {"message": "no", "type": "invalid_request_error"}}, status=400)


def test_a_cell_that_is_run_again_replaces_its_turn(notebooks: Any, server: WireServer) -> None:
    notebook = notebooks()
    notebook.run("a", "%%claude\none")
    notebook.run("b", "%%claude\ntwo")
    assert notebook.sent() == ["one", "answer 1", "two"]
    again = notebook.run("a", "%%claude\nONE")
    assert notebook.sent() == ["ONE"]
    assert "◈ later cell “two” answered what was here before: run it again" in again.plain
    assert "sent:" not in again.plain
    history = notebook.history()
    assert history.startswith("Conversation analysis.ipynb\n")
    assert [line.split()[:2] for line in history.splitlines()[2:]] == [["1", "[4]"], ["2", "[3]"]]
    assert history.splitlines()[3].endswith("outdated: it answered an older text")
    notebook.run("c", "%%claude\nthree")
    assert notebook.sent() == ["ONE", "answer 3", "two", "answer 2", "three"]
    mended = notebook.run("b", "%%claude\ntwo")
    assert notebook.sent() == ["ONE", "answer 3", "two"]
    reply, note = [bundle["text/plain"] for bundle in mended.bundles()][-2:]
    assert reply.endswith(
        "◈ sent: your text · 1 earlier turn\n◈ later cell “three” answered what was here before: run it again"
    )
    # The note under the first cell is taken back, now that the second one has been run again.
    assert note.startswith("answer 3")
    assert "answered what was here before" not in note


def test_91_a_failure_costs_no_turn_and_leaves_no_half_of_one(notebooks: Any, server: WireServer) -> None:
    notebook = notebooks()
    notebook.run("a", "%%claude\none")
    notebook.run("b", "%%claude\ntwo")
    good = server.scripts[:]
    for script in (failing, stream(start(), block(), delta("half"), end=[CLOSE])):
        server.scripts[:] = [script]
        assert notebook.run("b", "%%claude\nTWO").reply["status"] == "error"
    server.scripts[:] = [stream(start(), block(), delta("half"), end=[HOLD])]
    assert notebook.run("b", "%%claude\nTWO", interrupt_when="half").reply["ename"] == "KeyboardInterrupt"
    server.scripts[:] = good
    notebook.run("c", "%%claude\nthree")
    assert notebook.sent() == ["one", "answer 1", "two", "answer 2", "three"]
    shown = notebook.history()
    assert "partial: stopped by you" in shown
    assert len(shown.splitlines()) == 2 + 3 + 1


def test_a_stopped_reply_goes_on_when_the_user_asks(notebooks: Any, server: WireServer) -> None:
    notebook = notebooks()
    notebook.run("a", "%%claude\none")
    good = server.scripts[:]
    server.scripts[:] = [stream(start(), block(), delta("Once upon "), end=[HOLD])]
    notebook.run("b", "%%claude -s 'be a bard'\ntell", interrupt_when="Once upon")
    server.scripts[:] = [canonical("a time.")]
    ran = notebook.run("c", "%claude_continue")
    assert ran.plain.startswith("Once upon a time.\n\n")
    first, part, ask = notebook.sent()[2:]
    assert (first, part) == ("tell", "Once upon")
    assert "Continue exactly from where it ended" in ask
    assert ask.endswith("Once upon")
    assert server.received[-1].json["system"] == "be a bard"
    server.scripts[:] = good
    notebook.run("d", "%%claude\nand?")
    assert notebook.sent() == ["one", "answer 1", "tell", "Once upon a time.", "and?"]
    assert "there is no unfinished reply in /somewhere/analysis.ipynb" in notebook.run("e", "%claude_continue").result
    assert notebook.run("f", "%claude_continue -c nobody").error[0].startswith("ConfigError: there is no conversation")


def test_a_restarted_notebook_goes_on_where_it_was(notebooks: Any, server: WireServer) -> None:
    first = notebooks()
    first.run("a", "%%claude\none")
    first.run("b", "%%claude\ntwo")
    first.kernel.close()
    second = notebooks()
    second.run("c", "%%claude\nthree")
    assert second.sent() == ["one", "answer 1", "two", "answer 2", "three"]
    assert "replayed from" in second.run("b", "%%claude\ntwo").plain
    second.run("b", "%%claude\nTWO")
    assert second.sent() == ["one", "answer 1", "TWO"]
    other = notebooks("/somewhere/else.ipynb")
    other.run("a", "%%claude\nhello")
    assert other.sent() == ["hello"]


def test_a_kernel_that_is_killed_loses_no_turn_and_its_reply_is_found_as_partial(
    notebooks: Any, server: WireServer
) -> None:
    first = notebooks()
    first.run("a", "%%claude\none")
    first.run("b", "%%claude\ntwo")
    words = [delta(f"word {number} ") for number in range(60)]
    server.scripts[:] = [stream(start(), block(), end=[step for word in words for step in (0.1, _chunk(word))])]
    first.kernel.send("%%claude\nTWO", cell="b")
    while len(server.received) < 3:
        time.sleep(0.01)
    time.sleep(3.5)  # more than the time between two writings-down
    os.kill(first.kernel.manager.provisioner.process.pid, signal.SIGKILL)
    server.scripts[:] = [lambda received: canonical(f"answer {len(server.received)}")]
    second = notebooks()
    shown = second.history()
    assert "partial: the kernel ended before the reply did" in shown
    second.run("c", "%%claude\nthree")
    assert second.sent() == ["one", "answer 1", "two", "answer 2", "three"]
    goes_on = second.run("d", "%claude_continue")
    assert goes_on.plain.startswith("word 0 word 1 word 2 word 3")
    assert second.sent()[:3] == ["one", "answer 1", "TWO"]


def _chunk(data: bytes) -> bytes:
    from wire_server import chunk

    return chunk(data)


def test_two_kernels_in_one_conversation_lose_nothing(notebooks: Any, server: WireServer) -> None:
    one, two = notebooks(), notebooks()
    for number in range(5):
        asked = [
            n.kernel.send(f"%%claude\n{name} {number}", cell=f"{name}{number}") for n, name in ((one, "x"), (two, "y"))
        ]
        assert [n.kernel.until_idle(a).reply["status"] for n, a in zip((one, two), asked, strict=True)] == ["ok", "ok"]
    one.run("last", "%%claude\nlast")
    sent = one.sent()
    questions = sent[0:-1:2]
    assert sorted(questions) == sorted([f"{name} {number}" for name in "xy" for number in range(5)])
    assert [q for q in questions if q[0] == "x"] == [f"x {number}" for number in range(5)]
    assert len(set(sent[1::2])) == 10


def test_one_cell_with_two_questions_has_two_turns(notebooks: Any, server: WireServer) -> None:
    notebook = notebooks()
    notebook.run("a", "%claude one\n%claude two")
    assert notebook.sent() == ["one", "answer 1", "two"]
    notebook.run("a", "%claude ONE\n%claude TWO")
    assert notebook.sent() == ["ONE", "answer 3", "TWO"]
    assert len(notebook.history().splitlines()) == 2 + 2


def test_new_sets_the_conversation_aside_and_run_all_does_not_pile_them_up(notebooks: Any, server: WireServer) -> None:
    for code in ("%%claude --new\none", "%%claude --new\none"):
        notebook = notebooks()
        notebook.run("a", code)
        notebook.run("b", "%%claude\ntwo")
        assert notebook.sent() == ["one", "answer 1", "two"]
    assert len(server.received) == 2
    notebook.run("b", "%%claude --new\ntwo")
    assert notebook.sent() == ["two"]
    listed = notebook.run("tools", "%claude_history --all").result
    assert [line.split()[:2] for line in listed.splitlines()[2:4]] == [[NOTEBOOK, "1"], [f"{NOTEBOOK}.1", "2"]]


def test_the_history_can_be_changed_in_the_notebook(notebooks: Any, server: WireServer, tmp_path: Path) -> None:
    notebook = notebooks()

    def run(code: str) -> Ran:
        return notebook.run("tools", code)

    for cell, text in (("a", "one"), ("b", "two"), ("c", "three")):
        notebook.run(cell, f"%%claude\n{text}")
    assert run("%claude_history --forget 2").result == "forgot turn 2 of /somewhere/analysis.ipynb\n"
    assert "outdated" in notebook.history().splitlines()[-1]
    assert run("%claude_history --fork eda").result.startswith("eda begins with 2 turns of")
    notebook.run("d", "%%claude -c eda\nfour")
    assert notebook.sent() == ["one", "answer 1", "three", "answer 3", "four"]
    assert len(notebook.history().splitlines()) == 2 + 2
    run("%claude_history -c eda --rename study")
    run(f"%claude_history -c study --export {tmp_path / 'study.md'}")
    assert (tmp_path / "study.md").read_text().startswith("# study\n\n## Question\n\none\n\n## Reply\n\nanswer 1\n")
    assert re.search(
        r"answer 1\n\n\*\d+ \w+ \d{4}, \d\d:\d\d · 16 tokens · ≈ \$0\.\d+\*\n", (tmp_path / "study.md").read_text()
    )
    run(f"%claude_history -c study --export {tmp_path / 'study.jsonl'}")
    assert run(f"%claude_history --import {tmp_path / 'study.jsonl'} -c copy").result.startswith(
        "imported 3 turns as copy"
    )
    notebook.run("e", "%%claude -c copy\nfive")
    assert notebook.sent() == ["one", "answer 1", "three", "answer 3", "four", "answer 4", "five"]
    run("%claude_history -c copy --delete")
    assert "copy" not in run("%claude_history --all").result
    assert run("%claude_history --prune 1h").result == "removed 0 replies and 0 conversations that were older than 1h\n"
    for wrong in (
        "--forget 9",
        "-c nobody --rename x",
        "--rename study",
        "--prune soon",
        "--colour",
        "--import /none -c z",
        "--forget 0",
        "-c ' '",
        "--fork ''",
        "--prune 0d",
        "--all -c eda",
        "-c stud",
    ):
        error = run(f"%claude_history {wrong}").error
        assert error[0].startswith("ConfigError: "), wrong
        assert len(error) == 2
