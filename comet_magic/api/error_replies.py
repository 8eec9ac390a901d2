"""An error reply → `APIError`, whatever shape it came in: no two gateways agree on one.

Source: the shapes A to I that were met, and what the official client's types name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import APIError


def error_from(status: int, body: object, headers: Mapping[str, str] | None = None) -> APIError:
    """Return the `APIError` in an error reply: JSON of any shape that gateways send, an HTML page, text, or nothing.

    body: the decoded JSON, or the text that was not JSON.
    """
    sent = headers or {}
    fields = _error_fields(body)
    text = fields["message"]
    request_id = fields["request_id"] or next((sent[name] for name in _ID_HEADERS if sent.get(name)), None)
    if not request_id and (in_text := re.search(r"\(request id: ([^)\s]+)\)", text)):
        request_id = in_text[1]
    kind, code = fields["type"], fields["code"]
    head = " ".join(
        part for part in (str(status) if status >= 300 else "", code or kind or "") if part
    )  # a 200 says nothing
    what = f"{head}: {text}" if head else text
    if request_id and request_id not in what:
        what += f" (request id: {request_id})"
    return APIError(what, _hint(status, kind, code), status=status, type=kind, code=code, request_id=request_id)


_ID_HEADERS = ("request-id", "x-request-id", "x-oneapi-request-id")


def _error_fields(body: object) -> dict[str, Any]:
    fields: dict[str, Any] = {"message": "", "type": None, "code": None, "request_id": None}
    if isinstance(body, Mapping):
        error = body.get("error", body)
        inner = error if isinstance(error, Mapping) else {"message": error}
        details = inner.get("details")
        fields["type"] = _word(inner.get("type"))
        fields["code"] = _word(inner.get("code")) or _word(
            details.get("error_code") if isinstance(details, Mapping) else None
        )
        fields["request_id"] = _word(body.get("request_id")) or _word(inner.get("request_id"))
        fields["message"] = _sentence(inner.get("message") or inner.get("detail") or inner.get("error") or inner)
    elif isinstance(body, str):
        fields["message"] = _page_title(body)
    else:
        fields["message"] = _sentence(body)
    return fields


def _word(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and str(value) else None


def _sentence(value: object) -> str:
    if isinstance(value, Mapping) and isinstance(value.get("message"), str):
        value = value["message"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= 500 else f"{text[:500]}…"


def _page_title(text: str) -> str:
    """Return what a page that is not JSON says, in a few words: an HTML page's title, else its beginning."""
    if "<" in text[:200]:
        title = re.search(r"<title[^>]*>(.*?)</title>|<h1[^>]*>(.*?)</h1>", text, re.I | re.S)
        from html import unescape  # not at the top: it is for pages

        words = re.sub(r"<[^>]*>", " ", (title[1] or title[2] or "") if title else "")
        return _sentence(unescape(words)) if words.strip() else "a page of HTML without a title"
    return _sentence(text) if text.strip() else "no text came with it"


def _hint(status: int, kind: str | None, code: str | None) -> str:
    if code == "model_not_found" or kind == "not_found_error":
        return "the endpoint does not offer this model: %claude_models lists what it does"
    if code in ("insufficient_user_quota", "enforced_spend_limit_reached", "contract_spend_limit_reached"):
        return "the account has no credit or has met its spending limit"
    match status:
        case 500 if "invalid_request" not in f"{kind} {code}":
            pass
        case 400 | 422 | 500:
            return "the endpoint refuses what was asked: look at the flags and settings that it names"
        case 401:
            return "the key was rejected: check COMETAPI_KEY, or enter another one with %claude_key"
        case 402:
            return "the account needs credit"
        case 403:
            return "the key is not allowed to do this: check the account's access to the model"
        case 404 | 405:
            return "check CometSettings.endpoint: it is the base URL, without /v1/messages"
        case 413:
            return "the request is too large: send less text or fewer images"
        case 429:
            return "too many requests: wait a little and run the cell again"
    return "the endpoint is in trouble: run the cell again in a little while" if status >= 500 or status == 408 else ""
