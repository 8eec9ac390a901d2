"""The part of a run that asks: one row first and alone, an estimate and a question, then all others at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType

from ..api.client import Client, MessageStream
from ..api.dialect import chosen_dialect
from ..api.endpoint import find_endpoint
from ..api.transport import HTTPRequest, HTTPResponse, Transport
from ..errors import CometError, ConfigError
from ..exchange.negotiate import with_learned
from ..exchange.offered import find_dialect, find_offered
from ..exchange.session import Session
from ..keys import without_key
from ..messages import prices, tokens
from ..messages.message import Message
from ..messages.models import OfferedModel
from ..messages.request import MESSAGES, Request
from ..output.modes import OutputModes
from ..settings import CometSettings
from ..store import rows as row_store
from ..store.conversations import shrink
from ..store.rows import Paid, StoredRow
from ..text import dollars, many
from .backend import Backend
from .engine import Engine, Outcome, Task, stored_row
from .estimate import Estimate, PilotReply, estimate
from .failures import NOT_SENT
from .gate import Gate, gate_for
from .job import Job
from .money import Money
from .progress import Progress, RowScreen
from .prompt import NullField, RowProblem
from .result import Failure, Items
from .send import RowSender
from .source import PART
from .writer import Came, Writer

SMALL = 20  # requests, below which nobody is asked whether to go on
PILOTS = 4  # further rows that are asked for an estimate, spread over the lengths
PAINT_S = 0.25  # seconds between two paints
CHANGES = "not sent: the expressions in the prompt give another text each time they are worked out"
NOT_KEPT = "nothing is kept (CometSettings.keep = False), so a run that is stopped begins anew"


class LiveRun:
    """Asks for the items of a job that have no value yet. Use it in a `with`; its methods are for one thread."""

    def __init__(
        self, job: Job, settings: CometSettings, session: Session, screen: RowScreen, items: Items, progress: Progress,
        backend: Callable[[int], Backend],
    ) -> None:  # fmt: skip
        """Find endpoint, price and dialect. Raises: ConfigError; nothing has been sent by then."""
        self._job, self._screen, self._items, self.progress = job, screen, items, progress
        self._known: list[PilotReply] = []
        self._painted = 0.0
        self.session_id = session.id
        self._conversation = session.conversation_name(settings)
        self._done_characters = self._all_characters = 0
        endpoint = find_endpoint(settings)
        if endpoint.name != job.endpoint.name:  # as when a run of yesterday is repeated
            raise ConfigError(f"the endpoint was {job.endpoint.name}, and is {endpoint.name} now", "nothing was sent")
        known: Mapping[str, OfferedModel] = find_offered(
            settings, session, job.store, endpoint, job.names, job.limits
        )  # fmt: skip
        self._price = prices.price_of(job.request.model, job.own_prices, known)
        budget = job.budget if endpoint.local_model is None else {}
        self.money = Money(
            job.store, session, endpoint.name, job.request.model, self._price, budget, job.options.budget
        )  # fmt: skip
        self.money.check_price()
        request = replace(job.request, dialect=find_dialect(settings, endpoint, job.names, known))
        is_chosen = bool(chosen_dialect(job.names, settings.dialects))
        self.request = with_learned(request, job.store, endpoint.name, is_chosen=is_chosen)
        modes = None
        if job.options.output:
            is_embedded = endpoint.local_model is not None
            modes = OutputModes(job.store, endpoint.name, self.request, is_embedded=is_embedded)
        self._gate = gate_for(endpoint.name, endpoint.key.hint if endpoint.key else "", self.request.model)
        opened = endpoint.opened(self._announce)
        self._backend = backend(job.options.workers)
        self.client = Client(_observed(self._backend.transport, self._gate), opened, limits=job.limits)
        self._sender = RowSender(
            self.client, endpoint.name, job.store, session, self.money, job.options.output, modes,
            is_dialect_chosen=is_chosen, offered=known,
        )  # fmt: skip
        self._engine = Engine(
            self._sender, self._gate, self.money, job.options.workers, rpm=job.options.rpm, tpm=job.options.tpm,
            raised_max_tokens=job.raised_max_tokens, unwritten=lambda: self._writer.waiting,
        )  # fmt: skip
        self.endpoint = endpoint.name
        progress.model = opened.label or self.request.model
        number = self.number = row_store.begin_run(job.store, endpoint.name, self.request.model)

        def keep(came: Came, paid: Paid) -> None:
            row_store.keep_rows(job.store, number, came, paid)
            self.money.is_written(paid)

        self._writer = Writer(keep, self._engine.wake)
        self._set_lengths(self.request)

    def _set_lengths(self, request: Request) -> None:
        """Work out what all requests have in common, in tokens."""
        self.request = request
        self._own_tokens = prices.estimated_prompt(request) + tokens.OF_A_MESSAGE
        self._fixed_characters = (self._own_tokens + self._job.prompt.fixed_tokens) * tokens.BYTES_A_TOKEN

    def __enter__(self) -> LiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take what has come, write it down, and give back all that is held."""
        with ExitStack() as stack:  # each is done, also where one before it fails
            stack.callback(self._keep_small)
            stack.callback(row_store.end_run, self._job.store, self.number, is_whole=error is None)
            stack.callback(self._update)
            stack.callback(self._backend.close)
            stack.callback(self.money.close)
            stack.callback(self._writer.close)
            stack.callback(lambda: self._writer.put([], self.money.paid()))
            stack.callback(self._engine.close)
            stack.callback(lambda: self.take(self._engine.take()))
            if error is not None:
                self._backend.abandon()

    # ---- in order

    def ask(self, missing: list[int]) -> None:
        """Ask for these items, as far as the budget goes.

        Raises: ConfigError where the user does not say yes, and whatever no row would survive.
        """
        job = self._job
        if not job.keeps:
            self.progress.note(NOT_KEPT)
        if job.options.batch:
            from .batches import BatchedRows

            missing = BatchedRows(self, job).ask(missing, self.first)
        else:
            self._check_batches(missing)
            missing = self.first(missing)
            if self.needs_consent(missing):
                missing = self.some(missing)
                self.agree(missing)
        self.all(missing)

    def _check_batches(self, missing: Sequence[int]) -> None:
        """Raises: ConfigError where rows are in a batch that goes on: asked live, they would be paid twice."""
        if self._job.options.fresh or self.request.dialect != MESSAGES:
            return
        digests = {self._items.digests[item] for item in missing}
        for batch in row_store.open_batches(self._job.store, self.endpoint, self.request.model):
            if count := len(digests & set(batch.each)):
                raise ConfigError(
                    f"{many(count, 'row')} of these are in a batch that has not been collected",
                    "nothing was sent; batch=True (--batch) collects it, fresh=True (--fresh) asks all rows anew",
                )

    def first(self, missing: list[int]) -> list[int]:
        """Ask for the first item alone: it proves key, model and type, and fills the prompt cache. Returns: the others.

        Where it fails by itself, one in the middle and the last are tried.
        Raises: what ended it, or ConfigError when they have all failed; nothing else has been sent then.
        """
        last = len(missing) - 1
        chosen = [missing[number] for number in dict.fromkeys((0, last // 2, last))]
        others = list(missing)
        for item in chosen:
            self.all([item])
            others.remove(item)
            if learned := self._sender.learned:
                self._set_lengths(replace(self.request, dialect=learned.dialect, refused=learned.refused))
            if self._engine.has_raised and self._job.raised_max_tokens:
                self._set_lengths(replace(self.request, max_tokens=self._job.raised_max_tokens))
            value = self._items.values[item]
            if not isinstance(value, Failure):
                self._gate.warmed()
                self._advise()
            if not isinstance(value, Failure) or value.why == NOT_SENT:
                self._engine.raised_max_tokens = (
                    None  # what is enough for one is for all, and the estimate counts on it
                )
                return others
        if others:
            why = self._items.values[chosen[-1]].why
            raise ConfigError(
                f"{len(chosen)} rows were tried and failed, so no other was sent: {why}",
                "correct the prompt, the type or the settings; comet_magic.last_run.frame() has the rows",
            )
        return []

    def _advise(self) -> None:
        prompt = self._job.prompt
        behind = prompt.fixed_tokens - prompt.fixed_first
        if behind > max(1000, prompt.fixed_first):
            self.progress.note(
                f"about {behind:,} tokens that are the same for all rows stand behind the row: put them before it, and"
                " an endpoint with a prompt cache reads them from there"
            )

    def some(self, missing: list[int]) -> list[int]:
        """Ask for a few items, spread over the lengths, for the estimate. Returns: the others."""
        by_length = sorted(missing, key=lambda item: (self._items.lengths[item], item))
        chosen = {by_length[(2 * number + 1) * len(by_length) // (2 * PILOTS)] for number in range(PILOTS)}
        self.all([item for item in missing if item in chosen])
        return [item for item in missing if item not in chosen]

    def estimate(self, missing: Sequence[int], factor: float = 1.0) -> Estimate:
        """Return what these items will cost and take. factor: of the price."""
        lengths = [self._items.lengths[item] for item in missing]
        most, ratio, cap = 0.0, self._token_ratio(), self.request.max_tokens
        if self._price is not None:
            fixed = self._fixed_characters / tokens.BYTES_A_TOKEN
            for length in lengths:  # of other scripts, a character may be two tokens, and its frame takes some
                most += self._price.most(round((fixed + length * 2 + 40) * ratio), cap)
            if self._job.options.output:  # one that does not fit is asked for once more
                most *= 2
        at_once = min(self._job.options.workers, max(self._gate.limit, 1) * 2)
        return estimate(self._known, lengths, self._fixed_characters, self._price, most, at_once, factor)

    def _token_ratio(self) -> float:
        """Return how many times the tokens that are estimated the endpoint counts; at least 1."""
        ratios = [
            (one.message.usage.prompt_tokens or 0) * tokens.BYTES_A_TOKEN / max(one.characters, 1)
            for one in self._known
        ]
        return max([1.0, *ratios])

    def needs_consent(self, missing: Sequence[int]) -> bool:
        """Return whether the user is to be asked, or a budget of the settings is to cover it."""
        return not self._job.options.yes and len(missing) >= SMALL

    def agree(self, missing: Sequence[int], factor: float = 1.0) -> None:
        """Have the user agree to the estimate, where that is needed. factor: of the price; below 1 for a batch.

        Raises: ConfigError for anything but yes.
        """
        if self._known and self.needs_consent(missing):  # without a reply, there is no money for a single row
            expected = self.estimate(missing, factor)
            self.consent(expected if factor == 1.0 else expected._replace(seconds=None))

    def consent(self, expected: Estimate) -> None:
        """Ask the user whether to go on, where the budgets do not say so. Raises: ConfigError for anything but yes."""
        progress, budget = self.progress, self._job.options.budget
        if expected.most_usd is not None and self.money.covers(expected.most_usd):
            return
        line = expected.line(progress, self.request.model)
        bound = "" if budget is None else f" No more than {dollars(budget)} is spent."
        answer = self._screen.ask(f"{line}.{bound} Go on? [y/N] ")
        if answer is None and budget is not None:  # which holds, whoever is there
            return
        if answer is None:
            raise ConfigError(
                f"nobody could be asked whether to go on. {line}",
                "yes=True (--yes) goes on without a question, budget=2 (--budget 2) up to that many US dollars;"
                " the replies so far are kept",
            )
        if not answer:
            what = f"stopped: you did not say yes; {self.progress.answered:,} of {self.progress.requests:,} were asked"
            raise ConfigError(what, "their replies are kept; comet_magic.last_run.result is the table with them")

    def all(self, items: Sequence[int]) -> None:
        """Ask for these items. Raises: KeyboardInterrupt, or what ended the run, once what was under way has come."""
        self._all_characters = self._done_characters + sum(map(self._characters, items))
        began, done = time.monotonic(), self._done_characters
        for outcomes in self._engine.run(self.tasks(items)):
            self.take(outcomes)
            took = time.monotonic() - began
            if took > 1 and self._done_characters > done:
                left = self._all_characters - self._done_characters
                self.progress.left_s = left * took / (self._done_characters - done)
            self.paint()
        if self._engine.stopped:
            raise self._engine.stopped
        if self._engine.interrupts:
            raise KeyboardInterrupt

    # ---- requests and what comes of them

    def tasks(self, items: Iterable[int]) -> Iterator[Task]:
        """Yield the requests for these items, each when it is its turn."""
        job, begin, end = self._job, 0, 0
        part: dict[object, list[object]] = {}
        for item in items:
            row = self._items.firsts[item] // job.options.samples
            if not begin <= row < end:
                begin = row // PART * PART
                end = min(begin + PART, job.source.size)
                part = job.source.part(job.prompt.columns, begin, end)
            one = job.prompt.row(part, row - begin)
            try:
                if job.digest(job.prompt.identity(one).data, self._items.firsts[item]) != self._items.digests[item]:
                    raise RowProblem(CHANGES)
                message = job.prompt.message(one)
            except (NullField, RowProblem, CometError) as problem:
                self.fail(item, str(problem))
                continue
            request = replace(self.request, messages=(message,))
            prompt_tokens = self._own_tokens + tokens.estimated_message(message)
            most = self._price.most(prompt_tokens, request.max_tokens) if self._price else 0.0
            yield Task(item, request, most, prompt_tokens + request.max_tokens)

    def _characters(self, item: int) -> int:
        return self._items.lengths[item] + self._fixed_characters

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Take what has come: into the result, and into the store."""
        came: list[tuple[bytes, StoredRow]] = []
        try:
            self._put_all(outcomes, came)
        finally:
            if outcomes or came:
                self._writer.put(came, self.money.paid())

    def _put_all(self, outcomes: Sequence[Outcome], came: list[tuple[bytes, StoredRow]]) -> None:
        """Put what has come into the result. came: gets what is to be written down."""
        items, progress = self._items, self.progress
        for outcome in outcomes:
            item, message, text = outcome.item, outcome.message, ""
            items.tries[item] = min(outcome.tries, 255)
            items.seconds[item] += outcome.seconds
            if outcome.usd is not None:
                items.usd[item] = outcome.usd
            self._done_characters += self._characters(item)
            if message is not None:
                if message.usage.prompt_tokens is not None:
                    items.tokens[item] = message.usage.prompt_tokens + (message.usage.output_tokens or 0)
                items.request_ids[item] = message.request_id
            if outcome.error == NOT_SENT:
                progress.note(f"{NOT_SENT}: {self.money.refusal}")
            if outcome.error or message is None:
                self.fail(item, outcome.error or "no reply came")
            else:
                text = message.text
                progress.answered += self._put(item, message)
                if len(self._known) <= PILOTS:
                    self._known.append(PilotReply(message, self._characters(item), outcome.seconds))
            if row := stored_row(outcome, text):
                came.append((items.digests[item], row))

    def _put(self, item: int, message: Message) -> bool:
        """Put a reply into the columns. Returns: whether they have room for it."""
        value = self._items.values[item] = self._job.cells_of(
            message.value if self._job.options.output else message.text
        )
        if isinstance(value, Failure):
            self.progress.failed[value.why] += 1
        return not isinstance(value, Failure)

    def fail(self, item: int, why: str) -> None:
        self._items.values[item] = Failure(why)
        self.progress.failed[why] += 1

    # ---- for what comes another way than by one request a row

    @property
    def digests(self) -> Sequence[bytes]:
        """What tells the items from one another."""
        return self._items.digests

    def still_missing(self, items: Iterable[int]) -> list[int]:
        return [item for item in items if self._items.values[item] is None]

    def ask_user(self, question: str) -> bool | None:
        return self._screen.ask(question)

    def message_of(self, body: object) -> Message:
        """Return a reply that stands in another body. Raises: CometError where it is none."""
        response = HTTPResponse(200, {"content-type": "application/json"}, [json.dumps(body).encode("ascii")])
        return without_key(
            MessageStream(self.request, response, time.monotonic()).until_done(), self.client.endpoint.key
        )

    def read(self, message: Message) -> Message:
        """Return a reply with its value. Raises: Mismatch."""
        return self._sender.read(message)

    def adapted(self, request: Request) -> Request:
        """Return a request in the way in which the endpoint takes it."""
        return self._sender.adapted(request)

    def flush(self) -> None:
        """Return when all that has come is written down."""
        self._writer.flush()

    def wait(self, why: str, seconds: float) -> None:
        """Let time go by, and say why. Raises: KeyboardInterrupt."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.progress.waiting = why
            self._screen.paint(self.progress)
            time.sleep(min(left, 1.0))

    # ---- the screen and the store

    def _announce(self, text: str) -> None:
        self.progress.waiting = text
        self._screen.paint(self.progress)

    def paint(self) -> None:
        if time.monotonic() - self._painted >= PAINT_S:
            self._painted = time.monotonic()
            self._update()
            self._screen.paint(self.progress)

    def _update(self) -> None:
        progress, engine = self.progress, self._engine
        progress.usage, progress.usd = self.money.usage, self.money.spent_usd if self._price else None
        progress.at_once, progress.twice, progress.waiting = engine.in_flight, engine.twice, engine.waiting
        if engine.interrupts:
            progress.state = "stopping"

    def _keep_small(self) -> None:
        store, limit = self._job.store, self._job.store_limit_mb
        if store.may_be_over(limit) and store.size_mb() > limit:
            shrink(store, limit, keep=self._conversation)
            if (size := store.size_mb()) > limit:
                self.progress.note(
                    f"the store holds {size:,.0f} MB, more than store_limit_mb = {limit:g}: replies to rows stay for 30"
                    " days; %claude_history --prune 7d removes what is older than that"
                )


def _observed(transport: Transport, gate: Gate) -> Transport:
    """Return a transport whose answers tell the gate of the endpoint's limits."""

    def send(request: HTTPRequest) -> HTTPResponse:
        response = transport(request)
        gate.read_headers(response.headers)
        return response

    return send
