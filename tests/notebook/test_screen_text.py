"""What is printed, and what the screen shows of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet_magic.notebook.screen_text import screen_text


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("plain\ntext\n", "plain\ntext\n"),
        ("\r 10%|#   |\r100%|####|\n", "100%|####|\n"),
        ("12345\rab", "ab345"),
        ("12345\r\x1b[Kab", "ab"),
        ("abx\x08c", "abc"),
        ("\x08x", "x"),
        ("\x1b[1;31mred\x1b[0m and \x1b[38;5;7mgrey\x1b[m", "red and grey"),
        ("\x1b]8;;http://a.b\x1b\\link\x1b]8;;\x1b\\ end", "link end"),
        ("\x1b]0;title\x07x", "x"),
        ("a: 0\nb: 0\x1b[A\r\x1b[Ka: 1\n\x1b[Kb: 2", "a: 1\nb: 2"),
        ("old\x1b[2J\x1b[Hnew", "new"),
        ("abc\x1b[2D!", "a!c"),
        ("top\nrow\x1b[1;2H!", "t!p\nrow"),
        ("abcd\x1b[1G\x1b[2P", "cd"),
        ("ab\x1b[scd\x1b[u!", "ab!d"),
        ("abc\x1b[1G>\x1b[2C.", ">bc."),
        ("one\ntwo\x1b[1A\x1b[J!", "one!"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("\x1b", ""),
        ("\x1b[", ""),
        ("\x1b[999999999999BX", None),
    ],
)
def test_the_screen_shows_what_is_left(printed: str, shown: str | None) -> None:
    if shown is not None:
        assert screen_text(printed) == shown
    assert len(screen_text(printed)) < 100_000


@given(st.text(st.sampled_from("ab\n\r\x08\x1b[]0;KABCDGHJm\x9b\x07"), max_size=60))
def test_anything_can_be_printed(printed: str) -> None:
    assert not set("\r\x08\x1b\x9b") & set(screen_text(printed))
