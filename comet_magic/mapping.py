"""`comet_magic.map`: one prompt over the rows of a table, each row paid for once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .describe.template import Reference, pieces
from .errors import ConfigError
from .notebook.executions import current_executions
from .notebook.row_runs import run_shown
from .rows.job import RowOptions
from .settings import FLAGS
from .suggestions import did_you_mean

_OPTIONS = tuple(name for name in RowOptions._fields if name not in ("flags", "output"))


def map(
    rows: Any, prompt: str, namespace: Mapping[str, Any] | None = None, *, as_: Any = None, into: str | None = None,
    limit: int | None = None, sample: int | None = None, client: Any = None, dry_run: bool = False, **named: Any,
) -> Any:  # fmt: skip
    """Ask the same of each row, and return the rows with the replies beside them, and a column `error`.

        tones = comet_magic.map(
            reviews, "Tone of this review? {{row.review}}", as_=Literal["good", "bad", "mixed"], into="tone"
        )

    rows: a DataFrame of pandas, polars or Dask, a pyarrow Table, a DuckDB relation, a column, or a list of dicts.
    prompt: `{{row.name}}`, `{{row["a name"]}}` and `{{row}}` are filled in for each row, all else once for all.
    namespace: what the rest of the prompt is looked up in, as `globals()`.
    as_: what each reply is to be; None: text. An object becomes a column for each field.
    into: name of the column; with an object, it holds the objects whole.
    limit: ask for the first rows only.        sample: for so many rows at random, always the same ones.
    client: a Dask client, whose workers make the requests.        dry_run: return what would be sent, and send nothing.
    named: values that the prompt refers to; the flags of `%%claude` (model, max_tokens, system, temperature, stop,
    effort, thinking); and these:
    budget: US dollars that the run may cost; the rows for which nothing is left get the error "not sent: budget".
    yes: do not ask whether to go on.        workers: most requests at once (32).
    samples: ask so often for each row, with a column for each time.
    nulls: "skip" (rows with a missing value in a column that the prompt names are not sent) or "send".
    nested: "objects" or "columns", for objects in objects.        errors: "column", or "raise" at the end.
    rpm, tpm: requests and tokens a minute, where you know your limits.
    fresh: ask again what is in the store.        retry: "all" asks again what can never succeed, such as a long text.
    batch: ask in Message Batches, at half the price, where the endpoint offers them.

    Each row is asked once: its reply is in the store, where the next run finds it, also after a kernel has died. Equal
    rows are one request. The first row goes alone; then you are asked whether the estimate is right.
    Returns: the same kind of table, its rows in their order with their index; `rows` itself is not changed.
    Raises: ConfigError, TransportError or APIError for what no row would survive; KeyboardInterrupt. What had come by
    then is in `comet_magic.last_run.result`, and in the store.
    """
    flags = {name: named.pop(name) for name in FLAGS if name in named}
    options = RowOptions(flags, into=into, **{name: named.pop(name) for name in _OPTIONS if name in named})
    _check_named(prompt, named, namespace)
    if as_ is not None:
        from .output.typed import output_type

        options = options._replace(output=output_type(as_))
    executions = current_executions()
    scope = {**(executions.names() if executions else {}), **(namespace or {}), **named}
    return run_shown(rows, prompt, scope, options, limit=limit, sample=sample, client=client, is_dry=dry_run)


def _check_named(prompt: Any, named: Mapping[str, Any], namespace: Mapping[str, Any] | None) -> None:
    """Check that each keyword is one, or a value that the prompt names. Raises: TypeError, ConfigError."""
    if not isinstance(prompt, str):
        what = f"a prompt is a text, not {type(prompt).__name__}"
        raise ConfigError(what, "nothing was sent; map takes the table first, and the prompt behind it")
    names = {name for piece in pieces(prompt) if isinstance(piece, Reference) for name in piece.names}
    if unknown := set(named) - names:
        known = sorted({*_OPTIONS, "as_", "into", "limit", "sample", "client", "dry_run", *FLAGS})
        near = "; did you mean into?" if min(unknown) == "column" else did_you_mean(min(unknown), (*known, *names))
        raise TypeError(
            f"map() got an unexpected keyword argument {min(unknown)!r}: no {{{{…}}}} of the prompt names it"
            f"{near}; besides those, it takes {', '.join(known)}"
        )
