"""What the endpoint offers: its models, what is known of them, and the dialect in which each is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from ..api.client import TimeLimits, client_for, connect
from ..api.dialect import chosen_dialect, dialect_of, is_claude
from ..api.endpoint import Endpoint, find_endpoint
from ..errors import CometError
from ..messages.models import OfferedModel
from ..messages.request import CHAT, MESSAGES
from ..settings import CometSettings
from ..store.database import Store
from .session import Session

LIST_S = 5.0  # seconds that a server may take to say what it has


def find_offered(
    settings: CometSettings,
    session: Session,
    store: Store,
    endpoint: Endpoint,
    names: tuple[str, ...],
    limits: TimeLimits,
) -> Mapping[str, OfferedModel]:
    """Return what the endpoint says of its models. names: of the model, as asked for, and as sent.

    CometAPI is asked meanwhile, for a name tells enough to begin with. Another server is asked once, now: what speaks
    other dialects than Messages has a list that looks so.
    """
    if endpoint.local_model is not None:
        return {}
    brief = limits._replace(read_s=LIST_S, deadline_s=LIST_S)
    if endpoint.is_cometapi:
        retries = settings.retries
        return session.published_models(
            store, endpoint.name, lambda: client_for(endpoint, limits, retries, _say_nothing).published_models()
        )
    if is_claude(names[-1]) or chosen_dialect(names, settings.dialects):
        return session.known_models(store, endpoint.name)
    return session.fetched_models(
        store, endpoint.name, lambda: client_for(endpoint, brief, 0, _say_nothing).offered_models()
    )


def _say_nothing(text: str) -> None:
    pass


def offered_now(
    settings: CometSettings, session: Session, store: Store, endpoint: Endpoint, limits: TimeLimits
) -> Mapping[str, OfferedModel]:  # fmt: skip
    """Return what the endpoint says of its models: asked now, unless it was within a day; {} where it has no list."""
    client = client_for(endpoint, limits._replace(read_s=LIST_S, deadline_s=LIST_S), 0, _say_nothing)
    fetch = client.published_models if endpoint.is_cometapi else client.offered_models
    return session.fetched_models(store, endpoint.name, fetch)


def find_dialect(
    settings: CometSettings, endpoint: Endpoint, names: tuple[str, ...], known: Mapping[str, OfferedModel]
) -> str:
    """Return the name of the dialect for a model. names: as it was asked for, and as it is sent."""
    if endpoint.local_model is not None:
        return MESSAGES
    has_chat_list = any(not offered.dialects or CHAT in offered.dialects for offered in known.values())
    return dialect_of(
        names[-1], settings.dialects, names, known.get(names[-1]),
        is_chat_server=endpoint.is_cometapi or has_chat_list,
    )  # fmt: skip


def list_models(
    settings: CometSettings, session: Session, announce: Callable[[str], None] = _say_nothing
) -> dict[str, OfferedModel]:
    """Ask the endpoint for its list, and CometAPI for what it publishes of each model; keep it, and return it.

    Raises: CometError where there is no list.
    """
    client = connect(settings, announce)
    models = client.offered_models()
    endpoint = find_endpoint(settings)
    if endpoint.is_cometapi:
        with contextlib.suppress(CometError):
            published = client.published_models()
            models = {name: published.get(name, model) for name, model in models.items()}
    session.keep_models(session.store(settings), endpoint.name, models)
    return models


def known_model(settings: CometSettings, session: Session, model: str) -> OfferedModel | None:
    """Return what the endpoint has said of a model, without asking it; None where it has said nothing."""
    try:
        endpoint = find_endpoint(settings, offline=True)
    except CometError:
        return None
    return session.known_models(session.store(settings), endpoint.name).get(model)
