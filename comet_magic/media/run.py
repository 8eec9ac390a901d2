"""An order → what was made: from its file, from a job that goes on, or by a job that is begun for it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager

from ..api.client import TimeLimits, client_for
from ..api.endpoint import Endpoint, find_endpoint
from ..background import in_background
from ..errors import NO_THREAD, NO_THREAD_HINT, CometError, ConfigError, TransportError
from ..exchange import budget, cells
from ..exchange.offered import offered_now
from ..exchange.session import Session
from ..keys import without_key
from ..named_tuple import NamedTuple
from ..settings import CometSettings, budget_limits
from ..store import media as media_store
from ..store.database import Store
from ..store.media import ANSWERED, FAILED, FETCHED, LOST, OPEN, REFUSED, SUBMITTED, SUBMITTING, StoredJob
from .durations import seconds_of
from .files import find_changed, find_file, make_folder, media_folder
from .model import Chosen, choose_model, service_for
from .money import Estimate, Rate, estimate, rate_of
from .order import NOUNS, TRANSCRIPT, Order
from .results import OrderResult, day, order_of, result_of
from .running import AGAIN, TICK_S, RunningJob, Screen
from .service import Call, Service
from .wire import Wire

NOT_SENT = "it was stopped before it was sent"
OTHER_KERNEL_S = 0.5  # seconds between two looks at what another kernel does


class Ready(NamedTuple):
    """An order that could be sent now. rate: what the model costs, where that is known."""

    model: Chosen
    service: Service
    calls: list[Call]
    rate: Rate | None
    estimate: Estimate


_running: dict[str, RunningJob] = {}  # by the job's id, what this process waits for
_fetching: dict[str, threading.Lock] = {}  # by the job's id
_waiting: Counter[str] = Counter()  # by the job's id, how many wait for it here
_lock = threading.RLock()


def _forget_running() -> None:
    """Forget what the parent of a fork waits for: its threads are not here."""
    global _lock
    _lock = threading.RLock()
    _running.clear()
    _fetching.clear()
    _waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_running)


def make(
    order: Order, settings: CometSettings, session: Session, screen: Screen, *, is_fresh: bool = False, note: str = ""
) -> OrderResult:  # fmt: skip
    """Return what was ordered. What was ordered before, in the same words, is shown from its file.

    is_fresh: order it again all the same; but wait for a job that goes on, as after an interrupt.
    note: what is to be said of the order.
    Raises: ConfigError where nothing may be sent, or nothing more; APIError, TransportError; KeyboardInterrupt, which
    ends the wait and not the job.
    """
    endpoint, store = _endpoint(order, settings), session.store(settings)
    order = _with_model(order, settings)
    runner = OrderRunner(settings, session, store, screen)
    if known := known_job(order, settings, store, endpoint, is_fresh=is_fresh):
        return runner.resume_job(known)
    _check_sharing(order, settings)
    ready = _prepared(order, settings, session, store, endpoint)
    make_folder(runner.folder)
    given = {"count": order.number, "parameters": dict(order.parameters), "form": order.form}
    job = StoredJob(
        os.urandom(16).hex(), time.time(), session.id, order.kind, order.key(endpoint.name), endpoint.name,
        ready.model.name, order.prompt, json.dumps(given), ready.service.name, str(runner.folder.resolve()),
        ready.estimate.usd,
    )  # fmt: skip
    running = runner.running(without_key(job, endpoint.key), order, ready.service, endpoint, ready.rate)
    passes = [FETCHED, *((LOST, FAILED, SUBMITTED, SUBMITTING, ANSWERED) if is_fresh else ())]
    if other := _begin(running, ready, settings, store, passes if is_fresh or settings.replay == "never" else ()):
        return runner.resume_job(other)
    try:
        return runner.wait_for(running, running.sending, filter(None, [note, ready.model.note]))
    finally:
        _waiting[job.id] -= 1


def _begin(
    running: RunningJob, ready: Ready, settings: CometSettings, store: Store, passes: Collection[str]
) -> StoredJob | None:  # fmt: skip
    """Write a job down and send it. Returns: the same that another thread or kernel has begun; then nothing is sent.

    passes: as of `begin_job`.
    """
    job, session = running.job, running.session
    limits = budget_limits(settings.budget)
    if limits and job.estimated_usd is None:
        raise ConfigError(
            f"not sent: there is a budget, and what {job.model} costs is not known: {ready.estimate.how}",
            f"set a price in US dollars, CometSettings.prices = {{{job.model!r}: {{'request': 0.04}}}} or"
            " {'second': 0.1}; or CometSettings.budget = None",
        )
    sending: Future[None] = Future()
    with _lock:  # another thread finds it either not begun, or running
        session.promise(job.id, job.estimated_usd or 0.0)
        try:
            check = budget.check_of(store, limits, job.record, session)
            if other := media_store.begin_job(store, job, check, passes):
                session.promise(job.id, 0.0)
                return other
            running.sending, _running[job.id] = sending, running
            started = in_background(lambda: _submit(running, ready.calls, sending))
        except ConfigError as error:
            session.promise(job.id, 0.0)
            error.hint = "take a cheaper model (-m), or raise CometSettings.budget"
            raise
        except BaseException:  # an interrupt; the thread, if there is one, waits for the lock
            _stop(running, NOT_SENT)
            raise
        if started.done() and isinstance(started.exception(), RuntimeError):
            _stop(running, NO_THREAD)
            raise TransportError(f"nothing was sent: {NO_THREAD}", NO_THREAD_HINT, kind="thread")
        _waiting[job.id] += 1
    return None


def _stop(running: RunningJob, why: str) -> None:
    """Keep a job from being sent, of which nothing was sent yet."""
    _running.pop(running.job.id, None)
    running.withdraw(why)


def _submit(running: RunningJob, calls: list[Call], sending: Future[None]) -> None:
    with _lock:
        if running.job.id not in _running:
            return
    try:
        running.submit(calls)
    except BaseException as error:  # noqa: BLE001  # it is told to the thread that waits for it
        sending.set_exception(error)
    else:
        sending.set_result(None)
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


def known_job(
    order: Order, settings: CometSettings, store: Store, endpoint: Endpoint, *, is_fresh: bool
) -> StoredJob | None:  # fmt: skip
    """Return the job of the same order, if its result is to be shown or waited for.

    is_fresh: only one that goes on, and that nobody waits for, as after an interrupt.
    """
    known = media_store.latest_job(store, order.key(endpoint.name))
    if known is None:
        return None
    if is_fresh:
        return known if known.state in (SUBMITTING, SUBMITTED) and not _waiting[known.id] else None
    return None if settings.replay == "never" and known.state == FETCHED else known


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


class Preview(NamedTuple):
    """What a dry run shows: an order that could be sent; or the job that is there of it, and whether its files are."""

    endpoint: Endpoint
    ready: Ready | None = None
    known: StoredJob | None = None
    has_files: bool = True


def preview(order: Order, settings: CometSettings, session: Session, *, is_fresh: bool) -> Preview:
    """Return what an order would do; nothing of it is sent. Raises: as `make`."""
    endpoint, store = _endpoint(order, settings), session.store(settings)
    order = _with_model(order, settings)
    if known := known_job(order, settings, store, endpoint, is_fresh=is_fresh):
        folder = media_folder(settings, cells.notebook_path(settings))
        files = media_store.files_of(store, known.id)
        has_files = all(find_file(file, known.id, folder) or find_changed(file) for file in files)
        return Preview(endpoint, None, known, has_files)
    _check_sharing(order, settings)
    return Preview(endpoint, _prepared(order, settings, session, store, endpoint))


def drop(named: object, settings: CometSettings, session: Session) -> StoredJob:
    """Give up a job that goes on, or of which not all can be fetched. Returns: it. Raises: ConfigError for another."""
    store = session.store(settings)
    job = _job_named(named, store)
    if job.state not in (SUBMITTING, *OPEN):
        raise ConfigError(f"job {job.name} is {job.state}, and does not go on", "nothing was changed")
    media_store.mark_lost(store, job.id, "you gave it up", (SUBMITTING, *OPEN))
    session.promise(job.id, 0.0)
    return job


# ---- a job that there is


def resume(named: object, settings: CometSettings, session: Session, screen: Screen) -> OrderResult:
    """Return what comes of a job that was ordered before, also by another kernel; nothing is ordered.

    named: the beginning of its id, or the endpoint's id. Raises: ConfigError where there is no such job; as `make`.
    """
    store = session.store(settings)
    return OrderRunner(settings, session, store, screen).resume_job(_job_named(named, store))


def _job_named(named: object, store: Store) -> StoredJob:
    name = str(named).strip()
    found = media_store.find_jobs(store, name, 2) if name else []
    if len(found) != 1:
        what = f"several jobs begin with {name!r}" if found else f"there is no job {name!r}"
        raise ConfigError(what, "%comet_jobs lists them")
    return found[0]


class OrderRunner:
    """Makes orders with these settings, in this store, shown on this screen. folder: of the files."""

    def __init__(self, settings: CometSettings, session: Session, store: Store, screen: Screen) -> None:
        self._settings, self._session, self._store, self._screen = settings, session, store, screen
        self.folder = media_folder(settings, cells.notebook_path(settings))

    def running(
        self, job: StoredJob, order: Order, service: Service, endpoint: Endpoint, rate: Rate | None
    ) -> RunningJob:  # fmt: skip
        settings = self._settings
        client = client_for(endpoint, TimeLimits.of(settings), settings.retries, lambda text: None)
        wire = Wire(client, settings.media_wait_s, int(settings.media_limit_mb * 1e6))
        return RunningJob(job, order, service, wire, self._store, self._session, settings, rate, self.folder)

    def resume_job(self, job: StoredJob) -> OrderResult:
        """Return what comes of a job. It is never ordered again from here. Raises: CometError where nothing comes."""
        with _lock:
            running = _running.get(job.id)
        if running:
            return self.wait_for(running, running.sending)
        job = media_store.find_job(self._store, job.id) or job
        if self._settings.replay != "only":
            job = self._after_other_kernel(job)
        if job.state not in (SUBMITTING, *OPEN):
            self._session.promise(job.id, 0.0)  # another kernel may have ended it
        if job.state == FETCHED:
            return result_of(job, self._store, self.folder)
        if job.state in (LOST, FAILED, REFUSED):
            raise self._over(job)
        if self._settings.replay == "only":
            if job.state == ANSWERED and (made := result_of(job, self._store, self.folder)).media:
                return made
            what = f"the {NOUNS[job.kind][0]} is not here yet, and with CometSettings.replay = 'only' nothing is asked"
            raise ConfigError(what, "set it to 'auto' for that")
        endpoint, order = find_endpoint(self._settings), order_of(job)
        if endpoint.name != job.endpoint:
            raise ConfigError(f"job {job.name} is at {job.endpoint}", "set CometSettings.endpoint to that")
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
                    raise ConfigError(
                        f"another kernel has sent this, and waits for the {noun}",
                        "nothing was sent from here; run the cell again later",
                    )
                self._screen.paint(f"{noun} from {job.model} · another kernel has sent it, and waits for it")
                time.sleep(OTHER_KERNEL_S)
        return job

    def _over(self, job: StoredJob) -> ConfigError:
        noun = NOUNS[job.kind][0]
        if job.state == REFUSED:
            return ConfigError(f"job {job.name} was not made: {job.why}", "nothing was sent; run its cell again")
        way = "failed" if job.state == FAILED else "was lost, and may have been billed"
        files = ", ".join(file.path for file in media_store.files_of(self._store, job.id))
        kept = f"what came is in {files}; " if files else ""
        return ConfigError(
            f"this {noun} was ordered on {day(job)}, and {way}: {job.why}",
            f"nothing was sent; {kept}{AGAIN}; its job is {job.name}",
        )

    def wait_for(
        self, running: RunningJob, sending: Future[None] | None = None, notes: Iterable[str] = ()
    ) -> OrderResult:  # fmt: skip
        """Wait for a job to its end. An interrupt is raised again, and the job goes on. sending: its submission."""
        _waiting[running.job.id] += 1
        try:
            if sending:
                _wait(sending, lambda: self._screen.paint(running.line, running.preview))
            with _alone(running.job.id, lambda: self._screen.paint(running.line)):
                running.job = media_store.find_job(self._store, running.job.id) or running.job
                if not (sending and running.job.state == ANSWERED):  # it has just been tried
                    running.finish(self._screen)
        except BaseException as error:
            self._screen.say(running.last_line)
            if isinstance(error, CometError) and (made := self._with_what_is_here(running, error)):
                return made
            raise
        finally:
            _waiting[running.job.id] -= 1
        job = media_store.find_job(self._store, running.job.id) or running.job
        if job.state not in (FETCHED, ANSWERED):
            raise self._over(job)
        made = result_of(job, self._store, self.folder)
        return made._replace(notes=(*made.notes, *notes), again_from="")

    def _with_what_is_here(self, running: RunningJob, error: CometError) -> OrderResult | None:
        """Return the part of a job that was fetched before, where the rest cannot be now; None for none."""
        job = media_store.find_job(self._store, running.job.id)
        if job is None or job.state != ANSWERED:
            return None
        made = result_of(job, self._store, self.folder)
        if not made.media:
            return None
        return made._replace(notes=(f"the rest could not be fetched: {error.what}",))


@contextmanager
def _alone(job: str, paint: Callable[[], None]) -> Iterator[None]:
    """Keep the other threads of this process from fetching the same job at the same time."""
    with _lock:
        lock = _fetching.setdefault(job, threading.Lock())
    is_locked = False
    try:
        while not (is_locked := lock.acquire(timeout=TICK_S)):
            paint()
        yield
    finally:
        if is_locked:
            lock.release()


def _wait(future: Future[None], paint: Callable[[], None]) -> None:
    while not wait([future], timeout=TICK_S).done:
        paint()
    future.result()


def jobs(settings: CometSettings, session: Session) -> list[StoredJob]:
    """Return the latest jobs, the newest first."""
    return media_store.find_jobs(session.store(settings))
