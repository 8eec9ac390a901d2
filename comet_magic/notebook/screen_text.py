"""What is printed → what the screen shows of it: carriage returns, backspaces, cursor moves; without colours."""

from __future__ import annotations

from ..text import lazy_pattern

_NEEDED = lazy_pattern(r"[\r\x08\x1b\x9b]")
# Source: ECMA-48, and xterm's control sequences for links and titles.
_TOKEN = lazy_pattern(
    r"(?:\x1b\[|\x9b)(?P<numbers>[0-?]*)[ -/]*(?P<command>[@-~])"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[PX^_].*?\x1b\\|\x1b[ -/]*[0-~]|(?P<control>[\r\n\x08])|\x1b|\x9b"
    r"|(?P<text>[^\r\n\x08\x1b\x9b]+)"
)
TALLEST = 10_000  # lines that the cursor may be moved down to; nobody looks further
WIDEST = 10_000


def screen_text(printed: str) -> str:
    """Return what is left on the screen when all has been printed."""
    if not _NEEDED.search(printed):
        return printed
    screen = _Screen()
    for token in _TOKEN.finditer(printed):
        screen.take(token["text"], token["control"], token["command"], token["numbers"])
    return "\n".join(line.rstrip() if "\r" in printed else line for line in screen.lines)


class _Screen:
    def __init__(self) -> None:
        self.lines = [""]
        self._row = self._column = 0
        self._saved = (0, 0)

    def take(self, text: str | None, control: str | None, command: str | None, numbers: str | None) -> None:
        if text is not None:
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + text + line[self._column + len(text) :]
            self._column += len(text)
        elif control == "\n":
            self._move(self._row + 1, 0)
        elif control == "\r":
            self._column = 0
        elif control == "\x08":
            self._column = max(0, self._column - 1)
        elif command:
            self._command(command, [int(part) if part.isdigit() else 0 for part in (numbers or "").split(";")])

    def _move(self, row: int, column: int) -> None:
        self._row, self._column = min(max(0, row), TALLEST), min(max(0, column), WIDEST)
        while len(self.lines) <= self._row:
            self.lines.append("")

    def _command(self, command: str, numbers: list[int]) -> None:
        first, row, column = numbers[0], self._row, self._column
        steps = max(1, first)
        match command:
            case "A" | "F":
                self._move(row - steps, column if command == "A" else 0)
            case "B" | "E":
                self._move(row + steps, column if command == "B" else 0)
            case "C":
                self._move(row, column + steps)
            case "D":
                self._move(row, column - steps)
            case "H" | "f":
                self._move(steps - 1, max(1, numbers[1] if len(numbers) > 1 else 1) - 1)
            case "P":
                self.lines[row] = self.lines[row][:column] + self.lines[row][column + steps :]
            case "s":
                self._saved = row, column
            case "u":
                self._move(*self._saved)
            case "G":
                self._move(row, steps - 1)
            case "K":
                self._erase_in_line(first)
            case "J":
                self._erase(first)

    def _erase_in_line(self, which: int) -> None:
        line = self.lines[self._row]
        kept = (line[: self._column], " " * self._column + line[self._column :], "")
        self.lines[self._row] = kept[min(which, 2)]

    def _erase(self, which: int) -> None:
        """Erase below the cursor, or everything."""
        if which >= 2:
            self.lines, self._row, self._column = [""], 0, 0
            return
        self._erase_in_line(which)
        if which == 0:
            del self.lines[self._row + 1 :]
