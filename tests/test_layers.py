"""Imports go down only, and each library has one door. The picture is in the README's "How it works"."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import comet_magic

PACKAGE = Path(comet_magic.__file__).parent
LAYERS = [
    {"_version", "catalog", "inline", "rasters", "redaction", "names", "kinds"},
    {"markdown"},
    {"rendering"},
    {"messages"},
    {"request"},
    {"errors", "prices", "grid", "totals"},
    {"keys", "refusals", "conversation", "store", "references", "cards", "schemas", "limits"},
    {"wire", "turns", "ledger", "columns", "objects", "pictures", "ways", "rows", "queries", "grammar"},
    {"frames", "arrays"},
    {"tables"},
    {"transport", "settings", "local", "archive", "records", "values", "tools"},
    {"retrying", "flags", "budget", "place"},
    {"files", "failures", "runs", "preview", "below"},
    {"describe"},
    {"context"},
    {"client", "display", "asking", "defaults", "overview", "session"},
    {"listing", "standing", "usage", "history", "calls", "rounds", "sending"},
    {"replies", "conversations", "fixing"},
    {"exchange", "commands"},
    {"panel", "scripting"},
    {"magic"},
    {"__init__"},
]
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}
DOORS = {
    "requests": {"transport"},
    "urllib3": {"transport"},
    "ipywidgets": {"panel"},
    "IPython": {"magic", "display", "__init__"},
    "traitlets": {"settings", "panel"},
    "sqlite3": {"store"},
    "xllamacpp": {"local"},
    "keyring": {"keys"},
    "narwhals": {"frames"},
    "pydantic": {"schemas"},
    "jsonschema": {"schemas"},
    "duckdb": {"queries"},
    "PIL": {"pictures"},
}


def imports(path: Path) -> tuple[set[str], set[str]]:
    """(modules of ours, libraries) that a file imports when it runs; what only the type checker reads does not count."""
    ours, theirs = set(), set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            ours |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            theirs.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            theirs |= {alias.name.split(".")[0] for alias in node.names}
    return ours, theirs


def test_every_module_has_its_layer() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(LEVEL)


def test_imports_go_down() -> None:
    upward = [
        (path.stem, other)
        for path in PACKAGE.glob("*.py")
        for other in imports(path)[0]
        if LEVEL[other] >= LEVEL[path.stem]
    ]
    assert upward == []


def test_one_door_per_library() -> None:
    wrong = [
        (path.stem, library)
        for path in PACKAGE.glob("*.py")
        for library in imports(path)[1]
        if path.stem not in DOORS.get(library, {path.stem})
    ]
    assert wrong == []


def test_the_environment_is_read_in_settings_only() -> None:
    assert [path.stem for path in PACKAGE.glob("*.py") if "os.environ" in path.read_text()] == ["settings"]


def test_all_is_sorted_and_there() -> None:
    assert comet_magic.__all__ == sorted(comet_magic.__all__)
    assert [name for name in comet_magic.__all__ if not hasattr(comet_magic, name)] == []
    assert set(comet_magic.__all__) <= set(dir(comet_magic))


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance(); shell.run_line_magic('load_ext', 'comet_magic')\n"
        "print(sorted({'requests', 'urllib3', 'ipywidgets', 'comet_magic.client'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
