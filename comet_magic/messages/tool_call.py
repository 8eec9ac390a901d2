"""A call that the model made of a tool, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..named_tuple import NamedTuple
from ..text import clean, many, one_line


class ToolCall(NamedTuple):
    """A call of a tool, as it is shown.

    arguments: as the model gave them.        result: what went back, as text; pictures are named in it.
    problem: why there is no result, in words; "" if there is one.        took_s: seconds; None if it was not run.
    """

    name: str
    arguments: Any
    result: str = ""
    problem: str = ""
    took_s: float | None = None

    @property
    def line(self) -> str:
        """`query: SELECT … → 24 rows × 4 columns · 0.02 s`, on one line."""
        outcome = self.problem or " ".join(self.result.split())
        call = self.as_python
        if self.sql:
            call = f"query: {self.sql}"
            if table := self.table:
                more = " or more" if self.result.endswith("there are more]\n") else ""
                outcome = f"{many(len(table) - 1, 'row')}{more} × {many(len(table[0]), 'column')}"
        return f"{one_line(clean(call), SHORT)} → {one_line(clean(outcome), SHORT)}{self._took()}"

    @property
    def sql(self) -> str:
        """What the tool `query` was asked; "" of other tools."""
        is_query = self.name == "query" and isinstance(self.arguments, Mapping)
        return str(self.arguments.get("sql") or "") if is_query else ""

    @property
    def table(self) -> list[list[str]]:
        """The rows that `query` returned, the names of the columns first; [] of other tools, and where it failed."""
        if not self.sql or self.problem:
            return []
        import csv  # not at the top: few replies have calls

        rows = [row for row in csv.reader(self.result.splitlines(keepends=True)) if row]
        return [row for row in rows if len(row) == len(rows[0])]

    def _took(self) -> str:
        if self.took_s is None:
            return ""
        return " · < 0.01 s" if self.took_s < 0.01 else f" · {self.took_s:.{2 if self.took_s < 10 else 0}f} s"

    @property
    def given(self) -> str:
        """The arguments, a line each; texts as they stand."""
        if not isinstance(self.arguments, Mapping):
            return str(self.arguments)
        texts = {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in self.arguments.items()
        }
        return "\n".join(f"{name} = {text}" for name, text in texts.items())

    @property
    def as_python(self) -> str:
        """The call as Python would write it."""
        if not isinstance(self.arguments, Mapping):
            return f"{self.name}({self.arguments!r})"
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


NOBODY_THERE, DENIED = "nobody could allow it here", "denied by you"
SHORT = 90  # characters of a call, and of its result, in the line that opens to show them
