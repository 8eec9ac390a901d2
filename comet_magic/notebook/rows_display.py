"""A run over many rows on the screen: one output that is painted anew while it goes on, and stays as text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..environment import terminal_shows_colours
from ..errors import without_known_keys
from ..rows.progress import Progress
from ..text import clean, escaped
from .cell import current_shell, is_console
from .display import applies_updates, only_prints
from .status_display import StatusLine, StatusOutput
from .stdin import is_yes


class RowsOutput:
    """Paints progress into one output of a notebook. publish: shows it.        can_update: also before the end."""

    def __init__(self, publish: Callable[..., None], *, can_update: bool) -> None:
        self._output, self._can_update = StatusOutput(publish), can_update

    def paint(self, progress: Progress) -> None:
        if self._can_update:
            self._show(progress)

    def finish(self, progress: Progress) -> None:
        self._show(progress)

    def ask(self, question: str) -> bool | None:
        return is_yes(question)

    def _show(self, progress: Progress) -> None:
        lines = [without_known_keys(line) for line in (progress.line, *progress.details)]
        markdown = "\n".join([f"**{escaped(lines[0])}**", "", *(f"- {escaped(line)}" for line in lines[1:])])
        bundle = {"text/markdown": markdown.rstrip(), "text/plain": "\n".join(map(clean, lines))}
        counts = {
            "rows": progress.rows, "requests": progress.requests, "answered": progress.answered,
            "stored": progress.stored, "failed": progress.failed.total(), "usage": progress.usage.reported(),
        }  # fmt: skip
        self._output.show(bundle, {"comet_magic": counts} if progress.ended else {})


class RowsTerminal:
    """Says progress in one line that is written over, where a terminal can do that; what came of it is printed."""

    def __init__(self, *, can_overwrite: bool) -> None:
        self._line = StatusLine(can_overwrite=can_overwrite)

    def paint(self, progress: Progress) -> None:
        self._line.write(clean(without_known_keys(progress.line)))

    def finish(self, progress: Progress) -> None:
        self._line.end([clean(without_known_keys(line)) for line in (progress.line, *progress.details)])

    def ask(self, question: str) -> bool | None:
        return is_yes(question)


class NoScreen:
    """For a script, which shows nothing, and in which nobody is asked; `comet_magic.last_run` tells what came."""

    def paint(self, progress: Progress) -> None:
        pass

    def finish(self, progress: Progress) -> None:
        pass

    def ask(self, question: str) -> bool | None:
        return None


def rows_screen() -> RowsOutput | RowsTerminal | NoScreen:
    """Return where a run is shown now."""
    shell: Any = current_shell()
    if shell is None:
        return RowsTerminal(can_overwrite=True) if sys.stdin.isatty() and sys.stdout.isatty() else NoScreen()
    if only_prints(shell) or is_console(shell):
        return RowsTerminal(can_overwrite=terminal_shows_colours())
    return RowsOutput(shell.display_pub.publish, can_update=applies_updates(shell))
