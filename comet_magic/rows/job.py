"""All that is decided of a run over many rows, before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from ..api.client import TimeLimits
from ..api.endpoint import Endpoint, find_endpoint
from ..describe.question import limits_of
from ..errors import ConfigError
from ..exchange.session import Session
from ..messages import models, tokens
from ..messages.request import FORCED, Request
from ..named_tuple import NamedTuple
from ..output.schema import Mismatch
from ..output.typed import OutputType
from ..settings import CometSettings, budget_limits
from ..store.database import Store
from .columns import Column, cells, columns_for
from .prompt import RowPrompt, row_prompt
from .result import Failure
from .source import Source

TOKENS_OF_A_SCALAR = 256  # of a reply that is one word or number
CACHEABLE = 4096  # tokens; the most that any model asks of a prefix


class RowOptions(NamedTuple):
    """What is asked for besides rows and prompt.

    flags: those of `CometSettings.request`.        output: what each reply is to be; None: text.
    into, nested: as of `columns_for`.        nulls: "skip" or "send", for missing values of columns that are named.
    samples: how often each row is asked.        budget: US dollars that the run may cost.
    yes: nobody is asked whether to go on.        workers: most requests at once.
    rpm, tpm: requests and tokens a minute that you allow.        errors: "column" or "raise".
    fresh: also what the store has is asked.        retry: "failed", or "all" for what can never succeed, too.
    batch: in Message Batches, at half price.
    """

    flags: Mapping[str, Any] = {}
    output: OutputType | None = None
    into: str | None = None
    nested: str = "objects"
    nulls: str = "skip"
    samples: int = 1
    budget: float | None = None
    yes: bool = False
    workers: int = 32
    rpm: float | None = None
    tpm: float | None = None
    errors: str = "column"
    fresh: bool = False
    retry: str = "failed"
    batch: bool = False


class Job(NamedTuple):
    """All that is decided of a run before anything is sent; settings are read for it, and not again.

    request: as each row's is, but for its messages.        prefix: of the digests.
    raised_max_tokens: for a reply that the small bound of a scalar has cut; None where the user has set the bound.
    """

    source: Source
    prompt: RowPrompt
    columns: Sequence[Column]
    options: RowOptions
    request: Request
    prefix: bytes
    endpoint: Endpoint
    limits: TimeLimits
    store: Store
    store_limit_mb: float
    keeps: bool
    replay: str
    budget: Mapping[str, float]
    own_prices: Mapping[str, Any]
    names: tuple[str, ...]
    raised_max_tokens: int | None

    def digest(self, identity: bytes, position: int) -> bytes:
        """Return the digest of what is asked. identity: of the row's prompt.        position: sample after sample."""
        sample = position % self.options.samples
        more = b"" if sample == 0 else b"\0sample\0%d" % sample
        return sha256(self.prefix + identity + more).digest()

    def value_of(self, text: str) -> Any:
        """Return what a reply's text is read as. Raises: Mismatch."""
        return text if self.options.output is None else self.options.output.value_of(text)

    def cells_of(self, value: Any) -> tuple[Any, ...] | Failure:
        """Return what stands in the columns for a reply's value; a failure where they have no room for it."""
        try:
            return cells(value, self.columns)
        except (Mismatch, ArithmeticError, TypeError, ValueError) as problem:  # values may be anything
            return Failure(f"the reply does not fit into the table: {problem}")


def make_job(
    source: Source, prompt: str, namespace: Mapping[str, Any], options: RowOptions, settings: CometSettings,
    session: Session,
) -> Job:  # fmt: skip
    """Decide all that there is to decide. Raises: ConfigError; nothing has been sent by then."""
    settings.check_environment()
    _check(options)
    columns = columns_for(
        options.output, options.into, options.nested, source.taken, options.samples,
        ignores_case=source.library == "duckdb",
    )  # fmt: skip
    limits = limits_of(settings)._replace(about=prompt)
    is_open = source.library == "list" and not source.size  # then there is nothing that could have columns
    compiled = row_prompt(prompt, None if is_open else source.names, namespace, limits, options.nulls)
    if twice := next((name for name in compiled.columns if list(source.names).count(name) > 1), None):
        raise ConfigError(f"two columns are called {twice!r}", "nothing was sent; call one of them otherwise")
    endpoint = find_endpoint(settings, offline=True)
    flags = {**options.flags, "stream": False}
    form = options.output.form.hidden(limits.hide) if options.output else None
    raised = None
    asked_tokens: Any = flags.get("max_tokens")
    request = replace(settings.request((), **flags), form=form)
    is_scalar = options.output is not None and len(columns) == 1 and columns[0].kind not in ("", "array", "object")
    if asked_tokens is None and is_scalar and request.thinking in (None, "off"):
        if (columns[0].labels or columns[0].kind != "string") and request.max_tokens > TOKENS_OF_A_SCALAR:
            raised, asked_tokens = request.max_tokens, "small"
            request = replace(request, max_tokens=TOKENS_OF_A_SCALAR)
    request = replace(request, model=endpoint.model) if endpoint.model else request
    parameters = {**request.parameters(FORCED), "max_tokens": asked_tokens or request.max_tokens}
    prefix = sha256(json.dumps([endpoint.name, parameters], sort_keys=True, default=str).encode() + compiled.fixed)
    facts = models.known(request.model)
    first = compiled.fixed_first + tokens.estimated_tokens(request.system or "")
    if settings.prompt_cache and first >= (facts.cacheable if facts else CACHEABLE) and compiled.fixed_first:
        compiled = compiled._replace(is_cacheable=True)
        request = replace(request, caches_first_block=True)
    return Job(
        source.prepared(compiled.columns), compiled, columns, options, request, prefix.digest(), endpoint,
        TimeLimits.of(settings),
        session.store(settings), settings.store_limit_mb, settings.keep, settings.replay,
        budget_limits(settings.budget), settings.prices,
        (str(options.flags.get("model") or settings.model), request.model), raised,
    )  # fmt: skip


def _check(options: RowOptions) -> None:
    for name, value, least in (("samples", options.samples, 1), ("workers", options.workers, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"{name} is a whole number from {least} on, not {value!r}", "nothing was sent")
    for name, amount in (("budget", options.budget), ("rpm", options.rpm), ("tpm", options.tpm)):
        is_amount = isinstance(amount, int | float) and not isinstance(amount, bool)
        if amount is not None and not (is_amount and (amount > 0 or (amount == 0 and name == "budget"))):
            raise ConfigError(f"{name} is an amount, not {amount!r}", "nothing was sent")
    for name, word, words in (
        ("nulls", options.nulls, ("skip", "send")), ("errors", options.errors, ("column", "raise")),
        ("retry", options.retry, ("failed", "all")),
    ):  # fmt: skip
        if word not in words:
            raise ConfigError(f"{name} is {' or '.join(map(repr, words))}, not {word!r}", "nothing was sent")
