"""The flags of a magic's line: argparse and shlex, once; quotes and errors are handled here only."""

from __future__ import annotations

import argparse
import keyword
import re
import shlex
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NoReturn

from ..errors import ConfigError
from ..settings import EFFORTS, thinking_from
from ..suggestions import did_you_mean, nearest


class Flags(argparse.ArgumentParser):
    """prog: the magic, which its errors name."""

    def error(self, message: str) -> NoReturn:
        if explicit := re.match(r"argument (\S+): ignored explicit argument", message):
            message = f"{explicit[1]} takes no value"
        wanting = re.match(r"argument (\S+): expected one argument", message)
        if wanting:
            message = f"{wanting[1]} needs a value; one that begins with - is written as {wanting[1].split('/')[-1]}=…"
        raise ConfigError(
            f"{self.prog}: {message.removeprefix('argument ')}",
            f"nothing was {'sent' if self.prog.startswith('%%') else 'done'}; {self.prog}? shows the flags",
        )

    def flags_of(self, line: str) -> argparse.Namespace:
        """Return the flags of a line; one that is not given is None.

        Raises: ConfigError, naming the nearest flag, for whatever is no flag.
        """
        try:
            words = shlex.split(line)
        except ValueError:
            self.error("a quote on the line is not closed")
        flags, rest = self.parse_known_args(words)
        if rest and rest[0].startswith("-"):
            name = rest[0].split("=")[0]
            self.error(f"unknown flag {name}{did_you_mean(name, self._option_string_actions)}")
        if rest and str(getattr(flags, "model", "")).endswith(","):
            self.error(f"no space goes after a comma: -m {flags.model}{rest[0]}")
        if rest:
            self.error(f"{rest[0]!r} is not a flag; {self.description}")
        return flags


def number(kind: type, least: float, most: float = float("inf")) -> Any:
    def checked(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not least <= value <= most:
            bound = f"at least {least:g}" if most == float("inf") else f"between {least:g} and {most:g}"
            raise argparse.ArgumentTypeError(f"{text} is out of range: {bound}")
        return value

    return checked


def not_empty(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def name_of_variable(text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a variable's name")
    return text


def _effort(text: str) -> str:
    if text not in EFFORTS:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of: {', '.join(EFFORTS)}{did_you_mean(text, EFFORTS)}")
    return text


def _thinking(text: str) -> str | int | None:
    try:
        return thinking_from(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@cache
def parser() -> Flags:
    """Return the parser of `%%claude`."""
    words = "the prompt goes below the line, a text of several words in quotes"
    parser = Flags("%%claude", description=words, add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("-m", "--model")
    add("-t", "--max-tokens", type=number(int, 1))
    add("-s", "--system")
    add("--temperature", type=number(float, 0, 1))
    add("--stop", action="append", type=not_empty)
    add("--effort", type=_effort)
    add("--think", dest="thinking", type=_thinking)
    add("-o", "--into", type=name_of_variable)
    add("--as", dest="as_type", metavar="TYPE", type=not_empty)
    add("--tools", type=not_empty)
    add("--rows", type=not_empty)
    add("--column", type=not_empty)
    add("--limit", type=number(int, 1))
    add("--samples", type=number(int, 1))
    add("--workers", type=number(int, 1))
    add("--nulls", choices=("skip", "send"))
    add("--budget", type=number(float, 0))
    add("--yes", action="store_true")
    add("--batch", action="store_true")
    add("--literal", action="store_true")
    add("--code", action="store_true")
    add("-c", "--chat", type=not_empty)
    add("--alone", action="store_true")
    add("--new", action="store_true")
    add("--fresh", action="store_true")
    add("--dry-run", action="store_true")
    add("-h", "--help", action="store_true")
    return parser


FIX_FLAGS = ("--cell", "--dry-run")
ONLY_FLAGS = {
    "%claude_usage": "--all",
    "%claude_keep": "--undo",
    "%claude_forget": "--everything",
}


def has_flag(magic: str, line: str, more: str = "") -> bool:
    """Return whether the one flag of a magic stands on its line. more: for the hint.

    Raises: ConfigError for anything else there.
    """
    text, flag = line.strip(), ONLY_FLAGS[magic]
    if text not in ("", flag):
        raise ConfigError(f"{magic}: {text!r} is not a flag", f"{magic}, or {magic} {flag}{more}")
    return bool(text)


def refuse_flags(line: str) -> None:
    """Check that a `%claude` line, which is text, begins with no flag. Raises: ConfigError, with the cell to write."""
    words = line.split()
    actions = parser()._option_string_actions
    name = words[0].partition("=")[0] if words else ""
    if name not in actions and words and (glued := re.fullmatch(r"(-[mtsoc])(\S+)", words[0])):
        words[:1], name = glued.groups(), glued[1]
    if name.startswith("--") and name not in actions and nearest(name, actions, 1):
        parser().error(f"unknown flag {name}{did_you_mean(name, actions)}")
    if name not in actions and words[-1:] != ["--dry-run"]:
        return
    flags: list[str] = []
    rest = words if name in actions else [words.pop(), *words]
    while rest and rest[0].startswith("-"):
        flag = rest.pop(0)
        action = actions.get(flag)
        takes_value = action is not None and action.nargs is None
        flags += [flag, rest.pop(0)] if takes_value and rest else [flag]
    cell = f"%%claude {' '.join(flags)}"
    below = f", and below it: {' '.join(rest)}" if rest else ""
    raise ConfigError(
        f"%claude takes no flags: {flags[0]}", f"nothing was sent; write a cell that begins with {cell}{below}"
    )


def parse_flags(line: str) -> dict[str, Any]:
    """Return the flags of a `%%claude` line; one that is not given is None.

    Raises: ConfigError for whatever is no flag, or makes no sense beside another. Nothing has been sent by then.
    """
    return dict(_parsed(line))


@lru_cache(maxsize=64)  # a notebook has the same few lines again and again
def _parsed(line: str) -> Mapping[str, Any]:
    flags = parser().flags_of(line)
    if flags.alone and (flags.chat or flags.new):
        parser().error("--alone is without a conversation: leave out -c and --new, or --alone")
    _check_rows(flags)
    return vars(flags)


def models_named(flags: Mapping[str, Any]) -> list[str]:
    """Return the models that `-m` names, as they are written; one, "", where it is left out."""
    return [name.strip() for name in str(flags.get("model") or "").split(",")]


_NOT_WITH_ROWS = ("tools", "code", "chat", "alone", "new", "literal")
ONLY_WITH_ROWS = ("column", "limit", "samples", "workers", "nulls", "budget", "yes", "batch")


def _check_rows(flags: argparse.Namespace) -> None:
    if flags.rows and (other := next((name for name in _NOT_WITH_ROWS if getattr(flags, name)), "")):
        parser().error(f"--{other.replace('_', '-')} cannot go with --rows, which asks each row by itself")
    if not flags.rows and (other := next((name for name in ONLY_WITH_ROWS if getattr(flags, name)), "")):
        parser().error(f"--{other} is for --rows")
