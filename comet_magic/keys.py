"""The API key as a value that cannot be seen, and the places where one is kept.

Nothing here puts a key into an exception, and no function that can raise holds one in a local variable.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from .errors import CometError, ConfigError
from .text import check_home, shown_path, user_folder, without_unseen

T = TypeVar("T")

# CometAPI's own tools read the first, its third-party clients the other. COMET_API_KEY is another company's name.
KEY_NAMES = ("COMETAPI_KEY", "COMETAPI_API_KEY")
ENDPOINT_KEY = "COMET_MAGIC_ENDPOINT_KEY"  # of an endpoint that is not CometAPI
LARGEST_FILE = 65_536  # bytes of a `.env` or key file that are read
SHORTEST = 8  # characters; a shorter key would hide words everywhere
_SERVICE = "comet_magic"


class Key:
    """An API key. Shows at most its last four characters; is never pickled.

    source: where it was found, in words.
    """

    __slots__ = ("__has_escapes", "__secret", "_half", "source")

    def __init__(self, secret: str, source: str) -> None:
        self.__secret = secret.strip()
        self.__has_escapes = any(sign in self.__secret for sign in "\\'\"")
        self._half = max(12, len(self.__secret) // 3) if len(self.__secret) >= 12 else len(self.__secret)
        self.source = source

    def reveal(self) -> str:
        """Return the key itself, for the one place that puts it on a request."""
        return self.__secret

    @property
    def hint(self) -> str:
        """`…f3a9`; a short key shows nothing, for its end would be too much of it."""
        return f"…{self.__secret[-4:]}" if len(self.__secret) >= 12 else "…"

    def check(self) -> None:
        """Check that a header can carry the key. Raises: ConfigError; http libraries would print the key."""
        if not self.__secret:
            problem = "is empty"
        elif any(char.isspace() for char in self.__secret):
            problem = "has a space or a line break in it"
        elif not re.fullmatch(r"[\x21-\x7e]+", self.__secret):
            problem = "has a character that is not plain ASCII, such as a curly quote"
        elif self.__secret[0] in "'\"" or self.__secret[-1] in "'\"":
            problem = "has quotes around it"
        else:
            return
        raise ConfigError(f"the key from {self.source} {problem}", "copy it again, or enter it with %claude_key")

    def hide_in(self, text: str) -> str:
        """Return a text without the key, also where it is cut, or has characters in it that cannot be seen."""
        if len(self.__secret) < SHORTEST:
            return text
        text = text.replace(self.__secret, self.hint)
        if self.__secret[: self._half] in text or self.__secret[-self._half :] in text:
            text = self.__without_part(self.__without_part(text, self.__secret)[::-1], self.__secret[::-1])[::-1]
        if not text.isascii() and self.__secret in without_unseen(text):
            text = self.__disguised.sub(self.hint, text)
        return text

    def __without_part(self, text: str, secret: str) -> str:
        """Return a text with no beginning of the secret in it that is long enough to matter."""
        rest = ""
        for sign in reversed(secret[self._half :]):
            rest = f"(?:{re.escape(sign)}{rest})?"
        return re.sub(re.escape(secret[: self._half]) + rest, "…", text)

    @property
    def __disguised(self) -> re.Pattern[str]:
        """The key with characters between its own that cannot be seen."""
        return re.compile(r"[^\x21-\x7e]*?".join(map(re.escape, self.__secret)))

    def is_in(self, text: str) -> bool:
        """Return whether a text may have the key in it, as it is or as `repr` writes it."""
        if len(self.__secret) < SHORTEST:
            return False
        if self.__has_escapes or self.__secret[: self._half] in text or self.__secret[-self._half :] in text:
            return True
        return ("\\" in text or not text.isascii()) and self.__secret in without_unseen(text)

    def partial_match_at_end(self, text: str) -> int:
        """Return how many characters at the end of a text that grows may be the beginning of the key."""
        if len(self.__secret) < SHORTEST:
            return 0
        longest = min(len(text), len(self.__secret) - 1)
        return next((size for size in range(longest, 3, -1) if text.endswith(self.__secret[:size])), 0)

    def __repr__(self) -> str:
        return f"Key({self.hint} from {self.source})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


def without_key(value: T, key: Key | None) -> T:
    """Return `value` with no key in it: a text, an error, or any value made of texts, such as a message or a request.

    This is the one border that everything passes on its way to the screen, the store and an exception: endpoints echo
    keys, users put theirs into a question, and models repeat it.
    """
    if key is None:
        return value
    if isinstance(value, CometError):
        for name in ("what", "hint", "type", "code", "request_id"):
            if text := getattr(value, name, None):
                setattr(value, name, key.hide_in(text))
        return value
    # Most have no key in them, and their `repr` says so in a fraction of the time; the text, where it is in two halves.
    if key.is_in(value if isinstance(value, str) else repr(value)):
        return cast(T, _hidden(value, key))
    has_halves = len(getattr(value, "content", ())) > 1 and key.is_in(str(getattr(value, "text", "")))
    return cast(T, _hidden(value, key)) if has_halves else value


def _hidden(value: Any, key: Key) -> Any:
    """Return the value without the key; the same object where there is nothing to hide in it."""
    if isinstance(value, str):
        return key.hide_in(value)
    if isinstance(value, Mapping):
        hidden: Any = {_hidden(name, key): _hidden(part, key) for name, part in value.items()}
        return hidden if hidden != value else value
    if isinstance(value, list | tuple):
        parts = _hidden_across([_hidden(part, key) for part in value], key)
        if all(new is old for new, old in zip(parts, value, strict=True)):
            return value
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.compare]
        changed = {name: new for name in names if (new := _hidden(old := getattr(value, name), key)) is not old}
        return replace(value, **changed) if changed else value
    return value


def _hidden_across(blocks: list[Any], key: Key) -> list[Any]:
    """Return the blocks of a message with no key in their texts as they stand one behind the other."""
    for kind in ("text", "thinking"):
        texts = [block.get(kind) if isinstance(block, Mapping) else None for block in blocks]
        if sum(isinstance(text, str) for text in texts) < 2:
            continue
        whole = "".join(text for text in texts if isinstance(text, str))
        if (hidden := key.hide_in(whole)) != whole:
            # All of it goes into the first: which of them had which half is no matter then.
            first = next(at for at, text in enumerate(texts) if isinstance(text, str))
            blocks = [
                {**block, kind: hidden if at == first else ""} if isinstance(texts[at], str) else block
                for at, block in enumerate(blocks)
            ]
    return blocks


def key_in_environment(environ: Mapping[str, str]) -> Key | None:
    for name in KEY_NAMES:
        if environ.get(name):
            return Key(environ[name], name)
    return None


def find_kept_key(folder: Path = Path()) -> Key | None:
    """Return the first key in: `.env` in that folder, Colab's secrets, the system keyring, our own file."""
    if key := _in_dotenv(folder):
        return key
    for find in (_in_colab, _in_keyring, _in_file):
        if key := find():
            return key
    return None


