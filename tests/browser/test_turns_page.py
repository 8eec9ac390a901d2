"""Turns in JupyterLab, which names its cells: restart and run all, run again, and look at the history."""

from __future__ import annotations

from typing import Any

from lab import OpenNotebook
from playwright.sync_api import expect
from wire_server import WireServer, canonical

RESTART_AND_RUN_ALL = "() => { window.jupyterapp.commands.execute('notebook:restart-run-all') }"


def test_restart_and_run_all_is_free_and_a_cell_run_again_is_a_turn_in_its_place(opened: Any) -> None:
    with WireServer() as server:
        server.scripts[:] = [lambda received: canonical(f"answer {len(server.received)}")]
        load = f"%load_ext comet_magic\n%config CometSettings.endpoint = {server.url!r}\n%config CometSettings.replay = 'auto'"
        notebook: OpenNotebook = opened(load, "%%claude\none", "%%claude\ntwo", "%claude_history")
        for index in range(4):
            notebook.run(index)
        expect(notebook.output(2)).to_contain_text("sent: your text · 1 earlier turn")
        row = ("16", "≈ $0.00011", "")
        expect(notebook.output(3).locator("td")).to_have_text(["1", "[2]", "one", *row, "2", "[3]", "two", *row])
        expect(notebook.output(3).locator("strong")).to_contain_text(".ipynb")

        notebook.page.evaluate(RESTART_AND_RUN_ALL)
        notebook.page.locator(".jp-Dialog button", has_text="Restart").click()
        for index, text in ((1, "answer 1"), (2, "answer 2")):
            expect(notebook.output(index)).to_contain_text("· 0 tokens · --fresh asks again", timeout=30_000)
            expect(notebook.output(index)).to_contain_text(text)
        notebook.wait(3)
        assert len(server.received) == 2

        notebook.run(1)
        expect(notebook.output(1)).to_contain_text("answer 3")
        expect(notebook.output(1)).to_contain_text("later cell “two” answered what was here before: run it again")
        assert [message["content"] for message in server.received[-1].json["messages"]] == ["one"]
        notebook.run(3)
        expect(notebook.output(3)).to_contain_text("would be asked again: what comes before it changed")
        notebook.run(2)
        notebook.run(3)
        expect(notebook.output(3)).not_to_contain_text("would be asked again")
        # The note would stay in the file, and is not true any more.
        expect(notebook.output(1)).to_contain_text("answer 3")
        expect(notebook.output(1)).not_to_contain_text("answered what was here before")
        saved = notebook.save()
    assert "answer 4" in saved
    assert "answered what was here before" not in str(saved)


def sent(server: WireServer) -> list[str]:
    """The questions of the latest request."""
    return [message["content"] for message in server.received[-1].json["messages"][::2]]


def command(notebook: OpenNotebook, index: int, name: str) -> None:
    """Run a command of JupyterLab's with a cell as the active one."""
    notebook.cells.nth(index).locator(".jp-InputPrompt").click()
    notebook.page.evaluate(f"async () => {{ await window.jupyterapp.commands.execute('notebook:{name}') }}")


def test_deleted_undone_and_moved_cells_are_followed(opened: Any) -> None:
    with WireServer() as server:
        server.scripts[:] = [lambda received: canonical(f"answer {len(server.received)}")]
        load = f"%load_ext comet_magic\n%config CometSettings.endpoint = {server.url!r}\n%config CometSettings.replay = 'auto'"
        cells = ["%%claude\none", "%%claude\ntwo", "%%claude\nthree", "%claude_history", "%claude_forecast"]
        notebook: OpenNotebook = opened(load, *cells)
        notebook.save()
        for index in range(4):
            notebook.run(index)
        command(notebook, 2, "delete-cell")
        notebook.run(2)
        assert sent(server) == ["one", "three"]
        expect(notebook.output(2)).to_contain_text("left out: 1 turn of a deleted cell")
        notebook.run(3)
        expect(notebook.output(3)).to_contain_text("left out: its cell was deleted")

        command(notebook, 2, "undo-cell-action")
        expect(notebook.cells).to_have_count(6)
        notebook.run(2)
        assert sent(server) == ["one", "two"]
        notebook.run(3)
        assert sent(server) == ["one", "two", "three"]

        command(notebook, 2, "cut-cell")
        command(notebook, 2, "paste-cell-below")
        notebook.save()
        notebook.run(2)
        assert sent(server) == ["one", "three"]  # it stands above `two` now
        notebook.run(3)
        assert sent(server) == ["one", "three", "two"]
        notebook.save()
        notebook.run(5)
        expect(notebook.output(5)).to_contain_text("Restart & Run All would ask nothing again")
