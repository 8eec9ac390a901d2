"""The front end's files, without a browser: what is shipped, by which address, and that they fit the package."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import comet_magic
from hatch_build import write_labextension

ROOT = Path(__file__).parents[1]
FILE = (ROOT / "labextension" / "static" / "prose.js").read_text("utf-8")
# What JupyterLab 4.2 and later share with extensions.
SHARED = {
    *("@jupyterlab/apputils", "@jupyterlab/codemirror", "@jupyterlab/notebook"),
    *("@codemirror/language", "@codemirror/view", "@lezer/common", "@lezer/highlight"),
}


def test_its_address_has_the_version(tmp_path: Path) -> None:
    """Browsers keep the file for a year."""
    write_labextension(ROOT, tmp_path / "written")
    package = json.loads((tmp_path / "written" / "package.json").read_text("utf-8"))
    assert package["version"] == comet_magic.__version__
    assert package["jupyterlab"]["_build"]["load"] == f"static/prose.js?v={comet_magic.__version__}"
    assert "version" not in json.loads((ROOT / "labextension" / "package.json").read_text("utf-8"))
    # No version of anything can be called incompatible.
    assert not {"dependencies", "devDependencies", "peerDependencies"} & set(package)
    names = {
        str(path.relative_to(tmp_path / "written")) for path in (tmp_path / "written").rglob("*") if path.is_file()
    }
    assert names == {"package.json", "install.json", "static/prose.js", "schemas/comet_magic/fix.json"}


def test_it_is_small_and_asks_for_what_is_shared() -> None:
    assert len(FILE.encode()) <= 15 * 1024
    assert set(re.findall(r'"(@[a-z]+/[a-z]+)"', FILE)) == SHARED
    assert not re.search(r"\b(?:import|require|fetch|eval|innerHTML)\b\s*\(?", FILE.replace("import.meta", ""))


def test_it_knows_the_magics_whose_cell_is_a_text(shell: Any) -> None:
    named = re.search(r"const MAGICS = (\[.*?\]);", FILE)
    assert named
    magics = shell.magics_manager.magics["cell"]
    ours = [name for name, function in magics.items() if "comet_magic" in getattr(function, "__module__", "")]
    assert json.loads(named[1]) == ours


def test_bounds_are_those_of_what_is_sent() -> None:
    from comet_magic.describe import template

    named = re.search(r"const \[CLOSINGS, CLOSINGS_OF_OPEN, MOST_PARSED, LONGEST\] = (\[.*?\]);", FILE)
    assert named
    bounds = [template.CLOSINGS, template.CLOSINGS_OF_OPEN, template.MOST_PARSED, template.LONGEST]
    assert json.loads(named[1]) == bounds
