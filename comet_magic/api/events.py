"""Bytes in, `Message` out: the reply to POST /v1/messages, as a stream of events or as one JSON object; no I/O.

The first bytes decide which of the two it is, never the headers: gateways label JSON as text and text as JSON.
Sources: WHATWG HTML, section 9.2.6 (server-sent events); the provider's streaming reference; gateways' deviations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypedDict

from ..errors import APIError, TransportError
from ..messages.message import LONGEST_NAME, ContentBlock, Message, normalized_block
from ..messages.reasoning import split_reasoning
from ..messages.tokens import estimated_tokens
from ..messages.usage import Usage
from ..strict_json import json_or_none
from ..text import lazy_pattern, whole_text
from .error_replies import error_from, says_what_is_wrong
from .reply_body import PING, all_of, beginning, is_one_piece
from .sse import ServerSentEvent, SSEDecoder


class Extra(dict[str, Any]):
    """What a dialect puts beside a block's own fields: no JSON of the wire is ever taken for it."""


class StreamEvent(TypedDict, total=False):
    """One event of a stream, as on the wire; `type` says which keys are there. Unknown ones pass untouched.

    Two types are ours: "whole" (a reply that came as one JSON object, in `message`) and "unreadable" (an event that was
    skipped). A `ping` may be ours, too: it says that nothing came for a moment.
    """

    type: str
    index: int
    message: dict[str, Any]
    content_block: dict[str, Any]
    delta: dict[str, Any]
    usage: dict[str, Any]
    error: Any
    request_id: str


# More than any model writes. What is beyond is left out, and the reply says so.
MOST_BLOCKS, MOST_CITATIONS, MOST_WARNINGS = 1000, 1000, 5

_NO_REPLY = "check CometSettings.endpoint: it must be the base URL of a Messages endpoint"


def stream_events(chunks: Iterable[bytes]) -> Iterator[StreamEvent]:
    """Yield the events of a reply, up to `message_stop`. An empty chunk gives a ping.

    Raises: APIError when the body is no Messages reply; TransportError when it is empty.
    """
    chunks = iter(chunks)
    start = yield from beginning(chunks)
    if is_one_piece(start):
        body = yield from all_of(start, chunks)
        yield from _whole(whole_reply(body))
        return
    decoder = SSEDecoder()
    has_begun = is_whole = is_over = False
    odd = ""  # the last words that were no event
    for event in _until_cut(_sse_events(decoder, start, chunks)):
        if is_over:
            # What already stands behind the end is read, for it may say that it was none; nothing is waited for.
            if event["type"] == "error":
                yield event
            if event is PING or event["type"] == "error":
                return
            continue
        yield event
        odd = event.get("error") or odd if event["type"] == "unreadable" else odd
        has_begun = has_begun or event["type"] not in ("ping", "unreadable")
        is_over = event["type"] == "message_stop"
        is_whole = is_whole or (event["type"] == "message_delta" and _has_reason(event))
    stray = bytes(decoder.stray)
    said = json_or_none(stray)
    if isinstance(said, dict) and said.get("error"):
        yield {**said, "type": "error"}  # type: ignore[typeddict-item]  # whatever else the gateway put there
    elif isinstance(said, dict) and not has_begun and "content" in said:  # behind comments that are server-sent events
        yield from _whole(said)
    elif not (is_whole or is_over) and (stray.strip() or odd):  # in place of a reply, or of its end
        words = error_from(200, stray.decode("utf-8", "replace") if stray.strip() else odd).what
        if has_begun:
            what = f"cut off: the stream ended in the middle of the reply, with the words: {words}"
            raise TransportError(what, "run the cell again", kind="cut")
        raise APIError(f"not a Messages reply: {words}", _NO_REPLY, status=200)


def _whole(message: dict[str, Any]) -> Iterator[StreamEvent]:
    """Yield a reply that came in one piece, and the error that stands in it, if one does."""
    yield {"type": "whole", "message": message}
    if message.get("error"):
        yield {"type": "error", "error": message["error"]}


def _until_cut(events: Iterator[StreamEvent]) -> Iterator[StreamEvent]:
    """Yield the events; a connection that breaks when all has come is no matter."""
    is_over = False
    try:
        for event in events:
            is_over = is_over or event["type"] == "message_stop"
            yield event
    except TransportError:
        if not is_over:
            raise


