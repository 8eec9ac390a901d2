"""Asking the user at the keyboard, unseen where it is secret."""

from __future__ import annotations

from getpass import getpass

from .errors import ConfigError
from .keys import Key, keep, key_file, keyring_here
from .settings import CometSettings


def ask_for_key(settings: CometSettings) -> str:
    """Ask for a key, use it, offer to keep it; return what was done, in words.

    Raises: ConfigError when nobody can answer, or when no header can carry what was typed.
    """
    key = _typed_key()
    if key is None:
        raise ConfigError("nobody can type a key here", "set COMETAPI_KEY in the environment, or in a .env file here")
    if not key.reveal():
        raise ConfigError("nothing was typed", "run %claude_key again")
    settings.use_key(key)
    place = "the system keyring" if keyring_here() else f"the file {key_file()}, which only you can read"
    if input(f"Keep it in {place}? [y/N] ").strip().lower() in ("y", "yes"):
        return f"key {key.hint}: in use, and kept in {keep(key)}"
    return f"key {key.hint}: in use until the kernel ends"


def _typed_key() -> Key | None:
    try:
        return Key(getpass("CometAPI key: "), "what you typed")
    except EOFError:
        return None
    except Exception as error:  # the kernel's StdinNotImplementedError, without importing ipykernel
        if type(error).__name__ == "StdinNotImplementedError":
            return None
        raise
