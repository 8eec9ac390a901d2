"""Dask: workers that make the requests, and rows that live there. The door to dask and distributed.

The driver keeps gate, budget, store and retries; a task is one request. Its result leaves the cluster at once, so that
a worker that dies costs what it had in flight, and no row. The key goes into the workers' memory past the scheduler's
tasks, and is in none of their keys, arguments, logs and pages.
"""

from __future__ import annotations

import itertools
import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .._version import VERSION
from ..api.transport import HTTPRequest, HTTPResponse, PooledTransport
from ..describe.dependencies import table_library
from ..errors import ConfigError, TransportError
from ..keys import Key
from ..origins import is_loopback
from .live import Places

THREADS_OF_A_WORKER = 64  # connections that each worker process keeps
_keys: dict[str, Key] = {}  # of a worker process, by the origin for which each is
_transport: PooledTransport | None = None
_lock = threading.Lock()


# ---- on the workers


def _take_key(origin: str, secret: str) -> None:
    _keys[origin] = Key(secret, "the driver")


def _version() -> str:
    return VERSION


class Sent(NamedTuple):
    """What came of a request on a worker. failure: (what, hint, kind) of a TransportError, where nothing came.

    lacks_key: nothing was sent, for this worker has no key yet.        worker: its address, then.
    """

    status: int = 0
    headers: Mapping[str, str] = {}
    body: bytes = b""
    failure: tuple[str, str, str] | None = None
    lacks_key: bool = False
    worker: str = ""


def _send(request: HTTPRequest, origin: str) -> Sent:
    """Make one request, on a worker. origin: whose key it is to carry; "" for none."""
    global _transport
    with _lock:
        if _transport is None:
            _transport = PooledTransport(THREADS_OF_A_WORKER)
    if origin and origin not in _keys:
        from distributed import get_worker

        return Sent(lacks_key=True, worker=get_worker().address)
    try:
        response = _transport(request._replace(key=_keys.get(origin)))
    except TransportError as error:
        return Sent(failure=(error.what, error.hint, error.kind))
    return Sent(response.status, dict(response.headers), response.body())


# ---- on the driver


