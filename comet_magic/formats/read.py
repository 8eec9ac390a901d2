"""A file → the conversations in it, whichever program wrote it: it is recognised by what is in it, not by its name."""

from __future__ import annotations

import contextlib
import json
import lzma
import re
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..messages.conversation import Turn
from ..named_tuple import NamedTuple
from ..text import clean, many, one_line
from . import chatgpt, claude_ai, librechat, open_webui, wire
from .source import LeftOut, SourceConversation, left_out_line
from .turns import turns_of

LARGEST = 200_000_000  # bytes; reading takes about ten times as much memory
# Each returns the conversations of a file in its form, and none of another. All have `messages`, so `wire` is the last.
FORMS: tuple[Callable[[object], list[SourceConversation]], ...] = (
    chatgpt.read, claude_ai.read, open_webui.read, librechat.read, wire.read
)  # fmt: skip
TAKEN = (
    'it takes .jsonl and .json files that --export wrote, messages as JSON, OpenAI\'s {"messages": …}, and what'
    " ChatGPT, claude.ai, Open WebUI and LibreChat export, zipped or not"
)
MARKDOWN_HINT = "export it as .jsonl or .json, which can be imported"
MOST_OF_TITLE = 60  # characters
ALL = "all"
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError)


class FileConversation(NamedTuple):
    """A conversation in a file. number: from 1.        date: when it was last changed, in seconds since 1970, if said.

    left_out: how many of which kind of parts cannot be taken along.
    """

    number: int
    title: str
    turns: tuple[Turn, ...]
    date: float | None
    left_out: LeftOut

    def __repr__(self) -> str:
        day = time.strftime(", %Y-%m-%d", time.localtime(self.date)) if self.date else ""
        missing = left_out_line(self.left_out)
        return f"<{self.number}: {self.title}, {many(len(self.turns), 'turn')}{day}{missing and f'; {missing}'}>"


def conversations_in(path: Path) -> list[FileConversation]:
    """Return the conversations in a file, in its order. Raises: ConfigError where there are none to be read."""
    found: list[FileConversation] = []
    for source in _sources(path):
        turns, left_out = turns_of(source)
        title = _shown(source.title) or path.stem
        found.append(FileConversation(len(found) + 1, title, turns, source.date, left_out))
    if not any(conversation.turns for conversation in found):
        reasons = left_out_line(sum((conversation.left_out for conversation in found), Counter()))
        raise _refused(
            path, f"it has no question with a reply{reasons and f' ({reasons})'}", "nothing of it can be sent"
        )
    return found


def _shown(title: str) -> str:
    return one_line(clean(title), MOST_OF_TITLE)


def is_all(pick: int | str) -> bool:
    """Return whether each conversation of a file is picked."""
    return str(pick).strip().lower() == ALL


def pick_conversations(conversations: list[FileConversation], pick: int | str, path: Path) -> list[FileConversation]:
    """Return those that are picked: by number, by title or a part of it, or "all"; without a pick, the only one.

    Raises: ConfigError, which says what there is.
    """
    whole = [conversation for conversation in conversations if conversation.turns]
    wanted = str(pick).strip()
    if is_all(pick):
        return whole
    if not wanted:
        if len(whole) == 1:
            return whole
        what = f"there are {many(len(whole), 'conversation')} in {path}"
        raise ConfigError(what, "choose with --pick NUMBER, TITLE or all")
    by_number = [conversation for conversation in whole if str(conversation.number) == wanted]
    title = _shown(wanted).casefold()
    by_title = [conversation for conversation in whole if conversation.title.casefold() == title]
    by_part = [conversation for conversation in whole if title in conversation.title.casefold()]
    chosen = by_number or by_title or by_part
    if len(chosen) == 1:
        return chosen
    if chosen:
        what = "are called" if by_title else "have in their titles"
        why = f"{len(chosen):,} {what} {wanted!r}"
    elif any(str(conversation.number) == wanted for conversation in conversations):
        why = f"conversation {wanted} has no question with a reply"
    else:
        why = f"there is no {wanted!r}"
    raise _refused(path, why, "%claude_history --import FILE lists them by number")


# ---- files


def _refused(path: Path, why: str, hint: str) -> ConfigError:
    return ConfigError(f"not imported: {path}: {why}", hint)


