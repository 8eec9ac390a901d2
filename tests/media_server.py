"""A stand-in for the gateway's other endpoints: pictures, speech, transcripts, songs and films, by path.

with MediaServer() as server: …            in a test
python tests/media_server.py               for `notebooks/media.ipynb`; prints its address, ends with its input
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

from codecs_for_tests import HAS_FFMPEG, b64, film, picture, sound, tone
from wire_server import Received, Script, WireServer, reply

MODELS = [
    {"id": "draw-1", "model_type": "image", "pricing": {"currency": "USD/ request", "per_request": 0.04}},
    {"id": "say-1", "model_type": "speech", "pricing": {"currency": "USD/ M Tokens", "input": 0.6, "output": 12}},
    {"id": "whisper-1", "model_type": "transcription", "pricing": {"currency": "USD/ second", "per_second": 0.0001}},
    {"id": "chirp-9", "model_type": "music", "pricing": {"currency": "USD/ request", "per_request": 0.1}},
    {"id": "film-1", "model_type": "video", "pricing": {"currency": "USD/ second", "per_second": 0.1}},
]
KEY = "sk-test-0123456789abcdef"
Gateway = Callable[..., "MediaServer"]


def path_of(received: Received) -> str:
    return received.line.split()[1]


class MediaServer(WireServer):
    """routes: what is answered, by a pattern of the path; a list is gone through, its last again and again."""

    def __init__(self, routes: dict[str, Any] | None = None) -> None:
        self.routes = {**usual(self), **(routes or {})}
        self._times: dict[str, int] = {}
        super().__init__(self._answer)

    def _answer(self, received: Received) -> Script:
        path = path_of(received).partition("?")[0]
        for pattern, script in reversed(self.routes.items()):
            if re.fullmatch(pattern, path):
                if isinstance(script, tuple):
                    at = self._times[pattern] = self._times.get(pattern, -1) + 1
                    script = script[min(at, len(script) - 1)]
                return script(received) if callable(script) else script
        return reply({"error": {"message": f"no route for {path}", "type": "not_found_error"}}, status=404)

    def asked(self, part: str = "", method: str = "POST") -> list[Received]:
        """The requests of a method whose path has this in it."""
        return [one for one in self.received if one.line.startswith(method) and part in path_of(one)]


def usual(server: Any) -> dict[str, Any]:
    """What a gateway without faults answers."""
    return {
        r"/v1/models.*": reply({"object": "list", "data": MODELS}),
        "/v1/images/(generations|edits)": _drawn,
        "/v1/audio/speech": _spoken,
        "/v1/audio/(transcriptions|translations)": _transcribed,
        "/suno/submit/music": reply({"code": "success", "message": "", "data": "task-7"}),
        "/suno/fetch/task-7": (
            reply({"code": "success", "data": {"task_id": "task-7", "status": "IN_PROGRESS", "progress": "30%"}}),
            lambda _: _song(server),
        ),
        r"/files/.*\.mp3": lambda _: reply(_sound(), "audio/mpeg"),
        "/v1/videos": reply({"id": "video-3", "status": "queued", "progress": 0}),
        "/v1/videos/video-3": (
            reply({"id": "video-3", "status": "in_progress", "progress": 40}),
            reply({"id": "video-3", "status": "completed", "progress": 100}),
        ),
        "/v1/videos/video-3/content": lambda _: reply(film(), "video/mp4"),
    }


def _drawn(received: Received) -> Script:
    colours, sizes = ("teal", "orange", "purple"), {"512x512": (256, 256)}
    fields = received.json if received.body[:1] == b"{" else {}
    count, size = int(fields.get("n", 1)), sizes.get(str(fields.get("size")), (160, 120))
    is_edit = "edits" in path_of(received)
    data = [{"b64_json": b64(picture("PNG", size, "navy" if is_edit else colours[at % 3]))} for at in range(count)]
    usage = {"input_tokens": 12, "output_tokens": 196 * count, "total_tokens": 12 + 196 * count}
    return reply({"created": 1, "data": data, "usage": usage}, "text/plain")


def _sound() -> bytes:
    return sound("mp3") if HAS_FFMPEG else tone()


def _spoken(received: Received) -> Script:
    return reply(tone() if received.json.get("response_format") == "wav" else _sound(), "audio/mpeg")


SEGMENTS = [{"start": 0.0, "end": 0.6, "text": " Good"}, {"start": 0.6, "end": 1.0, "text": " morning."}]
SUBTITLES = "1\n00:00:00,000 --> 00:00:01,000\nGood morning.\n"


def _transcribed(received: Received) -> Script:
    wants = re.search(rb'name="response_format"\r\n\r\n(\w+)', received.body)
    match wants and wants[1].decode():
        case "srt":
            return reply(SUBTITLES, "text/plain")
        case "vtt":
            return reply("WEBVTT\n\n" + SUBTITLES.replace(",", "."), "text/vtt")
        case "verbose_json":
            return reply({"text": "Good morning.", "duration": 1.0, "language": "english", "segments": SEGMENTS})
    return reply({"text": "Good morning.", "usage": {"type": "duration", "seconds": 1}})


def _song(server: Any) -> Script:
    clips = [
        {"id": f"c{at}", "title": title, "status": "complete", "audio_url": f"{server.url}/files/{at}.mp3"}
        for at, title in enumerate(("Morning", "Evening"))
    ]
    return reply(
        {"code": "success", "data": {"task_id": "task-7", "status": "SUCCESS", "progress": "100%", "data": clips}}
    )


if __name__ == "__main__":
    with MediaServer() as started:
        for route, script in started.routes.items():  # nobody is to wait for what takes no time
            started.routes[route] = script[-1] if isinstance(script, tuple) else script
        started.routes["/v1/videos"] = reply({"id": "video-3", "status": "completed"})
        print(json.dumps(started.url), flush=True)
        sys.stdin.read()
