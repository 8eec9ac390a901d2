"""A run over many rows in JupyterLab: progress in one output, an interrupt, the same cell again, and what stays."""

from __future__ import annotations

import re
from typing import Any

from lab import OpenNotebook
from playwright.sync_api import expect
from row_server import RowServer

ROWS = "import pandas as pd\nreviews = pd.DataFrame({'review': [f'review {n}' for n in range(120)]})"
CELL = "%%claude --rows reviews --yes --workers 4 -o tones --column tone\nTone of this review? {{row.review}}"


def test_a_run_is_seen_stopped_gone_on_with_and_saved(opened: Any) -> None:
    with RowServer(delay=0.25) as server:
        load = f"%load_ext comet_magic\n%config CometSettings.endpoint = {server.url!r}\n%config CometSettings.replay = 'auto'\n{ROWS}"
        notebook: OpenNotebook = opened(load, CELL, "print(tones.tone.notna().sum(), 'rows')")
        notebook.run(0)
        notebook.start(1)
        output = notebook.output(1)
        expect(output).to_contain_text(re.compile(r"\d+ of 120 · 4 under way · [\d.]+/s"), timeout=15_000)
        expect(output).to_contain_text("left")
        assert output.locator(".jp-RenderedMarkdown").count() == 1
        notebook.interrupt()
        expect(output).to_contain_text("run it again, and it goes on from here")
        expect(output).to_contain_text("KeyboardInterrupt")
        stopped_at = server.stats()["answered"]
        assert 4 <= stopped_at < 120
        output = notebook.run(1)
        expect(output).to_contain_text(f"120 rows · 120 answered, {stopped_at} of them from the store")
        expect(output).not_to_contain_text("under way")
        assert server.stats()["answered"] == 120
        expect(notebook.run(2)).to_contain_text("120 rows")
        notebook.save()
        notebook.reopen_without_kernel()
        expect(notebook.output(1)).to_contain_text(f"120 rows · 120 answered, {stopped_at} of them")
        assert notebook.output(1).locator(".jp-RenderedMarkdown").count() == 1
