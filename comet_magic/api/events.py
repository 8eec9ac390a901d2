"""Bytes in, `Message` out: the reply to POST /v1/messages, as a stream of events or as one JSON object; no I/O.

The first bytes decide which of the two it is, never the headers: gateways label JSON as text and text as JSON.
Sources: WHATWG HTML, section 9.2.6 (server-sent events); the provider's streaming reference; gateways' deviations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypedDict

from ..errors import APIError, TransportError
from ..messages.message import LONGEST_NAME, ContentBlock, Message, sound_block
from ..messages.usage import Usage
from ..strict_json import json_or_none
from ..text import whole_text
from .error_replies import error_from
from .sse import ServerSentEvent, SSEDecoder


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

PING: StreamEvent = {"type": "ping"}
_BOM = b"\xef\xbb\xbf"


def stream_events(chunks: Iterable[bytes]) -> Iterator[StreamEvent]:
    """Yield the events of a reply, up to `message_stop`. An empty chunk gives a ping.

    Raises: APIError when the body is no Messages reply; TransportError when it is empty.
    """
    chunks = iter(chunks)
    head = bytearray()
    for chunk in chunks:
        if not chunk:
            yield PING
            continue
        head += chunk
        if start := _first_bytes(head):
            break
    else:
        raise TransportError("empty stream: the endpoint ended its reply without a word", "run the cell again")
    if start[:1] in b"{[<\"'" or start[0] > 127:
        body = bytearray(start)
        for chunk in chunks:
            if not chunk:
                yield PING
            body += chunk
        yield {"type": "whole", "message": whole_reply(bytes(body))}
        return
    decoder = SSEDecoder()
    for event in _sse_events(decoder, start, chunks):
        yield event
        if event["type"] == "message_stop":
            return
    if isinstance(stray := json_or_none(bytes(decoder.stray)), dict) and "error" in stray:
        yield {**stray, "type": "error"}  # type: ignore[typeddict-item]  # whatever else the gateway put there


def _first_bytes(head: bytearray) -> bytes:
    """Return `head` from its first telling byte; nothing while there is none."""
    if len(head) < 3 and _BOM.startswith(head):
        return b""
    return bytes(head).removeprefix(_BOM).lstrip()


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


def _stream_event(event: ServerSentEvent) -> Iterator[StreamEvent]:
    data = json_or_none(event.data)
    if isinstance(data, dict):
        if "type" not in data or ("error" in data and data["type"] != "error"):
            data["type"] = "error" if "error" in data else event.event
        yield data  # type: ignore[misc]  # the wire's own JSON
    elif event.event == "error":
        yield {"type": "error", "error": event.data}
    elif event.data.strip() != "[DONE]":
        yield {"type": "unreadable"}


def whole_reply(body: bytes) -> dict[str, Any]:
    """Return the Messages reply in a JSON body. Raises: APIError when it is something else, saying what."""
    hint = "check CometSettings.endpoint: it must be the base URL of a Messages endpoint"
    if body[:1] == b"<":
        title = error_from(200, body.decode("utf-8", "replace")).what
        raise APIError(f"an HTML page came back instead of a reply: {title}", hint, status=200)
    reply = json_or_none(body)
    if isinstance(reply, dict) and "error" in reply and reply.get("type") != "message":
        raise error_from(200, reply)
    if isinstance(reply, dict) and (reply.get("type") == "message" or "content" in reply):
        return reply
    if isinstance(reply, dict):
        kind = reply.get("object") or reply.get("type") or f"an object with {', '.join(map(str, list(reply)[:5]))}"
        raise APIError(f"not a Messages reply: {str(kind)[:80]}", hint, status=200)
    raise APIError(f"not a Messages reply: {len(body):,} bytes that are not whole JSON", hint, status=200)


class MessageBuilder:
    """Folds the events of one reply into a `Message`, which may be asked for at any time. Lives for one reply.

    finished: whether the reply is whole: `message_stop`, or at least a stop reason, has come.
    """

    def __init__(self) -> None:
        self.finished = False
        self._head: dict[str, Any] = {}
        self._usage = Usage()
        self._blocks: dict[int, dict[str, Any]] = {}
        self._parts: dict[int, list[str]] = {}  # the text of a block, as it comes: joined only when asked for
        self._stopped = False
        self._unreadable = self._left_out = 0

    def add(self, event: StreamEvent) -> None:
        kind = event.get("type")
        if kind == "content_block_delta":
            delta = event.get("delta")
            if isinstance(delta, dict):
                self._delta(_index(event), delta)
        elif kind == "content_block_start":
            if isinstance(block := event.get("content_block"), dict):
                self._put(_index(event), block)
        elif kind == "message_start":
            if isinstance(message := event.get("message"), dict):
                self._begin(message)
        elif kind == "message_delta":
            self._finish(event)
        elif kind == "message_stop":
            self._stopped = self.finished = True
        elif kind == "whole":
            self._begin(event["message"])
            self._stopped = self.finished = True
        elif kind == "unreadable":
            self._unreadable += 1

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        kind = delta.get("type")
        field = _GROWING.get(kind) if isinstance(kind, str) else None
        if field:
            parts = self._parts.get(index)
            if parts is None:
                if index not in self._blocks and not self._put(index, _EMPTY_BLOCKS[field]):
                    return
                parts = self._parts[index] = []
            if isinstance(text := delta.get(field), str):
                parts.append(text)
        elif kind == "signature_delta" and isinstance(signature := delta.get("signature"), str):
            self._block(index)["signature"] = signature
        elif kind == "citations_delta":
            citations = self._block(index).setdefault("citations", [])
            if len(citations) < MOST_CITATIONS:
                citations.append(delta.get("citation"))

    def _block(self, index: int) -> dict[str, Any]:
        if index not in self._blocks:
            self._put(index, {"type": "text", "text": ""})
        return self._blocks.get(index, {})

    def _put(self, index: int, block: dict[str, Any]) -> bool:
        """Take a block in, while there is room. Returns: whether there was."""
        if index not in self._blocks and len(self._blocks) >= MOST_BLOCKS:
            self._left_out += 1
            return False
        self._blocks[index] = sound_block(block)
        return True

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
        self._usage = self._usage.merged(Usage.from_wire(event.get("usage")))

    @property
    def text(self) -> str:
        """The text so far, block after block."""
        return whole_text("".join(self._grown(i, block) for i, block in self._ordered() if block.get("type") == "text"))

    @property
    def has_text(self) -> bool:
        """Whether anything has come that a reader would see."""
        return bool(self._parts) or any(block.get("text") for block in self._blocks.values())

    def _ordered(self) -> list[tuple[int, dict[str, Any]]]:
        return sorted(self._blocks.items())

    def _grown(self, index: int, block: dict[str, Any]) -> str:
        start = block.get("text")
        return "".join([start if isinstance(start, str) else "", *self._parts.get(index, ())])

    def message(self, **known: Any) -> Message:
        """Return the message as it stands. known: fields of `Message` that the wire does not carry."""
        warnings: list[str] = []
        if self._unreadable:
            warnings.append(f"events that could not be read, and were skipped: {self._unreadable}")
        if self.finished and not self._stopped:
            warnings.append("the stream ended without message_stop")
        if self._left_out:
            warnings.append(f"blocks beyond the first {MOST_BLOCKS:,} are left out: {self._left_out:,}")
        content = tuple(self._whole_block(index, dict(block)) for index, block in self._ordered())
        unfinished = [block.get("name") for block in content if "partial_json" in block]
        warnings += [f"the arguments of the tool call {name} are unfinished" for name in unfinished[:MOST_WARNINGS]]
        if len(unfinished) > MOST_WARNINGS:
            warnings.append(f"and those of {len(unfinished) - MOST_WARNINGS:,} further calls")
        head = self._head
        details = head.get("stop_details")
        has_text = any(block.get("text") for block in content)
        usage = self._usage.plausible(has_text=has_text)
        return Message(
            role="assistant",
            content=content,
            model=_str(head.get("model")),
            stop_reason=_str(head.get("stop_reason")),
            stop_sequence=_str(head.get("stop_sequence")),
            stop_details=_details(details) if isinstance(details, dict) else None,
            # The count at a stream's beginning is no count of what was written.
            usage=usage if self.finished else usage._replace(output_tokens=None),
            id=_str(head.get("id")),
            warnings=tuple(warnings),
            **known,
        )

    def _whole_block(self, index: int, block: dict[str, Any]) -> ContentBlock:
        parts = self._parts.get(index)
        match block.get("type"):
            case "thinking" if parts:
                block["thinking"] = (block.get("thinking") or "") + "".join(parts)
            case "tool_use" | "server_tool_use" if parts:
                arguments = "".join(parts)
                block["input"] = json_or_none(arguments) if arguments.strip() else {}
                if block["input"] is None:
                    block["input"] = {}
                    block["partial_json"] = arguments
            case "text":
                block["text"] = self._grown(index, block)
        return block  # type: ignore[return-value]  # the wire's own JSON


# Of ours: a tool is called; and: something is to be painted at once, for the user is asked next.
CALL, STEP = StreamEvent(type="call"), StreamEvent(type="step")
_GROWING = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_EMPTY_BLOCKS: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": ""},
    "partial_json": {"type": "tool_use", "input": {}},
}


def _index(event: StreamEvent) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else 0


def _str(value: object) -> str | None:
    return value[:LONGEST_NAME] if isinstance(value, str) and value else None


def _details(details: dict[str, Any]) -> dict[str, str]:
    """Return why a refusal was one, in texts that a line can take."""
    return {name: text[:1000] for name, text in details.items() if isinstance(text, str) and len(name) <= LONGEST_NAME}
