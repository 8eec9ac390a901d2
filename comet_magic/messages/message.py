"""The Messages API's nouns as values: a message and what its blocks are, what it used, how it came.

Source: POST /v1/messages of the provider's reference. Blocks stay the wire's own JSON: ones we do not know survive.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, TypedDict

from ..render.markdown import code_blocks
from ..render.message import to_markdown, to_plain
from ..text import dollars, whole_text
from .tool_call import Call
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
    title: str
    citations: list[Any] | None


@dataclass(frozen=True)
class Receipt:
    """What is known of a reply besides itself, in the words of the lines under it.

    cost_usd: what it cost, by the prices that are known; None where none is.
    session: what the session has cost so far, in words, or "".
    sent: what went along with the question, in words, or "".
    question: the question as it was sent, where there is more in it than the user's text; None where there is not.
    thumbnails: data: addresses of its pictures.
    replayed: when the reply was first asked for, in seconds since 1970, if it came from the store.
    """

    cost_usd: float | None = None
    session: str = ""
    sent: str = ""
    question: str | None = None
    thumbnails: tuple[str, ...] = ()
    replayed: float | None = None


@dataclass(frozen=True)
class Message:
    """A message: the user's, or a reply with all that is known about how it came and how it ended.

    content: the blocks, in order.                     stop_reason: the wire's own word; None if it never came.
    stop_details: why a refusal was one, if said.      usage: what was reported.
    id, request_id: for the endpoint's support.        elapsed_s: seconds from the request to the last byte.
    incomplete: why the reply is only a part, in words ("stopped by you", "cut off: …"); None when it is whole.
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
    limit: int | None = None
    label: str | None = None
    warnings: tuple[str, ...] = ()
    shows_usage: bool = True
    receipt: Receipt = Receipt()
    before: tuple[Message, ...] = ()
    calls: tuple[Call, ...] = ()
    as_type: str = ""
    value: Any = field(default=None, compare=False)

    @classmethod
    def user(cls, text: str) -> Message:
        return cls("user", ({"type": "text", "text": text},))

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Message:
        """A message as in a request's `messages`. Raises: KeyError, TypeError or ValueError when it is none."""
        content = wire["content"]
        blocks = ({"type": "text", "text": content},) if isinstance(content, str) else tuple(map(dict, content))
        return cls(wire["role"], blocks)  # type: ignore[arg-type]  # the wire's own JSON

    @property
    def text(self) -> str:
        """The text blocks, joined; surrogate halves that came in two deltas are whole again."""
        return whole_text("".join(block.get("text") or "" for block in self.content if block.get("type") == "text"))

    @property
    def tool_uses(self) -> list[ContentBlock]:
        return [block for block in self.content if block.get("type") == "tool_use"]

    def steps(self) -> Iterator[Message | Call]:
        """What a reader sees, in order: the parts of the reply, each followed by the calls that it made."""
        calls = iter(self.calls)
        for message in (*self.before, self):
            if message.role == "assistant":
                yield message
                yield from islice(calls, len(message.tool_uses))

    @property
    def told(self) -> str:
        """All of it as text: with what was said before, and a line for each call. It grows at its end only."""
        if not self.before and not self.calls:
            return self.text
        steps = (f"[{step.line}]" if isinstance(step, Call) else step.text for step in self.steps())
        return "\n\n".join(filter(None, steps))

    @property
    def code_blocks(self) -> list[tuple[str, str]]:
        """(language, code) of the reply's fenced blocks, in order."""
        return code_blocks(self.text)

    @property
    def thinking(self) -> str:
        return "\n\n".join(text for block in self.content if (text := block.get("thinking") or ""))

    @property
    def is_whole(self) -> bool:
        """Whether it can stand in a conversation: ended by itself, with text, and neither cut nor refused."""
        is_ended = not self.incomplete and self.stop_reason in _WHOLE and not self.tool_uses
        return is_ended and bool(self.text.strip())

    @property
    def is_cut(self) -> bool:
        """Whether it stopped before its end: what it gives or calls is not all."""
        return self.stop_reason in ("max_tokens", "refusal", "model_context_window_exceeded")

    @property
    def ending(self) -> str:
        """How the reply ended, in words, or "" when it ended as replies do."""
        if self.incomplete:
            return self.incomplete
        details = self.stop_details or {}
        match "tool_use" if self.tool_uses and self.stop_reason in _WHOLE else self.stop_reason:
            case "end_turn" | "stop_sequence":
                return "" if self.text.strip() else "(empty reply)"
            case "max_tokens":
                limit = f" = {self.limit:,}" if self.limit else ""
                return f"cut at max_tokens{limit}: raise it with -t"
            case "refusal":
                category = f" ({details['category']})" if details.get("category") else ""
                why = f": {details['explanation']}" if details.get("explanation") else ""
                return f"refused{category}{why}"
            case "model_context_window_exceeded":
                return "the model's context is full: ask with less text"
            case "tool_use":
                calls = ", ".join(str(block.get("name")) for block in self.tool_uses)
                return f"a tool call is pending: {calls or 'unnamed'}"
            case "pause_turn":
                return "paused by the server: send the turn back to go on"
            case None:
                return "no stop reason was given" if self.text.strip() else "(empty reply)"
            case other:
                return f"stop reason: {other}"

    @property
    def unknown_blocks(self) -> list[str]:
        """Types of the blocks that are not shown, because nobody knows how to."""
        return sorted({str(block.get("type")) for block in self.content} - _KNOWN_BLOCKS)

    def usage_line(self) -> str:
        """`claude-sonnet-4-6 · 1,204 in (980 cached) · 310 out · 2.1 s · ≈ $0.0083 · session ≈ $0.21`."""
        receipt, name = self.receipt, self.label or self.model or "model not reported"
        if receipt.replayed is not None:
            day = time.strftime("%d %b %Y", time.localtime(receipt.replayed)).lstrip("0")
            return f"{name} · replayed from {day} · 0 tokens · --fresh asks again"
        partial = " (partial)" if self.incomplete and str(self.usage) != "usage not reported" else ""
        parts = [name, f"{self.usage}{partial}"]
        if self.elapsed_s is not None:
            parts.append(f"{self.elapsed_s:.1f} s")
        if receipt.cost_usd is not None:
            parts.append(f"≈ {dollars(receipt.cost_usd)}")
        return " · ".join([*parts, *filter(None, [receipt.session])])

    def account(self) -> list[str]:
        """The lines under a reply: what it cost, and what was sent besides the question."""
        return [self.usage_line(), *([f"sent: {self.receipt.sent}"] if self.receipt.sent else [])]

    def notes(self) -> list[str]:
        """What a reader must know besides the text: how it ended, what is not shown, what was odd."""
        notes = [self.ending] if self.ending else []
        if self.unknown_blocks:
            notes.append(f"not shown: {', '.join(self.unknown_blocks)}")
        return [*notes, *self.warnings]

    def to_history(self) -> Message:
        """As it is sent in later requests: text and tool calls, and no thinking.

        Thinking blocks are bound to a model, an account and all that came before them; left out, they are never wrong.
        """
        kept = [block for block in self.content if block.get("type") != "text" or block.get("text")]
        if self.role == "assistant":
            kept = [sent for block in kept if (sent := _sent_back(block))]
        return Message(self.role, tuple(kept))

    def to_wire(self) -> dict[str, Any]:
        """As in a request's `messages`: a lone text block as the plain string that every gateway takes."""
        if len(self.content) == 1 and set(self.content[0]) == {"type", "text"}:
            return {"role": self.role, "content": self.content[0].get("text")}
        return {"role": self.role, "content": list(self.content)}

    def __str__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {
            "text/markdown": to_markdown(self, show_usage=self.shows_usage),
            "text/plain": to_plain(self, show_usage=self.shows_usage),
        }

    def _repr_markdown_(self) -> str:
        return to_markdown(self, show_usage=self.shows_usage)


_SENT_BACK = {"text": ("type", "text"), "tool_use": ("type", "id", "name", "input")}


def _sent_back(block: ContentBlock) -> ContentBlock | None:
    names = _SENT_BACK.get(block["type"], ())
    return {name: value for name, value in block.items() if name in names} if names else None  # type: ignore[return-value]


_WHOLE = {"end_turn", "stop_sequence", None}  # gateways pass other services' words through, such as length
_KNOWN_BLOCKS = {"text", "thinking", "redacted_thinking", "tool_use"}
