"""Speech and transcripts: the cases A1 to A12 of the gateway's notes against the raw server, with real codecs."""

from __future__ import annotations

import re
import struct
import wave
from pathlib import Path
from typing import Any

import pytest
from codecs_for_tests import b64, measured, picture, sound, spoken, tone
from media_server import SEGMENTS, SUBTITLES, Gateway
from wire_server import CLOSE, SSE_HEAD, chunk, reply

import comet_magic
from comet_magic import APIError, ConfigError, Media, TransportError
from comet_magic.media import transcripts, wav
from comet_magic.media.durations import seconds_of
from comet_magic.media.file_type import file_type
from comet_magic.media.speech import split
from comet_magic.settings import CometSettings

SPEECH = "/v1/audio/speech"
WORDS = "/v1/audio/transcriptions"


def test_a1_speech_is_a_sound_with_a_file(gateway: Gateway) -> None:
    server = gateway()
    made = comet_magic.speech("Good morning", voice="nova", speed=1.5)
    assert isinstance(made, Media)
    assert (made.bytes, made.mime, made.usage.reported()) == (sound(), "audio/mpeg", {})
    assert server.asked(SPEECH)[0].json == {"model": "say-1", "input": "Good morning", "voice": "nova", "speed": 1.5}
    said = measured(made.path)
    assert said["format"] == "mp3"
    assert said["seconds"] == pytest.approx(1.0, abs=0.1)
    assert made.array().shape[0] == pytest.approx(24_000, abs=2400)


@pytest.mark.parametrize(("kind", "mime"), [("mp3", "audio/mpeg"), ("flac", "audio/flac"), ("ogg", "audio/ogg"),
                                            ("m4a", "audio/mp4"), ("aac", "audio/aac"), ("wav", "audio/wav")])  # fmt: skip
def test_a2_the_type_is_that_of_the_bytes(gateway: Gateway, kind: str, mime: str) -> None:
    content = tone() if kind == "wav" else sound(kind)
    gateway({SPEECH: reply(content, "text/plain")})
    made = comet_magic.speech("Good morning", format="wav")
    assert (made.mime, made.bytes) == (mime, content)
    assert measured(made.path)["seconds"] == pytest.approx(1.0, abs=0.15)
    assert seconds_of(content) == (None if kind == "aac" else pytest.approx(1.0, abs=0.15))


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", "audio/mpeg", "is empty"),
        (b'{"error": {"message": "quota is used up", "type": "quota"}}', "application/json", "quota is used up"),
        (b"<html><title>Bad gateway</title></html>", "audio/mpeg", "a page of HTML"),
        (b"\x00\x01\x02\x03 noise", "audio/mpeg", "bytes of an unknown format"),
    ],
)
def test_a3_what_is_no_sound_is_told(gateway: Gateway, body: bytes, kind: str, words: str, nobody_home: Path) -> None:
    gateway({SPEECH: reply(body, kind)})
    with pytest.raises(APIError, match=words):
        comet_magic.speech("Good morning")
    assert not [file for file in (nobody_home / "made").iterdir() if file.is_file()]


def test_a4_a_long_text_is_spoken_in_parts_and_is_one_sound(gateway: Gateway) -> None:
    server = gateway()
    text = "Привет, как дела? " * 170  # 3,000 letters, twice as many bytes
    made = comet_magic.speech(text)
    parts = [one.json["input"] for one in server.asked(SPEECH)]
    assert len(parts) == 2
    assert all(len(part.encode()) <= 4000 for part in parts)
    assert "".join(" ".join(parts).split()) == "".join(text.split())
    assert made.bytes == sound() * 2
    assert measured(made.path)["format"] == "mp3"
    assert comet_magic.speech(text, format="wav").array().shape == (48_000, 1)
    with pytest.raises(ConfigError, match="cannot be joined as flac"):
        comet_magic.speech(text, format="flac")


def test_parts_of_a_text_are_sentences_words_or_letters() -> None:
    assert split("One. Two. Three.", 10) == ["One. Two.", "Three."]
    assert split("alpha beta gamma", 11) == ["alpha beta", "gamma"]
    assert split("你" * 10, 9) == ["你" * 3, "你" * 3, "你" * 3, "你"]
    assert split("short") == ["short"]


