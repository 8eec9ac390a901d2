"""What the kernel ran: sources, what the screen showed of it, and failures, in the order in which they ran."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from ..errors import CometError, ConfigError
from ..named_tuple import NamedTuple

if TYPE_CHECKING:
    from ..describe.description import Description, Limits
    from .deleted_cells import DeletedCells

MOST_RUNS = 1000
MOST_OUTPUTS, MOST_OUTPUT = 50, 20_000  # that are kept of a cell, and characters of each
MARGIN = 5_000  # more of them, so that no secret is cut before it is hidden
MOST_PICTURES = 20  # the latest ones, which are kept
_PICTURES = (
    *("image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"),
    *("application/vnd.plotly.v1+json", "application/vnd.vegalite"),
)


class Output(NamedTuple):
    """One thing that the screen shows. text: of it.        picture: (its type, its data), where it is one."""

    text: str = ""
    picture: tuple[str, Any] | None = None


class Execution(NamedTuple):
    """One execution. number: its In[].        cell: the front end's id, "" where it gives none.

    outputs: what the screen shows, in order.
    error: what it failed with, as long as it is the latest that failed: an exception keeps all that its frames hold.
    failed: the same in words, "" if it ran well.
    """

    number: int
    source: str
    cell: str = ""
    outputs: tuple[Output, ...] = ()
    error: BaseException | None = None
    failed: str = ""

    @property
    def pictures(self) -> list[tuple[str, Any]]:
        return [output.picture for output in self.outputs if output.picture]

    def hidden_texts(self, hide: Callable[[str], str]) -> list[str]:
        """Return each output's text without secrets, and without the end of a cut one: a secret may have been cut."""
        return [
            hide(output.text)[:-MARGIN] if len(output.text) >= MOST_OUTPUT + MARGIN else hide(output.text)
            for output in self.outputs
        ]

    def _describe_(self, limits: Limits) -> list[Description]:
        return self._describe_list_([self], limits)

    @staticmethod
    def _describe_list_(executions: Sequence[Execution], limits: Limits) -> list[Description]:
        from .execution_text import describe_executions  # not at the top: loading stays quick

        return describe_executions(executions, limits)


class Plot:
    """The last picture that a cell displayed, whatever made it. It is looked for when a prompt names it."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions

    def _describe_(self, limits: Limits) -> list[Description]:
        from .execution_text import describe_picture  # not at the top: loading stays quick

        if picture := self._executions.last_picture():
            return [describe_picture(picture, limits)]
        raise ConfigError(
            "no cell has displayed a picture since comet_magic was loaded",
            "nothing was sent; {{fig}} sends a figure by its name",
        )


class Outline:
    """What the notebook has: names, kinds, columns, signatures, imports, versions. Never a value."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def _describe_(self, limits: Limits) -> Description:
        from .outline import describe_namespace  # not at the top: loading stays quick

        return describe_namespace(self._shell.user_ns, self._shell.user_ns_hidden, limits)


class _Displayed(NamedTuple):
    """What one message displayed, or that the output was cleared: behind how much of what IPython keeps."""

    outputs: int
    characters: int
    output: Output | None
    waits: bool = False


class _Here(threading.local):
    """What runs on this thread. displayed: by display id.        cell: the front end's id, "" where it gives none."""

    def __init__(self) -> None:
        self.displayed: dict[str, _Displayed] = {}
        self.cell = ""


