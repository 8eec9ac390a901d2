"""Code that replies make, in JupyterLab and Notebook 7: replaced where it is unedited; and the Fix button."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab import SECRET, JupyterServer, OpenNotebook
from playwright.sync_api import Locator, Page, expect
from wire_server import WireServer, canonical

SOURCES = "window.jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.sharedModel.getSource())"
LOAD = "%load_ext comet_magic\n%config CometSettings.endpoint = {url!r}"
FAILS = "df = {'price': 1}\ndf['prise']"
CORRECTED = "df = {'price': 1}\ndf['price']"
FIXED = f"A typo.\n\n```python\n# replaces: df = {{'price': 1}}\n{CORRECTED}\n```"
UNSET = "[ ]:"


def code(text: str) -> bytes:
    return canonical(f"So:\n\n```python\n{text}\n```")


@pytest.fixture(scope="module", params=["lab", "notebook"])
def server(request: pytest.FixtureRequest) -> Iterator[JupyterServer]:
    server = JupyterServer(request.param, COMETAPI_KEY=SECRET, COMET_MAGIC_REPLAY="never")
    yield server
    server.close()


@pytest.fixture
def opened(server: JupyterServer, page: Page, request: pytest.FixtureRequest) -> Callable[..., OpenNotebook]:
    """Open a notebook of its own, and so with a kernel of its own, in each test."""
    return lambda *cells: OpenNotebook(page, server, list(cells), f"{request.node.name}.ipynb")


def settle(page: Page) -> None:
    """What happens within half a second is undone together."""
    page.wait_for_timeout(1_000)


def sources(notebook: OpenNotebook) -> list[str]:
    found: list[str] = notebook.page.evaluate(SOURCES)
    return found


def expect_sources(notebook: OpenNotebook, *expected: str) -> None:
    script = f"expected => JSON.stringify({SOURCES}) === expected"
    try:
        notebook.page.wait_for_function(script, arg=json.dumps(expected, separators=(",", ":")), timeout=20_000)
    except Exception:
        assert sources(notebook) == list(expected)


def edit(notebook: OpenNotebook, index: int, text: str) -> None:
    notebook.cells.nth(index).locator(".cm-content").click()
    notebook.page.keyboard.press("Control+End")
    notebook.page.keyboard.type(text)


def test_code_is_replaced_in_place_unless_it_was_edited(opened: Callable[..., OpenNotebook], page: Page) -> None:
    ask = "%%claude --code --alone\nHow?"
    with WireServer(code("a = 1"), code("a = 2"), code("a = 3"), code("a = 4")) as wire:
        load = LOAD.format(url=wire.url)
        notebook = opened(load, ask, "mine = 1")
        notebook.run(0)
        notebook.run(1)
        expect_sources(notebook, load, ask, "a = 1", "mine = 1")
        notebook.run(1)
        expect_sources(notebook, load, ask, "a = 2", "mine = 1")
        edit(notebook, 2, " + 1")
        notebook.run(1)
        expect_sources(notebook, load, ask, "a = 3", "a = 2 + 1", "mine = 1")
        expect(notebook.output(1)).to_contain_text(
            "If the cell with the former code is still there, you can delete it."
        )
        settle(page)
        notebook.run(1)
        expect_sources(notebook, load, ask, "a = 4", "a = 2 + 1", "mine = 1")
        # The cell is deleted as by hand: that can be undone.
        page.keyboard.press("Escape")
        page.keyboard.press("z")
        page.wait_for_function(f"{SOURCES}.includes('a = 3')")


def button(notebook: OpenNotebook, index: int, label: str) -> Locator:
    return notebook.cells.nth(index).locator(".jp-cell-toolbar").get_by_role("button", name=label, exact=True)


def test_fix_by_mouse(opened: Callable[..., OpenNotebook], page: Page) -> None:
    with WireServer(canonical(FIXED)) as wire:
        load = LOAD.format(url=wire.url)
        notebook = opened(load, "x = 1", FAILS, "z = 1")
        notebook.run(0)
        notebook.run(1)
        notebook.cells.nth(1).locator(".cm-content").click()
        expect(button(notebook, 1, "Fix")).to_be_hidden()
        notebook.run(2)
        notebook.cells.nth(2).locator(".cm-content").click()
        number = notebook.cells.nth(2).locator(".jp-InputPrompt").inner_text().strip("[]:")
        button(notebook, 2, "Fix").click()
        asked, corrected = f"%claude_fix --cell {number}", f"# replaces: \"df = {{'price': 1}}\"\n{CORRECTED}"
        expect_sources(notebook, load, "x = 1", FAILS, asked, corrected, "z = 1")
        expect(notebook.output(3)).to_contain_text("A typo.")
        button(notebook, 2, "Replace").click()
        expect_sources(notebook, load, "x = 1", CORRECTED, asked, "z = 1")
        expect(notebook.cells.nth(2).locator(".jp-InputPrompt")).to_have_text(UNSET)
        expect(notebook.output(3)).to_contain_text("A typo.")
        expect(button(notebook, 2, "Fix")).to_be_hidden()
        expect(notebook.run(2)).to_contain_text("1")
        assert len(wire.received) == 1


def test_fix_in_two_keys_and_back(opened: Callable[..., OpenNotebook], page: Page) -> None:
    with WireServer(canonical(FIXED)) as wire:
        load = LOAD.format(url=wire.url)
        notebook = opened(load, FAILS, "y = 1")
        notebook.run(0)
        notebook.run(1)  # the cell below is the active one then
        page.keyboard.press("Alt+Shift+F")
        page.wait_for_function(f"{SOURCES}.length === 5")
        expect(notebook.output(2)).to_contain_text("New code was put into the cell below")
        settle(page)
        page.keyboard.press("Alt+Shift+F")
        page.wait_for_function(f"{SOURCES}.length === 4")
        assert sources(notebook)[1] == CORRECTED
        settle(page)
        page.keyboard.press("Escape")
        page.keyboard.press("z")
        page.wait_for_function(f"{SOURCES}.length === 5 && {SOURCES}[1].includes('prise')")


def test_a_cell_that_has_changed_is_not_replaced(opened: Callable[..., OpenNotebook], page: Page) -> None:
    with WireServer(canonical(FIXED)) as wire:
        load = LOAD.format(url=wire.url)
        notebook = opened(load, FAILS, "y = 1")
        notebook.run(0)
        notebook.run(1)
        page.keyboard.press("Alt+Shift+F")
        page.wait_for_function(f"{SOURCES}.length === 5")
        edit(notebook, 1, "  # mine")
        page.keyboard.press("Alt+Shift+F")
        expect(page.locator("body")).to_contain_text("That cell has changed since")
        assert sources(notebook)[1] == f"{FAILS}  # mine"
        assert len(sources(notebook)) == 5


def test_without_the_extension_it_says_what_to_do(opened: Callable[..., OpenNotebook], page: Page) -> None:
    notebook = opened("1 / 0", "y = 1")
    notebook.run(0)
    page.keyboard.press("Alt+Shift+F")
    expect(page.locator("body")).to_contain_text("run %load_ext comet_magic")
    assert len(sources(notebook)) == 2


def test_ask_about_a_cell(opened: Callable[..., OpenNotebook], page: Page) -> None:
    with WireServer(canonical("It adds.")) as wire:
        load = LOAD.format(url=wire.url)
        notebook = opened(load, "1 + 1", "y = 1")
        notebook.run(0)
        notebook.run(1)
        notebook.cells.nth(1).locator(".cm-content").click()
        page.keyboard.press("Control+Shift+C")
        palette: Any = page.locator(".lm-CommandPalette-input, .jp-ModalCommandPalette input").last
        palette.fill("Ask about this cell")
        page.keyboard.press("Enter")
        page.wait_for_function(f"{SOURCES}.length === 4")
        number = notebook.cells.nth(1).locator(".jp-InputPrompt").inner_text().strip("[]:")
        expect(notebook.cells.nth(2).locator(".cm-editor.cm-focused")).to_have_count(1)
        page.keyboard.type("What is it?")
        assert sources(notebook)[2] == f"%%claude\nWhat is it?\n{{{{cells[{number}]}}}}"
        expect(notebook.run(2)).to_contain_text("It adds.")
        assert "1 + 1" in str(wire.received[0].json["messages"])
