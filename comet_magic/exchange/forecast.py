"""Whether a question would be asked again when its notebook is run from the top, and why; nothing is sent for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..api.endpoint import find_endpoint
from ..describe.question import Question
from ..errors import CometError
from ..messages.conversation import Conversation
from ..messages.request import Request
from ..named_tuple import NamedTuple
from ..settings import CometSettings
from ..store import requests
from ..store.database import Store
from ..store.requests import WHOLE, Attempt
from .cells import Cell
from .plan import Options, build_request
from .position import Position, find_position
from .session import Session

if TYPE_CHECKING:
    from ..describe.description import Limits

NEVER = "it has not been asked yet"
FAILS = "it would fail: "  # begins the reason where nothing would be asked
BEFORE_IT = "what comes before it changed"
# For fields of the API that are no settings.
_CHANGED = {
    "stop_sequences": "its --stop changed",
    "output_config": "the effort setting changed",
    "tools": "its type or its tools changed",
    "tool_choice": "its type or its tools changed",
}


class SavedQuestion(NamedTuple):
    """A question as the notebook has it. key: its cell's, "" where that is not known.

    change: what of it has changed since it was asked, "" for nothing.
    is_known: whether the question is known as it will be asked.
    is_exact: whether the request can be built: its type and its tools are there.
    """

    question: Question
    options: Options
    cell: Cell
    key: str
    former: Attempt | None
    change: str = ""
    is_known: bool = True
    is_exact: bool = True


class Forecast(NamedTuple):
    """why: why it would be asked again, "" where it would be answered from the store.

    cost_usd: what it cost the last time; None where that is not known.
    joins: its cell has no turn in the conversation now.        returns: it has one that is left out now.
    """

    why: str
    cost_usd: float | None = None
    joins: bool = False
    returns: bool = False


def forecast_reply(
    saved: SavedQuestion, limits: Limits, settings: CometSettings, session: Session, *, is_after_news: bool,
    also: tuple[str, ...] = (),
) -> Forecast:  # fmt: skip
    """Return what would become of a question.

    is_after_news: one before it would be asked again.        also: cells whose turns will stand there by then.
    """
    store = session.store(settings)
    cost = saved.former.cost_usd if saved.former else None
    if settings.replay == "never":
        return Forecast("CometSettings.replay is 'never'", cost)
    if not settings.keep:
        return Forecast("CometSettings.keep is False", cost)
    if saved.options.fresh:
        return Forecast("--fresh asks again", cost)
    if not saved.key and saved.cell.conversation:
        return Forecast(NEVER)
    key, new, message = saved.key or "none", saved.options.new, saved.question.message
    try:
        position = find_position(
            store, session, settings, message, saved.cell, key=key, new=new, withholds=False, also=also
        )
        why = _why(saved, position, limits, settings, store, is_after_news)
    except CometError as error:
        return Forecast(FAILS + error.what, cost)
    if why and settings.replay == "only":
        why = f"{FAILS}the store has no reply, and CometSettings.replay is 'only'"
    joins = bool(saved.cell.conversation) and not position.conversation.has(key)
    return Forecast(why, cost, joins, position.is_back)


def _why(
    saved: SavedQuestion, position: Position, limits: Limits, settings: CometSettings, store: Store, is_after_news: bool
) -> str:
    former = saved.former
    endpoint = find_endpoint(settings, offline=True)
    request = build_request(saved.question, saved.options, settings, position, limits)
    request = replace(request, model=endpoint.model) if endpoint.model else request
    can_be_found = not is_after_news and saved.is_exact and (saved.is_known or not saved.change)
    if can_be_found and requests.find_reply(store, endpoint.name, request, cell=saved.key):
        return ""
    if former is None:
        return NEVER
    if saved.change:
        return saved.change
    if changed := _changed_setting(former.parameters, request, is_exact=saved.is_exact):
        return changed
    if former.endpoint != endpoint.name:
        return "the endpoint setting changed"
    if former.state != WHOLE:
        return "its reply was cut off or refused"
    if saved.is_exact or is_after_news or _is_stale(position.conversation, saved.key):
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
