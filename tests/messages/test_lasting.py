"""What of two runs' data is taken for the same, and what is not."""

from __future__ import annotations

import pytest

from comet_magic.messages.framed import framed
from comet_magic.messages.lasting import lasting, with_sorted_sets

CELLS = "notebook cells"
SAME = [
    (CELLS, "CPU times: user 1.4 ms, sys: 80 μs, total: 1.5 ms\nWall time: 1.49 ms\n5", "CPU times: user 2 s, sys: 0 ns\nWall time: 1min 2s\n5"),
    (CELLS, "1.14 μs ± 102 ns per loop (mean ± std. dev. of 2 runs, 10 loops each)", "2 ms ± 1 µs per loop (mean ± std. dev. of 2 runs, 10 loops each)"),
    (CELLS, "The slowest run took 4.02 times longer than the fastest.\n2 ms ± 1 µs per loop (mean ± std. dev. of 2 runs)",
     "3 ms ± 1 µs per loop (mean ± std. dev. of 2 runs)"),
    (CELLS, "100%|███| 3/3 [00:00<00:00, 63550.06it/s]", "100%|███| 3/3 [00:01<00:00,  2.91it/s]"),
    (CELLS, "2026-11-26 15:28:37,123 INFO x", "2026-11-27 08:00:01,000 INFO x"),
    (CELLS, "Date: Thu, 26 Nov 2026   Prob: 1\nTime: 15:28:37", "Date: Fri, 27 Nov 2026   Prob: 1\nTime: 08:00:00"),
    (CELLS, "/tmp/ipykernel_1/12.py:1: UserWarning: x", "/tmp/ipykernel_20/12.py:1: UserWarning: x"),
    (CELLS, "<ipython-input-41-4ac0463c63f6>:2: UserWarning", "<ipython-input-5-4ac0463c63f6>:2: UserWarning"),
    ("exception OSError", "No such file: '/tmp/tmpa1b2c3d_/x'", "No such file: '/tmp/tmp0123wxyz/x'"),
    (CELLS, "Exception in thread Thread-7 (run)", "Exception in thread Thread-12 (run)"),
    ("pandas DataFrame", "9 rows × 2 columns · 12 MB · x", "9 rows × 2 columns · 13 MB · x"),
    ("text", "{'b', 'a'} and frozenset({2, 1})", "{'a', 'b'} and frozenset({1, 2})"),
    (CELLS, "<X(0x7f6612345678)>", "<X(0x7f00abcdef01)>"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "one", "other"), SAME)
def test_two_runs_are_the_same_question(kind: str, one: str, other: str) -> None:
    assert lasting(f"Why? {framed('x', kind, one)}") == lasting(f"Why? {framed('x', kind, other)}")


OTHER = [
    ("pandas DataFrame", "took\n12 ms", "took\n90 ms"),
    ("pandas DataFrame", "at\n2026-11-26 15:28:37", "at\n2026-11-27 15:28:37"),
    (CELLS, "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"),
    (CELLS, "took 12 ms", "took 90 ms"),
    ("text", "'{b, a}'", "'{a, b}'"),
    ("text", "0xdeadbeef", "0xcafebabe"),
    ("text", "0x1234567890ab", "0xffffffffffff"),
    ("text", "/tmp/data/2023.csv", "/tmp/data/2024.csv"),
    ("pandas DataFrame", "Task-7 late", "Task-9 late"),
    (CELLS, "latest order: 2026-01-05 10:00:00", "latest order: 2026-02-05 10:00:00"),
    ("text", r"\binom{n, k}", r"\binom{k, n}"),
    ("text", "{a, b}", "{b, a}"),
]


@pytest.mark.parametrize(("kind", "one", "other"), OTHER)
def test_values_are_not(kind: str, one: str, other: str) -> None:
    assert lasting(framed("x", kind, one)) != lasting(framed("x", kind, other))


def test_the_users_own_words_stand_as_they_are() -> None:
    for text in ("{b, a}", "CPU times: user 1 ms", "see /tmp/tmpabc", "Thread-1"):
        assert lasting(text) == text
        assert lasting(f"{text} {framed('x', 'text', 'y')}").startswith(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{'b', 'a'}", "{'a', 'b'}"),
        ("bad {3, 1}, isn't it: {2, 1}", "bad {1, 3}, isn't it: {1, 2}"),
        ("{(2, 'x'), (1, 'y, z')}", "{(1, 'y, z'), (2, 'x')}"),
        ("{'k': 1, 'a': 2}", "{'k': 1, 'a': 2}"),
        ("{'k': {'b', 'a'}}", "{'k': {'a', 'b'}}"),
        ("{}", "{}"),
        ('"{b, a}"', '"{b, a}"'),
        ("{((1, 2), 3), ((0, 5), 6)}", "{((0, 5), 6), ((1, 2), 3)}"),
        ("{<C.RED: 1>, <C.BLUE: 2>}", "{<C.BLUE: 2>, <C.RED: 1>}"),
        ("{f(g(1)), datetime.date(2024, 1, 1)}", "{datetime.date(2024, 1, 1), f(g(1))}"),
        ("{f(g(h(2))), a.b}", "{f(g(h(2))), a.b}"),
        (r"\binom{n, k}", r"\binom{n, k}"),
        ("{'it\\'s', 'a'}", "{'a', 'it\\'s'}"),
    ],
)
def test_sets_are_written_in_one_order(text: str, expected: str) -> None:
    assert with_sorted_sets(text) == expected
