"""The stored reply that answers a question, if there is one that may."""

from __future__ import annotations

from ..api.endpoint import Endpoint
from ..errors import ConfigError
from ..messages.request import Request
from ..settings import CometSettings
from ..store import requests
from ..store.database import Store
from ..store.requests import Found
from .position import Standing
from .session import Session


def to_replay(
    settings: CometSettings, session: Session, store: Store, standing: Standing, endpoint: Endpoint, request: Request,
    *, fresh: bool,
) -> Found | None:  # fmt: skip
    """The stored reply that answers the question, under `settings.replay`; None if it is to be asked.

    Raises: ConfigError when nothing may be asked, and nothing is there.
    """
    mode = settings.replay
    if mode == "only" and fresh:
        raise ConfigError("nothing is asked anew while CometSettings.replay = 'only'", "set it to 'auto' for that")
    # A cell is known by its id; without one, its request is what it does, and how often.
    has_id = bool(standing.place.cell)
    times = session.cells.times_run(standing.cell if has_id else f"{endpoint.name} {request.key}")
    if (
        fresh
        or mode == "never"
        or (mode == "auto" and not standing.place.is_notebook)
        or (has_id and times > 1 and mode == "auto")
    ):
        return None
    nth = 1 if has_id else times
    if mode == "auto":  # what this kernel has asked itself is no past of its
        return requests.find_reply(store, endpoint.name, request, cell=standing.cell, nth=nth, but=session.id)
    found = requests.find_reply(store, endpoint.name, request, cell=standing.cell, nth=nth)
    found = found or requests.find_reply(store, endpoint.name, request, cell=standing.cell)
    if mode == "only" and not found:
        raise _missing(store, endpoint, request)
    return found


def _missing(store: Store, endpoint: Endpoint, request: Request) -> ConfigError:
    what = f"{store.path} has no reply of {endpoint.name} to this, and CometSettings.replay = 'only' asks nobody"
    hint = "set CometSettings.replay = 'auto' and run the notebook once, or check CometSettings.store"
    if store.behind is None:
        what = f"{store.path} is no store that can be read, and CometSettings.replay = 'only' asks nobody"
    elif others := requests.endpoints_that_answered(store, request):
        hint = f"it was answered by {others[0]}: set CometSettings.endpoint to that"
    elif why := requests.why_not_whole(store, endpoint.name, request):
        hint = f"its reply is not replayed, for it is not whole ({why.split(': ')[0]}): ask so that it gets whole"
    return ConfigError(what, hint)
