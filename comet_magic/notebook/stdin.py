"""Asking the user at the keyboard, unseen where it is secret."""

from __future__ import annotations

from collections.abc import Callable
from getpass import getpass
from typing import TypeVar

from ..errors import ConfigError
from ..keys import Key, keep, key_file, keyring_here
from ..messages.tool_call import Call
from ..settings import CometSettings
from ..text import clean

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
    place = "the system keyring" if keyring_here() else f"the file {key_file()}, which only you can read"
    if input(f"Keep it in {place}? [y/N] ").strip().lower() in ("y", "yes"):
        return f"key {key.hint}: in use, and kept in {keep(key)}"
    return f"key {key.hint}: in use until the kernel ends"


def _key(question: str) -> Key:
    return Key(getpass(question), "what you typed")


def typed(ask: Callable[[str], T], question: str) -> T | None:
    """What the user typed; None where nobody can."""
    try:
        return ask(question)
    except EOFError:
        return None
    except Exception as error:  # the kernel's StdinNotImplementedError, without importing ipykernel
        if type(error).__name__ == "StdinNotImplementedError":
            return None
        raise


ONCE, ALWAYS, DENIED, NOBODY = "once", "always", "denied", "nobody"
SHOWN = 300  # characters of an argument; `s` shows all of it
_ANSWERS = {"y": ONCE, "yes": ONCE, "once": ONCE, "a": ALWAYS, "always": ALWAYS, "n": DENIED, "no": DENIED, "": DENIED}
ATTEMPTS = 5  # at an answer that is none


def may_run(call: Call, hide: Callable[[str], str] = str, *, for_good: bool = True) -> str:
    """Ask the user whether a tool may be called like this: through the kernel's input prompt, for a cell is running.

    hide: takes secrets out of what is shown.        for_good: whether it can be allowed for a conversation.
    Returns: ONCE, ALWAYS (in this conversation), DENIED; or NOBODY, where nobody can answer.
    """
    always = " · [a]lways in this conversation" if for_good else ""
    # The tool's name stands in the last line, so that no argument can push it out of sight.
    ways = f"Allow {call.name}? [y]es, once{always} · [s]how all · [N]o: "
    question = "\n".join(["Claude asks to run", *_arguments(call, hide, SHOWN), ways])
    for _ in range(ATTEMPTS):
        answer = typed(input, question)
        if answer is None:
            return NOBODY
        answer = answer.strip().lower()
        if (chosen := _ANSWERS.get(answer)) and (for_good or chosen != ALWAYS):
            return chosen
        shown = _arguments(call, hide, None) if answer in ("s", "show") else []
        question = "\n".join([*shown, ways])
    return DENIED


def _arguments(call: Call, hide: Callable[[str], str], most: int | None) -> list[str]:
    """A line for the call, and one for each argument, within bounds that no text can push the rest out of sight."""
    lines = [f"  {call.name}"]
    for name, value in call.arguments.items():
        text = clean(hide(repr(value)))
        more = f" … ({len(text):,} characters)" if most is not None and len(text) > most else ""
        lines.append(f"    {name} = {text[:most] if more else text}{more}")
    return lines
