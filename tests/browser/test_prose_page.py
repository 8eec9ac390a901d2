"""Prompts that read as prose, in JupyterLab and Notebook 7, in the newest versions and the oldest that are supported."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from lab import JupyterServer, OpenNotebook
from playwright.sync_api import Browser, Page, expect

from comet_magic.describe.template import Reference, _Scan
from comet_magic.errors import ConfigError

ROOT = Path(__file__).parents[2]
FILE = ROOT / "labextension" / "static" / "prose.js"
OLDEST = ("jupyterlab==4.2.*", "notebook==7.2.*", "ipykernel", "ipywidgets>=8.1")
ORDINARY = "for i in range(3):\n    print(i is None, 'it is' in \"a string\")"
PROMPT = """%%claude -m opus --as list[City] -o answer
What isn't {{df.query("x > 3")}}? **Why** not? It's $5 or $10.

```python
for x in {{df.columns}}:
    print("it's", x)
```

So is \\{{this}}."""
LONG_LINE = "%%claude\n" + "In our data there is a column that is not what it seems. " * 8
TYPES = "window.jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.mimeType)"
PYTHON, PROSE = "text/x-ipython", "text/x-comet-prompt"
# The text of each span of a cell's editor, with the colour and the weight in which it is shown.
SPANS = """cell => Array.from(cell.querySelectorAll('.cm-line span'), span => {
  const style = getComputedStyle(span);
  return [span.textContent, style.color, style.fontWeight];
})"""


@pytest.fixture(scope="session")
def oldest_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment with JupyterLab 4.2 and Notebook 7.2, kept between runs."""
    place = ROOT / "build" / "lab42"
    python = place / "bin" / "python"
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        if uv := shutil.which("uv"):
            subprocess.run([uv, "venv", "-q", "--python", sys.executable, place], check=True)
            subprocess.run([uv, "pip", "install", "-q", "--python", python, *OLDEST, "-e", ROOT], check=True)
        else:
            venv.create(place, with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "-qq", *OLDEST, "-e", ROOT], check=True)
        (place / "ready").touch()
    return str(python)


@pytest.fixture(scope="module", params=["lab", "notebook", "lab 4.2", "notebook 7.2"])
def server(request: pytest.FixtureRequest) -> Iterator[JupyterServer]:
    app, _, old = request.param.partition(" ")
    python = request.getfixturevalue("oldest_python") if old else sys.executable
    closing = {"@jupyterlab/notebook-extension:tracker": {"codeCellConfig": {"autoClosingBrackets": True}}}
    server = JupyterServer(app, python, settings=closing)
    yield server
    server.close()


def expect_highlighted(notebook: OpenNotebook, index: int, last: str) -> None:
    """Wait until the last span of a cell is this: the editor colours a cell in pieces, whenever it has time."""
    expect(notebook.cells.nth(index).locator(".cm-line span").last).to_have_text(last)


def spans(notebook: OpenNotebook, index: int) -> list[list[str]]:
    found: list[list[str]] = notebook.cells.nth(index).locator(".cm-editor").evaluate(SPANS)
    return found


def colour(notebook: OpenNotebook, index: int, text: str) -> tuple[str, str] | None:
    """The colour and weight of a span; None where the text is in none, and so looks as plain text does."""
    return next(((colour, weight) for shown, colour, weight in spans(notebook, index) if shown == text), None)


def expect_types(notebook: OpenNotebook, *types: str) -> None:
    notebook.page.wait_for_function(
        f"types => JSON.stringify({TYPES}) === types", arg=json.dumps(types, separators=(",", ":"))
    )


def test_a_prompt_reads_as_prose(server: JupyterServer, page: Page) -> None:
    notebook = OpenNotebook(
        page, server, [ORDINARY, PROMPT, LONG_LINE, "\n\n%%time\n%%claude\nIt isn't", "%%claudette\nx is 1"]
    )
    expect_types(notebook, PYTHON, PROSE, PROSE, PROSE, PYTHON)
    expect(notebook.cells.nth(1).locator(".cm-content")).to_contain_text("isn't")
    expect_highlighted(notebook, 0, ")")
    expect_highlighted(notebook, 1, "```")
    string, keyword = colour(notebook, 0, '"a string"'), colour(notebook, 0, "for")
    assert string
    assert keyword
    shown = [text for text, _, _ in spans(notebook, 1)]
    assert "%%claude" in shown
    assert {"-m", "--as", "-o"} <= set(shown)
    # Within a reference there is Python, also within a fence; the apostrophes of the prose open no text.
    assert colour(notebook, 1, '"x > 3"') == string
    assert colour(notebook, 1, '"it\'s"') == string
    assert colour(notebook, 1, "for") == keyword
    assert not [text for text, colour, _ in spans(notebook, 1) if "t " in text and colour == string[0]]
    assert shown.count("{{") == shown.count("}}") == 2
    assert not any("$5" in text or "\\{{" in text for text in shown)
    assert not [text for text, _, _ in spans(notebook, 4) if "%%claude" in text and text == "%%claude"]
    wrapped = [cell.locator(".cm-lineWrapping").count() for cell in notebook.cells.all()]
    assert wrapped == [0, 1, 1, 1, 0]
    assert notebook.cells.nth(2).bounding_box()["height"] > 80


