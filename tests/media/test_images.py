"""Pictures: the cases I1 to I11 of the gateway's notes against the raw server, and what a user sees of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from codecs_for_tests import b64, picture
from media_server import KEY, Gateway, path_of
from wire_server import RESET, SSE_HEAD, Received, chunk, reply

import comet_magic
from comet_magic import APIError, ConfigError, Media, TransportError
from comet_magic.media import wire
from comet_magic.media.gemini import Gemini
from comet_magic.media.images import Images, Previews
from comet_magic.media.order import Input, Order
from comet_magic.media.service import Body
from comet_magic.settings import CometSettings

DRAWN = "/v1/images/generations"
EDITED = "/v1/images/edits"


def drawn(*contents: bytes, **more: Any) -> dict[str, Any]:
    return {"created": 1, "data": [{"b64_json": b64(content)} for content in contents], **more}


def test_i1_a_picture_is_a_file_with_what_is_known_of_it(gateway: Gateway, nobody_home: Path) -> None:
    content = picture()
    usage = {"input_tokens": 10, "output_tokens": 200, "total_tokens": 210}
    server = gateway({DRAWN: reply(drawn(content, usage=usage), "text/plain")})
    made = comet_magic.image("A paper boat, at dawn!", size="1024x1024")
    assert isinstance(made, Media)
    assert (made.bytes, made.mime, made.prompt, made.model) == (
        content,
        "image/png",
        "A paper boat, at dawn!",
        "draw-1",
    )
    assert made.path == nobody_home / "made" / "a-paper-boat-at-dawn-1.png"
    assert made.usage.reported() == {"input_tokens": 10, "output_tokens": 200}
    assert made.cost == 0.04
    assert made.size == (64, 48) == made.image.size
    assert made.array().shape == (48, 64, 3)
    sent = server.asked("images")[0]
    assert sent.json == {"model": "draw-1", "prompt": "A paper boat, at dawn!", "size": "1024x1024"}
    assert sent.header("authorization") == f"Bearer {KEY}"
    assert made.save("copy.png").read_bytes() == content
    with pytest.raises(ConfigError, match="already"):
        made.save("copy.png")


def test_i2_the_type_is_that_of_the_bytes(gateway: Gateway) -> None:
    gateway({DRAWN: reply(drawn(picture("PNG")), "application/json")})
    made = comet_magic.image("a boat", output_format="jpeg")
    assert (made.mime, made.path.suffix) == ("image/png", ".png")


@pytest.mark.parametrize(("status", "word"), [(403, "403"), (410, "410"), (404, "404")])
def test_i3_a_result_elsewhere_is_fetched_without_the_key(gateway: Gateway, status: int, word: str) -> None:
    there = gateway({"/p.png": (reply(picture(), "image/png"), reply("gone", "text/html", status=status))})
    here = gateway({DRAWN: reply({"data": [{"url": f"{there.url}/p.png?signature=secret"}]})})
    assert comet_magic.image("a boat").bytes == picture()
    assert [one.header("authorization") for one in there.received] == [None]
    with pytest.raises(comet_magic.CometError, match=f"is forbidden .{word}") as raised:
        comet_magic.image("another boat")
    assert f"{there.url}/p.png" in str(raised.value)
    assert "signature" not in str(raised.value)
    assert "nothing is ordered for that" in str(raised.value)
    assert len(here.asked("images")) == 2
    with pytest.raises(comet_magic.CometError, match=word):  # the same cell fetches again, and orders nothing
        comet_magic.image("another boat")
    assert len(here.asked("images")) == 2


def test_i3_what_has_come_late_is_fetched_by_the_same_cell(gateway: Gateway) -> None:
    there = gateway({"/p.png": (reply("not yet", status=404), reply(picture(), "image/png"))})
    here = gateway({DRAWN: reply({"data": [{"url": f"{there.url}/p.png"}]})})
    with pytest.raises(comet_magic.CometError, match="404"):
        comet_magic.image("a boat")
    assert comet_magic.image("a boat").bytes == picture()
    assert len(here.asked("images")) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"data": []}, "no picture: the endpoint gave no reason"),
        ({"choices": [{"message": {"content": "I can't draw that."}}]}, "no picture: I can't draw that."),
        ({"text": "try another prompt"}, "no picture: try another prompt"),
    ],
)
def test_i4_text_in_place_of_a_picture_is_told(gateway: Gateway, body: Any, words: str) -> None:
    server = gateway({DRAWN: reply(body)})
    with pytest.raises(APIError, match=re.escape(words)):
        comet_magic.image("a boat")
    with pytest.raises(ConfigError, match="--fresh"):  # it may have been paid for
        comet_magic.image("a boat")
    assert len(server.asked("images")) == 1


def test_i5_what_is_damaged_leaves_the_others(gateway: Gateway, shell: Any) -> None:
    body = drawn(picture(), picture(colour="red"))
    body["data"].append({"b64_json": "%%% no base64"})
    gateway({DRAWN: reply(body)})
    shell.run_cell("%%comet_image -n 3 -o boats\nthree boats").raise_error()
    assert len(shell.user_ns["boats"]) == 2
    with pytest.raises(comet_magic.ConfigError, match="from 1 to 10"):
        comet_magic.image("x", n=11)


def test_i6_a_refusal_is_told_and_not_asked_again(gateway: Gateway) -> None:
    why = {"error": {"message": "Your request was rejected by the safety system", "code": "moderation_blocked"}}
    server = gateway({DRAWN: reply(why, status=400)})
    CometSettings.instance().retries = 3
    with pytest.raises(APIError, match=r"moderation_blocked: Your request was rejected"):
        comet_magic.image("something bad")
    assert len(server.asked("images")) == 1
    assert comet_magic.jobs().rows[0][4] == "refused"


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_i6_a_busy_endpoint_is_not_asked_twice_by_itself(gateway: Gateway, status: int) -> None:
    server = gateway(
        {
            DRAWN: (
                reply({"error": {"message": "upstream did not return image output"}}, status=status),
                reply(drawn(picture())),
            )
        }
    )
    CometSettings.instance().retries = 3
    with pytest.raises(APIError, match=str(status)):
        comet_magic.image("a boat")
    assert len(server.asked("images")) == 1
    assert comet_magic.image("a boat").bytes == picture()  # it was refused, so the user may ask again


def test_i7_silence_is_waited_out(gateway: Gateway) -> None:
    gateway({DRAWN: [1.0, *reply(drawn(picture()))]})
    CometSettings.instance().read_timeout_s = 0.2
    CometSettings.instance().deadline_s = 0.5
    assert comet_magic.image("a boat").bytes == picture()


def test_i7_a_reset_may_have_been_billed_and_is_not_repeated(gateway: Gateway) -> None:
    server = gateway({DRAWN: [0.1, RESET]})
    CometSettings.instance().retries = 3
    with pytest.raises(TransportError, match="may have been billed") as raised:
        comet_magic.image("a boat")
    assert "not sent again" in raised.value.hint
    assert len(server.asked("images")) == 1
    with pytest.raises(ConfigError, match="was lost, and may have been billed"):
        comet_magic.image("a boat")
    assert len(server.asked("images")) == 1
    server.routes[DRAWN] = reply(drawn(picture()))
    assert comet_magic.image("a boat", fresh=True).bytes == picture()


def test_where_nothing_listens_nothing_was_sent(gateway: Gateway) -> None:
    server = gateway()
    comet_magic.image("a boat")
    server.__exit__()
    CometSettings.instance().endpoint = "http://127.0.0.1:9"
    with pytest.raises(TransportError, match="cannot connect"):
        comet_magic.image("a ship", model="draw-1")
    assert comet_magic.jobs().rows[0][4] == "refused"


def partial(content: bytes, kind: str = "image_generation.partial_image") -> bytes:
    return f'event: {kind}\ndata: {{"type": "{kind}", "b64_json": "{b64(content)}"}}\n\n'.encode()


def test_i8_a_stream_ends_in_one_picture(gateway: Gateway) -> None:
    draft, whole = picture(colour="grey"), picture()
    usage = b'"usage": {"input_tokens": 5, "output_tokens": 9}, "b64_json"'
    last = partial(whole, "image_generation.completed").replace(b'"b64_json"', usage)
    server = gateway({DRAWN: [SSE_HEAD, chunk(partial(draft)), chunk(partial(draft)), chunk(last), b"0\r\n\r\n"]})
    made = comet_magic.image("a boat", stream=True, partial_images=2)
    assert (made.bytes, made.usage.output_tokens) == (whole, 9)
    assert server.asked("images")[0].json["partial_images"] == 2
    previews = Previews()
    assert previews.feed(partial(draft)) == draft
    assert previews.feed(b": ping\n\n") == b""


@pytest.mark.parametrize("end", [[b"0\r\n\r\n"], [RESET], []])
def test_i8_a_draft_is_kept_and_called_unfinished(gateway: Gateway, end: list[Any], nobody_home: Path) -> None:
    draft = picture(colour="grey")
    server = gateway({DRAWN: [SSE_HEAD, chunk(partial(draft)), *end, "close"]})
    with pytest.raises(TransportError, match="cut off") as raised:
        comet_magic.image("a boat", stream=True, partial_images=1)
    (file,) = (nobody_home / "made").glob("*.png")
    assert str(file) in raised.value.hint
    assert file.read_bytes() == draft
    assert len(server.asked("images")) == 1


def test_i9_pictures_go_along_as_parts_with_names_and_types(gateway: Gateway) -> None:
    server = gateway()
    first, second = picture(), picture("JPEG", colour="red")
    scope = {"first": first, "second": second, "many": 3}
    comet_magic.image("Put {{first}} on {{second}}, {{many}} times; {{first}} twice", scope, n=2, quality="low")
    body = server.asked("edits")[0].body
    names = re.findall(rb'form-data; name="([^"]+)"(?:; filename="([^"]+)"\r\nContent-Type: ([\w/]+))?', body)
    assert names == [
        (b"model", b"", b""), (b"prompt", b"", b""), (b"n", b"", b""), (b"quality", b"", b""),
        (b"image[]", b"image-1.png", b"image/png"), (b"image[]", b"image-2.jpg", b"image/jpeg"),
    ]  # fmt: skip
    assert b"Put image 1 on image 2, 3 times; image 1 twice" in body
    assert first in body
    assert second in body
    comet_magic.image("only this part", images=[first], mask=second)
    names = re.findall(rb'form-data; name="([^"]+)"', server.asked("edits")[1].body)
    assert names == [b"model", b"prompt", b"image", b"mask"]


def test_i10_a_huge_answer_is_not_held(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_ANSWER", 2_000_000)
    huge = b'{"data": [{"b64_json": "' + b"A" * 6_000_000 + b'"}]}'
    gateway({DRAWN: reply(huge)})
    with pytest.raises(TransportError, match="larger than 2 MB, and was not read"):
        comet_magic.image("a boat")


GEMINI = r"/v1beta/models/gemini-draw:generateContent"


def gemini_part(content: bytes, **more: Any) -> dict[str, Any]:
    return {"inlineData": {"mimeType": "image/png", "data": b64(content)}, **more}


def test_i11_of_gemini_the_last_picture_that_is_no_thought_counts(gateway: Gateway) -> None:
    thought, draft, whole = picture(colour="grey"), picture(colour="white"), picture()
    parts = [
        {"text": "hm", "thought": True},
        gemini_part(thought, thought=True),
        gemini_part(draft),
        gemini_part(whole),
    ]
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 1290, "totalTokenCount": 1297}
    server = gateway({GEMINI: reply({"candidates": [{"content": {"parts": parts}}], "usageMetadata": usage})})
    made = comet_magic.image("a boat", model="gemini-draw", size="16:9 2K", images=[picture(colour="red")])
    assert (made.bytes, made.usage.reported()) == (whole, {"input_tokens": 7, "output_tokens": 1290})
    sent = server.asked("generateContent")[0].json
    assert sent["generationConfig"]["imageConfig"] == {"aspectRatio": "16:9", "imageSize": "2K"}
    assert [*sent["contents"][0]["parts"][1]] == ["inlineData"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"promptFeedback": {"blockReason": "SAFETY"}}, "SAFETY"),
        ({"candidates": [{"finishReason": "IMAGE_SAFETY", "content": {"parts": [{"text": "I can't."}]}}]},
         "IMAGE_SAFETY · I can't."),
        ({"candidates": [{"content": {"parts": [{"text": "Only words."}]}, "finishReason": "STOP"}]}, "Only words."),
    ],
)  # fmt: skip
def test_gemini_says_why_there_is_none(gateway: Gateway, body: Any, words: str) -> None:
    gateway({GEMINI: reply(body)})
    with pytest.raises(APIError, match=words):
        comet_magic.image("a boat", model="gemini-draw")


def test_gemini_draws_one_picture_a_call() -> None:
    order = Order("image", "a boat", number=3, parameters={"size": "1024x768"})
    calls = Gemini().calls(order, "gemini-draw")
    assert len(calls) == 3
    assert b'"aspectRatio": "4:3"' in calls[0].content
    with pytest.raises(ConfigError, match="takes a shape"):
        Gemini().calls(order._replace(parameters={"size": "huge"}), "m")


def test_a_job_of_replicate_and_of_midjourney_is_waited_for(gateway: Gateway) -> None:
    there = gateway({"/out.webp": reply(picture("WEBP"), "image/webp")})
    running = reply({"id": "p1", "status": "processing"})
    server = gateway({
        "/replicate/v1/models/acme/flux/predictions": reply({"id": "p1", "status": "starting"}, status=201),
        "/replicate/v1/predictions/p1": (running, reply({"id": "x", "status": "succeeded", "output": f"{there.url}/out.webp"})),
        "/mj/submit/imagine": reply({"code": 22, "description": "in queue", "result": "1712"}),
        "/mj/task/1712/fetch": (
            reply({"status": "IN_PROGRESS", "progress": "40%"}),
            reply({"status": "SUCCESS", "imageUrl": f"{there.url}/out.webp"}),
        ),
    })  # fmt: skip
    for model in ("acme/flux", "midjourney"):
        made = comet_magic.image("a boat", model=model)
        assert (made.bytes, made.mime) == (picture("WEBP"), "image/webp")
    assert len(server.asked("predictions")) == 1
    server.routes["/mj/submit/imagine"] = reply({"code": 24, "description": "banned prompt", "result": None})
    with pytest.raises(APIError, match="banned prompt"):
        comet_magic.image("a bad boat", model="midjourney")
    server.routes["/mj/submit/imagine"] = reply({"code": 1, "result": "1712"})
    server.routes["/mj/task/1712/fetch"] = reply({"status": "MODAL"})
    with pytest.raises(APIError, match="waits for a choice"):
        comet_magic.image("a modal boat", model="midjourney")


def test_what_the_endpoint_does_not_offer_is_said(gateway: Gateway) -> None:
    gateway({r"/v1/models.*": reply({"data": [{"id": "gpt-9", "object": "model"}]})})
    with pytest.raises(ConfigError, match="no image model is in its list") as raised:
        comet_magic.image("a boat")
    assert "media_models" in raised.value.hint
    with pytest.raises(ConfigError, match="no music model is in its list"):
        comet_magic.music("a song")


def test_the_cheapest_that_lasts_is_taken_and_said(gateway: Gateway) -> None:
    def offered(name: str, usd: float, **more: str) -> dict[str, Any]:
        return {"id": name, "model_type": "image", "pricing": {"per_request": usd}, **more}

    listed = [
        offered("draw-dear", 0.5), offered("draw-good", 0.03), offered("draw-ends", 0.001, shutdown_date="2099-01-01"),
        offered("draw-closed", 0.0001, shutdown_date="2020-01-01"),
    ]  # fmt: skip
    server = gateway({r"/v1/models.*": reply({"data": listed})})
    assert comet_magic.image("a boat").model == "draw-good"
    assert "the cheapest image model" in str(comet_magic.image("a ship", dry_run=True))
    CometSettings.instance().media_models = {"image": "draw-dear"}
    assert comet_magic.image("a ship").model == "draw-dear"
    assert len(server.asked("/v1/models", "GET")) == 1


def test_a_list_that_does_not_come_is_no_matter_where_the_model_is_named(gateway: Gateway) -> None:
    gateway({r"/v1/models.*": reply("down", status=503)})
    made = comet_magic.image("a boat", model="my-own")
    assert (made.model, made.cost) == ("my-own", None)
    with pytest.raises(ConfigError, match="did not come, or it has none"):
        comet_magic.image("a boat")


def test_only_pictures_texts_and_numbers_go_into_a_prompt(gateway: Gateway) -> None:
    server = gateway()
    for scope, words in (
        ({"x": [1, 2]}, "no PNG, JPEG|not a PNG|no picture"),
        ({"x": {"a": 1}}, "no picture|not a PNG"),
    ):
        with pytest.raises(ConfigError, match=words):
            comet_magic.image("a {{x}}", scope)
    with pytest.raises(ConfigError, match="NameError"):
        comet_magic.image("a {{nowhere}}", {})
    with pytest.raises(ConfigError, match="prompt is empty"):
        comet_magic.image("  \n ")
    CometSettings.instance().share_values = False
    for prompt, more in (("a {{x}}", {}), ("a boat", {"images": [picture()]})):
        with pytest.raises(ConfigError, match="share_values"):
            comet_magic.image(prompt, {"x": "word"}, **more)
    assert not server.asked("images")


def test_a_figure_in_a_prompt_is_sent_as_it_looks(gateway: Gateway, shell: Any) -> None:
    server = gateway()
    shell.run_cell(
        "import matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt\nfig, ax = plt.subplots()"
    )
    shell.run_cell("%%comet_image -o night\nMake {{fig}} darker").raise_error()
    assert b"Make image 1 darker" in server.asked("edits")[0].body
    assert b"\x89PNG" in server.asked("edits")[0].body
    shell.run_cell("%%comet_image\nMake {{night}} lighter").raise_error()
    assert shell.user_ns["night"].bytes in server.asked("edits")[1].body
    shell.run_cell("plt.close('all')")


def test_a_picture_of_ours_goes_into_a_question_as_a_picture(gateway: Gateway, shell: Any) -> None:
    server = gateway({"/v1/messages": reply({
        "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
        "content": [{"type": "text", "text": "A boat."}], "usage": {"input_tokens": 1, "output_tokens": 1},
    })})  # fmt: skip
    shell.run_cell("%%comet_image -o boat\na boat").raise_error()
    CometSettings.instance().stream = False
    shell.run_cell("%%claude -m claude-haiku-4-5\nWhat is in {{boat}}?").raise_error()
    content = server.asked("messages")[0].json["messages"][0]["content"]
    assert [block["type"] for block in content][:2] == ["text", "image"]


def test_errors_in_a_body_are_found_whatever_they_look_like() -> None:
    for body in (
        b'{"error": "x"}', b'{"code": 1303, "message": "x"}', b'{"success": false, "message": "x"}',
        b'[{"error": {"code": 400, "message": "x", "status": "INVALID_ARGUMENT"}}]', b"<html><title>x</title></html>",
        b'{"code": "fail_to_fetch_task", "message": "{\\"error\\": {\\"message\\": \\"x\\"}}", "data": null}',
    ):  # fmt: skip
        with pytest.raises(APIError, match="x"):
            Images().answer([Body(body)])


def test_more_pictures_than_the_endpoint_takes_are_refused_here() -> None:
    many = tuple(Input(b"", f"{at}.png", "image/png") for at in range(17))
    with pytest.raises(ConfigError, match="at most 16 pictures"):
        Images().calls(Order("image", "x", inputs=many), "m")


def test_a_key_in_a_prompt_is_in_no_store_file_or_output(gateway: Gateway, nobody_home: Path) -> None:
    body = drawn(picture())
    body["data"][0]["revised_prompt"] = f"your key is {KEY}"
    gateway({DRAWN: reply(body)})
    made = comet_magic.image(f"a boat named {KEY}")
    assert KEY not in repr(made) + made.caption + str(comet_magic.jobs()) + str(made._repr_mimebundle_())
    assert not any(KEY.encode() in file.read_bytes() for file in nobody_home.rglob("*") if file.is_file())


def test_received_paths(gateway: Gateway) -> None:
    server = gateway()
    comet_magic.image("a boat")
    assert [path_of(one) for one in server.received] == ["/v1/models", DRAWN]
    assert isinstance(server.received[0], Received)
