"""Painting: how often, how much, and what stays."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import redirect_stdout
from typing import Any

import pytest

from comet_magic.messages.message import Message
from comet_magic.messages.usage import Usage
from comet_magic.notebook import display
from comet_magic.notebook.display import LiveDisplay, Notebook, Terminal


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Growing:
    """A reply that grows as a script says: seconds to wait, or text to add."""

    is_urgent = False

    def __init__(self, clock: Clock, *steps: float | str | BaseException) -> None:
        self.clock, self.steps, self.text, self.stopped = clock, steps, "", False

    def snapshots(self) -> Generator[Any, None, Message]:
        """As `run` yields them."""
        try:
            for step in self.steps:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, str):
                    self.text += step
                else:
                    self.clock.now += step
                yield self
        except BaseException:
            self.stopped = True
            yield self.message
            raise
        yield self.message
        return self.message

    @property
    def message(self) -> Message:
        content = ({"type": "text", "text": self.text},)
        return Message(
            "assistant",
            content,
            "m",
            "end_turn",
            usage=Usage(1, 2),
            incomplete="stopped by you" if self.stopped else None,
        )  # type: ignore[arg-type]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(display, "time", clock)
    return clock


Published = list[tuple[float, dict[str, Any]]]


def show(clock: Clock, *steps: float | str | BaseException) -> Published:
    published: Published = []
    notebook = Notebook(lambda **sent: published.append((clock.now, sent)), show_usage=True, remote_images=False)
    LiveDisplay(notebook).show(Growing(clock, *steps).snapshots())
    return published


def test_the_first_text_is_painted_at_once_and_the_last_in_full(clock: Clock) -> None:
    published = show(clock, 5.0, "a", 0.01, "b", 0.01, "c")
    texts = [sent["data"]["text/markdown"] for _, sent in published]
    assert texts[0] == "*thinking …*"
    assert texts[1] == "a"
    assert texts[-1].startswith("abc\n\n<small>◈ m · 1 in · 2 out")
    assert len(texts) == 3
    assert [sent["update"] for _, sent in published] == [False, True, True]
    assert len({sent["transient"]["display_id"] for _, sent in published}) == 1


def test_only_the_first_and_the_last_paint_carry_plain_text(clock: Clock) -> None:
    published = show(clock, "a", 1.0, "b", 1.0, "c")
    both = {"text/markdown", "text/plain"}
    assert [set(sent["data"]) for _, sent in published] == [both, {"text/markdown"}, {"text/markdown"}, both]
    assert published[-1][1]["metadata"]["comet_magic"]["usage"] == {"input_tokens": 1, "output_tokens": 2}


def test_a_stalled_stream_shows_all_that_has_come(clock: Clock) -> None:
    published = show(clock, "a", 0.01, "b", 0.05, 0.05, 0.05)
    assert published[1][1]["data"]["text/markdown"] == "ab"
    assert published[1][0] < 0.2


def test_painting_80_kb_in_20_s_stays_within_its_bounds(clock: Clock) -> None:
    steps = [step for _ in range(20_000) for step in ("wor ", 0.001)]
    published = show(clock, *steps)
    size = sum(len(str(sent["data"]).encode()) for _, sent in published)
    assert size <= 20 * 50_000 + 3 * 80_000
    gaps = [later - earlier for (earlier, _), (later, _) in zip(published, published[1:], strict=False)][:-1]
    assert min(gaps) >= 0.0999
    assert max(gaps) <= 2.1


def test_an_interrupt_keeps_what_came_and_goes_on(clock: Clock) -> None:
    published: Published = []
    live = LiveDisplay(Notebook(lambda **sent: published.append((0, sent)), show_usage=True, remote_images=False))
    with pytest.raises(KeyboardInterrupt):
        live.show(Growing(clock, "Hel", KeyboardInterrupt()).snapshots())
    assert published[-1][1]["data"]["text/plain"].startswith("Hel\n\n[◈ stopped by you]")


def test_an_interrupt_while_something_is_painted_ends_the_reply(clock: Clock) -> None:
    published: Published = []

    def publish(**sent: Any) -> None:
        published.append((0, sent))
        if len(published) == 1:
            raise KeyboardInterrupt

    live = LiveDisplay(Notebook(publish, show_usage=True, remote_images=False))
    reply = Growing(clock, "Hel", "lo")
    with pytest.raises(KeyboardInterrupt):
        live.show(reply.snapshots())
    assert reply.stopped
    assert published[-1][1]["data"]["text/plain"].startswith("Hel\n\n[◈ stopped by you]")


def test_a_terminal_gets_each_word_once(clock: Clock) -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        LiveDisplay(Terminal(show_usage=True)).show(Growing(clock, "He", 1.0, "llo\x1b[31m", 1.0, " ✓").snapshots())
    assert out.getvalue() == "Hello\ufffd[31m ✓\n◈ m · 1 in · 2 out\n"


def test_a_long_reply_is_cut_on_the_screen_and_says_so(clock: Clock) -> None:
    published = show(clock, "x" * 300_000)
    assert len(published[-1][1]["data"]["text/markdown"]) < 201_000
    assert "first 200,000 of 300,000" in published[-1][1]["data"]["text/plain"]


def test_a_terminal_shows_what_a_tool_did_once() -> None:
    """Between two requests of one reply, its text is the same with fewer newlines at its end."""
    out = io.StringIO()
    screen = Terminal(show_usage=False)
    with redirect_stdout(out):
        for text in ("[f(a=3) → 3]\n\n", "[f(a=3) → 3]", "[f(a=3) → 3]\n\nab", "[f(a=3) → 3]\n\nabcd"):
            screen.paint(text)
    assert out.getvalue() == "[f(a=3) → 3]\n\nabcd"
