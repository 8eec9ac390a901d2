"""The Python of a reply in a new cell below the one that asked: ready to be read and run, and never run by itself."""

from __future__ import annotations

import ast
from hashlib import sha256
from typing import Any

from ..exchange.cells import Cell
from ..messages.message import Message
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
    """Return what a reader could miss in code, in words that go on with a sentence; "" if there is nothing.

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


def insert_next_cell(shell: Any, store: Store, cell: Cell, reply: Message, code: str, *, again: bool = False) -> str:
    """Put `code` below the cell, unless it is there. Returns: what was done, in words.

    again: also where the same was put there before, for the user has asked anew.
    """
    said = _insert_next_cell(shell, store, cell, reply, code, again=again)
    look_at = code_warnings(code, reply.text) if code and reply.is_whole else ""
    if (count := len(python_blocks(reply))) > 1:
        said += f"; it is the longest of the reply's {count} blocks, which comet_magic.last.code_blocks has"
    return f"{said}; look at it: {look_at}" if look_at else said


def _insert_next_cell(shell: Any, store: Store, cell: Cell, reply: Message, code: str, *, again: bool) -> str:
    if not reply.is_whole:
        return "no cell was put below, for the reply is not whole"
    if not code:
        return "the reply has no block of Python: no cell was put below"
    if is_terminal(shell):
        shell.set_next_input(code)
        return "the code is your next input, not run: read it first"
    former = code_cells.find_digest(store, cell.conversation, cell.id) if cell.id else ""
    digest = sha256(code.encode()).hexdigest()
    is_there = former == digest or (not cell.id and reply.receipt.replayed is not None)
    if is_there and not again:
        return "the code is what was put below before: no other cell was made; comet_magic.last.code_blocks has it, too"
    shell.set_next_input(code)
    if cell.id:
        code_cells.keep_digest(store, cell.conversation, cell.id, digest)
    if former and not is_there:
        return (
            "the new code is in a cell below, not run: read it first; delete the old one, which no kernel can replace"
        )
    where = "in a cell below" if cell.id else "in a cell below, where the front end makes one"
    return f"the code is {where}, not run: read it first"
