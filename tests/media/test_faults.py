"""What gateways, threads and hands do that nobody plans for: one order, one file, an error in words, no crash."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from codecs_for_tests import b64, film, picture, sound, tone
from media_server import KEY, Gateway, path_of
from wire_server import RESET, SSE_HEAD, chunk, reply

import comet_magic
from comet_magic import APIError, CometError, ConfigError, TransportError
from comet_magic.exchange import session
from comet_magic.media import files, run
from comet_magic.media.replies import reason
from comet_magic.notebook.media_display import _clock
from comet_magic.settings import CometSettings
from comet_magic.store import ledger

DRAWN, FILM, LOOK, CONTENT = "/v1/images/generations", "/v1/videos", "/v1/videos/video-3", "/v1/videos/video-3/content"
SONG, FETCH = "/suno/submit/music", "/suno/fetch/task-7"


def spent() -> float:
    return ledger.spent(session.current().store(CometSettings.instance())).usd


@pytest.mark.parametrize("act", [comet_magic.image, comet_magic.video])
@pytest.mark.parametrize(
    "script",
    [
        reply(b""), reply(b"<html><title>proxy</title></html>", "text/html"), reply(b'{"id": "video-3", "data": [{"b64'),
        reply("<html>bad gateway</html>", "text/html", status=502), reply(b"", status=520), reply("x", status=504),
        reply([1, 2]), reply({"data": [{"videos": 5}]}), reply({"choices": 5}),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_read_may_have_been_billed(
    gateway: Gateway, act: Callable[..., Any], script: Any
) -> None:
    server = gateway({DRAWN: script, FILM: script})
    with pytest.raises(APIError):
        act("a boat")
    with pytest.raises(ConfigError, match="may have been billed"):
        act("a boat")
    assert len(server.asked()) == 1
    assert spent() == {comet_magic.image: 0.04, comet_magic.video: 1.5}[act]


def test_the_same_order_from_several_threads_is_sent_once(gateway: Gateway) -> None:
    server = gateway({DRAWN: [0.2, *reply({"data": [{"b64_json": b64(picture())}]})]})
    comet_magic.image("a ship")  # the list of models is known
    gate, made = threading.Barrier(4), []

    def act() -> None:
        gate.wait()
        made.append(comet_magic.image("a boat"))

    threads = [threading.Thread(target=act) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.path for one in made}) == 1
    assert len(made) == 4
    assert len(server.asked("images")) == 2


def test_several_that_wait_for_one_job_get_one_file(gateway: Gateway, nobody_home: Path) -> None:
    server = gateway({LOOK: reply({"status": "in_progress"})})
    CometSettings.instance().media_wait_s = 0.1
    with pytest.raises(TransportError, match="still running"):
        comet_magic.video("a boat drifts")
    CometSettings.instance().media_wait_s = 20
    server.routes[LOOK] = reply({"status": "completed"})
    server.routes[CONTENT] = [0.1, *reply(film(), "video/mp4")]
    before = session.current().totals.replies
    made: list[Any] = []
    threads = [threading.Thread(target=lambda: made.append(comet_magic.video("a boat drifts"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.bytes for one in made] == [film()] * 3
    assert [path.suffix for path in (nobody_home / "made").iterdir()] == [".mp4"]
    assert session.current().totals.replies == before + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_takes_what_its_parent_gets(gateway: Gateway, nobody_home: Path) -> None:
    server = gateway({DRAWN: [1.0, *reply({"data": [{"b64_json": b64(picture())}]})]})
    comet_magic.image("a ship")
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(comet_magic.image("a boat")))
    thread.start()
    while len(server.asked("images")) < 2:
        pass
    child = os.fork()
    if not child:
        try:
            os._exit(0 if comet_magic.image("a boat").bytes == picture() else 1)
        except BaseException:
            os._exit(2)
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert made[0].bytes == picture()
    assert len(server.asked("images")) == 2


def test_what_could_not_be_fetched_is_tried_again_by_the_next_run(gateway: Gateway, capsys: Any, shell: Any) -> None:
    server = gateway({"/files/1.mp3": reply("later", status=503)})
    shell.run_cell("%%comet_music -o songs\nA calm piano piece").raise_error()
    assert len(shell.user_ns["songs"]) == 1
    assert "song 2 of 2: the result at" in capsys.readouterr().out
    counted = session.current().totals.replies
    server.routes["/files/1.mp3"] = reply(sound(), "audio/mpeg")
    shell.run_cell("%%comet_music -o songs\nA calm piano piece").raise_error()
    assert [song.path.name for song in shell.user_ns["songs"]] == ["morning-1.mp3", "evening-1.mp3"]
    assert session.current().totals.replies == counted
    assert len(server.asked(SONG)) == 1


def test_what_is_here_is_shown_where_the_rest_cannot_be_asked_for(gateway: Gateway) -> None:
    server = gateway({"/files/1.mp3": reply("gone", status=403)})
    assert len(comet_magic.music("A calm piano piece")) == 1
    server.routes[FETCH] = reply({"code": "task_not_exist", "message": "task_not_exist"}, status=404)
    assert len(comet_magic.music("A calm piano piece")) == 1


def test_addresses_that_were_told_outlive_the_job_s_page(gateway: Gateway) -> None:
    server = gateway({r"/files/.*": reply("later", status=503)})
    with pytest.raises(CometError, match="could not be fetched"):
        comet_magic.music("A calm piano piece")
    server.routes[r"/files/.*"] = reply(sound(), "audio/mpeg")
    server.routes[FETCH] = reply({"code": "task_not_exist", "message": "task_not_exist"}, status=404)
    assert len(comet_magic.music("A calm piano piece")) == 2


def test_a_fresh_order_that_fails_leaves_what_there_was(gateway: Gateway) -> None:
    server = gateway()
    made = comet_magic.image("a boat")
    server.routes[DRAWN] = [RESET]
    with pytest.raises(TransportError):
        comet_magic.image("a boat", fresh=True)
    assert comet_magic.image("a boat").path == made.path


def test_what_goes_on_is_waited_for_also_where_nothing_is_replayed(gateway: Gateway) -> None:
    server = gateway({LOOK: reply({"status": "in_progress"})})
    settings = CometSettings.instance()
    settings.media_wait_s, settings.replay = 0.1, "never"
    for _ in range(3):
        with pytest.raises(TransportError, match="still running"):
            comet_magic.video("a boat drifts")
    assert len(server.asked(FILM)) == 1


@pytest.mark.parametrize(
    "submitted", [{"data": "task-7"}, {"data": {"id": "task-7"}}, {"data": {"taskId": "task-7"}}, {"code": 1, "data": {"task_id": "task-7"}}]
)  # fmt: skip
def test_ids_of_songs_in_any_form(gateway: Gateway, submitted: Any) -> None:
    gateway({SONG: reply(submitted)})
    assert len(comet_magic.music("A calm piano piece")) == 2


@pytest.mark.parametrize(
    ("submitted", "standing"),
    [
        ({"status": "success", "data": {"id": "video-3", "status": "queued"}}, {"status": "success", "data": {"id": "video-3", "status": "completed"}}),
        ({"data": [{"id": "video-3"}]}, {"code": 0, "data": [{"status": "completed"}]}),
        ({"taskId": "video-3"}, [{"status": "completed"}]),
        ({"id": "video-3", "status": 200}, {"status": 200, "data": {"status": "completed"}}),
    ],
)  # fmt: skip
def test_a_job_in_any_envelope(gateway: Gateway, submitted: Any, standing: Any) -> None:
    server = gateway(
        {
            FILM: reply(submitted),
            LOOK: (reply({"status": "success", "data": {"status": "in_progress"}}), reply(standing)),
        }
    )
    assert comet_magic.video("a boat drifts").bytes == film()
    assert len(server.asked(LOOK, "GET")) == 3  # one of them for the content


def test_an_id_is_quoted(gateway: Gateway) -> None:
    server = gateway({SONG: reply({"data": "a/../b?c=1"})})
    with pytest.raises(CometError):
        comet_magic.music("A calm piano piece")
    assert {path_of(one) for one in server.asked("suno", "GET")} == {"/suno/fetch/a%2F..%2Fb%3Fc%3D1"}


@pytest.mark.parametrize(
    "data",
    [{"b64_json": b64(picture())}, {"data": [{"b64_json": b64(picture())}]}, [b64(picture())],
     [f"DATA:image/png;base64,{b64(picture())}"], [{"url": f"data:image/png;base64,{b64(picture())}"}],
     [{"b64_json": b64(picture()).replace("+", "-").replace("/", "_").rstrip("=")}]],
)  # fmt: skip
def test_a_picture_in_any_place(gateway: Gateway, data: Any) -> None:
    gateway({DRAWN: reply({"data": data})})
    assert comet_magic.image("a boat").bytes == picture()


def test_a_film_in_its_address(gateway: Gateway) -> None:
    gateway({LOOK: reply({"status": "completed", "video_url": f"data:video/mp4;base64,{b64(film())}"})})
    assert comet_magic.video("a boat drifts").bytes == film()


def test_what_came_inline_and_is_of_no_known_format_is_kept(gateway: Gateway, nobody_home: Path) -> None:
    gateway({DRAWN: reply({"data": [{"b64_json": b64(b"\x00\x01 of some new format")}]})})
    with pytest.raises(APIError, match="bytes of an unknown format, and no picture; it is in"):
        comet_magic.image("a boat")
    (kept,) = (nobody_home / "made").iterdir()
    assert kept.read_bytes() == b"\x00\x01 of some new format"


@pytest.mark.parametrize(
    "address", ["http://[bad/a.mp4", "http://127.0.0.1:abc/a.mp4", "ftp://x.example/a", "javascript:alert(1)"]
)
def test_an_address_that_is_none_is_told(gateway: Gateway, address: str) -> None:
    gateway({LOOK: reply({"status": "completed", "video_url": address})})
    with pytest.raises(CometError, match="is not an http address"):
        comet_magic.video("a boat drifts")


def test_an_endpoint_below_a_path_is_asked_there_alone(gateway: Gateway) -> None:
    server = gateway()
    server.routes = {f"/proxy{path}": script for path, script in server.routes.items()}
    CometSettings.instance().endpoint = f"{server.url}/proxy"
    assert comet_magic.video("a boat drifts").bytes == film()
    assert all(path_of(one).startswith("/proxy/") for one in server.received)


def test_a_redirected_order_is_told_without_what_signs_it(gateway: Gateway) -> None:
    gateway({DRAWN: reply("", status=307, location="https://other.example/x?signature=abc123")})
    with pytest.raises(APIError, match="redirects to https://other.example/x") as raised:
        comet_magic.image("a boat")
    assert "abc123" not in str(raised.value)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"status": "failed", "message": "insufficient balance"}, "insufficient balance"),
        ({"status": "failed", "error": ["policy", "two"]}, "policy; two"),
        ({"status": "failed", "error": {"detail": "no luck", "code": 7}}, "7: no luck"),
        ({"status": "FAILURE", "data": {"fail_reason": "bad words"}}, "bad words"),
        ({"status": "FAILURE", "metadata": {"error_message": "too short"}}, "too short"),
        ({"status": "failed", "message": "success"}, ""),
        ({"status": "failed"}, ""),
    ],
)
def test_reasons_in_any_form(said: Any, words: str) -> None:
    assert reason(said) == words


def test_an_account_is_not_printed_with_an_answer(gateway: Gateway) -> None:
    gateway({SONG: reply({"code": "success", "data": {"user_id": "u-771", "quota": 5}})})
    with pytest.raises(APIError) as raised:
        comet_magic.music("A calm piano piece")
    assert "u-771" not in str(raised.value)


@pytest.mark.parametrize(("said", "words"), [
    ({"done": True, "error": {"code": 3, "message": "too dark"}}, "the job failed: 3: too dark"),
    ({"done": True, "response": "x"}, "the endpoint's answer has a form"),
    ({"done": True, "response": {"generatedSamples": 5}}, "the endpoint's answer has a form"),
])  # fmt: skip
def test_what_google_s_films_end_with(gateway: Gateway, said: Any, words: str) -> None:
    path = "/v1beta/models/veo-9/operations/op1"
    gateway(
        {
            "/v1beta/models/veo-9:predictLongRunning": reply({"name": path[8:]}),
            path: (reply({"done": "false"}), reply(said)),
        }
    )
    with pytest.raises(APIError, match=words):
        comet_magic.video("a boat drifts", model="veo-9", api="veo")


# ---- money


def test_each_request_of_a_long_text_is_paid_for(gateway: Gateway) -> None:
    server = gateway()
    settings = CometSettings.instance()
    settings.prices, settings.budget = {"say-1": {"request": 0.1}}, 0.25
    with pytest.raises(ConfigError, match=r"could cost up to \$0\.40"):
        comet_magic.speech("A sentence of some length. " * 550)
    assert not server.asked("speech")
    settings.budget = 1
    assert comet_magic.speech("A sentence of some length. " * 550).cost == pytest.approx(0.4)


@pytest.mark.parametrize("seconds", ["nan", -100, 0, "inf", True, "long"])
def test_a_length_is_a_number_above_0(gateway: Gateway, seconds: Any) -> None:
    with pytest.raises(ConfigError, match="seconds is a number above 0"):
        comet_magic.video("a boat drifts", seconds=seconds)


def test_the_larger_of_two_lengths_is_what_it_may_cost(gateway: Gateway) -> None:
    gateway()
    CometSettings.instance().budget = 5
    with pytest.raises(ConfigError, match=r"could cost up to \$100"):
        comet_magic.video("a boat drifts", seconds=1, duration=1000)


@pytest.mark.parametrize("seconds", [1e400, -5, "1", True])
def test_a_length_that_is_none_costs_nothing_odd(gateway: Gateway, seconds: Any) -> None:
    gateway({"/v1/audio/transcriptions": reply({"text": "Hi", "usage": {"type": "duration", "seconds": seconds}})})
    comet_magic.transcribe(tone())
    assert spent() == pytest.approx(0.0001)


def test_several_pictures_of_one_order_share_its_cost(gateway: Gateway) -> None:
    gateway()
    assert [one.cost for one in comet_magic.image("boats", n=2)] == [0.04, 0.04]


# ---- hands


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: comet_magic.image("a", images="a\0b"), "cannot be read"),
        (lambda: comet_magic.transcribe("a\0b"), "cannot be read"),
        (lambda: comet_magic.transcribe(b"RIFF\0\0\0\0WAVEfmt \0\0\0\0", dry_run=True), ""),
        (lambda: comet_magic.image("a", images=-1), "no picture"),
        (lambda: comet_magic.image("a", extra={"a": object()}), "cannot be written as JSON"),
        (lambda: comet_magic.image("a", seed=float("nan")), "cannot be written as JSON"),
        (lambda: comet_magic.image("a", api=5), "api is a text"),
        (lambda: comet_magic.image("a", model=5), "model is a text"),
        (lambda: comet_magic.resume(5), "there is no job '5'"),
        (lambda: comet_magic.image("a \ud800 boat", dry_run=True), ""),
        (lambda: comet_magic.image("like {{boat}}"), "names boat, and there is nothing to look that up in"),
        (lambda: comet_magic.image("{{x}}", x=[]), "holds no picture"),
        (lambda: comet_magic.transcribe(tone(), segments=True, format="srt"), "take one of the two"),
        (lambda: comet_magic.image("a", model="draw1"), "did you mean draw-1"),
        (lambda: comet_magic.image("a", images=[picture()], mask=picture(), model="gemini-x"), "takes no mask"),
        (lambda: comet_magic.image("a", n=2, model="midjourney"), "one picture of Midjourney"),
    ],
)  # fmt: skip
def test_what_hands_give_is_answered_in_words(gateway: Gateway, act: Callable[[], Any], words: str) -> None:
    server = gateway()
    if words:
        with pytest.raises(ConfigError, match=words):
            act()
    else:
        act()
    assert not server.asked()


@pytest.mark.parametrize("named", [{"siz": "big"}, {"into": "x"}, {"qualty": "low"}, {"imags": []}])
def test_a_misspelt_keyword_is_sent_nowhere(gateway: Gateway, named: Any) -> None:
    server = gateway()
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        comet_magic.image("a boat", **named)
    assert not server.received


def test_parameters_stand_in_forms_as_json(gateway: Gateway) -> None:
    server = gateway()
    comet_magic.video("a boat drifts", loud=True, camera={"pan": 1}, size="1280×720")
    for field in (b'name="loud"\r\n\r\ntrue', b'name="camera"\r\n\r\n{"pan": 1}', b'name="size"\r\n\r\n1280x720'):
        assert field in server.asked(FILM)[0].body


def test_names_and_lists_in_a_prompt(gateway: Gateway) -> None:
    server = gateway()
    first, second = picture(), picture("JPEG")
    comet_magic.image("like {{boats}}, {{count}} times", boats=[first, second], count=2)
    assert b"like image 1 and image 2, 2 times" in server.asked("edits")[0].body


def test_a_model_of_another_kind_is_said_to_be_one(gateway: Gateway, capsys: Any, shell: Any) -> None:
    gateway()
    shell.run_cell("%%comet_image -m say-1\na boat").raise_error()
    assert "by the endpoint's list, say-1 is for speech" in capsys.readouterr().out
    shell.run_cell("%%comet_image -m my-own\na boat").raise_error()
    assert "my-own is not in the endpoint's list" in capsys.readouterr().out


def test_another_setting_of_the_model_is_another_order(gateway: Gateway) -> None:
    server = gateway()
    comet_magic.image("a boat")
    CometSettings.instance().media_models = {"image": "my-own"}
    assert comet_magic.image("a boat").model == "my-own"
    assert len(server.asked("images")) == 2


def test_retired_models_are_not_chosen(gateway: Gateway) -> None:
    listed = [{"id": name, "model_type": "image", "pricing": {"per_request": usd}} for name, usd in
              (("dall-e-3", 0.001), ("gpt-image-1-mini", 0.002), ("gpt-image-2.6", 0.03))]  # fmt: skip
    gateway({r"/v1/models.*": reply({"data": listed})})
    assert comet_magic.image("a boat").model == "gpt-image-2.6"


def test_a_transcript_goes_to_a_model_that_can(gateway: Gateway) -> None:
    listed = [{"id": name, "model_type": "transcription"} for name in ("gpt-4o-transcribe", "whisper-1")]
    server = gateway({r"/v1/models.*": reply({"data": listed})})
    comet_magic.transcribe(tone(), format="srt")
    assert b"whisper-1" in server.asked("transcriptions")[0].body


def test_a_file_that_was_changed_is_shown_as_it_is(gateway: Gateway, capsys: Any, shell: Any) -> None:
    server = gateway()
    made = comet_magic.image("a boat")
    made.path.write_bytes(picture(colour="red"))
    capsys.readouterr()
    assert comet_magic.image("a boat").bytes == picture(colour="red")
    assert "a-boat-1.png has been changed since it was made" in capsys.readouterr().out
    assert len(server.asked("images")) == 1


def test_the_name_of_a_deleted_file_is_not_used_again(gateway: Gateway) -> None:
    gateway()
    comet_magic.image("a boat").path.unlink()
    assert comet_magic.image("a boat", fresh=True).path.name == "a-boat-2.png"


def test_a_copy_has_the_right_name(gateway: Gateway) -> None:
    gateway()
    made = comet_magic.image("a boat")
    with pytest.raises(ConfigError, match="the name of another format"):
        made.save("boat.jpg")
    made.save("boat.png")
    made.save("boat.png", overwrite=True)
    made.path.unlink()
    with pytest.raises(ConfigError, match="a-boat-1.png cannot be read"):
        made.save("other.png")
    assert {made: 1}[made] == 1


def test_many_open_jobs_are_listed_and_no_more_than_that(gateway: Gateway, shell: Any) -> None:
    gateway({LOOK: reply({"status": "in_progress"})})
    CometSettings.instance().media_wait_s = 0.1
    for number in range(22):
        comet_magic.image(f"boat {number}")
    with pytest.raises(TransportError):
        comet_magic.video("a film")
    table = shell.run_line_magic("comet_jobs", "")
    assert len(table.rows) == 20
    assert table.rows[0][2] == "film"
    assert len(comet_magic.jobs().rows) == 23


def test_a_dry_run_knows_what_is_there(gateway: Gateway) -> None:
    gateway()
    comet_magic.image("a boat")
    assert "would be shown at no cost" in str(comet_magic.image("a boat", dry_run=True))
    assert "It would ask for a picture" in str(comet_magic.image("a boat", dry_run=True, fresh=True))


def test_a_disk_without_room_loses_no_transcript(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    server = gateway()

    def full(self: Path, *_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(ConfigError, match="No space left on device"):
            comet_magic.transcribe(tone(), format="srt")
    assert comet_magic.transcribe(tone(), format="srt").text.startswith("1\n")
    assert len(server.asked("transcriptions")) == 1


def test_another_store_knows_the_models_too(gateway: Gateway) -> None:
    gateway()
    CometSettings.instance().keep = False
    comet_magic.image("a boat")
    CometSettings.instance().keep = True
    assert comet_magic.image("a ship").cost == 0.04


def test_a_killed_kernel_s_order_is_told_by_one_that_runs(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    from comet_magic.media import run

    gateway({DRAWN: [RESET]})
    comet_magic.speech("the store is open")
    store = session.current().store(CometSettings.instance())
    monkeypatch.setattr(session.current(), "sweep", lambda: run.media_store.sweep_jobs(store, lambda *_: True))
    with pytest.raises(TransportError):
        comet_magic.image("a boat")
    job = run.jobs(CometSettings.instance(), session.current())[0]
    run.media_store.put_job(store, job._replace(state="submitting", session="another"))
    with pytest.raises(ConfigError, match="the kernel ended before the endpoint had answered"):
        comet_magic.image("a boat")
    assert KEY not in str(comet_magic.jobs())


def streamed(*events: str) -> Any:
    return [SSE_HEAD, *(chunk(f"data: {event}\n\n".encode()) for event in events), b"0\r\n\r\n"]


ERRORS = [
    '{"type": "error", "error": {"message": "blocked by policy"}}',
    '{"type": "error", "code": "moderation_blocked", "message": "blocked by policy"}',
]


@pytest.mark.parametrize("error", ERRORS)
def test_a_stream_that_ends_in_an_error_was_paid_for(gateway: Gateway, error: str, nobody_home: Path) -> None:
    draft = f'{{"type": "image_generation.partial_image", "b64_json": "{b64(picture())}"}}'
    part = f'{{"type": "speech.audio.delta", "audio": "{b64(sound()[:900])}"}}'
    server = gateway({
        DRAWN: streamed(draft, error), "/v1/audio/speech": streamed(part, error),
        "/v1/audio/transcriptions": streamed('{"type": "transcript.text.delta", "delta": "Good"}', error),
    })  # fmt: skip
    for act in (
        lambda: comet_magic.image("a boat", stream=True),
        lambda: comet_magic.speech("hello", stream_format="sse"),
        lambda: comet_magic.transcribe(tone(), stream=True),
    ):
        with pytest.raises(TransportError, match="blocked by policy") as raised:
            act()
        assert "what came is" in raised.value.hint
        with pytest.raises(ConfigError, match="may have been billed"):
            act()
    assert len(server.asked()) == 3
    assert sorted(path.suffix for path in (nobody_home / "made").iterdir()) == [".mp3", ".png"]
    server.routes[DRAWN] = streamed(draft.replace("partial_image", "completed"), error)
    assert comet_magic.image("a whole boat", stream=True).bytes == picture()


def test_of_several_requests_those_that_were_refused_cost_nothing(gateway: Gateway) -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": b64(picture())}}
    drawn, refused = (
        reply({"candidates": [{"content": {"parts": [part]}}]}),
        reply({"error": {"message": "blocked"}}, status=400),
    )
    CometSettings.instance().prices = {"gemini-x": {"request": 0.04}, "say-1": {"request": 0.1}}
    server = gateway(
        {
            "/v1beta/models/gemini-x:generateContent": (drawn, refused, drawn),
            "/v1/audio/speech": (reply(sound()), refused),
        }
    )
    assert len(comet_magic.image("boats", model="gemini-x", n=3)) == 2
    assert spent() == pytest.approx(0.08)
    with pytest.raises(APIError, match="blocked") as raised:
        comet_magic.speech("A sentence of some length. " * 550)
    assert "what came is in" in raised.value.hint
    assert spent() == pytest.approx(0.18)
    assert len(server.asked()) == 5


def test_what_was_made_is_paid_for_once_and_whole(gateway: Gateway) -> None:
    there = gateway({"/p.png": (*[reply("later", status=503)] * 3, reply(picture(), "image/png"))})
    data = [{"b64_json": b64(picture())}, {"url": f"{there.url}/p.png"}, {"b64_json": "%%%"}]
    gateway({DRAWN: reply({"data": data, "usage": {"input_tokens": 7, "output_tokens": 9}})})
    assert len(comet_magic.image("boats", n=3)) == 1
    made = comet_magic.image("boats", n=3)
    assert [one.usage.output_tokens for one in made] == [9, 9]
    assert spent() == pytest.approx(0.12)
    assert session.current().totals.replies == 1
    assert session.current().totals.usd == pytest.approx(0.12)


def test_usage_outlives_a_result_that_comes_late(gateway: Gateway) -> None:
    there = gateway({"/p.png": (*[reply("later", status=503)] * 3, reply(picture(), "image/png"))})
    gateway(
        {
            DRAWN: reply(
                {"data": [{"url": f"{there.url}/p.png"}], "usage": {"input_tokens": 1000, "output_tokens": 2000}}
            )
        }
    )
    CometSettings.instance().prices = {"draw-1": [10, 40]}
    with pytest.raises(CometError, match="could not be fetched"):
        comet_magic.image("a boat")
    made = comet_magic.image("a boat")
    assert (made.cost, made.usage.output_tokens) == (pytest.approx(0.09), 2000)
    assert spent() == pytest.approx(0.09)


def test_a_fresh_order_that_was_interrupted_is_waited_for(gateway: Gateway) -> None:
    server = gateway({LOOK: reply({"status": "in_progress"})})
    CometSettings.instance().media_wait_s = 0.1
    for _ in range(3):
        with pytest.raises(TransportError, match="still running"):
            comet_magic.video("a boat drifts", fresh=True)
    assert len(server.asked(FILM)) == 1
    server.routes[LOOK] = reply({"error": {"message": "Task not found"}}, status=404)
    CometSettings.instance().media_wait_s = 20
    with pytest.raises(APIError, match="Task not found") as raised:
        comet_magic.video("a boat drifts")
    assert "%comet_jobs --drop" in raised.value.hint
    server.routes[LOOK] = reply({"status": "completed"})
    assert run.drop(comet_magic.jobs().rows[0][0], CometSettings.instance(), session.current()).remote == "video-3"
    with pytest.raises(ConfigError, match="you gave it up"):
        comet_magic.video("a boat drifts")
    assert comet_magic.video("a boat drifts", fresh=True).bytes == film()
    assert len(server.asked(FILM)) == 2
    with pytest.raises(ConfigError, match="does not go on"):
        run.drop(comet_magic.jobs().rows[0][0], CometSettings.instance(), session.current())


def test_what_another_kernel_has_ended_is_set_aside_no_more(gateway: Gateway) -> None:
    server = gateway({LOOK: reply({"status": "in_progress"})})
    settings = CometSettings.instance()
    settings.media_wait_s = 0.1
    with pytest.raises(TransportError, match="still running"):
        comet_magic.video("a boat drifts")
    here, store = session.current(), session.current().store(settings)
    assert here.promised_usd() == 1.5
    job = run.jobs(settings, here)[0]
    run.media_store.put_job(store, job._replace(state="failed", why="no stock"))
    with pytest.raises(ConfigError, match="failed: no stock"):
        comet_magic.video("a boat drifts")
    assert here.promised_usd() == 0
    assert "≈" not in str(comet_magic.jobs())
    assert len(server.asked(FILM)) == 1


def test_an_interrupt_before_anything_was_sent_leaves_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway()
    begin = run.media_store.begin_job

    def interrupted(*known: Any, **more: Any) -> None:
        begin(*known, **more)
        raise KeyboardInterrupt

    CometSettings.instance().budget = 2
    with monkeypatch.context() as patch:
        patch.setattr(run.media_store, "begin_job", interrupted)
        with pytest.raises(KeyboardInterrupt):
            comet_magic.video("a boat drifts")
    assert session.current().promised_usd() == 0
    assert spent() == 0
    assert comet_magic.video("a boat drifts").bytes == film()


def test_half_a_character_in_an_answer_costs_nothing(gateway: Gateway) -> None:
    raw = json.dumps({"data": [{"b64_json": b64(picture()), "revised_prompt": "x\ud800y"}]})
    gateway({DRAWN: reply(raw), "/v1/audio/transcriptions": reply(json.dumps({"text": "a\ud800b"})),
             SONG: reply(json.dumps({"data": "task-\ud800"})), FETCH: reply({})})  # fmt: skip
    assert comet_magic.image("a boat").caption == "x\ufffdy"
    assert comet_magic.transcribe(tone()) == "a\ufffdb"
    with pytest.raises(CometError):
        comet_magic.music("a song")
    assert session.current().promised_usd() == pytest.approx(0.1)  # it may go on


def test_a_disk_that_is_full_leaves_no_half_of_a_file(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, nobody_home: Path
) -> None:
    gateway()

    def no_links(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "link", no_links)
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "rename", full)
        with pytest.raises(CometError, match="No space left on device"):
            comet_magic.video("a boat drifts")
    assert comet_magic.video("a boat drifts").bytes == film()
    assert [path.suffix for path in (nobody_home / "made").iterdir()] == [".mp4"]


def test_a_notebook_that_was_moved_takes_what_is_missing_with_it(gateway: Gateway, nobody_home: Path) -> None:
    server = gateway({"/files/1.mp3": reply("later", status=503)})
    assert len(comet_magic.music("a song")) == 1
    moved = (nobody_home / "made").rename(nobody_home / "moved")
    CometSettings.instance().media_folder = str(moved)
    server.routes["/files/1.mp3"] = reply(sound(), "audio/mpeg")
    assert [song.path.parent for song in comet_magic.music("a song")] == [moved, moved]
    assert not (nobody_home / "made").exists()
    assert len(server.asked("/files/0.mp3", "GET")) == 1


def test_where_nothing_may_be_asked_what_is_here_is_shown(gateway: Gateway) -> None:
    gateway({"/files/1.mp3": reply("later", status=503)})
    comet_magic.music("a song")
    CometSettings.instance().replay = "only"
    assert len(comet_magic.music("a song")) == 1


def test_what_is_no_picture_is_not_among_the_pictures(gateway: Gateway) -> None:
    gateway({DRAWN: reply({"data": [{"b64_json": b64(b"\0\1 odd")}, {"b64_json": b64(picture())}]})})
    (made,) = comet_magic.image("boats", n=2)
    assert made.mime == "image/png"


@pytest.mark.parametrize(
    "address", ["/files/x.png?sig=SECRET", "http://me:SECRET@127.0.0.1:1/x.png", "{url}/x.png?sig=SECRET"]
)
def test_what_signs_an_address_is_in_no_error_and_no_table(gateway: Gateway, address: str) -> None:
    server = gateway({r"/files/x.png": reply("no", status=403), "/x.png": reply("no", status=403)})
    server.routes[DRAWN] = reply({"data": [{"url": address.replace("{url}", server.url)}]})
    with pytest.raises(CometError) as raised:
        comet_magic.image("a boat")
    assert "SECRET" not in f"{raised.value}{comet_magic.jobs()}{comet_magic.jobs()._repr_mimebundle_()}"


def test_times_in_a_table_of_segments() -> None:
    assert [_clock(seconds) for seconds in (0, 59.97, 65.25, 1e308, None, -1)] == [
        "0:00.0",
        "1:00.0",
        "1:05.2",
        "",
        "",
        "",
    ]


def test_a_folder_that_is_none_is_told(gateway: Gateway) -> None:
    server = gateway()
    CometSettings.instance().media_folder = "nul\0"
    with pytest.raises(ConfigError, match="nothing can be written into"):
        comet_magic.image("a boat")
    assert not server.asked()


def test_a_song_that_is_missing_is_asked_for_by_its_new_address(gateway: Gateway) -> None:
    server = gateway({"/files/1.mp3": reply("expired", status=403)})
    assert len(comet_magic.music("a song")) == 1
    clips = [
        {"title": name, "status": "complete", "audio_url": f"{server.url}/files/{name}.mp3"} for name in ("0", "new")
    ]
    server.routes[FETCH] = reply({"data": {"status": "SUCCESS", "data": clips}})
    assert len(comet_magic.music("a song")) == 2


@pytest.mark.parametrize("script", [reply("<html>", "text/html", status=502), reply(b"")])
def test_what_may_have_arrived_is_not_sent_again_whatever_is_replayed(gateway: Gateway, script: Any) -> None:
    server = gateway({DRAWN: script})
    CometSettings.instance().replay = "never"
    for _ in range(2):
        with pytest.raises(CometError):
            comet_magic.image("a boat")
    assert len(server.asked("images")) == 1


def test_an_interrupt_while_the_thread_begins_sends_nothing(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    server = gateway()
    comet_magic.image("a ship")
    begin = run.in_background

    def interrupted(function: Any) -> Any:
        begin(function)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "in_background", interrupted)
        with pytest.raises(KeyboardInterrupt):
            comet_magic.image("a boat")
    assert comet_magic.image("a boat").mime == "image/png"
    assert len(server.asked("images")) == 2
    assert session.current().promised_usd() == 0


def test_a_film_in_the_answer_itself(gateway: Gateway) -> None:
    path = "/v1beta/models/veo-9/operations/op1"
    padded = film() + b"\0\0\0\x08free" * 600_000  # 5 MB, and a film still
    sample = {"video": {"bytesBase64Encoded": b64(padded)}}
    done = {"done": True, "response": {"generateVideoResponse": {"generatedSamples": [sample]}}}
    gateway({"/v1beta/models/veo-9:predictLongRunning": reply({"name": path[8:]}), path: reply(done)})
    assert comet_magic.video("a boat drifts", model="veo-9", api="veo").bytes == padded


def test_of_a_long_text_what_was_spoken_is_paid_for(gateway: Gateway) -> None:
    CometSettings.instance().prices = {"say-1": {"request": 0.1}}
    for script, usd in (
        (reply({"error": {"message": "x"}}, status=504), 0.2),
        ([RESET], 0.2),
        (reply({"error": {"message": "x"}}, status=400), 0.1),
    ):
        gateway({"/v1/audio/speech": (reply(sound()), script)})
        before = spent()
        with pytest.raises(CometError):
            comet_magic.speech("A sentence of some length. " * 550)
        assert spent() - before == pytest.approx(usd)


def test_a_dry_run_of_what_is_there_asks_nothing(gateway: Gateway) -> None:
    server = gateway()
    made = comet_magic.image("a boat")
    CometSettings.instance().replay = "only"
    asked = len(server.received)
    assert "would be shown at no cost" in str(comet_magic.image("a boat", dry_run=True))
    made.path.unlink()
    assert "its file is no longer there" in str(comet_magic.image("a boat", dry_run=True))
    assert len(server.received) == asked


def test_secrets_that_were_taken_out_are_counted(
    gateway: Gateway, capsys: Any, shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = gateway()
    monkeypatch.setenv("MY_PASSWORD", "correct-horse-battery")
    shell.user_ns["text"] = "a boat named correct-horse-battery"
    shell.run_cell("%%comet_image\n{{text}}").raise_error()
    assert "1 secret redacted" in capsys.readouterr().out
    assert b"correct-horse" not in server.asked("images")[0].body
