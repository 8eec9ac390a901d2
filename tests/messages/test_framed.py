"""Frames of data in a question: found, taken out, and sent once."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from cells import Ran
from hypothesis import given
from hypothesis import strategies as st
from wire_server import WireServer, canonical

from comet_magic.messages.conversation import Turn
from comet_magic.messages.framed import Repeats, framed, frames_in, unframed
from comet_magic.messages.message import Message
from comet_magic.messages.request import Request
from comet_magic.settings import CometSettings

CARD = framed("movies", "pandas DataFrame", "3 rows × 2 columns\n" + "column | 1 | 2\n" * 20)


def text_of(request: Request) -> list[str]:
    return [str(message["content"]) for message in request.to_wire()["messages"]]


def test_a_card_is_not_sent_again_while_the_turn_that_has_it_goes_along() -> None:
    first = Turn.of(
        "a", [Message.user(f"What is in {CARD}?"), Message("assistant", ({"type": "text", "text": "Films."},))]
    )
    second = Turn.of(
        "b", [Message.user(f"And {CARD} once more"), Message("assistant", ({"type": "text", "text": "Yes."},))]
    )
    request = Request("m", 5, (Message.user(f"{CARD} again"),), history=(first, second))
    texts = text_of(request)
    assert CARD in texts[0]
    assert texts[2] == "And movies: as given above, unchanged once more"
    assert texts[4] == "movies: as given above, unchanged again"
    assert request.repeated_names() == ["movies"]
    without_first = replace(request, history=(second,))
    assert CARD in text_of(without_first)[0]
    alone = replace(request, history=())
    assert text_of(alone) == [f"{CARD} again"]
    # What is compared with the store is the whole question, wherever the card stands.
    assert request.key != without_first.key
    changed = Request("m", 5, (Message.user(CARD.replace("3 rows", "4 rows")),), history=(first,))
    assert "4 rows" in text_of(changed)[-1]


def test_a_short_frame_and_an_answer_stay() -> None:
    short = framed("n", "int", "5")
    turn = Turn.of("a", [Message.user(short), Message("assistant", ({"type": "text", "text": CARD},))])
    texts = text_of(Request("m", 5, (Message.user(f"{short}{CARD}"),), history=(turn,)))
    assert texts[1] == CARD
    assert texts[2] == f"{short}{CARD}"


def test_in_cells_it_is_said_and_the_dry_run_shows_it(shell: object) -> None:
    with WireServer(canonical("A reply.")) as server:
        CometSettings.instance().endpoint = server.url
        shell.user_ns["df"] = pd.DataFrame({"a": range(50), "b": list("xy") * 25})  # type: ignore[attr-defined]
        Ran(shell, "%%claude\nWhat is {{df}}?")
        ran = Ran(shell, "%%claude\nAnd {{df}} now?")
        assert (
            server.received[-1].json["messages"][-1]["content"].startswith("And \ndf: as given above, unchanged\n now?")
        )
        assert "sent: your text · df (as given above) · 1 earlier turn" in ran.plain
        assert "df: as given above, unchanged" in Ran(shell, "%%claude --dry-run\nAnd {{df}}?").plain
        assert "card of" in Ran(shell, "%%claude --alone\nAnd {{df}} now?").plain


def test_the_users_words_come_back() -> None:
    assert unframed(f"What is \n{CARD}\n of it?") == "What is  {{movies}}  of it?"
    assert unframed("See [fig, the image that follows: PNG 5×5] now") == "See {{fig}} now"
    assert unframed("See [cells[-1], the image that follows: picture 1, PNG 5×5]") == "See {{cells[-1]}}"


@given(st.lists(st.text(max_size=30), max_size=5), st.text(max_size=300))
def test_frames_are_found_whatever_stands_in_them(around: list[str], body: str) -> None:
    frame = framed("x", "text", body)
    text = frame.join(["a", *around, "b"])
    assert [text[one.start : one.end] for one in frames_in(text)] == [frame] * (len(around) + 1)
    repeats = Repeats()
    once = repeats.without({"role": "user", "content": text})["content"]
    assert once.count(frame) >= 1
