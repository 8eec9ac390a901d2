"""An order → what was made: from its file where that is there, else from its job where one goes on, else made now."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..api.client import TimeLimits, client_for
from ..api.endpoint import Endpoint, find_endpoint
from ..background import in_background
from ..errors import NO_THREAD, NO_THREAD_HINT, ConfigError, TransportError
from ..exchange import budget, cells
from ..exchange.offered import offered_now
from ..exchange.session import Session
from ..keys import without_key
from ..settings import CometSettings, budget_limits
from ..store import media as media_store
from ..store.database import Store
from ..store.media import ANSWERED, FAILED, FETCHED, LOST, SUBMITTED, SUBMITTING, StoredJob
from ..strict_json import json_or_none
from ..text import dollars
from .durations import seconds_of
from .files import found_again, make_folder, media_folder
from .making import TICK_S, Making, Screen, results_of
from .media import Media
from .model import Chosen, choose_model, service_for, service_named
from .money import Estimate, estimate, rate_of
from .order import NOUNS, Order
from .service import Call
from .wire import Wire


class Made(NamedTuple):
    """What came of an order. text: a transcript: a text, or a list of segments.

    notes: what is to be said of it.        again_from: the day when it was made, where nothing was asked this time.
    """

    job: StoredJob
    media: list[Media]
    text: Any = None
    notes: tuple[str, ...] = ()
    again_from: str = ""


_running: dict[str, tuple[Making, Future[None]]] = {}  # by the job's id, what this process waits for
_lock = threading.Lock()


def make(
    order: Order, settings: CometSettings, session: Session, screen: Screen, *, is_fresh: bool = False
) -> Made:  # fmt: skip
    """Return what was ordered. What was ordered before, in the same words, is shown from its file.

    is_fresh: order it anew all the same.
    Raises: ConfigError where nothing may be sent, or nothing more; APIError, TransportError; KeyboardInterrupt, which
    ends the wait and not the job.
    """
    endpoint = _endpoint(order, settings)
    store = session.store(settings)
    folder = media_folder(settings, cells.notebook_path(settings))
    key = order.key(endpoint.name)
    if not is_fresh and settings.replay != "never" and (known := media_store.latest_job(store, key)):
        return _go_on(known, settings, session, store, folder, screen)
    if settings.replay == "only":
        what = f"this {order.nouns[0]} was not made yet, and with CometSettings.replay = 'only' nothing is sent"
        raise ConfigError(what, "set it to 'auto' for that")
    if order.inputs and not settings.share_values:
        raise ConfigError(
            "nothing was sent: share_values is off, and pictures and sound are values",
            "CometSettings.share_values = True",
        )
    ready = _prepared(order, settings, session, store, endpoint)
    make_folder(folder)
    given = {"count": order.number, "parameters": dict(order.parameters), "wants": order.wants}
    job = StoredJob(
        os.urandom(16).hex(), time.time(), session.id, order.kind, key, endpoint.name, ready.model.name, order.prompt,
        json.dumps(given), ready.api, str(folder.resolve()), ready.estimate.usd,
    )  # fmt: skip
    job = without_key(job, endpoint.key)
    making = _making(job, order, settings, session, store, endpoint)
    limits = budget_limits(settings.budget)
    if limits and job.estimated_usd is None:
        raise ConfigError(
            f"not sent: there is a budget, and what {job.model} costs is not known: {ready.estimate.how}",
            f"say a price in US dollars: CometSettings.prices = {{{job.model!r}: {{'request': 0.04}}}}, or 'second';"
            " or set CometSettings.budget = None",
        )
    session.promise(job.id, job.estimated_usd or 0.0)
    try:
        media_store.begin_job(store, job, budget.check_of(store, limits, job.record, session))
    except BaseException as error:
        session.promise(job.id, 0.0)
        if isinstance(error, ConfigError):
            error.hint = "take a cheaper model (-m), or raise CometSettings.budget"
        raise
    with _lock:
        future = in_background(lambda: _submit(making, ready.calls))
        _running[job.id] = making, future
    if future.done() and isinstance(future.exception(), RuntimeError):
        _running.pop(job.id, None)
        making.withdraw(NO_THREAD)
        raise TransportError(f"nothing was sent: {NO_THREAD}", NO_THREAD_HINT, kind="thread")
    return _finish(making, screen, settings, store, notes=(ready.model.note,) if ready.model.note else ())


def _submit(making: Making, calls: list[Call]) -> None:
    try:
        making.submit(calls)
    finally:
        with _lock:
            _running.pop(making.job.id, None)


def _endpoint(order: Order, settings: CometSettings) -> Endpoint:
    endpoint = find_endpoint(settings, offline=settings.replay == "only")
    if endpoint.local_model is not None:
        what = f"the local model writes texts, and makes no {NOUNS[order.kind][1]}"
        raise ConfigError(what, "run %claude_key and type a key of CometAPI, or set CometSettings.endpoint")
    return endpoint


class Ready(NamedTuple):
    """An order that could be sent now."""

    model: Chosen
    api: str
    calls: list[Call]
    estimate: Estimate
    endpoint: Endpoint


def _prepared(order: Order, settings: CometSettings, session: Session, store: Store, endpoint: Endpoint) -> Ready:
    """Raises: ConfigError where no model is known, or the endpoint would not take it."""
    offered = offered_now(settings, session, store, endpoint, TimeLimits.of(settings))
    model = choose_model(order, named_model(order, settings), offered, settings.prices)
    service = service_for(order, model.name)
    calls = service.calls(order, model.name)
    seconds = seconds_of(order.inputs[0].content) if order.kind == "transcript" else None
    rate = rate_of(model.name, settings.prices, model.offered)
    return Ready(model, service.name, calls, estimate(order, rate, seconds), endpoint)


def named_model(order: Order, settings: CometSettings) -> str:
    """Return the model that the order or the settings name, "" for none."""
    return settings.model_named(order.model) if order.model else settings.media_models.get(order.kind, "")


def prepared(order: Order, settings: CometSettings, session: Session) -> Ready:
    """Return an order as it would be sent, for a dry run; nothing of it is sent."""
    return _prepared(order, settings, session, session.store(settings), _endpoint(order, settings))


def _making(
    job: StoredJob, order: Order, settings: CometSettings, session: Session, store: Store, endpoint: Endpoint
) -> Making:  # fmt: skip
    given = json_or_none(job.parameters)
    parameters = given.get("parameters") if isinstance(given, dict) else {}
    service = service_named(job.kind, job.api, order.wants, parameters if isinstance(parameters, dict) else {})
    client = client_for(endpoint, TimeLimits.of(settings), settings.retries, lambda text: None)
    rate = rate_of(job.model, settings.prices, session.known_models(store, endpoint.name).get(job.model))
    return Making(job, order, service, Wire(client, settings.media_wait_s), store, session, settings, rate)


# ---- a job that there is


def resume(named: str, settings: CometSettings, session: Session, screen: Screen) -> Made:
    """Return what comes of a job that was ordered before, also by another kernel; nothing is ordered.

    named: the beginning of its id, or the endpoint's id. Raises: ConfigError where there is no such job; as `make`.
    """
    store = session.store(settings)
    found = media_store.find_jobs(store, named.strip(), 2) if named.strip() else []
    if len(found) != 1:
        what = f"several jobs begin with {named!r}" if found else f"there is no job {named!r}"
        raise ConfigError(what, "%comet_jobs lists them")
    folder = media_folder(settings, cells.notebook_path(settings))
    return _go_on(found[0], settings, session, store, folder, screen)


def _go_on(
    job: StoredJob, settings: CometSettings, session: Session, store: Store, folder: Path, screen: Screen
) -> Made:  # fmt: skip
    """Return what comes of a job. It is never ordered again from here."""
    noun, name = NOUNS[job.kind][0], job.id[:8]
    on = f"{datetime.fromtimestamp(job.at):%Y-%m-%d %H:%M}"
    with _lock:
        running = _running.get(job.id)
    if running:
        return _finish(running[0], screen, settings, store)
    if job.state == FETCHED:
        return _from_files(job, store, folder)
    if job.state == SUBMITTING and job.session == session.id:  # an interrupt came before it was sent
        job = media_store.put_job(store, job._replace(state=LOST, why="it was stopped while it was being sent"))
    if job.state == SUBMITTING:
        raise ConfigError(
            f"another kernel has sent this, and waits for the {noun}", "nothing was sent; wait for it there"
        )
    if job.state in (LOST, FAILED):
        way = "no answer came, and it may have been billed" if job.state == LOST else "it failed"
        files = ", ".join(file.path for file in media_store.files_of(store, job.id))
        kept = f"what came is in {files}; " if files else ""
        raise ConfigError(
            f"this {noun} was ordered on {on}, and {way}: {job.why}",
            f"nothing was sent; {kept}--fresh orders it anew; its job is {name}",
        )
    if job.state not in (SUBMITTED, ANSWERED):
        raise ConfigError(f"job {name} was refused: {job.why}", "nothing was sent; run its cell again")
    if settings.replay == "only":
        what = f"the {noun} is not here yet, and with CometSettings.replay = 'only' the endpoint is not asked"
        raise ConfigError(what, "set it to 'auto' for that")
    endpoint = find_endpoint(settings)
    if endpoint.name != job.endpoint:
        raise ConfigError(f"job {name} is at {job.endpoint}", "set CometSettings.endpoint to that")
    return _finish(_making(job, order_of(job), settings, session, store, endpoint), screen, settings, store)


def order_of(job: StoredJob) -> Order:
    """Return what was ordered, without what went along."""
    given = json_or_none(job.parameters)
    known: Mapping[str, Any] = given if isinstance(given, dict) else {}
    parameters = known.get("parameters")
    return Order(
        job.kind, job.prompt, job.model, job.api, int(known.get("count") or 1),
        parameters if isinstance(parameters, dict) else {}, wants=str(known.get("wants") or ""),
    )  # fmt: skip


def _finish(
    making: Making, screen: Screen, settings: CometSettings, store: Store, notes: tuple[str, ...] = ()
) -> Made:  # fmt: skip
    """Wait for a job to its end. An interrupt is raised again, and the job goes on."""
    with _lock:
        running = _running.get(making.job.id)
    if running:
        _wait_for(running[1], lambda: screen.paint(making.line, making.preview))
    if making.job.state == SUBMITTED:
        making.save(making.wait(screen), lambda: screen.paint(making.line))
    elif making.job.state == ANSWERED:
        answer = making.wait(screen) if making.job.remote else results_of(making.job)
        if answer.remote or answer.results:
            making.save(answer, lambda: screen.paint(making.line))
        else:
            making.keep_what_is_here()
    job = media_store.find_job(store, making.job.id) or making.job
    if job.state != FETCHED:
        return _go_on(job, settings, making.session, store, Path(job.folder), screen)
    made = _from_files(job, store, Path(job.folder))
    return made._replace(notes=(*made.notes, *notes), again_from="")


def _wait_for(future: Future[None], paint: Callable[[], None]) -> None:
    while not wait([future], timeout=TICK_S).done:
        paint()
    future.result()


def _from_files(job: StoredJob, store: Store, folder: Path) -> Made:
    """Raises: ConfigError where a file has gone."""
    media: list[Media] = []
    for file in media_store.files_of(store, job.id):
        path = found_again(file, job.id, folder)
        if path is None:
            on, noun = f"{datetime.fromtimestamp(job.at):%Y-%m-%d}", NOUNS[job.kind][0]
            cost = job.cost_usd if job.cost_usd is not None else job.estimated_usd
            price = f" (≈ {dollars(cost)})" if cost else ""
            raise ConfigError(
                f"this {noun} was made on {on}, and its file is no longer there: {file.path}",
                f"nothing was sent; put the file back, or --fresh makes another one{price}",
            )
        if str(path) != file.path:
            media_store.move_file(store, job.id, file.number, str(path.resolve()))
        given = json_or_none(job.parameters)
        parameters = given.get("parameters", {}) if isinstance(given, dict) else {}
        media.append(Media(
            path, file.mime, job.prompt, job.model, parameters, file.caption, job.used,
            job.cost_usd if job.cost_usd is not None else job.estimated_usd, job.id, job.seconds, job.at,
        ))  # fmt: skip
    said = json_or_none(job.answer)
    text = said.get("text") if isinstance(said, dict) else None
    on = f"{datetime.fromtimestamp(job.at):%Y-%m-%d}"
    return Made(job, media, text, (job.why,) if job.why else (), on)


def jobs(settings: CometSettings, session: Session) -> list[StoredJob]:
    """Return the latest jobs, the newest first."""
    return media_store.find_jobs(session.store(settings))
