"""The Messages API's nouns as values: a message and what its blocks are, what it used, how it came.

Source: POST /v1/messages of the provider's reference. Blocks stay the wire's own JSON: ones we do not know survive.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal, TypedDict

from ..named_tuple import NamedTuple
from ..text import lazy_pattern, whole_text
from .tool_call import ToolCall
from .usage import Usage


class ContentBlock(TypedDict, total=False):
    """One block of a message, as on the wire; `type` says which of the other keys are there.

    Only what this library reads is named. A block keeps whatever else it came with.
    """

    type: str
    text: str | None
    thinking: str
    signature: str
    id: str
    name: str
    input: Any
    source: dict[str, Any]
    tool_use_id: str
    content: Any
    is_error: bool
    partial_json: str
    title: str
    citations: list[Any] | None
    extra: dict[str, Any]  # ours: fields of the provider that must be sent back with the block
    model: str  # ours: the model that made the block, in a turn that is kept


LONGEST_NAME = 200  # characters of what a counterpart calls itself, a block, a tool or a reason
_TEXTS = frozenset("type text thinking signature id name partial_json title tool_use_id data".split())


def normalized_block(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return the block with its text fields as strings, and with names of at most 200 characters."""
    sound = dict(block)
    for name in _TEXTS & block.keys():
        value = block[name]
        if isinstance(value, int | float) and not isinstance(value, bool):
            sound[name] = str(value)
        elif not isinstance(value, str):
            del sound[name]
    for name in ("type", "id", "name"):
        if len(sound.get(name, "")) > LONGEST_NAME:
            sound[name] = sound[name][:LONGEST_NAME]
    if "citations" in block and not isinstance(block["citations"], list):
        del sound["citations"]
    sound.setdefault("type", "text" if "text" in sound else "unknown")
    if sound["type"] == "text":
        sound.setdefault("text", "")
    return sound


class Receipt(NamedTuple):
    """What is known of a reply besides itself, in the words of the lines under it.

    cost_usd: what it cost, by the prices that are known; None where none is.
    session: what the session has cost so far, in words, or "".
    sent: what went along with the question, in words, or "".
    question: the question as it was sent, where there is more in it than the user's text; None where there is not.
    thumbnails: data: addresses of its pictures.
    host: of the endpoint, where it is not the usual one.
    store: the file of a replay, where it is not the user's own.
    stale: the later cells that answered what was here before: (key, what each is called).
    replayed: when the reply was first asked for, in seconds since 1970, if it came from the store.
    """

    cost_usd: float | None = None
    session: str = ""
    sent: str = ""
    question: str | None = None
    thumbnails: tuple[str, ...] = ()
    host: str = ""
    replayed: float | None = None
    store: str = ""
    stale: tuple[tuple[str, str], ...] = ()


NO_RECEIPT = Receipt()


