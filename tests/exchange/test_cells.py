"""The keys of cells: which question of which cell of which kernel is which turn."""

from __future__ import annotations

import pytest

from comet_magic.exchange.cells import Cell, CellKeys, kernel_of

# Executions of one kernel, "k": (id of the cell, execution), and the key that each question gets.
QUESTIONS = [
    ([("a", 1)], ["a"]),
    ([("a", 1), ("b", 2), ("a", 3)], ["a", "b", "a"]),  # run again, it is the same turn
    ([("a", 1), ("a", 1), ("a", 1)], ["a", "a/2", "a/3"]),  # three questions of one cell
    ([("a", 1), ("a", 1), ("a", 2)], ["a", "a/2", "a"]),
    ([("", 1), ("", 2)], ["run:k:1", "run:k:2"]),  # without ids, each execution is a turn of its own
    ([("", 1), ("", 1), ("", 2)], ["run:k:1", "run:k:1/2", "run:k:2"]),
]


@pytest.mark.parametrize(("questions", "keys"), QUESTIONS)
def test_each_question_has_its_key(questions: list[tuple[str, int]], keys: list[str]) -> None:
    cells = CellKeys("k", is_fork=False)
    assert [cells.next_key(Cell("c", id, run, run, True)) for id, run in questions] == keys


def test_the_children_of_one_cell_are_not_one_another() -> None:
    keys = {CellKeys(kernel, is_fork=True).next_key(Cell("c", "a", 1, 1, True)) for kernel in ("k1", "k2")}
    assert keys == {"a/k1", "a/k2"}


@pytest.mark.parametrize(("key", "kernel"), [("run:k:1", "k"), ("run:k:1/2", "k"), ("a", ""), ("a/k", ""), ("", "")])
def test_the_kernel_of_a_key(key: str, kernel: str) -> None:
    assert kernel_of(key) == kernel


def test_what_ran_is_counted_and_known() -> None:
    cells = CellKeys("k", is_fork=False)
    assert [cells.times_run("a"), cells.times_run("b"), cells.times_run("a")] == [1, 1, 2]
    assert cells.last_in("c") is None
    cells.ran_in("c", "a")
    assert cells.last_in("c") == "a"
    assert cells.is_own("run:k:3")
    assert not cells.is_own("run:other:3")
    assert not cells.is_own("a")
