"""One output that is shown anew while something goes on, and one line of a terminal that is written over."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any


class StatusOutput:
    """An output of a notebook. publish: shows it, as `display_pub.publish`."""

    def __init__(self, publish: Callable[..., None]) -> None:
        self._publish = publish
        self._id = os.urandom(16).hex()
        self._is_open = False

    def show(self, data: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        """Show this in the place of what was shown before."""
        self._publish(data=data, metadata=metadata or {}, transient={"display_id": self._id}, update=self._is_open)
        self._is_open = True


class StatusLine:
    """A line of a terminal. can_overwrite: whether the terminal can do that; else nothing is written before the end."""

    def __init__(self, *, can_overwrite: bool) -> None:
        self._can_overwrite = can_overwrite
        self._written = 0

    def write(self, line: str) -> None:
        if self._can_overwrite:
            sys.stdout.write("\r" + line.ljust(self._written))
            sys.stdout.flush()
            self._written = len(line)

    def end(self, lines: list[str]) -> None:
        """Take the line away, and print these."""
        if self._can_overwrite and self._written:
            self.write("")
            sys.stdout.write("\r")
        for line in lines:
            print(line, flush=True)
