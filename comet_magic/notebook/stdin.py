"""Asking the user at the keyboard, unseen where it is secret."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from getpass import getpass
from typing import TypeVar

from ..errors import ConfigError
from ..keys import Key, keep, key_file, keyring_here
from ..settings import CometSettings
from ..text import spelled
from ..tools.runner import ALWAYS, DENY, DENY_ALL, NOBODY, ONCE, ROUND, ShownCall
from .cell import is_running_cell

T = TypeVar("T")


def ask_for_key(settings: CometSettings) -> str:
    """Ask for a key, use it, offer to keep it; return what was done, in words.

    Raises: ConfigError when nobody can answer, or when no header can carry what was typed.
    """
    key = typed(_key, "CometAPI key: ")
    if key is None:
        raise ConfigError("nobody can type a key here", "set COMETAPI_KEY in the environment, or in a .env file here")
    if not key.reveal():
        raise ConfigError("nothing was typed", "run %claude_key again")
    settings.use_key(key)
    location = "the system keyring" if keyring_here() else f"the file {key_file()}, which only you can read"
    if is_yes(f"Keep it in {location}? [y/N] "):
        return f"key {key.hint}: in use, and saved in {keep(key)}"
    return f"key {key.hint}: in use until the kernel ends"


def _key(question: str) -> Key:
    return Key(getpass(question), "what you typed")


def typed(ask: Callable[[str], T], question: str) -> T | None:
    """Return what the user typed; None where nobody can."""
    try:
        return ask(question)
    except EOFError:
        return None
    except Exception as error:  # the kernel's StdinNotImplementedError, without importing ipykernel
        if type(error).__name__ == "StdinNotImplementedError":
            return None
        raise


def is_yes(question: str) -> bool | None:
    """Return whether the user says yes; None where nobody can answer."""
    answer = typed(input, question)
    return None if answer is None else answer.strip().lower() in ("y", "yes")


def allow_origin(origin: str) -> bool | None:
    """Ask the user whether the key may go to an origin that a notebook names; None where nobody can answer."""
    if threading.current_thread() is not threading.main_thread() or not is_running_cell():
        return None
    lines = [f"This notebook sends your questions to {origin}, which is not CometAPI.", "Your API key would go there."]
    return is_yes("\n".join([*lines, "Allow it from now on? [y/N] "]))


SHOWN_FIRST, SHOWN_LAST = 200, 100  # characters of an argument; `s` shows all of it
_ANSWERS = {
    **{"y": ONCE, "yes": ONCE, "once": ONCE, "a": ALWAYS, "always": ALWAYS},
    **{"n": DENY, "no": DENY, "": DENY, "x": DENY_ALL, "none": DENY_ALL},
}
ATTEMPTS = 5  # at an answer that is none


def approve(name: str, arguments: Mapping[str, str], can_be_always: bool, others: Sequence[ShownCall] = ()) -> str:
    """Ask the user whether a tool may run: through the kernel's input prompt, for a cell is running.

    others: the calls that would be asked about next, and can be allowed with it.
    Returns: ONCE, ALWAYS (in this conversation), ROUND (with the others), DENY, DENY_ALL (in this reply); or NOBODY,
    where nobody can answer.
    """
    always = " · [a]lways in this conversation" if can_be_always else ""
    # The tool's name stands in the last line, so that no argument can push it out of sight.
    together = f" · [r] all {len(others) + 1} above" if others else ""
    choices = f"Allow {name}? [y]es, once{always}{together} · [s]how all · [N]o · [x] no to all: "
    calls = [(name, arguments), *others]
    then = ["and then"] if others else []
    following = [line for other in others for line in _lines(*other)]
    question = "\n".join(["Claude asks to run", *_lines(name, arguments), *then, *following, choices])
    for _ in range(ATTEMPTS):
        answer = typed(input, question)
        if answer is None:
            return NOBODY
        answer = answer.strip().lower()
        if answer in ("r", "round", "all") and others:
            return ROUND
        if (chosen := _ANSWERS.get(answer)) and (can_be_always or chosen != ALWAYS):
            return chosen
        details = [line for call in calls for line in _lines(*call, shows_all=True)] if answer in ("s", "show") else []
        question = "\n".join([*details, choices])
    return DENY


def _lines(name: str, arguments: Mapping[str, str], *, shows_all: bool = False) -> list[str]:
    """Return a line for the call and one for each argument, so short that no text pushes the rest out of sight.

    Beginning and end are shown, and what lies between is counted. What prints as a blank is written as its escape.
    """
    lines = [f"  {_on_one_line(name)}"]
    for parameter, value in arguments.items():
        text = spelled(value).replace("\n", "\\n").replace("⟨", r"\u27e8").replace("⟩", r"\u27e9")  # they are ours
        text = re.sub(" {9,}", lambda blanks: f" ⟨{len(blanks[0])} blanks⟩ ", text)
        hidden = len(text) - SHOWN_FIRST - SHOWN_LAST
        if hidden > 0 and not shows_all:
            text = f"{text[:SHOWN_FIRST]} ⟨{hidden:,} more characters⟩ {text[-SHOWN_LAST:]}"
        lines.append(f"    {_on_one_line(parameter)[:SHOWN_FIRST]} = {text}".replace("\t", " "))
    return lines


def _on_one_line(name: str) -> str:
    """Return a name that no line can be forged by: what is no plain name is quoted."""
    return name if re.fullmatch(r"[\w.-]+", name, re.ASCII) else repr(spelled(name))
