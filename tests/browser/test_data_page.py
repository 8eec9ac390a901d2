"""Data in a prompt, in JupyterLab: what was sent opens under the reply, and a corrected cell is put below."""

from __future__ import annotations

import re
from typing import Any

from lab import OpenNotebook
from playwright.sync_api import expect
from wire_server import WireServer, canonical

SETUP = """%load_ext comet_magic
%config CometSettings.endpoint = {url!r}
import matplotlib.pyplot as plt, pandas as pd
df = pd.DataFrame({{"price": [1.5, 2.5], "note": ["<img src=x onerror=alert(1)>", "`code` $x$ </details>"]}})
figure, axes = plt.subplots()
axes.plot([1, 3, 2]);"""
LOADED = "async image => { await image.decode(); return image.naturalWidth > 0; }"


def test_what_was_sent_opens_under_the_reply_and_runs_nothing(opened: Any) -> None:
    with WireServer(canonical("Two **rows**.")) as server:
        notebook: OpenNotebook = opened(SETUP.format(url=server.url), "%%claude\nDescribe {{df}} and {{figure}}.")
        notebook.page.on("dialog", lambda dialog: dialog.dismiss())
        notebook.run(0)
        output = notebook.run(1)
        details = output.locator("details")
        expect(details.locator("summary")).to_have_text(
            re.compile(r"sent: your text · df \(2 × 2, card of \d+ tokens\) · figure \(PNG 556×413\)")
        )
        expect(details.locator("pre")).to_be_hidden()
        details.locator("summary").click()
        expect(details.locator("pre")).to_contain_text('<data name="df" type="pandas DataFrame"')
        expect(details.locator("pre")).to_contain_text("<img src=x onerror=alert(1)>")
        expect(details.locator("pre")).to_contain_text("`code` $x$ </details>")
        picture = details.locator("img")
        expect(picture).to_have_count(1)
        assert picture.evaluate(LOADED)
        assert output.locator("mjx-container").count() == 0
        notebook.save()
        notebook.reopen_without_kernel()
        output = notebook.output(1)
        expect(output.locator("summary")).to_contain_text("figure (PNG 556×413)")
        assert output.locator("details img").evaluate(LOADED)
        blocks = server.received[0].json["messages"][0]["content"]
    assert [block["type"] for block in blocks] == ["text", "image", "text"]


def test_the_picture_that_is_sent_is_the_one_on_the_screen(opened: Any) -> None:
    with WireServer(canonical("A line.")) as server:
        drawn = "figure.legend(['a long name'], bbox_to_anchor=(1.4, 1)); figure"
        notebook: OpenNotebook = opened(SETUP.format(url=server.url), drawn, "%%claude\nWhat is odd about {{plot}}?")
        notebook.run(0)
        shown = notebook.run(1).locator("img")
        expect(shown).to_have_count(1)
        assert shown.evaluate(LOADED)
        notebook.run(2)
        blocks: Any = server.received[0].json["messages"][0]["content"]
        sent = blocks[1]["source"]["data"]
        assert shown.get_attribute("src") == f"data:image/png;base64,{sent}"


def test_a_corrected_cell_is_put_below_and_not_run(opened: Any) -> None:
    with WireServer(canonical("No such column.\n\n```python\ndf.price\n```")) as server:
        notebook: OpenNotebook = opened(SETUP.format(url=server.url), "df.prise", "%claude_fix")
        for index in range(3):
            notebook.run(index)
        below = notebook.cells.filter(
            has=notebook.page.locator(".cm-content", has_text=re.compile(r'^# replaces: "df\.prise"\s*df\.price$'))
        )
        expect(below).to_have_count(1)
        expect(below.locator(".jp-InputPrompt")).to_have_text("[ ]:")
        expect(notebook.output(2)).to_contain_text("New code was put into the cell below. Read it, then run it.")
