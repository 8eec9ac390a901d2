"""Error replies of any shape: what is said, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from comet_magic.api.error_replies import error_from

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
