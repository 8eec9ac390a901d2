"""A stored job → what a user gets of it: `Media` of its files, or a transcript."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..named_tuple import NamedTuple
from ..store import media as media_store
from ..store.database import Store
from ..store.media import FETCHED, StoredFile, StoredJob
from ..strict_json import json_or_none
from ..text import dollars
from .files import find_changed, find_file
from .media import Media
from .order import NOUNS, Order
from .running import AGAIN
from .saving import UNKNOWN


class OrderResult(NamedTuple):
    """What came of an order. text: a transcript: a text, or a list of segments.

    notes: what is to be said of it.        again_from: the day when it was made, where nothing was asked this time.
    """

    job: StoredJob
    media: list[Media]
    text: Any = None
    notes: tuple[str, ...] = ()
    again_from: str = ""


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


def result_of(job: StoredJob, store: Store, folder: Path) -> OrderResult:
    """Return what a job has made. folder: in which its files may be by now.

    Raises: ConfigError where a file has gone; of a job of which not all was fetched, what is here is returned.
    """
    files = [file for file in media_store.files_of(store, job.id) if file.mime != UNKNOWN.mime]
    found = [(file, find_file(file, job.id, folder)) for file in files]
    notes = [job.why] if job.why else []
    is_whole = job.state == FETCHED
    if not is_whole:
        found = [(file, path) for file, path in found if path]
    media = [_media(job, file, path or _changed(job, file, notes), len(found), store) for file, path in found]
    text = job.known_answer.get("text") if is_whole else None
    return OrderResult(job, media, text, tuple(notes), day(job))


def _changed(job: StoredJob, file: StoredFile, notes: list[str]) -> Path:
    """Return the path of a file that was changed, and note that. Raises: ConfigError where the file has gone."""
    if path := find_changed(file):
        notes.append(f"{path.name} has been changed since it was made")
        return path
    price = f" (≈ {dollars(job.usd)})" if job.usd else ""
    raise ConfigError(
        f"this {NOUNS[job.kind][0]} was made on {day(job)}, and its file is no longer there: {file.path}",
        f"nothing was sent; put the file back, or {AGAIN}{price}",
    )


def _media(job: StoredJob, file: StoredFile, path: Path, count: int, store: Store) -> Media:
    if str(path) != file.path:
        media_store.move_file(store, job.id, file.number, str(path.resolve()))
    return Media(
        path, file.mime, job.prompt, job.model, order_of(job).parameters, file.caption, job.used,
        None if job.usd is None else job.usd / count, job.id, job.seconds, job.at,
    )  # fmt: skip