def _has_reason(event: StreamEvent) -> bool:
    delta = event.get("delta")
    return isinstance(delta, dict) and bool(delta.get("stop_reason"))


def _sse_events(decoder: SSEDecoder, start: bytes, chunks: Iterator[bytes]) -> Iterator[StreamEvent]:
    for event in decoder.feed(start):
        yield from _stream_event(event)
    for chunk in chunks:
        if not chunk:
            yield PING
        for event in decoder.feed(chunk):
            yield from _stream_event(event)
    for event in decoder.flush():
        yield from _stream_event(event)


_HEARTBEATS = frozenset(("", "ping", "pong", "heartbeat", "keepalive", "done", "null", "ok"))  # their letters


def is_heartbeat(data: str) -> bool:
    """Return whether an event's data, which is no JSON object, only says that the endpoint is still there."""
    return re.sub("[^a-z]", "", data[:40].lower()) in _HEARTBEATS


_CHUNKS = "the endpoint answers with chat completions, which are another API's"


def _stream_event(event: ServerSentEvent) -> Iterator[StreamEvent]:
    data = json_or_none(event.data)
    if isinstance(data, dict) and data:
        kind = data.get("type")
        if kind == "message" and "content" in data:
            yield from _whole(data)
            return
        if "choices" in data:
            data = {"type": "error", "error": {"message": _CHUNKS}}
        elif kind != "error" and not data.get("error") and (event.event == "error" or says_what_is_wrong(data)):
            data = {"type": "error", "error": data}
        elif "type" not in data or (data.get("error") and kind != "error"):
            data["type"] = "error" if data.get("error") else event.event
        yield data  # type: ignore[misc]  # the wire's own JSON
    elif is_heartbeat(event.data):
        yield PING
    elif event.event == "error":
        yield {"type": "error", "error": event.data}
    elif "\n" in event.data and any(isinstance(json_or_none(line), dict) for line in event.data.split("\n")):
        for line in event.data.split("\n"):  # events without the empty lines between them
            yield from _stream_event(ServerSentEvent("", line))
    else:
        yield {"type": "unreadable", "error": event.data[:2000]}


def whole_reply(body: bytes, expected: str = "a Messages reply", hint: str = _NO_REPLY) -> dict[str, Any]:
    """Return the Messages reply in a JSON body. Raises: APIError when it is something else, saying what.

    expected: what should have come, in words.
    """
    if body[:1] == b"<":
        title = error_from(200, body.decode("utf-8", "replace")).what
        raise APIError(f"an HTML page came back instead of a reply: {title}", hint, status=200)
    reply = json_or_none(body)
    if isinstance(reply, dict) and reply.get("error") and "content" not in reply:
        raise error_from(200, reply)
    if reply is None and body[:1] not in b"{[":
        words = body.decode("utf-8", "replace").strip()
        reply = words if "".join(words.split()).isprintable() and "\ufffd" not in words else None
    if isinstance(reply, list | str) and reply:
        raise APIError(f"not {expected}: {error_from(200, reply).what}", hint, status=200)
    if isinstance(reply, dict) and (reply.get("type") == "message" or "content" in reply):
        return reply
    if says_what_is_wrong(reply):
        raise error_from(200, reply)
    if isinstance(reply, dict):
        kind = reply.get("object") or reply.get("type") or f"an object with {', '.join(map(str, list(reply)[:5]))}"
        raise APIError(f"not {expected}: {str(kind)[:80]}", hint, status=200)
    raise APIError(f"not {expected}: {len(body):,} bytes that are not whole JSON", hint, status=200)


class _Block:
    """One content block while it streams: its start event, and the deltas since, joined only when asked for."""

    def __init__(self, began: Mapping[str, Any]) -> None:
        self.began = normalized_block(began)
        self.parts: list[str] = []
        self.is_closed = False  # no delta of its own will come
        self.citations: list[Any] = list(self.began.get("citations", ()))[:MOST_CITATIONS]

    @property
    def type(self) -> str:
        return str(self.began["type"])

    @property
    def text(self) -> str:
        return "".join([self.began.get("text", ""), *self.parts])

    def whole(self) -> ContentBlock:
        block = dict(self.began)
        if self.type == "text":
            block["text"] = self.text
        elif self.type == "thinking":
            block["thinking"] = "".join([block.get("thinking", ""), *self.parts])
        elif self.type.endswith("tool_use"):
            block = _call(block, "".join(self.parts))
        if self.citations:
            block["citations"] = self.citations
        return block  # type: ignore[return-value]  # the wire's own JSON


