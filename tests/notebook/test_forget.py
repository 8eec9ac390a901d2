"""What is kept on the computer: told, and deleted once the user has said yes. And what `%claude_keep` saves, undone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cells import Ran
from traitlets.config import Config
from wire_server import WireServer, canonical

import comet_magic
from comet_magic import keys, origins
from comet_magic.keys import Key
from comet_magic.settings import CometSettings
from comet_magic.text import user_folder


@pytest.fixture
def used(shell: Any, monkeypatch: pytest.MonkeyPatch, nobody_home: Path) -> Path:
    """A notebook in which everything was kept that can be. Returns: the file of IPython's settings."""
    monkeypatch.setattr(keys, "keyring_here", lambda: None)
    with WireServer(canonical()) as server:
        CometSettings.instance().endpoint = server.url
        assert Ran(shell, "%%claude\nhi").error is None
        Ran(shell, "%claude_keep")
    keys.keep(Key("sk-test-0123456789abcdef", "x"))
    origins.allow("https://gateway.example")
    profile = Path(shell.profile_dir.location) / "ipython_config.json"
    assert profile.is_file()
    return profile


def answer(monkeypatch: pytest.MonkeyPatch, text: str | None) -> list[str]:
    asked: list[str] = []

    def asks(question: str) -> str:
        asked.append(question)
        if text is None:
            raise EOFError
        return text

    monkeypatch.setattr("builtins.input", asks)
    return asked


def test_it_lists_what_is_kept(shell: Any, used: Path) -> None:
    shown = str(Ran(shell, "%claude_forget").result.result)
    for part in (
        "1 conversation",
        "store.sqlite",
        "settings for all notebooks: endpoint = ",
        "an API key",
        "addresses",
    ):
        assert part in shown
    assert "%claude_forget --everything" in shown
    assert "pip uninstall comet_magic" in shown
    assert "sk-test" not in shown
    assert used.is_file()


@pytest.mark.parametrize("text", ["", "n", None])
def test_without_a_yes_nothing_is_deleted(
    shell: Any, used: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    asked = answer(monkeypatch, text)
    ran = Ran(shell, "%claude_forget --everything")
    assert "Delete all of it? [y/N]" in asked[0]
    assert (ran.error is not None) == (text is None)
    assert (user_folder("data") / "store.sqlite").is_file()
    assert keys.key_file().is_file()
    assert "CometSettings" in json.loads(used.read_text())


def test_a_yes_deletes_all_of_it(shell: Any, used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "y")
    shown = str(Ran(shell, "%claude_forget --everything").result.result)
    assert "Deleted" in shown
    assert not list(user_folder("data").glob("*"))
    assert not user_folder("config").exists()
    assert "CometSettings" not in json.loads(used.read_text())
    assert "nothing is kept" in str(Ran(shell, "%claude_forget").result.result)


def test_other_programs_files_are_left(shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "notes.sqlite"
    theirs.write_bytes(b"not a store")
    CometSettings.instance().store = str(theirs)
    answer(monkeypatch, "y")
    Ran(shell, "%claude_forget --everything")
    assert theirs.read_bytes() == b"not a store"


def test_saved_settings_are_what_reset_goes_back_to_until_undone(shell: Any) -> None:
    settings = CometSettings.instance()
    assert Ran(shell, "%claude_reset").printed == "nothing to reset: these are the package's defaults\n"
    settings.model = "opus"
    assert "saved for all notebooks: model = 'opus'" in Ran(shell, "%claude_keep").printed
    settings.model, settings.max_tokens = "haiku", 9
    said = Ran(shell, "%claude_reset").printed
    assert "max_tokens 9 → 4096, model 'haiku' → 'opus'" in said
    assert "the package's defaults and yours (model)" in said
    assert settings.model == "opus"
    assert "removed from" in Ran(shell, "%claude_keep --undo").printed
    assert "no settings were saved" in Ran(shell, "%claude_keep --undo").printed
    assert settings.model == "opus"
    assert "model 'opus' → 'sonnet'" in Ran(shell, "%claude_reset").printed
    assert "is not a flag" in Ran(shell, "%claude_keep --all").error.what


def test_what_was_asked_meanwhile_is_not_brought_back(shell: Any, used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "y")
    Ran(shell, "%claude_forget --everything")
    assert comet_magic.conversations.names() == []


def test_a_store_that_a_setting_names_and_the_usual_one_are_both_listed(shell: Any, used: Path, tmp_path: Path) -> None:
    with WireServer(canonical()) as server:
        settings = CometSettings.instance()
        settings.endpoint, settings.store = server.url, str(tmp_path / "report.sqlite")
        assert Ran(shell, "%%claude\nhi").error is None
    used.write_text("{ not json")  # it is the user's to repair, and hinders nothing
    shown = str(Ran(shell, "%claude_forget").result.result)
    assert "report.sqlite" in shown
    assert "store.sqlite" in shown
    assert "settings for all notebooks" not in shown


def test_undoing_brings_back_what_another_file_says(shell: Any) -> None:
    settings = CometSettings.instance()
    settings.apply(Config({"CometSettings": {"model": "haiku"}}))
    settings.model = "opus"
    Ran(shell, "%claude_keep")
    Ran(shell, "%claude_keep --undo")
    assert "model 'opus' → 'haiku'" in Ran(shell, "%claude_reset").printed
