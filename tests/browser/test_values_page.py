"""Replies as Python, in JupyterLab: a table as a table, leave for a tool's call, and code in a cell below."""

from __future__ import annotations

import json
import re
from typing import Any

from lab import OpenNotebook
from playwright.sync_api import expect
from tool_calls import calls, results, use
from wire_server import WireServer, canonical

SETUP = """%load_ext comet_magic
%config CometSettings.endpoint = {url!r}
import pandas as pd
def price(item: str) -> float:
    "What an item costs."
    return 2.5"""
TABLE = {
    "columns": [{"name": "city", "type": "string"}, {"name": "n", "type": "integer"}],
    "rows": [["Oslo", 1], ["<img src=x onerror=alert(1)>", 2]],
}


def test_a_table_is_shown_as_one_and_stays(opened: Any) -> None:
    with WireServer(canonical(json.dumps(TABLE))) as server:
        notebook: OpenNotebook = opened(
            SETUP.format(url=server.url), "%%claude --as pd.DataFrame -o t\nCities.", "t.dtypes"
        )
        dialogs: list[str] = []
        notebook.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        notebook.run(0)
        output = notebook.run(1)
        table = output.locator("table")
        expect(table).to_have_count(1)
        expect(table).to_contain_text("Oslo")
        expect(table).to_contain_text("<img src=x onerror=alert(1)>")
        details = output.locator("details", has_text="reply, read as pd.DataFrame")
        expect(details.locator("pre")).to_be_hidden()
        details.locator("summary").click()
        expect(details.locator("pre")).to_contain_text('"rows"')
        expect(notebook.run(2)).to_contain_text("int64")
        notebook.save()
        notebook.reopen_without_kernel()
        expect(notebook.output(1).locator("table")).to_contain_text("Oslo")
        assert dialogs == []


def test_leave_for_a_call_is_asked_while_the_cell_runs(opened: Any) -> None:
    code = canonical("```python\ntotal = 5\n```")
    with WireServer(
        calls(use("price", {"item": "tea"}), text="Let me look."), canonical("It costs 2.50."), code
    ) as server:
        notebook: OpenNotebook = opened(
            SETUP.format(url=server.url),
            "%%claude --tools price\nWhat does tea cost?",
            "%%claude --code --alone\nCode.",
        )
        notebook.run(0)
        notebook.start(1)
        box = notebook.cells.nth(1).locator(".jp-Stdin-input")
        expect(box).to_be_visible(timeout=20_000)
        expect(notebook.cells.nth(1).locator(".jp-Stdin-prompt")).to_contain_text("item = 'tea'")
        expect(notebook.output(1)).to_contain_text("Let me look.")
        box.fill("y")
        box.press("Enter")
        notebook.wait(1)
        call = notebook.output(1).locator("details", has_text="price(item='tea') → 2.5")
        expect(call.locator("pre").first).to_be_hidden()
        call.locator("summary").click()
        expect(call.locator("pre").first).to_have_text(re.compile("item = tea"))
        expect(notebook.output(1)).to_contain_text("It costs 2.50.")
        # What was asked is answered, and does not stay above the reply.
        expect(notebook.output(1)).not_to_contain_text("Claude asks to run")
        expect(notebook.cells.nth(1).locator(".jp-Stdin-prompt")).to_have_count(0)
        assert results(server.received[1])[0]["content"] == "2.5"
        notebook.run(2)
        notebook.run(2)
        below = notebook.cells.filter(has=notebook.page.locator(".cm-content", has_text=re.compile(r"^total = 5$")))
        expect(below).to_have_count(1)
        expect(notebook.output(2)).to_contain_text("No other cell was made")
