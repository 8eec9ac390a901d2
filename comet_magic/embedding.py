"""`comet_magic.embed`: texts → a NumPy array, in batches, each text paid for once."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .api.client import TimeLimits, client_for
from .api.embeddings import batches, request_embeddings, usage_of, vectors_of
from .api.endpoint import Endpoint, find_endpoint
from .api.retry import may_be_billed
from .errors import APIError, ConfigError
from .exchange import budget
from .exchange.journal import CHECKPOINT_S
from .exchange.offered import find_offered
from .exchange.session import Session, current
from .messages import prices
from .messages.usage import Usage
from .settings import CometSettings, budget_limits
from .store import embeddings, requests
from .store.connection import Connection
from .store.conversations import shrink
from .store.database import Store
from .store.requests import RequestRecord
from .text import many

if TYPE_CHECKING:
    import numpy

MOST_NAMED = 5  # rows that an error names


def embed(
    texts: Iterable[str], model: str | None = None, *, dimensions: int | None = None, fresh: bool = False
) -> numpy.ndarray[Any, Any]:
    """Return the embeddings of texts: a NumPy array of float32 with a row for each text, in their order.

    texts: a list, a Series, a column of polars or an array; each a text that is not empty.
    model: by default `CometSettings.embedding_model`.
    dimensions: length of the vectors, where the model lets that be set.
    fresh: ask again, also for what is in the store: a text is otherwise sent once for a model and its dimensions.
    Raises: ConfigError for texts that are missing or empty, naming their rows, before anything is sent; or when the
    budget does not allow it. TransportError or APIError when the endpoint does not answer; the batches before stay in
    the store, so that the same call goes on from there.
    """
    if find_spec("numpy") is None:
        raise ConfigError("embed gives a NumPy array, and NumPy is not installed", "%pip install numpy")

    settings, session = CometSettings.instance(), current()
    settings.check_environment()
    if not settings.share_values:
        raise ConfigError(
            "nothing was sent: share_values is off, and texts are values", "CometSettings.share_values = True"
        )
    dimensions = _checked_dimensions(dimensions)
    endpoint = find_endpoint(settings, offline=settings.replay == "only")
    checked = _without_secrets(_checked(texts), settings, endpoint)
    name = settings.model_named(model or settings.embedding_model)
    store = session.store(settings)
    digests = embeddings.digests(endpoint.name, name, dimensions, checked)
    first_rows = {digest: row for row, digest in reversed(list(enumerate(digests)))}  # equal texts are asked once
    places: dict[bytes, tuple[int, int]] = {}
    arrays: dict[int, numpy.ndarray[Any, Any]] = {}
    if not fresh:
        places, kept = embeddings.find_embeddings(store, list(first_rows))
        arrays = {number: _as_array(batch) for number, batch in kept.items()}
    rows = sorted(row for digest, row in first_rows.items() if digest not in places)
    if rows and settings.replay == "only":
        what = f"{many(len(rows), 'text')} of {len(checked):,} have no stored embedding"
        raise ConfigError(
            f"{what}, and with CometSettings.replay = 'only' nothing is sent", "set it to 'auto' for that"
        )
    if rows:
        asking = _Asking(settings, session, store, endpoint, name, dimensions)
        first = max(map(abs, arrays), default=0) + 1
        try:
            for number, (begin, end, tokens) in enumerate(batches([checked[row] for row in rows]), start=first):
                part = rows[begin:end]
                mine = [digests[row] for row in part]
                arrays[number] = asking.ask([checked[row] for row in part], part, mine, tokens)
                places.update({digest: (number, row) for row, digest in enumerate(mine)})
        finally:
            asking.keep()
    return _in_order(digests, places, arrays, dimensions)


def _in_order(
    digests: Sequence[bytes], places: Mapping[bytes, tuple[int, int]],
    arrays: Mapping[int, numpy.ndarray[Any, Any]], dimensions: int | None,
) -> numpy.ndarray[Any, Any]:  # fmt: skip
    """Return the vectors of the digests, one row each. places: in which array, and in which row of it, each is.

    Raises: ConfigError when they are of different lengths.
    """
    import numpy

    lengths = {array.shape[1] for array in arrays.values()}
    if len(lengths) > 1:
        what = "the endpoint gives vectors of another length now than those in the store"
        raise ConfigError(what, "embed(…, fresh=True) asks for all of them anew")
    ordered = numpy.zeros((len(digests), lengths.pop() if lengths else dimensions or 0), numpy.float32)
    if arrays:
        begins = dict(zip(arrays, [0, *numpy.cumsum([len(array) for array in arrays.values()])], strict=False))
        rows = [begins[number] + row for number, row in map(places.__getitem__, digests)]
        numpy.concatenate(list(arrays.values())).take(rows, axis=0, out=ordered)
    return ordered


def _as_array(batch: embeddings.Batch) -> numpy.ndarray[Any, Any]:
    import numpy

    return numpy.frombuffer(batch.vectors, "<f4").reshape(-1, batch.length)


def _checked(texts: Any) -> list[str]:
    """Return the texts as a list. Raises: ConfigError, naming the rows of those that are none."""
    if isinstance(texts, str | bytes | Mapping | Set) or not isinstance(texts, Iterable):
        raise ConfigError(
            f"embed takes texts in an order, and not a {type(texts).__name__}",
            "nothing was sent; it takes a list, a Series, a column or an array of texts",
        )
    if hasattr(texts, "columns") or getattr(texts, "ndim", 1) != 1:
        raise ConfigError("embed takes one column of texts, not a table", "nothing was sent; embed(df['column'])")
    listed = next(
        (getattr(texts, name)() for name in ("to_list", "tolist", "to_pylist") if hasattr(texts, name)), texts
    )
    values = list(listed)
    wrong = [row for row, value in enumerate(values) if not isinstance(value, str) or not value.strip()]
    if wrong:
        missing = all(_is_missing(values[row]) for row in wrong)
        kinds = sorted({type(values[row]).__name__ for row in wrong if not _is_missing(values[row])})
        what = "empty or missing" if missing else f"no texts, but {', '.join(kinds)}"
        more = f" and {len(wrong) - MOST_NAMED:,} more" if len(wrong) > MOST_NAMED else ""
        named = ", ".join(f"{row:,}" for row in wrong[:MOST_NAMED])
        raise ConfigError(
            f"{many(len(wrong), 'row')} of {len(values):,} {'is' if len(wrong) == 1 else 'are'} {what}: {named}{more}",
            "nothing was sent; rows are counted from 0, as in df.iloc. "
            + ("Drop them, or fill them in" if missing else ".astype(str) makes texts of them"),
        )
    return [str(value) for value in values]


def _is_missing(value: Any) -> bool:
    is_nan = isinstance(value, float) and value != value
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType") or isinstance(value, str)


def _checked_dimensions(dimensions: Any) -> int | None:
    try:
        number = None if dimensions is None else operator.index(dimensions)
    except TypeError:
        number = 0
    if number is not None and (number < 1 or isinstance(dimensions, bool)):
        raise ConfigError(f"dimensions must be a whole number from 1 on, not {dimensions!r}", "nothing was sent")
    return number


def _without_secrets(texts: list[str], settings: CometSettings, endpoint: Endpoint) -> list[str]:
    """Return the texts with the key and the environment's secrets hidden, as in what is filled into a prompt."""
    secrets, key = settings.secrets(), endpoint.key
    hidden = [secrets.hidden_in(text)[0] for text in texts]
    return [key.hide_in(text) for text in hidden] if key else hidden


