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


class Foreseen(NamedTuple):
    """why: why it would be asked again, "" where it would be answered from the store.

    cost_usd: what it cost the last time; None where that is not known.
    joins: its cell has no turn in the conversation now.        returns: it has one that is left out now.
    """

    why: str
    cost_usd: float | None = None
    joins: bool = False
    returns: bool = False


def foresee(
    asked: SavedQuestion, limits: Limits, settings: CometSettings, session: Session, *, is_after_news: bool,
    also: tuple[str, ...] = (),
) -> Foreseen:  # fmt: skip
    """Return what would become of a question.

    is_after_news: one before it would be asked again.        also: cells whose turns will stand there by then.
    """
    store = session.store(settings)
    cost = asked.former.cost_usd if asked.former else None
    if settings.replay == "never":
        return Foreseen("CometSettings.replay is 'never'", cost)
    if not settings.keep:
        return Foreseen("CometSettings.keep is False", cost)
    if asked.options.fresh:
        return Foreseen("--fresh asks again", cost)
    if not asked.key and asked.cell.conversation:
        return Foreseen(NEVER)
    key, new, message = asked.key or "none", asked.options.new, asked.question.message
    try:
        position = find_position(
            store, session, settings, message, asked.cell, key=key, new=new, withholds=False, also=also
        )
        why = _why(asked, position, limits, settings, store, is_after_news)
    except CometError as error:
        return Foreseen(FAILS + error.what, cost)
    if why and settings.replay == "only":
        why = f"{FAILS}the store has no reply, and CometSettings.replay is 'only'"
    joins = bool(asked.cell.conversation) and not position.conversation.has(key)
    return Foreseen(why, cost, joins, position.is_back)


def _why(
    asked: SavedQuestion, position: Position, limits: Limits, settings: CometSettings, store: Store, is_after_news: bool
) -> str:
    former = asked.former
    endpoint = find_endpoint(settings, offline=True)
    request = build_request(asked.question, asked.options, settings, position, limits)
    request = replace(request, model=endpoint.model) if endpoint.model else request
    can_be_found = not is_after_news and asked.is_exact and (asked.is_known or not asked.change)
    if can_be_found and requests.find_reply(store, endpoint.name, request, cell=asked.key):
        return ""
    if former is None:
        return NEVER
    if asked.change:
        return asked.change
    if changed := _changed_setting(former.parameters, request, is_exact=asked.is_exact):
        return changed
    if former.endpoint != endpoint.name:
        return "the endpoint setting changed"
    if former.state != WHOLE:
        return "its reply was cut off or refused"
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
