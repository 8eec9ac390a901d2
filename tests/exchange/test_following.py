"""A conversation follows its notebook: cells that are deleted, cut and pasted, moved, and asked elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cells import Ran
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_server import WireServer, canonical

from comet_magic.exchange.following import in_order
from comet_magic.settings import CometSettings
from notebooks import FrontEnd, opened

BEGINS = {f"c{number}": f"%%claude\n{name}" for number, name in enumerate("ABCD", 1)}


@pytest.fixture
def server() -> Iterator[WireServer]:
    with WireServer(lambda received: canonical(f"answer {len(server.received)}")) as server:
        yield server


@pytest.fixture
def notebook(shell: Any, server: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FrontEnd:
    """Four questions A, B, C and D in the cells c1 to c4, which have been asked and saved."""
    return opened(shell, tmp_path / "nb.ipynb", server.url, monkeypatch, BEGINS.values())[0]


def questions(server: WireServer) -> str:
    """The questions of the latest request, in order."""
    return " ".join(message["content"] for message in server.received[-1].json["messages"][::2])


def states(ran: Ran) -> dict[str, str]:
    """The questions that %claude_history shows, with their states."""
    rows = ran.result.result.rows
    return {row[2]: row[5] for row in rows}


def test_the_turn_of_a_deleted_cell_is_left_out_and_said_so_once(notebook: FrontEnd, server: WireServer) -> None:
    notebook.delete("c2")
    ran = notebook.run("c4")
    assert questions(server) == "A C D"
    assert "left out: 1 turn of a deleted cell" in ran.plain
    assert "deleted cell" not in notebook.run("c4").plain
    assert questions(server) == "A C D"


def test_it_stays_in_the_store_and_comes_back_when_its_cell_is_run_again(
    notebook: FrontEnd, server: WireServer
) -> None:
    at, cell = notebook.delete("c2")
    notebook.run("c4")
    assert states(notebook.line("%claude_history"))["B"] == "left out: its cell was deleted"
    notebook.cells.insert(at, cell)  # undone
    notebook.run("c2")
    assert questions(server) == "A B"
    notebook.run("c4")
    assert questions(server) == "A B C D"
    assert "left out" not in states(notebook.line("%claude_history"))["B"]


def test_a_cell_that_was_told_of_while_it_was_run_is_there(notebook: FrontEnd, server: WireServer) -> None:
    """Until a run has ended, all cells that wait tell of the same ones: also of one that was undone and waits."""
    at, cell = notebook.delete("c2")
    notebook.cells.insert(at, cell)
    for id in ("c1", "c2", "c3"):
        notebook._deleted[:] = ["c2"]
        notebook.run(id)
    assert questions(server) == "A B C"


def test_an_undone_deletion_is_seen_in_the_saved_file(notebook: FrontEnd, server: WireServer) -> None:
    at, cell = notebook.delete("c2")
    notebook.run("c4")
    notebook.cells.insert(at, cell)
    notebook.save()
    notebook.run("c4")
    assert questions(server) == "A B C D"


def test_cutting_and_pasting_is_no_deletion(notebook: FrontEnd, server: WireServer) -> None:
    _, cell = notebook.delete("c2")
    notebook.cells.insert(2, cell)
    notebook.save()
    ran = notebook.run("c4")
    assert questions(server) == "A C B D"
    assert "deleted" not in ran.plain


def test_a_file_that_was_saved_before_a_cell_was_deleted_does_not_bring_it_back(
    notebook: FrontEnd, server: WireServer
) -> None:
    notebook.save()  # by itself, as JupyterLab does every two minutes
    notebook.delete("c2")
    notebook.run("c4")
    assert questions(server) == "A C D"


def test_what_the_saved_file_does_not_have_any_more_is_deleted(notebook: FrontEnd, server: WireServer) -> None:
    notebook.delete("c2")
    notebook.save()
    notebook.restart()
    notebook._deleted.clear()  # the page was loaded anew, and tells of nothing
    notebook.run("c4")
    assert questions(server) == "A C D"


def test_a_new_cell_that_was_saved_and_deleted_is_left_out(notebook: FrontEnd, server: WireServer) -> None:
    notebook.insert("%%claude\nE")
    notebook.run("c5")
    notebook.save()
    notebook.delete("c5")
    notebook.run("c1")
    notebook.insert("%%claude\nF")
    notebook.run("c6")
    assert questions(server) == "A B C D F"


def test_it_is_said_under_the_next_reply_whatever_is_looked_at_before(notebook: FrontEnd, server: WireServer) -> None:
    notebook.delete("c2")
    notebook.line("%claude_history")
    notebook.line("%claude_forecast")
    notebook.line("%%claude --dry-run\nx")
    assert "left out: 1 turn of a deleted cell" in notebook.run("c4").plain
    assert "deleted cell" not in notebook.run("c4").plain


def test_a_replayed_cell_leaves_its_conversation_too(notebook: FrontEnd, server: WireServer) -> None:
    notebook.edit("c2", "%%claude --alone\nB")
    notebook.run("c2")
    notebook.edit("c2", "%%claude\nB")
    notebook.run("c2")
    notebook.restart()
    notebook.edit("c2", "%%claude --alone\nB")
    before = len(server.received)
    notebook.run("c2")
    assert len(server.received) == before
    notebook.run("c4")
    assert questions(server) == "A C D"


def test_what_a_console_beside_the_notebook_asks_is_not_deleted(notebook: FrontEnd, server: WireServer) -> None:
    notebook.line("%%claude\nfrom a console", "console-1")
    notebook.save()
    notebook.run("c4")
    notebook.insert("%%claude\nlast")
    notebook.run("c5")
    assert questions(server) == "A B C D from a console last"


def test_a_cell_that_is_not_saved_yet_is_there(notebook: FrontEnd, server: WireServer) -> None:
    notebook.insert("%%claude\nE")
    notebook.run("c5")
    notebook.insert("%%claude\nF")
    notebook.run("c6")
    assert questions(server) == "A B C D E F"


def test_another_notebook_s_turns_are_not_touched(notebook: FrontEnd, server: WireServer, tmp_path: Path) -> None:
    """Two notebooks share a conversation; neither file has the other's cells."""
    shared = notebook.insert("%%claude -c shared\nmine")
    notebook.run(shared)
    other = FrontEnd(notebook.shell, notebook.path)
    other._made = 50
    notebook.restart()
    id = other.insert("%%claude -c shared\nyours")
    other.save()
    other.run(id)
    assert questions(server) == "mine yours"