class _Asking:
    """The requests of one call: to one endpoint, with one budget."""

    def __init__(
        self, settings: CometSettings, session: Session, store: Store, endpoint: Endpoint, model: str,
        dimensions: int | None,
    ) -> None:  # fmt: skip
        self._session, self._store, self._model, self._dimensions = session, store, model, dimensions
        limits = TimeLimits.of(settings)
        known = find_offered(settings, session, store, endpoint, (model,), limits)
        self._price = prices.price_of(model, settings.prices, known)
        self._budget = budget_limits(settings.budget) if endpoint.local_model is None else {}
        self._endpoint, self._limit_mb = endpoint.name, settings.store_limit_mb
        self._client = client_for(endpoint, limits, settings.retries, lambda text: None, self._lost)
        self._came: list[embeddings.Embedded] = []
        self._due = time.monotonic() + CHECKPOINT_S
        self._lost_usd = 0.0  # of tries of the batch that may have been billed
        self._most_usd: float | None = None
        self._record: RequestRecord | None = None

    def ask(
        self, texts: Sequence[str], rows: Sequence[int], digests: Sequence[bytes], tokens: int
    ) -> numpy.ndarray[Any, Any]:
        """Return the vectors of one batch, which are in the store soon. tokens: estimated. Raises: CometError."""
        self._lost_usd, self._most_usd = 0.0, self._price.most(tokens, 0) if self._price else None
        self._record = record = RequestRecord(
            os.urandom(16).hex(), time.time(), "", self._model, "{}", '{"role": "user", "content": "texts to embed"}',
            self._endpoint, self._session.id, most_usd=self._most_usd,
        )  # fmt: skip
        self._session.promise(record.id, self._most_usd or 0.0)
        try:
            if self._most_usd or self._budget:  # other kernels are to see what it may cost
                self._begin(record)
            reply = request_embeddings(self._client, self._model, texts, self._dimensions)
        except BaseException as error:
            is_billed = may_be_billed(error) and not isinstance(error, ConfigError)
            if lost_usd := self._lost_usd + ((self._most_usd or 0) if is_billed else 0):
                self._count(record, Usage(), lost_usd)
            else:
                requests.withdraw(self._store, record.id)
            raise
        finally:
            self._session.promise(record.id, 0.0)
        usage = usage_of(reply)
        if usage.input_tokens is None:
            usage = usage._replace(input_tokens=tokens)  # an estimate is better than nothing, for the budget
        cost = self._price.cost(usage) if self._price else None
        try:
            array = vectors_of(reply, rows)
        except APIError:  # it was paid for all the same
            self._count(record, usage, cost)
            raise
        batch = embeddings.Batch(array.shape[1], array.astype("<f4").tobytes())
        self._count(record, usage, None if cost is None else cost + self._lost_usd, digests, batch)
        if time.monotonic() > self._due:
            self.keep()
        return array

    def _begin(self, record: RequestRecord) -> None:
        """Write a request down before it is sent. Raises: ConfigError when it could pass the budget."""
        try:
            requests.begin(self._store, record, self._check(record))
        except ConfigError as error:
            if "no price is known" not in error.what:
                error.hint = "embed fewer texts, take a cheaper model, or raise CometSettings.budget"
            raise

    def _lost(self, why: str) -> None:
        """Count a try that may have been billed, and check the budget before the next. Raises: ConfigError."""
        self._lost_usd += self._most_usd or 0.0
        if self._record is not None and self._most_usd:
            most = self._lost_usd + self._most_usd
            record = self._record._replace(most_usd=most)
            requests.raise_most(self._store, record.id, most, self._check(record))

    def _count(
        self, record: RequestRecord, usage: Usage, cost: float | None, digests: Sequence[bytes] = (),
        batch: embeddings.Batch | None = None,
    ) -> None:  # fmt: skip
        self._came.append(embeddings.Embedded(record, usage, cost, digests, batch))
        self._session.count(usage, cost)

    def keep(self) -> None:
        """Put into the store what has come since the last time, and keep that within its bounds."""
        self._due = time.monotonic() + CHECKPOINT_S
        if came := self._came:
            self._came = []
            embeddings.keep_embeddings(self._store, came)
            if self._store.may_be_over(self._limit_mb) and self._store.size_mb() > self._limit_mb:
                shrink(self._store, self._limit_mb)

    def _check(self, record: RequestRecord) -> Callable[[Connection], None]:
        return budget.check_of(self._store, self._budget, record, self._session)
