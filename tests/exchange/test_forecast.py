"""What Restart & Run All would ask again, and why: said before it costs, and then so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wire_server import WireServer, block, canonical, delta, start, stop, stream

from comet_magic.settings import CometSettings
from notebooks import FrontEnd, opened

START = [
    "%config CometSettings.max_tokens = 300",
    "%%claude\nA",
    "sales = [{'city': 'Oslo', 'n': number} for number in range(12)]",
    "%%claude\nWhat of {{sales}}, and {{sales[0]['n']}}?",
    "%%claude -c side\nB",
    "%%claude --alone\nC of {{len(sales)}}",
    "%claude one line?\n%claude and another",
    "%%claude --as int\nD",
    "%%claude\nE",
]


@pytest.fixture
def server() -> Iterator[WireServer]:
    def script(received: Any) -> Any:
        count = len(server.received)
        return canonical(f'{{"value": {count}}}' if "output_config" in received.json else f"answer {count}")

    with WireServer(script) as server:
        yield server


@pytest.fixture
def notebook(shell: Any, server: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FrontEnd:
    front_end, ran = opened(shell, tmp_path / "nb.ipynb", server.url, monkeypatch, START)
    assert [one.error for one in ran] == [None] * len(START)
    return front_end


def foreseen(notebook: FrontEnd) -> dict[int, str]:
    """What %claude_forecast says of the cells with questions that would be asked again."""
    rows = notebook.line("%claude_forecast").result.result.rows
    return {int(row[0]): row[2] for row in rows}


def asked_again(notebook: FrontEnd, server: WireServer) -> list[int]:
    """The cells that Restart & Run All does ask again."""
    notebook.restart()
    CometSettings.instance().reset()
    again = []
    for number, (id, _) in enumerate(list(notebook.cells), 1):
        before = len(server.received)
        assert notebook.run(id).error is None
        again += [number] if len(server.received) > before else []
    return again


BEFORE = "what comes before it changed"
# What is done → which cells would be asked again, and why.
DEEDS: dict[str, tuple[str, dict[int, str]]] = {
    "nothing": ("", {}),
    "a text": ("notebook.edit('c4', '%%claude\\nWhich of {{sales}}, and {{sales[0][\\'n\\']}}?')",
               {4: "your text changed", 7: BEFORE, 8: BEFORE, 9: BEFORE}),
    "a value": ("notebook.edit('c3', 'sales = [{\"city\": \"Bergen\", \"n\": n} for n in range(12)]'); notebook.run('c3')",
                {4: "`sales` changed", 7: BEFORE, 8: BEFORE, 9: BEFORE}),
    "a setting in the notebook": ("notebook.edit('c1', '%config CometSettings.max_tokens = 400')",
                                  {cell: "the max_tokens setting changed" for cell in (2, 4, 5, 6, 7, 8, 9)}),
    "a flag": ("notebook.edit('c5', '%%claude -c side -m opus\\nB')", {5: "the model setting changed"}),
    "a type": ("notebook.edit('c8', '%%claude --as float\\nD')", {8: "its type or its tools changed", 9: BEFORE}),
    "a cell above": ("notebook.insert('%%claude\\nnew', at=1)",
                     {2: "it has not been asked yet", 3: BEFORE, 5: BEFORE, 8: BEFORE, 9: BEFORE, 10: BEFORE}),
    "a deleted cell": ("notebook.delete('c2')", {3: BEFORE, 6: BEFORE, 7: BEFORE, 8: BEFORE}),
    "another conversation": ("notebook.edit('c9', '%%claude -c side\\nE')", {9: BEFORE}),
    "always anew": ("notebook.edit('c5', '%%claude -c side --fresh\\nB')", {5: "--fresh asks again"}),
}  # fmt: skip


@pytest.mark.parametrize("deed", DEEDS)
def test_what_is_foreseen_is_what_is_asked(notebook: FrontEnd, server: WireServer, deed: str) -> None:
    code, expected = DEEDS[deed]
    exec(code, {"notebook": notebook})
    notebook.save()
    before = len(server.received)
    assert foreseen(notebook) == expected
    assert len(server.received) == before
    assert asked_again(notebook, server) == sorted(expected)


def test_several_models_are_foreseen_one_by_one(notebook: FrontEnd, server: WireServer) -> None:
    notebook.edit("c5", "%%claude -c side -m opus,haiku\nB")
    assert notebook.run("c5").error is None
    notebook.save()
    assert foreseen(notebook) == {}
    notebook.edit("c5", "%%claude -c side -m opus,haiku,sonnet-9\nB")
    notebook.save()
    assert foreseen(notebook) == {5: "sonnet-9: it has not been asked yet"}
    notebook.edit("c5", "%%claude -c side -m opus,haiku\nB?")
    notebook.save()
    assert list(foreseen(notebook)) == [5]
    assert asked_again(notebook, server) == [5]


def test_cells_that_ask_for_each_row_are_named_apart(notebook: FrontEnd) -> None:
    notebook.insert("%%claude --rows sales\nSay something of {{row.city}}", at=9)
    notebook.save()
    table = notebook.line("%claude_forecast").result.result
    assert table.rows == []
    assert "would ask nothing again: the store answers all 8 questions" in str(table)
    assert "Cell 10 asks for each row of a table: rows that are in the store are not asked again." in str(table)


def test_the_sentence_says_it_all(notebook: FrontEnd) -> None:
    assert "would ask nothing again: the store answers all 8 questions" in str(
        notebook.line("%claude_forecast").result.result
    )
    notebook.edit("c5", "%%claude -c side\nB?")
    notebook.save()
    said = str(notebook.line("%claude_forecast").result.result)
    assert said.startswith("1 of 8 questions would be asked again, ≈ $0.")
    assert ": cell 5, your text changed\n" in said
    assert "cell 5, your text changed" in notebook.line("%claude_forecast").result.result.to_markdown()


def test_a_restarted_kernel_foresees_it_before_anything_has_run(notebook: FrontEnd, server: WireServer) -> None:
    """Its names are not there yet, and are taken to be what they were; the settings come from the notebook's lines."""
    notebook.restart()
    CometSettings.instance().reset()
    notebook.shell.user_ns.pop("sales")
    assert foreseen(notebook) == {}
    notebook.edit("c4", "%%claude\nAnother {{sales}}?")
    notebook.save()
    assert foreseen(notebook)[4] == "your text changed"


