"""Pictures and films in a real kernel: files beside the notebook, an interrupt, and the next kernel."""

from __future__ import annotations

from pathlib import Path

from codecs_for_tests import b64, picture
from kernels import Kernel
from media_server import KEY, MediaServer
from wire_server import reply

QUICK = "from comet_magic.media import running, video; running.FIRST_WAIT_S = video.Videos.polls_after_s = 0.1"


def started(server: MediaServer, notebook: Path) -> Kernel:
    kernel = Kernel(COMETAPI_KEY=KEY, COMET_MAGIC_ENDPOINT=server.url, JPY_SESSION_NAME=str(notebook))
    kernel.run(f"%load_ext comet_magic\n{QUICK}")
    return kernel


def test_files_stand_beside_the_notebook_and_an_interrupt_ends_the_wait_alone(tmp_path: Path) -> None:
    notebook = tmp_path / "trips" / "trip.ipynb"
    notebook.parent.mkdir()
    drawn = {"data": [{"b64_json": b64(picture())}]}
    with MediaServer({"/v1/images/generations": [1.5, *reply(drawn)]}) as server:
        kernel = started(server, notebook)
        try:
            ran = kernel.run("%%comet_image\nA boat", interrupt_when="picture from", cell="a")
            assert ran.error[0] == "KeyboardInterrupt: stopped by you"
            assert "goes on: run the cell again, or %comet_resume" in ran.plain
            ran = kernel.run("%%comet_image -o boat\nA boat", cell="a")
            assert "trip_media/a-boat-1.png" in ran.plain
            assert len(server.asked("images")) == 1
            server.routes["/v1/videos/video-3"] = reply({"status": "in_progress", "progress": 7})
            ran = kernel.run("%%comet_video\nA boat drifts", interrupt_when="in_progress 7 %", cell="b")
            assert "goes on: run the cell again, or %comet_resume" in ran.plain
        finally:
            kernel.close()
        server.routes["/v1/videos/video-3"] = reply({"status": "completed"})
        kernel = started(server, notebook)
        try:
            assert "trip_media/a-boat-drifts-1.mp4" in kernel.run("%%comet_video\nA boat drifts", cell="b").plain
            assert "at no cost" in kernel.run("%%comet_image -o boat\nA boat", cell="a").plain
        finally:
            kernel.close()
        assert len(server.asked()) == 2
    made = sorted(path.name for path in (notebook.parent / "trip_media").iterdir())
    assert made == ["a-boat-1.png", "a-boat-drifts-1.mp4"]