def test_turns_are_sent_in_the_notebook_s_order(notebook: FrontEnd, server: WireServer) -> None:
    notebook.move("c3", 0)
    notebook.save()
    ran = notebook.run("c3")
    assert questions(server) == "C"
    assert '"A"' not in ran.plain  # it was asked in this kernel, and answered something else before
    notebook.run("c4")
    assert questions(server) == "C A B D"
    assert [row[2] for row in notebook.line("%claude_history").result.result.rows] == ["C", "A", "B", "D"]


def test_a_question_that_is_put_between_others_is_asked_there(notebook: FrontEnd, server: WireServer) -> None:
    new = notebook.insert("%%claude\nbetween", at=2)
    notebook.save()
    notebook.run(new)
    assert questions(server) == "A B between"
    assert [row[2] for row in notebook.line("%claude_history").result.result.rows] == ["A", "B", "between", "C", "D"]
    again = "would be asked again: what comes before it changed"
    assert list(states(notebook.line("%claude_history")).values()) == ["", "", "", again, again]


def test_a_cell_that_asks_in_another_conversation_leaves_its_old_one(notebook: FrontEnd, server: WireServer) -> None:
    notebook.edit("c2", "%%claude -c side\nB")
    notebook.run("c2")
    assert questions(server) == "B"
    notebook.run("c4")
    assert questions(server) == "A C D"
    assert states(notebook.line("%claude_history"))["B"] == "left out: its cell now asks in 'side'"
    notebook.edit("c2", "%%claude\nB")
    notebook.run("c2")
    assert questions(server) == "A B"
    notebook.run("c4")
    assert questions(server) == "A B C D"
    notebook.edit("c2", "%%claude --alone\nB")
    notebook.run("c2")
    notebook.run("c4")
    assert questions(server) == "A C D"
    assert states(notebook.line("%claude_history"))["B"] == "left out: its cell now asks in no conversation"


def test_a_copy_and_a_fork_keep_their_turns(
    notebook: FrontEnd, server: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook.line("%claude_history --fork aside")
    notebook.run("c2")
    assert "left out" not in str(states(notebook.line("%claude_history -c aside")))
    copy = tmp_path / "copy.ipynb"
    copy.write_bytes(notebook.path.read_bytes())
    monkeypatch.setenv("JPY_SESSION_NAME", str(copy))
    notebook.restart()
    notebook.run("c2")
    assert questions(server) == "B"
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook.path))
    notebook.restart()
    notebook.edit("c4", "%%claude\nD, mended")
    notebook.run("c4")
    assert questions(server) == "A B C D, mended"


def test_a_question_above_one_that_begins_anew_is_asked_before_it(notebook: FrontEnd, server: WireServer) -> None:
    notebook.edit("c3", "%%claude --new\nC")
    notebook.run("c3")
    notebook.run("c4")
    assert questions(server) == "C D"
    new = notebook.insert("%%claude\nbetween", at=2)
    notebook.save()
    notebook.run(new)
    assert questions(server) == "A B between"
    notebook.run("c3")
    assert questions(server) == "C"
    notebook.run("c4")
    assert questions(server) == "C D"


