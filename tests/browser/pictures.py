"""Take the pictures of README and manual: `python tests/browser/pictures.py`; more views go to build/shots.

The embedded model answers, but for the README's first picture: there a scripted server does, which the README says.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests")]

from lab import LAUNCH, JupyterServer, OpenNotebook  # noqa: E402
from playwright.sync_api import Browser, Locator, Page, sync_playwright  # noqa: E402
from wire_server import MESSAGE, WireServer, reply  # noqa: E402

IMAGES = ROOT / "notebooks" / "images"
SHOTS = ROOT / "build" / "shots"
REPLY = ["%load_ext comet_magic", "%%claude\nExplain in two sentences what a p-value is."]


def only_the_cells(page: Page) -> None:
    """JupyterLab without its side bar, so that the picture is of the notebook."""
    page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    page.evaluate("() => { document.activeElement.blur(); }")
    page.wait_for_timeout(1500)


def around(page: Page, first: Locator, last: Locator, path: Path, margin: int = 8) -> None:
    top, bottom = first.bounding_box(), last.bounding_box()
    assert top is not None
    assert bottom is not None
    height = bottom["y"] + bottom["height"] - top["y"] + margin
    page.screenshot(path=path, clip={"x": top["x"], "y": top["y"] - margin, "width": top["width"], "height": height})


def take(
    browser: Browser, server: JupyterServer, cells: list[str], name: str, *, width: int = 900, height: int = 1000,
    dark: bool = False, opens: str = "",
) -> None:  # fmt: skip
    context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=1.5)
    page = context.new_page()
    page.set_default_timeout(60_000)
    notebook = OpenNotebook(page, server, cells, f"{name}.ipynb")
    if dark:
        page.evaluate("() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    for index in range(len(cells)):
        notebook.run(index)
    if opens:
        notebook.output(len(cells) - 1).locator("summary", has_text=opens).click()
    only_the_cells(page)
    around(
        page,
        notebook.cells.first,
        notebook.cells.nth(len(cells) - 1),
        (IMAGES if name in KEPT else SHOTS) / f"{name}.png",
    )
    if dark:
        page.evaluate("() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")
        page.wait_for_timeout(500)
    context.close()


KEPT = {"question", "panel", "data"}
DATA = [
    "%load_ext comet_magic\nimport matplotlib.pyplot as plt\nfrom vega_datasets import local_data\n\n"
    "stocks = local_data.stocks()\nfigure, axes = plt.subplots(figsize=(6, 2))\n"
    "stocks.pivot(index='date', columns='symbol', values='price').plot(ax=axes);",
    "%%claude -t 150\nIn one sentence, what is in {{stocks}}?",
    "%%claude --dry-run --alone\nWhich share does {{figure}} show to be the most volatile?",
]
PANEL = ["%load_ext comet_magic", "%claude_panel"]


SALES = (
    "%load_ext comet_magic\nimport pandas as pd\n\nsales = pd.DataFrame({\n"
    "    'city': ['Oslo', 'Bergen', 'Oslo', 'Oslo'], 'item': ['lamp', 'lamp', 'chair', 'chair'],\n"
    "    'price': [10.5, None, 49.0, 49.0],\n})"
)
ANSWER = """Two things:

- **A price is missing**: the lamp in Bergen. A mean over all rows leaves it out without a word.
- **A row occurs twice**: the chair in Oslo for 49.0. If that is one sale, `sales.drop_duplicates()` removes it."""
USAGE = {"input_tokens": 268, "output_tokens": 74}


def take_question(browser: Browser, *, dark: bool = False) -> None:
    """The README's picture: a question about a table, with what was sent opened."""
    body = {**MESSAGE, "model": "claude-sonnet-4-6", "usage": USAGE, "content": [{"type": "text", "text": ANSWER}]}
    with WireServer(reply(body)) as wire:
        environment = {"COMETAPI_KEY": "none-0123456789", "COMET_MAGIC_ENDPOINT": wire.url, "COMET_MAGIC_STREAM": "no"}
        server = JupyterServer("lab", **environment)
        try:
            cells = [SALES, "%%claude\nWhat's odd about {{sales}}?"]
            take(browser, server, cells, f"question{'-dark' * dark}", dark=dark, opens="sent:")
        finally:
            server.close()


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    SHOTS.mkdir(parents=True, exist_ok=True)
    server = JupyterServer("lab")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(**LAUNCH)
            take_question(browser)
            take_question(browser, dark=True)
            take(browser, server, REPLY, "reply")
            take(browser, server, REPLY, "reply-dark", dark=True)
            take(browser, server, DATA, "data", height=1300)
            take(browser, server, DATA, "data-dark", dark=True)
            take(browser, server, PANEL, "panel")
            take(browser, server, PANEL, "panel-dark", dark=True)
            take(browser, server, PANEL, "panel-narrow", width=520)
            browser.close()
    finally:
        server.close()


if __name__ == "__main__":
    main()
