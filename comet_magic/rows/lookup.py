"""What is asked for each row, by digest; and what of it the store has already."""

from __future__ import annotations

from ..errors import ConfigError
from ..output.schema import Mismatch
from ..store import rows as row_store
from .job import Job
from .progress import Progress
from .prompt import NullField, RowProblem
from .result import NULL, PROBLEM, Failure, Items
from .source import PART


def look_up(job: Job, items: Items, progress: Progress, former: Items | None = None) -> None:
    """Work out the items of a job, and give those their values which the store has.

    former: what has been asked already in the run that this one repeats.
    Raises: ConfigError where the prompt can be filled in for no row.
    """
    _read_rows(job, items, progress)
    if items.problems and len(items.problems) == len(items.of_rows):
        raise ConfigError(items.problems[0], "it is so for every row; nothing was sent")
    progress.requests = len(items.digests)
    if former is not None:
        _take_former(items, progress, former)
    if job.options.fresh or job.replay == "never" or not items.digests:
        return
    stored = row_store.find_rows(job.store, items.digests)
    values: dict[str, tuple[object, ...] | Failure] = {}  # equal replies are read once
    for item, digest in enumerate(items.digests):
        row = stored.get(digest)
        if row is None or items.values[item] is not None or (row.error and job.options.retry == "all"):
            continue
        if row.error:
            items.values[item] = Failure(row.error)
            progress.failed[row.error] += 1
        else:
            try:
                if row.reply not in values:
                    values[row.reply] = job.cells_of(job.value_of(row.reply))
            except Mismatch:  # as where the type says now what else must hold
                continue
            value = values[row.reply]
            if isinstance(value, Failure) and (former is not None or job.options.retry == "all"):
                continue
            items.values[item] = value
            if isinstance(value, Failure):
                progress.failed[value.why] += 1
            else:
                progress.stored += 1
        items.replayed[item] = 1
        items.tokens[item] = -1 if row.tokens is None else row.tokens
        items.usd[item] = float("nan") if row.cost_usd is None else row.cost_usd


def _take_former(items: Items, progress: Progress, former: Items) -> None:
    known = {digest: number for number, digest in enumerate(former.digests) if type(former.values[number]) is tuple}
    for item, digest in enumerate(items.digests):
        if (number := known.get(digest)) is not None:
            items.values[item] = former.values[number]
            items.tokens[item], items.usd[item] = former.tokens[number], former.usd[number]
            items.replayed[item] = 1
            progress.stored += 1


def _read_rows(job: Job, items: Items, progress: Progress) -> None:
    numbers: dict[bytes, int] = {}
    position, samples = 0, range(job.options.samples)
    for begin in range(0, job.source.size, PART):
        end = min(begin + PART, job.source.size)
        part = job.source.part(job.prompt.columns, begin, end)
        for number in range(end - begin):
            try:
                identity = job.prompt.identity(job.prompt.row(part, number))
            except NullField:
                items.of_rows.extend([NULL] * len(samples))
                progress.nulls += 1
            except RowProblem as problem:
                items.problems.update(dict.fromkeys(range(position, position + len(samples)), str(problem)))
                items.of_rows.extend([PROBLEM] * len(samples))
                progress.unfilled[str(problem)] += 1
            else:
                progress.cut += identity.is_cut
                for sample in samples:
                    digest = job.digest(identity.data, position + sample)
                    if (item := numbers.get(digest)) is None:
                        item = numbers[digest] = items.add(digest, position + sample, identity.length)
                    items.of_rows.append(item)
            position += len(samples)
