"""Rows in Message Batches, at half the price: submitted, waited for, collected; also by a later kernel.

Source: Anthropic's reference for Message Batches. A batch is written down before it is submitted, for a kernel may end
between the request and its answer, and there is no key by which a second submission would be known as the same.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..api.client import Client, plain_transport
from ..api.error_replies import error_from
from ..api.retry import NEVER_TYPES, Retrying
from ..errors import APIError, CometError, ConfigError, ReplyError, TransportError
from ..messages import prices
from ..messages.request import MESSAGES, Request
from ..messages.usage import Usage
from ..named_tuple import NamedTuple
from ..output.schema import Mismatch
from ..store import rows as row_store
from ..store.rows import ENDED, SUBMITTED, SUBMITTING, Batch
from ..strict_json import json_or_none
from ..text import many
from .engine import Outcome, Task
from .failures import MOMENT, NOT_SENT, RUN, meaning, problem_of, said
from .job import Job

if TYPE_CHECKING:
    from .live import LiveRun

PATH = "/v1/messages/batches"
FACTOR = 0.5  # of the price
MOST_REQUESTS, MOST_BYTES = 90_000, 50_000_000  # of a batch; the API takes 100,000 and 256 MB
FIRST_POLL_S, LONGEST_POLL_S = 10.0, 120.0
ROUNDS = 3  # of batches, for what expired in the one before
KEPT_DAYS = 29
CLOCKS_S = 120.0  # by which the endpoint's clock may differ from ours
PATIENCE_S = 1800.0  # of errors while a batch is waited for
AT_ONCE = 500  # results that are taken together
FEW_MISSING = 5  # results that may be missing, and are asked for again; more, and the results are not whole
_LATER = "nothing was lost: run it again later, and it is collected then; fresh=True asks for its rows anew"
LISTED = 100  # batches that are looked at for one whose submission got no answer


class Status(NamedTuple):
    """A batch as the endpoint tells of it.

    size: of its requests, None where that is not said.        working: how many are being worked on.
    created: seconds since 1970, None where that is not said.
    """

    id: str
    is_ended: bool
    size: int | None
    working: int
    created: float | None


class Unreadable(CometError):
    """Results that are not all there, though the endpoint says that the batch has ended."""


class MessageBatches:
    """The endpoint's batches. Its methods raise APIError and TransportError."""

    def __init__(self, client: Client) -> None:
        transport = Retrying(plain_transport(), 2, client.announce)
        self._asks = client._replace(transport=transport)
        self._submits = client._replace(transport=plain_transport())  # once: a second time would be a second batch

    def check_offered(self) -> None:
        """Ask for the list of batches, which is free. Raises: ConfigError where the endpoint has none."""
        try:
            listed = self._asks.fetch(f"{PATH}?limit=1").get("data")
        except APIError as error:
            if error.status not in (200, 404, 405, 400, 501):
                raise
            listed = None
        if not isinstance(listed, list):
            raise ConfigError(
                f"this endpoint offers no Message Batches: {PATH} has no list of them",
                "nothing was sent; leave batch out to ask at the full price",
            )

    def submit(self, requests: Sequence[tuple[str, Request]]) -> Status:
        """Submit requests, each under its custom_id."""
        parts = [{"custom_id": name, "params": _parameters(request)} for name, request in requests]
        return _status(self._submits.fetch(PATH, json.dumps({"requests": parts})))

    def status(self, batch: str) -> Status:
        return _status(self._asks.fetch(f"{PATH}/{batch}"))

    def listed(self) -> tuple[list[Status], bool]:
        """Return the latest batches, and whether these are all."""
        page = self._asks.fetch(f"{PATH}?limit={LISTED}")
        listed = page.get("data")
        if not isinstance(listed, list):
            return [], False
        return [_status(one) for one in listed if isinstance(one, dict)], page.get("has_more") is False

    def results(self, batch: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what came of each request, with its custom_id, in whatever order.

        Raises: Unreadable for a line that is no result.
        """
        for line in self._asks.lines(f"{PATH}/{batch}/results"):
            if not line.strip():
                continue
            one = json_or_none(line.decode("utf-8", "replace"))
            if not isinstance(one, dict) or not isinstance(one.get("result"), dict):
                raise Unreadable(f"the results of batch {batch} cannot be read", _LATER)
            yield str(one.get("custom_id")), one["result"]

    def cancel(self, batch: str) -> None:
        self._submits.fetch(f"{PATH}/{batch}/cancel", "{}")


def _parameters(request: Request) -> dict[str, Any]:
    return {name: value for name, value in request.to_wire().items() if name != "stream"}


def _status(body: dict[str, Any]) -> Status:
    """Raises: APIError where it is none."""
    name = body.get("id")
    if not isinstance(name, str) or not name.replace("_", "").replace("-", "").isalnum():
        raise APIError("the endpoint's answer about a batch names no id", "comet_magic.map(…) without batch asks live")
    counts = body.get("request_counts")
    known = (
        {state: count for state, count in counts.items() if isinstance(count, int)} if isinstance(counts, dict) else {}
    )
    is_ended, created = body.get("processing_status") == "ended", _moment(body.get("created_at"))
    return Status(name, is_ended, sum(known.values()) if known else None, known.get("processing", 0), created)


def _moment(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


class BatchedRows:
    """Asks for the items of a live run in batches. Lives for one run."""

    def __init__(self, live: LiveRun, job: Job) -> None:
        self._live, self._job = live, job
        self._batches = MessageBatches(live.client)
        self._item_of: dict[bytes, int] = {}
        self._again: list[int] = []  # what no batch has answered, though none has refused it
        self._unpaid: list[int] = []  # for which there was no money, while a batch held it
        self._misfits: dict[int, None] = {}
        self._paid: list[tuple[Usage, float | None]] = []  # of the batch that is being collected

    def ask(self, missing: list[int], first: Callable[[list[int]], list[int]]) -> list[int]:
        """Ask for these items. first: asks for one live. Returns: those that are to be asked live: what did not fit.

        Raises: ConfigError where the endpoint has no batches, or the user does not say yes.
        """
        live = self._live
        if live.request.dialect != MESSAGES:
            what = f"batches are of the Messages API, and {live.request.model} is asked in another one"
            raise ConfigError(what, "nothing was sent; leave batch out")
        self._batches.check_offered()
        self._item_of = {live.digests[item]: item for item in missing}
        try:
            if not self._job.options.fresh:
                for batch in self._open():
                    if self._item_of.keys() & set(batch.each) and (known := self._find_submitted(batch)):
                        self._wait_and_collect(known)
            left = self._left()
            if left:  # a batch is checked only while it is processed
                left = first(left)
                live.agree(left, FACTOR)
            for _ in range(ROUNDS):
                left = self._in_rounds_of_money(left)
                if not self._again:  # for the others there is no money
                    break
        finally:
            # Whatever ended it: what goes on will cost something.
            held = [batch.most_usd or 0.0 for batch in self._open() if batch.held == live.money.held_id]
            live.money.leave(sum(held))
        unpaid = set(self._unpaid)
        for item in self._left():
            live.fail(item, NOT_SENT if item in unpaid else "no batch has answered it; run it again")
        if self._misfits:
            live.progress.note(f"asked live, for it did not fit in the batch: {many(len(self._misfits), 'row')}")
        return list(self._misfits)

    def _open(self) -> list[Batch]:
        return row_store.open_batches(self._job.store, self._live.endpoint, self._live.request.model)

    def _left(self) -> list[int]:
        """Return the items that no batch has answered."""
        return [item for item in self._live.still_missing(self._item_of.values()) if item not in self._misfits]

    def _in_rounds_of_money(self, items: list[int]) -> list[int]:
        """Ask for these items, as often as a batch that has ended frees money for more. Returns: what is left."""
        self._again = []
        while items:
            self._unpaid = []
            submitted = list(self._submitted(items))
            for batch in submitted:
                self._wait_and_collect(batch)
            items = self._unpaid if submitted else []
        return self._left()

    # ---- submitting

    def _submitted(self, missing: Sequence[int]) -> Iterator[Batch]:
        """Submit these items, in as many batches as they take, and yield each."""
        part: list[Task] = []
        size = 0
        for task in self._live.tasks(missing):
            if not self._live.money.reserve(task.most_usd * FACTOR):
                self._unpaid.append(task.item)
                continue
            task = task._replace(request=self._live.adapted(task.request))
            bytes_of = len(task.request.to_json())
            if part and (len(part) == MOST_REQUESTS or size + bytes_of > MOST_BYTES):
                yield self._submit(part)
                part, size = [], 0
            part.append(task)
            size += bytes_of
        if part:
            yield self._submit(part)

    def _submit(self, tasks: Sequence[Task]) -> Batch:
        live, store = self._live, self._job.store
        digests = [live.digests[task.item] for task in tasks]
        most = sum(task.most_usd for task in tasks) * FACTOR
        batch = row_store.put_batch(store, Batch(
            os.urandom(8).hex(), live.number, time.time(), live.endpoint, live.request.model, SUBMITTING, "",
            len(digests), most, live.money.held_id, b"".join(digests),
        ))  # fmt: skip
        try:
            status = self._batches.submit(
                [(digest.hex(), task.request) for digest, task in zip(digests, tasks, strict=True)]
            )
        except (APIError, TransportError) as error:
            if isinstance(error, APIError) and 400 <= error.status < 500 and error.status not in (408, 409, 429):
                row_store.remove_batch(store, batch)  # that is clear: it was not made
                live.money.release(most)
            else:
                error.hint = "the batch may have been made all the same: run it again, and it is looked for first"
            raise
        until = datetime.fromtimestamp(batch.at) + timedelta(days=KEPT_DAYS)
        live.progress.note(
            f"batch {status.id} of {many(len(tasks), 'request')}: its results are there until {until:%Y-%m-%d}; another"
            " kernel can collect them with the same call"
        )
        return row_store.put_batch(store, batch._replace(state=SUBMITTED, batch=status.id))

    def _find_submitted(self, batch: Batch) -> Batch | None:
        """Return a batch of an earlier kernel, with its name; None where it was never made.

        Raises: ConfigError where that cannot be told, and the user does not say that it is to be submitted anew.
        """
        store = self._job.store
        if batch.state != SUBMITTING:
            return batch
        if row_store.is_in_flight(store, batch.held, but=self._live.session_id):
            raise ConfigError(
                f"another kernel is submitting a batch of {many(batch.size, 'request')} with these rows",
                "nothing was sent; wait until it has done so, then run it again",
            )
        known = {one.batch for one in row_store.open_batches(store, self._live.endpoint, "")}
        try:
            listed, are_all = self._batches.listed()
            candidates = [one for one in listed if one.id not in known and _may_be(one, batch)]
            candidates = [one for one in candidates if not one.is_ended or self._is_ours(one.id, batch)]
        except CometError:
            candidates, are_all = [], False
        is_certain = len(candidates) == 1 and None not in (candidates[0].size, candidates[0].created)
        if is_certain:
            return row_store.put_batch(store, batch._replace(state=SUBMITTED, batch=candidates[0].id))
        if candidates or not are_all:
            at = datetime.fromtimestamp(batch.at)
            what = f"a batch of {many(batch.size, 'request')} was being submitted at {at:%H:%M on %Y-%m-%d} when its"
            what += " kernel ended, and whether the endpoint has it cannot be told"
            if not self._live.ask_user(f"{what}. Submit it anew, though it may be paid twice? [y/N] "):
                raise ConfigError(what, "nothing was sent; look at the provider's page of batches, then run it again")
        row_store.remove_batch(store, batch)
        return None

    def _is_ours(self, name: str, batch: Batch) -> bool:
        digests = {digest.hex() for digest in batch.each}
        return any(custom_id in digests for custom_id, _ in self._batches.results(name))

    # ---- waiting and collecting

    def _wait_and_collect(self, batch: Batch) -> None:
        try:
            self._wait(batch)
            self._collect(row_store.put_batch(self._job.store, batch._replace(state=ENDED)))
        except APIError as error:
            if error.status != 404:
                raise
            self._gone(batch)

    def _wait(self, batch: Batch) -> None:
        """Return when the batch has ended. Passing errors are waited out: it may take hours."""
        pause, failing_since = FIRST_POLL_S, None
        while True:
            try:
                status = self._batches.status(batch.batch)
                if status.is_ended:
                    return
                failing_since = None
                why = f"batch {batch.batch}: {status.working:,} of {batch.size:,} are being worked on"
            except CometError as error:
                failing_since = failing_since or time.monotonic()
                if meaning(error) != MOMENT or time.monotonic() - failing_since > PATIENCE_S:
                    raise
                why = f"batch {batch.batch}: {said(error)}; it is asked for again"
            try:
                self._live.wait(why, pause)
            except KeyboardInterrupt:
                self._interrupted(batch)
                raise
            pause = min(pause * 2, LONGEST_POLL_S)

    def _gone(self, batch: Batch) -> None:
        """Forget a batch that the endpoint does not know any more, where the user agrees. Raises: ConfigError."""
        what = f"the endpoint has batch {batch.batch} or its results no more; they are kept for {KEPT_DAYS} days"
        if not (self._job.options.yes or self._live.ask_user(f"{what}. Ask for its rows anew? [y/N] ")):
            raise ConfigError(what, "nothing was sent; yes=True (--yes) asks for its rows anew")
        row_store.remove_batch(self._job.store, batch)
        self._end_hold(batch)
        self._again += [self._item_of[digest] for digest in batch.each if digest in self._item_of]
        self._live.progress.note(what)

    def _end_hold(self, batch: Batch) -> None:
        """Set nothing aside for a batch any more."""
        money = self._live.money
        if batch.held == money.held_id:
            money.release(batch.most_usd or 0.0)
        elif not any(one.held == batch.held for one in self._open()):
            money.forget(batch.held)

    def _interrupted(self, batch: Batch) -> None:
        """Ask whether the batch is to go on without us."""
        question = f"Cancel batch {batch.batch}? What is done by then is paid, and collected the next time. [y/N] "
        if not self._live.ask_user(question):
            self._live.progress.note(f"batch {batch.batch} goes on; the same call collects it")
            return
        try:
            self._batches.cancel(batch.batch)
            self._live.progress.note(f"batch {batch.batch} is being cancelled; the same call collects what was done")
        except CometError as error:
            self._live.progress.note(f"batch {batch.batch} could not be cancelled, and goes on: {error.what}")

    def _collect(self, batch: Batch) -> None:
        """Read the results into the run.

        Raises: APIError where all requests failed for one reason, as for credit; Unreadable where results are missing.
        """
        live, left = self._live, set(batch.each)
        errors: list[tuple[int, APIError]] = []
        outcomes: list[Outcome] = []
        self._paid = []
        try:
            for custom_id, result in self._batches.results(batch.batch):
                digest = _digest(custom_id)
                if digest not in left:
                    continue
                left.discard(digest)
                item = self._item_of.get(digest)
                if result.get("type") == "succeeded":
                    outcomes += self._succeeded(item, result.get("message"))
                elif item is None:  # of rows that are no longer asked for
                    continue
                elif result.get("type") == "errored":
                    errors.append((item, error_from(200, result.get("error"))))
                else:  # expired or canceled: it was not sent, and cost nothing
                    self._again.append(item)
                if len(outcomes) >= AT_ONCE:
                    live.take(outcomes)
                    outcomes = []
        finally:
            live.take(outcomes)
        if len(left) > max(FEW_MISSING, batch.size // 20):
            what = f"{len(left):,} of {batch.size:,} results of batch {batch.batch} are missing"
            raise Unreadable(what, _LATER)
        self._again += [self._item_of[digest] for digest in left if digest in self._item_of]
        live.flush()  # what was paid is in the store before the batch is done with
        if row_store.collected(self._job.store, batch):  # else another kernel has counted it
            for usage, usd in self._paid:
                live.money.count(usage, usd)
        self._end_hold(batch)
        live.take([])
        reasons = {error.what for _, error in errors}
        if errors and len(errors) == batch.size and len(reasons) == 1 and meaning(errors[0][1]) == RUN:
            raise errors[0][1]
        for item, error in errors:
            if error.type in NEVER_TYPES or error.about:
                live.take([Outcome(item, None, said(error), is_lasting=error.about == "length")])
            else:
                self._again.append(item)

    def _succeeded(self, item: int | None, body: object) -> list[Outcome]:
        """Return what comes of a reply, which is paid for, also where its row is no longer asked for (None)."""
        live = self._live
        try:
            message = live.message_of(body)
        except CometError as error:
            return [] if item is None else [Outcome(item, None, said(error))]
        usd = live.money.cost_of(prices.estimated_usage(message.usage, live.request, message.text))
        usd = None if usd is None else usd * FACTOR
        self._paid.append((message.usage, usd))
        if item is None:
            return []
        try:
            if problem := problem_of(message):
                raise ReplyError(problem)
            return [Outcome(item, live.read(message), usd=usd)]
        except Mismatch:
            self._misfits[item] = None
            return []
        except ReplyError as error:
            return [Outcome(item, message, said(error), usd=usd)]


def _may_be(status: Status, batch: Batch) -> bool:
    """Return whether a batch of the endpoint's list may be the one whose submission got no answer."""
    is_as_large = status.size is None or status.size == batch.size
    return is_as_large and (status.created is None or status.created >= batch.at - CLOCKS_S)


def _digest(custom_id: str) -> bytes:
    try:
        return bytes.fromhex(custom_id)
    except ValueError:
        return b""
