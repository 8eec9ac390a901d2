"""Speech: POST /v1/audio/speech, a text in, sound out; a long text in several requests, joined to one sound."""

from __future__ import annotations

import re

from ..errors import APIError, ConfigError
from . import wav
from .file_type import AUDIO, described, file_type
from .order import Order
from .replies import checked, decoded, no_result, token_usage
from .service import Answer, AnswersAtOnce, Body, Call, Result, json_call

# Source: OpenAI's reference names 4,096 characters; gateways count bytes.
MOST_BYTES = 4000
_JOINABLE = ("mp3", "wav", "pcm", "aac")


class Speech(AnswersAtOnce):
    """OpenAI's API for speech."""

    name = "speech"

    def calls(self, order: Order, model: str) -> list[Call]:
        """Raises: ConfigError for a long text in a format whose parts cannot be joined."""
        parts = split(order.prompt)
        given = dict(order.parameters)
        kind = given.get("response_format", "mp3")
        if len(parts) > 1 and (kind not in _JOINABLE or given.get("stream_format") == "sse"):
            raise ConfigError(
                f"the text takes {len(parts)} requests, and their sound cannot be joined as {kind}",
                f"nothing was sent; use one of {', '.join(_JOINABLE)}, or a shorter text",
            )
        return [json_call("/v1/audio/speech", {"model": model, "input": part, **given}) for part in parts]

    def answer(self, bodies: list[Body]) -> Answer:
        return spoken(bodies, is_pcm=False)


class PCMSpeech(Speech):
    """The same, for sound that comes without a header."""

    def answer(self, bodies: list[Body]) -> Answer:
        return spoken(bodies, is_pcm=True)


def spoken(bodies: list[Body], *, is_pcm: bool) -> Answer:
    """Return the sound of an answer's bodies. Raises: APIError for what is no sound."""
    streams = [body for body in bodies if body.is_stream]
    if streams:
        return _streamed(streams[0])
    sounds = [_sound(body, is_pcm=is_pcm) for body in bodies]
    is_wav = all(sound[:4] == b"RIFF" for sound in sounds)
    sound = (wav.joined(sounds) if is_wav else b"".join(sounds)) if len(sounds) > 1 else sounds[0]
    return Answer(is_done=True, results=(Result(sound),))


def _sound(body: Body, *, is_pcm: bool) -> bytes:
    content = body.content
    found = file_type(content[:64], AUDIO)
    if found and found.kind in (AUDIO, "video"):
        return wav.repaired(content) if found.extension == ".wav" else content
    if body.json is not None:
        said = checked(body)  # mostly an error, which this raises
        raise no_result("sound", said)
    if is_pcm and content and "text" not in body.content_type:
        return wav.from_pcm(content)
    raise no_result("sound", f"the endpoint's answer is {described(content)}")


def _streamed(body: Body) -> Answer:
    sound, usage, is_ended, why = bytearray(), None, False, "the stream ended without a sound"
    try:
        for event in body.events():
            kind = str(event["type"])
            if kind.endswith(".delta"):
                sound += decoded(event.get("audio") or event.get("delta"))
            elif kind.endswith((".done", ".completed")):
                usage, is_ended = event.get("usage"), True
    except APIError as error:  # what came before it was paid for
        why = error.what
    if not sound:
        raise no_result("sound", why)
    whole = bytes(sound)
    if file_type(whole[:64], AUDIO) is None:
        whole = wav.from_pcm(whole)
    results = (Result(whole, is_unfinished=not is_ended),)
    return Answer(is_done=True, results=results, usage=token_usage(usage), why=why)


def split(text: str, most: int = MOST_BYTES) -> list[str]:
    """Return a text in parts of at most so many bytes: whole sentences where they fit, else words, else letters."""
    parts = [""]
    for piece in _pieces(text, most):
        if parts[-1] and len((parts[-1] + piece).encode()) > most:
            parts.append("")
        parts[-1] += piece
    return [part for part in (part.strip() for part in parts) if part]


def _pieces(
    text: str, most: int, patterns: tuple[str, ...] = (r"(?<=[.!?。！？…\n])\s*", r"(?<=\s)", r"")
) -> list[str]:
    """Return pieces of a text, none of them larger than `most` bytes, which make it up again."""
    if len(text.encode()) <= most:
        return [text]
    pieces = [piece for piece in re.split(f"({patterns[0]})", text) if piece]
    return [
        part
        for piece in pieces
        for part in ([piece] if len(piece.encode()) <= most else _pieces(piece, most, patterns[1:]))
    ]
