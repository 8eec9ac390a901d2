"""`comet_magic.embed`: the cases E1 to E8 by number, what it takes, and what it keeps."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from wire_server import Received, Script, WireServer, reply

import comet_magic
from comet_magic.errors import APIError, ConfigError
from comet_magic.exchange import session
from comet_magic.messages.usage import Usage
from comet_magic.settings import CometSettings

KEY = "sk-test-0123456789abcdef"
Serve = Callable[..., WireServer]


def vector(text: str, length: int = 3) -> list[float]:
    return [float(len(text)), float(ord(text[0])), *[0.5] * (length - 2)]


def embedded(received: Received, *, coded: bool = True, shuffled: bool = False, change: Any = None) -> Script:
    """The reply to a request for embeddings; nothing is listed."""
    if received.line.startswith("GET"):
        return reply({}, status=404)
    texts = received.json["input"]
    vectors: list[Any] = [vector(text, received.json.get("dimensions") or 3) for text in texts]
    if coded:
        vectors = [b64encode(np.array(one, "<f4").tobytes()).decode() for one in vectors]
    data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(vectors)]
    if change:
        data = change(data)
    usage = {"prompt_tokens": len(texts) * 2, "total_tokens": len(texts) * 2}
    return reply({"object": "list", "data": data[::-1] if shuffled else data, "model": "e", "usage": usage})


def asked(server: WireServer) -> list[Any]:
    return [one.json for one in server.received if one.body]


@pytest.fixture(autouse=True)
def priced() -> None:
    CometSettings.instance().prices = {"e": [10, 0]}


def test_e1_the_order_is_that_of_the_texts(serve: Serve) -> None:
    serve(lambda received: embedded(received, shuffled=True))
    array = comet_magic.embed(["a", "bb", "ccc"], model="e")
    assert (array.dtype, array.shape) == (np.float32, (3, 3))
    assert array.tolist() == [vector(text) for text in ("a", "bb", "ccc")]


@pytest.mark.parametrize("coded", [True, False])
def test_e2_base64_and_lists_are_taken(serve: Serve, coded: bool) -> None:
    server = serve(lambda received: embedded(received, coded=coded))
    assert comet_magic.embed(["a", "bb"], model="e", dimensions=5).tolist() == [vector("a", 5), vector("bb", 5)]
    assert asked(server) == [{"model": "e", "input": ["a", "bb"], "dimensions": 5, "encoding_format": "base64"}]


def test_an_endpoint_without_base64_is_asked_without(serve: Serve) -> None:
    def answer(received: Received) -> Script:
        if received.body and "encoding_format" in received.json:
            return reply({"error": {"message": "Unknown parameter: encoding_format"}}, status=400)
        return embedded(received, coded=False)

    serve(answer)
    assert comet_magic.embed(["a"], model="e").tolist() == [vector("a")]


def test_e3_and_e7_batches_stay_in_order_and_usage_is_summed(serve: Serve) -> None:
    server = serve(embedded)
    texts = [f"text {number}" for number in range(2049)]
    array = comet_magic.embed(texts, model="e")
    assert [len(body["input"]) for body in asked(server)] == [2048, 1]
    assert [text for body in asked(server) for text in body["input"]] == texts
    assert array.shape == (2049, 3)
    totals = session.current().totals
    assert (totals.usage.input_tokens, totals.replies) == (4098, 2)
    assert totals.usd == pytest.approx(4098 * 10 / 1e6)
    long = [str(number) * 100_000 for number in range(1, 9)]
    comet_magic.embed(long, model="e")
    assert len(asked(server)) > 3


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a", "", "b"], "1 row of 3 is empty or missing: 1"),
        (
            ["a", None, " ", float("nan"), pd.NA, "", None, None],
            "7 rows of 8 are empty or missing: 1, 2, 3, 4, 5 and 2 more",
        ),
        (["a", 3, 4.5], "2 rows of 3 are no texts, but float, int: 1, 2"),
        (pd.Series(["a", None]), "1 row of 2 is empty or missing: 1"),
        (pl.Series(["a", None]), "1 row of 2 is empty or missing: 1"),
        ("one text", "in an order, and not a str"),
        (pd.DataFrame({"a": ["x"]}), "one column"),
        (np.array([["a"]]), "one column"),
        (7, "in an order, and not a int"),
    ],
)
def test_e4_rows_without_a_text_are_named_before_anything_is_sent(serve: Serve, texts: Any, said: str) -> None:
    server = serve(embedded)
    with pytest.raises(ConfigError, match="nothing was sent") as raised:
        comet_magic.embed(texts, model="e")
    assert said in str(raised.value)
    assert server.received == []


def cut(data: list[Any]) -> list[Any]:
    return data[:-1]


def odd_index(data: list[Any]) -> list[Any]:
    return [{**one, "index": 0} for one in data]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (cut, "2 vectors for 3 texts"),  # E5
        (lambda data: None, "0 vectors for 3 texts"),
        (odd_index, "indexes"),
        (lambda data: [*data[:2], {**data[2], "embedding": [1, float("nan"), 0]}], "row 3"),  # E8
        (lambda data: [data[0], {**data[1], "embedding": None}, data[2]], "row 2"),
        (lambda data: [data[0], {**data[1], "embedding": []}, data[2]], "row 2"),
        (lambda data: [data[0], {**data[1], "embedding": "!"}, data[2]], "row 2"),
        (lambda data: [data[0], {**data[1], "embedding": [1.0]}, data[2]], "different lengths"),
    ],
)
def test_e5_and_e8_what_is_no_vector_for_each_text_is_an_error(serve: Serve, change: Any, said: str) -> None:
    server = serve(lambda received: embedded(received, change=change))
    comet_magic.CometSettings.instance().retries = 0
    with pytest.raises(APIError, match=said):
        comet_magic.embed(["a", "a", "bb", "ccc"], model="e")  # "ccc" is row 3, and the third that is sent
    server.scripts[:] = [embedded]
    comet_magic.embed(["a", "bb", "ccc"], model="e")
    assert [body["input"] for body in asked(server)] == [["a", "bb", "ccc"]] * 2  # nothing was kept of the first


def test_e6_a_busy_endpoint_between_batches_sends_none_twice(serve: Serve) -> None:
    CometSettings.instance()
    texts = [f"text {number}" for number in range(4097)]
    statuses = [200, 429, 429, 200, 200]

    def answer(received: Received) -> Script:
        if received.line.startswith("GET"):
            return reply({}, status=404)
        if statuses.pop(0) == 429:
            return reply(
                {"error": {"message": "slow down", "type": "rate_limit_error"}}, status=429, retry_after="0.01"
            )
        return embedded(received)

    server = serve(answer)
    with pytest.raises(APIError, match="slow down"):
        comet_magic.embed(texts, model="e")
    CometSettings.instance().retries = 2
    assert comet_magic.embed(texts, model="e").shape == (4097, 3)
    firsts = [body["input"][0] for body in asked(server)]
    assert firsts == ["text 0", "text 2048", "text 2048", "text 2048", "text 4096"]


def test_a_text_is_paid_for_once_and_equal_ones_are_sent_once(serve: Serve) -> None:
    server = serve(embedded)
    first = comet_magic.embed(["a", "bb", "a"], model="e")
    session.reset()  # another kernel
    again = comet_magic.embed(["bb", "ccc", "a"], model="e")
    assert [body["input"] for body in asked(server)] == [["a", "bb"], ["ccc"]]
    assert first.tolist() == [vector(text) for text in ("a", "bb", "a")]
    assert again.tolist() == [vector(text) for text in ("bb", "ccc", "a")]
    comet_magic.embed(["a"], model="e", dimensions=4)
    comet_magic.embed(["a"], model="other")
    comet_magic.embed(["a"], model="e", fresh=True)
    assert len(asked(server)) == 5
    again[0, 0] = 7  # it is the caller's own


@pytest.mark.parametrize(
    "texts",
    [
        ("a", "bb"), pd.Series(["a", "bb"], index=[5, 9]), pl.Series(["a", "bb"]), pl.DataFrame({"t": ["a", "bb"]})["t"],
        np.array(["a", "bb"]), np.array(["a", "bb"], dtype=object), pa.array(["a", "bb"]), pa.chunked_array([["a"], ["bb"]]),
        pd.Series(["a", "bb"], dtype="string"), pd.Series(["a", "bb"], dtype="category"), (text for text in ("a", "bb")),
        pd.Index(["a", "bb"]),
    ],
)  # fmt: skip
def test_columns_of_every_kind_are_taken(serve: Serve, texts: Any) -> None:
    serve(embedded)
    assert comet_magic.embed(texts, model="e").tolist() == [vector("a"), vector("bb")]


def test_no_texts_are_an_empty_array(serve: Serve) -> None:
    server = serve(embedded)
    assert comet_magic.embed([], model="e", dimensions=8).shape == (0, 8)
    assert server.received == []


def test_the_budget_holds_and_the_key_stays(serve: Serve) -> None:
    server = serve(embedded)
    CometSettings.instance().budget = 0.0001
    with pytest.raises(ConfigError, match="the budget of the session"):
        comet_magic.embed(["word " * 100], model="e")
    assert asked(server) == []
    CometSettings.instance().budget = None
    comet_magic.embed([f"my key is {KEY}"], model="e")
    assert KEY not in json.dumps(asked(server))
    CometSettings.instance().share_values = False
    with pytest.raises(ConfigError, match="share_values"):
        comet_magic.embed(["a"], model="e")
    assert len(asked(server)) == 1


def test_it_is_in_the_report_and_no_text_is_in_the_store(serve: Serve, shell: Any) -> None:
    serve(embedded)
    comet_magic.embed(["a secret of mine"], model="e")
    report = shell.run_line_magic("claude_usage", "")
    assert "e" in [line.name for line in report.lines["model"]]
    assert session.current().totals.usage == Usage(2, 0)
    store = session.current().store(CometSettings.instance())
    store.read(lambda db: None)
    assert b"a secret of mine" not in b"".join(
        path.read_bytes() for path in store.path.parent.iterdir() if path.name.startswith(store.path.name)
    )


def test_a_refusal_says_why(serve: Serve) -> None:
    serve(reply({"error": {"message": "The model `e` does not exist", "code": "model_not_found"}}, status=404))
    with pytest.raises(APIError, match="does not exist"):
        comet_magic.embed(["a"], model="e")


def test_what_is_dropped_for_room_is_asked_for_again(serve: Serve) -> None:
    from comet_magic.store.embeddings import drop_oldest

    server = serve(embedded)
    comet_magic.embed(["aa", "b"], model="e")
    comet_magic.embed(["ccc"], model="e")
    assert drop_oldest(session.current().store(CometSettings.instance()))
    assert comet_magic.embed(["aa", "b", "ccc"], model="e").tolist() == [vector(text) for text in ("aa", "b", "ccc")]
    assert [body["input"] for body in asked(server)] == [["aa", "b"], ["ccc"], ["aa", "b"]]


def test_another_endpoint_has_vectors_of_its_own(serve: Serve) -> None:
    first = serve(embedded)
    comet_magic.embed(["a"], model="e")
    with WireServer(embedded) as other:
        CometSettings.instance().endpoint = other.url
        comet_magic.embed(["a"], model="e")
        assert len(asked(other)) == len(asked(first)) == 1


def test_replies_without_usage_and_unusable_ones_count_for_the_budget(serve: Serve) -> None:
    def without_usage(received: Received) -> Script:
        data = (
            [{"index": index, "embedding": [1.0]} for index, _ in enumerate(received.json["input"])]
            if received.body
            else []
        )
        return reply({"data": data}) if data else reply({}, status=404)

    serve(without_usage)
    comet_magic.embed(["word " * 1000], model="e")
    assert session.current().totals.usd > 0.01
    before = session.current().totals.usd
    serve(lambda received: embedded(received, change=cut))
    with pytest.raises(APIError, match="0 vectors for 1 texts"):
        comet_magic.embed(["word " * 500], model="e")
    assert session.current().totals.usd > before


def test_only_what_is_stored_under_replay_only(serve: Serve) -> None:
    server = serve(embedded)
    comet_magic.embed(["a"], model="e")
    CometSettings.instance().replay = "only"
    with pytest.raises(ConfigError, match="1 text of 2 have no stored embedding|1 text of 2"):
        comet_magic.embed(["a", "bb"], model="e")
    assert len(asked(server)) == 1


@pytest.mark.parametrize("texts", [{"k": "text"}, {"a", "b"}])
def test_what_has_no_order_is_refused(serve: Serve, texts: Any) -> None:
    serve(embedded)
    with pytest.raises(ConfigError, match="in an order"):
        comet_magic.embed(texts, model="e")


def test_dimensions_are_a_whole_number_of_any_kind(serve: Serve) -> None:
    serve(embedded)
    assert comet_magic.embed(["a"], model="e", dimensions=np.int64(5)).shape == (1, 5)
    for wrong in (0, -1, True, 2.5, "3"):
        with pytest.raises(ConfigError, match="dimensions must be a whole number"):
            comet_magic.embed(["a"], model="e", dimensions=wrong)
