"""One prompt over many rows: looked up, tried on one row, estimated, asked, written down as it comes.

What has been answered before is never asked again: the store is looked at first, before the budget and the pilot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..api.client import Client
from ..api.dialect import chosen_dialect
from ..api.endpoint import find_endpoint
from ..api.transport import HTTPRequest, HTTPResponse, PooledTransport, Transport
from ..errors import CometError, ConfigError, ReplyError
from ..exchange.negotiate import with_learned
from ..exchange.offered import find_dialect, find_offered
from ..exchange.session import Session
from ..messages import prices, tokens
from ..messages.message import Message
from ..messages.models import OfferedModel
from ..messages.prices import Price
from ..output.modes import OutputModes
from ..output.schema import Mismatch
from ..settings import CometSettings
from ..store import rows as row_store
from ..store.conversations import shrink
from ..store.rows import StoredRow
from ..text import dollars, many
from .ask import RowAsker
from .engine import Engine, Outcome, Task, stored_row
from .estimate import Estimate, Known, estimate
from .gate import Gate, gate_for
from .job import Job
from .money import Money
from .progress import Progress
from .prompt import NullField, RowProblem
from .result import NULL, PROBLEM, Failure, Items, Run
from .writer import Writer

if TYPE_CHECKING:
    pass

SMALL = 20  # requests, below which nobody is asked
PILOTS = 4  # further rows that are asked for an estimate, spread over the lengths
PILOTS_THAT_MAY_FAIL = 3
PAINT_S = 0.25
KEEP_SMALL_S = 10.0
ONLY = "it is not in the store, and CometSettings.replay = 'only' sends nothing"


class RowScreen(Protocol):
    """Where a run is shown, and where the user is asked."""

    def paint(self, progress: Progress) -> None: ...
    def finish(self, progress: Progress) -> None: ...
    def ask(self, question: str) -> bool | None:
        """Return whether the user says yes; None where nobody can answer."""


class Places(NamedTuple):
    """Where requests are made. transport: for all of them.        abandon: drops what is under way.

    close: lets go of what it holds.        most: requests at once.
    """

    transport: Transport
    abandon: Callable[[], None]
    close: Callable[[], None]


def on_threads(workers: int) -> Places:
    """Return the threads of this process."""
    transport = PooledTransport(workers)
    return Places(transport, transport.abandon, transport.close)


def run_rows(
    job: Job, settings: CometSettings, session: Session, screen: RowScreen,
    places: Callable[[int], Places] = on_threads, remember: Callable[[Run], None] = lambda run: None,
) -> Run:  # fmt: skip
    """Ask for all rows; return the run when it has ended. remember: gets it when it begins.

    Raises: ConfigError, TransportError or APIError for what ends the whole run, KeyboardInterrupt after an interrupt;
    what had come by then is in the run and in the store.
    """

    def again(**changes: Any) -> Any:
        options = job.options._replace(**{"yes": True, **changes})
        return run_rows(job._replace(options=options), settings, session, screen, places, remember).result

    items = Items()
    progress = Progress(asked=job.source.size)
    run = Run(job.source, job.columns, job.options.samples, items, progress, again)
    remember(run)
    running = _Running(job, settings, session, screen, items, progress, places)
    try:
        running.look_up()
        running.ask_missing()
        progress.state = "done"
    except BaseException:
        progress.state = "stopped"
        raise
    finally:
        running.close()
    if job.options.errors == "raise" and (failed := run.errors):
        reason, count = next(iter(failed.items()))
        raise ReplyError(
            f"{many(sum(failed.values()), 'row')} of {job.source.size:,} failed: {reason} ({count:,} ×)",
            "all replies are kept; comet_magic.last_run.result has the table, with the reasons in its column error",
        )
    return run


class _Running:
    """The state of one run while it goes on; for one thread."""

    def __init__(
        self, job: Job, settings: CometSettings, session: Session, screen: RowScreen, items: Items, progress: Progress,
        places: Callable[[int], Places],
    ) -> None:  # fmt: skip
        self._job, self._settings, self._session, self._screen = job, settings, session, screen
        self._items, self._progress, self._places_of = items, progress, places
        self._began = time.monotonic()
        self._painted = 0.0
        self._kept_small = time.monotonic()
        self._came: list[tuple[bytes, StoredRow]] = []
        self._known: list[Known] = []
        self._money: Money | None = None
        self._engine: Engine | None = None
        self._asker: RowAsker | None = None
        self._places: Places | None = None
        self._price: Price | None = None
        self._writer: Writer | None = None
        self._number = 0  # of the run in the store
        self._done_characters = self._all_characters = 0
        self._at_once_began = time.monotonic()
        self._request = job.request

    # ---- what there is

    def look_up(self) -> None:
        """Work out what is asked for each row, and take what the store has."""
        job, items = self._job, self._items
        self._read_rows()
        first_problem = items.problems.get(0)
        if first_problem and len(items.problems) == len(items.of_rows):
            raise ConfigError(first_problem, "it is so for every row; nothing was sent")
        self._progress.wanted = len(items.digests)
        if job.options.fresh or job.replay == "never" or not items.digests:
            return
        stored = row_store.find_rows(job.store, items.digests)
        values: dict[str, Any] = {}
        for item, digest in enumerate(items.digests):
            if (row := stored.get(digest)) is None:
                continue
            if row.error:
                if job.options.retry == "all":
                    continue
                self._fail(item, row.error)
            else:
                try:
                    if row.reply not in values:
                        values[row.reply] = self._read(row.reply)
                    items.values[item] = values[row.reply]
                except Mismatch:  # as where the type has changed its mind
                    continue
                self._progress.stored += 1
            items.replayed[item] = 1
            items.tokens[item] = -1 if row.tokens is None else row.tokens
            items.usd[item] = float("nan") if row.cost_usd is None else row.cost_usd

    def _read(self, text: str) -> Any:
        output = self._job.options.output
        return text if output is None else output.value_of(text)

    def _read_rows(self) -> None:
        job, items, progress = self._job, self._items, self._progress
        numbers: dict[bytes, int] = {}
        place = 0
        for part in job.source.parts(job.prompt.columns):
            size = len(next(iter(part.values()))) if part else min(1000, job.source.size)
            for number in range(size):
                samples = range(job.options.samples)
                try:
                    identity, length = job.prompt.identity(job.prompt.row(part, number))
                except NullField:
                    items.of_rows.extend([NULL] * len(samples))
                    progress.nulls += 1
                except RowProblem as problem:
                    for sample in samples:
                        items.problems[place + sample] = str(problem)
                    items.of_rows.extend([PROBLEM] * len(samples))
                    progress.failed[str(problem)] += 1
                else:
                    for sample in samples:
                        more = b"" if sample == 0 else b"\0sample\0%d" % sample
                        digest = sha256(job.prefix + identity + more).digest()
                        if (item := numbers.get(digest)) is None:
                            item = numbers[digest] = items.add(digest, place + sample, length)
                        items.of_rows.append(item)
                place += len(samples)

    # ---- what is missing

    def ask_missing(self) -> None:
        """Ask for what the store does not have, as far as the budget goes."""
        job = self._job
        missing = [item for item, value in enumerate(self._items.values) if value is None]
        if not missing:
            return
        if job.replay == "only":
            for item in missing:
                self._fail(item, ONLY)
            return
        self._prepare()
        assert self._engine is not None
        if not job.keeps:
            self._note("nothing is kept (CometSettings.keep = False), so a run that is stopped begins anew")
        try:
            missing = self._pilot(missing)
            if job.options.batch:
                missing = self._in_batches(missing)
            elif missing:
                missing = self._agreed(missing)
            self._at_once_began = time.monotonic()
            self._all_characters = sum(self._characters(item) for item in missing)
            self._ask(missing)
        except KeyboardInterrupt:
            assert self._places is not None
            self._places.abandon()
            self._take(self._engine.drain())
            raise

    def _prepare(self) -> None:
        """Find endpoint, price and dialect, and what is needed to send. Raises: ConfigError."""
        job, settings, session = self._job, self._settings, self._session
        endpoint = find_endpoint(settings)
        known: Mapping[str, OfferedModel] = find_offered(
            settings, session, job.store, endpoint, job.names, job.limits
        )  # fmt: skip
        self._price = prices.price_of(job.request.model, job.own_prices, known)
        limits = job.budget if endpoint.local_model is None else {}
        money = Money(
            job.store, session, endpoint.name, job.request.model, self._price, limits, job.options.budget
        )  # fmt: skip
        self._money = money
        money.check_price()
        request = replace(job.request, dialect=find_dialect(settings, endpoint, job.names, known))
        is_chosen = bool(chosen_dialect(job.names, settings.dialects))
        self._request = with_learned(request, job.store, endpoint.name, is_chosen=is_chosen)
        modes = None
        if job.options.output:
            is_embedded = endpoint.local_model is not None
            modes = OutputModes(job.store, endpoint.name, self._request, is_embedded=is_embedded)
        key = endpoint.key.hint if endpoint.key else ""
        gate = gate_for(endpoint.name, key, self._request.model)
        self._places = self._places_of(job.options.workers)
        transport = _Observed(self._places.transport, gate)
        client = Client(transport, endpoint.opened(self._note), self._note, job.limits)
        self._asker = RowAsker(
            client, endpoint.name, job.store, session, money, job.options.output, modes,
            is_dialect_chosen=is_chosen, offered=known,
        )  # fmt: skip
        self._engine = Engine(
            self._asker, gate, money, job.options.workers, rpm=job.options.rpm, tpm=job.options.tpm,
            raised_max_tokens=job.raised_max_tokens,
        )  # fmt: skip
        self._gate = gate
        self._client = client
        number = self._number = row_store.begin_run(job.store, endpoint.name, self._request.model)
        self._writer = Writer(lambda came, paid: row_store.keep_rows(job.store, number, came, paid))

    def _note(self, text: str) -> None:
        if text and text not in self._progress.notes:
            self._progress.notes = (*self._progress.notes, text)

    def _pilot(self, missing: list[int]) -> list[int]:
        """Ask for the first row alone: it proves key, model and type, and fills the prompt cache. Returns: the rest.

        Raises: what ended it; nothing else has been sent then.
        """
        engine = self._engine
        assert engine is not None and self._asker is not None
        for number, item in enumerate(missing[:PILOTS_THAT_MAY_FAIL]):
            outcomes: list[Outcome] = []
            for came in engine.run(iter(self._tasks([item]))):
                outcomes += came
                self._take(came)
            self._check_ended()
            if self._asker.learned is not None:
                learned = self._asker.learned
                self._request = replace(self._request, dialect=learned.dialect, refused=learned.refused)
            if outcomes and not outcomes[-1].error:
                self._gate.warmed()
                self._advise(outcomes[-1].message)
                return missing[number + 1 :]
            if outcomes and outcomes[-1].error == "not sent: budget":
                return missing[number + 1 :]
        if len(missing) >= PILOTS_THAT_MAY_FAIL:
            reasons = list(self._progress.failed)
            raise ConfigError(
                f"the first {PILOTS_THAT_MAY_FAIL} rows failed, so no other was sent: {reasons[-1]}",
                "correct the prompt, the type or the settings; comet_magic.last_run.frame() has the rows",
            )
        return []

    def _advise(self, message: Message | None) -> None:
        prompt = self._job.prompt
        behind = prompt.fixed_tokens - prompt.fixed_first
        if behind > max(1000, prompt.fixed_first):
            self._note(
                f"about {behind:,} tokens that are the same for all rows stand behind the row: put them before it, and"
                " an endpoint with a prompt cache reads them from there"
            )

    def _agreed(self, missing: list[int]) -> list[int]:
        """Ask the user whether to go on, where that is not said already. Returns: what is still missing.

        Raises: ConfigError where the user does not say yes, or nobody can.
        """
        options = self._job.options
        if options.yes or options.budget is not None or len(missing) < SMALL:
            return missing
        by_length = sorted(missing, key=lambda item: (self._items.lengths[item], item))
        chosen = {by_length[(2 * number + 1) * len(by_length) // (2 * PILOTS)] for number in range(PILOTS)}
        self._ask([item for item in missing if item in chosen])
        missing = [item for item in missing if item not in chosen]
        expected = self._estimate(missing)
        self._consent(expected)
        return missing

    def _consent(self, expected: Estimate) -> None:
        assert self._money is not None
        progress = self._progress
        left = self._money.left_usd()
        if left is not None and expected.most_usd is not None and expected.most_usd <= left:
            return
        line = expected.line(progress.asked, progress.wanted, progress.stored)
        answer = self._screen.ask(f"{line}. Go on? [y/N] ")
        if answer is None:
            raise ConfigError(
                f"nobody could be asked whether to go on. {line}",
                "yes=True (--yes) goes on without a question, budget=2 (--budget 2) up to that many US dollars;"
                " the replies so far are kept",
            )
        if not answer:
            raise ConfigError(f"not sent: you did not say yes. {line}", "the replies so far are kept")

    def _estimate(self, missing: Sequence[int], factor: float = 1.0) -> Estimate:
        lengths = [self._items.lengths[item] for item in missing]
        most = 0.0
        if self._price is not None:
            base, cap = self._base_tokens(), self._request.max_tokens
            ratio = self._token_ratio()
            for length in lengths:
                prompt = round((base + length / tokens.BYTES_A_TOKEN * 2 + 200) * ratio)
                most += self._price.most(prompt, cap)
            if self._job.options.output:  # one may be mended once
                most *= 2
        return estimate(
            self._known, lengths, self._fixed_characters(), self._price, most,
            min(self._job.options.workers, 64), factor,
        )  # fmt: skip

    def _token_ratio(self) -> float:
        """Return by how much the endpoint counts more tokens than are estimated; at least 1."""
        ratios = [
            (one.message.usage.prompt_tokens or 0) / max(one.characters / tokens.BYTES_A_TOKEN, 1.0)
            for one in self._known
        ]
        return max(1.0, *ratios) if ratios else 1.0

    def _base_tokens(self) -> int:
        return prices.estimated_prompt(self._request) + tokens.OF_A_MESSAGE + self._job.prompt.fixed_tokens

    def _fixed_characters(self) -> int:
        return self._base_tokens() * tokens.BYTES_A_TOKEN

    def _characters(self, item: int) -> int:
        return self._items.lengths[item] + self._fixed_characters()

    def _tasks(self, wanted: Iterable[int]) -> Iterator[Task]:
        """Yield the requests for these items, each when it is wanted."""
        job, items = self._job, self._items
        samples, begin, end = job.options.samples, 0, 0
        part: dict[Any, list[Any]] = {}
        for item in wanted:
            row = items.firsts[item] // samples
            if not begin <= row < end:
                begin = row // 1000 * 1000
                end = min(begin + 1000, job.source.size)
                part = job.source.part(job.prompt.columns, begin, end)
            try:
                message, is_cut = job.prompt.message(job.prompt.row(part, row - begin))
            except (NullField, RowProblem, CometError) as problem:
                self._fail(item, str(problem))
                continue
            request = replace(self._request, messages=(message,))
            prompt_tokens = self._base + tokens.estimated_message(message)
            most = self._price.most(prompt_tokens, request.max_tokens) if self._price else 0.0
            yield Task(item, request, most, prompt_tokens + request.max_tokens, is_cut=is_cut)

    @property
    def _base(self) -> int:
        if not hasattr(self, "_base_known"):
            self._base_known = prices.estimated_prompt(self._request) + tokens.OF_A_MESSAGE
        return self._base_known

    def _ask(self, wanted: Sequence[int]) -> None:
        """Ask for these items. Raises: KeyboardInterrupt, or what ended the run, once what was under way has come."""
        assert self._engine is not None
        for outcomes in self._engine.run(self._tasks(wanted)):
            self._take(outcomes)
            self._paint()
        self._check_ended()

    def _check_ended(self) -> None:
        assert self._engine is not None
        if self._engine.stopped:
            raise self._engine.stopped
        if self._engine.interrupts:
            raise KeyboardInterrupt

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        """Take what has come: into the result, and into the store."""
        items, progress = self._items, self._progress
        for outcome in outcomes:
            item, message = outcome.item, outcome.message
            items.tries[item] = min(outcome.tries, 255)
            items.seconds[item] += outcome.seconds
            if outcome.usd is not None:
                items.usd[item] = outcome.usd
            progress.cut += outcome.is_cut
            self._done_characters += self._items.lengths[item] + self._fixed_characters_once()
            text = ""
            if message is not None:
                usage = message.usage
                if usage.prompt_tokens is not None:
                    items.tokens[item] = usage.prompt_tokens + (usage.output_tokens or 0)
                items.request_ids[item] = message.request_id
            if outcome.error or message is None:
                self._fail(item, outcome.error or "no reply came")
            else:
                text = message.text
                items.values[item] = message.value if self._job.options.output else text
                progress.answered += 1
                if len(self._known) <= PILOTS + 1:
                    self._known.append(Known(message, self._characters(item), outcome.seconds))
            if (row := stored_row(outcome, text)) is not None:
                self._came.append((items.digests[item], row))
        if outcomes:
            self.keep()

    def _fixed_characters_once(self) -> int:
        if not hasattr(self, "_fixed_known"):
            self._fixed_known = self._fixed_characters()
        return self._fixed_known

    def _fail(self, item: int, why: str) -> None:
        self._items.values[item] = Failure(why)
        self._progress.failed[why] += 1

    def keep(self) -> None:
        """Put into the store what has come since the last time."""
        came, self._came = self._came, []
        if self._money is not None and self._writer is not None:
            self._writer.put(came, self._money.paid())

    def _paint(self) -> None:
        now = time.monotonic()
        if now - self._painted < PAINT_S:
            return
        self._painted = now
        self._update(now)
        self._screen.paint(self._progress)

    def _update(self, now: float) -> None:
        progress, engine, money = self._progress, self._engine, self._money
        progress.seconds = now - self._began
        if money is not None:
            progress.usage, progress.usd = money.usage, money.spent_usd if self._price else None
        if engine is not None:
            progress.at_once, progress.twice, progress.waiting = engine.at_once, engine.twice, engine.waiting
            if engine.interrupts:
                progress.state = "stopping"
        took = max(now - self._at_once_began, 0.001)
        done = progress.answered + progress.failed.total()
        progress.rate = done / max(progress.seconds, 0.001)
        if self._done_characters and took > 1:
            left = max(self._all_characters - self._done_characters, 0)
            progress.left_s = left * took / self._done_characters

    def _in_batches(self, missing: list[int]) -> list[int]:
        """Ask in Message Batches. Returns: what is to be asked live all the same."""
        raise ConfigError("batches are not there", "nothing was sent")

    def close(self) -> None:
        """Give back all that is held, and show how it ended."""
        if self._engine is not None:
            self._engine.close()
        if self._places is not None:
            self._places.close()
        if self._money is not None:
            self.keep()
            if self._writer is not None:
                self._writer.close()
            self._money.close()
        if self._number:
            if self._progress.state == "done":
                row_store.end_run(self._job.store, self._number)
            self._keep_small()
        if problem := self._job.store.problem:
            self._note(problem)
        self._update(time.monotonic())
        self._screen.finish(self._progress)

    def _keep_small(self) -> None:
        store, limit = self._job.store, self._job.store_limit_mb
        if store.may_be_over(limit) and store.size_mb() > limit:
            shrink(store, limit)
            if (size := store.size_mb()) > limit:
                self._note(
                    f"the store holds {size:,.0f} MB, more than store_limit_mb = {limit:g}: replies to rows stay for 30"
                    " days; %claude_history --prune 7d removes older ones"
                )


class _Observed:
    """A transport whose answers tell the gate of the endpoint's limits."""

    def __init__(self, transport: Transport, gate: Gate) -> None:
        self._transport, self._gate = transport, gate

    def __call__(self, request: HTTPRequest) -> HTTPResponse:
        response = self._transport(request)
        self._gate.read_headers(response.headers)
        return response


def cost_line(run: Run) -> str:
    """Return what a run has cost, in words; "" without a price."""
    return "" if run.usd is None else f"≈ {dollars(run.usd)}"
