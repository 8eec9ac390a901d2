"""What a value becomes in a prompt: a `Description`, within `Limits`.

Descriptions are the same each time for the same value, or replays would not find it again: sampling is seeded, and no
address in memory is in them.
"""

from __future__ import annotations

import reprlib
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, ItemsView, Iterable, KeysView, Set
from dataclasses import dataclass, field, fields, is_dataclass
from heapq import nsmallest
from itertools import islice
from typing import Any

from ..errors import ConfigError
from ..messages.lasting import ADDRESS, BARE_ADDRESS, OF_THREAD, with_sorted_sets
from ..messages.message import ContentBlock
from ..messages.tokens import block_tokens, estimated_tokens
from ..named_tuple import NamedTuple
from ..text import cut, lazy_pattern, whole_text
from .dependencies import plain, type_name

INLINE = 200  # characters; a longer value, and one of several lines, stands in a frame of its own
CELL = 40  # characters of a text in a table
_ADDRESS = lazy_pattern(rf"{ADDRESS}|{BARE_ADDRESS}|{OF_THREAD}| id='\d{{9,}}'|(?<=\bThread)-\d+")
_MIDDLE = "\n…\n"
EDGE = 1000  # characters; a secret that a cut went through is hardly longer
SHORTENED = 10_000  # characters of a value that are looked at to show a few of them


CellName = Callable[[str], str]  # a cell's first line, for the file name of its code; "" for other files


def no_cell_name(filename: str) -> str:
    return ""


