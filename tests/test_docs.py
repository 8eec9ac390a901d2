"""The manual: every block of it runs, every message that it explains is one of ours, and every page is found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cells import Ran
from codecs_for_tests import tone
from media_server import MediaServer
from test_readme import answered, blocks_of
from wire_server import WireServer

import comet_magic
from comet_magic.media.video import Videos
from comet_magic.settings import CometSettings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {str(page.relative_to(DOCS)): page for page in sorted(DOCS.rglob("*.md")) if "generated" not in page.parts}
RUN = [name for name, page in PAGES.items() if re.search(r"^```(?:ipython|python)$", page.read_text("utf-8"), re.M)]


@pytest.mark.parametrize("name", RUN)
def test_the_blocks_of_a_page_run_in_order(shell: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    is_of_media = name == "how-to/make-pictures-and-sound.md"
    if is_of_media:
        monkeypatch.setattr(Videos, "polls_after_s", 0.01)
        Path("interview.mp3").write_bytes(tone())
    with MediaServer() if is_of_media else WireServer(answered) as server:
        CometSettings.instance().endpoint = server.url
        for language, block in blocks_of(PAGES[name].read_text("utf-8")):
            if language in ("ipython", "python"):
                assert Ran(shell, block).error is None, block
                if "unload_ext" in block:  # it has taken the settings with it
                    CometSettings.instance().endpoint = server.url
        if name == "tutorial.md":
            assert len(server.received) >= 6


def test_every_page_is_in_the_contents_and_shows_blocks_of_known_languages() -> None:
    index = PAGES["index.md"].read_text("utf-8")
    for name, page in PAGES.items():
        assert name == "index.md" or f"\n{name.removesuffix('.md')}\n" in index, name
        languages = {language for language, _ in blocks_of(page.read_text("utf-8"))}
        assert languages <= {"sh", "ipython", "python", "text", "toml", "{toctree}"}, name


def test_every_message_under_troubleshooting_is_one_of_ours() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "comet_magic").rglob("*.py"))
    rows = re.findall(r"^\| `([^|]*)` \|", PAGES["reference/troubleshooting.md"].read_text("utf-8"), re.M)
    assert len(rows) > 40
    for row in rows:
        assert row in source, row


def test_every_test_that_a_promise_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", PAGES["explanation/safety.md"].read_text("utf-8"))
    assert len(named) > 12
    for path in named:
        assert (ROOT / path).is_file(), path


def test_the_reference_has_every_setting_flag_command_and_name(tmp_path: Path) -> None:
    sys.path.insert(0, str(DOCS))
    try:
        from generate import write_reference
    finally:
        sys.path.remove(str(DOCS))
    write_reference(written := tmp_path / "reference")
    if sys.version_info[:2] == (3, 11):  # others indent docstrings in their own way
        for page in written.iterdir():
            committed = (DOCS / "reference" / "generated" / page.name).read_text("utf-8")
            assert page.read_text("utf-8") == committed, "make docs writes the reference anew"
    settings, python, commands = (
        (written / f"{name}.md").read_text("utf-8") for name in ("settings", "python", "commands")
    )
    for name, trait in CometSettings.class_traits(config=True).items():
        assert f"| `{name}` |" in settings
        assert trait.help
    for name in comet_magic.__all__:
        assert name.startswith("_") or "ipython_extension" in name or f"`comet_magic.{name}`" in python, name
    assert "`%claude_forget`" in commands
    errors = (written / "errors.md").read_text("utf-8")
    assert "no API key was found" in errors
    assert errors.count("\n| ") > 120


@pytest.mark.timeout(300)
def test_the_manual_is_built_without_a_warning(tmp_path: Path) -> None:
    """Links between pages are checked by that, and a search that needs no server is part of it."""
    pytest.importorskip("myst_nb", reason="the manual is built on Python 3.11 and later")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", tmp_path / "trees"]
    done = subprocess.run([*command, DOCS, tmp_path / "html"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "html" / "searchindex.js").is_file()
    page = (tmp_path / "html" / "notebooks" / "eda.html").read_text("utf-8")
    assert "◈ sent:" in page
