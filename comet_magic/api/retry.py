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
from .error_replies import error_from
from .events import json_or_none
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


class Retrying:
    """A `Transport` that asks again where that can help, and says so; nothing has been shown by then.

    announce: gets `429: waiting 2 s, try 2 of 3`.
    """

    def __init__(
        self, transport: Transport, retries: int = 2, announce: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.transport, self.retries, self.announce, self.sleep = transport, retries, announce, sleep

    def __call__(self, request: HTTPRequest) -> HTTPResponse:
        """Raises: TransportError when the last try got no answer."""
        for tried in range(self.retries + 1):
            last = tried == self.retries
            try:
                response = self.transport(request)
            except TransportError as error:
                if last or error.kind not in ("connect", "reset"):
                    raise
                why, wait = error.what, backoff_s(tried)
            else:
                if response.status < 400:
                    return response
                body = response.body()
                response = HTTPResponse(response.status, response.headers, [body])
                wait_s = retry_after_s(response.headers)
                if last or not is_retryable(response, body) or (wait_s or 0) > LONGEST_WAIT_S:
                    return response
                why, wait = str(response.status), wait_s or backoff_s(tried)
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
