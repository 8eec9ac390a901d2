"""The panel in real pages: what a hand moves arrives in the kernel, what the kernel changes is seen, the key is nowhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from lab import SECRET, JupyterServer, OpenNotebook
from playwright.sync_api import Locator, Page, expect
from wire_server import HOLD, WireServer, block, canonical, delta, reply, start, stream

TYPED = "sk-typed-HIDDENHIDDEN-77aa"
MODELS = reply({"data": [{"id": "claude-opus-5"}, {"id": "claude-x"}]})
READ = "from comet_magic import CometSettings\ns = CometSettings.instance()\nprint(s.model, s.max_tokens, s.temperature, s.stream, s.system)"


def answers(received: Any) -> Any:
    return MODELS if received.line.startswith("GET") else canonical()


def load(server: WireServer) -> str:
    return f"%load_ext comet_magic\n%config CometSettings.endpoint = {server.url!r}"


def box(output: Locator, label: str) -> Locator:
    """The text box, number box or list behind a label."""
    return (
        output.locator(".jupyter-widgets", has=output.page.get_by_text(label, exact=True))
        .last.locator("input, select, textarea")
        .first
    )


def printed(notebook: OpenNotebook, index: int) -> Locator:
    return notebook.run(index).locator("pre")


@pytest.fixture(params=["lab", "notebook"])
def open_in(request: pytest.FixtureRequest, page: Page) -> Any:
    server: JupyterServer = request.getfixturevalue(f"{request.param}_server")

    def open_notebook(*cells: str) -> OpenNotebook:
        name = re.sub(r"\W", "-", request.node.name)
        return OpenNotebook(page, server, list(cells), f"{name}.ipynb")

    return open_notebook


def test_mouse_and_keyboard_change_the_settings_and_the_next_request(open_in: Any, page: Page) -> None:
    with WireServer(answers) as server:
        notebook: OpenNotebook = open_in(load(server), "%claude_panel", READ, "%%claude\nhi", READ)
        notebook.run(0)
        output = notebook.run(1)
        expect(output.get_by_text("claude-sonnet-4-6 · 1M context")).to_be_visible()
        model = box(output, "Model")
        model.fill("claude-x")  # by keyboard
        model.press("Tab")
        number = box(output, "Max tokens")
        number.fill("1234")
        number.press("Enter")
        output.locator(".noUi-base").first.click(position={"x": 5, "y": 2})  # by mouse
        expect(number).not_to_have_value("1234")
        number.fill("1234")
        number.press("Enter")
        output.get_by_text("Stream", exact=True).click()
        output.get_by_text("send", exact=True).click()
        expect(output.get_by_text("nothing is known of this model")).to_be_visible()
        box(output, "System").fill("be brief")
        expect(printed(notebook, 2)).to_have_text("claude-x 1234 0.7 False be brief\n")
        expect(notebook.run(3)).to_contain_text("4")
        asked = server.received[-1].json
        assert (asked["model"], asked["max_tokens"], asked["temperature"], asked["system"]) == (
            "claude-x",
            1234,
            0.7,
            "be brief",
        )
        assert "stream" not in asked
        expect(output.get_by_text("1 reply · 11 in · 5 out")).to_be_visible()


def test_a_cell_moves_the_controls_of_every_panel(open_in: Any) -> None:
    with WireServer(answers) as server:
        change = "%config CometSettings.model = 'opus'\n%config CometSettings.max_tokens = 77\n%config CometSettings.effort = 'low'"
        notebook: OpenNotebook = open_in(
            load(server), "import comet_magic\np = comet_magic.panel()\np", "p", change, "%%claude -m haiku\nhi"
        )
        notebook.run(0)
        first, second = notebook.run(1), notebook.run(2)
        notebook.run(3)
        notebook.run(4)  # a flag moves nothing
        for output in (first, second):
            expect(box(output, "Model")).to_have_value("opus")
            expect(box(output, "Max tokens")).to_have_value("77")
            expect(box(output, "Effort")).to_have_value("low")
            expect(output.get_by_text("claude-opus-5 · 1M context")).to_be_visible()
            expect(output.get_by_title("claude-opus-5 refuses a temperature").first).to_be_attached()
        assert server.received[-1].json["model"] == "claude-haiku-4-5-20251001"


def test_a_value_out_of_range_is_refused(open_in: Any) -> None:
    with WireServer(answers) as server:
        notebook: OpenNotebook = open_in(load(server), "%claude_panel", READ)
        notebook.run(0)
        output = notebook.run(1)
        number = box(output, "Max tokens")
        number.fill("999999")
        number.press("Enter")
        expect(
            output.get_by_text("max_tokens stays 4096: 999,999 is more than the model's 128,000 tokens")
        ).to_be_visible()
        expect(number).to_have_value("4096")
        expect(printed(notebook, 2)).to_have_text("sonnet 4096 None True \n")


def test_a_typed_key_is_used_and_is_nowhere(open_in: Any, page: Page) -> None:
    with WireServer(answers) as server:
        notebook: OpenNotebook = open_in(load(server), "%claude_panel", "%%claude\nhi")
        notebook.run(0)
        output = notebook.run(1)
        expect(output.get_by_text("Key: found in COMETAPI_KEY, ends …f3a9")).to_be_visible()
        field = output.locator("input[type=password]")
        field.fill(TYPED)
        field.press("Enter")
        expect(output.get_by_text("Key: found in the panel, ends …77aa")).to_be_visible()
        expect(field).to_have_value("")
        notebook.run(2)
        assert server.received[-1].header("authorization") == f"Bearer {TYPED}"
        output.get_by_role("button", name="Test").click()
        expect(
            output.get_by_text("key accepted · warning: claude-sonnet-4-6 is not in its list of 2 models")
        ).to_be_visible()
        page.evaluate("() => window.jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState')")
        saved = notebook.save()
        for secret in (TYPED, SECRET, "HIDDENHIDDEN"):
            assert secret not in saved
            assert secret not in page.content()


def test_a_change_while_a_cell_runs_is_for_the_next_one(open_in: Any) -> None:
    def script(received: Any) -> Any:
        if received.line.startswith("GET"):
            return MODELS
        return stream(start(), block(), delta("Hello"), end=[HOLD]) if len(asked(server)) == 1 else canonical()

    def asked(server: WireServer) -> list[Any]:
        return [received for received in server.received if received.line.startswith("POST")]

    with WireServer(script) as server:
        notebook: OpenNotebook = open_in(load(server), "%claude_panel", "%%claude\nhi", "%%claude\nhi")
        notebook.run(0)
        panel = notebook.run(1)
        running = notebook.start(2)
        expect(running).to_contain_text("Hello")
        model = box(panel, "Model")
        model.fill("claude-x")
        model.press("Tab")
        notebook.interrupt()
        expect(running).to_contain_text("stopped by you")
        notebook.run(3)
        assert [received.json["model"] for received in asked(server)] == ["claude-sonnet-4-6", "claude-x"]


def test_reopened_without_a_kernel_a_table_stands_there(opened: Any, page: Page) -> None:
    with WireServer(answers) as server:
        notebook: OpenNotebook = opened(load(server), "%claude_panel")
        notebook.run(0)
        output = notebook.run(1)
        expect(output.get_by_text("claude-sonnet-4-6 · 1M context")).to_be_visible()
        expect(output.locator(".comet-settings")).to_be_hidden()
        notebook.save()
    notebook.reopen_without_kernel()
    output = notebook.output(1)
    expect(output.locator(".comet-settings")).to_be_visible()
    expect(output.get_by_text("%config CometSettings.max_tokens = …")).to_be_visible()
    assert "rror displaying widget" not in output.inner_text()
    assert SECRET not in page.content()


@pytest.mark.parametrize("width", [520, 1200])  # 520 leaves 400 for the output
def test_it_fits_the_page(opened: Any, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 1100})
    with WireServer(answers) as server:
        notebook: OpenNotebook = opened(load(server), "%claude_panel")
        page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
        notebook.run(0)
        output = notebook.run(1)
        panel = output.locator(".comet-panel")
        expect(panel).to_be_visible()
        wide = panel.evaluate("panel => [panel.scrollWidth, panel.clientWidth]")
        assert wide[0] <= wide[1] + 1
        outer = panel.bounding_box()
        assert outer is not None
        for control in panel.locator("input, select, textarea, button").all():
            if inner := control.bounding_box():
                assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1


def test_tab_goes_through_the_controls_in_order(opened: Any, page: Page) -> None:
    with WireServer(answers) as server:
        notebook: OpenNotebook = opened(load(server), "%claude_panel")
        notebook.run(0)
        output = notebook.run(1)
        box(output, "Model").focus()
        tops = []
        for _ in range(12):
            at = page.evaluate(
                "() => { const b = document.activeElement.getBoundingClientRect(); return b.top + b.height / 2 }"
            )
            tops.append(round(at / 20))
            page.keyboard.press("Tab")
        assert tops == sorted(tops)
        assert len(set(tops)) >= 6