def test_settings_of_the_panel_do_not_count_for_they_end_with_the_kernel(
    notebook: FrontEnd, server: WireServer
) -> None:
    settings = CometSettings.instance()
    settings.model = "opus"
    assert foreseen(notebook) == {}
    assert (settings.model, settings.max_tokens) == ("opus", 300)


def test_nothing_is_run_for_it(notebook: FrontEnd) -> None:
    notebook.shell.user_ns["sales"] = None
    notebook.shell.user_ns["ran"] = ran = []
    notebook.edit("c6", "%%claude --alone\nC of {{ran.append(1)}}")
    notebook.save()
    assert foreseen(notebook)[4] == "`sales` changed"
    assert ran == []


def test_the_history_says_it_too(notebook: FrontEnd) -> None:
    notebook.edit("c4", "%%claude\nOther?")
    notebook.save()
    rows = notebook.line("%claude_history").result.result.rows
    assert [row[5] for row in rows][:3] == [
        "",
        "would be asked again: your text changed",
        f"would be asked again: {BEFORE}",
    ]


def test_a_partial_reply_is_asked_again(notebook: FrontEnd, server: WireServer) -> None:
    server.scripts[:] = [stream(start(), block(), delta("cut"), stop("max_tokens"))]
    notebook.edit("c5", "%%claude -c side\nCut?")
    notebook.save()
    notebook.run("c5")
    assert foreseen(notebook) == {5: "its reply was cut off or refused"}


