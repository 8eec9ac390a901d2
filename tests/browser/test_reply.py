"""A reply in JupyterLab: it streams in, stays, stops, and runs nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from lab import SECRET, JupyterServer, OpenNotebook
from playwright.sync_api import Page, expect
from wire_server import HOLD, LAST_CHUNK, WireServer, block, canonical, chunk, delta, reply, start, stop, stream

from comet_magic.render.markdown import safe_markdown

TEXT = """# Hello

Some **bold** text, inline $e^{i\\pi}+1=0$, money from $5 to $9, and a block:

$$\\int_0^1 x^2\\,dx = \\tfrac13$$

```python
def f(x):
    return x + 1
```

| a | b |
|---|---|
| 1 | `c` |
"""


def load(server: WireServer) -> str:
    return f"%load_ext comet_magic\n%config CometSettings.endpoint = {server.url!r}"


def paced(text: str, size: int = 12, pause: float = 0.03) -> list[Any]:
    steps = [step for i in range(0, len(text), size) for step in (pause, chunk(delta(text[i : i + size])))]
    return [*stream(start(), block(), end=steps), chunk(stop()), LAST_CHUNK]


def test_a_reply_streams_in_and_stays(opened: Any) -> None:
    with WireServer(paced(TEXT)) as server:
        notebook: OpenNotebook = opened(load(server), "%%claude\nhi")
        notebook.run(0)
        output = notebook.start(1)
        shown = output.locator(".jp-RenderedMarkdown")
        expect(shown.locator("h1")).to_contain_text("Hello")
        expect(shown.locator("small")).to_have_text(
            re.compile(r"^◈ m · 11 in · 5 out · \d\.\d s · ≈ \$0\.00011 · session ≈ \$0\.00011 · sent to 127")
        )
        expect(shown.locator("pre span").first).to_be_visible()
        expect(shown.locator("mjx-container")).to_have_count(2)
        expect(shown).to_contain_text("money from $5 to $9")
        expect(shown.locator("td code")).to_have_text("c")
        expect(output.locator(".jp-OutputArea-child")).to_have_count(1)
        saved = notebook.save()
    assert SECRET not in saved
    notebook.reopen_without_kernel()
    expect(notebook.output(1).locator("h1")).to_contain_text("Hello")
    expect(notebook.output(1)).to_contain_text("11 in · 5 out")
    expect(notebook.output(1)).to_contain_text("money from $5 to $9")


def test_the_stop_button_keeps_what_came(opened: Any) -> None:
    with WireServer(stream(start(), block(), delta("Some **words**"), end=[HOLD]), canonical()) as server:
        notebook: OpenNotebook = opened(load(server), "%%claude\nhi", "%%claude\nhi")
        notebook.run(0)
        output = notebook.start(1)
        expect(output).to_contain_text("Some words")
        notebook.interrupt()
        expect(output).to_contain_text("stopped by you")
        expect(output).to_contain_text("Some words")
        expect(output).to_contain_text("KeyboardInterrupt: stopped by you")
        expect(notebook.run(2)).to_contain_text("4")


def test_an_error_is_two_lines(opened: Any) -> None:
    with WireServer(reply({"error": {"message": "no such model", "code": "model_not_found"}}, status=503)) as server:
        notebook: OpenNotebook = opened(load(server), "%%claude -m nope\nhi")
        notebook.run(0)
        output = notebook.run(1)
        expect(output).to_contain_text("APIError: 503 model_not_found: no such model")
        expect(output).to_contain_text("%claude_models lists what it does")
        assert len(output.inner_text().strip().splitlines()) == 2


HOSTILE = """<img src=x onerror="window.hit=1"> <svg onload="window.hit=2"></svg>
<iframe srcdoc="<script>parent.hit=3</script>"></iframe> <script>window.hit=4</script>
<details open ontoggle="window.hit=5"><summary>x</summary></details>

