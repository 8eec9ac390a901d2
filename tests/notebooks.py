"""A notebook as a front end has it: cells that are inserted, moved, deleted and saved, and run in a shell of the test."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from cells import Ran

from comet_magic.exchange import session
from comet_magic.settings import CometSettings


class FrontEnd:
    """cells: (id, source), in order, as on the screen; the file has them as they were saved last."""

    def __init__(self, shell: Any, path: Path) -> None:
        self.shell, self.path = shell, path
        self.cells: list[tuple[str, str]] = []
        self._deleted: list[str] = []  # since the last run, as JupyterLab tells the kernel
        self._messages = 0
        self._made = 0

    def insert(self, source: str, at: int | None = None) -> str:
        self._made += 1
        id = f"c{self._made}"
        self.cells.insert(len(self.cells) if at is None else at, (id, source))
        return id

    def edit(self, id: str, source: str) -> None:
        self.cells[self.index(id)] = (id, source)

    def index(self, id: str) -> int:
        return [cell for cell, _ in self.cells].index(id)

    def delete(self, id: str) -> tuple[int, tuple[str, str]]:
        at = self.index(id)
        self._deleted.append(id)
        return at, self.cells.pop(at)

    def move(self, id: str, to: int) -> None:
        self.cells.insert(to, self.cells.pop(self.index(id)))

    def save(self) -> None:
        made = [{"id": id, "cell_type": "code", "source": source, "outputs": []} for id, source in self.cells]
        self.path.write_text(json.dumps({"cells": made, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
        now = time.time_ns()  # two versions within one tick of the file system's clock are told apart, too
        os.utime(self.path, ns=(now, now))

    def run(self, id: str) -> Ran:
        return self.line(dict(self.cells)[id], id)

    def line(self, source: str, id: str = "another") -> Ran:
        """Run a cell that is not in the notebook."""
        self._messages += 1
        parent = {
            "metadata": {"cellId": id, "deletedCells": list(self._deleted)},
            "header": {"msg_id": str(self._messages), "msg_type": "execute_request"},
        }
        self.shell.get_parent = lambda: parent
        try:
            return Ran(self.shell, source)
        finally:
            del self.shell.get_parent
            self._deleted.clear()

    def run_all(self) -> list[Ran]:
        return [self.run(id) for id, _ in self.cells]

    def restart(self) -> None:
        """Begin a new session, as a restarted kernel does; the names of the old one stay, which nothing here uses."""
        session.reset()
        magics = self.shell.magics_manager.registry["CometMagics"]
        magics.executions.deleted.deleted_at.clear()


def opened(
    shell: Any, path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch, sources: Iterable[str]
) -> tuple[FrontEnd, list[Ran]]:
    """A notebook of these cells, saved and run; and what came of each."""
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    monkeypatch.setenv("COMET_MAGIC_ENDPOINT", endpoint)
    CometSettings.instance().reset()
    front_end = FrontEnd(shell, path)
    for source in sources:
        front_end.insert(source)
    front_end.save()
    return front_end, front_end.run_all()
