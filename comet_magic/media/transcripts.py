"""Transcripts: POST /v1/audio/transcriptions and /translations, a sound in; text, subtitles or segments out."""

from __future__ import annotations

import re
import shutil
from typing import Any

from ..api.transport import multipart
from ..errors import APIError, ConfigError, TransportError
from .order import Order
from .replies import checked, no_result, token_usage
from .service import CAME, Answer, AnswersAtOnce, Body, Call, form_text, inputs_of

TEXT, SEGMENTS, SRT, VTT = "", "segments", "srt", "vtt"  # forms of a transcript
EXTENSIONS = ("flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm")
LONGEST_S = 1e6  # seconds; what is said to be longer is no length
MOST_BYTES = 26_214_400  # of the whole request. Source: the endpoint's own refusal, status 413
_JSON_ONLY = re.compile(r"gpt.*-transcribe(?!.*diarize)", re.I)
_DIARIZES = re.compile(r"diarize", re.I)


class Transcripts(AnswersAtOnce):
    """OpenAI's API for transcripts. form: as of an `Order`."""

    def __init__(self, form: str, *, translates: bool = False) -> None:
        self.form, self.name = form, "translations" if translates else "transcriptions"

    def calls(self, order: Order, model: str) -> list[Call]:
        """Raises: ConfigError for what the model or the endpoint does not take."""
        check_model(model, self.form, translates=self.name == "translations")
        (sound,) = inputs_of(order)
        with_times = "diarized_json" if _DIARIZES.search(model) else "verbose_json"
        form = {TEXT: "json", SEGMENTS: with_times}.get(self.form, self.form)
        # Whisper invents words in silence; the least of that comes at 0.
        given = {"temperature": 0, **order.parameters}
        parts: list[tuple[str, Any]] = [("model", model), ("response_format", form)]
        if form == "verbose_json":
            parts.append(("timestamp_granularities[]", "segment"))
        if order.prompt:
            parts.append(("prompt", order.prompt))
        if _DIARIZES.search(model):
            parts.append(("chunking_strategy", "auto"))
        for name, value in given.items():
            values = value if isinstance(value, list | tuple) else [value]
            parts += [(name if len(values) == 1 else f"{name}[]", form_text(one)) for one in values]
        content, content_type = multipart([*parts, ("file", (sound.name, sound.content, sound.mime))])
        if len(content) > MOST_BYTES:
            raise _too_large(len(content), sound.name)
        return [Call(f"/v1/audio/{self.name}", content, content_type)]

    def answer(self, bodies: list[Body]) -> Answer:
        (body,) = bodies
        if body.is_stream:
            return _streamed(body)
        if self.form in (SRT, VTT):
            return Answer(is_done=True, text=_subtitles(body, self.form))
        said = checked(body) if body.json is not None else None
        if not isinstance(said, dict) or not isinstance(said.get("text"), str):
            raise no_result("transcript", body.text[:600])
        usage = said.get("usage")
        by_duration = isinstance(usage, dict) and usage.get("type") == "duration"
        seconds = usage.get("seconds") if by_duration and isinstance(usage, dict) else said.get("duration")
        text: Any = said["text"]
        if self.form == SEGMENTS:
            text = _segments(said)
        length_s = float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else -1.0
        known_s = length_s if 0 <= length_s < LONGEST_S else None
        return Answer(is_done=True, text=text, usage=token_usage(usage), seconds=known_s)


def check_model(model: str, form: str, *, translates: bool) -> None:
    """Check that a model gives what is wanted. Raises: ConfigError, naming one that does."""
    which = "a whisper model does: -m whisper-1, where the endpoint's list has it"
    if translates and (_JSON_ONLY.search(model) or _DIARIZES.search(model)):
        raise ConfigError(f"{model} does not translate", f"nothing was sent; {which}")
    if form != TEXT and _JSON_ONLY.search(model):
        what = {SEGMENTS: "segments with times"}.get(form, f"{form} files")
        raise ConfigError(f"{model} gives a text alone, and no {what}", f"nothing was sent; {which}")
    if form in (SRT, VTT) and _DIARIZES.search(model):
        raise ConfigError(f"{model} gives no {form} files", f"nothing was sent; {which}")


def _too_large(size: int, name: str) -> ConfigError:
    stem = name.rpartition(".")[0] or name
    how = "cut it into shorter files"
    if shutil.which("ffmpeg"):
        how = f"!ffmpeg -i {name} -ac 1 -ar 16000 -b:a 32k {stem}-small.mp3 makes a smaller file of it"
    return ConfigError(
        f"{name} makes a request of {size / 1e6:.1f} MB, and the endpoint takes {MOST_BYTES / 1e6:.1f} MB",
        f"nothing was sent; {how}",
    )


def _subtitles(body: Body, form: str) -> str:
    text = body.text.strip()
    if text.startswith("{") or "-->" not in text:
        if body.json is not None:
            checked(body)
        raise no_result(f"{form} file", text[:600])
    return text + "\n"


def _segments(said: dict[str, Any]) -> list[dict[str, Any]]:
    listed = said.get("segments")
    if not isinstance(listed, list) or (not listed and said["text"].strip()):
        raise no_result("segments", said["text"])
    names = ("start", "end", "text", "speaker")
    rows = [{name: one[name] for name in names if name in one} for one in listed if isinstance(one, dict)]
    for row in rows:
        row["text"] = str(row.get("text") or "").strip()
    return rows


def _streamed(body: Body) -> Answer:
    """Raises: TransportError where the stream ended before the transcript did; what came is in its hint."""
    text, why = "", "the stream ended before the transcript did"
    try:
        for event in body.events():
            kind = str(event["type"])
            if kind.endswith(".delta"):
                text += str(event.get("delta") or "")
            elif kind.endswith(".done"):
                return Answer(is_done=True, text=str(event.get("text") or text), usage=token_usage(event.get("usage")))
    except APIError as error:
        why = error.what
    shown = text if len(text) <= 1000 else f"{text[:1000]}…"
    raise TransportError(f"cut off: {why}", f"{CAME}“{shown}”", kind="cut")
