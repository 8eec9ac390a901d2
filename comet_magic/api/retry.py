"""Asking again, where that can help: a `Transport` around a `Transport`; and how often a question may be sent at all.

| what came | what is sent | how often | by |
|---|---|---|---|
| no connection, a reset, 408, 409, 429, 5xx but for what never will | the same | `retries` (2) | `Retrying` |
| an overloaded endpoint that says so after its 200 | the same | once | `Client.stream` |
| the same, later, but before any words | the same | once | `exchange.loop` |
| a refusal of the cache marks | the same without them | once | `exchange.negotiate` |
| a refusal of thinking, or of its absence, before calls | the same the other way | once | `exchange.negotiate` |
| a refusal of a field that the user did not ask for | the same without it | once a field | `exchange.negotiate` |
| a refusal of the dialect | the same in the one that it names | once | `exchange.negotiate` |
| a refusal of `encoding_format` for embeddings | the same without it | once | `api.embeddings` |
| a turn that the server paused | the reply so far | `MOST_PAUSES` (10) | `exchange.loop` |
| a refusal of how a form is asked for | the same in the next mode | once a mode | `exchange.negotiate` |
| a reply as if no form had been asked for | the same in the next mode | once a mode | `output.typed` |
| a value that does not fit its type | the reply and what is wrong with it | `REPAIRS` (1) | `output.typed` |
| calls of tools | the reply and their results | `tool_rounds` (10) | `tools.runner` |

Refusals and failures of the connection are tried again before any text is shown; paused turns, calls of tools and
repairs go on with a reply of which some may be shown.
"""

from __future__ import annotations

import contextlib
import email.utils
import math
import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from ..errors import APIError, CometError, TransportError
from ..strict_json import json_or_none
from ..text import lazy_pattern
from .error_replies import error_from
from .transport import HTTPRequest, HTTPResponse, Transport

PASSING = {"overloaded_error", "api_error", "rate_limit_error", "timeout_error"}  # types of an error that goes by
_PASSING_CODES = {"429", "503", "529"}
NEVER_TYPES = {"invalid_request_error", "authentication_error", "permission_error", "not_found_error"}
LONGEST_WAIT_S = 60.0
LARGEST_ERROR = 200_000  # bytes of an error that are read


_MAY_BE_BILLED = ("reset", "timeout", "cut", "other")  # kinds of a `TransportError` after which somebody may be paid
_TIMED_OUT_THERE = (408, 504, 524)  # a gateway gave up waiting for a model that may have answered


def may_be_billed(error: BaseException | None) -> bool:
    """Return whether a request that failed without an answer may still be billed."""
    if isinstance(error, APIError):
        return error.status in _TIMED_OUT_THERE
    return not isinstance(error, CometError) or (isinstance(error, TransportError) and error.kind in _MAY_BE_BILLED)


def ignore_lost(why: str) -> None:
    pass


class Retrying:
    """A `Transport` that asks again where that can help, and says so; nothing has been shown by then.

    announce: gets `429: waiting 2 s, try 2 of 3`.
    lost: Called before a retry when the failed try may have been billed; may raise.
    All tries and waits together take no longer than the request's `deadline_s`.
    """

    def __init__(
        self, transport: Transport, retries: int = 2, announce: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] = time.sleep, lost: Callable[[str], None] = ignore_lost,
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
                why, wait, is_billable = error.what, backoff_s(tried), may_be_billed(error)
                if last or error.kind not in ("connect", "reset") or wait > until - time.monotonic():
                    raise
            else:
                if response.status < 400:
                    return response
                body = response.body(LARGEST_ERROR)
                response = HTTPResponse(response.status, response.headers, [body])
                wait_s = wait_of(response.headers, body)
                wait = wait_s or backoff_s(tried)
                if last or not is_retryable(response, body) or wait > min(LONGEST_WAIT_S, until - time.monotonic()):
                    return response
                why, is_billable = str(response.status), response.status in _TIMED_OUT_THERE
            if is_billable:
                self.lost(why)
            self.announce(f"{why}: waiting {wait:.2g} s, try {tried + 2} of {self.retries + 1}")
            self.sleep(wait)
        raise AssertionError("the last try returns or raises")


