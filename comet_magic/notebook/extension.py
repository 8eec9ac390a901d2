"""Load and unload the extension."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.inputtransformer2 import EscapedCommand

from ..errors import hide_in_errors
from ..exchange.cells import learn_notebook_path, no_path
from ..settings import CometSettings
from .cell import notebook_path

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

from .completion import matcher
from .magics import CometMagics


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
    magic, *rest = text.split(None, 1)
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
    with ExitStack() as undo:
        undo.callback(_forget_process)
        undo.callback(CometSettings.clear_instance)
        undo.callback(hide_in_errors)
        settings.ask_about_origin = _allow_origin
        shell.register_magics(magics)
        undo.callback(_forget_magics, shell, magics)
        _append_name(shell, undo)
        magics.executions.watch()
        undo.callback(magics.executions.unwatch)
        settings.folder = _notebook_folder(settings)
        learn_notebook_path(notebook_path)
        undo.callback(learn_notebook_path, no_path)
        _append(shell.configurables, settings, undo)
        _append(shell.input_transformer_manager.token_transformers, QuestionLine, undo)
        if completer := getattr(shell, "Completer", None):
            _append(completer.custom_matchers, matcher(magics), undo)
        magics.undo = undo.pop_all()


def _allow_origin(origin: str) -> bool | None:
    from .stdin import allow_origin  # not at the top: few notebooks name an endpoint

    return allow_origin(origin)


def unload(shell: InteractiveShell) -> None:
    """Undo all that `load` did, and end the local model if it was started."""
    if magics := shell.magics_manager.registry.get(CometMagics.__name__):
        magics.undo.close()


def _notebook_folder(settings: CometSettings) -> Path:
    """Return the folder of the notebook, where the front end says which it is; else the one in which this is loaded."""
    folder = Path(settings.notebook_variable).expanduser().parent
    return folder if settings.notebook_variable and folder.is_absolute() and folder.is_dir() else Path.cwd()


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


def _forget_magics(shell: InteractiveShell, magics: CometMagics) -> None:
    manager = shell.magics_manager
    manager.registry.pop(CometMagics.__name__, None)
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
        session.reset()
