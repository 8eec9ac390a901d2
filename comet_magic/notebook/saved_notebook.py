"""The notebook's file, as the front end has saved it last: its cells, in order."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path

from ..named_tuple import NamedTuple
from ..text import expanded

MOST_BYTES = 100_000_000  # of a file that is read; it takes a second


class SavedCell(NamedTuple):
    """A cell in the file. id: "" where the file's format has none.        kind: "code", "markdown" or "raw"."""

    id: str
    kind: str
    source: str


class SavedNotebook(NamedTuple):
    """The file. cells: none where it cannot be read.        saved_at: seconds since 1970."""

    cells: tuple[SavedCell, ...] = ()
    saved_at: float = 0.0

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all cells, in order; none where the file's format has no ids."""
        ids = tuple(cell.id for cell in self.cells)
        return ids if all(ids) else ()


NO_NOTEBOOK = SavedNotebook()


def saved_notebook(path: str) -> SavedNotebook:
    """Return the notebook that is at `path` now; an empty one for "", and for what is no notebook."""
    if not path or not (file := expanded(path)).is_absolute():
        return NO_NOTEBOOK
    try:
        info = os.stat(file)
    except (OSError, ValueError):
        return NO_NOTEBOOK
    return _read(str(file), info.st_mtime_ns, info.st_size) if info.st_size <= MOST_BYTES else NO_NOTEBOOK


@lru_cache(maxsize=4)
def _read(path: str, mtime_ns: int, size: int) -> SavedNotebook:
    """Return what is in the file. mtime_ns, size: what tells one version of it from another."""
    try:
        plain = json.loads(Path(path).read_bytes())
        cells = tuple(_cell(cell) for cell in plain["cells"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return NO_NOTEBOOK
    return SavedNotebook(cells, mtime_ns / 1e9)


def _cell(plain: dict[str, object]) -> SavedCell:
    """Return a cell of the file. Source: the notebook format, where a source is one text or a list of lines."""
    source = plain.get("source", "")
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return SavedCell(str(plain.get("id") or ""), str(plain.get("cell_type")), text)
