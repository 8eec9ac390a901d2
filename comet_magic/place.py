"""Where a question is asked: in which conversation, in which cell of which notebook, and whether for the first time."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

from .inline import whole_text
from .settings import CometSettings


class Place(NamedTuple):
    """Where a question stands. conversation: "" for none.

    cell: the front end's id of the cell, "" where it gives none.        execution: the cell's In[] number.
    run: what is the same for all questions of one execution.
    is_notebook: its cells are run again as they stand, which is what replays are for.
    """

    conversation: str = ""
    cell: str = ""
    execution: int | None = None
    run: object = None
    is_notebook: bool = False


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


def shown_path(path: Path | str) -> str:
    """As short as it can be said here."""
    with contextlib.suppress(ValueError):
        return str(Path(path).resolve().relative_to(Path.cwd()))
    return from_home(str(path))


def from_home(path: str) -> str:
    home = str(Path.home())
    return whole_text(f"~{path[len(home) :]}" if path.startswith(home + os.sep) else path)


def _parent_of(shell: Any) -> dict[str, Any]:
    """The message that asked for the execution; none outside kernels."""
    return shell.get_parent() if hasattr(shell, "get_parent") else {}


def cell_of(shell: Any | None) -> str:
    """The front end's id of the cell that is run, "" where it gives none."""
    return str(_parent_of(shell).get("metadata", {}).get("cellId") or "") if shell else ""


RUN = "run:"  # begins the key of a cell without an id: run:KERNEL:NUMBER


def run_of(cell: str) -> str:
    """Which kernel first ran a cell without an id; "" for a cell with one."""
    return cell.split(":")[1] if cell.startswith(RUN) else ""


class Cells:
    """The cells that one process ran. kernel: what tells it from others.        is_fork: of another one's process."""

    def __init__(self, kernel: str, *, is_fork: bool) -> None:
        self._kernel = kernel
        self._is_fork = is_fork
        self._lock = threading.Lock()
        self._ran: dict[str, int] = {}  # cells, or requests where cells have no id
        self._last: dict[str, str] = {}  # by conversation: the cell that ran last
        self._run: object = None  # the execution that asked last
        self._runs = 0  # how many have asked
        self._asked_in_run = 0  # how much the last one has

    def key(self, place: Place) -> str:
        """The key of the next question in its conversation: the second of one cell has another than the first."""
        with self._lock:
            if place.run != self._run:
                self._run, self._runs, self._asked_in_run = place.run, self._runs + 1, 0
            self._asked_in_run += 1
            count = self._asked_in_run
        cell = place.cell or f"{RUN}{self._kernel}:{self._runs}"
        if self._is_fork and place.cell:
            cell += f"/{self._kernel}"  # the children of one cell are not one another
        return cell if count == 1 else f"{cell}/{count}"

    def times_run(self, cell: str) -> int:
        """How often it has been run in this kernel, this time included."""
        with self._lock:
            self._ran[cell] = self._ran.get(cell, 0) + 1
            return self._ran[cell]

    def before(self, conversation: str) -> str | None:
        """The cell that this process ran last in that conversation."""
        return self._last.get(conversation)

    def ran_in(self, conversation: str, cell: str) -> None:
        self._last[conversation] = cell

    def made(self, key: str) -> bool:
        """Whether a cell without an id, which has that key, was run by this process."""
        return key.startswith(f"{RUN}{self._kernel}:")
