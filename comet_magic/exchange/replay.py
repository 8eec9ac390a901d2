"""The stored reply that answers a question, if there is one that may."""

from __future__ import annotations

from ..errors import ConfigError
from ..messages.request import Request
from ..store import requests
from ..store.database import Store
from ..store.requests import StoredReply
from .position import Position
from .session import Session


def count_run(session: Session, position: Position, endpoint: str, request: Request) -> int:
    """Count a run of a question's cell; return how often it was run. Without an id, a cell is what it asks."""
    return session.cells.times_run(position.key if _has_id(position) else f"{endpoint} {request.key}")


def _has_id(position: Position) -> bool:
    return bool(position.cell.id or position.cell.handle)


def find_stored(
    replay: str, session: Session, store: Store, position: Position, endpoint: str, request: Request, *, fresh: bool,
    times: int,
) -> StoredReply | None:  # fmt: skip
    """Return the stored reply that answers the question under the setting `replay`; None if it is to be asked.

    times: how often the cell was run in this kernel, this time included.
    Raises: ConfigError when nothing may be asked, and nothing is there.
    """
    if replay == "only" and fresh:
        raise ConfigError("nothing is asked anew while CometSettings.replay = 'only'", "set it to 'auto' for that")
    has_id = _has_id(position)
    is_first = not has_id or times == 1
    if fresh or replay == "never" or (replay == "auto" and not (position.cell.is_notebook and is_first)):
        return None
    nth = 1 if has_id else times
    if replay == "auto":  # what this kernel asked itself is not part of its past
        return requests.find_reply(store, endpoint, request, cell=position.key, nth=nth, but=session.id)
    stored = requests.find_reply(store, endpoint, request, cell=position.key, nth=nth)
    stored = stored or requests.find_reply(store, endpoint, request, cell=position.key)
    if replay == "only" and not stored:
        raise _not_stored(store, endpoint, request)
    return stored


def _not_stored(store: Store, endpoint: str, request: Request) -> ConfigError:
    what = "there is no stored reply to this, and with CometSettings.replay = 'only' nothing is sent"
    hint = f"set CometSettings.replay = 'auto' and run the notebook once, or check CometSettings.store ({store.path})"
    if store.behind is None:
        what = f"{store.path} cannot be read as a store, and with CometSettings.replay = 'only' nothing is sent"
    elif others := requests.endpoints_that_answered(store, request):
        hint = f"it was answered by {others[0]}: set CometSettings.endpoint to that"
    elif why := requests.why_not_whole(store, endpoint, request):
        hint = f"its stored reply is not whole ({why.split(': ')[0]}), so it is not replayed: ask again"
    return ConfigError(what, hint)
