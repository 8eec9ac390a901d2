"""Bytes of a chat completion → events of Messages, as `events` has them: everything above sees no other.

Sources: POST /v1/chat/completions of OpenAI's reference, and what other vendors and gateways make of it, as their
public reports tell: no `finish_reason`, no `index`, usage in each chunk, an error behind a 200.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import TransportError
from ..messages.usage import count_of
from ..strict_json import json_or_none
from .events import Extra, StreamEvent, is_heartbeat, whole_reply
from .inline_pictures import Picture, PictureCutter
from .reply_body import PING, all_of, beginning, dicts, is_one_piece, objects_of, server_sent
from .sse import ServerSentEvent

GRACE_S = 3.0  # seconds of silence behind a finish reason that may still bring the usage
WITHOUT_A_REASON = "the reply ended without saying why, so it may be only a part"
CUT = "cut off: the stream ended in the middle of the reply"
HINT = "check CometSettings.endpoint, or name the dialect of the model in CometSettings.dialects"
_REASONS = {
    "stop": "end_turn", "eos": "end_turn", "tool_calls": "end_turn", "function_call": "end_turn",
    "length": "max_tokens", "content_filter": "refusal",
}  # fmt: skip
_PLAIN = frozenset(("role", "content"))
_THOUGHTS = ("reasoning_content", "reasoning")  # gateways send both, with the same in them


def chat_events(chunks: Iterable[bytes]) -> Iterator[StreamEvent]:
    """Yield the events that the Messages API would have sent. An empty chunk gives a ping.

    Raises: APIError when the body is no chat completion; TransportError when it is empty, or ends without a reason.
    """
    chunks = iter(chunks)
    start = yield from beginning(chunks)
    if is_one_piece(start):
        body = yield from all_of(start, chunks)
        yield from _whole(body)
        return
    translation = _Translation()
    finished_at: float | None = None
    events = server_sent(start, chunks)
    is_done = False
    try:
        for event in events:
            if event is None:
                if is_done or (finished_at is not None and time.monotonic() - finished_at > GRACE_S):
                    break
                yield PING
                continue
            if is_done:  # what stands behind the end is read, for it may say that it was none
                event = event if "error" in event.data[:200] else ServerSentEvent("", "")
            data = event.data
            if data.lstrip()[:6] == "[DONE]":
                is_done = True
                continue
            if chunks_of_event := objects_of(data):
                for chunk in chunks_of_event:
                    yield from translation.chunk(chunk, event.event)
                if finished_at is None and translation.reason:
                    finished_at = time.monotonic()
            elif event.event == "error":
                yield {"type": "error", "error": data}
            elif not is_heartbeat(data):
                yield {"type": "unreadable", "error": data[:2000]}
    except TransportError:
        if not translation.reason:
            yield from translation.end_of_parts()
            raise
    yield from translation.end(is_done=is_done)


def _whole(body: bytes) -> Iterator[StreamEvent]:
    reply = json_or_none(body)
    if not isinstance(reply, dict) or not isinstance(reply.get("choices"), list):
        yield {"type": "whole", "message": whole_reply(body, "a chat completion", HINT)}
        return
    translation = _Translation()
    yield from translation.chunk(reply, "")
    yield from translation.end(is_done=True)


class _Call:
    """A call of a tool while it is put together."""

    def __init__(self) -> None:
        self.id = self.name = self.arguments = ""
        self.sent = 0  # characters of the arguments that were passed on
        self.index: int | None = None  # of its block, once that has begun
        self.extra: dict[str, Any] = {}


class _Translation:
    """One reply, chunk by chunk. reason: its finish reason, "" until there is one. Lives for one reply."""

    def __init__(self) -> None:
        self.reason = ""
        self._has_begun = False
        self._blocks = -1  # the index of the last block
        self._type = ""  # of the last block, where it is of text or thinking
        self._thought_field = ""
        self._usage: dict[str, Any] = {}
        self._refusal: list[str] = []
        self._cutter = PictureCutter()
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_index: dict[int, _Call] = {}

    def chunk(self, chunk: dict[str, Any], event: str) -> Iterator[StreamEvent]:
        if (error := _error_in(chunk)) or event == "error":
            yield from self.end_of_parts()
            yield {"type": "error", "error": error or chunk}
            return
        if not self._has_begun and ("choices" in chunk or "usage" in chunk):
            self._has_begun = True
            message: dict[str, Any] = {"id": chunk.get("id"), "model": chunk.get("model"), "content": []}
            yield {"type": "message_start", "message": message}
        if usage := chunk.get("usage"):
            self._usage = usage if isinstance(usage, dict) else {}
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict) or choice.get("index"):
            choice = next((one for one in dicts(choices) if not _index_of(one)), None)
        if choice is None:
            return
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            text = delta.get("content")
            if text and type(text) is str and self._type == "text" and delta.keys() <= _PLAIN:  # as most are
                yield from self._text(text)
            else:
                yield from self._delta(delta)
        if reason := choice.get("finish_reason"):
            self.reason = str(reason)

    def _delta(self, delta: dict[str, Any]) -> Iterator[StreamEvent]:
        names = (self._thought_field, *_THOUGHTS) if self._thought_field else _THOUGHTS
        for name in names:
            if isinstance(thought := delta.get(name), str) and thought:
                self._thought_field = name
                yield from self._block("thinking", {"type": "thinking", "extra": Extra(field=name)})
                yield _text_delta(self._blocks, "thinking", thought)
                break
        else:
            if not self._thought_field and (thought := _details(delta.get("reasoning_details"))):
                yield from self._block("thinking", {"type": "thinking"})
                yield _text_delta(self._blocks, "thinking", thought)
        content = delta.get("content")
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, str):
                yield from self._text(part)
            elif isinstance(part, dict):
                yield from self._part(part)
        for picture in dicts(delta.get("images")):
            yield from self._part(picture)
        if isinstance(refusal := delta.get("refusal"), str):
            self._refusal.append(refusal)
        for note in dicts(delta.get("annotations")):
            if isinstance(cited := note.get("url_citation"), dict) and self._type == "text":
                citation = {"url": cited.get("url"), "title": cited.get("title") or cited.get("url")}
                yield {
                    "type": "content_block_delta", "index": self._blocks,
                    "delta": {"type": "citations_delta", "citation": citation},
                }  # fmt: skip
        for entry in dicts(delta.get("tool_calls")):
            yield from self._call(entry)
        if isinstance(old := delta.get("function_call"), dict):
            yield from self._call({"index": 0, "function": old})

    def _part(self, part: dict[str, Any]) -> Iterator[StreamEvent]:
        address = part.get("image_url")
        address = address.get("url") if isinstance(address, dict) else address
        if isinstance(address, str) and address.startswith("data:"):
            yield from self._text(f"![image]({address})")
        elif isinstance(text := part.get("text"), str):
            yield from self._text(text)

    # ---- blocks

    def _block(self, kind: str, began: StreamEvent | dict[str, Any]) -> Iterator[StreamEvent]:
        """Begin a block, unless one of that type is the last."""
        if self._type != kind:
            yield from self._end_block()
            self._blocks += 1
            self._type = kind
            yield {"type": "content_block_start", "index": self._blocks, "content_block": dict(began)}

    def _end_block(self) -> Iterator[StreamEvent]:
        if self._type:
            yield {"type": "content_block_stop", "index": self._blocks}
            self._type = ""

    def _text(self, text: str) -> Iterator[StreamEvent]:
        for part in self._cutter.feed(text):
            yield from self._text_or_picture(part)

    def _text_or_picture(self, part: str | Picture) -> Iterator[StreamEvent]:
        if isinstance(part, Picture):
            yield from self._end_block()
            self._blocks += 1
            source = {"type": "base64", **part._asdict()}
            block = {"type": "image", "source": source}
            yield {"type": "content_block_start", "index": self._blocks, "content_block": block}
            yield {"type": "content_block_stop", "index": self._blocks}
        elif part:
            if self._type != "text":
                yield from self._block("text", {"type": "text", "text": ""})
            yield _text_delta(self._blocks, "text", part)

    # ---- calls of tools

    def _call(self, entry: dict[str, Any]) -> Iterator[StreamEvent]:
        """Put a fragment to the call that it is of: by its id, else by its index, else to the last."""
        function = entry.get("function") if isinstance(entry.get("function"), dict) else entry
        key, name = _word(entry.get("id")), _word((function or {}).get("name"))
        index = _index_of(entry)
        here = self._by_index.get(index) if index is not None else (self._calls[-1] if self._calls else None)
        if key in self._by_id:
            call = self._by_id[key]
        elif here is None or (name and _is_another(here, key, (function or {}).get("arguments"))):
            call = _Call()
            self._calls.append(call)
        else:
            call = here
        call.id, call.name = call.id or key, call.name or name
        arguments = (function or {}).get("arguments")
        call.arguments += json.dumps(arguments) if isinstance(arguments, dict) else _text_of(arguments)
        if key:
            self._by_id[key] = call
        if index is not None:
            self._by_index[index] = call
        extra = {"extra_content": entry["extra_content"]} if entry.get("extra_content") else {}
        call.extra.update(extra)
        if call.name:
            yield from self._passed_on(call, extra)

    def _passed_on(self, call: _Call, extra: dict[str, Any]) -> Iterator[StreamEvent]:
        """Begin the block of a call, and pass on what is new of its arguments."""
        if call.index is None:
            yield from self._end_block()
            self._blocks += 1
            call.index = self._blocks
            block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            if call.extra:
                block["extra"] = Extra(call.extra)
            yield {"type": "content_block_start", "index": call.index, "content_block": block}
        elif extra:
            late: dict[str, Any] = {"type": "extra_delta", "extra": Extra(extra)}
            yield {"type": "content_block_delta", "index": call.index, "delta": late}
        if more := call.arguments[call.sent :]:
            call.sent = len(call.arguments)
            delta = {"type": "input_json_delta", "partial_json": more}
            yield {"type": "content_block_delta", "index": call.index, "delta": delta}

    # ---- the end

    def end_of_parts(self) -> Iterator[StreamEvent]:
        for part in self._cutter.close():
            yield from self._text_or_picture(part)
        for call in self._calls:
            if call.index is None and call.arguments:
                yield from self._passed_on(call, {})
        yield from self._end_block()

    def end(self, *, is_done: bool) -> Iterator[StreamEvent]:
        """Yield how it ended. Raises: TransportError where nothing said that it was the end."""
        yield from self.end_of_parts()
        if not self._has_begun and not is_done:
            raise TransportError(f"{CUT}, before its first word", "run the cell again", kind="cut")
        if not self.reason:
            what = WITHOUT_A_REASON if is_done else CUT
            yield {"type": "message_delta", "delta": {}, "usage": usage_of(self._usage)}
            raise TransportError(what, "run the cell again", kind="cut")
        delta: dict[str, Any] = {"stop_reason": _REASONS.get(self.reason.lower(), self.reason)}
        if self._refusal and (said := "".join(self._refusal)):
            delta.update(stop_reason="refusal", stop_details={"explanation": said})
        elif delta["stop_reason"] == "refusal":
            delta["stop_details"] = {"category": "content filter"}
        elif self._calls and delta["stop_reason"] == "end_turn":
            delta["stop_reason"] = "tool_use"
        yield {"type": "message_delta", "delta": delta, "usage": usage_of(self._usage)}
        yield {"type": "message_stop"}


def _text_delta(index: int, kind: str, text: str) -> StreamEvent:
    return {"type": "content_block_delta", "index": index, "delta": {"type": f"{kind}_delta", kind: text}}


def _error_in(chunk: dict[str, Any]) -> object:
    """Return what a chunk says is wrong, in whatever shape; None where it says nothing."""
    if error := chunk.get("error"):
        return error
    if chunk.get("error_message") or chunk.get("error_type"):
        return {"type": chunk.get("error_type"), "message": chunk.get("error_message") or chunk.get("error_type")}
    is_none = "choices" not in chunk and "usage" not in chunk
    return chunk if is_none and (chunk.get("message") or chunk.get("msg") or chunk.get("detail")) else None


def _details(details: object) -> str:
    return "".join(_text_of(part.get("text") or part.get("summary")) for part in dicts(details))


def _is_another(call: _Call, key: str, arguments: object) -> bool:
    """Return whether a fragment with a name is of another call than the one at its index."""
    if key:
        return bool(call.id) and call.id != key
    return bool(arguments) and isinstance(json_or_none(call.arguments), dict)


def _index_of(entry: dict[str, Any]) -> int | None:
    return count_of(entry.get("index"))


def _word(value: object) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""


def _text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def usage_of(usage: dict[str, Any]) -> dict[str, Any]:
    """Return the counts under the names of Messages. What is read from a cache is a part of `prompt_tokens`.

    Where the total is more than prompt and completion, the difference is reasoning that is counted by itself.
    """
    prompt, completion, total = (count_of(usage.get(f"{name}_tokens")) for name in ("prompt", "completion", "total"))
    of_prompt = details if isinstance(details := usage.get("prompt_tokens_details"), dict) else {}
    of_completion = details if isinstance(details := usage.get("completion_tokens_details"), dict) else {}
    cached = count_of(of_prompt.get("cached_tokens")) or count_of(usage.get("prompt_cache_hit_tokens"))
    written = count_of(of_prompt.get("cache_write_tokens"))
    counts: dict[str, Any] = {"input_tokens": prompt, "output_tokens": completion}
    if prompt is not None:
        rest = prompt - (cached or 0) - (written or 0)
        counts["input_tokens"] = rest if rest >= 0 else prompt  # some leave the cached ones out by themselves
    if total is not None and prompt is not None and completion is not None and total > prompt + completion:
        counts["output_tokens"] = total - prompt
        counts["reasoning_tokens"] = total - prompt - completion
    counts["reasoning_tokens"] = count_of(of_completion.get("reasoning_tokens")) or counts.get("reasoning_tokens")
    counts.update(cache_read_input_tokens=cached, cache_creation_input_tokens=written)
    return {name: count for name, count in counts.items() if count is not None}
