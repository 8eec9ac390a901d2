"""Asking again, where that can help: a `Transport` around a `Transport`; and how often a question may be sent at all.

| what came | what is sent | how often | by |
|---|---|---|---|
| no connection, a reset, 408, 409, 429, 5xx but for what never will | the same | `retries` (2) | `Retrying` |
| an overloaded endpoint that says so after its 200 | the same | once | `Client.stream` |
| a refusal of the cache marks | the same without them | once | `exchange.negotiate` |
| a refusal of how a form is asked for | the same in the next mode | once a mode | `exchange.negotiate` |
| a reply as if no form had been asked for | the same in the next mode | once a mode | `output.typed` |
| a value that does not fit its type | the reply and what is wrong with it | `REPAIRS` (1) | `output.typed` |
| calls of tools | the reply and their results | `tool_rounds` (10) | `tools.runner` |

The first four are sent again before any text has been shown; the others go on with a reply of which some has.
"""

from __future__ import annotations

import contextlib
import email.utils
import math
import random
import time
from collections.abc import Callable, Mapping

from ..errors import TransportError
from ..strict_json import json_or_none
from .error_replies import error_from
from .transport import HTTPRequest, HTTPResponse, Transport

NEVER_CODES = {
    "invalid_request",
    "model_not_found",
    "insufficient_user_quota",
    "enforced_spend_limit_reached",
    "contract_spend_limit_reached",
}
NEVER_TYPES = {"invalid_request_error", "authentication_error", "permission_error", "not_found_error"}
LONGEST_WAIT_S = 60.0
LARGEST_ERROR = 200_000  # bytes of an error that are read


MAY_BE_BILLED = ("reset", "timeout", "cut", "other")  # kinds of a `TransportError` after which somebody may be paid
_TIMED_OUT_THERE = (408, 504, 524)  # a gateway gave up waiting for a model that may have answered


def nothing_lost(why: str) -> None:
    pass


class Retrying:
    """A `Transport` that asks again where that can help, and says so; nothing has been shown by then.

    announce: gets `429: waiting 2 s, try 2 of 3`.
    lost: is told before a question is sent again whose last try may have been billed; it may raise.
    All tries and waits together take no longer than the request's `deadline_s`.
    """

    def __init__(
        self, transport: Transport, retries: int = 2, announce: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] = time.sleep, lost: Callable[[str], None] = nothing_lost,
    ) -> None:  # fmt: skip
        self.transport, self.retries, self.announce, self.sleep, self.lost = transport, retries, announce, sleep, lost

    def __call__(self, request: HTTPRequest) -> HTTPResponse:
        """Raises: TransportError when the last try got no answer; what `lost` raises."""
        until = time.monotonic() + request.deadline_s
        for tried in range(self.retries + 1):
            last = tried == self.retries
            left_s = until - time.monotonic()
            try:
                response = self.transport(request._replace(deadline_s=max(left_s, 0.001)) if tried else request)
            except TransportError as error:
                why, wait, may_be_billed = error.what, backoff_s(tried), error.kind in MAY_BE_BILLED
                if last or error.kind not in ("connect", "reset") or wait > until - time.monotonic():
                    raise
            else:
                if response.status < 400:
                    return response
                body = response.body(LARGEST_ERROR)
                response = HTTPResponse(response.status, response.headers, [body])
                wait_s = retry_after_s(response.headers)
                wait = wait_s or backoff_s(tried)
                if last or not is_retryable(response, body) or wait > min(LONGEST_WAIT_S, until - time.monotonic()):
                    return response
                why, may_be_billed = str(response.status), response.status in _TIMED_OUT_THERE
            if may_be_billed:
                self.lost(why)
            self.announce(f"{why}: waiting {wait:.2g} s, try {tried + 2} of {self.retries + 1}")
            self.sleep(wait)
        raise AssertionError("the last try returns or raises")


def is_retryable(response: HTTPResponse, body: bytes) -> bool:
    """Return whether the same request could do better a little later. Gateways send 500 and 503 for what never will."""
    if (word := response.headers.get("x-should-retry")) in ("true", "false"):
        return word == "true"
    error = error_from(response.status, decoded(body), response.headers)
    if error.code in NEVER_CODES or error.type in NEVER_TYPES:
        return False
    return response.status in (408, 409, 429) or response.status >= 500


def decoded(body: bytes) -> object:
    """Return a body as JSON, else as text; always UTF-8, whatever the headers say."""
    text = body.decode("utf-8-sig", "replace")
    value = json_or_none(text)
    return text if value is None else value


def backoff_s(tried: int) -> float:
    return float(min(0.5 * 2**tried, 8) * random.uniform(0.75, 1))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return seconds that the server asks to wait: from `retry-after-ms`, or `retry-after` in seconds or as a date."""
    milliseconds, after = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    for text, unit in ((milliseconds, 0.001), (after, 1.0)):
        with contextlib.suppress(ValueError):
            if (seconds := float(text) * unit) > 0 and math.isfinite(seconds):
                return seconds
    with contextlib.suppress(ValueError, TypeError):
        seconds = email.utils.parsedate_to_datetime(after).timestamp() - time.time()
        return seconds if seconds > 0 else None
    return None
