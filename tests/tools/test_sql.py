"""`comet_magic.tools.query`: SQL over what the prompt named, and nothing else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import psutil
import pyarrow as pa
import pytest
from cells import Ran
from tool_calls import KEY, calls, check, results, use
from wire_server import WireServer, canonical

from comet_magic.errors import ConfigError
from comet_magic.settings import CometSettings
from comet_magic.tools import query
from comet_magic.tools import sql as queries
from comet_magic.tools.sql import MOST_ROWS, QueryError

FRAME = pd.DataFrame({"city": ["Oslo", "Rome", "Rome"], "n": [1, 2, None], "day": pd.to_datetime(["2026-01-02"] * 3)})
secret = pd.DataFrame({"pin": [1234]})  # a table of the process that no prompt names


def over(limit_s: float = 5.0, **tables: Any) -> Any:
    return query.over(tables or {"df": FRAME}, limit_s)


@pytest.mark.parametrize("frame", [FRAME, pl.from_pandas(FRAME), pa.Table.from_pandas(FRAME)])
def test_it_answers_over_tables_of_each_library(frame: Any) -> None:
    ask = over(df=frame)
    assert (
        ask("SELECT city, count(*) AS c, sum(n) AS n FROM df GROUP BY city ORDER BY city")
        == "city,c,n\nOslo,1,1.0\nRome,2,2.0\n"
    )
    assert ask("SELECT n FROM df WHERE n IS NULL") == "n\nNULL\n"
    assert ask("FROM df SELECT max(day)::DATE AS d; -- the last one") == "d\n2026-01-02\n"
    assert ask("WITH t AS (SELECT 1 AS x UNION ALL SELECT 2) SELECT * FROM t ORDER BY x") == "x\n1\n2\n"
    assert "city" in ask("SUMMARIZE df")


def test_a_reference_is_a_table_by_its_own_words() -> None:
    ask = over(**{"df.head(1)": FRAME.head(1), "sales": FRAME})
    assert ask('SELECT count(*) AS c FROM "df.head(1)"') == "c\n1\n"
    assert '"df.head(1)", "sales"' in ask.__doc__


def test_rows_are_bounded() -> None:
    ask = over(df=pd.DataFrame({"n": range(10_000)}))
    text = ask("SELECT n FROM df ORDER BY n")
    assert len(text.splitlines()) == MOST_ROWS + 2
    assert text.endswith("[the first 200 rows; there are more]\n")
    assert "more" not in ask(f"SELECT n FROM df LIMIT {MOST_ROWS}")


ESCAPES = """
SELECT * FROM read_csv('{file}')
SELECT * FROM '{file}'
SELECT * FROM read_text('{file}')
SELECT * FROM read_blob('{file}')
SELECT * FROM read_json('{file}')
SELECT * FROM read_parquet('{file}')
SELECT * FROM read_duckdb('{file}')
SELECT * FROM glob('{folder}/*')
SELECT * FROM sniff_csv('{file}')
SELECT * FROM 'https://127.0.0.1:9/x.csv'
SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')
SELECT * FROM query('SELECT * FROM read_text(''{file}'')')
SELECT * FROM query_table('secret')
SELECT * FROM sqlite_scan('{file}', 't')
SELECT * FROM secret
SELECT * FROM FRAME
SELECT * FROM pandas_scan(1)
SELECT * FROM arrow_scan(1, 1, 1)
SELECT * FROM duckdb_secrets()
SELECT getenv('HOME')
SELECT list_sum(range(10000000000))
ATTACH '{folder}/x.db'
ATTACH ':memory:' AS other
INSTALL httpfs
LOAD httpfs
COPY df TO '{folder}/out.csv'
COPY (SELECT 1) TO '{folder}/out.csv'
EXPORT DATABASE '{folder}/out'
CREATE TABLE x AS SELECT 1
CREATE MACRO f(x) AS x
CREATE TABLE x AS FROM read_text('{file}')
INSERT INTO df VALUES ('Bonn', 1, NULL)
UPDATE df SET n = 0
DELETE FROM df
DROP VIEW df
ALTER VIEW df RENAME TO other
SET enable_external_access = true
SET memory_limit = '100GB'
RESET memory_limit
PRAGMA database_list
CALL pragma_version()
PREPARE p AS SELECT 1
EXECUTE p
CHECKPOINT
VACUUM
USE other
SELECT 1; SELECT 2
SELECT 1; DROP VIEW df
-- nothing
"""


@pytest.mark.parametrize("sql", [line for line in ESCAPES.splitlines() if line])
def test_there_is_no_way_out(sql: str, tmp_path: Path) -> None:
    file = tmp_path / "file.csv"
    file.write_text("a,b\n1,hidden words\n")
    before = sorted(tmp_path.iterdir())
    frame = FRAME.copy()
    ask = over(df=frame)
    with pytest.raises(QueryError) as caught:
        ask(sql.format(file=file, folder=tmp_path))
    assert ask("SELECT count(*) AS c FROM df") == "c\n3\n"
    assert "hidden words" not in str(caught.value)
    assert "1234" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before
    pd.testing.assert_frame_equal(frame, FRAME)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sum(a.n * b.n) FROM df a, df b, df c, df d",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "SELECT a.n FROM df a, df b, df c ORDER BY hash(a.n + b.n) LIMIT 5",
        "SELECT length(repeat('x', 3000000000))",
        "FROM query('select length(repeat(''x'', 3000000000)) s')",
        "SELECT levenshtein(repeat('ab', 200000), repeat('ba', 200000))",
        "SELECT '; " + "--" * 26 + "\nx' AS c, count(*) FROM df a, df b, df c, df d",
    ],
)
def test_a_runaway_is_stopped(sql: str) -> None:
    ask = over(0.5, df=pd.DataFrame({"n": range(20_000)}))
    began = time.monotonic()
    with pytest.raises(QueryError, match="took longer|[Mm]emory"):
        ask(sql)
    assert time.monotonic() - began < 60  # each of them would run for many minutes


def test_memory_is_bounded() -> None:
    ask = over(30, df=pd.DataFrame({"n": range(200_000)}))
    with pytest.raises(QueryError, match="[Mm]emory"):
        ask("SELECT len(list(a.n * b.n)) FROM df a, df b")


def test_what_python_has_no_type_for_is_text() -> None:
    ask = over(df=pd.DataFrame({"t": pd.to_datetime(["2026-01-02T03:04:05+01:00"]).tz_convert("Europe/Oslo")}))
    assert "2026-01-02" in ask("SELECT t FROM df")
    assert (
        ask("SELECT [1, 2] AS l, {'a': 1} AS s, 1.5::DECIMAL(4,2) AS d, NULL AS n")
        == "l,s,d,n\n\"[1, 2]\",{'a': 1},1.50,NULL\n"
    )
    assert len(ask("SELECT repeat('x', 100000) AS s")) < 3000
    assert ask("SELECT '; -- ' AS s") == "s\n; -- \n"


def test_tables_that_sql_cannot_tell_apart() -> None:
    with pytest.raises(ConfigError, match="apart"):
        over(df=FRAME, DF=FRAME)
    ask = over(**{'d["x"]': FRAME})
    assert '"d[""x""]"' in ask.__doc__
    assert ask('SELECT count(*) AS c FROM "d[""x""]"') == "c\n3\n"


@pytest.mark.parametrize("run", [queries._in_a_child, queries._on_a_thread])
def test_within_limits_of_either_kind(run: Any) -> None:
    connection = queries._locked({"df": FRAME})
    assert run(connection, "SELECT count(*) AS c FROM df", 5) == "c\n3\n"
    with pytest.raises(QueryError, match="does not exist"):
        run(connection, "SELECT * FROM other", 5)
    with pytest.raises(QueryError, match="took longer than 0.3 s"):
        run(connection, "SELECT count(*) FROM range(1000000) a, range(1000000) b", 0.3)
    connection.close()


def test_what_is_no_table_is_not_there() -> None:
    relation = duckdb.sql("SELECT 1 AS a")
    for value in (relation, FRAME["n"], pl.from_pandas(FRAME).lazy(), [1], None):
        with pytest.raises(ConfigError, match="query has no table"):
            over(df=value)
    with pytest.raises(ConfigError, match="runs over the tables"):
        query("SELECT 1")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WireServer]:
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    script = calls(use("query", {"sql": "SELECT sum(n) AS total FROM df"}), text="I will look.")
    with WireServer(script, canonical("The total is 49999995000000.")) as server:
        CometSettings.instance().endpoint = server.url
        yield server


def test_a_question_about_ten_million_rows(server: WireServer, shell: Any) -> None:
    shell.user_ns["df"] = pl.DataFrame({"n": pl.arange(0, 10_000_000, eager=True)})
    done = Ran(shell, "%%claude --tools query\nWhat is the total of n in {{df}}?")
    assert done.error is None
    first, second = server.received
    assert '"df"' in first.json["tools"][0]["description"]
    assert len(first.body) < 5000
    assert results(second) == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "total\n49999995000000\n"}]
    check(second.json["messages"])
    assert "query: SELECT sum(n) AS total FROM df → 1 row × 1 column" in done.plain
    # What it may run is no secret way to values that are kept here.
    CometSettings.instance().share_values = False
    Ran(shell, "%%claude --tools query --alone\nWhat is the total of n in {{df}}?")
    assert "49999995000000" not in str(server.received[-1].json)


def test_odd_columns_are_read_as_text_and_spoil_no_others() -> None:
    many: list[object] = [*range(5000), "n/a"]
    odd = pd.DataFrame({"o": pd.Series(many, dtype=object), "p": pd.period_range("2026-01", periods=5001, freq="M")})
    ask = over(df=FRAME, odd=odd, indexed=FRAME.set_index("city"))
    assert ask("SELECT count(*) AS c FROM df") == "c\n3\n"
    assert ask("SELECT count(o) AS c, max(p) AS p FROM odd WHERE o <> 'n/a'").startswith("c,p\n5000,")
    assert ask("SELECT count(DISTINCT city) AS c FROM indexed") == "c\n2\n"
    hidden = over(df=pl.DataFrame({"n": [1], "o": pl.Series([object()], dtype=pl.Object)}))
    assert hidden("SELECT * FROM df") == "n\n1\n"
    assert over(df=odd.set_axis([0, 1], axis=1))("SELECT count(*) AS c FROM df WHERE \"0\" = 'n/a'") == "c\n1\n"
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert "a" in over(df=twice)("SELECT * FROM df")


def test_queries_leave_nothing_behind() -> None:
    ask = over()
    ask("SELECT 1 AS a")
    before = (len(os.listdir("/proc/self/fd")), len(psutil.Process().children()))
    for _ in range(10):
        ask("SELECT count(*) AS c FROM df")
    assert (len(os.listdir("/proc/self/fd")), len(psutil.Process().children())) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM duckdb_settings()", "SELECT * FROM duckdb_secrets()", "SELECT * FROM duckdb_extensions()",
        "SELECT * FROM '~/x.csv'", "SELECT current_setting('home_directory')", "SELECT * FROM glob('~/*')",
        "SELECT * FROM duckdb_databases()", "SELECT current_user, session_user, user",
    ],
)  # fmt: skip
def test_neither_home_nor_the_users_name_is_told(sql: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "the-home-of-jane"))
    monkeypatch.setenv("USER", "jane")
    try:
        told = over()(sql)
    except QueryError as error:
        told = str(error)
    assert "jane" not in told
    assert told


@pytest.mark.skipif(sys.platform != "linux", reason="the query runs in a child there")
def test_a_process_with_many_files_open_may_ask() -> None:
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most < 1200:
        pytest.skip(f"no more than {most} files may be open here")
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert over()("SELECT count(*) AS n FROM df") == "n\n3\n"
    finally:
        for descriptor in opened:
            os.close(descriptor)
