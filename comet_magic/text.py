"""Text for any screen: whole, clean, on one line, counted, and short."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
from pathlib import Path
from typing import Any, cast


def exception_text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # a user's exception may fail to say what it is
        return "(it does not say why)"


def cut(text: str, characters: int, of: int | None = None) -> str:
    """Return one line of a text, at most so long. of: its whole length, if it has been cut already."""
    line = spelled(text).replace("\n", "⏎").replace("\t", " ")
    length = max(len(line), of or 0)
    if length <= characters:
        return line
    note = f"… ({length:,} characters)" if length > 4 * characters else "…"
    return line[: max(1, characters - len(note))] + note


def many(count: int, noun: str) -> str:
    """Return `1 line`, `2,000 lines`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def lazy_pattern(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Return a regular expression that is compiled when it is first used: most are for texts that few replies have."""
    return cast("re.Pattern[str]", _LazyPattern(pattern, flags))


class _LazyPattern:
    def __init__(self, pattern: str, flags: int) -> None:
        self._pattern, self._flags = pattern, flags

    def __getattr__(self, name: str) -> Any:
        compiled = re.compile(self._pattern, self._flags)
        method = self.__dict__[name] = getattr(compiled, name)
        return method


_CONTROL = lazy_pattern(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
# Marks, joiners, fillers, selectors and tags: nobody sees them, but models, compilers and shells read them.
_UNSEEN = lazy_pattern(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028\u2029\u2060-\u2065\u206a-\u206f\u2800"
    r"\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufffb\U00013430-\U0001343f\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
MARK, _NO_MARK = "◈", "◇"  # begins each line of ours under a reply; none that comes from elsewhere may have it
_JOINERS, _LINE_ENDS = "\u200c\u200d\ufe0f", "\u2028\u2029"


def whole_text(text: str) -> str:
    """Return a text with surrogate pairs joined and lone halves replaced: JSON may carry them, and UTF-8 may not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean(text: str) -> str:
    """Return `text` as any screen may get it: nothing that controls it or cannot be seen, newlines as LF.

    What has been returned for the beginning of a text stays as the text grows.
    """
    text = _CONTROL.sub("\ufffd", whole_text(text).replace("\r\n", "\n").replace("\r", "\n"))
    return text if text.isascii() else _seen(text).replace(MARK, _NO_MARK)


def _seen(text: str) -> str:
    """Return a text without what cannot be seen, but for what shapes emoji and the letters of scripts that join."""
    parts, at, before = [], 0, ""
    for match in _UNSEEN.finditer(text):
        parts.append(text[at : match.start()])
        before = text[match.start() - 1] if match.start() > at else before
        at = match.end()
        if match[0] in _LINE_ENDS:
            kept = "\n"
        else:
            kept = match[0] if match[0] in _JOINERS and _is_shaped(before, match[0]) else ""
        parts.append(kept)
        before = kept or before
    return "".join([*parts, text[at:]])


def _is_shaped(before: str, joiner: str) -> bool:
    if not before or before == joiner:
        return False
    import unicodedata  # not at the top: loading stays quick, and few texts have joiners

    if before == "\ufe0f" or unicodedata.category(before) in ("So", "Sm", "Sk") or before in "‼⁉":
        return True
    return joiner != "\ufe0f" and "\u0600" <= before <= "\u1cff" and unicodedata.category(before)[0] in "LM"


def without_unseen(text: str) -> str:
    """Return a text without any character that cannot be seen, and without the escapes in which Python writes them."""
    return _ESCAPES.sub("", _UNSEEN.sub("", text))


_ESCAPES = lazy_pattern(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def spelled(text: str) -> str:
    """Return `text` with each character that cannot be seen written as its escape; newlines and tabs stay."""
    text = whole_text(text).replace("\r\n", "\n")
    for pattern in (_CONTROL, _UNSEEN):
        text = pattern.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return text.replace("\r", "\\r")


def one_line(text: str, most: int) -> str:
    """Return `text` on one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def escaped(text: str) -> str:
    """Return `text` as one line of literal Markdown: for names and messages that come from elsewhere."""
    line = " ".join(clean(text).split())
    spelled = re.sub(r"[&<>\\`*_\[\]$~|#!]", lambda m: f"&#{ord(m[0])};", line)
    # Two dollars in one text node would be mathematics, however they are spelled.
    return spelled.replace("&#36;", "<span>&#36;</span>")


def shown_path(path: Path | str) -> str:
    """Return a path as short as it can be: from the working folder, or from home."""
    with contextlib.suppress(ValueError):
        return str(Path(path).resolve().relative_to(Path.cwd()))
    return from_home(str(path))


def home() -> str:
    """Return the user's folder, "" where there is none: no HOME, and no entry in the password file."""
    folder = os.path.expanduser("~")
    return "" if folder.startswith("~") else folder.rstrip(os.sep)


def user_folder(kind: str) -> Path:
    """Return where this program keeps what is the user's; a path from `~` on, where nothing is, without a home.

    kind: "data" or "config".
    """
    import platformdirs

    try:
        if kind == "data":
            return platformdirs.user_data_path("comet_magic", appauthor=False)
        return platformdirs.user_config_path("comet_magic")
    except RuntimeError:  # there is none; older versions return such a path
        return Path("~", ".comet_magic")


def check_home(path: Path) -> None:
    """Raises: FileNotFoundError for a path that begins with the folder of a user who has none."""
    if path.parts[:1] and path.parts[0].startswith("~"):
        raise FileNotFoundError(errno.ENOENT, "this user has no home folder", str(path))


def expanded(path: str | Path) -> Path:
    """Return a path with the user's folder for its `~`, where there is one."""
    return Path(os.path.expanduser(path))


def from_home(path: str) -> str:
    folder = home()
    return whole_text(f"~{path[len(folder) :]}" if folder and path.startswith(folder + os.sep) else path)


def dollars(usd: float) -> str:
    """Return `$12.30`, `$0.21`, `$0.0083`; never $0 for what did cost something."""
    if usd >= 0.1:
        return f"${usd:,.2f}"
    digits = 1 - math.floor(math.log10(usd)) if usd > 0 else 2
    return f"${usd:.{digits}f}"
