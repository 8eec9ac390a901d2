"""Pictures, sound and film in JupyterLab and Notebook 7: shown, saved, opened again untrusted, and exported."""

from __future__ import annotations

import json
import re
from typing import Any

import nbformat
import pytest
from lab import JupyterServer, OpenNotebook
from media_server import MediaServer
from nbconvert import HTMLExporter
from playwright.sync_api import Page, expect
from wire_server import reply

CELLS = (
    "%%comet_image -o boat\nA paper boat",
    "%%comet_speech\nGood morning",
    "%%comet_video --seconds 1\nA paper boat drifts",
)
SECONDS = """async player => {
  if (!(player.duration > 0)) await new Promise(done => player.addEventListener('loadedmetadata', done));
  return player.duration;
}"""
WIDTH = "async image => { await image.decode(); return image.naturalWidth; }"
PLAYS = """async player => {
  player.muted = true;
  await player.play();
  await new Promise(done => setTimeout(done, 400));
  return player.currentTime;
}"""


def load(server: MediaServer) -> str:
    settings = {"endpoint": server.url, "media_folder": "made", "replay": "auto"}
    lines = [f"%config CometSettings.{name} = {value!r}" for name, value in settings.items()]
    quick = "from comet_magic.media import running, video\nrunning.FIRST_WAIT_S = video.Videos.polls_after_s = 0.3"
    return "\n".join(["%load_ext comet_magic", *lines, quick])


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_what_was_made_is_there_when_it_is_opened_again_untrusted(
    page: Page, app: str, request: pytest.FixtureRequest
) -> None:
    jupyter: JupyterServer = request.getfixturevalue(f"{app}_server")
    name = f"made-{app}.ipynb"
    with MediaServer() as server:
        # Another folder for each, and another prompt: each is a notebook that was never run before.
        cells = [load(server).replace("'made'", f"'made_{app}'"), *(f"{cell} in {app}" for cell in CELLS)]
        notebook = OpenNotebook(page, jupyter, cells, name)
        for index in range(4):
            notebook.run(index)
        expect(notebook.output(1)).to_contain_text(
            re.compile(r"◈ “A paper boat in \w+” · draw-1 · .* ≈ \$0\.040 · made_")
        )
        assert page.locator(".jp-OutputArea-output img").first.evaluate(WIDTH) == 160
        assert page.locator("audio").first.evaluate(SECONDS) == pytest.approx(1.0, abs=0.15)
        assert page.locator("video").first.evaluate(SECONDS) == pytest.approx(1.0, abs=0.15)
        assert page.locator("audio").first.evaluate(PLAYS) > 0.05
        assert notebook.output(2).locator("audio").count() == 1
        asked = len(server.asked())
        notebook.save()
        path = jupyter.notebooks / name
        saved = json.loads(path.read_text())
        saved["metadata"]["edited"] = "elsewhere"  # so that its signature is none
        path.write_text(json.dumps(saved))
        notebook.reopen_without_kernel()
        assert page.locator(".jp-OutputArea-output img").first.evaluate(WIDTH) == 160
        assert page.locator("audio").first.evaluate(SECONDS) == pytest.approx(1.0, abs=0.15)
        assert page.locator("video").first.evaluate(SECONDS) == pytest.approx(1.0, abs=0.15)
        expect(notebook.output(3)).to_contain_text("film-1")
        assert len(server.asked()) == asked
    html, _ = HTMLExporter().from_notebook_node(nbformat.read(path, as_version=4))
    exported = jupyter.folder / f"{app}.html"
    exported.write_text(html, "utf-8")
    page.goto(exported.as_uri())
    for tag in ("audio", "video"):
        assert page.locator(tag).first.evaluate(SECONDS) == pytest.approx(1.0, abs=0.15)


def test_progress_is_one_output_and_an_interrupt_leaves_the_job(opened: Any) -> None:
    with MediaServer() as server:
        server.routes["/v1/videos/video-3"] = reply({"status": "in_progress", "progress": 40})
        notebook: OpenNotebook = opened(load(server), "%%comet_video -o film\nA boat drifts on", "%comet_jobs")
        notebook.run(0)
        notebook.start(1)
        output = notebook.output(1)
        expect(output).to_contain_text(
            re.compile(r"film from film-1 · \d+ s · in_progress 40 % · job \w{8}"), timeout=15_000
        )
        expect(output).to_contain_text("an interrupt ends the wait, not the job")
        assert output.locator(".jp-RenderedMarkdown").count() == 1
        notebook.interrupt()
        expect(output).to_contain_text(re.compile(r"job \w{8} goes on: run the cell again, or %comet_resume"))
        expect(notebook.run(2)).to_contain_text("running")
        server.routes["/v1/videos/video-3"] = reply({"status": "completed"})
        output = notebook.run(1)
        expect(output.locator("video")).to_have_count(1)
        expect(output).not_to_contain_text("an interrupt ends")
        assert len(server.asked("/v1/videos")) == 1
        notebook.save()
