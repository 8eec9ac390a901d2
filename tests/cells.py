"""A cell, run in an IPython without a kernel, and what came of it."""

from __future__ import annotations

import re
from typing import Any


class Ran:
    """What running a cell gave: outputs shown, text printed, the error if there was one."""

    def __init__(self, shell: Any, cell: str) -> None:
        from IPython.utils.capture import capture_output

        with capture_output() as captured:
            self.result = shell.run_cell(cell, store_history=True)
        self.printed = captured.stdout + captured.stderr
        # What is said of the code that a reply makes stands below the reply.
        outputs = captured.outputs
        self.notes = [one for one in outputs if re.fullmatch("<small>.*</small>", one.data.get("text/markdown", ""))]
        self.outputs = [one for one in outputs if one not in self.notes]
        self.error = self.result.error_in_exec or self.result.error_before_exec

    @property
    def said(self) -> str:
        """All that was printed or displayed, as text."""
        return "\n".join(
            [self.printed, *(str(output.data.get("text/plain", "")) for output in [*self.outputs, *self.notes])]
        )

    @property
    def markdown(self) -> str:
        return str(self.outputs[-1].data["text/markdown"])

    @property
    def plain(self) -> str:
        return str(self.outputs[-1].data["text/plain"])


def shown_in_turn(shell: Any, cell: str) -> list[str]:
    """The text of each display and each update of a cell, whose front end shows updates in their place."""
    shown: list[str] = []

    class Updating(type(shell.display_pub)):  # type: ignore[misc]  # whatever class it is
        """A publisher for such a front end."""

        def publish(self, data: dict[str, str], *_: object, **__: object) -> None:
            shown.append(data.get("text/plain", ""))

    former, shell.display_pub = shell.display_pub, Updating()
    try:
        assert shell.run_cell(cell, store_history=True).success
    finally:
        shell.display_pub = former
    return shown
