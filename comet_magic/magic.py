"""`%%claude` and its line magics: flags → Request, Message → namespace; nothing else."""

from __future__ import annotations

import argparse
import inspect
import keyword
import re
import shlex
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from IPython.core.inputtransformer2 import EscapedCommand
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from .errors import ConfigError
from .settings import ALIASES, EFFORTS, CometSettings, thinking_from

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .messages import Message


@magics_class
class CometMagics(Magics):
    """Everything behind the notebook's edge is imported when it is first used, so that loading is quick."""

    def __init__(self, shell: InteractiveShell, settings: CometSettings) -> None:
        super().__init__(shell)
        self.settings = settings
        self.offered: list[str] = []  # models that the endpoint has named, for Tab

    @no_var_expand
    @cell_magic("claude")
    def claude_cell(self, line: str, cell: str) -> None:
        """Send the cell to Claude; show the reply, and what it cost.

            %%claude -m opus -t 500
            What is the difference between a list and a tuple?

        Flags, each for this cell alone:
          -m, --model NAME      model or alias (opus, sonnet, haiku, and your own)
          -t, --max-tokens N    most tokens in the reply
          -s, --system TEXT     system prompt
          --temperature X       0 to 1; current models refuse it
          --stop TEXT           stop where the reply says TEXT; may be repeated
          --effort LEVEL        low, medium, high, xhigh or max
          --think HOW           off, adaptive, or a budget in tokens
          -o, --into NAME       put the reply, a Message, into this variable
          -h, --help            show this, and send nothing

        The text below the line is sent as it stands, and nothing else is. Settings: %config CometSettings
        """
        flags = parse_flags(line)
        if flags.pop("help"):
            print(f"{inspect.getdoc(self.claude_cell)}\n\nNothing was sent.")
            return
        into = flags.pop("into")
        message = self._answer(cell, flags)
        if into:
            self.shell.user_ns[into] = message

    @no_var_expand
    @line_magic("claude")
    def claude_line(self, line: str) -> None:
        """Ask one question: `%claude what is a p-value?` sends the rest of its line as it stands; it reads no flags."""
        self._answer(line, {})

    def _answer(self, prompt: str, flags: dict[str, Any]) -> Message:
        from .client import connect, remember, user_message
        from .display import LiveDisplay, brief_interrupt, screen_for

        settings = self.settings
        request = settings.request((user_message(prompt),), **flags)
        screen = screen_for(self.shell, show_usage=settings.show_usage, remote_images=settings.remote_images)
        live = LiveDisplay(screen, ended=remember)
        with brief_interrupt(), connect(settings, live.note).stream(request) as stream:
            return live.show(stream)

    @line_magic
    def claude_key(self, line: str) -> None:
        """Enter a key: typed unseen, used for this session, and kept if you say so."""
        if line.strip():
            raise ConfigError(
                "a key does not go on the line: the notebook and IPython's history keep it there",
                "delete this cell, think of replacing the key, and run %claude_key alone",
            )
        from .asking import ask_for_key

        print(ask_for_key(self.settings))

    @line_magic
    def claude_models(self, line: str) -> None:
        """List the models that the endpoint offers, and the aliases."""
        from .client import connect

        client = connect(self.settings, print)
        self.offered = sorted(model["id"] for model in client.models())
        names = {**ALIASES, **self.settings.aliases}
        for model in self.offered:
            short = ", ".join(alias for alias, name in names.items() if name == model)
            print(f"{model}  ({short})" if short else model)

    @line_magic
    def claude_panel(self, line: str) -> None:
        """Show the settings as a panel of widgets or, without them, as a table with the line that changes each."""
        if not hasattr(self.shell, "kernel"):
            from .overview import key_status, plain_table, settings_table

            print(plain_table(settings_table(self.settings, key_status(self.settings))))
            return
        from .panel import panel

        panel()._ipython_display_()

    @line_magic
    def claude_test(self, line: str) -> None:
        """Ask the endpoint something free: does it answer, take the key, offer the model?"""
        from .client import check

        print(check(self.settings, print))

    @line_magic
    def claude_keep(self, line: str) -> None:
        """Keep the settings as they are now as defaults for the next start, in your IPython profile."""
        from .defaults import keep

        print(f"kept in {keep(self.settings, Path(self.shell.profile_dir.location))}")

    @line_magic
    def claude_reset(self, line: str) -> None:
        """Set the settings back to how they were at the start."""
        self.settings.reset()


# ---- flags


