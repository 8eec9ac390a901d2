"""A conversation as a value: whole turns in order, each keyed by the cell that asked it.

Running a cell again replaces its turn in place. The turns after it stay, and are stale: what they were asked after is
no longer what stands before them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from itertools import accumulate, count, pairwise
from operator import attrgetter
from typing import Any

from ..named_tuple import NamedTuple
from ..text import lazy_pattern, many
from .message import MARKS, THINKING, Message
from .tokens import BYTES_A_TOKEN, OF_A_MESSAGE, block_tokens, estimated_message

MOST_BREAKPOINTS = 4  # says the API
ANCHOR_TURNS = 8  # turns between the older breakpoints, so that running an older cell again finds one


class Contents(NamedTuple):
    """What a turn's JSON contains, found without parsing it.

    has_marks: whether a block names the model that made it, or carries fields that this model wants back.
    """

    has_thinking: bool
    has_calls: bool
    has_marks: bool


class Turn(NamedTuple):
    """A question and its whole reply, with the tool calls between, as they are sent in later requests.

    cell: the cell's key in the conversation.        wire: JSON array of the messages; "" where it was not read.
    digest: of that.        size: characters of it, as far as tokens go: three for each that is estimated.
    asked_after: digest of the turns before it when it was asked, "" if none was.
    request: the id of its request in the store, None if it was imported.        at: seconds since 1970.
    execution: the cell's In[] number, in the session `session`.
    """

    cell: str
    wire: str
    digest: str
    size: int
    asked_after: str = ""
    request: str | None = None
    at: float = 0.0
    session: str | None = None
    execution: int | None = None
    cost_usd: float | None = None
    tokens: int | None = None

    @classmethod
    def of(cls, cell: str, messages: Iterable[Message], model: str = "", **known: object) -> Turn:
        """Return the turn of these messages. model: the one that was asked, for what only it takes back.

        Raises: ValueError unless the messages begin with the user's and end with the assistant's, taking turns.
        """
        messages = tuple(messages)
        has_calls = any(message.tool_uses for message in messages)
        wire = [message.to_history(keeps_thinking=has_calls).to_wire() for message in messages]
        if [message["role"] for message in wire] != ["user", "assistant"] * max(1, len(wire) // 2):
            raise ValueError("a turn is a question and its reply")
        if not all(_calls(calling) == _results(answered) for calling, answered in pairwise(messages)):
            raise ValueError("each call of a tool has its result in the message that follows, and no other has")
        if _calls(messages[-1]) or _results(messages[0]):
            raise ValueError("a turn neither begins with a tool's result nor ends with its call")
        text = plain = json.dumps(_with_plain_ids(wire) if has_calls else wire)
        if has_calls:
            marked = json.loads(text)
            text = json.dumps(_marked(marked, model))
            plain = json.dumps(_marked(marked, ""))
        sent = [message.to_history() for message in messages]
        size = _size(sent, text if not has_calls else json.dumps([message.to_wire() for message in sent]))
        # The digest is of what was said: it stays what it is, whatever else is kept of a turn.
        return cls(cell, text, sha256(plain.encode()).hexdigest(), size, **known)  # type: ignore[arg-type]  # the fields above

    @property
    def messages(self) -> tuple[Message, ...]:
        return _messages(self.wire)

    @property
    def is_whole(self) -> bool:
        """Whether its messages are a question and its reply, and nothing in them is fetched from elsewhere."""
        try:
            messages = self.messages if isinstance(self.wire, str) else ()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return False
        roles = [message.role for message in messages]
        return roles == ["user", "assistant"] * max(1, len(roles) // 2) and not any(map(has_address, messages))

    @property
    def contents(self) -> Contents:
        return _contents(self.wire)

    @property
    def tokens_sent(self) -> int:
        """Estimated tokens that it takes in a later prompt."""
        return _tokens(self.size)

    @property
    def question(self) -> str:
        return self.messages[0].text

    @property
    def reply(self) -> str:
        return self.messages[-1].text


def _marked(wire: list[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    """Return the messages with the name of the model that made each call and thought; "": without any mark."""

    def block_marked(block: dict[str, Any]) -> dict[str, Any]:
        if block["type"] not in (*THINKING, "tool_use"):
            return block
        if model:
            return {**block, "model": model}
        return {name: value for name, value in block.items() if name not in MARKS}

    return [
        {**message, "content": list(map(block_marked, message["content"]))}
        if isinstance(message["content"], list) and message["role"] == "assistant"
        else message
        for message in wire
    ]


def with_unique_ids(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages of a request with no id of a call twice: gateways without ids, and we, number calls anew."""
    ids = [block.get("id") for message in messages for block in _blocks(message) if block.get("type") == "tool_use"]
    if len(set(ids)) == len(ids):
        return messages
    seen = set[str]()
    renamed: dict[str, str] = {}  # in the last message of the assistant's
    changed = []
    for message in messages:
        if message["role"] == "assistant":
            renamed = {}
        blocks = []
        for block in _blocks(message):
            if block.get("type") == "tool_use":
                old = str(block.get("id"))
                new = next(name for number in count() if (name := f"{old}_{number}" if number else old) not in seen)
                seen.add(new)
                renamed[old] = new
                block = {**block, "id": new}
            elif block.get("type") == "tool_result":
                key = str(block.get("tool_use_id"))
                block = {**block, "tool_use_id": renamed.get(key, key)}
            blocks.append(block)
        changed.append({**message, "content": blocks} if blocks else message)
    return changed


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    return message["content"] if isinstance(message["content"], list) else []


