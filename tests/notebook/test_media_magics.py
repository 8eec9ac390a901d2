"""The cells and lines that make pictures, sound and film: flags, outputs, names, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
from codecs_for_tests import b64, film, picture, sound, tone
from IPython.utils.capture import RichOutput, capture_output
from media_server import KEY, MediaServer
from wire_server import reply

import comet_magic
from comet_magic.media import music, running, video
from comet_magic.notebook.media_display import MediaTerminal
from comet_magic.notebook.media_magics import MediaMagics
from comet_magic.settings import CometSettings


@pytest.fixture
def server(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[MediaServer]:
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    monkeypatch.setattr(running, "FIRST_WAIT_S", 0.01)
    for service in (music.Suno, video.Videos):
        monkeypatch.setattr(service, "polls_after_s", 0.01)
    with MediaServer() as server:
        CometSettings.instance().endpoint = server.url
        CometSettings.instance().media_folder = "made"
        yield server


def outputs(shell: Any, cell: str, *, fails: bool = False) -> list[RichOutput]:
    with capture_output() as captured:
        result = shell.run_cell(cell)
    assert result.success is not fails, captured.stdout
    return list(captured.outputs)


def test_a_picture_is_one_output_with_its_words_and_a_line(server: MediaServer, shell: Any) -> None:
    shown, line = outputs(shell, "%%comet_image -o boat\nA paper boat | <b>")
    assert set(shown.data) == {"image/png", "text/plain"}
    assert shown.metadata == {"image/png": {"alt": "A paper boat | <b>"}}
    assert shown.data["text/plain"] == "[image/png 160×120 · “A paper boat | <b>” · made/a-paper-boat-b-1.png]"
    assert re.fullmatch(
        r"◈ “A paper boat \| <b>” · draw-1 · 12 in · 196 out · \d\.\d s · ≈ \$0\.040 · made/a-paper-boat-b-1\.png",
        line.data["text/plain"],
    )
    assert line.metadata["comet_magic"]["kind"] == "image"
    again, line = outputs(shell, "%%comet_image -o boat\nA paper boat | <b>")
    assert again.data == shown.data
    assert "shown from its file at no cost; --fresh makes another" in line.data["text/plain"]
    assert len(server.asked("images")) == 1


def test_a_player_has_its_source_on_itself(server: MediaServer, shell: Any) -> None:
    (shown,) = outputs(shell, '%%comet_speech --voice nova\nGood <script>alert(1)</script> & "morning"')
    html = shown.data["text/html"]
    assert html.startswith('<div><audio controls preload="metadata" src="data:audio/mpeg;base64,')
    assert "<source" not in html
    assert "<script" not in html
    assert 'title="Good &lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;morning&quot;"' in html
    assert shown.data["text/plain"].count("\n") == 1
    (shown,) = outputs(shell, "%%comet_video\nA boat drifts")
    assert '<video controls preload="metadata" width="480" src="data:video/mp4;base64,' in shown.data["text/html"]


def test_a_large_picture_is_shown_smaller_and_kept_whole(server: MediaServer, shell: Any) -> None:
    import io
    import os

    from PIL import Image

    written = io.BytesIO()
    Image.frombytes("RGB", (2000, 1000), os.urandom(2000 * 1000 * 3)).save(written, "PNG")
    large = written.getvalue()
    server.routes["/v1/images/generations"] = reply({"data": [{"b64_json": b64(large)}]})
    shown, _ = outputs(shell, "%%comet_image -o noise\nnoise")
    assert "image/jpeg" in shown.data
    assert len(shown.data["image/jpeg"]) < 1_500_000
    assert shell.user_ns["noise"].bytes == large


def test_the_value_shows_itself(server: MediaServer, shell: Any) -> None:
    outputs(shell, "%%comet_image -o boat\nA boat")
    data, metadata = shell.display_formatter.format(shell.user_ns["boat"])
    assert data["image/png"]
    assert metadata["image/png"]["alt"] == "A boat"
    assert repr(shell.user_ns["boat"]) == "<Media: image/png 160×120 · 'A boat' · made/a-boat-1.png>"
    assert KEY not in str(data)


def test_the_flags_go_under_the_endpoint_s_names(server: MediaServer, shell: Any) -> None:
    cell = "%%comet_image -n 2 --size 512x512 --quality low --format jpeg --background opaque --set moderation=low --set seed=7"
    outputs(shell, f"{cell}\na boat")
    assert server.asked("images")[0].json == {
        "model": "draw-1", "prompt": "a boat", "n": 2, "size": "512x512", "quality": "low", "output_format": "jpeg",
        "background": "opaque", "moderation": "low", "seed": 7,
    }  # fmt: skip
    outputs(shell, "%%comet_speech --speed 2 --instructions 'with joy' --format wav\nhi")
    sent = {
        "model": "say-1",
        "input": "hi",
        "voice": "alloy",
        "speed": 2.0,
        "instructions": "with joy",
        "response_format": "wav",
    }
    assert server.asked("speech")[0].json == sent


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%%comet_image --colour red\nx", "unknown flag --colour"),
        ("%%comet_image -n 0\nx", "out of range"),
        ("%%comet_image -o 3x\nx", "not a variable's name"),
        ("%%comet_image --set seed\nx", "not NAME=VALUE"),
        ("%%comet_image --api nowhere\nx", "invalid choice"),
        ("%%comet_image a boat\nx", "the prompt goes below the line"),
        ("%%comet_image\n \n ", "prompt is empty"),
        ("%%comet_speech\n{{[1, 2]}}", "only texts and numbers"),
        ("%comet_transcribe", "needs a file"),
        ("%comet_transcribe {{nowhere}}", "NameError"),
        ("%comet_resume", "needs the id"),
        ("%comet_resume nothing", "there is no job 'nothing'"),
        ("%comet_jobs --everything", "unknown flag --everything"),
        ("%comet_jobs --drop nothing", "there is no job 'nothing'"),
    ],
)
def test_what_is_wrong_on_a_line_is_said_and_nothing_is_sent(
    server: MediaServer, shell: Any, capsys: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    shell.run_cell(line)
    assert words in capsys.readouterr().out
    assert not server.asked()


@pytest.mark.parametrize(
    "magic", ["%%comet_image", "%%comet_speech", "%comet_transcribe", "%%comet_music", "%%comet_video"]
)
def test_help_shows_the_flags(server: MediaServer, shell: Any, capsys: pytest.CaptureFixture[str], magic: str) -> None:
    from comet_magic.notebook.media_flags import media_parser

    shell.run_cell(f"{magic} -h\nx" if magic.startswith("%%") else f"{magic} -h")
    said = capsys.readouterr().out
    assert said.endswith("Nothing was sent.\n")
    for flag in media_parser(magic)._option_string_actions:
        assert re.search(rf"(?<![\w-]){re.escape(flag)}\b", said) or flag == "--n", flag
    assert not server.received


def test_texts_and_numbers_are_filled_in_and_literal_is_text(server: MediaServer, shell: Any) -> None:
    shell.user_ns.update(topic="cats", count=3)
    outputs(shell, "%%comet_image\n{{count}} {{topic}} and {{topic.upper()}}")
    outputs(shell, "%%comet_image --literal\n{{count}} {{topic}}")
    assert [one.json["prompt"] for one in server.asked("images")] == ["3 cats and CATS", "{{count}} {{topic}}"]


def test_a_transcript_is_shown_and_named(server: MediaServer, shell: Any) -> None:
    with open("talk.mp3", "wb") as file:
        file.write(sound())
    text, line = outputs(shell, "%comet_transcribe talk.mp3 -o words")
    assert (text.data["text/plain"], shell.user_ns["words"]) == ("Good morning.", "Good morning.")
    assert "whisper-1" in line.data["text/plain"]
    table, _ = outputs(shell, "%comet_transcribe 'talk.mp3' --segments -o table")
    assert "| 0:00.6 | 0:01.0 | morning. |" in table.data["text/markdown"]
    assert len(shell.user_ns["table"]) == 2
    shell.user_ns["talk"] = tone()
    outputs(shell, "%comet_transcribe {{talk}} --format vtt -o subtitles")
    assert shell.user_ns["subtitles"].text.startswith("WEBVTT")


def test_jobs_are_listed_and_picked_up(server: MediaServer, shell: Any) -> None:
    CometSettings.instance().media_wait_s = 0.1
    server.routes["/v1/videos/video-3"] = reply({"status": "in_progress", "progress": 40})
    outputs(shell, "%%comet_video -o film\nA boat drifts", fails=True)
    assert "film" not in shell.user_ns
    (row,) = comet_magic.jobs().rows
    assert row[2:5] == ("film", "film-1", "running")
    listed = shell.run_line_magic("comet_jobs", "")
    assert f"%comet_resume {row[0]}" in str(listed)
    server.routes["/v1/videos/video-3"] = reply({"status": "completed"})
    shown = outputs(shell, f"%comet_resume {row[0]} -o film")
    assert "<video" in shown[-1].data["text/html"]
    assert shell.user_ns["film"].bytes == film()
    assert len(server.asked("/v1/videos")) == 1


def test_a_dry_run_is_shown(server: MediaServer, shell: Any) -> None:
    (shown,) = outputs(shell, "%%comet_image --dry-run -n 3\na boat")
    assert "Nothing was sent" in shown.data["text/plain"]
    assert "about $0.12 at most" in shown.data["text/plain"]
    assert not server.asked()


def test_a_terminal_gets_the_file_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    screen = MediaTerminal(can_overwrite=True)
    screen.paint("picture from draw-1 · 3 s")
    screen.say("the end")
    assert capsys.readouterr().out.endswith("\r◈ the end\n")


def test_a_saved_output_is_valid_and_survives_an_export(server: MediaServer, shell: Any) -> None:
    from nbconvert import HTMLExporter

    cells = []
    for source in ("%%comet_image\nA boat", "%%comet_speech\nGood morning", "%%comet_video\nA boat drifts"):
        shown = [
            nbformat.v4.new_output("display_data", one.data, metadata=one.metadata) for one in outputs(shell, source)
        ]
        cells.append(nbformat.v4.new_code_cell(source, outputs=shown))
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbformat.validate(notebook)
    html, _ = HTMLExporter().from_notebook_node(notebook)
    assert html.count("data:audio/mpeg;base64,") == html.count("data:video/mp4;base64,") == 1
    assert "data:image/png;base64," in html


def test_every_magic_is_listed_and_gone_after_unloading(server: MediaServer, shell: Any) -> None:
    names = {name for kind in MediaMagics.magics.values() for name in kind}
    assert names == {
        "comet_image",
        "comet_speech",
        "comet_transcribe",
        "comet_music",
        "comet_video",
        "comet_jobs",
        "comet_resume",
    }
    listed = str(shell.run_line_magic("claude_help", ""))
    assert all(f"%{name}" in listed for name in names)
    shell.run_line_magic("unload_ext", "comet_magic")
    assert not names & {*shell.magics_manager.magics["line"], *shell.magics_manager.magics["cell"]}
    shell.run_line_magic("load_ext", "comet_magic")


def test_what_was_made_goes_beside_the_notebook(shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from comet_magic.media.files import media_folder, stem_of

    settings = CometSettings.instance()
    assert media_folder(settings, str(tmp_path / "trip.ipynb")) == tmp_path / "trip_media"
    assert media_folder(settings, "").name == "media"
    settings.media_folder = "pictures"
    assert media_folder(settings, str(tmp_path / "trip.ipynb")) == tmp_path / "pictures"
    assert stem_of("Ein Café — am See! (abends) und noch mehr", "image") == "ein-café-am-see-abends-und"
    assert stem_of("🙂", "image") == "image"
    assert stem_of("x" * 99, "image") == "image"


def test_pictures_of_every_kind_are_shown(server: MediaServer, shell: Any) -> None:
    for kind in ("JPEG", "WEBP", "GIF"):
        content = b64(picture(kind))
        server.routes["/v1/images/generations"] = reply({"data": [{"b64_json": content}]})
        shown, _ = outputs(shell, f"%%comet_image\na boat as {kind}")
        assert any(name in shown.data for name in ("image/jpeg", "image/png"))
