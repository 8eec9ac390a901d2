"""`comet_magic.embed`: texts → a NumPy array, in batches, each text paid for once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .api.client import TimeLimits, client_for
from .api.embeddings import batches, embed_batch
from .api.endpoint import find_endpoint
from .api.retry import may_be_billed
from .errors import ConfigError
from .exchange import budget
from .exchange.journal import CHECKPOINT_S
from .exchange.offered import find_offered
from .exchange.session import Session, current
from .messages import prices
from .messages.usage import Usage
from .settings import CometSettings, budget_limits
from .store import embeddings, requests
from .store.connection import Connection
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
    model: by default `CometSettings.embedding_model`.        dimensions: length of the vectors, where that can be set.
    fresh: ask again, also for what is in the store: a text is otherwise sent once for a model and its dimensions.
    Raises: ConfigError for texts that are missing or empty, naming their rows, before anything is sent; or when the
    budget does not allow it. TransportError or APIError when the endpoint does not answer; the batches before stay in
    the store, so that the same call goes on from there.
    """
    try:
        import numpy
    except ImportError:
        raise ConfigError("embed gives a NumPy array, and NumPy is not installed", "%pip install numpy") from None

    settings, session = CometSettings.instance(), current()
    settings.check_environment()
    if not settings.share_values:
        raise ConfigError(
            "nothing was sent: share_values is off, and texts are values", "CometSettings.share_values = True"
        )
    if dimensions is not None and (isinstance(dimensions, bool) or not isinstance(dimensions, int) or dimensions < 1):
        raise ConfigError(f"dimensions = {dimensions!r}: a whole number from 1 on", "nothing was sent")
    checked = _without_secrets(_checked(texts), settings)
    name = settings.model_named(model or settings.embedding_model)
    store = session.store(settings)
    digests = embeddings.digests(name, dimensions, checked)
    first_rows = {digest: row for row, digest in reversed(list(enumerate(digests)))}  # equal texts are asked once
    places: dict[bytes, tuple[int, int]] = {}
    arrays: dict[int, numpy.ndarray[Any, Any]] = {}
    if not fresh:
        places, kept = embeddings.find_embeddings(store, list(first_rows))
        arrays = {number: _as_array(batch) for number, batch in kept.items()}
    rows = sorted(row for digest, row in first_rows.items() if digest not in places)
    if rows:
        asking = _Asking(settings, session, store, name, dimensions)
        first = max(map(abs, arrays), default=0) + 1
        try:
            for number, (begin, end, tokens) in enumerate(batches([checked[row] for row in rows]), start=first):
                part = rows[begin:end]
                mine = [digests[row] for row in part]
                arrays[number] = asking.ask([checked[row] for row in part], part, mine, tokens)
                places.update({digest: (number, row) for row, digest in enumerate(mine)})
        finally:
            asking.keep()
    lengths = {array.shape[1] for array in arrays.values()}
    if len(lengths) > 1:
        what = "the endpoint gives vectors of another length now than those in the store"
        raise ConfigError(what, "embed(…, fresh=True) asks for all of them anew")
    all_vectors = numpy.zeros((len(checked), lengths.pop() if lengths else dimensions or 0), numpy.float32)
    begins = dict(zip(arrays, [0, *numpy.cumsum([len(array) for array in arrays.values()])], strict=False))
    if arrays:
        order = [begins[batch] + row for batch, row in map(places.__getitem__, digests)]
        numpy.concatenate(list(arrays.values())).take(order, axis=0, out=all_vectors)
    return all_vectors


def _as_array(batch: embeddings.Batch) -> numpy.ndarray[Any, Any]:
    import numpy

    return numpy.frombuffer(batch.vectors, "<f4").reshape(-1, batch.length)


def _checked(texts: Any) -> list[str]:
    """Return the texts as a list. Raises: ConfigError, naming the rows of those that are none."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise ConfigError(
            f"embed takes texts, not one {type(texts).__name__}", "nothing was sent; embed([text]) takes one"
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
            "nothing was sent; rows are counted from 0. Drop them, or fill them in",
        )
    return [str(value) for value in values]


def _is_missing(value: Any) -> bool:
    is_nan = isinstance(value, float) and value != value
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType") or isinstance(value, str)


def _without_secrets(texts: list[str], settings: CometSettings) -> list[str]:
    """Return the texts with a key in them hidden, as in every prompt."""
    if key := settings.key:
        secret = key.reveal()
        return [key.hide_in(text) if secret in text else text for text in texts]
    return texts


class _Asking:
    """The requests of one call: to one endpoint, with one budget."""

    def __init__(
        self, settings: CometSettings, session: Session, store: Store, model: str, dimensions: int | None
    ) -> None:
        self._session, self._store, self._model, self._dimensions = session, store, model, dimensions
        endpoint = find_endpoint(settings)
        limits = TimeLimits.of(settings)
        known = find_offered(settings, session, store, endpoint, (model,), limits)
        self._price = prices.price_of(model, settings.prices, known)
        self._budget = budget_limits(settings.budget)
        self._endpoint = endpoint.name
        self._client = client_for(endpoint, limits, settings.retries, lambda text: None)
        self._came: list[embeddings.Embedded] = []
        self._due = time.monotonic() + CHECKPOINT_S

    def ask(
        self, texts: Sequence[str], rows: Sequence[int], digests: Sequence[bytes], tokens: int
    ) -> numpy.ndarray[Any, Any]:
        """Return the vectors of one batch, which are in the store soon. tokens: estimated. Raises: CometError."""
        most = self._price.most(tokens, 0) if self._price else None
        record = RequestRecord(
            os.urandom(16).hex(), time.time(), "", self._model, "{}", '{"role": "user", "content": "texts to embed"}',
            self._endpoint, self._session.id, most_usd=most,
        )  # fmt: skip
        self._session.promise(record.id, most or 0.0)
        is_billed = False
        try:
            if most or self._budget:  # other kernels are to see what it may cost
                requests.begin(self._store, record, self._check(record))
            array, usage = embed_batch(self._client, self._model, texts, self._dimensions, rows)
            is_billed = True
        except BaseException as error:
            if may_be_billed(error) and most and not isinstance(error, ConfigError):
                self._came.append(embeddings.Embedded(record, Usage(), most))
                self._session.count(Usage(), most)
            raise
        finally:
            self._session.promise(record.id, 0.0)
            if not is_billed and (most or self._budget):
                requests.withdraw(self._store, record.id)
        cost = self._price.cost(usage) if self._price else None
        batch = embeddings.Batch(array.shape[1], array.astype("<f4").tobytes())
        self._came.append(embeddings.Embedded(record, usage, cost, digests, batch))
        self._session.count(usage, cost)
        if time.monotonic() > self._due:
            self.keep()
        return array

    def keep(self) -> None:
        """Put into the store what has come since the last time."""
        self._due = time.monotonic() + CHECKPOINT_S
        if came := self._came:
            self._came = []
            embeddings.keep_embeddings(self._store, came)

    def _check(self, record: RequestRecord) -> Callable[[Connection], None]:
        if not self._budget:
            return requests.unchecked
        session = self._session
        spent = session.parent_usd + session.totals.usd + session.promised_usd() - (record.most_usd or 0)
        return lambda db: budget.check(db, self._store, self._budget, record, session.payer, spent)