@pytest.mark.parametrize(
    ("turns", "notebook", "expected"),
    [
        ("ABC", "ABC", "ABC"),
        ("ABC", "CAB", "CAB"),
        ("AxBC", "CAB", "CAxB"),  # x is not saved yet: it stays behind A
        ("xAB", "BA", "xBA"),
        ("ABC", "B", "ABC"),
        ("ABC", "", "ABC"),
    ],
)
def test_an_order(turns: str, notebook: str, expected: str) -> None:
    assert "".join(in_order(turns, notebook)) == expected


# ---- any sequence of what a person does with a notebook


class Turn(NamedTuple):
    question: str
    answer: str


class Model:
    """What a notebook's requests are to be: a question is asked after the turns of the cells above its own.

    It is answered from the store on its first run in a kernel, where another kernel has asked the very same.
    """

    def __init__(self) -> None:
        self.turns: dict[str, Turn] = {}
        self.kept: dict[tuple[Any, ...], tuple[int, str]] = {}  # what was asked after what: in which kernel, its answer
        self.kernel, self.requests = 0, 0
        self.ran: set[str] = set()

    def run(self, id: str, question: str, above: list[str]) -> list[str] | None:
        """What is sent, or None for a stored reply."""
        before = tuple(self.turns[cell] for cell in above if cell in self.turns)
        kernel, answer = self.kept.get((question, before), (self.kernel, ""))
        is_first = id not in self.ran
        self.ran.add(id)
        if is_first and kernel != self.kernel:
            self.turns[id] = Turn(question, answer)
            return None
        self.requests += 1
        answer = f"answer {self.requests}"
        self.turns[id] = Turn(question, answer)
        self.kept[question, before] = (self.kernel, answer)
        return [*(text for turn in before for text in turn), question]

    def restart(self) -> None:
        self.kernel += 1
        self.ran.clear()


DEEDS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["run", "delete", "edit"]), st.integers(0, 9)),
        st.tuples(st.sampled_from(["insert"]), st.integers(0, 9)),
        st.tuples(st.sampled_from(["move"]), st.integers(0, 9), st.integers(0, 9)),
        st.tuples(st.sampled_from(["undo", "restart", "run all"])),
    ),
    min_size=4,
    max_size=14,
)


@pytest.mark.usefixtures("notebook")
@given(deeds=DEEDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_sends_what_a_simple_model_says(
    shell: Any, server: WireServer, tmp_path_factory: pytest.TempPathFactory, deeds: list[tuple[Any, ...]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "nb.ipynb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JPY_SESSION_NAME", str(path))
        server.received.clear()
        CometSettings.instance().store = str(path.with_suffix(".sqlite"))
        Person(FrontEnd(shell, path), server).does(deeds)


class Person:
    def __init__(self, notebook: FrontEnd, server: WireServer) -> None:
        self.notebook, self.server, self.model = notebook, server, Model()
        self.removed: list[tuple[int, tuple[str, str]]] = []
        self.asked = 0
        notebook.restart()
        for name in "XYZ":
            notebook.insert(f"%%claude\n{name}")

    def does(self, deeds: list[tuple[Any, ...]]) -> None:
        for deed, *numbers in [*deeds, ("restart",), ("run all",), ("restart",), ("run all",)]:
            do: Callable[..., None] = getattr(self, deed.replace(" ", "_"))
            do(*(number % max(1, len(self.notebook.cells)) for number in numbers))
            self.notebook.save()
        before = len(self.server.received)
        self.restart()
        self.run_all()
        assert len(self.server.received) == before  # Restart & Run All is free once all has been asked

    def run(self, number: int) -> None:
        if not self.notebook.cells:
            return
        id, source = self.notebook.cells[number]
        self.notebook.save()
        expected = self.model.run(id, source.split("\n")[1], [cell for cell, _ in self.notebook.cells[:number]])
        before = len(self.server.received)
        ran = self.notebook.run(id)
        assert ran.error is None
        sent = self.server.received[before:]
        texts = [message["content"] for request in sent for message in request.json["messages"]]
        assert (texts or None) == expected

    def run_all(self) -> None:
        for number in range(len(self.notebook.cells)):
            self.run(number)

    def delete(self, number: int) -> None:
        if self.notebook.cells:
            self.removed.append(self.notebook.delete(self.notebook.cells[number][0]))

    def undo(self) -> None:
        if self.removed:
            at, cell = self.removed.pop()
            at = min(at, len(self.notebook.cells))
            self.notebook.cells.insert(at, cell)
            self.run(at)  # which tells that it is there again: until a run, the front end says that it was deleted

    def insert(self, number: int) -> None:
        self.asked += 1
        self.notebook.insert(f"%%claude\nnew {self.asked}", at=number)

    def edit(self, number: int) -> None:
        if self.notebook.cells:
            self.asked += 1
            self.notebook.edit(self.notebook.cells[number][0], f"%%claude\nedited {self.asked}")

    def move(self, number: int, to: int) -> None:
        if self.notebook.cells:
            self.notebook.move(self.notebook.cells[number][0], to)

    def restart(self) -> None:
        self.notebook.restart()
        self.model.restart()