@dataclass(frozen=True)
class Message:
    """A message: the user's, or a reply with all that is known about how it came and how it ended.

    content: the blocks, in order.                     stop_reason: the wire's own word; None if it never came.
    stop_details: why a refusal was one, if said.      usage: what was reported.
    id, request_id: for the endpoint's support.        elapsed_s: seconds from the request to the last byte.
    incomplete: why the reply is only a part, in words ("stopped by you", "cut off: …"); None when it is whole.
    mismatch: why a whole reply is not of the type that was asked for; None where it is, or none was asked for.
    limit: the max_tokens that it was asked with.      label: what the usage line says in place of `model`.
    warnings: what was odd on the way, in words.       shows_usage: whether it displays itself with its usage.
    receipt: what was sent, what it cost, whether it is a replay.
    before: of a reply, what came between it and the question: calls of tools, and messages with their results.
    calls: the calls in them, in order, as they are shown.
    as_type: the name of the type that it was read as, and value: what that gave; "" and None where none was asked for.
    """

    role: Literal["user", "assistant"]
    content: tuple[ContentBlock, ...]
    model: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None
    usage: Usage = field(default_factory=Usage)
    id: str | None = None
    request_id: str | None = None
    elapsed_s: float | None = None
    incomplete: str | None = None
    mismatch: str | None = None
    limit: int | None = None
    label: str | None = None
    warnings: tuple[str, ...] = ()
    shows_usage: bool = True
    receipt: Receipt = NO_RECEIPT
    before: tuple[Message, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    as_type: str = ""
    value: Any = field(default=None, compare=False, repr=False)

    @classmethod
    def user(cls, text: str) -> Message:
        return cls("user", ({"type": "text", "text": text},))

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Message:
        """Return a message as in a request's `messages`. Raises: KeyError, TypeError or ValueError when it is none."""
        content, role = wire["content"], wire["role"]
        if role not in ("user", "assistant"):
            raise ValueError(f"{role!r} is not a role of a message")
        blocks = (
            ({"type": "text", "text": content},) if isinstance(content, str) else tuple(map(normalized_block, content))
        )
        return cls(role, blocks)  # type: ignore[arg-type]  # the wire's own JSON

    @property
    def text(self) -> str:
        """The text blocks, joined; surrogate halves that came in two deltas are whole again."""
        return whole_text("".join(block.get("text") or "" for block in self.content if block.get("type") == "text"))

    @property
    def tool_uses(self) -> list[ContentBlock]:
        return [block for block in self.content if block.get("type") == "tool_use"]

    def steps(self) -> Iterator[Message | ToolCall]:
        """Yield what a reader sees, in order: the parts of the reply, each followed by the calls that it made."""
        calls = iter(self.calls)
        for message in (*self.before, self):
            if message.role == "assistant":
                yield message
                yield from islice(calls, len(message.tool_uses))

    @property
    def full_text(self) -> str:
        """All of it as text: with what was said before, and a line for each call. It grows at its end only."""
        if not self.before and not self.calls:
            return self.text
        steps = (f"[{step.line}]" if isinstance(step, ToolCall) else step.text for step in self.steps())
        return "\n\n".join(filter(None, steps))

    @property
    def written(self) -> str:
        """All that was written, thinking and calls as far as they came, for an estimate of its tokens."""
        calls = (use.get("partial_json") or json.dumps(use.get("input")) for use in self.tool_uses)
        return "".join([self.thinking, self.text, *calls])

    @property
    def code_blocks(self) -> list[tuple[str, str]]:
        """(language, code) of the reply's fenced blocks, in order."""
        from ..render.markdown import code_blocks

        return code_blocks(self.text)

    @property
    def thinking(self) -> str:
        return "\n\n".join(text for block in self.content if (text := block.get("thinking") or ""))

    @property
    def is_whole(self) -> bool:
        """Whether it can stand in a conversation: ended by itself, with text, and neither cut nor refused."""
        is_ended = (
            not self.incomplete and not self.mismatch and self.stop_reason in WHOLE_REASONS and not self.tool_uses
        )
        return is_ended and bool(self.text.strip() or self.pictures)

    @property
    def is_value(self) -> bool:
        """Whether it was read as the type that was asked for."""
        return bool(self.as_type) and not self.incomplete and not self.mismatch

    @property
    def is_cut(self) -> bool:
        """Whether it stopped before its end: what it gives or calls is not all."""
        return self.stop_reason in CUT_REASONS

    @property
    def pictures(self) -> list[tuple[str, str]]:
        """(media type, base64) of the pictures in a reply, in order."""
        sources = [block.get("source") for block in self.content if block.get("type") == "image"]
        known = [(source.get("media_type"), source.get("data")) for source in sources if isinstance(source, dict)]
        return [(str(kind), str(data)) for kind, data in known if is_picture(kind, data)]

    @property
    def unknown_blocks(self) -> list[str]:
        """Types of the blocks that are not shown, because nobody knows how to."""
        return sorted({str(block.get("type")) for block in self.content} - _KNOWN_BLOCKS)

    def without_marks(self, model: str | None = None) -> Message:
        """Return the message without what is only ours in its blocks. model: the only one whose thinking stays in."""
        is_left = [model is None or block.get("type") not in THINKING or is_of(block, model) for block in self.content]
        blocks = [block for block, stays in zip(self.content, is_left, strict=True) if stays]
        content = [{name: value for name, value in block.items() if name not in MARKS} for block in blocks]
        return replace(self, content=tuple(content))  # type: ignore[arg-type]  # the wire's own JSON

    @property
    def has_extra(self) -> bool:
        """Whether a block of it has what only its own model takes back."""
        return any("extra" in block for block in self.content)

    def to_history(self, *, keeps_thinking: bool = False) -> Message:
        """Return the message as it is sent in later requests: text and tool calls, and no thinking.

        Thinking blocks are bound to a model, an account and all that came before them; left out, they are never wrong,
        except to the few endpoints that want those back which stand before a call.
        keeps_thinking: with them; what of it is sent is the request's to decide.
        """
        history_blocks = [block for block in self.content if block.get("type") != "text" or block.get("text")]
        if self.role == "assistant":
            history_blocks = [sent for block in history_blocks if (sent := _sent_back(block, keeps_thinking))]
            if self.pictures and not any(block.get("type") == "text" for block in history_blocks):
                history_blocks.append({"type": "text", "text": "(a picture)"})
        return Message(self.role, tuple(history_blocks))

    def without_unsigned(self) -> Message:
        """Return the message without thinking that most endpoints refuse to take back; the same where it has none."""
        left = tuple(block for block in self.content if block.get("type") not in THINKING or is_signed(block))
        return self if len(left) == len(self.content) else replace(self, content=left)

    def without_thinking(self) -> Message:
        """Return the message without its blocks of thinking; the same where it has none."""
        left = tuple(block for block in self.content if block.get("type") not in THINKING)
        return self if len(left) == len(self.content) else replace(self, content=left)

    @property
    def sources(self) -> list[tuple[str, str]]:
        """(title, address) of what the reply cites, each once; an address may be ""."""
        cited: dict[tuple[str, str], None] = {}
        for block in self.content:
            for citation in block.get("citations") or ():
                if isinstance(citation, dict):
                    title, url = (citation.get(name) for name in ("title", "url"))
                    title = title or citation.get("document_title")
                    if isinstance(title, str) or isinstance(url, str):
                        cited[str(title or url)[:LONGEST_NAME], url if isinstance(url, str) else ""] = None
        return list(cited)

    def to_wire(self) -> dict[str, Any]:
        """Return an entry of a request's `messages`: a lone text block is the plain string that every gateway takes."""
        if len(self.content) == 1 and set(self.content[0]) == {"type", "text"}:
            return {"role": self.role, "content": self.content[0].get("text")}
        return {"role": self.role, "content": list(self.content)}

    def __str__(self) -> str:
        return self.text

    # How it is shown is known one room up, and imported when it is shown.

    def usage_line(self) -> str:
        """Return `claude-sonnet-4-6 · 1,204 in (980 cached) · 310 out · 2.1 s · ≈ $0.0083 · session ≈ $0.21`."""
        from ..render.message import usage_line

        return usage_line(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from ..render.message import pictures_markdown, to_markdown, to_plain

        return {
            "text/markdown": to_markdown(self, show_usage=self.shows_usage) + pictures_markdown(self),
            "text/plain": to_plain(self, show_usage=self.shows_usage),
        }

    def _repr_markdown_(self) -> str:
        return self._repr_mimebundle_()["text/markdown"]


THINKING = ("thinking", "redacted_thinking")
SHOWN_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_BASE64 = lazy_pattern(r"[A-Za-z0-9+/]{8,}={0,2}")


def is_picture(media_type: object, data: object) -> bool:
    """Return whether it is a picture that a page may show: whatever a reply says may be anything."""
    return media_type in SHOWN_PICTURES and isinstance(data, str) and bool(_BASE64.fullmatch(data))


MARKS = ("extra", "model")
_SENT_BACK = {"text": ("type", "text"), "tool_use": ("type", "id", "name", "input")}
_KEPT_BACK = {**_SENT_BACK, "tool_use": (*_SENT_BACK["tool_use"], "extra")}


def _sent_back(block: ContentBlock, keeps_thinking: bool) -> ContentBlock | None:
    if keeps_thinking and block["type"] in THINKING:
        return block
    names = (_KEPT_BACK if keeps_thinking else _SENT_BACK).get(block["type"], ())
    return {name: value for name, value in block.items() if name in names} if names else None  # type: ignore[return-value]


def is_signed(block: ContentBlock) -> bool:
    """Return whether a block of thinking can be sent back: without its signature it is refused."""
    return block["type"] == "redacted_thinking" or bool(block.get("signature"))


def is_of(block: Mapping[str, Any], model: str) -> bool:
    """Return whether a block is that model's own; what does not say whose it is may be."""
    return bool(block.get("model", model) == model)


# The last four are other services', for a reply that broke off there.
CUT_REASONS = frozenset(
    ("max_tokens", "refusal", "model_context_window_exceeded", "error", "failed", "incomplete",
     "insufficient_system_resource")
)  # fmt: skip
WHOLE_REASONS = {"end_turn", "stop_sequence", None}  # gateways pass other services' words through, such as length
_KNOWN_BLOCKS = {"text", "thinking", "redacted_thinking", "tool_use", "image"}
