"""One prompt over many rows, from Python or from a cell: shown while it goes on, and remembered as the latest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..exchange.session import current
from ..rows.job import RowOptions, make_job
from ..rows.result import Run
from ..rows.run import run_rows
from ..rows.source import source_of
from ..settings import CometSettings
from .rows_display import rows_screen


def run_shown(
    rows: Any, prompt: str, namespace: Mapping[str, Any], options: RowOptions, *, limit: int | None = None,
    sample: int | None = None, client: Any = None,
) -> Run:  # fmt: skip
    """Ask for each of the rows, and return the run. Raises: as `run_rows`."""
    settings, session = CometSettings.instance(), current()
    source = source_of(rows).chosen(limit, sample)
    job = make_job(source, prompt, namespace, options, settings, session)

    def remember(run: Run) -> None:
        session.latest_run = run

    return run_rows(job, settings, session, rows_screen(), remember=remember)