class MessageBuilder:
    """Folds the events of one reply into a `Message`, which may be asked for at any time. Lives for one reply.

    Blocks stand in the order in which they began. A start always begins one, also at an index that is in use, and a
    delta never changes one of another type. What is painted is always the beginning of what is kept, unless the
    endpoint begins anew: so the text of a block waits until those before it have ended.
    finished: whether the reply is whole: `message_stop`, or at least a stop reason, has come.
    """

    def __init__(self) -> None:
        self.finished = False
        self._head: dict[str, Any] = {}
        self._usage, self._former_usage = Usage(), Usage()
        self._final_output: int | None = None  # the count of a stream's end, which the one at its beginning is none of
        self._blocks: list[_Block] = []
        self._latest: dict[tuple[int, str], _Block] = {}  # the last block of a type at an index
        self._open: dict[int, _Block] = {}  # the last block at an index
        self._stopped = False
        self._unreadable = self._left_out = self._restarts = 0

    def add(self, event: StreamEvent) -> None:
        kind = event.get("type")
        if kind == "content_block_delta":
            delta = event.get("delta")
            if isinstance(delta, dict):
                self._delta(_index(event), delta)
        elif kind == "content_block_start":
            if isinstance(block := event.get("content_block"), dict):
                self._put(_index(event), block)
        elif kind == "content_block_stop":
            self._close(_index(event))
        elif kind == "message_start":
            if isinstance(message := event.get("message"), dict):
                self._start(message)
        elif kind == "message_delta":
            self._finish(event)
        elif kind == "message_stop":
            self._stopped = self.finished = True
        elif kind == "whole":
            self._begin(event["message"])
            self._final_output = self._usage.output_tokens
            self._stopped = self.finished = True
        elif kind == "unreadable":
            self._unreadable += 1

    def _start(self, message: dict[str, Any]) -> None:
        """Begin, or begin anew: a gateway that lost its upstream puts a second reply behind the first."""
        if self._head and message.get("id") == self._head.get("id") and (message.get("id") or not self.finished):
            return
        if self._blocks:
            self._restarts += 1
            written = sum(estimated_tokens(block.text) for block in self._blocks)
            former = self._usage._replace(output_tokens=max(written, self._usage.output_tokens or 0))
            self._former_usage = self._former_usage + former
            self._blocks, self._latest, self._open = [], {}, {}
        self.finished = self._stopped = False
        self._final_output = None
        self._begin(message)

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        kind = delta.get("type")
        if kind == "text_delta":  # most are, and their block is open
            block = self._latest.get((index, "text"))
            text = delta.get("text")
            if block is not None and not block.is_closed and type(text) is str:
                block.parts.append(text)
                return
        field = _GROWING.get(kind.removesuffix("_delta")) if isinstance(kind, str) else None
        if not isinstance(kind, str):
            field = next((name for name in _OF_TYPE if isinstance(delta.get(name), str)), None)
        if field:
            text = delta.get(field)
            if field == "partial_json" and isinstance(text, dict):
                text = json.dumps(text)
            if isinstance(text, str) and text and (block := self._growing(index, _OF_TYPE[field])):
                block.parts.append(text)
        elif (
            kind == "extra_delta"
            and (owner := self._open.get(index))
            and isinstance(extra := delta.get("extra"), Extra)
        ):
            owner.began["extra"] = Extra({**owner.began.get("extra", {}), **extra})
        elif kind == "signature_delta" and isinstance(signature := delta.get("signature"), str):
            if block := self._growing(index, "thinking"):
                block.began["signature"] = signature
        elif kind == "citations_delta" and (block := self._latest.get((index, "text"))):
            if len(block.citations) < MOST_CITATIONS:
                block.citations.append(delta.get("citation"))

    def _growing(self, index: int, type_of_block: str) -> _Block | None:
        """Return the block that a delta belongs to; a new one where there is none of its type that may still grow."""
        block = self._latest.get((index, type_of_block))
        if type_of_block == "tool_use" and (at_index := self._open.get(index)):
            # Arguments belong to whatever stands there that may have any, under whatever name.
            block = block if at_index.type in ("text", "thinking") else at_index
        may_grow = block is not None and (not block.is_closed or block is self._blocks[-1])
        return block if may_grow else self._put(index, {"type": type_of_block})

    def _close(self, index: int) -> None:
        """Note that the last block at an index has ended; those before it ended when it began."""
        if block := self._open.get(index):
            block.is_closed = True

    def _put(self, index: int, began: Mapping[str, Any]) -> _Block | None:
        """Begin a block, while there is room for one."""
        if len(self._blocks) >= MOST_BLOCKS:
            self._left_out += 1
            return None
        self._close(index)
        if "extra" in began and not isinstance(began["extra"], Extra):
            began = {name: value for name, value in began.items() if name != "extra"}
        block = _Block(began)
        self._blocks.append(block)
        self._latest[index, block.type] = self._open[index] = block
        return block

    def _begin(self, message: dict[str, Any]) -> None:
        self._head = message
        self._usage = Usage.from_wire(message.get("usage"))
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        for index, block in enumerate(content if isinstance(content, list) else []):
            if isinstance(block, dict):
                self._put(index, block)

    def _finish(self, event: StreamEvent) -> None:
        if isinstance(delta := event.get("delta"), dict):
            self._head = {**self._head, **{key: value for key, value in delta.items() if value is not None}}
            self.finished = self.finished or bool(delta.get("stop_reason"))
        usage = Usage.from_wire(event.get("usage"))
        self._final_output = usage.output_tokens or self._final_output or usage.output_tokens
        self._usage = self._usage.merged(usage)

    @property
    def text(self) -> str:
        """The answer so far, without the reasoning that stands in it."""
        texts = [block for block in self._blocks if block.type == "text"]
        if not self.finished:
            open_ones = (number for number, block in enumerate(texts) if not block.is_closed)
            texts = texts[: next(open_ones, len(texts)) + 1]
        text = "".join(block.text for block in texts)
        return whole_text(split_reasoning(text, is_growing=not self.finished).answer)

    @property
    def has_text(self) -> bool:
        """Whether anything has come that a reader would see."""
        return any(block.parts or block.began.get("text") for block in self._blocks)

    def message(self, **known: Any) -> Message:
        """Return the message as it stands. known: fields of `Message` that the wire does not carry."""
        warnings: list[str] = []
        if self._unreadable:
            warnings.append(f"events that could not be read, and were skipped: {self._unreadable}")
        if self.finished and not self._stopped:
            warnings.append("the stream ended without message_stop")
        if self._left_out:
            warnings.append(f"blocks beyond the first {MOST_BLOCKS:,} are left out: {self._left_out:,}")
        if self._restarts:
            warnings.append("the endpoint began its reply anew; what came before is left out")
        content = _without_reasoning(_once([block.whole() for block in self._blocks]), warnings)
        unfinished = [block.get("name") for block in content if "partial_json" in block]
        warnings += [f"the arguments of the tool call {name} are unfinished" for name in unfinished[:MOST_WARNINGS]]
        if len(unfinished) > MOST_WARNINGS:
            warnings.append(f"and those of {len(unfinished) - MOST_WARNINGS:,} further calls")
        head = self._head
        details = head.get("stop_details")
        reason = _str(head.get("stop_reason"))
        output = self._final_output if self.finished else None
        is_written = any(block.get("text") or block.get("thinking") or "input" in block for block in content)
        if output == 0 and not is_written:
            output = self._usage.output_tokens  # the beginning knew better
        usage = self._usage._replace(output_tokens=output)
        usage = usage.plausible(has_text=is_written, most=known.get("limit"))
        return Message(
            role="assistant",
            content=tuple(content),
            model=_str(head.get("model")),
            stop_reason=STOP_REASONS.get(reason.lower(), reason) if reason else None,
            stop_sequence=_str(head.get("stop_sequence")),
            stop_details=_details(details) if isinstance(details, dict) else None,
            usage=usage + self._former_usage if self._restarts else usage,
            id=_str(head.get("id")),
            warnings=tuple(warnings),
            **known,
        )


