"""Which cells the front end says were deleted, and are not in the notebook again.

JupyterLab and Notebook 7 tell the kernel with each execution which cells were deleted since the last one, until a run
has ended; cutting a cell is deleting it, and pasting it brings its id back. So the saved file has a say, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from .saved_notebook import SavedNotebook


class DeletedCells:
    """Lives as long as the extension is loaded.

    deleted_at: when each cell that is deleted was told to be, by its id, in seconds since 1970.
    former: the notebook as it was saved when a question was asked last.
    """

    def __init__(self) -> None:
        self.deleted_at: dict[str, float] = {}
        self.former = SavedNotebook()
        self._noted_last: frozenset[str] = frozenset()

    def note(self, ids: Iterable[str], running: str, former_run: float, read: Callable[[], SavedNotebook]) -> None:
        """Note what an execution says. running: the id of the cell that is run, which is there whatever was said.

        former_run: when the execution before it ended, in seconds since 1970.        read: gets the saved notebook.
        """
        ids = frozenset(ids)
        news = ids - self._noted_last  # until a run has ended, each of the cells that wait says the same
        saved = read() if news else self.former
        for id in news:
            if not (saved.saved_at > former_run and self._has_moved(id, saved)):
                self.deleted_at[id] = time.time()
        self.deleted_at.pop(running, None)
        self._noted_last = ids

    def _has_moved(self, id: str, saved: SavedNotebook) -> bool:
        """Return whether the file has the cell elsewhere than before: then it was cut, pasted and saved."""
        if id not in saved.ids or not self.former.ids:
            return id in saved.ids
        if id not in self.former.ids:  # it was new, and saved before it was deleted
            return False
        common = set(saved.ids) & set(self.former.ids)
        return _before(id, saved.ids, common) != _before(id, self.former.ids, common)


def _before(id: str, ids: tuple[str, ...], common: set[str]) -> list[str]:
    """Return which of the cells that both have stand before a cell."""
    return [other for other in ids[: ids.index(id)] if other in common]
