from __future__ import annotations

import atexit
import inspect
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from codecs_for_tests import HAS_CODECS
from selection import SECONDS_FILES, SECONDS_TESTS, SLOW_FILES, SLOW_FOLDERS, SLOW_WORDS
from wire_server import Received, Script, WireServer

from comet_magic.exchange import session
from comet_magic.rows import gate
from comet_magic.settings import CometSettings

_OF_WHOEVER_RUNS = ("COMET", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "JPY_SESSION")
for name in [name for name in os.environ if name.upper().startswith(_OF_WHOEVER_RUNS)]:
    del os.environ[name]

# A shell that starts the suite in the background lets it ignore interrupts, and whatever the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import files whose tests are all left out, for the libraries that they want take seconds."""
    chosen, name = str(config.getoption("markexpr")), collection_path.name
    if "not slow" in chosen and (name in SLOW_FOLDERS or name in SLOW_FILES):
        return True
    return True if "not seconds" in chosen and name in SECONDS_FILES else None


_OF_CODECS = {"MediaServer", "film", "gateway", "picture", "sound", "spoken", "tone"}  # what modules import


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make quick` leaves out, and what needs programs that are not here."""
    without = pytest.mark.skip(reason="no ffmpeg, or no espeak-ng: apt-get install ffmpeg espeak-ng")
    for item in items:
        if not HAS_CODECS and isinstance(item, pytest.Function) and _OF_CODECS & set(vars(item.module)):
            item.add_marker(without)
        source = inspect.getsource(item.function) if isinstance(item, pytest.Function) else "@given"
        is_slow = item.path.parent.name in SLOW_FOLDERS or item.path.name in SLOW_FILES
        if is_slow or any(word in source for word in SLOW_WORDS):
            item.add_marker(pytest.mark.slow)
        if item.path.name in SECONDS_FILES or getattr(item, "originalname", "") in SECONDS_TESTS:
            item.add_marker(pytest.mark.seconds)


@pytest.fixture(autouse=True)
def nobody_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """No key, no settings and no netrc of whoever runs the tests; a fresh folder to work in."""
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "IPYTHONDIR", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    CometSettings.clear_instance()
    session.reset()
    yield tmp_path
    CometSettings.clear_instance()
    session.reset()


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> CometSettings:
    """Settings for rows: a model whose price is known, and no pace that another test has learned."""
    settings = CometSettings.instance()
    settings.model = "claude-haiku-4-5"
    settings.prices = {settings.model: [1, 5]}
    monkeypatch.setattr(gate, "_gates", {})
    return settings


@pytest.fixture
def shell(nobody_home: Path) -> Iterator[Any]:
    """An IPython without a kernel, with the extension loaded."""
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    if outputs := getattr(shell.history_manager, "outputs", None):
        outputs.clear()  # IPython keeps them for the class, and cells are counted from 1 again
    shell.run_line_magic("load_ext", "comet_magic")
    yield shell
    shell.run_line_magic("unload_ext", "comet_magic")
    history = shell.history_manager
    history.end_session()
    InteractiveShell.clear_instance()
    # IPython leaves its database open until the end, and a process may have only so many files.
    if history.save_thread is not None:
        history.save_thread.stop()
    history.enabled = False
    atexit.unregister(shell.atexit_operations)  # it would end the session once more
    history.db.close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., WireServer]]:
    """Start a server with these scripts, the last of them for ever, and use it."""
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    servers: list[WireServer] = []

    def started(*scripts: Script | Callable[[Received], Script]) -> WireServer:
        server = WireServer(*scripts)
        servers.append(server.__enter__())
        CometSettings.instance().endpoint = server.url
        CometSettings.instance().retries = 0
        return server

    yield started
    for server in servers:
        server.__exit__()
