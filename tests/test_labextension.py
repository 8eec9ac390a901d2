"""The front end's files, without a browser: what is shipped, by which address, and that they fit the package."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import comet_magic
from hatch_build import write_labextension

ROOT = Path(__file__).parents[1]
FILES = {path.name: path.read_text("utf-8") for path in (ROOT / "labextension" / "static").iterdir()}
FILE = FILES["prose.js"]
MAGICS = json.loads(re.findall(r"const MAGICS = (\[.*?\]);", FILE)[0])
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
    assert names == {"package.json", "install.json", "static/prose.js", "static/fix.js", "schemas/comet_magic/fix.json"}


def test_they_are_small_and_ask_for_what_is_shared() -> None:
    assert max(len(text.encode()) for text in FILES.values()) <= 15_000
    text = "".join(FILES.values())
    assert set(re.findall(r'"(@[a-z]+/[a-z]+)"', text)) == SHARED
    assert not re.search(r"\b(?:require|fetch|eval|innerHTML)\b", text)
    assert re.findall(r"import\(.*?\)", text) == ["import(FIX)"]


def test_it_knows_the_magics_whose_cell_is_a_text(shell: Any) -> None:
    magics = shell.magics_manager.magics["cell"]
    ours = [name for name, function in magics.items() if "comet_magic" in getattr(function, "__module__", "")]
    assert ours == MAGICS


def test_bounds_are_those_of_what_is_sent() -> None:
    from comet_magic.describe import template

    named = re.search(r"const \[CLOSINGS, CLOSINGS_OF_OPEN, MOST_PARSED, LONGEST\] = (\[.*?\]);", FILE)
    assert named
    bounds = [template.CLOSINGS, template.CLOSINGS_OF_OPEN, template.MOST_PARSED, template.LONGEST]
    assert json.loads(named[1]) == bounds


def test_a_prompt_begins_by_the_same_rule_in_the_page_and_in_the_kernel() -> None:
    from comet_magic.notebook import completion

    in_page = re.search(r"const PROMPT = new RegExp\(`(.*)`\)", FILE)
    assert in_page
    names = "|".join(MAGICS)
    page = in_page[1].replace("\\\\", "\\").replace('${MAGICS.join("|")}', names).replace(".*", r"[^\n]*")
    kernel = completion._PROMPT_CELL._pattern
    assert page == f"^{kernel}".replace(f"(?=%%(?:{names})(?:\\s|$))", f"%%(?:{names})(?=\\s|$)")
