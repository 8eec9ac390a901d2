"""Rows and workers of a Dask cluster: case 25."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from row_server import RowServer
from wire_server import MESSAGE, Received, Script, WireServer, reply

import comet_magic
from comet_magic.api.endpoint import Endpoint
from comet_magic.api.transport import HTTPRequest
from comet_magic.errors import ConfigError, TransportError
from comet_magic.keys import Key
from comet_magic.rows import cluster, gate
from comet_magic.settings import CometSettings

Serve = Callable[..., WireServer]
PROMPT = "Tone? {{row.review}}"
KEY = "sk-test-0123456789abcdef"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # distributed's own, on the way up and down


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> CometSettings:
    settings = CometSettings.instance()
    settings.model = "claude-haiku-4-5"
    monkeypatch.setattr(gate, "_gates", {})
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    return settings


@pytest.fixture
def threads() -> Iterator[Any]:
    """A cluster within this process."""
    from distributed import Client, LocalCluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with LocalCluster(
            n_workers=2, threads_per_worker=8, processes=False, dashboard_address=None
        ) as local, Client(local) as client:  # fmt: skip
            yield client
    cluster._keys.clear()


def frame(count: int) -> pd.DataFrame:
    return pd.DataFrame({"review": [f"review {number}" for number in range(count)]}, index=range(100, 100 + count))


def said(received: Received) -> Script:
    if not received.body:
        return reply({}, status=404)
    text = str(received.json["messages"][0]["content"]).rsplit(" ", 1)[1]
    return reply({**MESSAGE, "content": [{"type": "text", "text": text}]})


def test_workers_make_the_requests_and_the_key_is_in_no_task(serve: Serve, threads: Any) -> None:
    server = serve(said)
    result = comet_magic.map(frame(60), PROMPT, client=threads, yes=True)
    assert list(result.reply) == [str(number) for number in range(60)]
    assert all(one.header("authorization") == f"Bearer {KEY}" for one in server.received if one.body)
    scheduler = threads.cluster.scheduler
    seen = [repr(list(scheduler.events.values()) if hasattr(scheduler, "events") else ""), repr(scheduler.tasks)]
    seen += [
        repr(threads.get_scheduler_logs()),
        repr(threads.get_worker_logs()),
        json.dumps(threads.scheduler_info(), default=str),
    ]
    seen += [repr(threads.run_on_scheduler(lambda dask_scheduler: {
        name: vars(task) if hasattr(task, "__dict__") else repr(task) for name, task in dask_scheduler.tasks.items()
    }))]  # fmt: skip
    assert not [text for text in seen if KEY in text]
    until = time.monotonic() + 10  # the client tells the scheduler in batches
    while scheduler.tasks and time.monotonic() < until:
        time.sleep(0.05)
    assert not scheduler.tasks  # each result was released as it came


def test_a_dask_dataframe_keeps_divisions_and_index_and_is_asked_once(serve: Serve, threads: Any) -> None:
    import dask.dataframe as dd

    server = serve(said)
    rows = frame(40).assign(number=range(40))
    ddf = dd.from_pandas(rows, npartitions=4)
    assert [one for one in server.received if one.body] == []
    result = comet_magic.map(ddf, PROMPT, yes=True)
    count = len([one for one in server.received if one.body])
    assert count == 40
    assert result.divisions == ddf.divisions
    first, again = result.compute(), result.compute()
    pd.testing.assert_frame_equal(first, again)
    assert list(first.index) == list(rows.index)
    assert list(first.reply) == [str(number) for number in range(40)]
    assert list(first.columns) == ["review", "number", "reply", "error"]
    assert dict(result._meta.dtypes) == dict(first.dtypes)
    assert len([one for one in server.received if one.body]) == count
    assert list(comet_magic.map(ddf, PROMPT, limit=3).reply) == ["0", "1", "2"]


def test_a_dask_dataframe_needs_no_cluster(serve: Serve) -> None:
    import dask.dataframe as dd

    serve(said)
    rows = frame(9)
    rows.loc[103, "review"] = None
    result = comet_magic.map(dd.from_pandas(rows, npartitions=2), PROMPT, as_=int, into="n").compute()
    assert str(result.n.dtype) == "Int64"
    assert result.n.isna().sum() == 1


def test_a_worker_that_dies_costs_what_it_had_in_flight_and_no_row(settings: CometSettings) -> None:
    from distributed import Client, LocalCluster

    with RowServer(delay=0.2) as server, LocalCluster(
        n_workers=2, threads_per_worker=8, processes=True, dashboard_address=None
    ) as local, Client(local) as client:  # fmt: skip
        settings.endpoint = server.url
        victim = next(iter(local.workers.values())).pid

        def kill() -> None:
            while server.stats()["answered"] < 60:
                time.sleep(0.05)
            os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        result = comet_magic.map(frame(300), PROMPT, client=client, yes=True, workers=16)
        killer.join()
        assert result.error.isna().all()
        assert len(result) == 300
        counts = server.stats()
        assert counts["different"] == 300
        assert counts["answered"] - 300 <= 8 + 8  # its threads, and what had been handed to it
        comet_magic.map(frame(300), PROMPT, client=client)
        assert server.stats()["answered"] == counts["answered"]


def test_a_scheduler_that_dies_ends_the_run_with_what_had_come(serve: Serve) -> None:
    from distributed import Client, LocalCluster

    local = LocalCluster(n_workers=1, threads_per_worker=4, processes=False, dashboard_address=None)
    client = Client(local, timeout=3)
    came = threading.Event()
    count = 0

    def slow(received: Received) -> Script:
        nonlocal count
        if received.body:
            count += 1
            if count == 30:
                came.set()
        return [0.05, *said(received)]

    serve(slow)

    def end() -> None:
        came.wait(20)
        local.close(timeout=5)

    ender = threading.Thread(target=end)
    ender.start()
    with pytest.raises(TransportError, match="cluster did not make the request"):
        comet_magic.map(frame(400), PROMPT, client=client, yes=True, workers=4)
    ender.join()
    client.close(timeout=2)
    assert comet_magic.last_run is not None
    assert 20 <= comet_magic.last_run.progress.answered < 400
    cluster._keys.clear()


class _Client:
    """What looks like a client of a cluster elsewhere."""

    def __init__(self, address: str, versions: Any = None) -> None:
        self.scheduler = type("Scheduler", (), {"address": address})
        self.versions = {"tls://10.0.0.7:1": comet_magic.__version__} if versions is None else versions

    def submit(self) -> None: ...

    def scheduler_info(self, n_workers: int = 0) -> Any:
        names = ["tls://10.0.0.7:1"] if isinstance(self.versions, Exception) else self.versions
        return {"workers": {name: {} for name in names}}

    def run(self, function: Any, *arguments: Any, **more: Any) -> Any:
        if isinstance(self.versions, Exception):
            raise self.versions
        return self.versions


ELSEWHERE = Endpoint("https://gateway.example", Key(KEY, "a test"))


@pytest.mark.parametrize(
    ("client", "endpoint", "text"),
    [
        (_Client("tcp://10.0.0.7:8786"), ELSEWHERE, "not encrypted"),
        (_Client("tls://10.0.0.7:8786", {"tcp://10.0.0.7:1": comet_magic.__version__}), ELSEWHERE, "not encrypted"),
        (_Client("tls://10.0.0.7:8786", {"tls://10.0.0.7:1": "0.0.1"}), ELSEWHERE, "the workers have comet_magic 0.0.1"),
        (_Client("tls://10.0.0.7:8786"), Endpoint("http://127.0.0.1:1"), "the endpoint is on this machine"),
        (_Client("tls://10.0.0.7:8786", ImportError("no module")), ELSEWHERE, "workers cannot import comet_magic"),
        (_Client("tls://10.0.0.7:8786", {}), ELSEWHERE, "has no workers"),
        (object(), ELSEWHERE, "client is a Dask client"),
    ],
)  # fmt: skip
def test_a_cluster_that_could_leak_the_key_or_has_another_version_is_refused(
    client: Any, endpoint: Endpoint, text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        cluster.on_cluster(client, endpoint, allow_tcp=False)


def test_a_worker_that_comes_later_gets_the_key_and_forgets_it(serve: Serve, threads: Any) -> None:
    server = serve(said)
    endpoint = Endpoint(server.url, Key(KEY, "a test"))
    backend = cluster.on_cluster(threads, endpoint, allow_tcp=False)
    cluster._keys.clear()  # as in the process of a new worker
    request = HTTPRequest(server.url + "/v1/messages", b'{"messages": [{"content": "x 1"}]}', {}, endpoint.key)
    assert backend.transport(request).status == 200
    assert server.received[-1].header("authorization") == f"Bearer {KEY}"
    backend.close()
    until = time.monotonic() + 10
    while cluster._keys:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_workers_that_come_one_after_the_other_all_get_the_key(serve: Serve, threads: Any) -> None:
    server = serve(said)
    backend = cluster.on_cluster(threads, Endpoint(server.url, Key(KEY, "a test")), allow_tcp=False)
    real, misses = cluster.ClusterTransport._sent, [3]

    def forgetful(self: Any, request: HTTPRequest) -> Any:
        if misses[0]:
            misses[0] -= 1
            cluster._keys.clear()
        return real(self, request)

    request = HTTPRequest(server.url + "/v1/messages", b'{"messages": [{"content": "x 1"}]}', {}, Key(KEY, "a test"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster.ClusterTransport, "_sent", forgetful)
        assert backend.transport(request).status == 200
        misses[0] = 1000
        with pytest.raises(TransportError, match="nothing was sent") as raised:
            backend.transport(request)
    assert raised.value.kind == "connect"
    assert len([one for one in server.received if one.body]) == 1
    backend.close()


def test_a_client_that_is_closed_and_a_cluster_at_rest(serve: Serve) -> None:
    from distributed import Client, LocalCluster

    serve(said)
    with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as local:
        local.adapt(minimum=0, maximum=2)
        with Client(local) as client:
            assert len(comet_magic.map(frame(6), PROMPT, client=client)) == 6
        with pytest.raises(ConfigError, match="not connected"):
            comet_magic.map(frame(9), PROMPT, client=client)


def test_rows_that_come_in_another_order_are_refused_and_not_put_beside_others(serve: Serve) -> None:
    import dask.dataframe as dd

    serve(said)
    ddf = dd.from_pandas(frame(40), npartitions=3).map_partitions(_shuffled, meta={"review": "object"})
    result = comet_magic.map(ddf, PROMPT, yes=True)
    with pytest.raises(ConfigError, match="in another order each time"):
        result.compute()
    kept = comet_magic.map(ddf.persist(), PROMPT).compute()
    assert [f"review {value}" for value in kept.reply] == list(kept.review)


def _shuffled(part: pd.DataFrame) -> pd.DataFrame:
    return part.sample(frac=1)


def test_files_with_many_columns_and_a_series(serve: Serve, nobody_home: Any) -> None:
    import dask.dataframe as dd

    serve(said)
    for number in range(6):
        columns = {f"c{column}": range(10) for column in range(12)}
        pd.DataFrame({"review": [f"review {number * 10 + row}" for row in range(10)], **columns}).to_parquet(
            nobody_home / f"part{number}.parquet"
        )
    ddf = dd.read_parquet(str(nobody_home / "part*.parquet"))
    result = comet_magic.map(ddf, PROMPT, yes=True).compute()
    assert [f"review {value}" for value in result.reply] == list(result.review)
    series = comet_magic.map(ddf.review, PROMPT).compute()
    assert list(series.columns) == ["review", "reply", "error"]
