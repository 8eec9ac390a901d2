"""Whether a question would be asked again when its notebook is run from the top, and why; nothing is sent for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..api.endpoint import find_endpoint
from ..describe.question import Question
from ..errors import CometError
from ..messages.conversation import Conversation
from ..messages.request import Request
from ..settings import CometSettings
from ..store import left_out, requests
from ..store.database import Store
from ..store.requests import WHOLE, Attempt
from .cells import Cell
from .plan import Options, build_request
from .position import find_position
from .session import Session

if TYPE_CHECKING:
    from ..describe.description import Limits

BEFORE_IT = "what stands before it changed"
# For fields of the API that are no settings.
_CHANGED = {
    "stop_sequences": "its --stop changed",
    "output_config": "the effort setting changed",
    "tools": "its type or its tools changed",
    "tool_choice": "its type or its tools changed",
}


class Asked(NamedTuple):
    """A question as the notebook has it. key: its cell's.        cell: without one where it asks alone.

    change: what of it has changed since it was asked, "" for nothing.
    is_exact: whether the request can be built: its type and its tools are there.
    """

    question: Question
    options: Options
    cell: Cell
    key: str
    change: str = ""
    is_exact: bool = True


class Foreseen(NamedTuple):
    """why: why it would be asked again, "" where it would be answered from the store.

    cost_usd: what it cost the last time; None where that is not known.
    """

    why: str
    cost_usd: float | None = None


def foresee(
    asked: Asked, limits: Limits, settings: CometSettings, session: Session, *, is_after_news: bool
) -> Foreseen:
    """Return what would become of a question. is_after_news: one before it would be asked again."""
    store = session.store(settings)
    former = requests.latest_of(store, asked.key)
    cost = former.cost_usd if former else None
    if settings.replay == "never":
        return Foreseen("CometSettings.replay is 'never'", cost)
    if asked.options.fresh:
        return Foreseen("--fresh asks again", cost)
    if asked.change:
        return Foreseen(asked.change, cost)
    try:
        why = _why(asked, former, limits, settings, session, store, is_after_news)
    except CometError as error:
        why = error.what
    return Foreseen(why, cost)


def _why(
    asked: Asked, former: Attempt | None, limits: Limits, settings: CometSettings, session: Session, store: Store,
    is_after_news: bool,
) -> str:  # fmt: skip
    cell, name = asked.cell, asked.cell.conversation
    if any(one.cell == asked.key for one in left_out.find(store, name)):
        return "it asks in another conversation now"
    position = find_position(
        store, session, settings, asked.question.message, cell, key=asked.key, new=asked.options.new
    )
    endpoint = find_endpoint(settings, offline=True)
    request = build_request(asked.question, asked.options, settings, position, limits)
    request = replace(request, model=endpoint.model) if endpoint.model else request
    if not is_after_news and asked.is_exact and requests.find_reply(store, endpoint.name, request, cell=asked.key):
        return ""
    if former is None:
        return "it has not been asked yet"
    if changed := _changed_setting(former.parameters, request, is_exact=asked.is_exact):
        return changed
    if former.endpoint != endpoint.name:
        return "the endpoint setting changed"
    if former.state != WHOLE:
        return "its reply was not whole"
    if asked.is_exact or is_after_news or _is_stale(position.conversation, asked.key):
        return BEFORE_IT
    return ""


def _changed_setting(former: dict[str, Any], request: Request, *, is_exact: bool) -> str:
    """Return by which setting two requests differ, in words; "" for none. is_exact: the type and tools are known."""
    now = request.parameters()
    skipped = {"stream"} if is_exact and (request.tools or request.form) else {"stream", "tools", "tool_choice"}
    for name in ("model", "max_tokens", *sorted(former.keys() | now.keys())):
        if name not in skipped and former.get(name) != now.get(name):
            return _CHANGED.get(name, f"the {name} setting changed")
    return ""


def _is_stale(conversation: Conversation, key: str) -> bool:
    return any(turn.cell == key for turn in conversation.stale())