_PLAIN_ID = lazy_pattern(r"[A-Za-z0-9_-]{1,64}")


def _with_plain_ids(wire: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with ids that every model takes: some make theirs of signs that others refuse."""
    blocks = [block for message in wire if isinstance(message["content"], list) for block in message["content"]]
    ids = [str(block["id"]) for block in blocks if block.get("type") == "tool_use"]
    taken = {id for id in ids if _PLAIN_ID.fullmatch(id)}
    fresh = (id for number in count(1) if (id := f"call_{number}") not in taken)
    plain = {id: id if id in taken else next(fresh) for id in ids}
    renamed = {"tool_use": "id", "tool_result": "tool_use_id"}

    def with_plain_id(block: dict[str, Any]) -> dict[str, Any]:
        name = renamed.get(block["type"])
        return {**block, name: plain.get(str(block[name]), block[name])} if name else block

    return [
        {**message, "content": list(map(with_plain_id, message["content"]))}
        if isinstance(message["content"], list)
        else message
        for message in wire
    ]


def has_address(message: Message) -> bool:
    """Return whether a block of it is a picture or a document that the endpoint would fetch."""
    blocks = list(message.content)
    blocks += [part for block in blocks if isinstance(parts := block.get("content"), list) for part in parts]
    sources = [block.get("source") for block in blocks if isinstance(block, dict)]
    return any(source and (not isinstance(source, dict) or source.get("type") != "base64") for source in sources)


def _calls(message: Message) -> list[str]:
    return sorted(str(block.get("id")) for block in message.tool_uses)


def _results(message: Message) -> list[str]:
    return sorted(str(block.get("tool_use_id")) for block in message.content if block.get("type") == "tool_result")


def _size(messages: Iterable[Message], text: str) -> int:
    """Return the characters of a turn, with a picture's base64 counted as what its tokens amount to."""
    messages = list(messages)
    blocks = [block for message in messages for block in message.content]
    blocks += [part for block in blocks if isinstance(parts := block.get("content"), list) for part in parts]
    sources = [(block, block.get("source")) for block in blocks]
    encoded = [(block, source["data"]) for block, source in sources if isinstance(source, dict) and "data" in source]
    length = len(text) + sum(BYTES_A_TOKEN * block_tokens(block) - len(data) for block, data in encoded)
    # Digits and other scripts take more tokens than their characters tell.
    return max(length, BYTES_A_TOKEN * sum(estimated_message(message) + OF_A_MESSAGE for message in messages))


@lru_cache(maxsize=1024)
def _contents(wire: str) -> Contents:
    has_thinking, has_calls = '"thinking"' in wire or '"redacted_thinking"' in wire, '"tool_use"' in wire
    return Contents(has_thinking, has_calls, has_calls and ('"model"' in wire or '"extra"' in wire))


@lru_cache(maxsize=1024)
def _messages(wire: str) -> tuple[Message, ...]:
    return tuple(Message.from_wire(message).without_marks() for message in json.loads(wire))


def _tokens(size: int) -> int:
    return size // BYTES_A_TOKEN + 1


_cell_of = attrgetter("cell")


class Conversation(NamedTuple):
    """Whole turns, in the notebook's order where it is known, else in that of first runs. name: "" for one not kept."""

    name: str = ""
    turns: tuple[Turn, ...] = ()

    def __repr__(self) -> str:
        return f"<conversation {self.name!r}: {many(len(self.turns), 'turn')}>"

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(message for turn in self.turns for message in turn.messages)

    def has(self, cell: str) -> bool:
        return cell in map(_cell_of, self.turns)

    def index_of(self, cell: str) -> int:
        """Return where the cell's turn is, or where it would be put."""
        cells = list(map(_cell_of, self.turns))  # there may be thousands
        return cells.index(cell) if cell in cells else len(cells)

    def before(self, cell: str) -> Conversation:
        """Return the turns that a run of `cell` is asked after."""
        return self._replace(turns=self.turns[: self.index_of(cell)])

    def with_turn(self, turn: Turn, at: int | None = None) -> Conversation:
        """Return it with a turn in its cell's place. at: where a new one goes; None: at the end."""
        index = self.index_of(turn.cell)
        is_there = index < len(self.turns)
        at = index if at is None or is_there else at
        return self._replace(turns=(*self.turns[:at], turn, *self.turns[at + is_there :]))

    def without(self, cell: str) -> Conversation:
        return self._replace(turns=tuple(turn for turn in self.turns if turn.cell != cell))

    @property
    def digest(self) -> str:
        """Return a digest of all turns; "" where there are none."""
        return sha256("".join([turn.digest for turn in self.turns]).encode()).hexdigest() if self.turns else ""

    def stale(self) -> tuple[Turn, ...]:
        """Return the turns that were asked after something else than what stands before them now."""
        return tuple(turn for turn, now in zip(self.turns, self._digests(), strict=True) if turn.asked_after != now)

    def in_order(self) -> tuple[Turn, ...]:
        """Return the turns as if each had been asked after those that stand before it."""
        return tuple(turn._replace(asked_after=now) for turn, now in zip(self.turns, self._digests(), strict=True))

    def _digests(self) -> Iterator[str]:
        """Yield the digest of the turns before each turn, without computing each from the start."""
        before, now = sha256(), ""
        for turn in self.turns:
            yield now
            before.update(turn.digest.encode())
            now = before.copy().hexdigest()

    def bounded(self, turns: int, tokens: int) -> tuple[Conversation, int]:
        """Return what of it is sent, given at most so many turns and estimated tokens; and how many turns are left out.

        The oldest are left out, a quarter of a bound at a time, so that the endpoint's cache holds for a while. The
        newest goes along if it fits at all.
        """
        count = len(self.turns)
        step = max(1, turns // 4)
        left_out = min(count, -(-max(0, count - turns) // step) * step)
        sizes = list(accumulate([_tokens(turn.size) for turn in self.turns]))
        if sizes and sizes[-1] > tokens:
            step = max(1, tokens // 4)
            beyond = -(-(sizes[-1] - tokens) // step) * step
            left_out = max(
                left_out, next(index for index, size in enumerate(sizes, 1) if size >= min(beyond, sizes[-1]))
            )
            if turns and left_out == count and sizes[-1] - (sizes[-2] if count > 1 else 0) <= tokens:
                left_out = count - 1
        return self._replace(turns=self.turns[left_out:]), left_out

    def breakpoints(self, cacheable: int, before: int = 0) -> tuple[int, ...]:
        """Return the indexes of turns up to whose end it pays to cache the prompt: the last, and older anchors.

        cacheable: tokens that a prefix needs to be cached at all.        before: tokens of the system prompt.
        """
        sizes = accumulate((turn.tokens_sent for turn in self.turns), initial=before)
        long_enough = [index for index, size in enumerate(list(sizes)[1:]) if size >= cacheable]
        anchors = [index for index in long_enough[:-1] if (index + 1) % ANCHOR_TURNS == 0]
        chosen = [*anchors[-(MOST_BREAKPOINTS - 1) :], *long_enough[-1:]]
        return tuple(chosen)
