"""The job machine: in whatever order answers, faults, interrupts and restarts come, one submission and one file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from codecs_for_tests import b64, film, picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media_server import KEY, Gateway, path_of
from wire_server import HOLD, RESET, reply

import comet_magic
from comet_magic import CometError, ConfigError
from comet_magic.api.transport import HTTPRequest, HTTPResponse
from comet_magic.errors import TransportError
from comet_magic.exchange import session
from comet_magic.media import run, running, saving, wire
from comet_magic.settings import CometSettings
from comet_magic.store import media as media_store

FILM, LOOK, CONTENT = "/v1/videos", "/v1/videos/v1", "/v1/videos/v1/content"
DRAWN = "/v1/images/generations"


PICTURE = picture()


class Killed(BaseException):
    """Ends everything at once, as a kernel that is killed."""


class Faulty:
    """A transport whose answers are drawn. made: how many submissions the endpoint may have acted on."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.made = 0

    def __call__(self, request: HTTPRequest) -> HTTPResponse:
        fault = self.faults.pop(0) if self.faults else "fine"
        path = request.url.partition("9999")[2]
        is_submission = path in (FILM, DRAWN)
        if is_submission and fault not in ("unreached", "busy"):
            self.made += 1
        match fault:
            case "unreached":
                raise TransportError("cannot connect", kind="connect")
            case "reset":
                raise TransportError("reset", kind="reset")
            case "busy":
                return HTTPResponse(503, {}, [b"busy"])
            case "interrupt" if not is_submission:  # a submission is on a thread of its own
                raise KeyboardInterrupt
            case "killed" if not is_submission:
                raise Killed
            case "cut" if path == CONTENT:
                return HTTPResponse(200, {"content-length": str(len(film()))}, [film()[:500]])
        if path == FILM:
            return _answer({"id": "v1", "status": "queued"})
        if path == DRAWN:
            return _answer({"data": [{"b64_json": b64(PICTURE)}, {"b64_json": b64(PICTURE)}]})
        if path == LOOK:
            return _answer({"id": "v1", "status": "in_progress" if fault == "running" else "completed"})
        return HTTPResponse(200, {"content-length": str(len(film()))}, [film()[:500], film()[500:]])


def _answer(said: Any) -> HTTPResponse:
    return HTTPResponse(200, {"content-type": "application/json"}, [json.dumps(said).encode()])


FAULTS = st.sampled_from(["fine", "running", "unreached", "reset", "busy", "interrupt", "killed", "cut"])


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch, nobody_home: Path) -> Faulty:
    transport = Faulty()
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    monkeypatch.setattr(wire, "plain_transport", lambda: transport)
    monkeypatch.setattr(run, "offered_now", lambda *_: {})
    monkeypatch.setattr(running, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(running.RunningJob, "_pause", lambda self, seconds, screen: None)
    monkeypatch.setattr(wire, "backoff_s", lambda tried: 0.0)
    return transport


def of_today() -> CometSettings:
    """A new kernel: its settings, and a session of its own on the same store."""
    session.reset()
    settings = CometSettings.instance()
    settings.endpoint, settings.retries, settings.media_wait_s = "http://127.0.0.1:9999", 1, 5
    return settings


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["image", "video"]),
    rounds=st.lists(
        st.tuples(st.lists(FAULTS, max_size=7), st.booleans(), st.sampled_from(["", "write", "link", "put"])),
        max_size=5,
    ),
)
def test_whatever_comes_there_is_one_submission_and_one_file(
    faulty: Faulty, nobody_home: Path, kind: str, rounds: list[tuple[list[str], bool, str]]
) -> None:
    folder = nobody_home / os.urandom(6).hex()
    of_today().media_folder = str(folder)
    faulty.made, prompt, made = 0, f"a boat {folder.name}", None
    for faults, restarts, dies_at in [*rounds, ([], True, "")]:
        if restarts:
            of_today().media_folder = str(folder)
        faulty.faults = list(faults)
        with pytest.MonkeyPatch.context() as patch:
            _die(patch, dies_at)
            try:
                if kind == "video":
                    made = [comet_magic.video(prompt, model="film-1")]
                else:
                    made = comet_magic.image(prompt, model="draw-1", n=2)
            except (CometError, KeyboardInterrupt, Killed):
                pass
        known = [
            job
            for job in media_store.find_jobs(session.current().store(CometSettings.instance()))
            if job.prompt == prompt
        ]
        of_it = [job for job in known if job.state != "refused"]
        files = [path for path in folder.glob("*") if path.suffix in (".mp4", ".png")]
        assert len(of_it) <= 1, "it was ordered twice"
        assert len(files) <= (1 if kind == "video" else 2), "there are too many files"
        assert faulty.made <= 1, "it was sent twice"
    (job,) = of_it or [known[0]]
    if job.state == "fetched":
        assert made is not None
        assert sorted(one.path for one in made) == sorted(files)
        assert all(one.bytes == (film() if kind == "video" else PICTURE) for one in made)
        assert kind == "image" or [path.name for path in folder.iterdir()] == [files[0].name], (
            "something is left behind"
        )
    else:
        assert job.state in ("lost", "refused", "failed"), job
        assert job.why, "it does not say what it is"


