"""Put the front end's files together for the wheel: those of `labextension/`, with the package's version in them.

A server lets browsers keep such a file for a year, so its address carries the version. Source: the header
`Cache-Control: public, max-age=31536000, immutable` of JupyterLab's server.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def write_labextension(root: Path, to: Path) -> None:
    """Write the extension into a folder. root: of the checkout."""
    found = re.search(r'VERSION = "([^"]+)"', (root / "comet_magic" / "_version.py").read_text("utf-8"))
    assert found
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(root / "labextension", to)
    package = json.loads((to / "package.json").read_text("utf-8"))
    package["version"] = found[1]
    package["jupyterlab"]["_build"]["load"] += f"?v={found[1]}"
    (to / "package.json").write_text(json.dumps(package, indent=2) + "\n", "utf-8")


class LabextensionHook(BuildHookInterface):  # type: ignore[misc, type-arg]
    """Runs before a wheel is built, or an editable one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        write_labextension(root, root / "build" / "labextension")
