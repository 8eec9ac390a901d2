"""An order → what was made: from its file where that is there, else from its job where one goes on, else made now."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from ..api.client import TimeLimits, client_for
from ..api.endpoint import Endpoint, find_endpoint
from ..background import in_background
from ..errors import NO_THREAD, NO_THREAD_HINT, CometError, ConfigError, TransportError
from ..exchange import budget, cells
from ..exchange.offered import offered_now
from ..exchange.session import Session
from ..keys import without_key
from ..settings import CometSettings, budget_limits
from ..store import media as media_store
from ..store.database import Store
from ..store.media import ANSWERED, FAILED, FETCHED, LOST, OPEN, REFUSED, SUBMITTING, StoredFile, StoredJob
from ..strict_json import json_or_none
from ..text import dollars
from .durations import seconds_of
from .files import find_changed, find_file, make_folder, media_folder
from .media import Media
from .model import Chosen, choose_model, service_for
from .money import Estimate, Rate, estimate, rate_of
from .order import NOUNS, TRANSCRIPT, Order
from .running import AGAIN, TICK_S, RunningJob, Screen
from .service import Call, Service
from .wire import Wire

OTHER_KERNEL_S = 0.5  # seconds between two looks at what another kernel does


class Made(NamedTuple):
    """What came of an order. text: a transcript: a text, or a list of segments.

    notes: what is to be said of it.        again_from: the day when it was made, where nothing was asked this time.
    """

    job: StoredJob
    media: list[Media]
    text: Any = None
    notes: tuple[str, ...] = ()
    again_from: str = ""


class Ready(NamedTuple):
    """An order that could be sent now. rate: what the model costs, where that is known."""

    model: Chosen
    service: Service
    calls: list[Call]
    rate: Rate | None
    estimate: Estimate


_running: dict[str, RunningJob] = {}  # by the job's id, what this process waits for
_fetching: dict[str, threading.Lock] = {}  # by the job's id
_lock = threading.RLock()


def _forget_running() -> None:
    """Forget what the parent of a fork waits for: its threads are not here."""
    global _lock
    _lock = threading.RLock()
    _running.clear()
    _fetching.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_running)


def make(
    order: Order, settings: CometSettings, session: Session, screen: Screen, *, is_fresh: bool = False
) -> Made:  # fmt: skip
    """Return what was ordered. What was ordered before, in the same words, is shown from its file.

    is_fresh: order it anew all the same.
    Raises: ConfigError where nothing may be sent, or nothing more; APIError, TransportError; KeyboardInterrupt, which
    ends the wait and not the job.
    """
    endpoint, store = _endpoint(order, settings), session.store(settings)
    order = _with_model(order, settings)
    place = _Place(settings, session, store, screen)
    if not is_fresh and (known := known_job(order, settings, store, endpoint)):
        return place.go_on(known)
    _check_sharing(order, settings)
    ready = _prepared(order, settings, session, store, endpoint)
    make_folder(place.folder)
    given = {"count": order.number, "parameters": dict(order.parameters), "form": order.form}
    job = StoredJob(
        os.urandom(16).hex(), time.time(), session.id, order.kind, order.key(endpoint.name), endpoint.name,
        ready.model.name, order.prompt, json.dumps(given), ready.service.name, str(place.folder.resolve()),
        ready.estimate.usd,
    )  # fmt: skip
    running = place.running(without_key(job, endpoint.key), order, ready.service, endpoint, ready.rate)
    if other := _begin(running, ready, settings, store, is_fresh=is_fresh or settings.replay == "never"):
        return place.go_on(other)
    notes = (ready.model.note,) if ready.model.note else ()
    return place.wait_for(running, running.sending, notes)


def _begin(
    running: RunningJob, ready: Ready, settings: CometSettings, store: Store, *, is_fresh: bool
) -> StoredJob | None:  # fmt: skip
    """Write a job down and send it. Returns: the same that another thread or kernel has begun; then nothing is sent."""
    job, session = running.job, running.session
    limits = budget_limits(settings.budget)
    if limits and job.estimated_usd is None:
        raise ConfigError(
            f"not sent: there is a budget, and what {job.model} costs is not known: {ready.estimate.how}",
            f"set a price in US dollars, CometSettings.prices = {{{job.model!r}: {{'request': 0.04}}}} or"
            " {'second': 0.1}; or CometSettings.budget = None",
        )
    with _lock:  # another thread finds it either not begun, or running
        session.promise(job.id, job.estimated_usd or 0.0)
        try:
            check = budget.check_of(store, limits, job.record, session)
            other = media_store.begin_job(store, job, check, is_fresh=is_fresh)
        except BaseException as error:
            session.promise(job.id, 0.0)
            if isinstance(error, ConfigError):
                error.hint = "take a cheaper model (-m), or raise CometSettings.budget"
            raise
        if other:
            session.promise(job.id, 0.0)
            return other
        future = in_background(lambda: _submit(running, ready.calls))
        _running[job.id] = running
        running.sending = future
    if future.done() and not running.has_started:
        _running.pop(job.id, None)
        running.withdraw(NO_THREAD)
        raise TransportError(f"nothing was sent: {NO_THREAD}", NO_THREAD_HINT, kind="thread")
    return None


def _submit(running: RunningJob, calls: list[Call]) -> None:
    try:
        running.submit(calls)
    finally:
        with _lock:
            _running.pop(running.job.id, None)


def _endpoint(order: Order, settings: CometSettings) -> Endpoint:
    endpoint = find_endpoint(settings, offline=settings.replay == "only")
    if endpoint.local_model is not None:
        what = f"the local model writes texts, and makes no {NOUNS[order.kind][1]}"
        raise ConfigError(what, "run %claude_key and type a key of CometAPI, or set CometSettings.endpoint")
    return endpoint


def _with_model(order: Order, settings: CometSettings) -> Order:
    """Return the order with the model that it, or the settings, name; "" for none."""
    named = settings.model_named(order.model) if order.model else settings.media_models.get(order.kind, "")
    return order._replace(model=named)


def _check_sharing(order: Order, settings: CometSettings) -> None:
    if settings.replay == "only":
        what = f"this {order.nouns[0]} was not made yet, and with CometSettings.replay = 'only' nothing is sent"
        raise ConfigError(what, "set it to 'auto' for that")
    if order.inputs and not settings.share_values:
        what = "nothing was sent: share_values is off, and pictures and sound are values"
        raise ConfigError(what, "CometSettings.share_values = True")


def known_job(order: Order, settings: CometSettings, store: Store, endpoint: Endpoint) -> StoredJob | None:
    """Return the job of the same order, if its result may be shown. One that goes on is never ordered again."""
    known = media_store.latest_job(store, order.key(endpoint.name))
    if known and settings.replay == "never" and known.state not in (SUBMITTING, *OPEN):
        return None
    return known


def _prepared(order: Order, settings: CometSettings, session: Session, store: Store, endpoint: Endpoint) -> Ready:
    """Choose the model, and write the requests. Raises: ConfigError where the endpoint would not take them."""
    offered = offered_now(settings, session, store, endpoint, TimeLimits.of(settings))
    is_sure = order.model in settings.aliases.values()
    model = choose_model(order, order.model, offered, settings.prices, is_sure=is_sure)
    service = service_for(order, model.name)
    calls = service.calls(order, model.name)
    seconds = seconds_of(order.inputs[0].content) if order.kind == TRANSCRIPT else None
    rate = rate_of(model.name, settings.prices, model.offered)
    return Ready(model, service, calls, rate, estimate(order, rate, seconds, len(calls)))


class Prepared(NamedTuple):
    """What a dry run shows. known: the job of the same order, of which something came or may come."""

    ready: Ready
    endpoint: Endpoint
    known: StoredJob | None = None


def prepared(order: Order, settings: CometSettings, session: Session, *, is_fresh: bool) -> Prepared:
    """Return an order as it would be sent; nothing of it is sent. Raises: as `make`."""
    endpoint, store = _endpoint(order, settings), session.store(settings)
    order = _with_model(order, settings)
    known = None if is_fresh else known_job(order, settings, store, endpoint)
    if known is None:
        _check_sharing(order, settings)
    return Prepared(_prepared(order, settings, session, store, endpoint), endpoint, known)


# ---- a job that there is


def resume(named: object, settings: CometSettings, session: Session, screen: Screen) -> Made:
    """Return what comes of a job that was ordered before, also by another kernel; nothing is ordered.

    named: the beginning of its id, or the endpoint's id. Raises: ConfigError where there is no such job; as `make`.
    """
    store, name = session.store(settings), str(named).strip()
    found = media_store.find_jobs(store, name, 2) if name else []
    if len(found) != 1:
        what = f"several jobs begin with {name!r}" if found else f"there is no job {name!r}"
        raise ConfigError(what, "%comet_jobs lists them")
    return _Place(settings, session, store, screen).go_on(found[0])


def order_of(job: StoredJob) -> Order:
    """Return what was ordered, without what went along."""
    given = json_or_none(job.parameters)
    known: Mapping[str, Any] = given if isinstance(given, dict) else {}
    parameters = known.get("parameters")
    return Order(
        job.kind, job.prompt, job.model, job.api, int(known.get("count") or 1),
        parameters if isinstance(parameters, dict) else {}, form=str(known.get("form") or ""),
    )  # fmt: skip


def day(job: StoredJob) -> str:
    """Return the day on which a job was ordered."""
    return f"{datetime.fromtimestamp(job.at):%Y-%m-%d}"


class _Place:
    """Where an order is made: with these settings, in this store, shown on this screen, into this folder."""

    def __init__(self, settings: CometSettings, session: Session, store: Store, screen: Screen) -> None:
        self._settings, self._session, self._store, self._screen = settings, session, store, screen
        self.folder = media_folder(settings, cells.notebook_path(settings))

    def running(
        self, job: StoredJob, order: Order, service: Service, endpoint: Endpoint, rate: Rate | None
    ) -> RunningJob:  # fmt: skip
        settings = self._settings
        client = client_for(endpoint, TimeLimits.of(settings), settings.retries, lambda text: None)
        wire = Wire(client, settings.media_wait_s)
        return RunningJob(job, order, service, wire, self._store, self._session, settings, rate)

    def go_on(self, job: StoredJob) -> Made:
        """Return what comes of a job. It is never ordered again from here. Raises: CometError where nothing comes."""
        with _lock:
            running = _running.get(job.id)
        if running:
            return self.wait_for(running, running.sending)
        job = self._after_other_kernel(media_store.find_job(self._store, job.id) or job)
        if job.state == FETCHED:
            return self._from_files(job)
        if job.state in (LOST, FAILED, REFUSED):
            raise self._over(job)
        if self._settings.replay == "only":
            what = f"the {NOUNS[job.kind][0]} is not here yet, and with CometSettings.replay = 'only' nothing is asked"
            raise ConfigError(what, "set it to 'auto' for that")
        endpoint, order = find_endpoint(self._settings), order_of(job)
        if endpoint.name != job.endpoint:
            raise ConfigError(f"job {job.id[:8]} is at {job.endpoint}", "set CometSettings.endpoint to that")
        rate = rate_of(
            job.model, self._settings.prices, self._session.known_models(self._store, endpoint.name).get(job.model)
        )
        return self.wait_for(self.running(job, order, service_for(order, job.model), endpoint, rate))

    def _after_other_kernel(self, job: StoredJob) -> StoredJob:
        """Return a job once the kernel that has sent it has its answer, or has ended. Raises: ConfigError."""
        until = time.monotonic() + self._settings.media_wait_s
        while job.state == SUBMITTING:
            self._session.sweep()
            if job.session == self._session.id:  # an interrupt came before it was sent
                media_store.mark_lost(self._store, job.id, "it was stopped while it was being sent")
            job = media_store.find_job(self._store, job.id) or job
            if job.state == SUBMITTING:
                noun = NOUNS[job.kind][0]
                if time.monotonic() > until:
                    raise ConfigError(f"another kernel has sent this, and waits for the {noun}", "nothing was sent")
                self._screen.paint(f"{noun} from {job.model} · another kernel has sent it, and waits for it")
                time.sleep(OTHER_KERNEL_S)
        return job

    def _over(self, job: StoredJob) -> ConfigError:
        noun = NOUNS[job.kind][0]
        if job.state == REFUSED:
            return ConfigError(f"job {job.id[:8]} was refused: {job.why}", "nothing was sent; run its cell again")
        way = "failed" if job.state == FAILED else "was lost, and may have been billed"
        files = ", ".join(file.path for file in media_store.files_of(self._store, job.id))
        kept = f"what came is in {files}; " if files else ""
        return ConfigError(
            f"this {noun} was ordered on {day(job)}, and {way}: {job.why}",
            f"nothing was sent; {kept}{AGAIN}; its job is {job.id[:8]}",
        )

    def wait_for(
        self, running: RunningJob, sending: Future[None] | None = None, notes: tuple[str, ...] = ()
    ) -> Made:  # fmt: skip
        """Wait for a job to its end. An interrupt is raised again, and the job goes on. sending: its submission."""
        try:
            if sending:
                _wait(sending, lambda: self._screen.paint(running.line, running.preview))
            with _alone(running.job.id, lambda: self._screen.paint(running.line)):
                running.job = media_store.find_job(self._store, running.job.id) or running.job
                running.finish(self._screen)
        except BaseException as error:
            self._screen.say(running.last_line)
            if isinstance(error, CometError) and (made := self._with_what_is_here(running, error)):
                return made
            raise
        job = media_store.find_job(self._store, running.job.id) or running.job
        if job.state not in (FETCHED, ANSWERED):
            raise self._over(job)
        made = self._from_files(job)
        return made._replace(notes=(*made.notes, *notes), again_from="")

    def _with_what_is_here(self, running: RunningJob, error: CometError) -> Made | None:
        """Return the part of a job that was fetched before, where the rest cannot be now; None for none."""
        job = media_store.find_job(self._store, running.job.id)
        if job is None or job.state != ANSWERED or not media_store.files_of(self._store, job.id):
            return None
        made = self._from_files(job)
        return made._replace(notes=(f"the rest could not be fetched: {error.what}",))

    def _from_files(self, job: StoredJob) -> Made:
        """Return what a job has made. Raises: ConfigError where a file has gone."""
        files = media_store.files_of(self._store, job.id)
        notes = [job.why] if job.why else []
        media = [self._media(job, file, len(files), notes) for file in files]
        said = json_or_none(job.answer)
        text = said.get("text") if isinstance(said, dict) else None
        return Made(job, media, text, tuple(notes), day(job))

    def _media(self, job: StoredJob, file: StoredFile, count: int, notes: list[str]) -> Media:
        path = find_file(file, job.id, self.folder)
        if path is None and (path := find_changed(file)):
            notes.append(f"{path.name} has been changed since it was made")
        if path is None:
            price = f" (≈ {dollars(job.usd)})" if job.usd else ""
            raise ConfigError(
                f"this {NOUNS[job.kind][0]} was made on {day(job)}, and its file is no longer there: {file.path}",
                f"nothing was sent; put the file back, or {AGAIN}{price}",
            )
        if str(path) != file.path:
            media_store.move_file(self._store, job.id, file.number, str(path.resolve()))
        order = order_of(job)
        return Media(
            path, file.mime, job.prompt, job.model, order.parameters, file.caption, job.used,
            None if job.usd is None else job.usd / count, job.id, job.seconds, job.at,
        )  # fmt: skip


@contextmanager
def _alone(job: str, paint: Callable[[], None]) -> Iterator[None]:
    """Keep the other threads of this process from fetching the same job at the same time."""
    with _lock:
        lock = _fetching.setdefault(job, threading.Lock())
    while not lock.acquire(timeout=TICK_S):
        paint()
    try:
        yield
    finally:
        lock.release()


def _wait(future: Future[None], paint: Callable[[], None]) -> None:
    while not wait([future], timeout=TICK_S).done:
        paint()
    future.result()


def jobs(settings: CometSettings, session: Session) -> list[StoredJob]:
    """Return the latest jobs, the newest first."""
    return media_store.find_jobs(session.store(settings))