def _die(patch: pytest.MonkeyPatch, at: str) -> None:
    """Have the kernel end where a file is written, gets its name, or is written down."""

    def killed(*_: Any) -> None:
        raise Killed

    if at:
        place = {"write": (wire, "_written"), "link": (saving, "put_in_place"), "put": (media_store, "claim_path")}[at]
        patch.setattr(*place, killed)


PROGRAM = """
import sys, comet_magic
from comet_magic.media import running, video
running.FIRST_WAIT_S, video.Videos.polls_after_s = 0.05, 0.05
settings = comet_magic.CometSettings.instance()
settings.endpoint, settings.media_folder = sys.argv[1], "made"
print("ready", flush=True)
print(comet_magic.video("a boat drifts").bytes[:8], flush=True)
"""


def killed(server: Any, until: str, home: Path) -> None:
    """Start a kernel that orders a film, and kill it with -9 once the server has been asked for that."""
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, server.url], stdout=subprocess.PIPE, cwd=home)
    deadline = time.monotonic() + 60
    while not any(path_of(one) == until for one in server.received):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.stdout
    child.stdout.close()


def test_killed_between_submission_and_answer_it_is_lost_and_said_to_be(gateway: Gateway, nobody_home: Path) -> None:
    server = gateway({FILM: [HOLD]})
    killed(server, FILM, nobody_home)
    CometSettings.instance().media_folder = "made"
    with pytest.raises(ConfigError, match="the kernel ended before the endpoint had answered"):
        comet_magic.video("a boat drifts")
    assert len(server.asked(FILM)) == 1
    assert comet_magic.jobs().rows[0][4] == "lost"


@pytest.mark.parametrize(
    "until", [LOOK.replace("v1", "video-3", 2).replace("/video-3/", "/v1/", 1), "/v1/videos/video-3/content"]
)
def test_killed_while_it_waits_or_fetches_the_next_kernel_goes_on(
    gateway: Gateway, nobody_home: Path, until: str
) -> None:
    held = {until: [HOLD]} if until.endswith("content") else {until: reply({"status": "in_progress"})}
    server = gateway(held)
    killed(server, until, nobody_home)
    server.routes[until] = reply(film(), "video/mp4") if until.endswith("content") else reply({"status": "completed"})
    CometSettings.instance().media_folder = "made"
    assert comet_magic.video("a boat drifts").bytes == film()
    assert len(server.asked(FILM)) == 1
    assert [path.suffix for path in Path("made").iterdir()] == [".mp4"]


def test_an_interrupt_leaves_the_request_under_way_and_the_same_call_takes_its_answer(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"data": [{"url": "data:image/png;base64,iVBORw0KGgo="}]}
    server = gateway({"/v1/images/generations": [0.5, *reply(body)]})
    with monkeypatch.context() as patch:
        patch.setattr(run, "wait", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            comet_magic.image("a boat")
    assert comet_magic.image("a boat").mime == "image/png"
    assert len(server.asked("images")) == 1


def test_where_no_thread_can_be_had_nothing_is_sent(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import Future

    server = gateway()
    comet_magic.image("a ship")  # the list is known

    def none_to_be_had(function: Any) -> Future[None]:
        future: Future[None] = Future()
        future.set_exception(RuntimeError("can't start new thread"))
        return future

    with monkeypatch.context() as patch:
        patch.setattr(run, "in_background", none_to_be_had)
        with pytest.raises(TransportError, match="nothing was sent"):
            comet_magic.image("a boat")
    assert comet_magic.image("a boat").bytes == picture(size=(160, 120))
    assert len(server.asked("images")) == 2


def test_what_was_asked_while_the_store_was_in_memory_is_carried_over(gateway: Gateway, nobody_home: Path) -> None:
    server = gateway()
    path = nobody_home / "s.sqlite"
    path.write_bytes(b"no store at all, but a text that is long enough to be looked at" * 99)
    CometSettings.instance().store = str(path)
    made = comet_magic.image("a boat")
    path.unlink()
    assert comet_magic.image("a boat").path == made.path
    session.reset()
    assert comet_magic.image("a boat").path == made.path
    assert len(server.asked("images")) == 1


def test_what_is_pruned_is_ordered_again_and_its_file_stays(gateway: Gateway, shell: Any) -> None:
    server = gateway()
    made = comet_magic.image("a boat")
    shell.run_cell("%claude_history --prune 0d")
    again = comet_magic.image("a boat")
    assert made.path.exists()
    assert (again.path != made.path) == (len(server.asked("images")) == 2)


def test_a_lost_connection_before_anything_was_sent_is_tried_again(gateway: Gateway) -> None:
    server = gateway({FILM: (reply({"id": "video-3", "status": "queued"}), [RESET])})
    CometSettings.instance().retries = 2
    comet_magic.video("a boat drifts")
    assert len(server.asked(FILM)) == 1
