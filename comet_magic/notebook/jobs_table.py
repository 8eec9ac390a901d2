"""The jobs that make pictures, sound, film and transcripts, as a table."""

from __future__ import annotations

from datetime import datetime

from ..exchange.session import current
from ..media.order import NOUNS
from ..media.run import drop, jobs
from ..render.table import Table, about
from ..settings import CometSettings
from ..store.media import ANSWERED, FAILED, REFUSED, SUBMITTED, SUBMITTING
from ..text import one_line

SHOWN, MOST_SHOWN = 20, 500
_WORDS = {SUBMITTING: "being sent", SUBMITTED: "running", ANSWERED: "not all fetched", "fetched": "done"}


def jobs_table(*, is_all: bool = False) -> Table:
    """Return the jobs that are not done and the latest others, 20 at least; or the latest 500, the newest first."""
    settings = CometSettings.instance()
    listed = jobs(settings, current())
    waiting = [job for job in listed if job.state in (SUBMITTING, SUBMITTED, ANSWERED)]
    shown = (
        listed if is_all else [*waiting, *[job for job in listed if job not in waiting][: max(0, SHOWN - len(waiting))]]
    )
    rows = []
    for job in shown[:MOST_SHOWN]:
        state = _WORDS.get(job.state, job.state)
        rows.append((
            job.name, f"{datetime.fromtimestamp(job.at):%Y-%m-%d %H:%M}", NOUNS[job.kind][0], job.model, state,
            about(None if job.state in (FAILED, REFUSED) else job.usd), one_line(job.prompt, 50), one_line(job.why, 80),
        ))  # fmt: skip
    notes = []
    if waiting:
        notes.append(f"%comet_resume {waiting[0].name} waits for that job, and shows what comes of it")
    if len(listed) > len(rows) and not is_all:
        notes.append(f"{len(rows)} of {len(listed):,} jobs; %comet_jobs --all shows more")
    if not listed:
        notes.append("there are no jobs yet")
    head = ("job", "ordered", "what", "model", "state", "cost", "prompt", "")
    columns = [at for at in range(len(head)) if at < 5 or any(row[at] for row in rows)]
    return Table("", tuple(head[at] for at in columns), [tuple(row[at] for at in columns) for row in rows], notes)


def dropped(named: str) -> str:
    """Give up a job. Returns: what was done, in words. Raises: ConfigError where it does not go on."""
    job = drop(named, CometSettings.instance(), current())
    return f"job {job.name} is given up: its cell says so, and --fresh orders it again; it may be billed all the same"
