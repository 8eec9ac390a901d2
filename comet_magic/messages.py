"""The Messages API's nouns as values: what is asked, what is answered, what it cost.

Source: POST /v1/messages of the provider's reference. Blocks stay the wire's own JSON: ones we do not know survive.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from hashlib import sha256
from itertools import islice
from typing import Any, Literal, NamedTuple, TypedDict

from .inline import clean, escaped, whole_text
from .markdown import code_blocks, safe_markdown, wrapped


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
class Usage:
    """Token counts; None is "not reported", which is not 0. `a + b` adds what was reported.

    input_tokens: without the cached ones, as the API counts.
    output_tokens: thinking included.
    cache_read_input_tokens, cache_creation_input_tokens: read from, and written to, the prompt cache.
    ephemeral_1h_input_tokens: those of the written ones that stay for an hour, which costs more.
    web_search_requests: searches that the server ran.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None
    web_search_requests: int | None = None

    @classmethod
    def from_wire(cls, wire: object) -> Usage:
        """Counts from a `usage` object, however incomplete: 3.0 and "3" are 3, null and nonsense are not reported."""
        if not isinstance(wire, Mapping):
            return cls()
        flat = {**wire}
        for name in ("server_tool_use", "cache_creation"):
            if isinstance(part := wire.get(name), Mapping):
                flat.update(part)
        return cls(**{name: _count(flat.get(name)) for name in _USAGE_FIELDS})

    def merged(self, later: Usage) -> Usage:
        """The counts of one reply, of which `later` came later: it wins, but 0 never replaces a positive number."""
        counts = {}
        for name in _USAGE_FIELDS:
            old, new = getattr(self, name), getattr(later, name)
            counts[name] = old if new is None or (new == 0 and old) else new
        return Usage(**counts)

    def __add__(self, other: Usage) -> Usage:
        def total(a: int | None, b: int | None) -> int | None:
            return (a or 0) + (b or 0) if (a, b) != (None, None) else None

        return Usage(**{name: total(getattr(self, name), getattr(other, name)) for name in _USAGE_FIELDS})

    @property
    def prompt_tokens(self) -> int | None:
        """All tokens of the prompt, cached ones included."""
        parts = (self.input_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens)
        return sum(part or 0 for part in parts) if self.input_tokens is not None else None

    def __str__(self) -> str:
        """`1,204 in (980 cached) · 310 out`, or what of it was reported."""
        prompt = self.prompt_tokens
        if prompt is None and self.output_tokens is None:
            return "usage not reported"
        cached = [
            f"{count:,} {word}"
            for count, word in (
                (self.cache_read_input_tokens, "cached"),
                (self.cache_creation_input_tokens, "written to cache"),
            )
            if count
        ]
        parts = [
            "input not reported" if prompt is None else f"{prompt:,} in",
            "output not reported" if self.output_tokens is None else f"{self.output_tokens:,} out",
        ]
        if cached:
            parts[0] += f" ({', '.join(cached)})"
        if self.web_search_requests:
            parts.append(f"web searches: {self.web_search_requests}")
        return " · ".join(parts)


_USAGE_FIELDS = tuple(field.name for field in fields(Usage))


def _count(value: object) -> int | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        count = int(float(value))  # type: ignore[arg-type]  # whatever float() refuses is not a count
    except (TypeError, ValueError, OverflowError):
        return None
    return count if count >= 0 else None


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
class Call:
    """A call of a tool, as it is shown.

    arguments: as the model gave them.        result: what went back, as text; pictures are named in it.
    problem: why there is no result, in words; "" if there is one.        took_s: seconds; None if it was not run.
    """

    name: str
    arguments: Any
    result: str = ""
    problem: str = ""
    took_s: float | None = None

    @property
    def line(self) -> str:
        """`query(sql='SELECT …') → 3 rows · 0.02 s`, on one line."""
        outcome = self.problem or " ".join(self.result.split())
        return f"{_short(self.said)} → {_short(outcome)}{self._took()}"

    def _took(self) -> str:
        if self.took_s is None:
            return ""
        return " · < 0.01 s" if self.took_s < 0.01 else f" · {self.took_s:.{2 if self.took_s < 10 else 0}f} s"

    @property
    def given(self) -> str:
        """The arguments, a line each; texts as they stand."""
        if not isinstance(self.arguments, Mapping):
            return str(self.arguments)
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in self.arguments.items()}
        return "\n".join(f"{name} = {text}" for name, text in texts.items())

    @property
    def said(self) -> str:
        """The call as Python would write it."""
        given = self.arguments if isinstance(self.arguments, Mapping) else {"": self.arguments}
        return (
            f"{self.name}({', '.join(f'{name}={value!r}' if name else repr(value) for name, value in given.items())})"
        )


