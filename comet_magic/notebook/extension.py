"""Load and unload the extension."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.inputtransformer2 import EscapedCommand

from ..settings import CometSettings

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

from .completion import _completer
from .magics import CometMagics

# ---- loading and unloading


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
    settings = CometSettings.configured(shell.config)
    magics = CometMagics(shell, settings)
    shell.register_magics(magics)
    magics.runs.watch()
    shell.configurables.append(settings)
    shell.input_transformer_manager.token_transformers.append(QuestionLine)
    if completer := getattr(shell, "Completer", None):
        magics.completer = _completer(magics)
        completer.custom_matchers.append(magics.completer)


def unload(shell: InteractiveShell) -> None:
    """Undo all that `load` did, and end the local model if it was started."""
    manager = shell.magics_manager
    magics = manager.registry.pop(CometMagics.__name__, None)
    if magics:
        magics.runs.unwatch()
    for kind in manager.magics.values():
        for name in [name for name, function in kind.items() if getattr(function, "__self__", None) is magics]:
            del kind[name]
    shell.configurables[:] = [c for c in shell.configurables if not isinstance(c, (CometSettings, CometMagics))]
    if "comet_magic.notebook.panel" in sys.modules:
        sys.modules["comet_magic.notebook.panel"].close_panel()
    transformers = shell.input_transformer_manager.token_transformers
    transformers[:] = [transformer for transformer in transformers if transformer is not QuestionLine]
    if magics and (completer := getattr(shell, "Completer", None)):
        completer.custom_matchers[:] = [m for m in completer.custom_matchers if m is not magics.completer]
    CometSettings.clear_instance()
    from ..api.local import stop_all

    stop_all()
    if "comet_magic.exchange.session" in sys.modules:
        sys.modules["comet_magic.exchange.session"].reset()
