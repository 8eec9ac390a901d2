"""One job, from the request that makes it to its files: submitted once, asked for as often as it takes, fetched.

    submitting → submitted → answered → fetched, or refused, failed, lost

A job is written down before it is sent. Only what comes after its submission may be done again.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ..api.retry import may_be_billed
from ..errors import APIError, CometError, TransportError
from ..exchange.session import Session
from ..keys import without_key
from ..messages.usage import Usage
from ..settings import CometSettings
from ..store import media as media_store
from ..store.database import Store
from ..store.media import ANSWERED, FAILED, FETCHED, LOST, REFUSED, SUBMITTED, StoredJob
from ..strict_json import json_or_none
from .durations import seconds_of
from .file_type import AUDIO, IMAGE, VIDEO, FileType
from .files import found_again, unwritable
from .images import Previews
from .money import Rate, cost_of
from .order import Order
from .saving import JobFiles
from .service import CAME, Answer, Body, Call, NoResult, Result, Service
from .wire import CutOff, Gone, Wire

WANTED = {"image": IMAGE, "speech": AUDIO, "music": AUDIO, "video": VIDEO}
TICK_S = 0.2  # seconds between two looks at the screen
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 15.0  # between two looks at a job
MOST_FAILURES = 5  # of looks in a row, until the wait ends
_NOTHING_LEFT = ("connect", "proxy", "tls", "thread")  # kinds of failures before a byte was sent


class Screen(Protocol):
    """Where a job is shown while it goes on."""

    def paint(self, line: str, preview: bytes = b"") -> None: ...


class Making:
    """A job that this process works on. job: how it stands.        preview: the latest draft of a picture.

    session: that pays for it.
    """

    def __init__(
        self, job: StoredJob, order: Order, service: Service, wire: Wire, store: Store, session: Session,
        settings: CometSettings, rate: Rate | None,
    ) -> None:  # fmt: skip
        self.job, self.order = job, order
        self.preview = b""
        self._service, self._wire, self._store, self.session = service, wire, store, session
        self._rate = rate
        self._files = JobFiles(job, store, wire, int(settings.media_limit_mb * 1e6))
        self._wait_s, self._retries = settings.media_wait_s, settings.retries
        self._began: float | None = None
        self._came = 0  # bytes of a result
        self._word = ""
        self._progress: int | None = None
        self._previews = Previews()

    @property
    def name(self) -> str:
        """What a user calls the job."""
        return self.job.id[:8]

    @property
    def line(self) -> str:
        """How it stands, in a line."""
        job, noun = self.job, self.order.nouns[0]
        since = self._began if self._began is not None else time.monotonic()
        parts = [f"{noun} from {job.model}", f"{time.monotonic() - since:,.0f} s"]
        if job.remote:
            progress = "" if self._progress is None else f" {self._progress} %"
            parts += [f"{self._word or 'submitted'}{progress}", f"job {self.name}"]
            parts.append("an interrupt ends the wait, not the job")
        parts += [f"{self._came / 1e6:,.1f} MB fetched"] if self._came else []
        return " · ".join(without_key(part, self._wire.client.endpoint.key) for part in parts)

    def _put(self, state: str, why: str = "", **more: Any) -> None:
        key = self._wire.client.endpoint.key
        self.job = media_store.put_job(
            self._store, without_key(self.job._replace(state=state, why=why, **more), key)
        )  # fmt: skip

    # ---- submitting

    def submit(self, calls: list[Call]) -> None:
        """Send what was written down, and write down what is answered. Runs on a thread of its own.

        Raises: CometError where nothing comes of it; the job says so by then.
        """
        self._began = time.monotonic()
        bodies: list[Body] = []
        try:
            for call in calls:
                bodies.append(self._wire.submit(call, self._retries, self._watch))
            answer = self._service.answer(bodies)
        except NoResult as error:
            self._end(FAILED, error.what, Usage())
            raise
        except APIError as error:
            is_lost = len(bodies) not in (0, len(calls)) or (not bodies and may_be_billed(error))
            self._give_up(error, bodies, is_lost=is_lost)
            raise
        except TransportError as error:
            if isinstance(error, CutOff):
                bodies.append(Body(error.content, error.content_type))
            is_lost = bool(bodies) or error.kind not in _NOTHING_LEFT
            self._give_up(error, bodies, is_lost=is_lost)
            raise
        except BaseException:
            self._end(LOST, "it was stopped before the endpoint had answered", Usage())
            raise
        self._take(answer)

    def withdraw(self, why: str) -> None:
        """Write down that nothing was sent."""
        self._end(REFUSED, why, Usage())

    def _watch(self, chunk: bytes) -> None:
        if chunk and self.order.parameters.get("stream"):
            self.preview = self._previews.feed(chunk) or self.preview

    def _give_up(self, error: CometError, bodies: list[Body], *, is_lost: bool) -> None:
        """Write down that no answer came, and keep the part of it that did."""
        if not is_lost:
            self._end(REFUSED, error.what, Usage())
            return
        kept: list[str] = []
        with contextlib.suppress(CometError, OSError):
            answer = self._service.answer(bodies) if bodies else Answer()
            for number, result in enumerate(answer.results, start=1):
                if result.content:
                    kept.append(str(self._saved(number, result._replace(is_unfinished=True, caption="cut off"))))
        self._end(LOST, error.what, Usage())
        came = error.hint if error.hint.startswith(CAME) else f"{CAME}in {', '.join(kept)}" if kept else ""
        again = f"it may have been billed, so it was not sent again; --fresh orders it anew; its job is {self.name}"
        error.hint = "; ".join(filter(None, [came, again]))

    def _end(self, state: str, why: str, usage: Usage) -> None:
        job = self.job
        cost = cost_of(self.order, self._rate, usage, 0, None) if any(n is not None for n in usage) else None
        self._put(state, why, cost_usd=cost, answer="")
        self.session.promise(job.id, 0.0)
        if state == LOST:
            self.session.count(usage, job.estimated_usd if cost is None else cost)

    def _take(self, answer: Answer) -> None:
        """Write down an answer, and what came with it. Raises: CometError where the job is over without a result."""
        if answer.text is not None:
            self._transcribed(answer)
        elif answer.is_failed:
            self.fail(answer)
        elif answer.is_done:
            self.save(answer)
        else:
            self._word = answer.word
            self._put(SUBMITTED, remote=answer.remote)

    def fail(self, answer: Answer) -> None:
        """Raises: APIError with the endpoint's reason."""
        why = answer.why or "the endpoint gives no reason"
        self._put(FAILED, why, remote=answer.remote or self.job.remote, answer="")
        self.session.promise(self.job.id, 0.0)
        raise APIError(
            f"the job failed: {why}",
            f"it is not charged, if the gateway refunds it; --fresh orders it anew; its job is {self.name}",
            status=200,
        )

    # ---- waiting

    def wait(self, screen: Screen) -> Answer:
        """Ask how the job stands until it is done. Raises: CometError where the wait ends; the job goes on."""
        self._began = self._began if self._began is not None else time.monotonic()
        until = time.monotonic() + self._wait_s
        failures, wait_s, usual_s = 0, self._service.polls_after_s, FIRST_WAIT_S
        while True:
            self._pause(min(wait_s, max(until - time.monotonic(), 0)), screen)
            asked_s = None
            try:
                body, asked_s = self._wire.look(self._service.poll_path(self.job.remote))
                answer = self._service.status(body, self.job.remote)
                failures = 0
                if answer.is_failed:
                    self.fail(answer)
                if answer.is_done:
                    return answer
                self._word, self._progress = answer.word, answer.progress
            except CometError as error:
                if self.job.state == FAILED:
                    raise
                failures += 1
                is_final = isinstance(error, APIError) and error.status in (401, 403)
                if is_final or failures == MOST_FAILURES:
                    error.hint = f"the job is kept, and goes on at the endpoint: %comet_resume {self.name} asks again"
                    raise
                self._word = f"no answer ({error.what[:100]})"
                asked_s = error.retry_after if isinstance(error, APIError) else None
            if time.monotonic() >= until:
                raise TransportError(
                    f"still running after {self._wait_s:,.0f} s: job {self.name}, {self._word or 'submitted'}",
                    f"%comet_resume {self.name} picks it up; CometSettings.media_wait_s waits longer", kind="timeout",
                )  # fmt: skip
            wait_s = min(asked_s, 60.0) if asked_s else usual_s * random.uniform(0.8, 1.2)
            usual_s = min(usual_s * 1.5, LONGEST_WAIT_S)

    def _pause(self, seconds: float, screen: Screen) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            screen.paint(self.line)
            self._wire.sleep(min(left, TICK_S))

    # ---- fetching

    def save(self, answer: Answer, paint: Callable[[], None] = lambda: None) -> None:
        """Put the results into files, each once. Raises: CometError where there is none."""
        results = answer.results
        if not results and (path := self._service.content_path(self.job.remote or answer.remote)):
            results = (Result(address=path),)
        addresses = [[one.address, one.caption] for one in results if one.address]
        self._put(ANSWERED, remote=answer.remote or self.job.remote, answer=json.dumps({"results": addresses}))
        saved, problems, failures = 0, list[str](), list[CometError]()
        for number, result in enumerate(results, start=1):
            try:
                self._saved(number, result, paint)
                saved += 1
            except (CometError, OSError) as raised:
                error = raised if isinstance(raised, CometError) else unwritable(self.job.folder, raised)
                failures.append(error)
                which = f"{self.order.nouns[0]} {number} of {len(results)}: " if len(results) > 1 else ""
                problems.append(f"{which}{error.what}")
        if not saved:
            self._without_result(problems, failures, has_address=bool(addresses))
        cost = cost_of(self.order, self._rate, answer.usage, saved, self._length_s())
        seconds = None if self._began is None else time.monotonic() - self._began
        unfinished = any(one.is_unfinished for one in results)
        why = "; ".join(problems)
        if unfinished:
            self._put(LOST, "the answer was cut off; what came is kept", usage=_usage_json(answer.usage))
            self.session.promise(self.job.id, 0.0)
            files = ", ".join(file.path for file in media_store.files_of(self._store, self.job.id))
            what = "cut off: the answer ended before its end"
            raise TransportError(what, f"{CAME}in {files}; --fresh orders it anew", kind="cut")
        self._put(
            FETCHED, why, usage=_usage_json(answer.usage), cost_usd=cost, seconds=seconds, answer=""
        )  # fmt: skip
        self._count(answer.usage, cost)

    def _length_s(self) -> float | None:
        """Return the seconds of what was made, where they are paid for and can be told."""
        if self._rate is None or self._rate.per_second is None:
            return None
        known = [seconds_of(Path(file.path).read_bytes()) for file in media_store.files_of(self._store, self.job.id)]
        return None if None in known else sum(seconds or 0.0 for seconds in known)

    def keep_what_is_here(self) -> None:
        """End a job whose results came with its answer, of which a kernel that ended has written only some."""
        files = media_store.files_of(self._store, self.job.id)
        here = [file for file in files if found_again(file, self.job.id, Path(self.job.folder))]
        media_store.drop_files(self._store, self.job.id, [file.number for file in files if file not in here])
        why = "the kernel ended before all of it was written"
        if here:
            self._put(FETCHED, why, answer="")
        else:
            self._end(LOST, why, Usage())

    def _count(self, usage: Usage, cost: float | None) -> None:
        self.session.promise(self.job.id, 0.0)
        self.session.count(usage, self.job.estimated_usd if cost is None else cost)

    def _without_result(self, problems: list[str], failures: list[CometError], *, has_address: bool) -> None:
        """Raises: CometError. What is at an address may be fetched later, and is kept."""
        why = "; ".join(problems) or "the endpoint says that it is done, and names no result"
        noun = self.order.nouns[0]
        if has_address or not failures:
            self._put(ANSWERED, why, answer=self.job.answer)
            hint = next((one.hint for one in failures if one.hint), "")
            raise Gone(f"the {noun} is finished, and is not to be had: {why}", hint or f"its job is {self.name}")
        self._put(FAILED, why, answer="")
        self.session.promise(self.job.id, 0.0)
        raise APIError(f"no {noun}: {why}", "it may have been billed; --fresh orders it anew", status=200)

    def _saved(self, number: int, result: Result, paint: Callable[[], None] = lambda: None) -> Path:
        """Return the file of a result. Raises: CometError where it is none."""

        def fetching(got: int) -> None:
            self._came = got
            paint()

        return self._files.save(number, result, WANTED[self.job.kind], fetching)

    def _transcribed(self, answer: Answer) -> None:
        if self.order.wants in ("srt", "vtt"):
            mime = "text/vtt" if self.order.wants == "vtt" else "application/x-subrip"
            self._files.save_text(str(answer.text), FileType(mime, f".{self.order.wants}"))
        cost = cost_of(self.order, self._rate, answer.usage, 1, answer.seconds)
        seconds = None if self._began is None else time.monotonic() - self._began
        text = json.dumps({"text": answer.text}, ensure_ascii=False)
        self._put(FETCHED, usage=_usage_json(answer.usage), cost_usd=cost, seconds=seconds, answer=text)
        self._count(answer.usage, cost)


def _usage_json(usage: Usage) -> str:
    return json.dumps(usage.reported())


def results_of(job: StoredJob) -> Answer:
    """Return the results that an answered job named when it was asked last."""
    said = json_or_none(job.answer)
    listed = said.get("results") if isinstance(said, dict) else None
    results = [Result(address=str(address), caption=str(caption)) for address, caption in listed or ()]
    return Answer(job.remote, is_done=True, results=tuple(results))
