"""Where a question is asked: in which conversation, in which cell of which notebook, and whether for the first time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..exchange.cells import Place
from ..settings import CometSettings
from ..text import from_home, whole_text


def place_in(shell: Any | None, conversation: str) -> Place:
    """Where a question stands that is asked now, in a cell of `shell` if there is one."""
    if shell is None:
        return Place(whole_text(conversation).strip(), run="a script")  # whose questions are those of one long cell
    parent = _parent_of(shell)
    # Its execution_count is the cell's own number in some versions, and the next one's in others.
    number = len(shell.history_manager.input_hist_parsed) - 1
    return Place(
        whole_text(conversation).strip(),
        cell=cell_of(shell),
        execution=number,
        run=parent.get("header", {}).get("msg_id") or number,
        is_notebook=not is_terminal(shell),
    )


def is_terminal(shell: Any) -> bool:
    """Whether it is IPython in a terminal, where nothing is run again as it stands."""
    terminal = sys.modules.get("IPython.terminal.interactiveshell")
    return terminal is not None and isinstance(shell, terminal.TerminalInteractiveShell)


def notebook_of(settings: CometSettings, shell: Any | None) -> str:
    """The path of the notebook whose cell is run, "" where it is not known."""
    told = shell.user_ns.get("__vsc_ipynb_file__") if shell else None  # VS Code's word for it
    # A kernel that a notebook's code starts, as papermill does, inherits the variable; but it has no cells.
    path = str(told or (settings.notebook_variable if cell_of(shell) else ""))
    return from_home(path) if Path(path).suffix else ""


def _parent_of(shell: Any) -> dict[str, Any]:
    """The message that asked for the execution; none outside kernels."""
    return shell.get_parent() if hasattr(shell, "get_parent") else {}


def cell_of(shell: Any | None) -> str:
    """The front end's id of the cell that is run, "" where it gives none."""
    return str(_parent_of(shell).get("metadata", {}).get("cellId") or "") if shell else ""