SHORT = 90  # characters of a call, and of its result, in the line that opens to show them


def _short(text: str) -> str:
    line = " ".join(clean(text).split())
    return line if len(line) <= SHORT else f"{line[: SHORT - 1]}…"


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
        return not self.incomplete and self.stop_reason in _WHOLE and bool(self.text.strip())

    @property
    def ending(self) -> str:
        """How the reply ended, in words, or "" when it ended as replies do."""
        if self.incomplete:
            return self.incomplete
        details = self.stop_details or {}
        match self.stop_reason:
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
SHOWN_QUESTION = 20_000  # characters of what was sent that its line opens to
SHOWN_CHARACTERS = 200_000  # beyond it, a browser needs seconds for one reply


def to_markdown(message: Message, *, show_usage: bool = True, remote_images: bool = False) -> str:
    """A reply as safe Markdown: collapsed thinking, text, how it ended, usage."""
    parts = []
    if message.thinking:
        thinking = safe_markdown(message.thinking[:SHOWN_CHARACTERS], remote_images=remote_images)
        parts.append(f"<details><summary>Thinking</summary>\n\n{thinking}\n\n</details>")
    text, more = shown(message.text)
    for step in message.steps():
        if isinstance(step, Call):
            parts.append(_call(step))
        elif step is message and text:
            parts.append(safe_markdown(text, remote_images=remote_images))
        elif step is not message and step.text.strip():
            parts.append(safe_markdown(step.text[:SHOWN_CHARACTERS].strip("\n"), remote_images=remote_images))
    parts += [f"> **{escaped(note)}**" for note in [*more, *message.notes()]]
    return "\n\n".join([*parts, *(_account(message) if show_usage else [])])


def value_markdown(message: Message, *, show_usage: bool = True) -> str:
    """What stands below a value that is shown by itself: notes, usage, and the reply that it was read from."""
    calls = [_call(step) for step in message.steps() if isinstance(step, Call)]
    notes = [f"> **{escaped(note)}**" for note in message.notes()]
    head = f"<details><summary><small>reply, read as {escaped(message.as_type)}</small></summary>"
    raw = quoted(beginning(message.text, SHOWN_CHARACTERS), "json")
    account = _account(message) if show_usage else []
    return "\n\n".join([*calls, *notes, *account, head, raw, "</details>"])


def _account(message: Message) -> list[str]:
    if message.receipt.question is None:
        return ["<br>".join(f"<small>{escaped(line)}</small>" for line in message.account())]
    return [f"<small>{escaped(message.usage_line())}</small>", _proof(message.receipt)]


def _call(call: Call) -> str:
    """The line of a call; it opens to show the arguments and the result."""
    head = f"<details><summary><small>{escaped(call.line)}</small></summary>"
    told = "\n".join(filter(None, [call.problem, call.result]))
    return "\n\n".join([head, quoted(beginning(f"{call.given}\n\n→ {told}", SHOWN_QUESTION)), "</details>"])


def _proof(receipt: Receipt) -> str:
    """The line that says what was sent; it opens to show just that."""
    pictures = [f"![a picture that was sent]({address})" for address in receipt.thumbnails if address]
    parts = [f"<details><summary><small>sent: {escaped(receipt.sent)}</small></summary>", *pictures]
    return "\n\n".join([*parts, quoted(beginning(receipt.question or "", SHOWN_QUESTION)), "</details>"])


def beginning(text: str, most: int) -> str:
    """As much of it as a page can carry, and how much more there is."""
    return text if len(text) <= most else f"{text[:most]}\n[… {len(text) - most:,} more characters]"