class Limits(NamedTuple):
    """How much of a value goes along.

    table_tokens: estimated tokens of a table's card.        text_tokens: of any other description.
    image_pixels: longest side of a picture.
    share_values: False: schema and statistics only.
    hide: takes secrets out of a text.        cell_name: what the code of a cell is called, by the name of its file.
    about: the question; columns that it names come first where not all have room.
    """

    table_tokens: int = 1500
    text_tokens: int = 5000
    image_pixels: int = 1568
    share_values: bool = True
    hide: Callable[[str], str] = str
    cell_name: CellName = no_cell_name
    about: str = ""

    def short(self, value: object, characters: int = CELL) -> str:
        """Return a value on one line; a secret that would be cut is hidden first."""
        if not isinstance(value, str):
            value = stable_repr(value)
        return cut(self.hide(value[:SHORTENED]), characters, of=len(value))

    def fitted(self, text: str, tokens: int = 0) -> str:
        """Return a long text's beginning and end, within the bound, and between them how much is left out."""
        tokens = tokens or self.text_tokens
        length, seen = len(text), 12 * tokens + EDGE  # more than can be shown
        if length <= 2 * seen:
            text = self.hide(whole_text(text))
        else:  # at the edges there may be secrets that are cut, and so not hidden
            head, tail = self.hide(whole_text(text[:seen])), self.hide(whole_text(text[-seen:]))
            text = f"{head[:-EDGE]}{_MIDDLE}{tail[EDGE:]}"
        estimate, encoded = estimated_tokens(text), text.encode()
        if estimate <= tokens:
            return text
        room = len(encoded) * tokens // estimate
        first = encoded[: room * 2 // 3].decode("utf-8", "ignore")
        last = encoded[-(room // 4) :].decode("utf-8", "ignore")
        left_out = max(length, len(text)) - len(first) - len(last)
        return f"{first}\n[… {left_out:,} of {length:,} characters left out …]\n{last}"

    def refuse_values(self, what: str) -> None:
        """Raises: ConfigError where values are not shared."""
        if not self.share_values:
            raise ConfigError(
                f"{what} shows values, and CometSettings.share_values = False keeps them here",
                "nothing was sent; set it to True, or leave the reference out",
            )


class _Repr(reprlib.Repr):
    """Bounded for the usual containers, and the same in every process."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 50
        self.maxstring = self.maxother = 100_000  # cut later, once secrets are hidden
        self.maxlong = 200

    def repr1(self, value: Any, level: int) -> str:
        value = plain(value)
        if isinstance(value, Set) and not isinstance(value, KeysView | ItemsView):
            items = ", ".join(in_one_order((self.repr1(item, level - 1) for item in value), self.maxset))
            text = f"{{{items}{', ...' if len(value) > self.maxset else ''}}}" if value else "set()"
            return text if type(value) is set else f"{type(value).__name__}({text if value else ''})"
        if isinstance(value, dict) and type(value).__repr__ in _DICTS:
            return self.repr_dict(value, level)
        if names := _fields(value):
            if level <= 0:
                return f"{type(value).__qualname__}(...)"
            texts = (f"{name}={self.repr1(getattr(value, name, None), level - 1)}" for name in names)
            return f"{type(value).__qualname__}({', '.join(texts)})"
        return super().repr1(value, level)

    def repr_dict(self, value: Any, level: int) -> str:
        """Return a dict in its own order; `reprlib` sorts it."""
        if level <= 0 and value:
            return "{...}"
        items = islice(value.items(), self.maxdict)
        texts = [f"{self.repr1(key, level - 1)}: {self.repr1(item, level - 1)}" for key, item in items]
        text = f"{{{', '.join([*texts, *(['...'] if len(value) > self.maxdict else [])])}}}"
        return text if type(value) is dict else f"{type(value).__name__}({text})"

    def repr_int(self, value: int, level: int) -> str:
        return str(value) if value.bit_length() < 10_000 else f"an integer of {value.bit_length():,} bits"


_DICTS = (dict.__repr__, OrderedDict.__repr__, Counter.__repr__, defaultdict.__repr__)


def _fields(value: Any) -> list[str]:
    """Return the fields of a dataclass or a named tuple that has the repr which Python writes for it."""
    kind = type(value)
    if is_dataclass(kind) and hasattr(kind.__repr__, "__wrapped__"):
        return [one.name for one in fields(kind) if one.repr]
    is_named = issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple)
    return list(kind._fields) if is_named and kind.__repr__.__qualname__.endswith("__repr__") else []


def in_one_order(texts: Iterable[str], most: int) -> list[str]:
    """Return the first ones of a set's texts in an order that is the same in every process."""
    return nsmallest(most, texts)


def stable_repr(value: object) -> str:
    """Return a bounded `repr` that is the same at every run."""
    try:
        return with_sorted_sets(without_addresses(_Repr().repr(value)))
    except Exception as error:  # noqa: BLE001  # a repr may raise what it likes
        return f"<{type_name(value)}, whose repr fails: {type(error).__name__}>"


def without_addresses(text: str) -> str:
    """Take out addresses in memory: they differ at every run, and would keep replays from being found."""
    return _ADDRESS.sub("", text)


class Description(NamedTuple):
    """What stands for a value.

    kind: what it is, for the model: "pandas DataFrame".
    text: what is said of it.        attached: pictures and documents that go along behind that.
    label: what the line under the reply says of it, behind its name; "" for its size.
    is_value: the text is the value itself, and stands in the user's sentence if it is short.
    """

    kind: str
    text: str = ""
    label: str = ""
    attached: tuple[ContentBlock, ...] = ()
    is_value: bool = False

    @property
    def is_inline(self) -> bool:
        return self.is_value and len(self.text) <= INLINE and "\n" not in self.text and not self.attached

    @property
    def tokens(self) -> int:
        return estimated_tokens(self.text) + sum(map(block_tokens, self.attached))

    def hidden(self, hide: Callable[[str], str]) -> Description:
        return self._replace(text=hide(self.text), kind=hide(self.kind), label=hide(self.label))


@dataclass
class TokenBudget:
    """Lines that are written until their room is full. tokens: what is left of it."""

    tokens: int
    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> bool:
        """Return whether there was room for it."""
        cost = estimated_tokens(f"{line}\n")
        if cost > self.tokens:
            return False
        self.tokens -= cost
        self.lines.append(line)
        return True

    def __str__(self) -> str:
        return "\n".join(self.lines)
