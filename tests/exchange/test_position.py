"""A question's position: which turn it replaces, and which turns are sent before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comet_magic.exchange.cells import Cell
from comet_magic.exchange.position import find_position
from comet_magic.exchange.session import Session
from comet_magic.messages.conversation import Turn
from comet_magic.messages.message import Message
from comet_magic.settings import CometSettings
from comet_magic.store import turns
from comet_magic.store.database import Store

# (settings, cell that asks, new) → (key, cells of the turns that are sent, older ones left out, begins anew)
POSITIONS: list[tuple[dict[str, Any], str, bool, tuple[str, str, int, bool]]] = [
    ({}, "e", False, ("e", "abcd", 0, False)),  # a new cell is asked after all turns
    ({}, "b", False, ("b", "a", 0, False)),  # a cell that is run again, after those before it
    ({}, "a", False, ("a", "", 0, False)),
    ({"history_turns": 2}, "e", False, ("e", "cd", 2, False)),
    ({"history_turns": 2}, "c", False, ("c", "ab", 0, False)),
    ({"history_turns": 0}, "e", False, ("e", "", 4, False)),
    ({}, "e", True, ("e", "", 0, True)),
    ({}, "a", True, ("a", "", 0, False)),  # the first cell begins the conversation already
]


def turn(cell: str) -> Turn:
    reply = Message("assistant", ({"type": "text", "text": f"answer of {cell}"},))
    return Turn.of(cell, (Message.user(f"question of {cell}"), reply), at=1.0)


@pytest.mark.parametrize(("changes", "cell", "new", "expected"), POSITIONS)
def test_a_position(
    tmp_path: Path, changes: dict[str, Any], cell: str, new: bool, expected: tuple[str, str, int, bool]
) -> None:
    settings, store = CometSettings(**changes), Store(tmp_path / "s.sqlite")
    for name in "abcd":
        turns.keep_turn(store, "c", turn(name))
    asked = Cell("c", cell, 1, 1, True)
    found = find_position(store, Session(), settings, Message.user("?"), asked, new=new)
    sent = "".join(turn.cell for turn in found.sent.turns)
    assert (found.key, sent, found.left_out, found.is_new) == expected


def test_without_a_conversation_nothing_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    turns.keep_turn(store, "c", turn("a"))
    found = find_position(store, Session(), CometSettings(), Message.user("?"), Cell("", "a", 1, 1, True))
    assert (found.sent.turns, found.conversation.turns) == ((), ())


def test_turns_that_may_show_values_are_withheld(tmp_path: Path) -> None:
    store, session = Store(tmp_path / "s.sqlite"), Session()
    for name in "ab":
        turns.keep_turn(store, "c", turn(name))
    session.without_values.add(turn("b").digest)
    settings = CometSettings(share_values=False)
    found = find_position(store, session, settings, Message.user("?"), Cell("c", "x", 1, 1, True))
    assert ([turn.cell for turn in found.sent.turns], found.withheld) == (["b"], 1)
    assert found.sent_line(["your text"]) == (
        "your text · 1 earlier turn · left out: 1 earlier turn that may show values (share_values)"
    )


@pytest.mark.parametrize(("replaced", "stale"), [("a", 3), ("b", 2), ("d", 0), ("x", 0)])
def test_later_turns_are_stale_after_another_reply(tmp_path: Path, replaced: str, stale: int) -> None:
    store = Store(tmp_path / "s.sqlite")
    before = ""
    for name in "abcd":
        turns.keep_turn(store, "c", turn(name)._replace(asked_after=before))
        before = turns.conversation(store, "c").digest
    found = find_position(store, Session(), CometSettings(), Message.user("?"), Cell("c", replaced, 1, 1, True))
    new = Message("assistant", ({"type": "text", "text": "another answer"},))
    changed = Turn.of(replaced, (Message.user("?"), new), at=2.0, asked_after=found.digest_before)
    assert len(found.stale_after(changed)) == stale
