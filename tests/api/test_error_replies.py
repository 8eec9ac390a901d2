"""Error replies of any shape: what is said, and what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comet_magic.api.error_replies import error_from
from comet_magic.api.retry import is_retryable
from comet_magic.api.transport import HTTPResponse

# (status, body) → (what it says, a part of what to do)
REPLIES: list[tuple[int, Any, str, str]] = [
    (401, {"error": {"type": "authentication_error", "message": "bad key"}}, "401 authentication_error: bad key", "the key was rejected"),
    (401, {"error": {"message": "bad key", "code": "invalid_api_key"}}, "401 invalid_api_key: bad key", "the key was rejected"),
    (503, {"error": {"code": "model_not_found", "message": "no channel"}}, "503 model_not_found: no channel", "%claude_models"),
    (500, {"error": {"code": "invalid_request", "message": "no"}}, "500 invalid_request: no", "refuses what was asked"),
    (500, {"error": "it broke"}, "500: it broke", "in trouble"),
    (429, {"detail": "slow down"}, "429: slow down", "wait a little"),
    (402, {"message": "pay"}, "402: pay", "needs credit"),
    (404, "<html><head><title>Not Found</title></head></html>", "404: Not Found", "CometSettings.endpoint"),
    (413, "", "413: no text came with it", "too large"),
    (200, {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, "overloaded_error: busy", ""),
    (400, {"error": {"message": "x" * 900}}, f"400: {'x' * 500}…", "refuses what was asked"),
    (400, ["a", "list"], "400: a; list", "refuses what was asked"),
    (403, {"error": {"message": {"message": "nested"}}}, "403: nested", "not allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "what", "hint"), REPLIES)
def test_an_error_reply(status: int, body: Any, what: str, hint: str) -> None:
    error = error_from(status, body)
    assert (error.what, error.status) == (what, status)
    assert hint in error.hint
    assert bool(error.hint) == bool(hint)


def test_the_request_id_is_found_wherever_it_stands() -> None:
    in_header = error_from(500, {"error": {"message": "no"}}, {"x-request-id": "r1"})
    in_body = error_from(500, {"error": {"message": "no"}, "request_id": "r1"})
    in_text = error_from(500, {"error": {"message": "no (request id: r1)"}})
    assert [error.request_id for error in (in_header, in_body, in_text)] == ["r1"] * 3
    assert in_header.what == "500: no (request id: r1)"
    assert in_text.what == "500: no (request id: r1)"


# (status, body, what the sentence has, what the hint has, how often it is asked). Sources: public reports.
KINDS: list[tuple[int, Any, str, str, str]] = [
    (500, {"type": "error", "error": {"type": "api_error", "message": "insufficient balance (1008)"}}, "insufficient", "credit", "money"),
    (429, {"error": {"code": "1113", "message": "Insufficient balance or no resource package. Please recharge."}}, "1113", "credit", "money"),
    (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}}, "", "credit", "money"),
    (403, {"error": {"message": "token quota is not enough", "code": "pre_consume_token_quota_failed"}}, "", "credit", "money"),
    (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}, "", "credit", "money"),
    (402, {"error": "Payment Required"}, "Payment", "credit", "money"),
    (400, {"error": {"message": "The requested model is not supported.", "code": "model_not_supported"}}, "", "%claude_models", "model"),
    (400, {"error": {"code": "1211", "message": "模型不存在"}}, "模型", "%claude_models", "model"),
    (400, {"error": {"message": '{"error":{"message":"The requested model is not supported.","code":"model_not_supported"}}'}},
     "model_not_supported", "%claude_models", "model"),
    (503, {"error": {"message": "No available channel for model x under group default"}}, "", "%claude_models", "model"),
    (400, {"error": {"message": "prompt is too long: 208310 tokens > 200000 maximum"}}, "", "--alone", "length"),
    (400, {"error": {"code": 400, "message": "request (20031 tokens) exceeds the available context size (8192 tokens)"}},
     "400: request", "history_tokens", "length"),
    (400, {"error": {"message": "This model's maximum context length is 8192 tokens"}}, "", "--alone", "length"),
    (403, "<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>", "Just a moment", "bot check", "bot check"),
    (400, {"error": {"message": "output_config.format: Extra inputs are not permitted"}}, "", "", "form"),
    (422, {"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "field required", "input": "MY PROMPT"},
                      {"loc": ["body", "max_tokens"], "msg": "too large", "input": 9}]},
     "body.messages.0.content: field required; body.max_tokens: too large", "", ""),
    (400, {"error": {"message": "Provider returned error", "metadata": {"raw": '{"error": {"message": "bad role"}}'}}}, "bad role", "", ""),
    (200, {"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, "login fail", "", ""),
    (400, {"errors": [{"message": "first"}, {"message": "second"}]}, "first; second", "", ""),
    (401, {"error": {"message": "no such key"}}, "no such key", "the key was rejected", ""),
    (400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "x"}}, "400: x", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "what", "hint", "about"), KINDS)
def test_the_sentence_follows_what_the_endpoint_says(status: int, body: Any, what: str, hint: str, about: str) -> None:
    error = error_from(status, body)
    assert what in error.what
    assert hint in error.hint
    assert error.about == about
    assert "MY PROMPT" not in f"{error.what}{error.hint}"
    assert "400 400" not in error.what
    response = HTTPResponse(status, {}, [])
    if about:
        assert not is_retryable(response, json.dumps(body).encode())
