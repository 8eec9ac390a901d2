"""Dask: workers that make the requests, and rows that live there. The door to dask and distributed.

The driver keeps gate, budget, store and retries; a task is one request. Its result leaves the cluster at once, so that
a worker that dies costs what it had in flight, and no row. The key goes into the workers' memory past the scheduler's
tasks, and is in none of their keys, arguments, logs and pages.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import accumulate
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from .._version import VERSION
from ..api.endpoint import Endpoint
from ..api.transport import HTTPRequest, HTTPResponse, PooledTransport
from ..background import in_background
from ..describe.dependencies import is_series_like
from ..describe.description import stable_repr
from ..environment import network_environment
from ..errors import ConfigError, TransportError
from ..keys import Key
from ..named_tuple import NamedTuple
from ..origins import is_loopback
from ..queues import next_of
from .backend import Backend
from .source import check_choice, source_of

WORKERS_WITHOUT_KEY = 20  # that a request may meet, one after the other
GRACE_S = 30.0  # seconds that a task may take beyond its request
THREADS_OF_A_WORKER = 64  # connections that each worker process keeps
_keys: dict[str, Key] = {}  # of a worker process, by the run whose requests carry it
_transport: PooledTransport | None = None
_lock = threading.Lock()


# ---- on the workers


def _take_key(run: str, secret: str) -> None:
    _keys[run] = Key(secret, "the driver")


def _forget_key(run: str) -> None:
    _keys.pop(run, None)


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


def _send(request: HTTPRequest, run: str, version: str) -> Sent:
    """Make one request, on a worker. run: whose key it is to carry; "" for none.        version: the driver's."""
    global _transport
    if version != VERSION:
        what = f"a worker has comet_magic {VERSION}, and the kernel {version}"
        return Sent(failure=(what, "install the same version", "cluster"))
    with _lock:
        if _transport is None:
            _transport = PooledTransport(THREADS_OF_A_WORKER)
    if run and run not in _keys:
        from distributed import get_worker

        return Sent(lacks_key=True, worker=get_worker().address)
    try:
        response = _transport(request._replace(key=_keys.get(run), environment=network_environment()))
    except TransportError as error:
        return Sent(failure=(error.what, error.hint, error.kind))
    return Sent(response.status, dict(response.headers), response.body())


# ---- on the driver


class ClusterTransport:
    """A `Transport` whose requests are made by Dask's workers; for many threads, each of which waits for its own."""

    def __init__(self, client: Any, *, allow_tcp: bool) -> None:
        """allow_tcp: also where others can read what goes to the workers."""
        self._client, self._allow_tcp = client, allow_tcp
        self._run = os.urandom(4).hex()
        self._count = itertools.count()
        self._pending: dict[str, tuple[Any, SimpleQueue[Any]]] = {}
        self._is_abandoned = self._has_shared = self._is_closed = False
        self._completed: Any = None
        self._has_more = threading.Event()

    def _begin(self) -> Any:
        """Return the futures under way, each with its result once it has come."""
        from distributed import as_completed

        with _lock:
            if self._completed is None:
                self._completed = as_completed(  # type: ignore[no-untyped-call]
                    loop=self._client.loop, with_results=True, raise_errors=False
                )
                in_background(self._hand_over)
        return self._completed

    def share_key(self, key: Key, workers: list[str] | None = None) -> None:
        """Put the key into the memory of the workers. Raises: ConfigError where it could be read on the way."""
        addresses = workers or [str(self._client.scheduler.address), *_workers(self._client)]
        readable = [address for address in addresses if _is_readable(address)]
        if readable and not self._allow_tcp:
            raise ConfigError(
                f"the cluster is not encrypted ({readable[0]}): your key and the rows could be read on the way",
                "use tls:// for the cluster, or CometSettings.allow_http = True; nothing was sent",
            )
        self._client.run(_take_key, self._run, key.reveal(), workers=workers)
        self._has_shared = True

    def __call__(self, request: HTTPRequest) -> HTTPResponse:
        """Raises: TransportError when no answer came, or the cluster is gone."""
        if self._is_abandoned:
            raise TransportError("the request was given up", kind="cluster")
        try:
            sent = self._sent(request)
            for _ in range(WORKERS_WITHOUT_KEY):
                if not (sent.lacks_key and request.key):
                    break
                self.share_key(request.key, [sent.worker])  # it has come later
                sent = self._sent(request)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001  # distributed and whatever broke there raise what they like
            what = f"the cluster did not make the request: {type(error).__name__}: {error}"
            raise TransportError(what, "check the Dask cluster; what had come is kept", kind="cluster") from None
        if sent.lacks_key:
            raise TransportError("the workers of the cluster change too fast: nothing was sent", kind="connect")
        if sent.failure:
            what, hint, kind = sent.failure
            raise TransportError(what, hint, kind=kind)
        return HTTPResponse(sent.status, sent.headers, [sent.body])

    def _sent(self, request: HTTPRequest) -> Sent:
        name = f"comet-{self._run}-{next(self._count)}"
        came: SimpleQueue[Any] = SimpleQueue()
        # Neither the key goes along, nor the driver's way to the network, in which passwords may stand.
        bare = request._replace(key=None, environment=None)
        run = self._run if request.key else ""
        try:
            future = self._client.submit(_send, bare, run, VERSION, key=name, pure=False, retries=0)
            self._pending[name] = future, came
            self._begin().add(future)
            self._has_more.set()
            try:
                result = next_of(came, request.deadline_s + request.connect_s + GRACE_S)
            except Empty:
                raise TimeoutError(f"no worker has answered within {request.deadline_s:g} s") from None
            if not isinstance(result, Sent):  # (type, exception, traceback), or a cancellation
                raise result[1] if isinstance(result, tuple) else result
            return result
        finally:
            if pending := self._pending.pop(name, None):
                pending[0].release()

    def _hand_over(self) -> None:
        """Give each result to the thread that waits for it: one thread does so, for each that asks costs much more."""
        try:
            while not self._is_closed:
                for batch in self._completed.batches():
                    for future, result in batch:
                        if pending := self._pending.get(future.key):
                            pending[1].put(result)
                self._has_more.wait(0.5)
                self._has_more.clear()
        except Exception as error:  # noqa: BLE001  # told to all who wait, for nothing more will come
            self._is_abandoned = True
            for _, came in list(self._pending.values()):
                came.put(error)

    def abandon(self) -> None:
        self._is_abandoned = True
        if pending := [future for future, _ in list(self._pending.values())]:
            in_background(lambda: self._client.cancel(pending, force=True))

    def close(self) -> None:
        """Have the workers forget the key."""
        self._is_closed = True
        self._has_more.set()
        if self._has_shared:
            in_background(lambda: self._client.run(_forget_key, self._run))