class Executions:
    """The latest ones of one shell. It is told of each by the shell's events, and holds them in memory alone."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._ran: deque[Execution] = deque(maxlen=MOST_RUNS)
        self._here = _Here()
        self.failure: Execution | None = None  # the latest one that has not been mended
        self._has_thread_failed = False  # while the cell ran
        self.are_named = False  # whether the front end names the cells that it runs
        self._ended_at = 0.0  # when the latest execution did, in seconds since 1970
        self._deleted: DeletedCells | None = None
        self._former_hook: Any = None

    def watch(self) -> None:
        global _watched
        _watched = self
        self._shell.events.register("pre_run_cell", self._begin)
        self._shell.events.register("post_run_cell", self._end)
        if hasattr(self._shell.display_pub, "register_hook"):  # a kernel's; a terminal's keeps what it displays
            self._shell.display_pub.register_hook(self._display)
        self._former_hook, threading.excepthook = threading.excepthook, self._thread_failed

    def unwatch(self) -> None:
        global _watched
        _watched = None
        self._shell.events.unregister("pre_run_cell", self._begin)
        self._shell.events.unregister("post_run_cell", self._end)
        if hasattr(self._shell.display_pub, "unregister_hook"):
            self._shell.display_pub.unregister_hook(self._display)
        if threading.excepthook == self._thread_failed:  # else somebody else has put one before it
            threading.excepthook = self._former_hook

    # ---- what the shell tells

    def _begin(self, info: Any) -> None:
        self._has_thread_failed = False
        metadata = parent_of(self._shell).get("metadata") or {}
        self._here.displayed = {}
        self._here.cell = str(info.cell_id or metadata.get("cellId") or "")
        # Each thread has hooks of its own, and a subshell's cells run on another one.
        if hasattr(self._shell.display_pub, "register_hook") and self._display not in self._shell.display_pub._hooks:
            self._shell.display_pub.register_hook(self._display)
        self.are_named = self.are_named or bool(self._here.cell)
        self._note_deleted(metadata.get("deletedCells"))

    def _note_deleted(self, deleted: Any) -> None:
        """Take note of the cells that were deleted since the last execution, as JupyterLab and Notebook 7 tell."""
        if isinstance(deleted, list) and (deleted or self._deleted):
            from ..exchange import cells  # not at the top: loading stays quick
            from ..settings import CometSettings
            from .saved_notebook import saved_notebook

            path = cells.notebook_path(CometSettings.instance())
            self.deleted.note(map(str, deleted), self._here.cell, self._ended_at, lambda: saved_notebook(path))

    @property
    def deleted(self) -> DeletedCells:
        from .deleted_cells import DeletedCells  # not at the top: loading stays quick

        self._deleted = self._deleted or DeletedCells()
        return self._deleted

    def _display(self, message: Any) -> Any:
        content = message.get("content", {})
        if message.get("header", {}).get("msg_type") == "clear_output":
            self._keep(f"clear {len(self._here.displayed)}", None, waits=bool(content.get("wait")))
            return message
        data = content.get("data", {})
        plain, picture = data.get("text/plain"), _picture(data)
        if plain or picture:
            key = content.get("transient", {}).get("display_id") or f"output {len(self._here.displayed)}"
            if message.get("header", {}).get("msg_type") == "update_display_data" and key not in self._here.displayed:
                return message  # of another cell's output
            if "comet_magic" in content.get("metadata", {}):  # a reply; how long it took is another time at each run
                reply, _, account = str(plain).rpartition("\n\n")
                plain = reply if account.startswith("◈") else plain
            self._keep(key, Output(str(plain or ""), picture))
        return message

    def _keep(self, key: str, output: Output | None, *, waits: bool = False) -> None:
        kept = self._ipython_outputs(self._shell.execution_count - 1)
        place = (len(kept), len(_printed(kept[-1])) if kept else 0)
        if key in self._here.displayed:  # an update stands where the first one stood
            place = self._here.displayed[key][:2]
        self._here.displayed[key] = _Displayed(*place, output, waits)

    def _end(self, result: Any) -> None:
        self._ended_at = time.time()
        if not result.info or not result.info.store_history:
            return
        # There is no number where IPython could not even print the failure.
        number = result.execution_count or len(self._shell.history_manager.input_hist_raw) - 1
        error = result.error_before_exec or result.error_in_exec
        failed = f"{type(error).__name__}: {_reason(error)}" if error else ""
        cell = str(result.info.cell_id or "")
        run = Execution(number, result.info.raw_cell, cell, self._outputs(number), None, failed)
        self._ran.append(run)
        if run.pictures:
            self._drop_old_pictures()
        if error is not None and not isinstance(error, KeyboardInterrupt | CometError):
            self.failure = run._replace(error=error)
        elif error is None and self.failure and _is_same(run, self.failure) and not self._has_thread_failed:
            self.failure = None

    def _thread_failed(self, args: Any) -> None:
        """Take an exception of a thread for the latest failure: that of the cell that runs, or ran last."""
        error = args.exc_value
        if error is not None and not isinstance(error, SystemExit | CometError):
            sources = self._shell.history_manager.input_hist_raw
            failed = f"{type(error).__name__}: {_reason(error)} (in a thread)"
            ran = self._ran[-1] if self._ran and self._ran[-1].number == len(sources) - 1 else None
            now = ran or Execution(len(sources) - 1, sources[-1], self._here.cell)
            self.failure = now._replace(error=error, failed=failed)
            self._has_thread_failed = True
        self._former_hook(args)

    def _outputs(self, number: int) -> tuple[Output, ...]:
        """Return what the screen shows of what was printed, displayed and returned, in order."""
        shown: list[Output] = []
        clears = False  # when something comes
        for item in self._items(number):
            if isinstance(item, _Displayed):
                clears = item.waits
                shown = shown if clears else []
            elif item.text.strip() or item.picture:
                shown = [] if clears else shown
                clears = False
                shown.append(item._replace(text=item.text[: MOST_OUTPUT + MARGIN]))
        half = MOST_OUTPUTS // 2
        if len(shown) <= MOST_OUTPUTS:
            return tuple(shown)
        left_out = Output(f"[… {len(shown) - 2 * half} outputs left out …]")
        return (*shown[:half], left_out, *shown[-half:])

    def _items(self, number: int) -> Iterator[Output | _Displayed]:
        """Yield what was printed, displayed and returned; and, as itself, what cleared all that before."""
        displayed = sorted(self._here.displayed.values(), key=lambda one: one[:2])
        for position, kept in enumerate([None, *self._ipython_outputs(number)]):
            text, at = _printed(kept), 0
            for one in displayed:
                if one.outputs == position:
                    yield Output(_on_screen(text[at : one.characters]))
                    yield one.output or one
                    at = max(at, one.characters)
            yield Output(_on_screen(text[at:]), _picture(getattr(kept, "bundle", {})))

    def _ipython_outputs(self, number: int) -> list[Any]:
        """Return what IPython itself keeps of a cell's outputs; older ones keep nothing."""
        kept: dict[int, list[Any]] = getattr(self._shell.history_manager, "outputs", {})
        if not hasattr(self._shell.display_pub, "register_hook"):
            return kept.get(number, [])
        # A kernel may keep what it displays, too, which the hook has told.
        return [one for one in kept.get(number, []) if one.output_type != "display_data"]

    def _drop_old_pictures(self) -> None:
        left = MOST_PICTURES
        for at in range(len(self._ran) - 1, -1, -1):
            run = self._ran[at]
            if run.pictures and left <= 0:
                self._ran[at] = run._replace(outputs=tuple(output._replace(picture=None) for output in run.outputs))
            left -= len(run.pictures)

    # ---- what is asked

    @overload
    def __getitem__(self, which: int) -> Execution: ...
    @overload
    def __getitem__(self, which: slice) -> list[Execution]: ...
    def __getitem__(self, which: int | slice) -> Execution | list[Execution]:
        """Return In[5] for `cells[5]`, and what ran last for `cells[-1]`; a slice counts in the order of running."""
        if isinstance(which, slice):
            return [self._with_error(run) for run in list(self._ran)[which]]
        if which < 0 and -which <= len(self._ran):
            return self._with_error(self._ran[which])
        execution = next((self._with_error(run) for run in reversed(self._ran) if run.number == which), None)
        if execution is None:
            raise IndexError(f"no cell In[{which}] has run in this kernel since comet_magic was loaded")
        return execution

    def _with_error(self, run: Execution) -> Execution:
        if self.failure and self.failure.number == run.number:
            return run._replace(error=self.failure.error, failed=self.failure.failed)
        return run

    def state_of(self, cell: str, number: int) -> str:
        """Return "failed" for the cell that failed last, "ran" for one that ran as In[number] here, else "unknown".

        A front end asks it, which shows numbers of earlier kernels, too. cell: the front end's id of it.
        """
        if self.failure and self.failure.cell == cell:
            return "failed"
        return "ran" if any(run.number == number and run.cell == cell for run in self._ran) else "unknown"

    def cell_of(self, source: str) -> str:
        """Return the front end's id of the cell that ran last with that source; "" where none is known."""
        return next((run.cell for run in reversed(self._ran) if run.source.strip() == source.strip()), "")

    def __len__(self) -> int:
        return len(self._ran)

    def __repr__(self) -> str:
        return f"<the {len(self._ran)} cells that have run>"

    def _describe_(self, limits: Limits) -> list[Description]:
        return Execution._describe_list_(self[:], limits)

    def names(self) -> dict[str, Any]:
        """Return what a prompt may refer to besides the user's own names; error once a cell has failed."""
        failure = {"error": self.failure.error} if self.failure else {}
        return {"cells": self, "plot": Plot(self), "notebook": Outline(self._shell), **failure}

    def last_picture(self) -> tuple[str, Any] | None:
        """Return the last picture that a cell displayed; else the figure that is open, where none is displayed."""
        for run in list(self._ran)[::-1]:
            if run.pictures:
                return run.pictures[-1]
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        return ("figure", pyplot.gcf()) if pyplot is not None and pyplot.get_fignums() else None

    def name_of(self, filename: str) -> str:
        """Return the first line of the cell whose code was compiled under this file name; "" for other files.

        Its number is another one at each run.
        """
        source = self.source_of(filename)
        return first_line(source) if source else ""

    def source_of(self, filename: str) -> str:
        """Return the cell whose code was compiled under this file name; "" for other files."""
        number = getattr(self._shell.compile, "_filename_map", {}).get(filename)
        sources = self._shell.history_manager.input_hist_raw
        return str(sources[number]) if number is not None and number < len(sources) else ""


