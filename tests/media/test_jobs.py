"""Songs and films: the cases M1 to M9 and V1 to V12 of the gateway's notes against the raw server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from codecs_for_tests import b64, film, measured, picture, sound
from media_server import Gateway, path_of
from wire_server import RESET, reply

import comet_magic
from comet_magic import APIError, CometError, ConfigError, TransportError
from comet_magic.exchange import session
from comet_magic.media import running
from comet_magic.media.replies import percent, reason, state_of
from comet_magic.settings import CometSettings

SONG, FETCH = "/suno/submit/music", "/suno/fetch/task-7"
FILM, LOOK, CONTENT = "/v1/videos", "/v1/videos/video-3", "/v1/videos/video-3/content"


def task(status: str, *clips: dict[str, Any], **more: Any) -> Any:
    return reply({"code": "success", "data": {"task_id": "x", "status": status, "data": list(clips), **more}})


def clip(address: str, title: str = "Morning", **more: Any) -> dict[str, Any]:
    return {"id": title, "title": title, "status": "complete", "audio_url": address, **more}


# ---- music


def test_m1_a_song_is_waited_for(gateway: Gateway, shell: Any) -> None:
    server = gateway()
    shell.run_cell("%%comet_music -o songs --tags calm\nA calm piano piece").raise_error()
    songs = shell.user_ns["songs"]
    assert [song.caption for song in songs] == ["Morning", "Evening"]
    assert [song.path.name for song in songs] == ["morning-1.mp3", "evening-1.mp3"]
    assert all(measured(song.path)["seconds"] == pytest.approx(1.0, abs=0.1) for song in songs)
    assert server.asked(SONG)[0].json == {
        "mv": "chirp-9",
        "gpt_description_prompt": "A calm piano piece",
        "tags": "calm",
    }
    assert len(server.asked(SONG)) == 1


def test_the_fields_of_a_song(gateway: Gateway) -> None:
    server = gateway()
    comet_magic.music("a piano", instrumental=True)
    comet_magic.music("a waltz", lyrics="la la", title="La")
    assert [one.json for one in server.asked(SONG)] == [
        {"mv": "chirp-9", "gpt_description_prompt": "a piano", "make_instrumental": True},
        {"mv": "chirp-9", "prompt": "la la", "tags": "a waltz", "title": "La"},
    ]


def test_m2_a_clip_without_sound_is_told(gateway: Gateway, capsys: pytest.CaptureFixture[str], shell: Any) -> None:
    server = gateway()
    good = clip(f"{server.url}/files/0.mp3")
    server.routes[FETCH] = task("SUCCESS", good, clip("", "Evening"))
    shell.run_cell("%%comet_music -o songs\nA calm piano piece").raise_error()
    assert len(shell.user_ns["songs"]) == 1
    assert "song 2 of 2: the endpoint gives no address" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (reply("no", status=403), "is forbidden .403"),
        (reply("<html>forbidden</html>", "text/html"), "a page of HTML, and no song"),
        (reply(b"\x13\x37" * 99, "audio/mp4"), "bytes of an unknown format, and no song"),
    ],
)
def test_m3_sound_that_is_not_to_be_had_is_told(gateway: Gateway, script: Any, words: str) -> None:
    server = gateway({r"/files/.*\.mp3": script})
    with pytest.raises(CometError, match=f"the song is finished, but could not be fetched: .*{words}") as raised:
        comet_magic.music("A calm piano piece")
    assert raised.value.hint
    assert comet_magic.jobs().rows[0][4] == "not all fetched"
    server.routes[r"/files/.*\.mp3"] = reply(sound(), "audio/mpeg")
    assert len(comet_magic.music("A calm piano piece")) == 2
    assert len(server.asked(SONG)) == 1


def test_m4_an_address_of_a_stream_is_not_fetched(gateway: Gateway) -> None:
    server = gateway()
    early = clip(f"{server.url}/files/stream.mp3", status="streaming")
    server.routes[FETCH] = (task("IN_PROGRESS", early), task("SUCCESS", clip(f"{server.url}/files/whole.mp3")))
    comet_magic.music("A calm piano piece")
    assert [path_of(one) for one in server.asked("/files", "GET")] == ["/files/whole.mp3"]


def test_m5_a_failure_is_told_in_its_own_words(gateway: Gateway) -> None:
    server = gateway({FETCH: task("FAILURE", fail_reason="任务超时（5分钟）")})
    with pytest.raises(APIError, match="任务超时（5分钟）") as raised:
        comet_magic.music("A calm piano piece")
    assert "refund" in raised.value.hint
    with pytest.raises(ConfigError, match="failed"):
        comet_magic.music("A calm piano piece")
    assert len(server.asked(SONG)) == 1


def test_m6_a_submission_without_an_answer_is_not_repeated(gateway: Gateway) -> None:
    server = gateway({SONG: [RESET]})
    CometSettings.instance().retries = 3
    with pytest.raises(TransportError, match="may have been billed"):
        comet_magic.music("A calm piano piece")
    assert len(server.asked(SONG)) == 1
    assert comet_magic.jobs().rows[0][4] == "lost"


def test_m7_looks_that_fail_are_repeated(gateway: Gateway) -> None:
    server = gateway()
    good = task("SUCCESS", clip(f"{server.url}/files/0.mp3"))
    server.routes[FETCH] = (reply("x", status=500), reply("<html>", "text/html", status=502), [RESET], good)
    assert len(comet_magic.music("A calm piano piece")) == 1
    server.routes[FETCH] = reply({"code": "task_not_exist", "message": "task_not_exist", "data": None}, status=400)
    with pytest.raises(APIError, match="task_not_exist") as raised:
        comet_magic.music("another piece")
    assert "%comet_resume" in raised.value.hint
    assert len(server.asked(FETCH, "GET")) == 4 + running.MOST_FAILURES
    server.routes[FETCH] = good
    assert len(comet_magic.resume(comet_magic.jobs().rows[0][0])) == 1
    assert len(server.asked(SONG)) == 2


def test_m8_an_interrupt_ends_the_wait_and_not_the_job(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    server = gateway()
    server.routes[FETCH] = task("IN_PROGRESS", progress="30%")
    looks = running.RunningJob._pause

    def interrupted(self: Any, *more: Any) -> None:
        looks(self, *more)
        if len(server.asked(FETCH, "GET")) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running.RunningJob, "_pause", interrupted)
        with pytest.raises(KeyboardInterrupt):
            comet_magic.music("A calm piano piece")
    (row,) = comet_magic.jobs().rows
    assert row[4] == "running"
    server.routes[FETCH] = task("SUCCESS", clip(f"{server.url}/files/0.mp3"))
    assert len(comet_magic.resume(row[0])) == 1
    assert len(server.asked(SONG)) == 1


@pytest.mark.parametrize(
    ("said", "known"),
    [("", None), (None, None), (45, 45), ("45%", 45), ("45", 45), ("x", None), (True, None), (900, None)],
)
def test_m9_progress_of_any_kind(said: Any, known: int | None) -> None:
    assert percent(said) == known


# ---- film


def test_v1_a_film_is_waited_for(gateway: Gateway, shell: Any) -> None:
    server = gateway()
    server.routes["/f.mp4"] = reply(film(), "video/mp4")
    done = {"id": "video-3", "status": "completed", "progress": 100, "video_url": f"{server.url}/f.mp4"}
    server.routes[LOOK] = (reply({"id": "video-3", "status": "in_progress", "progress": 40}), reply(done))
    shell.run_cell("%%comet_video --seconds 5 --size 16:9 -o made\nA boat drifts").raise_error()
    made = shell.user_ns["made"]
    assert (made.bytes, made.mime) == (film(), "video/mp4")
    said = measured(made.path)
    assert "mp4" in said["format"]
    assert said["seconds"] == pytest.approx(1.0, abs=0.15)
    assert made.cost == pytest.approx(0.1, abs=0.02)  # a second, by its own length
    body = server.asked(FILM)[0].body
    for field in (b'name="seconds"\r\n\r\n5\r\n', b'name="size"\r\n\r\n16:9\r\n', b'name="model"\r\n\r\nfilm-1\r\n'):
        assert field in body
    with pytest.raises(ConfigError, match="it has no array"):
        made.array()


def test_v2_the_words_of_another_vendor(gateway: Gateway) -> None:
    gateway({
        FILM: reply({"task_id": "video-3", "status": "SUBMITTED"}),
        LOOK: (reply({"data": {"status": "IN_PROGRESS", "progress": "12%"}}), reply({"data": {"status": "SUCCESS"}})),
    })  # fmt: skip
    assert comet_magic.video("A boat drifts").bytes == film()


def test_v3_the_key_goes_to_the_endpoint_alone(gateway: Gateway) -> None:
    server = gateway()
    assert comet_magic.video("A boat drifts").bytes == film()
    (fetched,) = server.asked(CONTENT, "GET")
    assert fetched.header("authorization")


def test_v4_a_result_is_fetched_again(gateway: Gateway) -> None:
    trouble = reply({"error": {"message": "Upstream service returned status 500"}}, status=502)
    server = gateway({CONTENT: (trouble, trouble, reply(film(), "video/mp4"))})
    assert comet_magic.video("A boat drifts").bytes == film()
    assert len(server.asked(CONTENT, "GET")) == 3


def test_v4_a_result_that_was_cut_is_fetched_again(gateway: Gateway, nobody_home: Path) -> None:
    head = b"HTTP/1.1 200 X\r\ncontent-type: video/mp4\r\ncontent-length: %d\r\n\r\n" % len(film())
    gateway({CONTENT: ([head + film()[:900], "close"], reply(film(), "video/mp4"))})
    assert comet_magic.video("A boat drifts").bytes == film()
    assert len([*(nobody_home / "made").iterdir()]) == 1


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"status": "failed", "error": {"code": "x9", "message": "too dark"}}, "x9: too dark"),
        ({"status": "FAILURE"}, "the endpoint gives no reason"),
        ({"data": {"status": "ERROR", "fail_reason": "no stock"}}, "no stock"),
    ],
)
def test_v5_why_a_film_failed(gateway: Gateway, said: Any, words: str) -> None:
    gateway({LOOK: reply(said)})
    with pytest.raises(APIError, match=f"the job failed: {words}"):
        comet_magic.video("A boat drifts")


def test_v5_an_error_with_a_good_status_is_one(gateway: Gateway) -> None:
    path = "/kling/v1/videos/text2video"
    server = gateway(
        {path: reply({"code": 1303, "message": "parallel task over resource pack limit", "request_id": "r"})}
    )
    with pytest.raises(APIError, match="1303: parallel task over"):
        comet_magic.video("A boat drifts", model="kling-v3", seconds=5)
    assert server.asked(path)[0].json == {"model_name": "kling-v3", "prompt": "A boat drifts", "duration": "5"}
    server.routes[path] = reply(
        {"code": 0, "message": "SUCCEED", "data": {"task_id": "k1", "task_status": "submitted"}}
    )
    server.routes["/k.mp4"] = reply(film(), "video/mp4")
    result = {"videos": [{"id": "v", "url": f"{server.url}/k.mp4", "duration": "5"}]}
    server.routes[f"{path}/k1"] = (
        reply({"code": 0, "data": {"task_id": "k1", "task_status": "processing"}}),
        reply({"code": 0, "data": {"task_id": "k1", "task_status": "succeed", "task_result": result}}),
    )
    assert comet_magic.video("A boat drifts", model="kling-v3", seconds=5).bytes == film()


def test_v6_the_id_is_that_of_the_submission(gateway: Gateway) -> None:
    server = gateway({LOOK: reply({"id": "another", "status": "completed"})})
    comet_magic.video("A boat drifts")
    assert {path_of(one) for one in server.asked("/v1/videos/", "GET")} == {LOOK, CONTENT}


def test_v7_a_bad_parameter_is_told(gateway: Gateway) -> None:
    why = {
        "error": {"code": "InvalidParameter", "message": "the parameter duration is not valid", "type": "BadRequest"}
    }
    server = gateway({FILM: reply(why, status=400)})
    with pytest.raises(APIError, match="InvalidParameter: the parameter duration"):
        comet_magic.video("A boat drifts", seconds=99)
    assert len(server.asked(FILM)) == 1


def test_v8_a_wait_has_an_end_and_the_job_has_none(gateway: Gateway) -> None:
    server = gateway({LOOK: reply({"id": "video-3", "status": "pondering"})})
    CometSettings.instance().media_wait_s = 0.1
    with pytest.raises(TransportError, match=r"still running after 0 s: job \w{8}, pondering") as raised:
        comet_magic.video("A boat drifts")
    assert "%comet_resume" in raised.value.hint
    server.routes[LOOK] = reply({"id": "video-3", "status": "completed"})
    assert comet_magic.video("A boat drifts").bytes == film()
    assert len(server.asked(FILM)) == 1


def test_v9_another_kernel_picks_it_up(gateway: Gateway) -> None:
    server = gateway({LOOK: reply({"id": "video-3", "status": "in_progress"})})
    CometSettings.instance().media_wait_s = 0.1
    with pytest.raises(TransportError, match="still running"):
        comet_magic.video("A boat drifts")
    session.reset()
    server.routes[LOOK] = reply({"id": "video-3", "status": "completed"})
    assert comet_magic.resume("video-3").bytes == film()
    assert len(server.asked(FILM)) == 1


def test_v10_a_redirect_is_followed_without_the_key(gateway: Gateway) -> None:
    there = gateway({"/v.mp4": reply(film(), "video/mp4")})
    server = gateway({CONTENT: reply("", status=302, location=f"{there.url}/v.mp4")})
    assert comet_magic.video("A boat drifts").bytes == film()
    assert [one.header("authorization") for one in there.received] == [None]
    server.routes[CONTENT] = reply("", status=302, location="/v1/videos/video-3/content")
    with pytest.raises(CometError, match="redirects more than 5 times"):
        comet_magic.video("Another boat")


def test_v11_what_is_too_large_stays_there_until_that_is_allowed(gateway: Gateway) -> None:
    head = b"HTTP/1.1 200 X\r\ncontent-type: video/mp4\r\ncontent-length: 200000000\r\n\r\n"
    server = gateway({CONTENT: [head + film()[:900], "hold"]})
    with pytest.raises(CometError, match="larger than 128 MB: 200 MB") as raised:
        comet_magic.video("A boat drifts")
    assert "media_limit_mb" in raised.value.hint
    server.routes[CONTENT] = reply(film(), "video/mp4")
    assert comet_magic.video("A boat drifts").bytes == film()
    assert len(server.asked(FILM)) == 1
    CometSettings.instance().video_embed_mb = 0.001
    data, _ = comet_magic.video("A boat drifts")._repr_mimebundle_()
    assert 'src="made/a-boat-drifts-1.mp4"' in data["text/html"]
    assert "0.0 MB, not in the notebook: the player reads the file" in data["text/html"]


def test_v12_a_film_that_was_filtered_says_why(gateway: Gateway) -> None:
    name = "models/veo-9/operations/op1"
    server = gateway({
        "/v1beta/models/veo-9:predictLongRunning": reply({"name": name}),
        f"/v1beta/{name}": (
            reply({"name": name}),
            reply({"done": True, "response": {"generateVideoResponse": {
                "raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["shows a real person"]}}}),
        ),
    })  # fmt: skip
    with pytest.raises(APIError, match="refused: shows a real person"):
        comet_magic.video("A boat drifts", model="veo-9", api="veo", seconds=8, size="16x9", images=[picture()])
    sent = server.asked("predictLongRunning")[0].json
    assert sent["parameters"] == {"durationSeconds": "8", "aspectRatio": "16:9"}
    assert sent["instances"][0]["image"]["bytesBase64Encoded"] == b64(picture())
    sample = {"video": {"uri": f"{server.url}/f.mp4"}}
    server.routes["/f.mp4"] = reply(film(), "video/mp4")
    server.routes[f"/v1beta/{name}"] = reply(
        {"done": True, "response": {"generateVideoResponse": {"generatedSamples": [sample]}}}
    )
    assert comet_magic.video("A boat sails", model="veo-9", api="veo").bytes == film()


def test_a_first_picture_goes_along(gateway: Gateway) -> None:
    server = gateway()
    comet_magic.video("{{boat}} drifts", {"boat": picture()})
    assert b'name="input_reference"; filename="image-1.png"' in server.asked(FILM)[0].body


# ---- what all have


def test_states_in_any_vendor_s_words() -> None:
    words = "queued IN_PROGRESS Succeeded FAILURE not-start processing cancelled pondering"
    known = "waiting running done failed waiting running failed waiting"
    assert [state_of(word) for word in words.split()] == known.split()
    assert state_of(None) == "waiting"
    assert reason({"error": {"message": "a"}}) == "a"
    assert reason({"task_status_msg": "b"}) == "b"
    assert reason({}) == ""


def test_an_answer_without_an_id_is_told(gateway: Gateway) -> None:
    for route, act in ((SONG, comet_magic.music), (FILM, comet_magic.video)):
        gateway({route: reply({"code": "success", "data": {}})})
        with pytest.raises(APIError, match="no job"):
            act("A boat drifts")


def test_a_result_inside_this_network_is_not_asked(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    from comet_magic.api.client import DEFAULT_LIMITS, Client
    from comet_magic.api.endpoint import Endpoint
    from comet_magic.media.wire import ResultUnavailable, Wire

    far = Wire(Client(lambda request: pytest.fail("asked"), Endpoint("https://gateway.example"), limits=DEFAULT_LIMITS))
    for address in (
        "http://127.0.0.1:8888/api",
        "http://169.254.169.254/latest",
        "http://10.0.0.1/x",
        "http://intranet/x",
        "file:///etc/passwd",
    ):
        with pytest.raises(ResultUnavailable, match="was not asked|not an http address"):
            far.fetch(address, Path("x"), 100, lambda got: None)


def test_the_budget_holds_and_what_may_cost_anything_is_not_sent(gateway: Gateway) -> None:
    server = gateway()
    settings = CometSettings.instance()
    settings.budget = 0.05
    assert comet_magic.image("a boat").cost == 0.04
    with pytest.raises(ConfigError, match=r"could cost up to \$0\.040"):
        comet_magic.image("a ship")
    with pytest.raises(ConfigError, match="what unheard-of costs is not known"):
        comet_magic.image("a ship", model="unheard-of")
    settings.prices = {"unheard-of": {"request": 0.001}}
    assert comet_magic.image("a ship", model="unheard-of").cost == 0.001
    assert len(server.asked("images")) == 2
    with pytest.raises(ConfigError, match=r"of which \$0\.041 is spent"):
        comet_magic.video("a boat")


def test_a_refused_order_costs_nothing_and_a_lost_one_may(gateway: Gateway) -> None:
    server = gateway({FILM: reply("no", status=400)})
    CometSettings.instance().budget = 2.0
    with pytest.raises(APIError):
        comet_magic.video("a boat")
    server.routes[FILM] = [RESET]
    with pytest.raises(TransportError):
        comet_magic.video("a boat")
    with pytest.raises(ConfigError, match=r"of which \$1\.50 is spent"):
        comet_magic.video("a ship")


def test_a_dry_run_sends_nothing(gateway: Gateway) -> None:
    server = gateway()
    said = str(comet_magic.image("a boat", n=2, images=[picture()], dry_run=True))
    assert "It would ask for a 2 pictures" not in said
    for words in ("2 pictures from draw-1", "/v1/images/edits", "$0.080", "image-1.png (image/png"):
        assert words in said
    assert not server.asked()


def test_a_file_that_has_gone_is_told_and_nothing_is_asked(gateway: Gateway) -> None:
    server = gateway()
    made = comet_magic.image("a boat")
    content = made.bytes
    made.path.unlink()
    with pytest.raises(ConfigError, match="no longer there") as raised:
        comet_magic.image("a boat")
    assert "makes it again (≈ $0.040)" in raised.value.hint
    assert "is no longer there" in made._repr_mimebundle_()[0]["text/plain"]
    made.path.write_bytes(content)
    assert comet_magic.image("a boat").bytes == content
    moved = made.path.parent.rename("elsewhere")  # as with its notebook
    CometSettings.instance().media_folder = str(moved)
    assert comet_magic.image("a boat").path == moved.resolve() / made.path.name
    assert len(server.asked("images")) == 1


def test_no_file_is_ever_overwritten(gateway: Gateway, nobody_home: Path) -> None:
    gateway()
    mine = nobody_home / "made" / "a-boat-1.png"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert comet_magic.image("a boat").path.name == "a-boat-2.png"
    assert comet_magic.image("a boat", fresh=True).path.name == "a-boat-3.png"
    assert mine.read_text() == "mine"


def test_where_nothing_can_be_written_nothing_is_sent(gateway: Gateway, nobody_home: Path) -> None:
    server = gateway()
    (nobody_home / "file").write_text("")
    CometSettings.instance().media_folder = str(nobody_home / "file" / "below")
    with pytest.raises(ConfigError, match="nothing can be written into"):
        comet_magic.image("a boat")
    assert not server.asked("images")


def test_only_what_is_here_while_nothing_may_be_sent(gateway: Gateway) -> None:
    server = gateway()
    comet_magic.image("a boat")
    CometSettings.instance().replay = "only"
    assert comet_magic.image("a boat").mime == "image/png"
    with pytest.raises(ConfigError, match="was not made yet"):
        comet_magic.image("a ship")
    assert len(server.asked("images")) == 1
    CometSettings.instance().replay = "never"
    comet_magic.image("a boat")
    assert len(server.asked("images")) == 2


def test_what_the_answer_said_stays_out_of_the_store_once_it_is_here(gateway: Gateway, nobody_home: Path) -> None:
    server = gateway()
    server.routes["/f.mp4"] = reply(film(), "video/mp4")
    server.routes[LOOK] = reply({"status": "completed", "video_url": f"{server.url}/f.mp4?signature=abc123"})
    comet_magic.video("A boat drifts")
    session.current().close()
    assert not any(b"abc123" in file.read_bytes() for file in nobody_home.rglob("*.sqlite*"))


def test_orders_of_the_same_words_are_one(gateway: Gateway) -> None:
    server = gateway()
    first = comet_magic.image("a boat", quality="low")
    assert comet_magic.image("a boat", quality="low").path == first.path
    assert comet_magic.image("a boat", quality="high").path != first.path
    session.reset()
    assert comet_magic.image("a boat", quality="low").path == first.path
    assert len(server.asked("images")) == 2
    assert server.asked("images")[-1].json["quality"] == "high"