def test_other_cells_and_the_file_are_as_without_it(server: JupyterServer, page: Page, chromium: Browser) -> None:
    cells = [ORDINARY, PROMPT, "x = {'a': 1}"]
    python = server._python
    without = JupyterServer(server.app, python, labextension=None)
    try:
        shown, saved = [], []
        for one in (server, without):
            notebook = OpenNotebook(page, one, cells, "same.ipynb")
            expect_highlighted(notebook, 0, ")")
            expect_highlighted(notebook, 2, "}")
            shown.append([spans(notebook, 0), spans(notebook, 2)])
            notebook.cells.nth(2).locator(".cm-content").click()
            page.keyboard.type("y")
            saved.append(json.loads(notebook.save()))
        expect_types(notebook, PYTHON, PYTHON, PYTHON)
    finally:
        without.close()
    assert shown[0] == shown[1]
    for notebook_file in saved:
        for cell in notebook_file["cells"]:
            del cell["id"]
    assert saved[0] == saved[1]


def test_typing_into_a_prompt_and_out_of_it(server: JupyterServer, page: Page) -> None:
    notebook = OpenNotebook(page, server, ["", "x = 1"])
    editor = notebook.cells.first.locator(".cm-content")
    editor.click()
    page.keyboard.type("%%claude")
    expect_types(notebook, PROSE, PYTHON)
    expect(notebook.cells.first.locator(".cm-lineWrapping")).to_have_count(1)
    page.keyboard.type("\nDo this:\nIt isn't (\"['{{a")
    # Brackets and quotes are not closed in prose, and a colon indents nothing.
    source = "() => window.jupyterapp.shell.currentWidget.content.widgets[0].model.sharedModel.getSource()"
    assert page.evaluate(source) == "%%claude\nDo this:\nIt isn't (\"['{{a"
    page.wait_for_timeout(1_000)  # what is typed within half a second is undone together
    page.keyboard.press("Control+Home")
    page.keyboard.press("Delete")
    expect_types(notebook, PYTHON, PYTHON)
    page.keyboard.press("Control+z")
    expect_types(notebook, PROSE, PYTHON)
    # Copied, pasted, turned into Markdown and back, and behind a restart.
    page.keyboard.press("Escape")
    for key in ("c", "v"):
        page.keyboard.press(key)
    expect_types(notebook, PROSE, PROSE, PYTHON)
    page.keyboard.press("m")
    expect(notebook.cells).to_have_count(2)
    page.keyboard.press("y")
    expect_types(notebook, PROSE, PROSE, PYTHON)
    page.evaluate("async () => { await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart() }")
    notebook.run(2)
    expect_types(notebook, *[PROSE, PROSE, PYTHON, PYTHON][: notebook.cells.count()])
    # The Python cell beside it closes brackets as ever.
    notebook.cells.nth(2).locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.type("\nf(")
    cell = "() => window.jupyterapp.shell.currentWidget.content.widgets[2].model.sharedModel.getSource()"
    assert page.evaluate(cell) == "x = 1\nf()"


def broken(folder: Path, text: str) -> Path:
    """The extension with that in its file."""
    place = folder / "broken"
    shutil.copytree(ROOT / "labextension", place)
    package = json.loads((place / "package.json").read_text())
    (place / "package.json").write_text(json.dumps({**package, "version": "0"}))
    (place / "static" / "prose.js").write_text(text)
    return place


FAILURES = {
    "a syntax error": "(() => {",
    "a module that is gone": FILE.read_text("utf-8").replace("@jupyterlab/codemirror", "@jupyterlab/gone"),
    "a module that is gone at the first prompt": FILE.read_text("utf-8").replace("@lezer/highlight", "@lezer/gone"),
}


@pytest.mark.parametrize("text", FAILURES.values(), ids=FAILURES)
def test_a_broken_one_leaves_the_application_as_it_is(page: Page, tmp_path: Path, text: str) -> None:
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    server = JupyterServer("lab", labextension=broken(tmp_path, text))
    try:
        notebook = OpenNotebook(page, server, ["print(6 * 7)", "%%claude\nIt is"])
        expect(notebook.run(0)).to_contain_text("42")
        expect(notebook.cells.nth(1).locator(".cm-content")).to_contain_text("It is")
    finally:
        server.close()
    assert errors, "nobody would find out why"


# ---- the same spans as what is sent