def quoted(text: str, language: str = "text") -> str:
    """A text as a block that shows it as it stands."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    mark = "`" * max(3, longest + 1)
    return safe_markdown(f"{mark}{language}\n{text}\n{mark}")


def to_plain(message: Message, *, show_usage: bool = True) -> str:
    """A reply as text for a terminal: folded, without control characters."""
    text, more = shown(message.told)
    parts = [wrapped(clean(text))] if text else []
    parts += [f"[{clean(note)}]" for note in [*more, *message.notes()]]
    if show_usage:
        parts.append("\n".join(map(clean, message.account())))
    return "\n\n".join(parts)


def dollars(usd: float) -> str:
    """`$12.30`, `$0.21`, `$0.0083`; never $0 for what did cost something."""
    if usd >= 0.1:
        return f"${usd:,.2f}"
    digits = 1 - math.floor(math.log10(usd)) if usd > 0 else 2
    return f"${usd:.{digits}f}"


def shown(text: str) -> tuple[str, list[str]]:
    """As much of a reply as a page can carry, and a note about the rest."""
    if len(text) <= SHOWN_CHARACTERS:
        return text.strip("\n"), []
    note = f"shown: the first {SHOWN_CHARACTERS:,} of {len(text):,} characters; all of it is in comet_magic.last.text"
    return text[:SHOWN_CHARACTERS], [note]


FORMAT, FORCED, TOOL, WORDS, GRAMMAR = "format", "forced", "tool", "words", "grammar"  # how a form is asked for
REPLY_TOOL = "reply"
_BY_TOOL = f"Give your answer by calling the tool {REPLY_TOOL}."
_BY_WORDS = "Reply with nothing but JSON that fits this JSON Schema:\n"


class Form(NamedTuple):
    """The JSON object that a reply is to be.

    schema: its JSON Schema.        strict: the same as structured outputs take it; None where they cannot.
    """

    schema: dict[str, Any]
    strict: dict[str, Any] | None


@dataclass(frozen=True)
class Request:
    """What is asked. None means that the field is not sent, so that the server's own default holds.

    thinking: "off", "adaptive", or a budget in tokens.
    cached: places of messages up to which the endpoint is asked to cache the prompt; at most 4, says the API.
    tools: what the model may call, as on the wire.        may_call: False: not any more, for enough has been called.
    form: what the reply is to be; None for text.        way: how that is asked for.
    """

    model: str
    max_tokens: int
    messages: tuple[Message, ...]
    system: str | None = None
    temperature: float | None = None
    stop_sequences: tuple[str, ...] = ()
    effort: str | None = None
    thinking: str | int | None = None
    stream: bool = True
    cached: tuple[int, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    may_call: bool = True
    form: Form | None = None
    way: str = FORCED

    @cached_property
    def key(self) -> str:
        """The same for the same model, parameters and messages; how a reply travels, or is asked for, is no matter."""
        wire = replace(self, stream=False, cached=(), way=FORCED).to_wire()
        return sha256(json.dumps(wire, sort_keys=True).encode()).hexdigest()

    def to_wire(self) -> dict[str, Any]:
        """The body of POST /v1/messages: these fields, and no null among them."""
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self.max_tokens,
            "messages": [message.to_wire() for message in self.messages],
        }
        for place in self.cached:
            body["messages"][place] = _marked(self.messages[place])
        if self.system:
            body["system"] = self.system
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.stop_sequences:
            body["stop_sequences"] = list(self.stop_sequences)
        if output := self._output_config():
            body["output_config"] = output
        if tools := self._tools():
            body["tools"] = tools
        if choice := self._tool_choice():
            body["tool_choice"] = choice
        if self.instruction and self.messages:
            body["messages"][-1] = _with_text(body["messages"][-1], self.instruction)
        if self.thinking is not None:
            body["thinking"] = _thinking(self.thinking)
        if self.stream:
            body["stream"] = True
        return body

    @property
    def instruction(self) -> str:
        """What is said behind the last message of the form that the reply is to have; "" where nothing is."""
        if self.form is None or self.way not in (TOOL, WORDS):
            return ""
        return _BY_TOOL if self.way == TOOL else _BY_WORDS + json.dumps(self.form.schema, ensure_ascii=False)

    def _output_config(self) -> dict[str, Any]:
        held = self.form and self.way == FORMAT
        form = {"format": {"type": "json_schema", "schema": self.form.strict}} if self.form and held else {}
        return {**({"effort": self.effort} if self.effort else {}), **form}

    def _tools(self) -> list[Mapping[str, Any]]:
        tools = list(self.tools)
        if self.form and self.way in (FORCED, TOOL):
            tools.append({"name": REPLY_TOOL, "description": "Gives the answer.", "input_schema": self.form.schema})
        if not tools:
            # Whoever sends calls and results must say what the tools were, also where they are not offered any more.
            names = {str(block.get("name")): 0 for message in self.messages for block in message.tool_uses}
            gone = "Not there any more."
            tools = [{"name": name, "description": gone, "input_schema": {"type": "object"}} for name in names]
        return tools

    def _tool_choice(self) -> dict[str, Any] | None:
        if self.form and self.way == FORCED:
            return {"type": "tool", "name": REPLY_TOOL}
        is_offered = (self.tools and self.may_call) or (self.form and self.way == TOOL)
        return None if is_offered or not self._tools() else {"type": "none"}


def _with_text(message: dict[str, Any], text: str) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": f"{content}\n\n{text}"}
    return {**message, "content": [*content, {"type": "text", "text": text}]}


def _marked(message: Message) -> dict[str, Any]:
    *blocks, last = message.content
    return {"role": message.role, "content": [*blocks, {**last, "cache_control": {"type": "ephemeral"}}]}


def _thinking(thinking: str | int) -> dict[str, Any]:
    if isinstance(thinking, int):
        return {"type": "enabled", "budget_tokens": thinking}
    return {"type": "disabled" if thinking == "off" else thinking}
