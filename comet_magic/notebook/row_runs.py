"""One prompt over many rows, from Python or from a cell: shown while it goes on, and remembered as the latest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..api.endpoint import find_endpoint
from ..describe.dependencies import table_library
from ..exchange.session import current
from ..rows.backend import Backend, thread_backend
from ..rows.job import RowOptions, make_job
from ..rows.result import Run
from ..rows.run import dry_run, run_rows
from ..rows.source import source_of
from ..settings import FLAGS, CometSettings
from .cell import local_names
from .display import brief_interrupt, show
from .named import named, output_type_named
from .rows_display import rows_screen


def run_shown(
    rows: Any, prompt: str, namespace: Mapping[str, Any], options: RowOptions, *, limit: int | None = None,
    sample: int | None = None, client: Any = None, is_dry: bool = False,
) -> Any:  # fmt: skip
    """Ask for each of the rows, and return the table with the replies; or what would be sent, where `is_dry`.

    Raises: as `run_rows`.
    """
    settings, session = CometSettings.instance(), current()
    is_dask = table_library(rows).startswith("dask")
    if client is not None or is_dask:
        from ..rows import cluster  # not at the top: few have one

        client = client or cluster.default_client()
    source: Any = cluster.dask_source(rows) if is_dask else source_of(rows)
    source = source.chosen(limit, sample)
    job = make_job(source, prompt, namespace, options, settings, session)
    if is_dry:
        return dry_run(job)

    def backend(most: int) -> Backend:
        if client is None:
            return thread_backend(most)
        return cluster.on_cluster(client, find_endpoint(settings), allow_tcp=settings.allow_http)

    def remember(run: Run) -> None:
        session.latest_run = run

    with brief_interrupt("what had come is in comet_magic.last_run.result; the same again goes on from there"):
        return run_rows(job, settings, session, rows_screen(), backend, remember).result


def ask_rows(shell: Any, prompt: str, flags: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    """Ask what a cell says for each row of the table that `--rows` names; show the table, or put it into a variable.

    flags: those of `%%claude`.        names: that a prompt may use besides the user's own.
    """
    scope = {**names, **shell.user_ns, **local_names(shell)}
    rows = named(f"--rows {flags['rows']}", flags["rows"], scope, "--rows takes a table, as in --rows df")
    output = None
    if flags["as_type"]:
        output = output_type_named(flags["as_type"], shell.user_ns)
    asked = {name: flags[name] for name in FLAGS if flags.get(name) is not None}
    others = {name: flags[name] for name in _OF_RUN if flags[name] is not None}
    options = RowOptions(asked, output, into=flags["column"], **others)
    result = run_shown(rows, prompt, scope, options, limit=flags["limit"], is_dry=flags["dry_run"])
    if flags["dry_run"]:
        show(shell, result)
    elif flags["into"]:
        shell.user_ns[flags["into"]] = result
    else:
        data, metadata = shell.display_formatter.format(result)
        shell.display_pub.publish(data=data, metadata=metadata)


_OF_RUN = ("samples", "workers", "nulls", "budget", "yes", "batch", "fresh")
