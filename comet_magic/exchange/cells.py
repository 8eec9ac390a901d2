"""Which cell asks, in which conversation; and the keys that cells have in their conversations."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..named_tuple import NamedTuple


class Notebook(NamedTuple):
    """What is known of the notebook in which a cell asks. path: "" where it is not known.

    cells: the ids of its cells in order, as it was saved; none where that is not known.
    saved_at: when that was, in seconds since 1970.
    deleted: when the front end told that a cell was deleted, by its id.
    """

    path: str = ""
    cells: tuple[str, ...] = ()
    saved_at: float = 0.0
    deleted: Mapping[str, float] = {}


class Cell(NamedTuple):
    """The cell that asks. conversation: "" for none.

    id: the cell's id in the notebook's file, "" where the front end gives none.  execution: the cell's In[].
    handle: what a front end calls the cell instead, as long as it has the notebook open.
    run: what is the same for all questions of one execution.
    is_notebook: its cells are run again as they stand, which is what replays are for.
    notebook: the one that it is in.
    """

    conversation: str = ""
    id: str = ""
    execution: int | None = None
    run: object = None
    is_notebook: bool = False
    handle: str = ""
    notebook: Notebook = Notebook()


def no_path(settings: object) -> str:
    return ""


# How to find the path of the notebook whose cell is run, "" where it is not known; set when the extension is loaded.
notebook_path: Callable[[Any], str] = no_path


def learn_notebook_path(find: Callable[[Any], str]) -> None:
    global notebook_path
    notebook_path = find


RUN = "run:"  # begins the key of a cell without an id: run:KERNEL:NUMBER
IMPORTED = "imported/"  # begins the key of a turn that was no cell's


def id_of(key: str) -> str:
    """Return the id of the cell whose key it is, "" where it has none."""
    return "" if key.startswith((RUN, IMPORTED)) else key.split("/")[0]


def kernel_of(key: str) -> str:
    """Return which kernel first ran a cell without an id, from its key; "" for a cell with one."""
    return key.split(":")[1] if key.startswith(RUN) else ""


class CellKeys:
    """The keys of the cells that one process ran. Lives as long as its session.

    kernel: what tells the process from others.        is_fork: it is a fork of another one.
    """

    def __init__(self, kernel: str, *, is_fork: bool) -> None:
        self._kernel = kernel
        self._is_fork = is_fork
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}  # of cells, or of requests where cells have no id
        self._last: dict[str, str] = {}  # by conversation: the key of the cell that ran last
        self._ran_at: dict[str, float] = {}  # when a cell ran last, by its key
        self._run: object = None  # the execution that asked last
        self._execution_count = 0  # how many have asked
        self._questions = 0  # how many the last one has asked
        self._by_handle: dict[tuple[str, str, int], str] = {}  # by conversation, handle, and number of the question

    def next_key(self, cell: Cell) -> str:
        """Return the key of the next question: the second question of one cell has another than the first."""
        with self._lock:
            if cell.run != self._run:
                self._run, self._execution_count, self._questions = cell.run, self._execution_count + 1, 0
            self._questions += 1
            count = self._questions
        key = cell.id or f"{RUN}{self._kernel}:{self._execution_count}"
        if self._is_fork and cell.id:
            key += f"/{self._kernel}"  # the children of one cell are not one another
        return key if count == 1 else f"{key}/{count}"

    def of_handle(self, cell: Cell) -> str:
        """Return the key that the cell has in this process, by its handle; "" where it has none yet."""
        return self._by_handle.get((cell.conversation, cell.handle, self._questions), "") if cell.handle else ""

    def remember(self, cell: Cell, key: str) -> None:
        if cell.handle:
            self._by_handle[cell.conversation, cell.handle, self._questions] = key

    @property
    def taken(self) -> set[str]:
        """The keys of the cells that this process knows by a handle."""
        return set(self._by_handle.values())

    def times_run(self, key: str) -> int:
        """Count a run. Return how often the cell has been run in this kernel, this time included."""
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1
            return self._counts[key]

    def last_in(self, conversation: str) -> str | None:
        """Return the key of the cell that this process ran last in that conversation."""
        return self._last.get(conversation)

    def ran_in(self, conversation: str, key: str) -> None:
        self._last[conversation] = key
        self._ran_at[key] = time.time()

    def ran_at(self, key: str) -> float:
        """Return when this process ran the cell last, in seconds since 1970; 0 where it did not."""
        return self._ran_at.get(key, 0.0)

    def is_own(self, key: str) -> bool:
        """Say whether a cell without an id, which has that key, was run by this process."""
        return key.startswith(f"{RUN}{self._kernel}:")
