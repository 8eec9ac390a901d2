from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import CHROMIUM, LAUNCH, SECRET, JupyterServer, OpenNotebook
from playwright.sync_api import Browser, Page, sync_playwright

SHOTS = Path(__file__).parents[2] / "build" / "shots"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if not os.access(CHROMIUM, os.X_OK):
                item.add_marker(pytest.mark.skip(reason="no Chromium: apt-get install chromium"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**LAUNCH)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab_server() -> Iterator[JupyterServer]:
    server = JupyterServer("lab", COMETAPI_KEY=SECRET, COMET_MAGIC_REPLAY="never")
    yield server
    server.close()


@pytest.fixture(scope="session")
def notebook_server() -> Iterator[JupyterServer]:
    server = JupyterServer("notebook", COMETAPI_KEY=SECRET)
    yield server
    server.close()


@pytest.fixture
def page(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1200, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield page
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{request.node.name}.png")
    context.close()


@pytest.fixture
def opened(page: Page, lab_server: JupyterServer, request: pytest.FixtureRequest) -> Any:
    """Open a notebook with these cells in JupyterLab."""

    def open_notebook(*cells: str) -> OpenNotebook:
        return OpenNotebook(page, lab_server, list(cells), f"{request.node.name}.ipynb")

    return open_notebook