def cases() -> list[str]:
    """Prompts made by hand, and from pieces in which braces, quotes and brackets meet."""
    made = [
        "{{a}}", r"\{{a}}", "{{}}", "{{ }}", "{{a}} and {{b.c[0]}}", '{{d["}}"]}}', "{{ {1: {2: 3}} }}", "{{{1: 2}}}",
        "{{# x}}", "{{a # x}}", "{{a\n+ b}}", "{{a b}} {{c}}", "{{ {{a}} }}", "{{f'{x}'}}", "{{'''}}'''}}", "{{lambda: 1}}",
        "{{x := 1}}", "{{a, b}}", "{{*a}}", "{{a for a in b}}", "{{a=1}}", "{{a); (b}}", "{{a) + (b}}", "{{'it\\'s'}}",
        "{{'open}}", '{{r"\\"}}', "{{b'x'}}", "{{1 if x else 2}}", "{{await x}}", "{{a; b}}", "{{return}}", "{{not x}}",
        "text {{a}", "{{a}}}}", "{{{{a}}}}", "{{a.b.c(d=[1, 2], **e)}}", "{{x[1:2, ::3]}}", "{{...}}", "{{0x1F + 1_000j}}",
    ]  # fmt: skip
    parts = [
        "{{",
        "}}",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "'",
        '"',
        "a",
        "b.c",
        " ",
        "\n",
        "\\",
        ",",
        "1",
        "'x'",
        '"}}"',
        "+",
    ]
    parts += ["{{a", "b}}", "{{a}}", "(b)"] * 3
    mixed = random.Random(17)
    return [*made, *("".join(mixed.choices(parts, k=mixed.randint(3, 14))) for _ in range(4000))]


class Spans(_Scan):
    """Notes where each reference begins and ends that is found in what is sent."""

    def __init__(self, prompt: str) -> None:
        super().__init__(prompt)
        self.found: list[list[int]] = []

    def _closed(self, start: int, end: int) -> tuple[Reference, int] | None:
        closed = super()._closed(start, end)
        if closed:
            self.found.append([start - 2, closed[1]])
        return closed


def sent_spans(prompt: str) -> list[list[int]] | None:
    """The references of what is sent; None for a prompt that is refused."""
    scan = Spans(prompt)
    try:
        scan.pieces()
    except ConfigError:
        return None
    return scan.found


# Keeps what the application shares with the extension.
SHARED = """window._JUPYTERLAB = new Proxy({}, {
  set(extensions, name, value) {
    const init = value.init;
    value.init = scope => { if (name === 'comet_magic') window.shareScope = scope; return init(scope); };
    extensions[name] = value;
    return true;
  }
});"""
REFERENCES = """async prompts => {
  const versions = Object.values(window.shareScope['@codemirror/language']);
  const { language } = (await (versions.find(one => one.loaded) ?? versions[0]).get())();
  const state = window.jupyterapp.shell.currentWidget.content.widgets[0].editor.editor.state;
  const { parser } = state.facet(language);
  return prompts.map(prompt => {
    const tree = parser.parse(`%%claude\\n${prompt}`);
    const braces = tree.children.flatMap((node, at) => node.type.name === 'Brace' ? [tree.positions[at]] : []);
    return braces.flatMap((from, at) => at % 2 ? [] : [[from - 9, braces[at + 1] + 2 - 9]]);
  });
}"""


def test_the_same_references_as_in_what_is_sent(page: Page, lab_server: JupyterServer) -> None:
    page.add_init_script(SHARED)
    notebook = OpenNotebook(page, lab_server, ["%%claude\n{{a}}"])
    expect_highlighted(notebook, 0, "}}")
    prompts = [prompt for prompt in cases() if sent_spans(prompt) is not None]
    assert len(prompts) > 3000
    found = notebook.page.evaluate(REFERENCES, prompts)
    differ = [
        (prompt, ours, theirs)
        for prompt, theirs in zip(prompts, found, strict=True)
        if (ours := sent_spans(prompt)) != theirs
    ]
    assert not differ, differ[:5]
    assert sum(map(bool, found)) > 300


KEYSTROKES = """([index, count]) => {
  const view = window.jupyterapp.shell.currentWidget.content.widgets[index].editor.editor;
  const middle = Math.floor(view.state.doc.length / 2);
  const times = [];
  for (let at = 0; at < count; at++) {
    const began = performance.now();
    view.dispatch({changes: {from: middle, insert: 'x'}});
    times.push(performance.now() - began);
  }
  return times;
}"""


@pytest.mark.parametrize(
    "text", ["It isn't `so`, and {{df.x}} is\n" * 300, "It isn't `so`, and {{df.x}} is not.\n" * 3000]
)
def test_a_key_takes_no_longer_than_three_times_as_in_a_python_cell(
    page: Page, lab_server: JupyterServer, text: str
) -> None:
    """It is about as long; the bound is wide, for machines are noisy. Both are measured in turns, on one page."""
    notebook = OpenNotebook(page, lab_server, [f"%%claude\n{text}", f"%%claudX\n{text}"])
    expect_types(notebook, PROSE, PYTHON)
    page.evaluate(KEYSTROKES, [0, 5])
    page.evaluate(KEYSTROKES, [1, 5])
    times: list[list[float]] = [[], []]
    for _ in range(5):
        for index in (0, 1):
            times[index] += page.evaluate(KEYSTROKES, [index, 10])
    assert median(times[0]) <= 3 * median(times[1]) + 5, [median(one) for one in times]