def test_without_a_file_it_says_so(shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    front_end = FrontEnd(shell, tmp_path / "nb.ipynb")
    assert "which file this notebook is in is not known" in str(front_end.line("%claude_forecast").error)
    monkeypatch.setenv("JPY_SESSION_NAME", str(front_end.path))
    front_end.save()
    assert "there is no question in" in str(front_end.line("%claude_forecast").error)


def test_where_the_kernel_gets_no_ids_of_the_file_questions_are_known_by_their_texts(
    notebook: FrontEnd, server: WireServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in VS Code, which names the cells anew whenever it opens the notebook."""
    path = tmp_path / "vscode.ipynb"
    monkeypatch.delenv("JPY_SESSION_NAME")
    notebook.shell.user_ns["__vsc_ipynb_file__"] = str(path)
    notebook.path = path
    notebook.cells = [
        (f"vscode-notebook-cell:nb#{id}", source.replace("side", "other"))
        for id, source in notebook.cells
        if not re.search("one line|len", source)
    ]
    notebook.save()
    assert not any(ran.error for ran in notebook.run_all())
    here = "vscode-notebook-cell:nb#x"
    assert list(notebook.line("%claude_forecast", here).result.result.rows) == []
    notebook.edit("vscode-notebook-cell:nb#c9", "%%claude\nF")
    notebook.save()
    (row,) = notebook.line("%claude_forecast", here).result.result.rows
    assert row[:3] == ("7", "F", "it has not been asked yet")


# Cells of a notebook; what is done after they have run; whether nothing of it is asked again.
NOTEBOOKS: dict[str, tuple[list[str], str, bool]] = {
    "a reply in a question": (["%%claude --into v\nA", "%%claude --alone\nB {{v}}"], "", True),
    "a value in a question": (["%%claude --as int --into v\nA", "%%claude --alone\nB {{v}}"], "", True),
    "newlines and spaces": (["%%claude\nA\n", "%%claude\nB\n\n", "%claude   C  ", "if True:\n    %claude D"], "", True),
    "a line that goes on": (["%claude one \\\n  two", "%%claude\nB"], "", True),
    "names that change below": (["x = 1", "%%claude\nA {{x}}", "x = 2", "%%claude\nB {{x}}"], "", True),
    "a list that grows": (["x = [1]", "%%claude\nA {{x}}", "x.append(2)", "%%claude\nB {{x}}"], "", True),
    "a call beside a name": (["a = 'p q'; b = [1, 2]", "%%claude\nx {{a}} {{len(b)}}"], "", True),
    "a sum as a setting": (["%config CometSettings.max_tokens = 7*11", "%%claude\nA"], "", True),
    "a setting in a block": (["if True:\n    %config CometSettings.max_tokens = 77", "%%claude\nA"], "", True),
    "cells that send nothing": (["%%claude --dry-run\nA", "%%claude -h\nx", "x = '''\n%claude no\n'''", "%%claude\nB"], "", True),
    "values at home": (["%config CometSettings.share_values = False", "%%claude\nA", "%%claude\nB"], "", True),
    "there and back": (["%%claude\nA", "%%claude\nB", "%%claude\nC"],
                       "notebook.edit('n2', '%%claude -c z\\nB'); notebook.run('n2'); notebook.edit('n2', '%%claude\\nB')", True),
    "swapped": (["%%claude --alone\nA", "%%claude --alone\nB"],
                "notebook.edit('n1', '%%claude --alone\\nB'); notebook.edit('n2', '%%claude --alone\\nA')", True),
    "to another conversation": (["%%claude\nA", "%%claude -c s\nB", "%%claude\nC"], "notebook.edit('n1', '%%claude -c s\\nA')", False),
    "to none": (["%%claude\nA", "%%claude\nB", "%%claude\nC"], "notebook.edit('n2', '%%claude --alone\\nB')", False),
    "into another": (["%%claude\nA", "%%claude -c s\nB", "%%claude\nC", "%%claude -c s\nD"], "notebook.edit('n2', '%%claude\\nB')", False),
    "above one that begins anew": (["%%claude\nA", "%%claude --new\nB", "%%claude\nC"], "notebook.edit('n1', '%%claude\\nA?')", False),
    "no history": (["%config CometSettings.history_turns = 0", "%%claude\nA", "%%claude\nB"], "notebook.edit('n2', '%%claude\\nA?')", False),
    "a cell that is shown": (["print(1)", "%%claude\nWhat of {{cells[-1]}}?", "%%claude\nB"], "notebook.edit('n1', 'print(2)')", False),
    "a cell between": (["print(1)", "%%claude --alone\n{{cells[-1]}}?"], "notebook.insert('print(3)', at=1)", False),
    "nothing kept": (["%config CometSettings.keep = False", "%%claude\nB"], "", False),
    "the notebook along": (["x = 1", "%%claude\nA"], "notebook.insert('%config CometSettings.context = \\'notebook\\'', at=0)", False),
}  # fmt: skip


@pytest.mark.parametrize(("cells", "deed", "is_free"), NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_a_forecast_comes_true(
    notebook: FrontEnd, server: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: list[str], deed: str,
    is_free: bool,
) -> None:  # fmt: skip
    path = tmp_path / "another.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    another = FrontEnd(notebook.shell, path)
    another.cells = [(f"n{number}", source) for number, source in enumerate(cells, 1)]
    CometSettings.instance().reset()
    notebook.restart()
    another.save()
    assert not any(ran.error for ran in another.run_all())
    exec(deed, {"notebook": another})
    another.save()
    expected = foreseen(another)
    assert asked_again(another, server) == sorted(expected)
    assert is_free == (not expected)


def test_a_copy_of_a_notebook_is_foreseen_by_itself(
    notebook: FrontEnd, server: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.ipynb"
    copy.write_bytes(notebook.path.read_bytes())
    monkeypatch.setenv("JPY_SESSION_NAME", str(copy))
    other = FrontEnd(notebook.shell, copy)
    other.cells = list(notebook.cells)
    notebook.restart()
    other.run_all()
    other.edit("c2", "%%claude\nAnother A")
    other.save()
    assert foreseen(other)[2] == "your text changed"
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook.path))
    notebook.restart()
    assert foreseen(notebook) == {}
