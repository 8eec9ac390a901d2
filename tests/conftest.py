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
from wire_server import Received, Script, WireServer

from comet_magic.exchange import session
from comet_magic.rows import gate
from comet_magic.settings import CometSettings

for name in [name for name in os.environ if name.startswith(("COMET", "HTTP_PROXY", "HTTPS_PROXY", "JPY_SESSION"))]:
    del os.environ[name]

# A shell that starts the suite in the background lets it ignore interrupts, and whatever the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


SLOW_FOLDERS = {"browser", "kernel", "model"}
SLOW_FILES = {
    *("test_readme.py", "test_sql.py", "test_database.py", "test_conversation.py", "test_tables.py", "test_cards.py"),
    *("test_turns.py", "test_panel.py", "test_fix.py", "test_registry.py"),
}
# What starts a process of its own, or draws many examples.
SLOW_WORDS = (
    "Kernel(",
    "subprocess.",
    "@given",
    "rendered(",
    "Executor(",
    "to_image",
    "RecursionError",
    "recurse",
    "Timeout",
    "killed(",
    "loaded(",
)
# What waits or measures for seconds, on any machine. `make quick` leaves it out, too, and `make matrix` does not.
SECONDS_FILES = {
    *("test_batches.py", "test_docs.py", "test_exits.py", "test_faults.py", "test_mapping.py", "test_queues.py"),
    *("test_run_all.py", "test_server_tools.py", "test_vscode.py"),
}
SECONDS_TESTS = {
    *("test_32_an_unchunked_stream_is_not_held_back", "test_62_only_pings", "test_63_silence"),
    *("test_a_hostile_prompt_takes_no_time", "test_a_reply_cannot_make_a_check_take_for_ever"),
    *("test_a_reply_is_read_only_a_little_ahead", "test_a_request_given_up_before_it_is_sent_is_not_sent"),
    *("test_a_schema_that_would_take_for_ever_is_refused", "test_a_small_body_that_becomes_a_large_one_is_ended"),
    *("test_a_tool_that_never_returns", "test_e6_a_busy_endpoint_between_batches_sends_none_twice"),
    *("test_failures_do_not_keep_what_their_frames_hold", "test_i7_silence_is_waited_out"),
    *("test_long_lines_of_one_character_take_no_time", "test_overloaded_before_any_words_is_asked_once_more"),
    *("test_the_deadline_is_for_all_tries_and_waits", "test_they_are_asked_at_once_and_an_interrupt_keeps_what_came"),
    *("test_two_that_ask_at_once_see_one_another", "test_what_is_in_flight_in_another_store_counts"),
    "test_without_docstrings_there_is_help_and_tools_are_described",
}


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
