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


def begun(opened: Callable[..., OpenNotebook], wire: WireServer, *cells: str) -> tuple[str, OpenNotebook]:
    """A notebook in which the extension was loaded and the first of these cells was run; and the cell that loads it."""
    load = LOAD.format(url=wire.url)
    notebook = opened(load, *cells)
    notebook.run(0)
    notebook.run(1)
    return load, notebook


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
        load, notebook = begun(opened, wire, ask, "mine = 1")
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
        load, notebook = begun(opened, wire, "x = 1", FAILS, "z = 1")
        notebook.cells.nth(1).locator(".cm-content").click()
        expect(button(notebook, 1, "Fix")).to_be_hidden()
        notebook.run(2)
        notebook.cells.nth(2).locator(".cm-content").click()
        number = notebook.cells.nth(2).locator(".jp-InputPrompt").inner_text().strip("[]:")
        button(notebook, 2, "Fix").click()
        asked, corrected = f"%claude_fix --cell {number}", f"# replaces: \"df = {{'price': 1}}\"\n{CORRECTED}"
        expect_sources(notebook, load, "x = 1", FAILS, asked, corrected, "z = 1")
        expect(notebook.output(3)).to_contain_text("A typo.")
        notebook.wait(3)
        button(notebook, 2, "Replace").click()
        expect_sources(notebook, load, "x = 1", CORRECTED, asked, "z = 1")
        expect(notebook.cells.nth(2).locator(".jp-InputPrompt")).to_have_text(UNSET)
        expect(notebook.output(3)).to_contain_text("A typo.")
        expect(button(notebook, 2, "Fix")).to_be_hidden()
        expect(notebook.run(2)).to_contain_text("1")
        assert len(wire.received) == 1


def test_fix_in_two_keys_and_back(opened: Callable[..., OpenNotebook], page: Page) -> None:
    with WireServer(canonical(FIXED)) as wire:
        _, notebook = begun(opened, wire, FAILS, "y = 1")  # the cell below is the active one then
        page.keyboard.press("Alt+Shift+F")
        page.wait_for_function(f"{SOURCES}.length === 5")
        expect(notebook.output(2)).to_contain_text("New code was put into the cell below")
        notebook.wait(2)
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
        _, notebook = begun(opened, wire, FAILS, "y = 1")
        page.keyboard.press("Alt+Shift+F")
        page.wait_for_function(f"{SOURCES}.length === 5")
        notebook.wait(2)
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
        _, notebook = begun(opened, wire, "1 + 1", "y = 1")
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


def metadata_of(page: Page, index: int, name: str, value: object) -> None:
    script = "([at, name, value]) => window.jupyterapp.shell.currentWidget.content.widgets[at].model.setMetadata(name, value)"
    page.evaluate(script, [index, name, value])


def set_source(page: Page, index: int, source: str) -> None:
    widget = "window.jupyterapp.shell.currentWidget.content.widgets[at]"
    page.evaluate(f"([at, source]) => {widget}.model.sharedModel.setSource(source)", [index, source])


def test_your_own_text_below_a_failed_cell_stays(opened: Callable[..., OpenNotebook], page: Page) -> None:
    with WireServer(canonical("No code."), canonical(FIXED)) as wire:
        _, notebook = begun(opened, wire, FAILS, "y = 1")
        page.keyboard.press("Alt+Shift+F")
        page.wait_for_function(f"{SOURCES}.length === 4")
        expect(notebook.output(2)).to_contain_text("No code.")
        notebook.wait(2)  # its text is there before its execution has ended
        set_source(page, 2, "mine = 'hours of work'")
        page.keyboard.press("Alt+Shift+F")
        page.wait_for_function(f"{SOURCES}.length === 6")
        assert "mine = 'hours of work'" in sources(notebook)


def test_another_cell_with_the_same_source_is_not_replaced(opened: Callable[..., OpenNotebook], page: Page) -> None:
    with WireServer(canonical(FIXED)) as wire:
        load, notebook = begun(opened, wire, FAILS, FAILS)  # its twin is the active cell then
        page.keyboard.press("Alt+Shift+F")
        page.wait_for_function(f"{SOURCES}.length === 5")
        expect(notebook.output(2)).to_contain_text("New code was put into the cell below")
        notebook.wait(2)
        edit(notebook, 1, "  # mine")
        page.keyboard.press("Alt+Shift+F")
        expect(page.locator("body")).to_contain_text("That cell has changed since")
        assert sources(notebook)[4] == FAILS
        set_source(page, 1, FAILS)
        set_source(page, 3, "")
        page.keyboard.press("Alt+Shift+F")
        page.wait_for_timeout(500)
        assert sources(notebook)[1] == FAILS  # it is not made empty
        set_source(page, 3, CORRECTED)
        metadata_of(page, 1, "editable", False)
        page.keyboard.press("Alt+Shift+F")
        page.wait_for_timeout(500)
        assert sources(notebook)[1] == FAILS  # it is locked
        metadata_of(page, 1, "editable", True)
        notebook.cells.nth(4).locator(".cm-content").click()
        page.keyboard.press("Alt+Shift+F")
        expect_sources(notebook, load, CORRECTED, sources(notebook)[2], FAILS)


def test_a_failure_of_a_former_kernel_is_not_asked_about(opened: Callable[..., OpenNotebook], page: Page) -> None:
    with WireServer(canonical(FIXED)) as wire:
        _, notebook = begun(opened, wire, FAILS, "1 / 0", "y = 1")
        page.evaluate(
            "async () => { await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart() }"
        )
        notebook.run(0)
        notebook.run(2)
        notebook.cells.nth(1).locator(".cm-content").click()
        page.keyboard.press("Alt+Shift+F")
        expect(page.locator("body")).to_contain_text("knows only its latest failure")
        assert wire.received == []


def test_a_cell_that_waits_to_be_run_and_a_locked_one_are_not_deleted(
    opened: Callable[..., OpenNotebook], page: Page
) -> None:
    ask = "%%claude --code --alone\nHow?"
    with WireServer(code("a = 1"), code("a = 2"), code("a = 3")) as wire:
        load, notebook = begun(opened, wire, ask, "print('a is', a)")
        expect_sources(notebook, load, ask, "a = 1", "print('a is', a)")
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        expect_sources(notebook, load, ask, "a = 2", "a = 1", "print('a is', a)")
        expect(notebook.output(4)).to_contain_text("a is 1")
        metadata_of(page, 2, "deletable", False)
        notebook.run(1)
        expect_sources(notebook, load, ask, "a = 3", "a = 2", "a = 1", "print('a is', a)")


def test_an_error_of_our_own_has_no_button(opened: Callable[..., OpenNotebook], page: Page) -> None:
    notebook = opened("%load_ext comet_magic", "%claude_history --nope", "1 / 0")
    for index in range(3):
        notebook.run(index)
    notebook.cells.nth(1).locator(".cm-content").click()
    expect(notebook.cells.nth(1).locator(".jp-cell-toolbar")).to_be_visible()
    expect(button(notebook, 1, "Fix")).to_be_hidden()
    notebook.cells.nth(2).locator(".cm-content").click()
    expect(button(notebook, 2, "Fix")).to_be_visible()
