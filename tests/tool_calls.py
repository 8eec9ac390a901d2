"""Replies that call tools, as scripts of the wire server; and what the API demands of the requests that follow."""

from __future__ import annotations

import json
from typing import Any

from wire_server import MESSAGE, Received, Script, event, reply, start, stop, stream

KEY = "sk-test-0123456789abcdef"


def use(name: str, arguments: Any, key: str = "toolu_1") -> dict[str, Any]:
    return {"type": "tool_use", "id": key, "name": name, "input": arguments}


def calls(*uses: dict[str, Any], text: str = "", streamed: bool = True, reason: str = "tool_use") -> Script:
    """A reply that calls tools, in JSON or as a stream."""
    blocks = [*([{"type": "text", "text": text}] if text else []), *uses]
    if not streamed:
        return reply({**MESSAGE, "content": blocks, "stop_reason": reason})
    events: list[bytes] = [start(input_tokens=10)]
    for index, one in enumerate(blocks):
        if one["type"] == "text":
            events += [event("content_block_start", index=index, content_block={"type": "text", "text": ""})]
            events += [event("content_block_delta", index=index, delta={"type": "text_delta", "text": one["text"]})]
        else:
            arguments = json.dumps(one["input"])
            events += [event("content_block_start", index=index, content_block={**one, "input": {}})]
            events += [
                event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": part})
                for part in ("", arguments[:3], arguments[3:])
            ]
        events += [event("content_block_stop", index=index)]
    return stream(*events, stop(reason, output_tokens=3))


def check(messages: list[dict[str, Any]]) -> None:
    """That a request's messages are as the API demands: roles take turns, and each call has its one result."""
    assert [message["role"] for message in messages] == [
        "user" if at % 2 == 0 else "assistant" for at in range(len(messages))
    ]
    pending: list[str] = []
    for message in messages:
        blocks = (
            message["content"]
            if isinstance(message["content"], list)
            else [{"type": "text", "text": message["content"]}]
        )
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert sorted(results) == sorted(pending)
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
        if results:
            assert [block["type"] for block in blocks][: len(results)] == ["tool_result"] * len(results)
        pending = [block["id"] for block in blocks if block["type"] == "tool_use"]
        assert len(set(pending)) == len(pending)
    assert pending == []


def results(sent: Received) -> list[dict[str, Any]]:
    return [block for block in sent.json["messages"][-1]["content"] if block["type"] == "tool_result"]
