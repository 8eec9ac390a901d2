"""Bytes of a reply of POST /v1/responses → events of Messages, as `events` has them. Source: OpenAI's reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import TransportError
from ..strict_json import json_or_none
from .chat_events import CUT, HINT, usage_of
from .error_replies import says_what_is_wrong
from .events import Extra, StreamEvent, is_heartbeat, whole_reply
from .reply_body import PING, all_of, beginning, dicts, is_one_piece, objects_of, server_sent

_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_INCOMPLETE = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}


def responses_events(chunks: Iterable[bytes]) -> Iterator[StreamEvent]:
    """Yield the events that the Messages API would have sent. An empty chunk gives a ping.

    Raises: APIError when the body is none of these replies; TransportError when it is empty, or ends before its end.
    """
    chunks = iter(chunks)
    start = yield from beginning(chunks)
    translation = _Translation()
    if is_one_piece(start):
        body = yield from all_of(start, chunks)
        reply = json_or_none(body)
        if not isinstance(reply, dict) or not isinstance(reply.get("output"), list):
            yield {"type": "whole", "message": whole_reply(body, "a reply of /v1/responses", HINT)}
            return
        for index, item in enumerate(reply["output"]):
            if isinstance(item, dict):
                yield from translation.done(index, item)
        yield from translation.end(reply)
        return
    for event in server_sent(start, chunks):
        if event is None:
            yield PING
        elif objects := objects_of(event.data):
            for data in objects:
                yield from translation.event(data, event.event)
            if translation.is_over:
                return
        elif event.event == "error":
            yield {"type": "error", "error": event.data}
        elif not is_heartbeat(event.data):
            yield {"type": "unreadable", "error": event.data[:2000]}
    raise TransportError(CUT, "run the cell again", kind="cut")


class _Translation:
    """One reply, event by event. is_over: whether its end has come. Lives for one reply."""

    def __init__(self) -> None:
        self.is_over = False
        self._has_begun = self._has_calls = False
        self._refusal: list[str] = []
        self._written: dict[tuple[int, str], int] = {}  # characters that came of an item, by its index and the field
        self._blocks: dict[tuple[int, str], int] = {}  # the index of each block, by its item's index and its type
        self._of_item: dict[str, int] = {}  # an item's index by its id

    def event(self, data: dict[str, Any], name: str) -> Iterator[StreamEvent]:
        kind = str(data.get("type") or name)
        is_ours = kind.startswith("response.")
        if kind == "error" or (not is_ours and (data.get("error") or says_what_is_wrong(data))):
            yield {"type": "error", "error": data.get("error") or data}
        elif kind in _ENDS:
            response = data.get("response")
            yield from self.end(response if isinstance(response, dict) else data)
        elif kind in ("response.created", "response.in_progress"):
            yield from self._begin(data.get("response"))
        elif kind == "response.output_item.added" and isinstance(item := data.get("item"), dict):
            index = self._index(data, item)
            if item.get("type") == "function_call":
                yield from self._call_begun(index, item)
        elif kind == "response.output_item.done" and isinstance(item := data.get("item"), dict):
            yield from self.done(self._index(data, item), item)
        elif kind == "response.function_call_arguments.done" and isinstance(text := data.get("arguments"), str):
            index = self._index(data, {})
            if (index, "tool_use") in self._blocks:
                yield from self._rest(index, "tool_use", "input_json", {}, text)
        elif kind == "response.output_text.done" and isinstance(text := data.get("text"), str):
            yield from self._rest(self._index(data, {}), "text", "text", {"type": "text", "text": ""}, text)
        elif isinstance(delta := data.get("delta"), str):
            yield from self._delta(kind, self._index(data, {}), delta)

    def _begin(self, response: object) -> Iterator[StreamEvent]:
        if not self._has_begun:
            self._has_begun = True
            known = response if isinstance(response, dict) else {}
            message: dict[str, Any] = {"id": known.get("id"), "model": known.get("model"), "content": []}
            yield {"type": "message_start", "message": message}

    def _index(self, data: dict[str, Any], item: dict[str, Any]) -> int:
        """Return an item's index: it is said, or known by the item's id."""
        key, index = str(data.get("item_id") or item.get("id") or ""), data.get("output_index")
        if not isinstance(index, int):
            index = self._of_item.get(key, len(self._of_item))
        if key:
            self._of_item.setdefault(key, index)
        return index

    def _delta(self, kind: str, index: int, text: str) -> Iterator[StreamEvent]:
        if kind == "response.output_text.delta":
            yield from self._grow(index, "text", "text", {"type": "text", "text": ""}, text)
        elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            yield from self._grow(index, "thinking", "thinking", {"type": "thinking"}, text)
        elif kind == "response.refusal.delta":
            self._refusal.append(text)
        elif kind == "response.function_call_arguments.delta" and (index, "tool_use") in self._blocks:
            yield from self._grow(index, "tool_use", "input_json", {}, text)

    def _grow(self, index: int, kind: str, delta: str, began: dict[str, Any], text: str) -> Iterator[StreamEvent]:
        yield from self._begin(None)
        block = self._blocks.get((index, kind))
        if block is None:
            block = self._blocks[index, kind] = len(self._blocks)
            yield {"type": "content_block_start", "index": block, "content_block": began}
        self._written[index, kind] = self._written.get((index, kind), 0) + len(text)
        field = "partial_json" if delta == "input_json" else delta
        yield {"type": "content_block_delta", "index": block, "delta": {"type": f"{delta}_delta", field: text}}

    def _call_begun(self, index: int, item: dict[str, Any]) -> Iterator[StreamEvent]:
        yield from self._begin(None)
        if (index, "tool_use") not in self._blocks:
            self._has_calls = True
            self._blocks[index, "tool_use"] = block = len(self._blocks)
            key = item.get("call_id") or item.get("id") or f"call_{index}"
            call: dict[str, Any] = {"type": "tool_use", "id": key, "name": item.get("name") or "", "input": {}}
            yield {"type": "content_block_start", "index": block, "content_block": call}

    def done(self, index: int, item: dict[str, Any]) -> Iterator[StreamEvent]:
        """Yield what of a whole item has not come in deltas."""
        kind = item.get("type")
        parts = dicts(item.get("content"))
        if kind == "message":
            text = "".join(str(part.get("text") or "") for part in parts if part.get("type") == "output_text")
            yield from self._rest(index, "text", "text", {"type": "text", "text": ""}, text)
            if not self._refusal:
                self._refusal += [str(part.get("refusal") or "") for part in parts if part.get("type") == "refusal"]
            yield from self._citations(index, parts)
        elif kind == "function_call":
            yield from self._call_begun(index, item)
            yield from self._rest(index, "tool_use", "input_json", {}, str(item.get("arguments") or ""))
        elif kind == "reasoning":
            texts = [str(part.get("text") or "") for part in [*dicts(item.get("summary")), *parts]]
            began = {"type": "thinking", "thinking": ""}
            yield from self._rest(index, "thinking", "thinking", began, "\n\n".join(filter(None, texts)))
            if (index, "thinking") not in self._blocks and item.get("encrypted_content"):
                yield from self._grow(index, "thinking", "thinking", began, "")
            if (block := self._blocks.get((index, "thinking"))) is not None and item.get("encrypted_content"):
                extra = {"type": "extra_delta", "extra": Extra(item=item)}
                yield {"type": "content_block_delta", "index": block, "delta": extra}
        for of_type in ("text", "tool_use", "thinking"):
            if (block := self._blocks.get((index, of_type))) is not None:
                yield {"type": "content_block_stop", "index": block}

    def _rest(self, index: int, kind: str, delta: str, began: dict[str, Any], text: str) -> Iterator[StreamEvent]:
        """Yield what of an item's text has not come in deltas."""
        if rest := text[self._written.get((index, kind), 0) :]:
            yield from self._grow(index, kind, delta, began, rest)

    def _citations(self, index: int, parts: list[dict[str, Any]]) -> Iterator[StreamEvent]:
        block = self._blocks.get((index, "text"))
        notes = [note for part in parts for note in dicts(part.get("annotations"))]
        for note in notes if block is not None else []:
            if note.get("type") == "url_citation":
                citation = {"url": note.get("url"), "title": note.get("title") or note.get("url")}
                delta = {"type": "citations_delta", "citation": citation}
                yield {"type": "content_block_delta", "index": block, "delta": delta}  # type: ignore[typeddict-item]  # it is not None here

    def end(self, response: dict[str, Any]) -> Iterator[StreamEvent]:
        """Yield how the reply ended."""
        yield from self._begin(response)
        if not self._blocks:  # it has all at once
            for index, item in enumerate(dicts(response.get("output"))):
                yield from self.done(index, item)
        status, error = response.get("status"), response.get("error")
        if error or status in ("failed", "cancelled"):
            yield {"type": "error", "error": error or {"message": f"the reply ended with the status {status}"}}
            return
        details = response.get("incomplete_details")
        reason = str((details or {}).get("reason") or "") if isinstance(details, dict) else ""
        delta: dict[str, Any] = {"stop_reason": "tool_use" if self._has_calls else "end_turn"}
        if status == "incomplete":
            delta["stop_reason"] = _INCOMPLETE.get(reason, reason or "incomplete")
            if reason == "content_filter":
                delta["stop_details"] = {"category": "content filter"}
        elif status not in ("completed", None):
            delta["stop_reason"] = str(status)
        if said := "".join(self._refusal):
            delta.update(stop_reason="refusal", stop_details={"explanation": said})
        self.is_over = True
        yield {"type": "message_delta", "delta": delta, "usage": _usage(response.get("usage"))}
        yield {"type": "message_stop"}


def _usage(usage: object) -> dict[str, Any]:
    """Return the counts under the names of Messages: those of chat completions, under other names."""
    counts = usage if isinstance(usage, dict) else {}
    renamed = {"input": "prompt", "output": "completion"}
    same = {f"{chat}_tokens": counts.get(f"{name}_tokens") for name, chat in renamed.items()}
    details = {f"{chat}_tokens_details": counts.get(f"{name}_tokens_details") for name, chat in renamed.items()}
    return usage_of({**same, **details, "total_tokens": counts.get("total_tokens")})