def parent_of(shell: Any) -> dict[str, Any]:
    """Return the message that asked for the execution; none outside kernels."""
    return shell.get_parent() if hasattr(shell, "get_parent") else {}


def first_line(source: str) -> str:
    """Return the line of a cell by which it is called: its first one with something in it, in quotes."""
    from ..text import one_line  # not at the top: loading stays quick

    lines = [
        line.strip() for line in source.splitlines() if line.strip() and not line.lstrip().startswith("# replaces:")
    ]
    return f'"{one_line(lines[0], 50)}"' if lines else '""'


def _reason(error: BaseException) -> str:
    from ..text import exception_text  # not at the top: loading stays quick

    return exception_text(error)[:MARGIN]


def _on_screen(text: str) -> str:
    if "\r" not in text and "\x1b" not in text and "\x08" not in text:
        return text
    from .screen_text import screen_text  # not at the top: loading stays quick

    return screen_text(text)


def _printed(kept: Any) -> str:
    """Return the text of one output that IPython keeps; what is printed grows in one of them."""
    bundle = getattr(kept, "bundle", {})
    return "".join(bundle["stream"]) if "stream" in bundle else str(bundle.get("text/plain", ""))


def _picture(data: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Return the picture among the forms in which one thing is displayed, and its type; None where there is none."""
    return next(((kind, data[kind]) for start in _PICTURES for kind in data if kind.startswith(start)), None)


def _is_same(run: Execution, failed: Execution) -> bool:
    """Return whether it is the same cell, or the same text, run again."""
    return bool(run.cell and run.cell == failed.cell) or run.source.strip() == failed.source.strip()


_watched: Executions | None = None


def current_executions() -> Executions | None:
    """Return the executions of the shell in which the extension is loaded; None outside one."""
    return _watched