class ClusterTransport:
    """A `Transport` whose requests are made by Dask's workers; for many threads, each of which waits for its own."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._run = os.urandom(4).hex()
        self._count = itertools.count()
        self._pending: dict[str, Any] = {}
        self._is_abandoned = False

    def __call__(self, request: HTTPRequest) -> HTTPResponse:
        """Raises: TransportError when no answer came, or the cluster is gone."""
        parts = urlsplit(request.url)
        origin = f"{parts.scheme}://{parts.netloc}" if request.key else ""
        sent = self._sent(request, origin)
        if sent.lacks_key and request.key:  # a worker that has come later
            self._client.run(_take_key, origin, request.key.reveal(), workers=[sent.worker])
            sent = self._sent(request, origin)
        if sent.failure:
            what, hint, kind = sent.failure
            raise TransportError(what, hint, kind=kind)
        return HTTPResponse(sent.status, sent.headers, [sent.body])

    def _sent(self, request: HTTPRequest, origin: str) -> Sent:
        name = f"comet-{self._run}-{next(self._count)}"
        if self._is_abandoned:
            raise TransportError("the request was given up", kind="cluster")
        try:
            future = self._client.submit(_send, request._replace(key=None), origin, key=name, pure=False, retries=0)
            self._pending[name] = future
            result: Sent = future.result()
            return result
        except Exception as error:  # noqa: BLE001  # distributed and whatever broke there raise what they like
            what = f"the cluster did not make the request: {type(error).__name__}: {error}"
            raise TransportError(what, "check the Dask cluster; what had come is kept", kind="cluster") from None
        finally:
            if pending := self._pending.pop(name, None):
                pending.release()

    def abandon(self) -> None:
        self._is_abandoned = True
        pending = list(self._pending.values())
        if pending:
            self._client.cancel(pending, force=True)

    def close(self) -> None:
        """Let go of what is held: there is nothing, for each result was released as it came."""


def on_cluster(client: Any, key: Key | None, url: str, *, allow_tcp: bool) -> Callable[[int], Places]:
    """Return the workers of a Dask cluster as the place where requests are made; they know the key from now on.

    allow_tcp: also where others can read what goes to the workers.
    Raises: ConfigError where that could be read, or the workers have another version of this package.
    """
    if not (hasattr(type(client), "submit") and hasattr(type(client), "scheduler_info")):
        raise ConfigError(f"client is a Dask client, not a {type(client).__name__}", "nothing was sent")
    workers = _workers(client)
    addresses = [str(client.scheduler.address), *workers]
    open_to_others = [address for address in addresses if _is_readable(address)]
    if key and open_to_others and not allow_tcp:
        raise ConfigError(
            f"the cluster is not encrypted ({open_to_others[0]}): your key and the rows could be read on the way",
            "use tls:// for the cluster, or CometSettings.allow_http = True; nothing was sent",
        )
    try:
        versions = client.run(_version)
    except Exception as error:  # noqa: BLE001  # what the workers raise
        raise ConfigError(
            f"the workers cannot import comet_magic: {type(error).__name__}: {error}",
            f"install comet_magic {VERSION} where they run; nothing was sent",
        ) from None
    if others := sorted({version for version in versions.values() if version != VERSION}):
        what = f"the workers have comet_magic {others[0]}, and this kernel {VERSION}"
        raise ConfigError(what, "install the same version; nothing was sent")
    if key and url:
        parts = urlsplit(url)
        client.run(_take_key, f"{parts.scheme}://{parts.netloc}", key.reveal())

    def places(most: int) -> Places:
        transport = ClusterTransport(client)
        return Places(transport, transport.abandon, transport.close)

    return places


def _workers(client: Any) -> list[str]:
    workers = list(client.scheduler_info(n_workers=-1)["workers"])
    if not workers:
        raise ConfigError("the Dask cluster has no workers", "start some; nothing was sent")
    return workers


def _is_readable(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme in ("tcp", "ws") and not is_loopback(parts.hostname or "")


def default_client() -> Any:
    """Return the client that this process has opened; None for none."""
    import sys

    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


# ---- a Dask DataFrame


def is_dask(rows: Any) -> bool:
    return table_library(rows).startswith("dask")


class DaskSource(NamedTuple):
    """A Dask DataFrame as rows. Its columns are held where they are computed; divisions and index stay.

    named: the columns that the prompt names, persisted.        ends: the number of rows up to each partition's end.
    cache: the partition that was read last, with its number.
    """

    table: Any
    names: Sequence[Any]
    cache: list[Any]
    named: Any = None
    ends: Sequence[int] = ()
    library: str = "pandas"

    @property
    def size(self) -> int:
        return self.ends[-1] if self.ends else 0

    @property
    def positions(self) -> Sequence[int]:
        return range(self.size)

    def prepared(self, wanted: Sequence[Any]) -> DaskSource:
        """Compute the columns that the prompt names, once."""
        named = self.table[list(dict.fromkeys(wanted))].persist()
        sizes = named.map_partitions(len, meta=("size", "int64")).compute()
        return self._replace(named=named, ends=list(accumulate(int(size) for size in sizes)))

    def part(self, wanted: Sequence[Any], begin: int, end: int) -> dict[Any, list[Any]]:
        """Return the values of these columns in some of the rows."""
        part: dict[Any, list[Any]] = {name: [] for name in wanted}
        number = bisect_right(self.ends, begin)
        while begin < end:
            first = self.ends[number - 1] if number else 0
            frame = self._computed(number)
            last = min(end, self.ends[number])
            for name in part:
                part[name] += frame[name].iloc[begin - first : last - first].tolist()
            begin, number = last, number + 1
        return part

    def _computed(self, number: int) -> Any:
        """Return a partition of the named columns; the latest is kept, for rows are read in order."""
        if not (self.cache and self.cache[0] == number):
            self.cache[:] = [number, self.named.get_partition(number).compute()]
        return self.cache[1]

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        """Return a Dask DataFrame of the rows with further columns; computing it sends nothing."""
        import dask.dataframe as dd
        import pandas
        from dask.delayed import delayed

        frame = pandas.DataFrame(columns)
        begins = [0, *self.ends[:-1]]
        meta = _joined(self.table._meta, frame.iloc[:0])
        parts = [
            delayed(_joined)(part, frame.iloc[begin:end].reset_index(drop=True))
            for part, begin, end in zip(self.table.to_delayed(), begins, self.ends, strict=True)
        ]
        return dd.from_delayed(parts, meta=meta, divisions=self.table.divisions, verify_meta=False)

    def chosen(self, limit: int | None, sample: int | None) -> Any:
        """Return some of the rows, as a table of pandas."""
        if sample is not None:
            raise ConfigError("sample is not for a Dask DataFrame", "nothing was sent; ddf.sample(frac=…) is one")
        if limit is None:
            return self
        from .source import source_of

        return source_of(self.table.head(limit, npartitions=-1))


def _joined(part: Any, columns: Any) -> Any:
    """Return a partition with further columns, by position."""
    joined = part.copy()
    for name in columns.columns:
        joined[name] = columns[name].array
    return joined


def dask_source(rows: Any) -> DaskSource:
    """Return the source of a Dask DataFrame. Raises: ConfigError for a column, and for one of no pandas."""
    if not hasattr(type(rows), "to_delayed") or not hasattr(rows, "columns"):
        raise ConfigError(f"rows are a Dask DataFrame, not a Dask {type(rows).__name__}", "nothing was sent")
    return DaskSource(rows, list(rows.columns), [])
