"""Cells whose names hold only while an editor has the notebook open, as VS Code's do."""

from __future__ import annotations

from typing import Any

import pytest
from kernels import Kernel
from wire_server import Received, WireServer, canonical

URI = "vscode-notebook-cell:/home/u/nb.ipynb#W{}sZmlsZQ%3D%3D"


def echo(received: Received) -> Any:
    content: Any = received.json["messages"][-1]["content"]
    return canonical(f"echo: {content}")


def said(received: Received) -> list[str]:
    return [str(message["content"]).strip() for message in received.json["messages"] if message["role"] == "user"]


@pytest.fixture
def session(tmp_path: Any) -> Any:
    """Runs (handle, question) in a new kernel of the same notebook; returns what each sent, None for a replay."""
    with WireServer(echo) as server:

        def run(*cells: tuple[int, str]) -> list[list[str] | None]:
            kernel = Kernel(COMETAPI_KEY="sk-test-0123456789abcdef", COMET_MAGIC_ENDPOINT=server.url)
            sent: list[list[str] | None] = []
            try:
                kernel.run("__vsc_ipynb_file__ = '/home/u/nb.ipynb'\n%load_ext comet_magic", cell=URI.format(9))
                for handle, text in cells:
                    before = len(server.received)
                    assert not kernel.run(f"%%claude\n{text}", cell=URI.format(handle)).error
                    sent.append(said(server.received[-1]) if len(server.received) > before else None)
            finally:
                kernel.close()
            return sent

        yield run


def test_a_cell_that_is_run_again_takes_its_own_place(session: Any) -> None:
    assert session((0, "A?"), (1, "B?"), (0, "A, mended?"), (1, "B?")) == [
        ["A?"], ["A?", "B?"], ["A, mended?"], ["A, mended?", "B?"],
    ]  # fmt: skip


def test_after_reopening_a_turn_is_the_cell_s_that_asked_it(session: Any) -> None:
    session((0, "question A"), (1, "question B"), (2, "question C"))
    # The window is loaded anew: the cells A, C, B are now 0, 1, 2. Run All costs nothing.
    assert session((0, "question A"), (2, "question B"), (1, "question C")) == [None, None, None]
    assert session((2, "question B, mended")) == [["question A", "question B, mended"]]


def test_a_question_that_begins_as_another_one_is_a_new_one(session: Any) -> None:
    session((0, "Plot"), (1, "Plot sales"))
    assert session((1, "Plot sales by city")) == [["Plot", "Plot sales", "Plot sales by city"]]


def test_a_new_question_takes_no_other_cell_s_place(session: Any) -> None:
    session((0, "question A"), (1, "question B"))
    assert session((0, "What else is there to know?")) == [["question A", "question B", "What else is there to know?"]]