def _sources(path: Path) -> Iterator[SourceConversation]:
    """Yield the conversations of a file; of an archive, those of each file in it that has some. Raises: ConfigError."""
    try:
        if not path.is_file():
            what = (
                "it is a folder"
                if path.is_dir()
                else "it is no plain file"
                if path.exists()
                else "there is no such file"
            )
            raise _refused(path, what, "name a file")
        if path.stat().st_size >= LARGEST:
            raise _too_large(path)
        if not zipfile.is_zipfile(path):
            yield from _read(path.read_bytes(), path)
            return
        parts, reason = 0, _refused(path, "there is no JSON in the archive", TAKEN)
        for name, data in _zipped(path):
            try:
                yield from _read(data, path)
                parts += 1
            except ConfigError as error:
                if _HOLDS_CONVERSATIONS.fullmatch(name):
                    raise ConfigError(f"{error.what}, in {clean(name)}", error.hint) from None
                reason = error  # there are other files beside the conversations
        if not parts:
            raise reason
    except OSError as error:
        raise _refused(path, error.strerror or str(error), "name a file that can be read") from None


def _too_large(path: Path) -> ConfigError:
    return _refused(path, f"it has more than {LARGEST // 10**6} MB", "take the conversation that you want out of it")


_HOLDS_CONVERSATIONS = re.compile(r"(.*/)?conversations[^/]*\.json")


def _zipped(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of what may hold conversations: what is called so, else all that is JSON by its name."""
    room = LARGEST
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.filename.startswith("__MACOSX/")]
            named = [info for info in members if _HOLDS_CONVERSATIONS.fullmatch(info.filename)]
            named = named or [info for info in members if info.filename.endswith((".json", ".jsonl"))]
            for info in sorted(named, key=lambda info: _in_order(info.filename)):
                if info.flag_bits & 1:
                    raise _refused(path, "it has a password", "unpack it, and name the file")
                with archive.open(info) as file:
                    data = file.read(room)
                room -= len(data)
                if room <= 0:
                    raise _too_large(path)
                yield info.filename, data
    except (*_DAMAGED, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: object) -> ConfigError:
    return _refused(path, f"the archive is damaged ({error})", "unpack it, and name the file; or download it again")


def _in_order(name: str) -> list[tuple[int, str]]:
    """Return what sorts `conversations-2.json` before `conversations-10.json`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _decoded(path: Path, data: bytes) -> str:
    is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, f"it is no text in UTF-8 (byte {error.start:,})", TAKEN) from None


def _read(data: bytes, path: Path) -> list[SourceConversation]:
    """Return the conversations in a file's bytes. Raises: ConfigError."""
    if data.startswith(b"PK\3\4"):
        raise _damaged(path, "its end is missing")
    value = _parsed(_decoded(path, data), path)
    for form in FORMS:
        if found := form(value):
            return found
    raise _refused(path, "it is none of the files that can be read", TAKEN)


def _parsed(text: str, path: Path) -> Any:
    """Return the JSON of a text; of one with a JSON a line, the list of those. Raises: ConfigError."""
    with contextlib.suppress(ValueError):
        return _json(text, path)
    if text.startswith("# ") and "\n## Question\n" in text:
        raise _refused(path, "an export as Markdown is for reading", MARKDOWN_HINT)
    values = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                values.append(_json(line, path))
            except ValueError:
                raise _refused(
                    path, f"it is not JSON ({_reason(text if number == 1 else line, number)})", TAKEN
                ) from None
    if not values:
        raise _refused(path, "it is empty", TAKEN)
    return values


def _json(text: str, path: Path) -> Any:
    """Raises: ValueError where it is none, ConfigError where it is nested too deeply."""
    try:
        return json.loads(text, parse_constant=lambda name: None)
    except RecursionError:
        hint = "LibreChat can export a conversation without nesting its messages"
        raise _refused(path, "it is nested too deeply", hint) from None


def _reason(text: str, line: int) -> str:
    """Return why a text is no JSON, in the parser's words; line: the number of the line that it is, or begins with."""
    try:
        json.loads(text)
    except ValueError as error:
        return str(error) if line == 1 else f"line {line:,}"
    return f"line {line:,}"