def on_cluster(client: Any, endpoint: Endpoint, *, allow_tcp: bool) -> Backend:
    """Return the workers of a Dask cluster as the place where requests are made; they know the key from now on.

    allow_tcp: also where others can read what goes to the workers.
    Raises: ConfigError where that could be read, the workers have another version of this package, or they are on other
    machines than an endpoint which only this one can reach.
    """
    if not (hasattr(type(client), "submit") and hasattr(type(client), "scheduler_info")):
        raise ConfigError(f"client is a Dask client, not a {type(client).__name__}", "nothing was sent")
    workers = _workers(client)
    is_here = endpoint.local_model is not None or is_loopback(urlsplit(endpoint.base_url).hostname or "")
    if is_here and (elsewhere := next((address for address in workers if _is_elsewhere(address)), "")):
        what = f"the endpoint is on this machine, and a worker is on another one ({elsewhere})"
        raise ConfigError(what, "nothing was sent; leave client out, or set CometSettings.endpoint")
    try:
        versions = client.run(_version) if workers else {}
    except Exception as error:  # noqa: BLE001  # what the workers raise
        raise ConfigError(
            f"the workers cannot import comet_magic: {type(error).__name__}: {error}",
            f"install comet_magic {VERSION} where they run; nothing was sent",
        ) from None
    if others := sorted({version for version in versions.values() if version != VERSION}):
        what = f"the workers have comet_magic {others[0]}, and this kernel {VERSION}"
        raise ConfigError(what, "install the same version; nothing was sent")
    transport = ClusterTransport(client, allow_tcp=allow_tcp)
    if endpoint.key:
        transport.share_key(endpoint.key)
    return Backend(transport, transport.abandon, transport.close)


def _workers(client: Any) -> list[str]:
    """Raises: ConfigError where there is no cluster any more, or it has no workers and starts none by itself."""
    try:
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
    except Exception as error:  # noqa: BLE001  # a client that is closed raises what it likes
        what = f"the Dask client is not connected ({type(error).__name__})"
        raise ConfigError(what, "open another one; nothing was sent") from None
    starts_some = getattr(getattr(client, "cluster", None), "_adaptive", None) is not None
    if not workers and not starts_some:
        raise ConfigError("the Dask cluster has no workers", "start some; nothing was sent")
    return workers


