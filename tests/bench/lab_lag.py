"""How far a page of JupyterLab lags behind the kernel when a long reply streams in."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "browser")]

from lab import LAUNCH, JupyterServer, OpenNotebook  # noqa: E402
from playwright.sync_api import expect, sync_playwright  # noqa: E402


def measure(endpoint: str) -> float:
    """Seconds from the end of the cell in the kernel until the page shows the reply's last line."""
    server = JupyterServer("lab", COMET_MAGIC_ENDPOINT=endpoint)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(**LAUNCH)
            page = browser.new_page(viewport={"width": 1200, "height": 1000})
            cells = ["%load_ext comet_magic\nimport time", "%%claude\nhi", "print(time.time())"]
            notebook = OpenNotebook(page, server, cells)
            notebook.run(0)
            output = notebook.start(1)
            notebook.start(2)
            expect(output.locator("small")).to_contain_text(" out · ", timeout=300_000)
            seen = time.time()
            printed = notebook.output(2)
            expect(printed).to_contain_text(re.compile(r"\d+\.\d+"), timeout=60_000)
            ended = float((printed.text_content() or "").strip())
            browser.close()
    finally:
        server.close()
    return max(seen - ended, 0.0)
