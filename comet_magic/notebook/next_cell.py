"""The Python of a reply in a new cell below the one that asked: ready to be read and run, and never run by itself."""

from __future__ import annotations

import ast
from hashlib import sha256
from typing import Any

from ..exchange.cells import Cell
from ..messages.message import Message
from ..named_tuple import NamedTuple
from ..render.message import noted
from ..store import code_cells
from ..store.database import Store
from ..text import MARK, clean, lazy_pattern, spelled, without_unseen
from .cell import is_terminal

_PYTHON = ("python", "py", "python3", "py3", "ipython", "ipython3")


def python_blocks(reply: Message) -> list[str]:
    """Return the code of a whole reply, block after block; nothing of a reply that is only a part."""
    if not reply.is_whole:
        return []
    blocks = [
        (language.strip("{}. ").lower(), code.strip("\n")) for language, code in reply.code_blocks if code.strip()
    ]
    marked = [code for language, code in blocks if language in _PYTHON]
    return marked or [code for language, code in blocks if not language and _is_python(code)]


def one_block(reply: Message) -> str:
    """Return the longest block of Python: others are steps towards it, or alternatives; "" where there is none."""
    return max(python_blocks(reply), key=len, default="")


def _is_python(code: str) -> bool:
    """Return whether it may be, where nothing says so: outputs and shells' lines seldom are."""
    try:
        ast.parse("\n".join(line for line in code.split("\n") if not line.lstrip().startswith(("%", "!"))))
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


# What hands a line to a shell, or to a program.
_SHELL = lazy_pattern(
    r"^\s*(?:[\w, ]+=\s*)?!|^\s*%%?(?:bash|sh|script|system|sx|pip|conda|run)\b|\.system\("
    r"|\b(?:os\.(?:system|popen|exec\w*|spawn\w*)|subprocess\b|pty\.spawn|getoutput|shell\s*=\s*True)"
)
WIDE = 160  # columns that a screen may not show


def code_warnings(code: str, as_it_came: str) -> str:
    """Return what a reader could miss in code, in words that go on a sentence; "" if there is nothing.

    as_it_came: the text of the reply, in which characters may have stood that cannot be seen.
    """
    shell = [number for number, line in enumerate(code.split("\n"), 1) if _SHELL.search(line)]
    wide = [number for number, line in enumerate(code.split("\n"), 1) if len(line) > WIDE]
    came = as_it_came.replace("\r\n", "\n").replace("\r", "\n").replace(MARK, "")
    unseen = without_unseen(came) != came and spelled(came) != spelled(clean(came))
    notes = [
        f"line {_numbers(shell)} runs a command" if shell else "",
        f"line {_numbers(wide)} is wider than a screen" if wide else "",
    ]
    notes += ["characters that cannot be seen were taken out of it"] if unseen else []
    return "; ".join(filter(None, notes))


def _numbers(lines: list[int], most: int = 5) -> str:
    return ", ".join(map(str, lines[:most])) + (" …" if len(lines) > most else "")


class Replaced(NamedTuple):
    """A cell that is corrected: its source, and the front end's id of it, "" where it is not known."""

    source: str = ""
    cell: str = ""


NOTHING = Replaced()


class CodeNote(NamedTuple):
    """What became of a reply's code, in sentences.

    made: the code that was put into a new cell, "" where none was made.        replaces: the cell that it corrects.
    By these two a front end may replace cells: see labextension/static/fix.js.
    """

    text: str
    made: str = ""
    replaces: Replaced = NOTHING

    def __str__(self) -> str:
        return self.text

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        former = self.replaces
        replaced = {"replaces": former.source.strip(), "cell": former.cell} if former.cell else {}
        marks = {"code": self.made.strip(), **replaced} if self.made else {}
        return {"text/plain": self.text, "text/markdown": noted(self.text)}, {"comet_magic": marks}


def insert_next_cell(
    shell: Any,
    store: Store,
    cell: Cell,
    reply: Message,
    code: str,
    *,
    again: bool = False,
    replaces: Replaced = NOTHING,
) -> CodeNote:
    """Put `code` into a cell below, unless it is there. Returns: what was done.

    again: also where the same was put there before, for the user has asked anew.
    replaces: the cell that it corrects.
    """
    note = _insert_next_cell(shell, store, cell, reply, code, again=again)
    sentences = [note.text]
    if (count := len(python_blocks(reply))) > 1:
        sentences.append(f"It is the longest of the reply's {count} blocks; comet_magic.last.code_blocks has them all.")
    if look_at := code_warnings(code, reply.text) if code and reply.is_whole else "":
        sentences.append(f"Look at it: {look_at}.")
    return CodeNote(" ".join(sentences), note.made, replaces)


def _insert_next_cell(shell: Any, store: Store, cell: Cell, reply: Message, code: str, *, again: bool) -> CodeNote:
    if not reply.is_whole:
        return CodeNote("The reply is not whole, so no cell was made.")
    if not code:
        return CodeNote("The reply has no Python code, so no cell was made.")
    if is_terminal(shell):
        shell.set_next_input(code)
        return CodeNote("The code is your next input. Read it, then run it.")
    former = code_cells.find_digest(store, cell.conversation, cell.id) if cell.id else ""
    digest = sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
    is_there = former == digest or (not cell.id and reply.receipt.replayed is not None)
    if is_there and not again:
        return CodeNote("No other cell was made: this code was put into a cell below before.")
    shell.set_next_input(code)
    if not cell.id:
        return CodeNote("New code was put into a cell below, if your client makes one. Read it, then run it.", code)
    code_cells.keep_digest(store, cell.conversation, cell.id, digest)
    text = "New code was put into the cell below. Read it, then run it."
    if former and not is_there:
        text += " If the cell with the former code is still there, you can delete it."
    return CodeNote(text, code)