![a](URL/markdown) ![b][r] <img src="URL/html"> [safe](https://example.org)

[r]: URL/reference

[click](javascript:window.hit=6) [data](data:text/html,<script>window.hit=7</script>) <javascript:window.hit=8>

- ```
<img src=x onerror="window.hit=9">
- ```

| `a | <img src=x onerror="window.hit=10">` |
|---|---|

```
a $b
```
$x$
```
<img src=x onerror="window.hit=11">
```

$\\text{<img src=x onerror="window.hit=12">}$ \\begin{x} ` \\end{x} <img src=x onerror="window.hit=13"> `
"""


def test_a_hostile_reply_runs_and_fetches_nothing(opened: Any, page: Page) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    with WireServer(reply("gotcha", "image/png")) as trap, WireServer() as server:
        server.scripts.append(canonical(HOSTILE.replace("URL", trap.url)))
        notebook: OpenNotebook = opened(load(server), "%%claude\nhi")
        notebook.run(0)
        output = notebook.run(1)
        shown = output.locator(".jp-RenderedMarkdown")
        expect(shown).to_contain_text('<img src=x onerror="window.hit=1">')
        expect(shown.locator("small")).to_be_visible()
        for link in shown.locator("a").all():
            assert re.match(r"https?:|#|/", link.get_attribute("href") or "#"), link
        assert shown.locator("img, svg:not(mjx-container svg), iframe, script, [onload], [onerror]").count() == 0
        page.wait_for_timeout(500)
        assert page.evaluate("() => window.hit") is None
        assert trap.received == []
    assert not [text for text in said if "hit" in text]


RENDER = """async (texts) => {
  const rendermime = window.jupyterapp.shell.currentWidget.content.rendermime;
  const found = [];
  for (const text of texts) {
    const renderer = rendermime.createRenderer('text/markdown');
    document.body.appendChild(renderer.node);
    await renderer.renderModel(rendermime.createModel({data: {'text/markdown': text}, trusted: true}));
    const bad = renderer.node.querySelector(
      'img[onerror], script, iframe, svg[onload], [onclick], [onmouseover], [ontoggle], a[href^="javascript:"], a[href^="data:"]');
    if (bad) found.push([text, bad.outerHTML]);
    renderer.node.remove();
  }
  return found;
}"""


@pytest.mark.timeout(300)
def test_jupyterlabs_own_parser_finds_nothing_that_acts(opened: Any, page: Page) -> None:
    """The same mixtures as in test_markdown.py, through marked and JupyterLab's mathematics."""
    import random

    from hostile import FILES, FRAGMENTS, HOSTILE, TEX

    notebook: OpenNotebook = opened("1")
    fragments, dice = list(FRAGMENTS.elements), random.Random(20261122)  # type: ignore[attr-defined]
    texts = ["".join(dice.choice(fragments) for _ in range(dice.randint(2, 22))) for _ in range(800)]
    assert notebook.page.evaluate(RENDER, [safe_markdown(text) for text in [*HOSTILE, *FILES, *TEX, *texts]]) == []


DEFINITIONS = r"""\\(\def\alpha{EVILA}\\) &#36;\def\beta{EVILB}&#36; $\gdef\gamma{EVILC}$ $$\newcommand{\delta}{EVILD}$$

\begin{align}\def\epsilon{EVILE}}\end{align} &bsol;begin{align}\def\zeta{EVILF}&bsol;end{align} \[\let\eta\alpha\]

| a | b |
|---|---|
| &#36;\def\theta{EVILG}&#36; | $\renewcommand{\iota}{EVILH}$ |
"""


def test_a_reply_changes_no_formula_of_the_page(opened: Any, page: Page) -> None:
    mine = "from IPython.display import Markdown\nMarkdown(r'$\\alpha\\beta\\gamma\\delta\\epsilon\\zeta\\eta\\theta\\iota$ mine')"
    with WireServer(canonical(DEFINITIONS)) as server:
        notebook: OpenNotebook = opened(load(server), "%%claude\nhi", mine)
        notebook.run(0)
        notebook.run(1)
        shown = notebook.run(2).locator(".jp-RenderedMarkdown")
        expect(shown.locator("mjx-container")).to_be_visible(timeout=20_000)
        page.wait_for_timeout(500)
        assert "EVIL" not in shown.inner_text()
        assert "EVIL" not in str(shown.locator("mjx-container").get_attribute("aria-label"))
        assert page.locator("mjx-c.mjx-c45").count() == 0  # a capital E, as MathJax draws it


@pytest.mark.parametrize("app", ["notebook"])
def test_notebook_7_shows_the_same(page: Page, notebook_server: JupyterServer, app: str) -> None:
    with WireServer(paced(TEXT)) as server:
        notebook = OpenNotebook(page, notebook_server, [load(server), "%%claude\nhi"], f"{app}.ipynb")
        notebook.run(0)
        shown = notebook.run(1).locator(".jp-RenderedMarkdown")
        expect(shown.locator("h1")).to_contain_text("Hello")
        expect(shown.locator("small")).to_contain_text("11 in · 5 out")
