"""A reply on a terminal: its Markdown drawn as it comes, and the same however it is cut into pieces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet_magic.render.terminal import BOLD, CODE, DIM, ITALIC, PLAIN, TerminalMarkdown


def drawn(*pieces: str) -> str:
    parts: list[str] = []
    screen = TerminalMarkdown(parts.append)
    for piece in pieces:
        screen.feed(piece)
    screen.close()
    return "".join(parts)


def bare(text: str) -> str:
    return re.sub(r"\x1b\[\d*m", "", text)


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("plain text", "plain text"),
        ("a **bold** word", f"a {BOLD}bold{PLAIN} word"),
        ("an *italic* word", f"an {ITALIC}italic{PLAIN} word"),
        ("`code` here", f"{CODE}code{PLAIN} here"),
        ("`a ** b` is 2 * 3 * 4 and 2**3", f"{CODE}a ** b{PLAIN} is 2 * 3 * 4 and 2**3"),
        ("## A *title* ##\n", f"{BOLD}A {ITALIC}title{PLAIN}{BOLD}{PLAIN}\n"),
        ("> quoted\n", f"{DIM}│{PLAIN} quoted\n"),
        ("```python\nx = '**'\n```\nend", f"{DIM}── python {'─' * 30}{PLAIN}\nx = '**'\n{DIM}{'─' * 40}{PLAIN}\nend"),
        ("- one **two\n- three\n", f"- one {BOLD}two{PLAIN}\n- three\n"),
        ("~~~\n```\n~~~\n", f"{DIM}{'─' * 40}{PLAIN}\n```\n{DIM}{'─' * 40}{PLAIN}\n"),
    ],
)
def test_marks_are_drawn(markdown: str, shown: str) -> None:
    assert drawn(markdown) == shown
    assert drawn(*markdown) == shown


def test_a_table_is_aligned() -> None:
    table = "| city | n |\n|:--|--:|\n| Oslo | **5** |\n| 東京 | 10 |\n| a \\| b |\n"
    assert bare(drawn(*table)).splitlines() == ["city    n", "─────  ──", "Oslo    5", "東京   10", "a | b"]
    assert drawn("| no table\nnext\n") == "| no table\nnext\n"


def test_text_comes_before_its_line_ends() -> None:
    parts: list[str] = []
    screen = TerminalMarkdown(parts.append)
    screen.feed("The answer is")
    assert "".join(parts) == "The answer is"
    screen.feed(" **4")
    assert "".join(parts) == f"The answer is {BOLD}4"


@given(st.lists(st.text(st.sampled_from("ab *`|#>~-\n_1"), max_size=8), max_size=12))
def test_however_it_is_cut_it_looks_the_same(pieces: list[str]) -> None:
    assert drawn(*pieces) == drawn("".join(pieces))


@given(st.text(st.sampled_from("ab c.\n12"), max_size=60))
def test_what_has_no_marks_stays(text: str) -> None:
    assert drawn(text) == text
