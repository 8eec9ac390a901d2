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


def path_in(profile: Path) -> Path:
    return (profile / "ipython_config.json").resolve()  # which may be a link to where its owner keeps it


def keep(settings: CometSettings, profile: Path) -> str:
    """Write the settings that are not at their built-in defaults where `%config` finds them at the next start.

    Everything else in the file stays. Returns: what was done, in words.
    Raises: ConfigError when the file cannot be understood or written.
    """
    section, had = changed(settings), saved(profile)
    path = _write(profile, section)
    settings.take_kept(section, {name: value for name, value in settings.configuration.items() if name not in had})
    names = ", ".join(f"{name} = {value!r}" for name, value in section.items())
    if not names:
        return "all settings are the package's, so nothing had to be saved"
    return f"saved for all notebooks: {names} ({path}); %claude_keep --undo takes that back"


def undo(settings: CometSettings, profile: Path) -> str:
    """Remove what `keep` wrote. Returns: what was done, in words. Raises: ConfigError as `keep` does."""
    had = saved(profile)
    if had:
        _write(profile, {})
        settings.take_kept(settings.configuration_without_kept(had))
    done = f"removed from {path_in(profile)}: {', '.join(had)}" if had else "no settings were saved"
    return f"{done}; the settings of this kernel stay as they are: %claude_reset"


def reset(settings: CometSettings) -> str:
    """Set the settings back. Returns: what has changed, and whose defaults these are, in words."""
    before = _values(settings)
    settings.reset()
    changes = [f"{name} {before[name]!r} → {now!r}" for name, now in _values(settings).items() if before[name] != now]
    own = changed(settings)
    whose = f"the package's defaults and yours ({', '.join(own)})" if own else "the package's defaults"
    return f"settings reset to {whose}: {', '.join(changes)}" if changes else f"nothing to reset: these are {whose}"


def saved(profile: Path) -> dict[str, Any]:
    """Return the settings that the file has. Raises: ConfigError when it cannot be understood."""
    section = _read(path_in(profile)).get("CometSettings", {})
    return dict(section) if isinstance(section, dict) else {}


def _values(settings: CometSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in sorted(settings.traits(config=True))}


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text("utf-8")) if path.exists() else {}
        if not isinstance(config, dict):
            raise ValueError("it holds no JSON object")
    except (OSError, ValueError) as error:
        raise _not_saved(path, error) from None
    return config


def _write(profile: Path, section: dict[str, Any]) -> Path:
    path = path_in(profile)
    config = {**_read(path), "CometSettings": section}
    if not section:
        del config["CometSettings"]
    try:
        _replace(path, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    except (OSError, ValueError) as error:
        raise _not_saved(path, error) from None
    return path


def _not_saved(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"the settings were not saved: {path}: {error}", "repair the file, or its folder")


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
