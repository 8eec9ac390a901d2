"""Settings kept for the next start, in the user's IPython profile.

IPython reads `ipython_config.json` beside `ipython_config.py` and lets it win; being JSON, it can be changed by a
program without touching a word that a person wrote.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..settings import CometSettings


def keep(settings: CometSettings, profile: Path) -> Path:
    """Write the settings that are not at their built-in defaults where `%config` finds them at the next start.

    Everything else in the file stays. Raises: ConfigError when the file cannot be understood or written.
    """
    path = (profile / "ipython_config.json").resolve()  # which may be a link to where its owner keeps it
    try:
        config = json.loads(path.read_text("utf-8")) if path.exists() else {}
        if not isinstance(config, dict):
            raise ValueError("it holds no JSON object")
        section = changed(settings)
        config = {**config, "CometSettings": section}
        if not section:
            del config["CometSettings"]
        _replace(path, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    except (OSError, ValueError) as error:
        raise ConfigError(f"the settings were not kept: {path}: {error}", "mend the file, or its folder") from None
    return path


def changed(settings: CometSettings) -> dict[str, Any]:
    """Return the settings that differ from the built-in defaults, or that another file would set to something else."""
    values = {name: (getattr(settings, name), trait) for name, trait in sorted(settings.traits(config=True).items())}
    return {
        name: value
        for name, (value, trait) in values.items()
        if value != trait.default(settings) or name in settings.configured_names
    }


def _replace(path: Path, text: str) -> None:
    """Write the whole file or nothing of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o777)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
