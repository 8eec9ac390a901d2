"""Where a question is asked: in which cell of which notebook, as the shell tells it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..exchange.cells import Cell, Notebook
from ..settings import CometSettings
from ..text import from_home, lazy_pattern, whole_text
from .executions import current_executions, parent_of
from .saved_notebook import saved_notebook


def current_shell() -> Any | None:
    """Return the IPython that this runs in, if it does."""
    module = sys.modules.get("IPython.core.getipython")
    return module.get_ipython() if module else None


def current_cell(conversation: str) -> Cell:
    """Return the cell that asks now; in a script there is none, and its questions are those of one long cell."""
    shell, name = current_shell(), whole_text(conversation).strip()
    if shell is None:
        return Cell(name, run="a script")
    # Its execution_count is the cell's own number in some versions, and the next one's in others.
    number = len(shell.history_manager.input_hist_parsed) - 1
    run = parent_of(shell).get("header", {}).get("msg_id") or number
    id, is_notebook = cell_id(shell), not is_terminal(shell)
    notebook, has_ids = notebook_now() if id else (Notebook(), True)
    if _IN_FILE.fullmatch(id) and has_ids:
        return Cell(name, id, number, run, is_notebook, notebook=notebook)
    return Cell(name, "", number, run, is_notebook, handle=id)


def notebook_now() -> tuple[Notebook, bool]:
    """Return what is known of the notebook now; and whether ids of its cells stay when it is opened again."""
    path = notebook_path(CometSettings.instance())
    file, deleted = saved_notebook(path), dict[str, float]()
    if executions := current_executions():
        executions.deleted.former = file
        deleted |= executions.deleted.deleted_at
    # In other files than notebooks there are no ids: cells get new ones whenever such a one is opened.
    has_ids = not path or (path.endswith(".ipynb") and (not file.cells or bool(file.ids)))
    return Notebook(path, file.ids, file.saved_at, deleted), has_ids


# Source: the notebook format, cell ids. VS Code's hold as long as it has the notebook open.
_IN_FILE = lazy_pattern(r"[a-zA-Z0-9_-]{1,64}")


def as_typed(shell: Any, body: str) -> str:
    """Return a cell's body as the user typed it.

    IPython takes `>>> `, `... ` and `In [1]: ` off its lines, and puts a newline at its end.
    Empty lines at the end are left out.
    body: as a magic gets it; what is no body of the running cell keeps its lines as they are.
    """
    body = body.replace("\r\n", "\n").rstrip("\n")
    typed = _typed_source(shell).replace("\r\n", "\n").split("\n")
    magics = ("%%claude", "%%comet_")
    magic = next((at for at, line in enumerate(typed) if line.lstrip().startswith(magics)), len(typed))
    text = "\n".join(typed[magic + 1 :])
    # In IPython's history, what ends with \r\n ends with \r.
    text = text.rstrip("\n").removesuffix("\r")
    return text if text and _unprompted(text) == _unprompted(body) else body


def _typed_source(shell: Any) -> str:
    """Return the source of the running cell as the front end sent it; "" where no cell runs, as in a callback."""
    parent = parent_of(shell)
    if parent and parent.get("header", {}).get("msg_type") not in (None, "execute_request"):
        return ""
    code = parent.get("content", {}).get("code")
    sources = shell.history_manager.input_hist_raw
    return code if isinstance(code, str) else str(sources[-1]) if sources else ""


def _unprompted(text: str) -> list[str]:
    """Return the lines of a text without prompts and space around them, and without empty ones at its end."""
    lines = [_PROMPT.sub("", line).strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


_PROMPT = lazy_pattern(r"^(?:\s*(?:>>>|\.\.\.+:?|In \[\d+\]:) ?)+")


def local_names(shell: Any) -> dict[str, Any]:
    """Return the names of the user's function in which a magic is run; {} where it is run by a cell itself."""
    frame: Any = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).split(".")[0] in _MACHINERY:
        frame = frame.f_back
    if frame is None or frame.f_locals is frame.f_globals:
        return {}
    others = {} if frame.f_globals is shell.user_ns else frame.f_globals
    return {**others, **frame.f_locals}


_MACHINERY = ("IPython", "ipykernel", "comet_magic", "contextlib")


def is_terminal(shell: Any) -> bool:
    """Return whether it is IPython in a terminal, where nothing is run again as it stands."""
    terminal = sys.modules.get("IPython.terminal.interactiveshell")
    return terminal is not None and isinstance(shell, terminal.TerminalInteractiveShell)


def is_console(shell: Any) -> bool:
    """Return whether the kernel is asked by a console, as jupyter console and qtconsole: what they show stays.

    They are jupyter_client's, which numbers its messages; they name no cells, and let the user be asked.
    """
    parent = parent_of(shell)
    asks = parent.get("content", {}).get("allow_stdin") is True and not parent.get("metadata", {}).get("cellId")
    return asks and bool(_NUMBERED.search(str(parent.get("header", {}).get("msg_id"))))


_NUMBERED = lazy_pattern(r"_\d+_\d+$")


def notebook_path(settings: CometSettings) -> str:
    """Return the path of the notebook whose cell is run, "" where it is not known."""
    shell = current_shell()
    from_vscode = shell.user_ns.get("__vsc_ipynb_file__") if shell else None
    # A kernel that a notebook's code starts, as papermill does, inherits the variable; but its cells have no names.
    executions = current_executions()
    is_of_notebook = bool(cell_id(shell)) or (executions is not None and executions.are_named)
    path = str(from_vscode or (settings.notebook_variable if is_of_notebook else ""))
    return from_home(path) if Path(path).suffix else ""


def is_running_cell() -> bool:
    """Return whether a cell or a line is run now, and not a widget's callback: only then can the user be asked."""
    shell = current_shell()
    kind = parent_of(shell).get("header", {}).get("msg_type") if shell else None
    return shell is not None and kind in (None, "execute_request")


def cell_id(shell: Any | None) -> str:
    """Return the front end's id of the cell that is run, "" where it gives none."""
    return str(parent_of(shell).get("metadata", {}).get("cellId") or "") if shell else ""