# Of ours: a tool is called; and: something is to be painted at once, for the user is asked next.
CALL, STEP = StreamEvent(type="call"), StreamEvent(type="step")
_GROWING = {"text": "text", "thinking": "thinking", "input_json": "partial_json"}  # of a delta's type, its field
_OF_TYPE = {"text": "text", "thinking": "thinking", "partial_json": "tool_use"}  # of a delta's field, the block's type
# Other APIs' words, which gateways pass through.
STOP_REASONS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "complete", "completed"), "end_turn"),
    **dict.fromkeys(("length", "max_output_tokens", "max_completion_tokens"), "max_tokens"),
    **dict.fromkeys(("tool_calls", "tool_call", "function_call"), "tool_use"),
    **dict.fromkeys(("content_filter", "safety", "recitation", "prohibited_content", "blocklist"), "refusal"),
    "max_tokens": "max_tokens",
}


def _call(block: dict[str, Any], written: str) -> dict[str, Any]:
    """Return the block of a call with its arguments as an object, in whatever shape they came."""
    given = block.get("input")
    came = written if written.strip() else given if isinstance(given, str) else ""
    value = _arguments(came) if came else (given if isinstance(given, dict) else {})
    if not value and isinstance(given, dict) and given:  # they stood in the start
        value = given
    return {**block, "input": value} if value is not None else {**block, "input": {}, "partial_json": came}


