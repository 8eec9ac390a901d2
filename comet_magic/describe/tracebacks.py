"""An exception → text: its message, and the frames of the user's own code; those of libraries are summed up."""

from __future__ import annotations

import linecache
import os
import sysconfig
import traceback
from collections.abc import Iterator
from itertools import groupby
from types import TracebackType
from typing import Any

from ..messages.lasting import with_sorted_sets
from ..text import exception_text, home, shown_path
from .dependencies import type_name
from .description import CellName, Description, Limits, without_addresses

CONTEXT = 2  # lines of the source before and after the one that failed
MOST_FRAMES = 8  # of the user's own; of more, as in a recursion, the first and the last ones
MOST_EXCEPTIONS = 20  # of chains and groups, in all
_RUN = ("<timed exec>", "<timed eval>", "<magic-timeit>", "<string>")  # the user's code, run by a magic or by exec
_PATHS = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
_INSTALLED = tuple(sorted(_PATHS, key=len, reverse=True))  # one may be in another


def failure(error: BaseException, limits: Limits) -> Description:
    text = limits.fitted("\n".join(_chain(error, limits, set())))
    return Description(f"exception {type(error).__name__}", text, type(error).__name__)


def _chain(error: BaseException, limits: Limits, seen: set[int]) -> Iterator[str]:
    """Yield the lines of an exception and of those behind it.

    seen: exceptions whose lines have been yielded; a group and its members may refer to one another.
    """
    links: list[tuple[BaseException, str]] = []
    follows, link = "", error
    while link is not None and id(link) not in seen and len(seen) < MOST_EXCEPTIONS:
        seen.add(id(link))
        links.append((link, follows))
        if link.__cause__ is not None:
            follows, link = "which was the direct cause of:", link.__cause__
        elif link.__context__ is not None and not link.__suppress_context__:
            follows, link = "while that was handled, there came:", link.__context__
        else:
            break
    for link, follows in reversed(links):
        yield from _one(link, limits, seen)
        if follows:
            yield f"\n{follows}\n"


def _one(error: BaseException, limits: Limits, seen: set[int]) -> Iterator[str]:
    cell_name = limits.cell_name
    yield from frames(error.__traceback__, cell_name)
    if isinstance(error, SyntaxError) and error.filename and (limits.share_values or cell_name(str(error.filename))):
        yield from _syntax(error, cell_name)
    yield message(error, limits)
    inner = getattr(error, "exceptions", ())  # of a group; others may have something of that name
    inner = inner if isinstance(inner, tuple) and all(isinstance(one, BaseException) for one in inner) else ()
    for number, one in enumerate(inner, 1):
        reason = [line for text in _chain(one, limits, seen) for line in text.split("\n")]
        if reason:
            yield f"\nexception {number} of the group's {len(inner)}:"
            yield from (f"  {line}" for line in reason)


def message(error: BaseException, limits: Limits) -> str:
    """Return `KeyError: 'prise'`, with its notes; without what may be a value where values are not shared."""
    kind = type(error)
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    name = f"{module}{kind.__qualname__}"
    if not limits.share_values:
        return f"{name}{_without_values(error)}"
    notes = getattr(error, "__notes__", ())
    reason = str(error.msg) if isinstance(error, SyntaxError) else exception_text(error)
    text = "\n".join([f"{name}: {reason}" if reason else name, *(map(str, notes) if isinstance(notes, list) else ())])
    for folder in _INSTALLED:
        text = text.replace(folder + os.sep, "")
    if folder := home():
        text = text.replace(folder + os.sep, "~" + os.sep)
    return limits.fitted(with_sorted_sets(without_addresses(text)), 500)


def _without_values(error: BaseException) -> str:
    """Return what its names say, which are the code's."""
    match error:
        case AttributeError(name=str(missing), obj=of) if of is not None:
            return f": {type_name(of)} has no attribute {missing!r}"
        case NameError(name=str(missing)):
            return f": name {missing!r} is not defined"
        case ImportError(name=str(missing)):
            return f": of {missing}"
        case SyntaxError(msg=str(what)):
            return f": {what.split('(')[0].strip()}"
    return " (its message may show values, which are not shared)"


def _syntax(error: SyntaxError, cell_name: CellName) -> Iterator[str]:
    yield f"{_location(str(error.filename), cell_name)}, line {error.lineno}"
    if error.text:
        yield f"  > {error.text.rstrip()}"
        if error.offset and error.offset > 0:
            yield "    " + " " * (error.offset - 1) + "^"


def frames(trace: TracebackType | None, cell_name: CellName) -> Iterator[str]:
    """Yield the user's frames with a few lines of their source, most recent last; one line for a run of others."""
    frames_of = [
        (frame, line, is_users(frame.f_code.co_filename, cell_name))
        for frame, line in traceback.walk_tb(trace)
        if not _is_machinery(frame)
    ]
    own = [at for at, (_, _, users) in enumerate(frames_of) if users]
    left_out = set(own[MOST_FRAMES // 2 : -MOST_FRAMES // 2]) if len(own) > MOST_FRAMES else set()
    for (users, hidden), run in groupby(enumerate(frames_of), lambda item: (item[1][2], item[0] in left_out)):
        group = [(frame, line) for _, (frame, line, _) in run]
        if hidden:
            yield f"… {len(group):,} more frames"
        elif users:
            for frame, line in group:
                yield from _frame(frame, line, cell_name)
        else:
            frame, line = group[-1]
            many = f"{len(group)} frames, the last: " if len(group) > 1 else ""
            code = frame.f_code
            yield f"in a library, {many}{_location(code.co_filename, cell_name)}, line {line}, in {code.co_name}"


def _is_machinery(frame: Any) -> bool:
    """Return whether it is what runs the user's cells: IPython, and this library."""
    package = str(frame.f_globals.get("__name__", "")).split(".")[0]
    return package in ("IPython", "ipykernel", "comet_magic")


def is_users(filename: str, cell_name: CellName) -> bool:
    if cell_name(filename) or filename.startswith("<ipython-input") or filename in _RUN:
        return True
    # Compiled libraries name files that are not there.
    return os.path.isabs(filename) and not filename.startswith(_INSTALLED) and "site-packages" not in filename


def _frame(frame: Any, line: int, cell_name: CellName) -> Iterator[str]:
    name = frame.f_code.co_name
    where = "" if name == "<module>" else f", in {name}"
    yield f"{_location(frame.f_code.co_filename, cell_name)}, line {line}{where}"
    lines = linecache.getlines(frame.f_code.co_filename)
    for number in range(max(1, line - CONTEXT), min(len(lines), line + CONTEXT) + 1):
        yield f"{'  >' if number == line else '   '} {lines[number - 1].rstrip()}"


def _location(filename: str, cell_name: CellName) -> str:
    """Return a cell's name, else the file's, without the folders that only this machine has."""
    if name := cell_name(filename):
        return f"Cell {name}"
    for folder in (*_INSTALLED, "site-packages"):
        if folder in filename:
            return filename.rpartition(folder)[2].lstrip("/\\")
    return shown_path(filename) if not filename.startswith("<") else filename
