"""A growing reply on a terminal: bold, code, headings, quotes, fences and tables are drawn as their text comes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from ..text import lazy_pattern

BOLD, ITALIC, CODE, DIM, PLAIN = "\x1b[1m", "\x1b[3m", "\x1b[36m", "\x1b[2m", "\x1b[0m"
WIDEST = 40  # characters of a table's cell; beyond it a row would not fit a line
_FENCE = lazy_pattern(r" {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^`]*$")
_HEADING = lazy_pattern(r" {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*$")
_RULE = lazy_pattern(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_CELLS = lazy_pattern(r"(?<!\\)\|")
# Where a line may turn out to be more than a line of text, it is held until it ends.
_HELD = lazy_pattern(r"[ \t]{0,3}(?:$|[|#>`~]|[*_]{1,3}$)")


class TerminalMarkdown:
    """Draws Markdown with `write`, as far as it is known what it is. Lives for one reply."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._line = ""  # what has come of the line
        self._shown = 0  # characters of it that are drawn
        self._marks: list[str] = []  # that are open in it
        self._fence = ""
        self._table: list[str] = []

    def feed(self, text: str) -> None:
        for part in re.split(r"(?<=\n)", text):
            self._line += part
            if self._line.endswith("\n"):
                self._end_line()
            elif not self._fence and not _HELD.match(self._line) and not self._table:
                self._flow(self._line)

    def close(self) -> None:
        """Draw what was held."""
        if self._line:
            self._end_line(newline="")
        self._draw_table()

    def _end_line(self, newline: str = "\n") -> None:
        line, shown = self._line.rstrip("\n"), self._shown
        self._line, self._shown = "", 0
        if shown:
            self._flow(line, shown, ends=True)
            self._write(self._closed() + newline)
            return
        fence = _FENCE.match(line)
        if self._fence:
            is_end = fence and fence[1].startswith(self._fence) and not fence[2]
            self._fence = "" if is_end else self._fence
            self._write(f"{DIM}{'─' * 40}{PLAIN}{newline}" if is_end else f"{line}{newline}")
            return
        if line.lstrip().startswith("|"):
            self._table.append(line)
            return
        self._draw_table()
        if fence:
            self._fence = fence[1]
            head = f"── {fence[2]} " if fence[2] else ""
            self._write(f"{DIM}{head.ljust(40, '─')}{PLAIN}{newline}")
        elif heading := _HEADING.match(line):
            self._write(f"{BOLD}{inline(heading[1], BOLD)}{PLAIN}{newline}")
        elif line.lstrip().startswith(">"):
            self._write(f"{DIM}│{PLAIN} {inline(line.lstrip()[1:].lstrip())}{newline}")
        else:
            self._write(inline(line) + newline)

    # ---- one line, as it comes

    def _flow(self, line: str, shown: int | None = None, *, ends: bool = False) -> None:
        """Draw more of a line of text; a mark that may go on is held."""
        at = self._shown if shown is None else shown
        parts: list[str] = []
        while at < len(line):
            mark = _mark_at(line, at)
            if mark and not ends and at + len(mark) == len(line):
                break
            if mark:
                parts.append(self._toggled(mark, line, at))
                at += len(mark)
            else:
                parts.append(line[at])
                at += 1
        self._write("".join(parts))
        if not ends:
            self._shown = at

    def _toggled(self, mark: str, line: str, at: int) -> str:
        if mark in self._marks:
            self._marks.remove(mark)
            return PLAIN + "".join(map(_style, self._marks))
        opens = at + len(mark) < len(line) and not line[at + len(mark)].isspace()
        if "`" in "".join(self._marks) or not opens or (mark != "`" * len(mark) and at and line[at - 1].isalnum()):
            return mark
        self._marks.append(mark)
        return _style(mark)

    def _closed(self) -> str:
        had, self._marks = bool(self._marks), []
        return PLAIN if had else ""

    # ---- tables

    def _draw_table(self) -> None:
        rows, self._table = self._table, []
        if not rows:
            return
        if len(rows) < 2 or not _RULE.match(rows[1]):
            self._write("".join(f"{inline(row)}\n" for row in rows))
            return
        cells = [_cells(row) for row in (rows[0], *rows[2:])]
        count = len(cells[0])
        cells = [[*row, *[""] * count][:count] for row in cells]
        wide = [min(WIDEST, max(_width(_bare(row[at])) for row in cells)) for at in range(count)]
        right = [cell.rstrip().endswith(":") and not cell.lstrip().startswith(":") for cell in _cells(rows[1])]
        right = [*right, *[False] * count][:count]
        for number, row in enumerate(cells):
            drawn = []
            for text, width, is_right in zip(row, wide, right, strict=True):
                gap = " " * max(0, width - _width(_bare(text)))
                text = f"{BOLD}{_bare(text)}{PLAIN}" if not number else inline(text)
                drawn.append(f"{gap}{text}" if is_right else f"{text}{gap}")
            self._write("  ".join(drawn).rstrip() + "\n")
            if not number:
                self._write(DIM + "  ".join("─" * width for width in wide) + PLAIN + "\n")


def _mark_at(line: str, at: int) -> str:
    """Return the run of stars or backticks that begins there, as one mark."""
    char = line[at]
    if char not in "*`":
        return ""
    run = len(line[at:]) - len(line[at:].lstrip(char))
    return char * (run if char == "`" else min(run, 2))


def _style(mark: str) -> str:
    return CODE if mark[0] == "`" else BOLD if mark == "**" else ITALIC


def inline(text: str, around: str = "") -> str:
    """Return a whole line with its bold, italic and code drawn. around: the style that it stands in."""
    drawn: list[str] = []
    flow = TerminalMarkdown(drawn.append)
    flow._flow(text, 0, ends=True)
    drawn.append(flow._closed())
    return "".join(drawn).replace(PLAIN, PLAIN + around)


def _bare(text: str) -> str:
    """Return a text without its marks."""
    return re.sub(r"\x1b\[\d*m", "", inline(text))


def _cells(row: str) -> list[str]:
    row = row.strip().removeprefix("|")
    row = row[:-1] if row.endswith("|") and not row.endswith("\\|") else row
    return [cell.strip().replace("\\|", "|") for cell in _CELLS.split(row)]


def _width(text: str) -> int:
    """Return the columns that a text takes: two for a wide character, none for one that joins another."""
    widths = (
        2 if unicodedata.east_asian_width(char) in "WF" else 0 if unicodedata.combining(char) else 1 for char in text
    )
    return sum(widths)
