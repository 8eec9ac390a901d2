from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from media_server import KEY, Gateway, MediaServer

from comet_magic.media import image_jobs, music, running, video, wire
from comet_magic.settings import CometSettings


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, nobody_home: Path) -> Iterator[Gateway]:
    """Start a gateway with these routes besides the usual ones, and use it. No wait takes long."""
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    monkeypatch.setattr(running, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(running, "TICK_S", 0.01)
    monkeypatch.setattr(wire, "backoff_s", lambda tried: 0.01)
    for service in (music.Suno, video.Videos, video.Kling, video.Veo, image_jobs.Replicate, image_jobs.Midjourney):
        monkeypatch.setattr(service, "polls_after_s", 0.01)
    servers: list[MediaServer] = []

    def started(routes: dict[str, Any] | None = None) -> MediaServer:
        server = MediaServer(routes)
        servers.append(server)
        settings = CometSettings.instance()
        settings.endpoint, settings.retries = server.url, 0
        settings.media_folder = str(nobody_home / "made")
        return server

    yield started
    for server in servers:
        server.__exit__()