def test_a5_a_cut_sound_is_kept_as_a_part(gateway: Gateway, nobody_home: Path) -> None:
    whole = sound()
    head = b"HTTP/1.1 200 X\r\ncontent-type: audio/mpeg\r\ncontent-length: %d\r\n\r\n" % len(whole)
    server = gateway({SPEECH: [head + whole[: len(whole) * 2 // 5], CLOSE]})
    with pytest.raises(TransportError, match="cut off") as raised:
        comet_magic.speech("Good morning")
    (file,) = (nobody_home / "made").glob("*.mp3")
    assert str(file) in raised.value.hint
    assert whole.startswith(file.read_bytes())
    assert len(server.asked(SPEECH)) == 1
    with pytest.raises(ConfigError, match="may have been billed"):
        comet_magic.speech("Good morning")


def test_a6_sound_without_a_header_gets_one(gateway: Gateway) -> None:
    gateway({SPEECH: reply(b"\x01\x00" * 24_000, "audio/pcm")})
    made = comet_magic.speech("Good morning", format="pcm")
    assert made.mime == "audio/wav"
    with wave.open(str(made.path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes()) == (
            24_000,
            1,
            2,
            24_000,
        )
    assert measured(made.path)["seconds"] == pytest.approx(1.0)


def test_a_wav_that_was_streamed_says_its_true_size(gateway: Gateway) -> None:
    broken = bytearray(tone())
    struct.pack_into("<I", broken, 4, 0xFFFFFFFF)
    struct.pack_into("<I", broken, 40, 0xFFFFFFFF)
    gateway({SPEECH: reply(bytes(broken), "audio/wav")})
    assert comet_magic.speech("Good morning", format="wav").bytes == tone()
    assert wav.repaired(tone()) == tone()
    assert wav.repaired(b"RIFF") == b"RIFF"


def test_a7_a_stream_of_sound_is_joined(gateway: Gateway) -> None:
    whole = sound()
    events = [
        f'data: {{"type": "speech.audio.delta", "audio": "{b64(whole[at : at + 900])}"}}\n\n'
        for at in range(0, len(whole), 900)
    ]
    events.append('data: {"type": "speech.audio.done", "usage": {"input_tokens": 4, "output_tokens": 60}}\n\n')
    gateway({SPEECH: [SSE_HEAD, *(chunk(event.encode()) for event in events), b"0\r\n\r\n"]})
    made = comet_magic.speech("Good morning", stream_format="sse")
    assert made.bytes == whole
    assert made.usage.reported() == {"input_tokens": 4, "output_tokens": 60}


def test_a8_a_transcript_is_a_text_a_table_or_a_file(gateway: Gateway, nobody_home: Path) -> None:
    server = gateway()
    Path("talk.mp3").write_bytes(sound())
    assert comet_magic.transcribe("talk.mp3") == "Good morning."
    table = comet_magic.transcribe("talk.mp3", segments=True, language="en")
    assert list(table.columns) == ["start", "end", "text"]
    assert list(table.text) == ["Good", "morning."]
    assert list(table.end) == [one["end"] for one in SEGMENTS]
    subtitles = comet_magic.transcribe("talk.mp3", format="srt")
    assert (subtitles.text, subtitles.mime, subtitles.path.suffix) == (SUBTITLES, "application/x-subrip", ".srt")
    assert comet_magic.transcribe("talk.mp3", format="vtt").text.startswith("WEBVTT")
    assert comet_magic.transcribe("talk.mp3", translate=True) == "Good morning."
    assert [one.line.split()[1].rpartition("/")[2] for one in server.asked("audio")][-1] == "translations"
    asked = len(server.received)
    assert comet_magic.transcribe("talk.mp3") == "Good morning."  # from the store
    assert comet_magic.transcribe("talk.mp3", format="srt").path == subtitles.path
    assert len(server.received) == asked


@pytest.mark.parametrize("installed", [True, False])
def test_a9_what_is_too_large_is_not_sent(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *, installed: bool
) -> None:
    server = gateway()
    monkeypatch.setattr(transcripts.shutil, "which", lambda name: "/usr/bin/ffmpeg" if installed else None)
    Path("talk.mp3").write_bytes(sound() + b"\0" * 26_214_400)
    with pytest.raises(ConfigError, match="takes 26.2 MB") as raised:
        comet_magic.transcribe("talk.mp3")
    assert ("!ffmpeg -i talk.mp3" in raised.value.hint) is installed
    assert not server.asked("audio")


def test_a10_a_transcript_that_was_cut_says_what_came(gateway: Gateway) -> None:
    events = [
        'data: {"type": "transcript.text.delta", "delta": "Good"}\n\n',
        'data: {"type": "transcript.text.delta", "delta": " mor"}\n\n',
    ]
    server = gateway({WORDS: [SSE_HEAD, *(chunk(event.encode()) for event in events), b"0\r\n\r\n"]})
    Path("talk.mp3").write_bytes(sound())
    with pytest.raises(TransportError, match="cut off") as raised:
        comet_magic.transcribe("talk.mp3", stream=True)
    assert "Good mor" in raised.value.hint
    done = 'data: {"type": "transcript.text.done", "text": "Good morning.", "usage": {"input_tokens": 9, "output_tokens": 3}}\n\n'
    server.routes[WORDS] = [SSE_HEAD, *(chunk(event.encode()) for event in [*events, done]), b"0\r\n\r\n"]
    assert comet_magic.transcribe("talk.mp3", stream=True, fresh=True) == "Good morning."


def test_a11_the_file_has_a_name_with_its_extension_and_no_field_is_empty(gateway: Gateway) -> None:
    server = gateway()
    Path("talk").write_bytes(sound())
    comet_magic.transcribe("talk", prompt="names: Anna")
    comet_magic.transcribe(tone())
    names = [
        re.search(rb'name="file"; filename="([^"]+)"\r\nContent-Type: ([\w/]+)', one.body)
        for one in server.asked(WORDS)
    ]
    assert [match and (match[1], match[2]) for match in names] == [
        (b"talk.mp3", b"audio/mpeg"),
        (b"sound.wav", b"audio/wav"),
    ]
    fields = dict(re.findall(rb'name="([\w\[\]]+)"\r\n\r\n([^\r]*)', server.asked(WORDS)[0].body))
    assert fields == {
        b"model": b"whisper-1",
        b"response_format": b"json",
        b"prompt": b"names: Anna",
        b"temperature": b"0",
    }


@pytest.mark.parametrize(
    ("model", "more", "words"),
    [
        ("gpt-4o-transcribe", {"format": "srt"}, "a text alone, and no srt files"),
        ("gpt-transcribe", {"segments": True}, "a text alone, and no segments"),
        ("gpt-4o-transcribe-diarize", {"format": "vtt"}, "no vtt files"),
        ("gpt-4o-transcribe", {"translate": True}, "does not translate"),
    ],
)
def test_a12_what_a_model_cannot_give_is_refused_here(gateway: Gateway, model: str, more: Any, words: str) -> None:
    server = gateway()
    with pytest.raises(ConfigError, match=words) as raised:
        comet_magic.transcribe(tone(), model=model, **more)
    assert "whisper" in raised.value.hint
    assert not server.asked("audio")


def test_who_speaks_is_a_column_where_the_model_tells(gateway: Gateway) -> None:
    said = [{"type": "x", "start": 0, "end": 1, "text": "Hi", "speaker": "A"}]
    server = gateway({WORDS: reply({"text": "Hi", "segments": said})})
    table = comet_magic.transcribe(tone(), model="gpt-4o-transcribe-diarize", segments=True)
    assert table.to_dict("records") == [{"start": 0, "end": 1, "text": "Hi", "speaker": "A"}]
    assert b"diarized_json" in server.asked(WORDS)[0].body
    assert b"chunking_strategy" in server.asked(WORDS)[0].body


@pytest.mark.parametrize(
    ("audio", "words"),
    [("nowhere.mp3", "cannot be read"), (b"", "is empty"), (picture(), "a picture"), (b"plain text", "no sound"), (3, "not a int")],
)  # fmt: skip
def test_what_is_no_sound_is_not_sent(gateway: Gateway, audio: Any, words: str) -> None:
    server = gateway()
    with pytest.raises(ConfigError, match=words):
        comet_magic.transcribe(audio)
    assert not server.received


def test_sound_is_a_value_that_is_not_shared(gateway: Gateway) -> None:
    server = gateway()
    CometSettings.instance().share_values = False
    with pytest.raises(ConfigError, match="share_values"):
        comet_magic.transcribe(tone())
    assert comet_magic.speech("Good morning").kind == "audio"  # a text of the user's own
    assert not server.asked("transcriptions")


def test_real_speech_goes_round(gateway: Gateway) -> None:
    content = spoken("Good morning, Anna.")
    server = gateway({SPEECH: reply(content, "audio/mpeg")})
    made = comet_magic.speech("Good morning, Anna.")
    assert comet_magic.transcribe(made) == "Good morning."
    assert content in server.asked(WORDS)[0].body
    assert file_type(content[:64], "audio") == file_type(made.bytes[:64])
    dry = str(comet_magic.transcribe(made, dry_run=True, fresh=True))
    assert re.search(r"good-morning-anna-1.mp3 \(audio/mpeg, [\d,]+ bytes, 1\.\d s\)", dry)


def test_the_formats_are_checked_before_anything_is_sent(gateway: Gateway) -> None:
    server = gateway()
    with pytest.raises(ConfigError, match="did you mean mp3"):
        comet_magic.speech("hi", format="mp33")
    with pytest.raises(ConfigError, match="'srtt' is no format of subtitles; did you mean srt"):
        comet_magic.transcribe(tone(), format="srtt")
    assert not server.received
