"""The notebooks run from top to bottom in a real kernel on the embedded model; `make demo` shows the first of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from comet_magic.api import local

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not local.is_installed(), reason=f"no embedded model: {local.INSTALL}"),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_says_where(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "notebooks" / "run.py"), str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    executed = nbformat.read(tmp_path / "build" / path.name, as_version=4)
    assert (tmp_path / "build" / f"{path.stem}.html").stat().st_size > 10_000
    for name in (f"build/{path.name}", f"build/{path.stem}.html"):
        assert name in done.stdout
    for cell in executed.cells:
        if cell.cell_type == "code" and re.match("%%?comet_", cell.source):  # of the notebook on the test server
            assert cell.outputs[-1].data["text/plain"].splitlines()[-1] in done.stdout
        if cell.cell_type == "code" and re.match(r"%%?claude\b(?!.*--modle)", cell.source):
            displayed = [output for output in cell.outputs if output.output_type == "display_data"]
            # A note on the code of a reply has no usage.
            named = {"usage", "replies"}  # of one reply, or of several side by side
            replies = [one for one in displayed if named & set(one.metadata.get("comet_magic", {"usage": None}))]
            shown = [one.data["text/plain"] for one in replies]
            if " --rows " in cell.source:
                assert len(shown) == 1
                assert shown[0].startswith(
                    "50 rows · 40 different · 40 answered · 1 row skipped: a value is missing · "
                )
                continue
            assert len(shown) == (2 if " --as " in cell.source else 1)  # a value, and what there is to say of it
            assert "SmolLM2-135M" in shown[-1], cell.source
            assert shown[-1].splitlines()[-1] in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_is_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    text = path.read_text("utf-8")
    assert not re.search(r"sk-[A-Za-z0-9]{8}|/home/|/root/|/work/|/tmp/", text)
    assert all(
        cell.outputs
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.startswith(("%%claude", "%claude ", "%%comet", "%comet"))
    )


@pytest.mark.timeout(300)
def test_the_conversation_runs_again_from_its_store_with_the_server_down(tmp_path: Path) -> None:
    """As Restart & Execution All does it: nothing is set, and there is nobody who could answer."""
    notebook = tmp_path / "conversation.ipynb"
    notebook.write_bytes((ROOT / "notebooks" / "conversation.ipynb").read_bytes())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "xllamacpp.py").write_text("raise RuntimeError('the server is down')")
    command = [sys.executable, str(ROOT / "notebooks" / "run.py"), "--beside", str(notebook)]
    texts = []
    for more in ({}, {"PYTHONPATH": str(broken)}, {"PYTHONPATH": str(broken), "COMET_MAGIC_REPLAY": "only"}):
        environment = {**os.environ, **more}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        executed = nbformat.read(tmp_path / "build" / "conversation.ipynb", as_version=4)
        replies = [c.outputs[0].data["text/plain"] for c in executed.cells if c.source.startswith("%%claude")]
        texts.append([reply.split("\n\n◈ local · ")[0] for reply in replies])
        assert all(("replayed from" in reply) == bool(more) for reply in replies)
    assert texts[0] == texts[1] == texts[2]


def test_the_store_beside_the_notebook_is_enough_to_run_it_offline(tmp_path: Path) -> None:
    """The very command of the README."""
    environment = {**os.environ, "COMET_MAGIC_REPLAY": "only"}
    command = ["make", "-o", ".venv/.demo", "test-notebooks", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("replayed from") == 5
    kept = (ROOT / "notebooks" / "conversation.sqlite").read_bytes()
    assert not re.search(rb"sk-[A-Za-z0-9]{8}|/home/|/root/|/work/|/tmp/", kept)