def passed_over(key: Key) -> str:
    """Return where another key is kept that a `.env` beats, "" if there is none. It may take 50 ms."""
    if key.source != ".env":
        return ""
    other = _in_keyring() or _in_file()
    return other.source if other and other.reveal() != key.reveal() else ""


def _text_of(path: Path) -> str | None:
    """Return what a small, regular file says; None where there is none, or it is no text.

    PowerShell writes UTF-16. A pipe or a device would be waited for, and an error would have the key in it.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE)
    except OSError:
        return None
    is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if is_wide else "utf-8-sig", "replace")


def _in_dotenv(folder: Path) -> Key | None:
    text = _text_of(folder / ".env")
    if text is None:
        return None
    name, value = "|".join(KEY_NAMES), r"'([^'\n]*)'|\"([^\"\n]*)\"|(.*?)"
    line = rf"^[ \t]*(?:export[ \t]+)?({name})[ \t]*=[ \t]*(?:{value})[ \t]*(?: #.*)?$"
    keys = {}
    for match in filter(None, (re.match(line, one) for one in text.splitlines())):
        if match[2] or match[3] or match[4]:
            keys[match[1]] = Key(match[2] or match[3] or match[4], ".env")
    return next((keys[name] for name in KEY_NAMES if name in keys), None)


def _in_colab() -> Key | None:
    if "google.colab" not in sys.modules:
        return None
    return next(filter(None, map(_colab_secret, KEY_NAMES)), None)


@cache
def _colab_secret(name: str) -> Key | None:
    """Return a secret of Colab's; None where there is none, or it may not be read. Colab asks the user, so: once."""
    try:
        return Key(sys.modules["google.colab"].userdata.get(name), f"Colab's secret {name}")
    except Exception:  # noqa: BLE001  # there is one exception for "no such secret", one for "not allowed", and time-outs
        return None


def keyring_here() -> Any | None:
    """Return the `keyring` module where it has a real, encrypting backend; else None. It may take 50 ms."""
    try:
        import keyring
        from keyring.backends.fail import Keyring as NoKeyring
    except ImportError:
        return None
    backend = keyring.get_keyring()
    plaintext = type(backend).__module__.startswith("keyrings.alt")
    usable = not isinstance(backend, NoKeyring) and not plaintext and backend.priority >= 1
    return keyring if usable else None


def _in_keyring() -> Key | None:
    keyring = keyring_here()
    if keyring is None:
        return None
    try:
        secret = keyring.get_password(_SERVICE, KEY_NAMES[0])
    except keyring.errors.KeyringError:  # locked, or refused by the user
        return None
    return Key(secret, "the system keyring") if secret else None


def key_file() -> Path:
    return user_folder("config") / "key"


def _in_file() -> Key | None:
    text = _text_of(key_file())
    return Key(text, str(key_file())) if text and text.strip() else None


def keep(key: Key) -> str:
    """Keep `key` in the system keyring or, without one, in a file that only the user can read; return where.

    Raises: ConfigError when it could not be kept.
    """
    problem = _write_to_keyring(key) if keyring_here() else _write_to_file(key)
    if problem:
        raise ConfigError(f"the key was not saved: {problem}", "it is in use all the same, until the kernel ends")
    return "the system keyring" if keyring_here() else str(key_file())


def kept_places() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield where a key is kept by `keep`, and what deletes it there."""
    if _in_keyring() and (keyring := keyring_here()):
        yield "the system keyring", lambda: keyring.delete_password(_SERVICE, KEY_NAMES[0])
    if key_file().is_file():
        yield shown_path(key_file()), key_file().unlink


# These return what went wrong in place of raising it: the frames of an exception from below would have the key in them.


def _write_to_keyring(key: Key) -> str:
    keyring = keyring_here()
    assert keyring is not None
    try:
        keyring.set_password(_SERVICE, KEY_NAMES[0], key.reveal())
    except Exception as error:  # noqa: BLE001  # backends raise what they like, and its frames hold the key
        return f"the system keyring refused it ({type(error).__name__})"
    return ""


def _write_to_file(key: Key) -> str:
    path = key_file()
    try:
        check_home(path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(key.reveal(), "utf-8")
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""