class _Flags(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        wanting = re.match(r"argument (\S+): expected one argument", message)
        if wanting:
            message = f"{wanting[1]} needs a value; one that begins with - is written as {wanting[1].split('/')[-1]}=…"
        raise ConfigError(
            f"%%claude: {message.removeprefix('argument ')}", "nothing was sent; %%claude? shows the flags"
        )


def _number(kind: type, least: float, most: float = float("inf")) -> Any:
    def number(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not least <= value <= most:
            bound = f"at least {least:g}" if most == float("inf") else f"between {least:g} and {most:g}"
            raise argparse.ArgumentTypeError(f"{text} is out of range: {bound}")
        return value

    return number


def _not_empty(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty text stops nothing")
    return text


def _name(text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a variable's name")
    return text


def _effort(text: str) -> str:
    if text not in EFFORTS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of: {', '.join(EFFORTS)}{_nearest(text, EFFORTS)}")
    return text


def _thinking(text: str) -> str | int | None:
    try:
        return thinking_from(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _nearest(word: str, words: Any) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


@cache
def _parser() -> _Flags:
    parser = _Flags(prog="%%claude", add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("-m", "--model")
    add("-t", "--max-tokens", type=_number(int, 1))
    add("-s", "--system")
    add("--temperature", type=_number(float, 0, 1))
    add("--stop", action="append", type=_not_empty)
    add("--effort", type=_effort)
    add("--think", dest="thinking", type=_thinking)
    add("-o", "--into", type=_name)
    add("-h", "--help", action="store_true")
    return parser


def parse_flags(line: str) -> dict[str, Any]:
    """The flags of a `%%claude` line; one that is not given is None.

    Raises: ConfigError, naming the nearest flag, for whatever is no flag. Nothing has been sent by then.
    """
    parser = _parser()
    try:
        words = shlex.split(line)
    except ValueError:
        parser.error("a quote on the line is not closed")
    flags, rest = parser.parse_known_args(words)
    if rest and rest[0].startswith("-"):
        name = rest[0].split("=")[0]
        parser.error(f"unknown flag {name}{_nearest(name, parser._option_string_actions)}")
    if rest:
        parser.error(f"{rest[0]!r} is no flag; the prompt goes below the line, a text of several words in quotes")
    return vars(flags)


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
    return magic == "%claude" and bool(rest) and rest[0].rstrip().endswith("?") and bool(rest[0].strip("? \n"))


def load(shell: InteractiveShell) -> None:
    settings = CometSettings.configured(shell.config)
    magics = CometMagics(shell, settings)
    shell.register_magics(magics)
    shell.configurables.append(settings)
    shell.input_transformer_manager.token_transformers.append(QuestionLine)
    if completer := getattr(shell, "Completer", None):
        magics.completer = _completer(magics)
        completer.custom_matchers.append(magics.completer)


def unload(shell: InteractiveShell) -> None:
    """Undo all that `load` did, and end the local model if it was started."""
    manager = shell.magics_manager
    magics = manager.registry.pop(CometMagics.__name__, None)
    for kind in manager.magics.values():
        for name in [name for name, function in kind.items() if getattr(function, "__self__", None) is magics]:
            del kind[name]
    shell.configurables[:] = [c for c in shell.configurables if not isinstance(c, (CometSettings, CometMagics))]
    if "comet_magic.panel" in sys.modules:
        sys.modules["comet_magic.panel"].close_panel()
    transformers = shell.input_transformer_manager.token_transformers
    transformers[:] = [transformer for transformer in transformers if transformer is not QuestionLine]
    if magics and (completer := getattr(shell, "Completer", None)):
        completer.custom_matchers[:] = [m for m in completer.custom_matchers if m is not magics.completer]
    CometSettings.clear_instance()
    from .local import stop_all

    stop_all()


def _completer(magics: CometMagics) -> Any:
    from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

    @context_matcher()
    def claude_flags(context: CompletionContext) -> SimpleMatcherResult:
        words = completions(context.line_with_cursor, magics) if context.cursor_line == 0 else []
        found = [SimpleCompletion(word, type="param") for word in words]
        return SimpleMatcherResult(completions=found, suppress=bool(found))

    return claude_flags


def completions(line: str, magics: CometMagics) -> list[str]:
    """What may stand at the end of a `%%claude` line: flags, or the values of the flag before it."""
    magic, space, rest = line.lstrip().partition(" ")
    if magic != "%%claude" or not space:
        return []
    *before, word = rest.split(" ")
    models = [*{**ALIASES, **magics.settings.aliases}, *magics.offered]
    values = {"-m": models, "--model": models, "--effort": EFFORTS, "--think": ("off", "adaptive")}
    known = values.get(before[-1]) if before else None
    words = known or [flag for flag in _parser()._option_string_actions if flag.startswith("--")]
    return [candidate for candidate in words if candidate.startswith(word)]
