"""What the kernel ran: sources, text outputs and failures, in the order in which they ran."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from ..errors import CometError

if TYPE_CHECKING:
    from ..describe.description import Description, Limits

MOST_RUNS = 1000
MOST_OUTPUTS, MOST_OUTPUT = 50, 20_000  # that are kept of a cell, and characters of each
MARGIN = 5_000  # more of them, so that no secret is cut before it is hidden


class Execution(NamedTuple):
    """One execution. number: its In[].        cell: the front end's id, "" where it gives none.

    outputs: as text, in order.
    error: what it failed with, as long as it is the latest that failed: an exception keeps all that its frames hold.
    failed: the same in words, "" if it ran well.
    """

    number: int
    source: str
    cell: str = ""
    outputs: tuple[str, ...] = ()
    error: BaseException | None = None
    failed: str = ""

    def hidden_outputs(self, hide: Callable[[str], str]) -> list[str]:
        """Return the outputs without secrets, and without the end of a cut one: a secret may have been cut, too."""
        is_cut = [len(output) >= MOST_OUTPUT + MARGIN for output in self.outputs]
        hidden = [hide(output) for output in self.outputs]
        return [text[:-MARGIN] if cut else text for text, cut in zip(hidden, is_cut, strict=True)]

    def _describe_(self, limits: Limits) -> Description:
        return self._describe_list_([self], limits)

    @staticmethod
    def _describe_list_(executions: Sequence[Execution], limits: Limits) -> Description:
        from .execution_text import describe_executions  # not at the top: loading stays quick

        return describe_executions(executions, limits)


class Executions:
    """The latest ones of one shell. It is told of each by the shell's events, and holds them in memory alone."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._ran: deque[Execution] = deque(maxlen=MOST_RUNS)
        # By display id: after how many kept outputs, and how many characters of the last of those; and what.
        self._displayed: dict[str, tuple[int, int, str]] = {}
        self.failure: Execution | None = None  # the latest one that has not been mended

    def watch(self) -> None:
        global _watched
        _watched = self
        self._shell.events.register("pre_run_cell", self._begin)
        self._shell.events.register("post_run_cell", self._end)
        if hasattr(self._shell.display_pub, "register_hook"):  # a kernel's; a terminal's keeps what it displays
            self._shell.display_pub.register_hook(self._display)

    def unwatch(self) -> None:
        global _watched
        _watched = None
        self._shell.events.unregister("pre_run_cell", self._begin)
        self._shell.events.unregister("post_run_cell", self._end)
        if hasattr(self._shell.display_pub, "unregister_hook"):
            self._shell.display_pub.unregister_hook(self._display)

    # ---- what the shell tells

    def _begin(self, info: Any) -> None:
        self._displayed.clear()

    def _display(self, message: Any) -> Any:
        content = message.get("content", {})
        if plain := content.get("data", {}).get("text/plain"):
            key = content.get("transient", {}).get("display_id") or f"output {len(self._displayed)}"
            outputs_kept = self._ipython_outputs(self._shell.execution_count - 1)
            position = (len(outputs_kept), len(_text(outputs_kept[-1])) if outputs_kept else 0)
            if "comet_magic" in content.get("metadata", {}):  # a reply; how long it took is another time at each run
                plain = str(plain).rpartition("\n\n")[0]
            self._displayed[key] = (*self._displayed.get(key, position)[:2], str(plain)[: MOST_OUTPUT + MARGIN])
        return message

    def _end(self, result: Any) -> None:
        number = result.execution_count
        if number is None or not result.info or not result.info.store_history:
            return
        error = result.error_before_exec or result.error_in_exec
        failed = f"{type(error).__name__}: {_reason(error)}" if error else ""
        run = Execution(
            number, result.info.raw_cell, str(result.info.cell_id or ""), self._outputs(number), None, failed
        )
        self._ran.append(run)
        if isinstance(error, Exception) and not isinstance(error, CometError):
            self.failure = run._replace(error=error)
        elif error is None and self.failure and _is_same(run, self.failure):
            self.failure = None

    def _outputs(self, number: int) -> tuple[str, ...]:
        """Return what was printed, displayed and returned, in order."""
        displayed = list(self._displayed.values())
        outputs = [plain for after, _, plain in displayed if not after]
        for position, outputs_kept in enumerate(self._ipython_outputs(number), 1):
            text, at = _text(outputs_kept), 0
            for after, offset, plain in displayed:
                if after == position:
                    outputs += [text[at:offset], plain]
                    at = offset
            outputs.append(text[at:])
        return tuple(text[: MOST_OUTPUT + MARGIN] for text in outputs if text.strip())[:MOST_OUTPUTS]

    def _ipython_outputs(self, number: int) -> list[Any]:
        """Return what IPython itself keeps of a cell's outputs; older ones keep nothing."""
        outputs_kept: dict[int, list[Any]] = getattr(self._shell.history_manager, "outputs", {})
        return outputs_kept.get(number, [])

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
        return self.failure if self.failure and self.failure.number == run.number else run

    def __len__(self) -> int:
        return len(self._ran)

    def __repr__(self) -> str:
        return f"<the {len(self._ran)} cells that have run>"

    def _describe_(self, limits: Limits) -> Description:
        return Execution._describe_list_(self[:], limits)

    def names(self) -> dict[str, Any]:
        """Return what a prompt may refer to besides the user's names: `cells`, and `error` once a cell has failed."""
        return {"cells": self, **({"error": self.failure.error} if self.failure else {})}

    def name_of(self, filename: str) -> str:
        """Return `In[3]` for the file name under which a cell's code was compiled; "" for other files."""
        numbers = getattr(self._shell.compile, "_filename_map", {})
        return f"In[{numbers[filename]}]" if filename in numbers else ""


def _reason(error: BaseException) -> str:
    from ..text import exception_text  # not at the top: loading stays quick

    return exception_text(error)[:MARGIN]


def _text(outputs_kept: Any) -> str:
    """Return the text of one output that IPython keeps; what is printed grows in one of them."""
    bundle = getattr(outputs_kept, "bundle", {})
    return "".join(bundle["stream"]) if "stream" in bundle else str(bundle.get("text/plain", ""))


def _is_same(run: Execution, failed: Execution) -> bool:
    """Return whether it is the same cell, or the same text, run again."""
    return bool(run.cell and run.cell == failed.cell) or run.source.strip() == failed.source.strip()


_watched: Executions | None = None


def current_executions() -> Executions | None:
    """Return the executions of the shell in which the extension is loaded; None outside one."""
    return _watched