def _is_elsewhere(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme != "inproc" and not is_loopback(parts.hostname or "")


def _is_readable(address: str) -> bool:
    return urlsplit(address).scheme in ("tcp", "ws") and _is_elsewhere(address)


def default_client() -> Any:
    """Return the client that this process has opened; None for none."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


# ---- a Dask DataFrame


class DaskSource(NamedTuple):
    """A Dask DataFrame as rows. Its columns are held where they are computed; divisions and index stay.

    parts: its partitions, delayed.        named: of each, what the prompt names, persisted, with a digest of it.
    ends: the number of rows up to each partition's end.        cache: the partition that was read last, by its number.
    """

    table: Any
    names: Sequence[Any]
    cache: dict[int, tuple[Any, str]]
    parts: Sequence[Any] = ()
    prompt_columns: Sequence[Any] = ()
    named: Sequence[Any] = ()
    ends: Sequence[int] = ()
    library: str = "pandas"

    @property
    def size(self) -> int:
        return self.ends[-1] if self.ends else 0

    @property
    def taken(self) -> Sequence[Any]:
        """The names that no new column may have."""
        return self.names

    def prepared(self, columns: Sequence[Any]) -> DaskSource:
        """Compute the columns that the prompt names, once."""
        import dask
        from dask.delayed import delayed

        parts = self.table.to_delayed(optimize_graph=False)  # which would put several into one
        named = dask.persist(*[delayed(_named)(part, list(columns)) for part in parts])  # type: ignore[attr-defined, no-untyped-call]
        sizes = dask.compute(*[delayed(_size)(part) for part in named])  # type: ignore[attr-defined, no-untyped-call]
        return self._replace(parts=parts, prompt_columns=list(columns), named=named, ends=list(accumulate(sizes)))

    def part(self, columns: Sequence[Any], begin: int, end: int) -> dict[Any, list[Any]]:
        """Return the values of these columns in some of the rows."""
        part: dict[Any, list[Any]] = {name: [] for name in columns}
        number = bisect_right(self.ends, begin)
        while begin < end:
            first = self.ends[number - 1] if number else 0
            frame, _ = self._computed(number)
            last = min(end, self.ends[number])
            for name in part:
                part[name] += frame[name].iloc[begin - first : last - first].tolist()
            begin, number = last, number + 1
        return part

    def _computed(self, number: int) -> tuple[Any, str]:
        """Return what the prompt names in a partition; the latest is kept, for rows are read in order."""
        if number not in self.cache:
            computed = self.named[number].compute()
            self.cache.clear()
            self.cache[number] = computed
        return self.cache[number]

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        """Return a Dask DataFrame of the rows with further columns; computing it sends nothing."""
        import dask.dataframe as dd
        import pandas
        from dask.delayed import delayed

        frame = pandas.DataFrame(columns)
        begins = [0, *self.ends[:-1]]
        meta = _with(self.table._meta, frame.iloc[:0])
        parts = [
            delayed(_joined)(part, frame.iloc[begin:end].reset_index(drop=True), named, self.prompt_columns)
            for part, named, begin, end in zip(self.parts, self.named, begins, self.ends, strict=True)
        ]
        return dd.from_delayed(parts, meta=meta, divisions=self.table.divisions, verify_meta=False)

    def chosen(self, limit: int | None, sample: int | None) -> Any:
        """Return some of the rows, as a table of pandas."""
        if sample is not None:
            raise ConfigError("sample is not for a Dask DataFrame", "nothing was sent; ddf.sample(frac=…) is one")
        if limit is None:
            return self
        check_choice(limit, sample)
        return source_of(self.table.head(limit, npartitions=-1))


def _named(part: Any, names: list[Any]) -> tuple[Any, str]:
    """Return some columns of a partition, and a digest of them."""
    frame = part[list(dict.fromkeys(names))]
    digest = sha256(repr([_steady(frame[name].tolist()) for name in frame.columns]).encode("utf-8", "surrogatepass"))
    return frame, digest.hexdigest()


def _steady(values: list[Any]) -> list[Any]:
    """Return values whose `repr` is the same in every process."""
    return [stable_repr(value) if isinstance(value, set | frozenset) else value for value in values]


def _size(named: tuple[Any, str]) -> int:
    return len(named[0])


def _with(part: Any, columns: Any) -> Any:
    """Return a partition with further columns, by position."""
    joined = part.copy()
    for name in columns.columns:
        joined[name] = columns[name].array
    return joined


def _joined(part: Any, columns: Any, named: tuple[Any, str], names: list[Any]) -> Any:
    """Return a partition with its replies. Raises: ConfigError where its rows come in another order than before."""
    if _named(part, names)[1] != named[1]:
        raise ConfigError(
            "the Dask DataFrame gives its rows in another order each time it is computed, so no reply can be put beside"
            " its row",
            "ddf = ddf.persist(), and call map again: the replies are in the store, and nothing is sent for them",
        )
    return _with(part, columns)


def dask_source(rows: Any) -> DaskSource:
    """Return the source of a Dask DataFrame or Series. Raises: ConfigError for another collection."""
    rows = rows.to_frame() if is_series_like(rows) else rows
    if not hasattr(type(rows), "to_delayed") or not hasattr(type(rows), "columns"):
        raise ConfigError(f"rows are a Dask DataFrame, not a Dask {type(rows).__name__}", "nothing was sent")
    return DaskSource(rows, list(rows.columns), {})