def is_retryable(response: HTTPResponse, body: bytes) -> bool:
    """Return whether the same request could do better a little later. Gateways send 500 and 503 for what never will."""
    if (word := response.headers.get("x-should-retry")) in ("true", "false"):
        return word == "true"
    error = error_from(response.status, decoded(body), response.headers)
    is_final = error.type in NEVER_TYPES or error.code == "invalid_request" or "invalid_request_error" in error.what
    if error.about or is_final:
        return False
    return is_busy(response.status)


def is_passing(error: APIError) -> bool:
    """Return whether an error that came with a 200 says that the endpoint is busy for the moment."""
    if error.about or error.type in NEVER_TYPES:
        return False
    is_named = bool({error.type} & PASSING or {error.code} & _PASSING_CODES)
    return is_named or bool(re.search("overloaded|rate.?limit", f"{error.type} {error.code} {error.what}", re.I))


def is_busy(status: int) -> bool:
    """Return whether a status says that the endpoint may answer a little later."""
    return status in (408, 409, 429) or status >= 500


def decoded(body: bytes) -> object:
    """Return a body as JSON, else as text; always UTF-8, whatever the headers say."""
    text = body.decode("utf-8-sig", "replace")
    value = json_or_none(text)
    return text if value is None else value


def backoff_s(tried: int) -> float:
    return float(min(0.5 * 2**tried, 8) * random.uniform(0.75, 1))


def wait_of(headers: Mapping[str, str], body: bytes = b"") -> float | None:
    """Return seconds that a busy endpoint asks to wait, in whatever way it says it: headers first, then words."""
    return retry_after_s(headers) or _reset_s(headers) or _in_words(body.decode("utf-8", "replace"))


_RESET = lazy_pattern(r"(?:anthropic-)?(?:x-)?rate-?limit-(?:.*-)?reset(?:-.*)?")
_IN_WORDS = lazy_pattern(
    r"(?:(?:try|retry) (?:again )?(?:in|after)|wait(?: for)?|retrydelay\W+|retry_?after\W+)\s*(?:about )?"
    r"((?:\d+(?:\.\d+)?\s*(?:ms|h(?:ours?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)\s*)+|\d+(?:\.\d+)?(?=\s*[,}\n]|\s*$))",
    re.I,
)
_SPAN = lazy_pattern(r"(\d+(?:\.\d+)?)\s*(ms|[smhd])?", re.I)
_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def _reset_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a limit is over, of the limits that are used up; of the nearest, where that is not said.

    Sources: Anthropic's `…-reset` (a time), OpenAI's `x-ratelimit-reset-…` (`6m0s`), the IETF's draft (seconds).
    """
    used_up, unsaid = list[float](), list[float]()
    for name, value in headers.items():
        if not _RESET.fullmatch(name) or (seconds := seconds_in(value)) is None:
            continue
        left = headers.get(name.replace("reset", "remaining"))
        if left is None:
            unsaid.append(seconds)
        elif left.strip() in ("0", "0.0"):
            used_up.append(seconds)
    if draft := re.search(r"\br=0\b.*?\bt=(\d+)", headers.get("ratelimit", "")):
        used_up.append(float(draft[1]))
    return max(used_up) if used_up else min(unsaid, default=None)


def seconds_in(text: str) -> float | None:
    """Return a span of time: `2`, `1.5s`, `6m0s`, `120ms`, a date, or seconds since 1970; None for what is none."""
    text = text.strip()
    now = time.time()
    with contextlib.suppress(ValueError, OverflowError):
        number = float(text)
        seconds = number / 1000 - now if number > 1e12 else number - now if number > 1e9 else number
        return seconds if 0 < seconds < math.inf else None
    if re.fullmatch(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+", text):
        return _sum_of_spans(text)
    with contextlib.suppress(ValueError):
        return max(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() - now, 0) or None
    return None


def _sum_of_spans(text: str) -> float | None:
    """Return the seconds in `6m0s` or `2 hours`; a bare number is seconds. None for 0."""
    return sum(float(number) * _UNITS[unit.lower()] for number, unit in _SPAN.findall(text)) or None


def _in_words(text: str) -> float | None:
    match = _IN_WORDS.search(text[:2000])
    return _sum_of_spans(match[1]) if match else None


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
    return seconds_in(after)