_BLANKS = lazy_pattern(r"\s*")
_LAX = json.JSONDecoder(strict=False, parse_constant=lambda name: None)  # with line ends in texts


def _arguments(text: str, depth: int = 2) -> dict[str, Any] | None:
    """Return the arguments in a text: JSON, or JSON as a text in JSON; once, twice, or behind `{}`; None for none."""
    at, values, found, end = 0, 0, list[dict[str, Any]](), len(text.rstrip())
    try:
        while at < end and len(found) < 5:
            at = _BLANKS.match(text, at).end()  # type: ignore[union-attr]  # it always matches
            value, at = _LAX.raw_decode(text, at)
            values += 1
            if values > 20:
                return None
            if isinstance(value, str) and value.strip() and depth:
                value = _arguments(value, depth - 1)
            if value in (None, "", []):
                value = {}
            if not isinstance(value, dict):
                return None
            if value and value not in found:
                found.append(value)
    except (ValueError, RecursionError):
        return None
    if len(found) > 1 or at < end:
        return None
    return json_or_none(json.dumps(found[0])) if found else {}


def _once(blocks: list[ContentBlock]) -> list[ContentBlock]:
    """Return the blocks with each call but once: a gateway that repeats one repeats its id and its input."""
    seen: set[str] = set()
    kept = []
    for block in blocks:
        if block["type"] == "tool_use" and block.get("id") and "partial_json" not in block:
            mark = json.dumps([block.get("id"), block.get("name"), block.get("input")], sort_keys=True)
            if mark in seen:
                continue
            seen.add(mark)
        kept.append(block)
    return kept


def _without_reasoning(blocks: list[ContentBlock], warnings: list[str]) -> list[ContentBlock]:
    """Return the blocks with the reasoning in their text as a block of thinking."""
    texts = [block for block in blocks if block["type"] == "text"]
    parts = split_reasoning("".join(block.get("text") or "" for block in texts))
    if (
        not parts.thinking
        and not parts.is_open
        and len(parts.answer) == sum(len(block["text"] or "") for block in texts)
    ):
        return blocks
    if parts.is_open:
        warnings.append("its reasoning was not closed, so the reply is only a part")
    thinking: ContentBlock = {"type": "thinking", "thinking": parts.thinking}
    first = blocks.index(texts[0]) if texts else 0
    citations = [citation for block in texts for citation in block.get("citations") or ()]
    answer: ContentBlock = {"type": "text", "text": parts.answer, **({"citations": citations} if citations else {})}
    others = [block for block in blocks[first:] if block["type"] != "text"]
    return [*blocks[:first], *([thinking] if parts.thinking else []), *([answer] if parts.answer else []), *others]


def _index(event: StreamEvent) -> int:
    index = event.get("index")
    if isinstance(index, int):
        return index
    try:
        return int(float(index)) if isinstance(index, str | float) else 0
    except (ValueError, OverflowError):
        return 0


def _str(value: object) -> str | None:
    return value[:LONGEST_NAME] if isinstance(value, str) and value else None


def _details(details: dict[str, Any]) -> dict[str, str]:
    """Return why a refusal was one, in texts that a line can take."""
    return {name: text[:1000] for name, text in details.items() if isinstance(text, str) and len(name) <= LONGEST_NAME}
