"""A file → the conversations in it, whichever program wrote it: it is recognised by what is in it, not by its name."""

from __future__ import annotations

import json
import re
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..messages.conversation import Turn
from ..text import clean, many, one_line
from . import chatgpt, claude_ai, librechat, open_webui, wire
from .source import SourceConversation, said
from .turns import turns_of

LARGEST = 200_000_000  # bytes; ten times as many would be needed to read them
# The first that recognises a file reads it: LibreChat's messages have a text besides, and all have `messages`.
FORMS: tuple[tuple[Callable[[object], bool], Callable[[object], list[SourceConversation]]], ...] = (
    (chatgpt.recognises, chatgpt.read),
    (claude_ai.recognises, claude_ai.read),
    (open_webui.recognises, open_webui.read),
    (librechat.recognises, librechat.read),
    (wire.recognises, wire.read),
)
TAKEN = (
    'it takes .jsonl and .json files that --export wrote, messages as JSON, OpenAI\'s {"messages": …}, and what'
    " ChatGPT, claude.ai, Open WebUI and LibreChat export, zipped or not"
)
MOST_OF_TITLE = 60  # characters


class FileConversation(NamedTuple):
    """A conversation in a file. number: from 1.        date: when it was last changed, in seconds since 1970, if said.

    left_out: how many of which kind of parts cannot be taken along.
    """

    number: int
    title: str
    turns: tuple[Turn, ...]
    date: float | None
    left_out: Counter[str]

    def __repr__(self) -> str:
        day = time.strftime(", %Y-%m-%d", time.localtime(self.date)) if self.date else ""
        missing = f"; {said(self.left_out)}" if said(self.left_out) else ""
        return f"<{self.number}: {self.title}, {many(len(self.turns), 'turn')}{day}{missing}>"


def conversations_in(path: Path) -> list[FileConversation]:
    """Return the conversations in a file, in its order. Raises: ConfigError where there are none to be read."""
    found: list[FileConversation] = []
    for source in (source for text in _texts(path) for source in _sources(text, path)):
        turns, left_out = turns_of(source)
        title = one_line(clean(source.title), MOST_OF_TITLE) or path.stem
        found.append(FileConversation(len(found) + 1, title, turns, source.date, left_out))
    if not any(conversation.turns for conversation in found):
        reasons = said(sum((conversation.left_out for conversation in found), Counter()))
        why = f" ({reasons})" if reasons else ""
        raise _refused(path, f"it has no question with a reply{why}", "nothing can be sent on of it")
    return found


def picked(found: list[FileConversation], pick: int | str, path: Path) -> list[FileConversation]:
    """Return those that are picked: by number, by title, or "all"; without a pick, the only one there is.

    Raises: ConfigError, which says what there is.
    """
    whole = [conversation for conversation in found if conversation.turns]
    wanted = str(pick).strip()
    if wanted.lower() == "all":
        return whole
    if not wanted:
        if len(whole) == 1:
            return whole
        raise ConfigError(
            f"there are {many(len(whole), 'conversation')} in {path}", "choose with --pick NUMBER, TITLE or all"
        )
    by_number = [conversation for conversation in whole if str(conversation.number) == wanted]
    titles = [(conversation, conversation.title.casefold()) for conversation in whole]
    by_title = [conversation for conversation, title in titles if title == wanted.casefold()]
    by_part = [conversation for conversation, title in titles if wanted.casefold() in title]
    chosen = by_number or by_title or by_part
    if len(chosen) == 1:
        return chosen
    what = f"{len(chosen):,} are called {wanted!r}" if chosen else f"there is no {wanted!r}"
    empty = any(str(conversation.number) == wanted for conversation in found)
    what = f"conversation {wanted} has no question with a reply" if empty and not chosen else what
    raise ConfigError(f"not imported: {what} in {path}", "%claude_history --import FILE lists them by number")


# ---- files


def _refused(path: Path, why: str, hint: str) -> ConfigError:
    return ConfigError(f"not imported: {path}: {why}", hint)


def _texts(path: Path) -> Iterator[str]:
    """Yield the text of a file; of an archive, of each of its files with conversations. Raises: ConfigError."""
    try:
        if not path.is_file():
            raise _refused(path, "it is a folder" if path.is_dir() else "there is no such file", "name a file")
        if path.stat().st_size >= LARGEST:
            raise _too_large(path)
        if zipfile.is_zipfile(path):
            yield from _zipped(path)
        else:
            yield _decoded(path, path.read_bytes())
    except OSError as error:
        raise _refused(path, error.strerror or str(error), "name a file that can be read") from None


def _too_large(path: Path) -> ConfigError:
    return _refused(path, f"it has more than {LARGEST // 10**6} MB", "take the conversation that you want out of it")


def _zipped(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        named = [info for info in archive.infolist() if re.fullmatch(r"(.*/)?conversations[^/]*\.json", info.filename)]
        if not named:
            raise _refused(path, "there is no conversations.json in the archive", TAKEN)
        room = LARGEST
        for info in sorted(named, key=lambda info: info.filename):
            try:
                with archive.open(info) as file:
                    data = file.read(room)
            except (RuntimeError, zipfile.BadZipFile, NotImplementedError) as error:  # it has a password, or is damaged
                raise _refused(path, str(error), "unpack it, and name the file") from None
            room -= len(data)
            if room <= 0:
                raise _too_large(path)
            yield _decoded(path, data)


def _decoded(path: Path, data: bytes) -> str:
    is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, f"it is no text in UTF-8 (byte {error.start:,})", TAKEN) from None


def _sources(text: str, path: Path) -> list[SourceConversation]:
    data = _parsed(text, path)
    try:
        for recognises, read in FORMS:
            if recognises(data):
                return read(data)
    except RecursionError:
        raise _refused(path, "it is nested too deeply", TAKEN) from None
    raise _refused(path, "it is none of the files that can be read", TAKEN)


MARKDOWN_HINT = "export it as .jsonl or .json, which can be imported"


def _parsed(text: str, path: Path) -> Any:
    """Return the JSON of a text; of one with a JSON a line, the list of those. Raises: ConfigError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise _refused(path, "it is nested too deeply", TAKEN) from None
    except ValueError as error:
        reason = str(error)
    if text.startswith("# ") and "\n## Question\n" in text:
        raise _refused(path, "an export as Markdown is for reading", MARKDOWN_HINT)
    values = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                values.append(json.loads(line))
            except (ValueError, RecursionError):
                where = reason if number == 1 else f"line {number:,}"
                raise _refused(path, f"it is not JSON ({where})", TAKEN) from None
    if not values:
        raise _refused(path, "it is empty", TAKEN)
    return values
