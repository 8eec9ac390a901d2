"""One job, from the request that makes it to its files: submitted once, asked for as often as it takes, fetched.

    submitting → submitted → answered → fetched, or refused, failed, lost

A job is written down before it is sent. Only what comes after its submission may be done again.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from ..api.retry import may_be_billed
from ..errors import APIError, CometError, TransportError
from ..exchange.session import Session
from ..keys import without_key
from ..messages.usage import Usage
from ..settings import CometSettings
from ..store import media as media_store
from ..store.database import Store
from ..store.media import ANSWERED, FAILED, FETCHED, LOST, REFUSED, SUBMITTED, StoredJob
from .durations import seconds_of
from .file_type import AUDIO, IMAGE, VIDEO, FileType
from .files import find_file
from .images import Previews
from .money import Rate, cost_of
from .order import Order
from .replies import DAMAGED, Unclear
from .saving import UNKNOWN, JobFiles
from .service import CAME, Answer, Body, Call, Result, Service
from .wire import CutOff, ResultUnavailable, Wire

T = TypeVar("T")
NO_USAGE = Usage()
FILE_KINDS = {"image": IMAGE, "speech": AUDIO, "music": AUDIO, "video": VIDEO}  # of the files of each kind of job
TICK_S = 0.2  # seconds between two looks at the screen
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 15.0  # between two looks at a job
LONGEST_ASKED_S = 60.0  # that an endpoint may ask to wait between two looks
MOST_FAILURES = 5  # of looks in a row, until the wait ends
AGAIN = "--fresh (fresh=True in Python) makes it again"
_NOTHING_LEFT = ("connect", "proxy", "tls", "thread")  # kinds of failures before a byte was sent
_STOPPED = "it was stopped before the endpoint had answered"


class Screen(Protocol):
    """The place where a job is shown while it goes on."""

    def paint(self, line: str, preview: bytes = b"") -> None: ...
    def say(self, line: str) -> None: ...


class RunningJob:
    """A job that this process works on. job: how it stands.        preview: the latest draft of a picture.

    session: that pays for it.        has_started: whether its thread has.        sending: the end of its submission.
    """

    def __init__(
        self, job: StoredJob, order: Order, service: Service, wire: Wire, store: Store, session: Session,
        settings: CometSettings, rate: Rate | None, folder: Path,
    ) -> None:  # fmt: skip
        """rate: what the model costs, where that is known.        folder: for files, by now."""
        self.job, self.order, self.session = job, order, session
        if not Path(job.folder).is_dir():  # the notebook was moved
            self.job = job = job._replace(folder=str(folder.resolve()))
        self.preview, self.has_started = b"", False
        self.sending: Future[None] | None = None
        self._service, self._wire, self._store, self._rate = service, wire, store, rate
        self._files = JobFiles(job, store, wire, session.id, int(settings.media_limit_mb * 1e6))
        self._wait_s, self._retries = settings.media_wait_s, settings.retries
        self._began: float | None = None
        self._came = 0  # bytes of a result
        self._word = ""
        self._progress: int | None = None
        self._previews = Previews()

    @property
    def name(self) -> str:
        """The beginning of the job's id, which is what a user types."""
        return self.job.name

    @property
    def line(self) -> str:
        """A line that says how the job stands."""
        job, noun = self.job, self.order.nouns[0]
        since = self._began if self._began is not None else time.monotonic()
        parts = [f"{noun} from {job.model}", f"{time.monotonic() - since:,.0f} s"]
        if job.remote:
            progress = "" if self._progress is None else f" {self._progress} %"
            parts += [f"{self._word or 'submitted'}{progress}", f"job {self.name}"]
            parts.append("an interrupt ends the wait, not the job")
        parts += [f"{self._came / 1e6:,.1f} MB fetched"] if self._came else []
        return " · ".join(without_key(part, self._wire.client.endpoint.key) for part in parts)

    @property
    def way_out(self) -> str:
        """The command that ends a job of which nothing will come."""
        return f"and %comet_jobs --drop {self.name} gives it up"

    @property
    def last_line(self) -> str:
        """A line that says how the job stands when nobody waits for it any more."""
        job = media_store.find_job(self._store, self.job.id) or self.job
        noun = self.order.nouns[0]
        if job.state in (REFUSED, FAILED, LOST):
            return f"{noun} from {job.model} · job {self.name} is {job.state}"
        if job.state == FETCHED:
            return f"{noun} from {job.model} · job {self.name} is done: %comet_resume {self.name} shows it"
        standing = "is finished, but not all of it is here" if job.state == ANSWERED else "goes on"
        return f"{noun} from {job.model} · job {self.name} {standing}: run the cell again, or %comet_resume {self.name}"

    def _put(self, state: str, why: str = "", **more: Any) -> None:
        key = self._wire.client.endpoint.key
        self.job = media_store.put_job(self._store, without_key(self.job._replace(state=state, why=why, **more), key))

    def _read(self, read: Callable[[], T]) -> T:
        """Return what a service reads in a body. Raises: CometError, also for a form that nobody has thought of."""
        try:
            return read()
        except CometError:
            raise
        except Exception as error:  # noqa: BLE001  # answers take any form
            what = f"the endpoint's answer has a form that cannot be read ({type(error).__name__}: {error})"
            raise Unclear(what, "its documentation may have changed", status=200) from None

    # ---- submitting

    def submit(self, calls: list[Call]) -> None:
        """Send what was written down, and write down what is answered. Runs on a thread of its own.

        Raises: CometError where nothing comes of it; the job says so by then.
        """
        self.has_started, self._began = True, time.monotonic()
        bodies: list[Body] = []
        try:
            for call in calls:
                bodies.append(self._submitted(call))
            answer = self._read(lambda: self._service.answer(bodies))
        except CutOff as error:
            share = (len(bodies) + 1) / len(calls)
            self._lose(error, [*bodies, Body(error.content, error.content_type)], share)
        except CometError as error:
            if self._was_refused(error, bodies, len(calls)):
                self.withdraw(error.what)
                raise
            is_open = isinstance(error, Unclear) or may_be_billed(error)
            share = min(len(bodies) + is_open, len(calls)) / len(calls)
            self._lose(error, [] if len(bodies) == len(calls) else bodies, share)
        except BaseException:
            self._end(LOST, _STOPPED)
            raise
        try:
            self._take(answer)
        except CometError:
            raise
        except BaseException:
            if self.job.state not in (FETCHED, FAILED, LOST):
                self._end(LOST, _STOPPED)
            raise

    def _submitted(self, call: Call) -> Body:
        """Return the answer to a request; of one among several that are made apart, also a refusal."""
        try:
            return self._wire.submit(call, self._retries, self._watch, self.order.number)
        except APIError as error:
            if isinstance(error, Unclear) or may_be_billed(error) or not self._service.has_separate_calls:
                raise
            said = {"message": error.what, "type": error.type, "code": error.code}
            return Body(json.dumps({"error": {name: word for name, word in said.items() if word}}).encode())

    def _was_refused(self, error: CometError, bodies: list[Body], calls: int) -> bool:
        """Return whether it is clear that the endpoint has taken nothing of what was sent."""
        if isinstance(error, Unclear) or may_be_billed(error) or (calls > 1 and bodies):
            return False
        return not isinstance(error, TransportError) or error.kind in _NOTHING_LEFT

    def withdraw(self, why: str) -> None:
        """Write down that nothing was made."""
        self._end(REFUSED, why)

    def _watch(self, chunk: bytes) -> None:
        if chunk and self.order.parameters.get("stream"):
            self.preview = self._previews.feed(chunk) or self.preview

    def _lose(self, error: CometError, bodies: list[Body], share: float = 1.0) -> NoReturn:
        """Write down that no whole answer came, and keep the part of it that did. Raises: the error.

        share: of what the job was estimated to cost.
        """
        kept: list[str] = []
        try:
            results = self._read(lambda: self._service.answer(bodies)).results if bodies else ()
            for number, result in enumerate(results, start=1):
                if result.content:
                    kept.append(str(self._saved(number, result._replace(caption="cut off"))))
        except CometError:  # no part of it can be read
            pass
        usd = self.job.estimated_usd
        self._end(LOST, error.what, cost=None if usd is None else usd * share)
        came = error.hint if error.hint.startswith(CAME) else f"{CAME}in {', '.join(kept)}" if kept else ""
        again = f"it may have been billed, so it was not sent again; {AGAIN}; its job is {self.name}"
        error.hint = "; ".join(filter(None, [came, again]))
        raise error

    def _end(self, state: str, why: str, usage: Usage = NO_USAGE, cost: float | None = None) -> None:
        """Write down how a job has ended, and count once what it cost, or may have cost. cost: None: as estimated."""
        answer = self.job.known_answer
        is_counted = bool(answer.get("is_counted"))
        seconds = None if self._began is None else time.monotonic() - self._began
        if state == ANSWERED:
            answer["is_counted"] = True
        elif self.job.kind != "transcript":
            answer = {}
        if is_counted:
            usage, cost = self.job.used, self.job.cost_usd
        known = cost if cost is not None or state in (REFUSED, FAILED) else self.job.estimated_usd
        self._put(
            state, why, usage=json.dumps(usage.reported()), cost_usd=known, seconds=self.job.seconds or seconds,
            answer=json.dumps(answer) if answer else "",
        )  # fmt: skip
        self.session.promise(self.job.id, 0.0)
        is_ours = self.job.state == state  # else another kernel has ended it, and counts it
        if is_ours and state not in (REFUSED, FAILED) and not is_counted:
            self.session.count(usage, self.job.usd)

    def _answer_with(self, **known: Any) -> str:
        """Return an answer as it is written down, with whether its cost has been counted."""
        counted = {"is_counted": True} if self.job.known_answer.get("is_counted") else {}
        return json.dumps({**known, **counted})

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

    def fail(self, answer: Answer) -> NoReturn:
        """End a job that the endpoint calls failed. Raises: APIError with the endpoint's reason."""
        why = answer.why or "the endpoint gives no reason"
        self.job = self.job._replace(remote=answer.remote or self.job.remote)
        self._end(FAILED, why)
        raise APIError(
            f"the job failed: {why}",
            f"most gateways refund a failed job; {AGAIN}; its job is {self.name}", status=200,
        )  # fmt: skip

    # ---- waiting

    def wait(self, screen: Screen) -> Answer:
        """Ask how the job stands until it is done. Raises: CometError where the wait ends; the job goes on."""
        self._began = self._began if self._began is not None else time.monotonic()
        until = time.monotonic() + self._wait_s
        failures, wait_s, usual_s = 0, self._service.polls_after_s, FIRST_WAIT_S
        while True:
            self._pause(min(wait_s, max(until - time.monotonic(), 0)), screen)
            retry_after_s = None
            try:
                body, retry_after_s = self._wire.look(self._service.poll_path(self.job.remote))
                answer = self._read(lambda body=body: self._service.status(body, self.job.remote))  # type: ignore[misc]
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
                    kept = f"the job is kept: %comet_resume {self.name} asks again, {self.way_out}"
                    error.hint = f"{error.hint}; {kept}" if is_final and error.hint else kept
                    raise
                self._word = f"asked in vain ({error.what[:100]})"
                retry_after_s = error.retry_after if isinstance(error, APIError) else None
            if time.monotonic() >= until:
                raise TransportError(
                    f"still running after {self._wait_s:,.0f} s: job {self.name}, {self._word or 'submitted'}",
                    f"%comet_resume {self.name} picks it up, {self.way_out}; CometSettings.media_wait_s waits longer",
                    kind="timeout",
                )  # fmt: skip
            usual = usual_s * random.uniform(0.8, 1.2)
            wait_s = min(retry_after_s, LONGEST_ASKED_S) if retry_after_s else usual
            usual_s = min(usual_s * 1.5, LONGEST_WAIT_S)

    def _pause(self, seconds: float, screen: Screen) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            screen.paint(self.line)
            self._wire.sleep(min(left, TICK_S))

    # ---- fetching

    def finish(self, screen: Screen) -> None:
        """Do what is left of a job whose submission was answered. Raises: CometError where nothing comes of it."""

        def paint() -> None:
            screen.paint(self.line)

        if self.job.state == SUBMITTED:
            self.save(self.wait(screen), paint)
        elif self.job.state == ANSWERED:
            if "text" in (said := self.job.known_answer):
                self._transcribed(Answer(text=said["text"], usage=self.job.used))
                return
            answer = answer_in(self.job)
            if not answer.remote and not answer.results:
                self._keep_what_is_here()
                return
            try:
                self.save(answer, paint)
            except CometError:
                if not answer.remote:
                    raise
            if self.job.state == ANSWERED and answer.remote:  # the endpoint may name other addresses by now
                self.save(self.wait(screen), paint)

    def save(self, answer: Answer, paint: Callable[[], None] = lambda: None) -> None:
        """Put the results into files, each once. Raises: CometError where there is none."""
        results, remote = answer.results, answer.remote or self.job.remote
        if not results and (path := self._service.content_path(remote)):
            results = (Result(address=self._wire.client.endpoint.base_url + path),)
        there = [(number, one.address, one.caption) for number, one in enumerate(results, start=1) if one.address]
        self._put(ANSWERED, self.job.why, remote=remote, answer=self._answer_with(results=there))
        made = sum(not one.problem or one.problem == DAMAGED for one in results)
        saved, missing, problems, failures = 0, False, list[str](), list[CometError]()
        for number, result in enumerate(results, start=1):
            try:
                if result == Result():  # it was here before
                    continue
                self._saved(number, result, paint)
                saved += 1
            except CometError as error:
                failures.append(error)
                missing = missing or bool(result.address)
                which = f"{self.order.nouns[0]} {number} of {len(results)}: " if len(results) > 1 else ""
                problems.append(f"{which}{error.what}")
        why = "; ".join(problems)
        cost = self._cost(answer, made)
        if not saved and not self._files_here():
            self._without_result(why, failures, missing or not failures, answer.usage, cost)
        if any(one.is_unfinished for one in results):
            self._end(LOST, "the answer was cut off; what came is kept", answer.usage, cost)
            files = ", ".join(file.path for file in media_store.files_of(self._store, self.job.id))
            what = f"cut off: {answer.why or 'the answer broke off'}"
            raise TransportError(what, f"{CAME}in {files}; {AGAIN}", kind="cut")
        # What could not be fetched is tried again by the next run; what is here is shown.
        self._end(ANSWERED if missing else FETCHED, why, answer.usage, cost)
        if not missing:
            self._files.end()

    def _cost(self, answer: Answer, made: int) -> float | None:
        seconds = answer.seconds if answer.seconds is not None else self._length_s()
        return cost_of(self.order, self._rate, answer.usage, made, seconds)

    def _length_s(self) -> float | None:
        """Return the seconds of what was made, or written down, where they are paid for and can be told."""
        if self._rate is None or self._rate.per_second is None:
            return None
        if self.order.kind == "transcript":
            return seconds_of(self.order.inputs[0].content) if self.order.inputs else None
        known = [seconds_of(path.read_bytes()) for path in self._files_here()]
        return None if None in known else sum(seconds or 0.0 for seconds in known)

    def _files_here(self) -> list[Path]:
        files = media_store.files_of(self._store, self.job.id)
        found = [find_file(file, self.job.id, Path(self.job.folder)) for file in files if file.mime != UNKNOWN.mime]
        return [path for path in found if path is not None]

    def _keep_what_is_here(self) -> None:
        """End a job whose results came with its answer, of which a kernel that ended has written only some."""
        files, here = media_store.files_of(self._store, self.job.id), self._files_here()
        lost = [file.number for file in files if Path(file.path) not in here]
        media_store.drop_files(self._store, self.job.id, lost)
        self._end(FETCHED if here else LOST, "the kernel ended while it was being written")

    def _without_result(
        self, why: str, failures: list[CometError], missing: bool, usage: Usage, cost: float | None
    ) -> NoReturn:  # fmt: skip
        """End a job of which nothing is here. Raises: CometError. What is at an address may be fetched later."""
        why = why or "the endpoint says that it is done, and names no result"
        noun = self.order.nouns[0]
        hint = next((one.hint for one in failures if one.hint), "")
        if missing:
            self._end(ANSWERED, why, usage, cost)
            kept = hint or f"%comet_resume {self.name} fetches it again; nothing is ordered for that"
            raise ResultUnavailable(
                f"the {noun} is finished, but could not be fetched: {why}",
                f"{kept}, {self.way_out}, so that {AGAIN}",
            )  # fmt: skip
        self._end(LOST, why, usage, cost)
        raise Unclear(
            f"no {noun}: {why}", "; ".join(filter(None, [hint, f"it may have been billed; {AGAIN}"])), status=200
        )

    def _saved(self, number: int, result: Result, paint: Callable[[], None] = lambda: None) -> Path:
        """Return the file of a result. Raises: CometError where it is none."""

        def fetching(got: int) -> None:
            self._came = got
            paint()

        return self._files.save(number, result, FILE_KINDS[self.job.kind], fetching)

    def _transcribed(self, answer: Answer) -> None:
        # The text first: it was paid for, and the file can be written again.
        used = json.dumps(answer.usage.reported())
        self._put(ANSWERED, usage=used, answer=self._answer_with(text=answer.text))
        if self.order.form in ("srt", "vtt"):
            mime = "text/vtt" if self.order.form == "vtt" else "application/x-subrip"
            try:
                self._files.save_text(str(answer.text), FileType(mime, f".{self.order.form}"))
            except CometError as error:
                self._end(ANSWERED, error.what, answer.usage, self._cost(answer, 1))
                raise
        self._end(FETCHED, "", answer.usage, self._cost(answer, 1))
        self._files.end()


def answer_in(job: StoredJob) -> Answer:
    """Return the results that an answered job named when it was asked last; an empty one for what came inline."""
    listed = job.known_answer.get("results")
    named = {
        int(number): Result(address=str(address), caption=str(caption)) for number, address, caption in listed or ()
    }
    results = [named.get(number, Result()) for number in range(1, max(named, default=0) + 1)]
    return Answer(job.remote, is_done=True, results=tuple(results))
