"""The notebooks run from top to bottom in a real kernel on the embedded model; `make demo` shows the first of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from comet_magic import local

ROOT = Path(__file__).parents[1]
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
        if cell.cell_type == "code" and re.match(r"%%?claude\b(?!.*--modle)", cell.source):
            (output,) = cell.outputs
            assert "SmolLM2-135M" in output.data["text/plain"], cell.source
            assert output.data["text/plain"].splitlines()[-1] in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_is_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    text = path.read_text("utf-8")
    assert not re.search(r"sk-[A-Za-z0-9]{8}|/home/|/root/|/work/|/tmp/", text)
    assert all(
        cell.outputs
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.startswith(("%%claude", "%claude "))
    )
