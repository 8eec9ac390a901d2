"""What a failure means for a run: this row cannot succeed, this moment is a bad one, or no row would succeed."""

from __future__ import annotations

from ..api.retry import NEVER_TYPES, is_busy, is_passing
from ..errors import APIError, CometError, ConfigError, ReplyError, TransportError
from ..messages.message import Message
from ..text import one_line

NOT_SENT = "not sent: budget"
ROW, MOMENT, RUN = "row", "moment", "run"
LONGEST_WAIT_S = 300.0  # that an endpoint may ask for in a run; longer, and the run ends and says when to go on
LONGEST = 300  # characters of an error in a table


class NotSent(ConfigError):
    """The budget does not allow the further request that a reply takes."""


def meaning(error: BaseException) -> str:
    """Return ROW, MOMENT or RUN."""
    match error:
        case ReplyError() | NotSent():
            return ROW
        case TransportError():
            return MOMENT if error.kind in ("connect", "reset", "timeout", "cut", "other") else RUN
        case APIError():
            return _meaning_of_reply(error)
    return RUN


def _meaning_of_reply(error: APIError) -> str:
    if error.about in ("money", "model", "bot check") or error.status in (401, 402, 403, 404, 405):
        return RUN
    if 300 <= error.status < 400:
        return RUN
    if error.about or error.type in NEVER_TYPES or "invalid_request" in f"{error.code} {error.what}":
        return ROW
    if is_busy(error.status) or is_passing(error):
        return RUN if (error.retry_after or 0) > LONGEST_WAIT_S else MOMENT
    return ROW


def is_refusal(error: BaseException) -> bool:
    """Return whether the endpoint says that there are too many requests: that is no fault of a row's."""
    return isinstance(error, APIError) and (error.status in (429, 529) or (error.status == 200 and is_passing(error)))


def is_lasting(error: BaseException) -> bool:
    """Return whether the very same request can never succeed: it is not asked again in a later run either."""
    if isinstance(error, APIError):
        return error.about == "length"
    return isinstance(error, ReplyError) and error.partial is not None and error.partial.stop_reason == "refusal"


def problem_of(message: Message) -> str:
    """Return what a reply lacks to be an answer, in words; "" if nothing."""
    if message.stop_reason == "refusal":
        return "the model refused"
    if message.is_cut:
        return f"the reply is cut off at max_tokens = {message.limit}"
    if message.incomplete:
        return message.incomplete
    return "" if message.text.strip() else "the reply is empty"


def said(error: BaseException) -> str:
    """Return a failure on one line."""
    what = error.what if isinstance(error, CometError) else f"{type(error).__name__}: {error}"
    return one_line(what.removesuffix(", so it was not sent again"), LONGEST)  # in a run, it was
