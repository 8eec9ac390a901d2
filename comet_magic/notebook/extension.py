"""Load and unload the extension."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.inputtransformer2 import EscapedCommand
from IPython.core.magic import Magics, no_var_expand

from ..docstrings import IS_DROPPED, docstring
from ..errors import hide_in_errors
from ..exchange.cells import learn_notebook_path, no_path
from ..settings import CometSettings
from ..text import expanded
from .cell import notebook_path

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

from .config_magic import wrap_config
from .magics import CometMagics
from .media_magics import MediaMagics


class QuestionLine(EscapedCommand):
    """`%claude what is up?` is a question for Claude; IPython takes any line that ends in `?` for a call for help."""

    priority = 1  # before IPython's own help

    @classmethod
    def find(cls, tokens_by_line: list[list[Any]]) -> QuestionLine | None:
        for tokens in tokens_by_line:
            first = next((token for token in tokens if token.string.strip()), None)
            if first and first.string.startswith("%") and _is_question(first.line[first.start[1] :]):
                return cls(first.start)
        return None


def _is_question(text: str) -> bool:
    magic, *rest = text.split(None, 1) or [""]
    return (
        magic in ("%claude", "%claude_fix")
        and bool(rest)
        and rest[0].rstrip().endswith("?")
        and bool(rest[0].strip("? \n"))
    )


def load(shell: InteractiveShell) -> None:
    """Register everything. What was registered is undone at once if loading fails half-way, and by `unload`."""
    settings = CometSettings.configured(shell.config)
    magics = CometMagics(shell, settings)
    if IS_DROPPED:
        _restore_help()
    with ExitStack() as undo:
        undo.callback(_forget_process)
        undo.callback(CometSettings.clear_instance)
        undo.callback(hide_in_errors)
        settings.ask_about_origin = _allow_origin
        for one in (magics, MediaMagics(shell, magics.executions)):
            shell.register_magics(one)
            undo.callback(_forget_magics, shell, one)
        _append_name(shell, undo)
        magics.executions.watch()
        undo.callback(magics.executions.unwatch)
        settings.folder = _notebook_folder(shell, settings)
        learn_notebook_path(notebook_path)
        undo.callback(learn_notebook_path, no_path)
        _append(shell.configurables, settings, undo)
        _append(shell.input_transformer_manager.token_transformers, QuestionLine, undo)
        if completer := getattr(shell, "Completer", None):
            _complete_prompts(completer, magics, undo)
        undo.callback(wrap_config(shell, settings))
        _answer_in_this_cell(shell, undo)
        magics.undo = undo.pop_all()


def _complete_prompts(completer: Any, magics: CometMagics, undo: ExitStack) -> None:
    """Wrap `completer.completions`, which is what ipykernel and IPython's terminal call."""
    original = completer.completions

    def completions(text: str, offset: int) -> Iterator[Any]:
        from IPython.core.completer import Completion, provisionalcompleter

        from .completion import offered_at  # not at the top: loading stays quick

        with provisionalcompleter():
            offered = offered_at(text[:offset], completer, original, magics)
            if offered is None:
                yield from original(text, offset)
                return
            for start, word, kind in offered:
                yield Completion(start, offset, word, type=kind)

    def end() -> None:
        if completer.__dict__.get("completions") is completions:
            del completer.completions

    completer.completions = completions
    undo.callback(end)


def _answer_in_this_cell(shell: InteractiveShell, undo: ExitStack) -> None:
    """Answer `%claude …?` also in the cell that loads the extension: IPython has read it as a call for help by then.

    Of `%claude what is a list?` it makes one for `list`; so the question is taken from the cell as it was typed.
    """
    sources = shell.history_manager.input_hist_raw
    asked = [line.strip() for line in (sources[-1] if sources else "").splitlines() if _is_question(line.strip())]
    former = shell.find_line_magic("pinfo") if asked else None
    if former is None:
        return
    lines = shell.magics_manager.magics["line"]

    @no_var_expand
    def pinfo(line: str) -> object:
        if asked and asked[0].rstrip("? ").endswith(line):
            name, text = asked.pop(0)[1:].split(None, 1)
            return shell.run_line_magic(name, text)
        return former(line)

    def end(*_: object) -> None:
        if lines.get("pinfo") is pinfo:
            lines["pinfo"] = former
            shell.events.unregister("post_run_cell", end)

    lines["pinfo"] = pinfo
    shell.events.register("post_run_cell", end)
    undo.callback(end)


def _restore_help() -> None:
    """Give the magics the docstrings that Python has dropped: `%%claude?` shows them."""
    for function in [*vars(CometMagics).values(), *vars(MediaMagics).values()]:
        if callable(function) and not function.__doc__:
            function.__doc__ = docstring(function)


def _allow_origin(origin: str) -> bool | None:
    from .stdin import allow_origin  # not at the top: few notebooks name an endpoint

    return allow_origin(origin)


def unload(shell: InteractiveShell) -> None:
    """Undo all that `load` did, and end the local model if it was started."""
    if magics := shell.magics_manager.registry.get(CometMagics.__name__):
        magics.undo.close()


def _notebook_folder(shell: InteractiveShell, settings: CometSettings) -> Path:
    """Return the folder of the notebook, where the front end says which it is; else the one in which this is loaded."""
    path = str(shell.user_ns.get("__vsc_ipynb_file__") or settings.notebook_variable)
    folder = expanded(path).parent
    return folder if path and folder.is_absolute() and folder.is_dir() else Path.cwd()


def _append_name(shell: InteractiveShell, undo: ExitStack) -> None:
    """Put `comet_magic` into the namespace, for messages name `comet_magic.last`; the user's own name wins."""
    package = sys.modules[__name__.split(".")[0]]
    if "comet_magic" in shell.user_ns:
        return
    shell.push({"comet_magic": package}, interactive=False)

    def forget() -> None:
        for names in (shell.user_ns, shell.user_ns_hidden):
            if names.get("comet_magic") is package:
                del names["comet_magic"]

    undo.callback(forget)


def _append(to: list[Any], item: Any, undo: ExitStack) -> None:
    to.append(item)
    undo.callback(lambda: to.remove(item) if item in to else None)


def _forget_magics(shell: InteractiveShell, magics: Magics) -> None:
    manager = shell.magics_manager
    manager.registry.pop(type(magics).__name__, None)
    for kind in manager.magics.values():
        for name in [name for name, function in kind.items() if getattr(function, "__self__", None) is magics]:
            del kind[name]
    shell.configurables[:] = [one for one in shell.configurables if one is not magics]


def _forget_process() -> None:
    """End what cells have started, as far as any has."""
    if panel := sys.modules.get("comet_magic.notebook.panel"):
        panel.close_panel()
    if local := sys.modules.get("comet_magic.api.local"):
        local.stop_all()
    if session := sys.modules.get("comet_magic.exchange.session"):
        session.current().close()  # its stores; what was asked and spent is the kernel's, and stays
