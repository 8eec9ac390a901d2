"""The replies of several models in JupyterLab: a column each, with Markdown in it, that stays and acts on nothing."""

from __future__ import annotations

import base64
from typing import Any

from chat_wire import list_of, said
from lab import OpenNotebook
from playwright.sync_api import expect
from wire_server import Received, Script, WireServer, canonical

TEXT = "Some **bold** text.\n\n```python\nf(x)\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"
HOSTILE = "</td></tr></table><script>window.acted = 1</script><img src=x onerror='window.acted = 1'> **bold**"
# A red dot.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg=="


def answer(received: Received) -> Script:
    if received.line.startswith("GET"):
        return list_of("gpt-6-luna", "gemini-3-pro")
    if "/messages" in received.line:
        return canonical(TEXT)
    return said(HOSTILE if received.json["model"] == "gpt-6-luna" else f"A dot: ![image](data:image/png;base64,{PNG})")


def test_columns_stand_side_by_side_and_stay(opened: Any) -> None:
    assert base64.b64decode(PNG)[:4] == b"\x89PNG"
    with WireServer(answer) as server:
        load = f"%load_ext comet_magic\n%config CometSettings.endpoint = {server.url!r}"
        notebook: OpenNotebook = opened(load, "%%claude -m opus,gpt-6-luna,gemini-3-pro\nhi", "%claude_choose 3")
        notebook.run(0)
        output = notebook.run(1)
        for shown in (output, None):
            if shown is None:
                notebook.save()
                notebook.reopen_without_kernel()
                shown = notebook.output(1)
            columns = shown.locator(".jp-RenderedMarkdown > table > tbody > tr").last.locator("> td")
            expect(columns).to_have_count(3)
            expect(columns.nth(0).locator("strong")).to_have_text("bold")
            expect(columns.nth(0).locator("pre")).to_contain_text("f(x)")
            expect(columns.nth(0).locator("table td").first).to_have_text("1")
            expect(columns.nth(1)).to_contain_text("<script>")
            expect(columns.nth(2)).to_contain_text("A dot:")
            lefts = [columns.nth(index).bounding_box()["x"] for index in range(3)]
            assert lefts == sorted(set(lefts))
            expect(shown.locator("img[src^='data:image/png']")).to_have_count(1)
            assert notebook.page.evaluate("() => window.acted") is None
