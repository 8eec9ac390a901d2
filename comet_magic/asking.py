"""Asking the user at the keyboard, unseen where it is secret."""

from __future__ import annotations

from collections.abc import Callable
from getpass import getpass
from typing import TypeVar

from .errors import ConfigError
from .inline import clean
from .keys import Key, keep, key_file, keyring_here
from .rendering import Call
from .settings import CometSettings

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
_ANSWERS = {"y": ONCE, "yes": ONCE, "once": ONCE, "a": ALWAYS, "always": ALWAYS, "n": DENIED, "no": DENIED, "": DENIED}
ATTEMPTS = 3  # at an answer that is none


def may_run(call: Call) -> str:
    """Ask the user whether a tool may be called like this: through the kernel's input prompt, for a cell is running.

    Returns: ONCE, ALWAYS (in this conversation), DENIED; or NOBODY, where nobody can answer.
    """
    question = (
        f"Claude asks to run\n  {clean(call.said)}\nAllow it? [y]es, once · [a]lways in this conversation · [N]o: "
    )
    for _ in range(ATTEMPTS):
        answer = typed(input, question)
        if answer is None:
            return NOBODY
        if chosen := _ANSWERS.get(answer.strip().lower()):
            return chosen
        question = "Please answer y, a or n: "
    return DENIED
