"""One prompt over many rows, from the look into the store to the last reply.

What has been answered before is never asked again: the store is looked at first, before the budget and the first row.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..errors import ConfigError, ReplyError
from ..exchange.dry_run import DryRun
from ..exchange.session import Session
from ..output.modes import OutputModes
from ..settings import CometSettings
from ..text import many
from .backend import Backend, thread_backend
from .job import Job
from .live import LiveRun
from .lookup import look_up
from .progress import Progress, RowScreen
from .prompt import NullField, RowProblem
from .result import NOT_ASKED, Failure, Items, Run

ONLY = "it is not in the store, and CometSettings.replay = 'only' sends nothing"


def dry_run(job: Job) -> DryRun:
    """Return what would be sent for the first row that the store does not have. Raises: ConfigError."""
    items, progress = Items(), Progress(rows=job.source.size, samples=job.options.samples)
    look_up(job, items, progress)
    missing = items.missing
    counts = f"{progress.rows:,} rows, {progress.requests:,} different, {progress.stored:,} in the store"
    requests = f"{many(len(missing), 'request')}, of which this is the first"
    more = f"{counts}: {requests if missing else 'nothing would be sent; this is what was sent for the first row'}"
    position = items.firsts[(missing or [0])[0]] if items.firsts else 0
    row = position // job.options.samples
    part = job.source.part(job.prompt.columns, row, row + 1)
    try:
        request = replace(job.request, messages=(job.prompt.message(job.prompt.row(part, 0)),))
    except (NullField, RowProblem, IndexError) as problem:
        raise ConfigError(f"there is no row for which something would be sent: {problem}", "nothing was sent") from None
    if job.options.output:
        request = replace(request, mode=OutputModes(job.store, job.endpoint.name, request).now)
    return DryRun(request, job.endpoint, f"row {row:,}, counted from 0", None, more)


def run_rows(
    job: Job, settings: CometSettings, session: Session, screen: RowScreen,
    backend: Callable[[int], Backend] = thread_backend, remember: Callable[[Run], None] = lambda run: None,
    former: Items | None = None,
) -> Run:  # fmt: skip
    """Ask for all rows; return the run when it has ended. remember: gets it when it begins.

    former: what has been asked already in the run that this one repeats.
    Raises: ConfigError, TransportError or APIError for what ends the whole run; KeyboardInterrupt after an interrupt;
    ReplyError at the end, where failed rows are to raise. What had come by then is in the run, and in the store.
    """

    def again(**changes: Any) -> Any:
        options = job.options._replace(**{"yes": True, "errors": "column", **changes})
        return run_rows(job._replace(options=options), settings, session, screen, backend, remember, items).result

    items, progress = Items(), Progress(rows=job.source.size, samples=job.options.samples)
    run = Run(job.source, job.columns, job.options.samples, items, progress, again)
    remember(run)
    try:
        look_up(job, items, progress, former)
        missing = items.missing
        if missing and job.replay == "only":
            for item in missing:
                items.values[item] = Failure(ONLY)
            progress.failed[ONLY] += len(missing)
        elif missing:
            with LiveRun(job, settings, session, screen, items, progress, backend) as live:
                live.ask(missing)
        progress.state = "done"
    except BaseException:
        progress.state = "stopped"
        raise
    finally:
        progress.ended = time.monotonic()
        progress.failed_rows = Counter({why: count for why, count in run.errors.items() if why != NOT_ASKED})
        session.store(settings)  # looks whether the file is still there
        progress.note(session.news_of_store())
        screen.finish(progress)
    if job.options.errors == "raise" and (failed := run.errors):
        reason, count = next(iter(failed.items()))
        raise ReplyError(
            f"{many(sum(failed.values()), 'row')} of {job.source.size:,} failed: {reason} ({count:,} ×)",
            "all replies are kept; comet_magic.last_run.result has the table, with the reasons in its column error",
        )
    return run
