"""What endpoints answer about media, read: errors in any shape, how a job stands, reasons, ids, pictures in base64.

Sources: as of `service`; the statuses and error bodies of new-api, the software whose traits CometAPI shows.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from ..api.error_replies import error_from
from ..errors import APIError
from ..messages.usage import Usage, count_of
from ..strict_json import json_or_none
from .service import Body

_SUCCESS = ("", "success", "succeed", "succeeded", "ok", "0", "1", "200", "21", "22")


class Unclear(APIError):
    """An error that does not tell whether the endpoint has taken what was ordered; it may have been billed."""

    @classmethod
    def of(cls, error: APIError) -> Unclear:
        known = {
            name: getattr(error, name) for name in ("status", "type", "code", "request_id", "retry_after", "about")
        }
        return cls(error.what, error.hint, **known)


class NoResult(Unclear):
    """The endpoint took what was ordered, and its answer has nothing of it."""


def checked(body: Body) -> Any:
    """Return what a body says in JSON. Raises: APIError where it is an error; Unclear where it is no JSON."""
    said = body.json
    if isinstance(said, list) and said and isinstance(said[0], dict):  # an error, or a job, alone in a list
        said = said[0]
    if said is None:
        raise Unclear.of(error_from(200, body.text))
    if isinstance(said, dict):
        code = said.get("code")
        is_refused = code is not None and str(code).lower() not in _SUCCESS
        # A job that has failed is no refusal: its state says so, and its error why.
        tells_state = isinstance(said.get("status"), str) or _is_true(said.get("done"))
        has_error = bool(said.get("error")) and not tells_state
        if has_error or said.get("success") is False or is_refused:
            raise error_from(200, _unwrapped(said))
    return said


def _is_true(value: object) -> bool:
    return value is True or str(value).lower() == "true"


def _unwrapped(said: dict[str, Any]) -> object:
    """Return an error without the envelope in which a gateway passes on another's: its whole body, as a text."""
    said = {**said, "message": said["description"]} if isinstance(said.get("description"), str) else said
    inner = json_or_none(said["message"]) if isinstance(said.get("message"), str) else None
    return {**said, **inner} if isinstance(inner, dict) else said


_STATES = {
    "waiting": "queued pending submitted not_start notstart notstarted created starting preparing unknown throttled",
    "running": "in_progress processing running generating",
    "done": "completed complete success succeeded succeed finished",
    "failed": "failed failure fail error cancelled canceled expired rejected modal",
}
_STATE_OF = {word: state for state, words in _STATES.items() for word in words.split()}


def state_of(word: object) -> str:
    """Return "waiting", "running", "done" or "failed" for an endpoint's word; an unknown one means that it goes on."""
    return _STATE_OF.get(re.sub(r"[\s-]+", "_", str(word or "").strip().lower()), "waiting")


def percent(value: object) -> int | None:
    """Return 45 for 45, "45" and "45%"; None where it is no such number."""
    text = str(value).strip().removesuffix("%") if isinstance(value, str | int | float) else ""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if 0 <= number <= 100 and not isinstance(value, bool) else None


_REASONS = (
    "error", "errors", "fail_reason", "failReason", "task_status_msg", "failure", "failureReason", "error_message",
    "reason", "detail", "message", "msg", "description",
)  # fmt: skip
DEEPEST = 4  # objects in objects in which a reason is looked for


def reason(said: object, depth: int = 0) -> str:
    """Return why a job failed, in the endpoint's words; "" where it does not say."""
    if isinstance(said, str):
        words = " ".join(said.split())
        return "" if words.lower() in _SUCCESS else words
    if isinstance(said, list):
        return "; ".join(filter(None, (reason(one, depth + 1) for one in said[:5]))) if depth < DEEPEST else ""
    if not isinstance(said, Mapping) or depth == DEEPEST:
        return ""
    found = next(filter(None, (reason(said.get(name), depth + 1) for name in _REASONS)), "")
    code = said.get("code")
    if found and depth and isinstance(code, str | int) and str(code).lower() not in _SUCCESS:
        found = f"{code}: {found}"
    if found:
        return found
    inner = (reason(said.get(name), depth + 1) for name in ("data", "metadata") if isinstance(said.get(name), Mapping))
    return next(filter(None, inner), "")


def decoded(text: object) -> bytes:
    """Return the bytes in base64, also in a data: address; b"" where it is none."""
    if not isinstance(text, str):
        return b""
    encoded = text.partition(",")[2] if is_data(text) else text
    try:
        plain = "".join(encoded.split()).translate(_URL_SAFE).rstrip("=")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        return b""


DAMAGED = "its base64 is damaged"
_URL_SAFE = str.maketrans("-_", "+/")


def is_data(address: str) -> bool:
    """Return whether an address holds what it names."""
    return address[:5].lower() == "data:"


def token_usage(usage: object) -> Usage:
    """Return the tokens of a `usage` object, in either of the two spellings."""
    if not isinstance(usage, Mapping):
        return Usage()
    names = (("input_tokens", "prompt_tokens", "promptTokenCount"), ("output_tokens", "completion_tokens"))
    counts = [next((n for name in one if (n := count_of(usage.get(name))) is not None), None) for one in names]
    if counts[1] is None:
        parts = [count_of(usage.get(name)) for name in ("candidatesTokenCount", "thoughtsTokenCount")]
        counts[1] = None if parts[0] is None else parts[0] + (parts[1] or 0)
    return Usage(counts[0], counts[1])


def no_result(what: str, said: object) -> NoResult:
    """Return the error for an answer without what was asked for. said: what came instead."""
    words = " ".join((said if isinstance(said, str) else reason(said)).split())
    shown = words if len(words) <= 500 else f"{words[:500]}…"
    return NoResult(
        f"no {what}: {shown or 'the endpoint gave no reason'}",
        "it was not asked again; it may have been billed. Another prompt or another model may be answered",
        status=200,
    )


JOB_IDS = ("id", "task_id", "taskId", "job_id", "jobId")


def job_id(said: object, *names: str) -> str:
    """Return the id of a job from what a submission was answered. names: of the fields in which it may stand.

    Raises: NoResult where there is none.
    """
    fields = said if isinstance(said, dict) else {}
    ids = (fields.get(name) for name in names)
    found = next((one for one in ids if isinstance(one, str | int) and not isinstance(one, bool) and one), None)
    if found is None:
        raise no_result("job", said)
    return str(found)
