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
        assert notebook.output(3).locator("td").all_text_contents() == [
            "1", "[2]", "one", "16", "≈ $0.00011", "", "2", "[3]", "two", "16", "≈ $0.00011", "",
        ]  # fmt: skip
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
        expect(notebook.output(1)).to_contain_text("later cell “two” answered what stood here before: run it again")
        assert [message["content"] for message in server.received[-1].json["messages"]] == ["one"]
        notebook.run(3)
        expect(notebook.output(3)).to_contain_text("stale: it answered an older text")
        notebook.run(2)
        notebook.run(3)
        expect(notebook.output(3)).not_to_contain_text("stale")
        # The note would stay in the file, and is not true any more.
        expect(notebook.output(1)).to_contain_text("answer 3")
        expect(notebook.output(1)).not_to_contain_text("answered what stood here before")
        saved = notebook.save()
    assert "answer 4" in saved
    assert "answered what stood here before" not in str(saved)
