"""`%config CometSettings.…`: a setting that is refused, or that does not exist, is an error of the cell.

IPython's own `%config` prints an error and goes on, and says nothing of a name that does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..settings import CometSettings
from ..suggestions import did_you_mean, nearest

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

OURS = CometSettings.__name__


def wrap_config(shell: InteractiveShell, settings: CometSettings) -> Callable[[], None]:
    """Have `%config` pass lines about these settings to us, and all others to IPython's. Returns: what undoes that."""
    former = shell.find_line_magic("config")  # which loads it: IPython 9 loads its magics when they are first used
    lines = shell.magics_manager.magics["line"]

    def config(line: str) -> object:
        statement = re.match(r"\s*(\w+)\.(\w+)\s*(=(?!=))?", line)
        if statement is None or not _is_ours(statement[1], shell):
            return former(line)
        settings.check_name(statement[2])
        if not statement[3]:
            return former(line)
        settings.assign(line.strip(), shell.user_ns)
        return None

    config.__doc__ = former.__doc__
    lines["config"] = config

    def undo() -> None:
        if lines.get("config") is config:
            lines["config"] = former

    return undo


def _is_ours(name: str, shell: InteractiveShell) -> bool:
    """Return whether a class's name is ours. Raises: ConfigError for one that is nearly ours, and no other."""
    others = {type(one).__name__ for one in shell.configurables}
    if name != OURS and name not in others and nearest(name, [*others, OURS], 1) == [OURS]:
        raise ConfigError(f"there is no {name}{did_you_mean(name, [OURS])}", "nothing was changed")
    return name == OURS
