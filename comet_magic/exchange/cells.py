"""Which cell asks, in which conversation: the keys of turns."""

from __future__ import annotations

import threading
from typing import NamedTuple


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
