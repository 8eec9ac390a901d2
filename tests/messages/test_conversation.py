"""A conversation as a value, and as what is left of any sequence of runs, failures, restarts, forks and removals."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule
from wire_server import CLOSE, WireServer, block, canonical, delta, reply, start, stop, stream

from comet_magic import conversations
from comet_magic.describe.question import question as as_question
from comet_magic.errors import CometError, ConfigError
from comet_magic.exchange import session
from comet_magic.exchange.cells import Cell
from comet_magic.exchange.journal import Journal
from comet_magic.exchange.plan import Options, make_plan
from comet_magic.exchange.run import run
from comet_magic.messages.conversation import Conversation, Turn
from comet_magic.messages.message import Message
from comet_magic.settings import CometSettings


def answer(text: str) -> Message:
    return Message("assistant", ({"type": "text", "text": text},), stop_reason="end_turn")


def turn(cell: str, size: int = 1, after: str = "") -> Turn:
    return Turn.of(cell, (Message.user(f"{cell}?"), answer("a" * size)), asked_after=after)


def chain(*cells: str, size: int = 1) -> Conversation:
    conversation = Conversation("c")
    for cell in cells:
        conversation = conversation.with_turn(turn(cell, size, conversation.digest))
    return conversation


def cells(conversation: Conversation) -> str:
    return " ".join(turn.cell for turn in conversation.turns)


def stale(conversation: Conversation) -> str:
    return " ".join(turn.cell for turn in conversation.stale())


def test_a_turn_that_is_run_again_is_replaced_in_its_place_and_the_later_ones_are_stale() -> None:
    three = chain("a", "b", "c")
    assert stale(three) == ""
    again = three.with_turn(turn("b", 2, three.before("b").digest))
    assert cells(again) == "a b c"
    assert stale(again) == "c"
    assert again.turns[1].messages[1].text == "aa"
    mended = again.with_turn(turn("c", 3, again.before("c").digest))
    assert stale(mended) == ""
    assert cells(three.before("b")) == "a"
    assert cells(three.before("new")) == "a b c"


def test_the_same_reply_makes_nothing_stale() -> None:
    three = chain("a", "b", "c")
    assert three.with_turn(turn("a")).stale() == ()


def test_a_turn_that_is_removed_makes_the_later_ones_stale() -> None:
    assert stale(chain("a", "b", "c").without("b")) == "c"


def test_a_turn_is_whole_or_it_is_none() -> None:
    with pytest.raises(ValueError, match="a question and its reply"):
        Turn.of("a", (Message.user("q"),))
    with pytest.raises(ValueError, match="a question and its reply"):
        Turn.of("a", (answer("r"), Message.user("q")))


def test_thinking_is_never_sent_again_and_tool_calls_are() -> None:
    """Case 93 of the protocol: dropped, and never edited."""
    call: Any = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}, "caller": {"type": "direct"}}
    content: Any = (
        {"type": "thinking", "thinking": "hm", "signature": "Eq"},
        {"type": "redacted_thinking", "data": "Em"},
        {"type": "text", "text": "I call", "citations": None},
        call,
        {"type": "text", "text": ""},
    )
    sent = Message("assistant", content).to_history().to_wire()
    assert sent["content"] == [
        {"type": "text", "text": "I call"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
    ]


@pytest.mark.parametrize(
    ("turns", "tokens", "kept", "left_out"),
    [(10, 10_000, 8, 0), (8, 10_000, 8, 0), (7, 10_000, 7, 1), (4, 10_000, 4, 4), (0, 10_000, 0, 8), (10, 0, 0, 8)],
)
def test_a_history_is_bounded_by_turns_and_tokens(turns: int, tokens: int, kept: int, left_out: int) -> None:
    sent, out = chain(*"abcdefgh").bounded(turns, tokens)
    assert (len(sent.turns), out) == (kept, left_out)
    assert cells(sent) == " ".join("abcdefgh"[left_out:])


def test_a_bounded_history_moves_a_few_turns_at_a_time_so_that_the_cache_holds() -> None:
    numbers = [str(n) for n in range(100)]
    firsts = [chain(*numbers[:count]).bounded(40, 10**9)[1] for count in range(40, 60)]
    assert firsts == [0, *[10] * 10, *[20] * 9]
    assert all(count - first <= 40 for count, first in zip(range(40, 60), firsts, strict=True))


def test_tokens_bound_a_history_of_long_turns() -> None:
    sent, left_out = chain(*"abcd", size=3000).bounded(50, 2500)
    assert (len(sent.turns), left_out) == (2, 2)


@pytest.mark.parametrize("size", [500, 24_000, 48_000, 140_000])
def test_whatever_the_turns_are_like_the_newest_goes_along_and_the_bound_only_moves_on(size: int) -> None:
    before = 0
    for count in range(1, 90):
        conversation = Conversation("c", tuple(turn(str(n), size) for n in range(count)))
        sent, left_out = conversation.bounded(50, 50_000)
        assert sent.turns
        assert len(sent.turns) <= 50
        assert sum(t.size // 3 for t in sent.turns) <= 50_000
        assert left_out >= before
        before = left_out


def test_breakpoints_are_few_and_only_where_a_prefix_is_long_enough() -> None:
    assert chain(*"abc").breakpoints(1024) == ()
    assert chain("a", "b", size=2500).breakpoints(1024) == (1,)
    long = chain(*[str(n) for n in range(40)], size=3000)
    assert long.breakpoints(1024) == (15, 23, 31, 39)
    assert chain("a", size=3000).breakpoints(1024) == (0,)
    assert chain("a").breakpoints(1024, before=2000) == (0,)


# ---- any sequence

CELLS = ("c1", "c2", "c3", "c4")
Entry = tuple[str, str, str]  # cell, question, answer


class Talking(RuleBasedStateMachine):
    """The engine against the simplest model of it: lists of (cell, question, answer)."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        CometSettings.clear_instance()
        session.reset()
        self.settings = CometSettings.instance()
        self.server = WireServer(self.script)
        self.settings.endpoint = self.server.url
        self.settings.replay = "never"
        self.settings.retries = 0
        self.settings.store = f"talking-{id(self)}.sqlite"
        self.model: dict[str, list[Entry]] = {}
        self.asked: set[tuple[int, str]] = set()  # in which of those lists a cell has asked itself
        self.left: set[tuple[int, str]] = set()  # which it has left, for another one
        self.outcome = "whole"
        self.count = 0

    def teardown(self) -> None:
        self.server.__exit__()
        store = session.current().store(self.settings)
        session.reset()
        for path in Path(".").glob(f"{store.path}*"):
            path.unlink()

    def script(self, received: Any) -> Any:
        begun = (start(), block(), delta(f"part {self.count}"))
        return {
            "whole": canonical(f"answer {self.count}"),
            "failed": reply({"error": {"message": "no", "type": "invalid_request_error"}}, status=400),
            "cut": stream(*begun, end=[CLOSE]),
            "interrupted": stream(*begun, end=[0.2, CLOSE]),
            "refused": stream(*begun, stop("refusal")),
            "too long": stream(*begun, stop("max_tokens")),
        }[self.outcome]

    @initialize(target=names)
    def first(self) -> str:
        self.model["main"] = []
        return "main"

    @rule(name=names, cell=st.sampled_from(CELLS), outcome=st.sampled_from(
        ["whole", "whole", "whole", "failed", "cut", "interrupted", "refused", "too long"]), new=st.booleans())  # fmt: skip
    def run(self, name: str, cell: str, outcome: str, new: bool) -> None:
        self.count += 1
        self.outcome = outcome
        question = f"question {self.count}"
        home = name if new else self.home_of(name, cell)
        turns = self.model[home]
        standing = self.standing(home)
        place = next((at for at, entry in enumerate(turns) if entry[0] == cell), len(turns))
        afresh = new and bool(standing) and standing[0][0] != cell
        if afresh:
            turns, place = [], 0
        where = Cell(name, cell, 1, object(), True)
        asked, mine = as_question(question, self.settings), session.current()
        received = len(self.server.received)
        plan = make_plan(asked, Options(new=new), where, self.settings, mine)
        try:
            with Journal(mine, plan) as journal:
                snapshots = run(plan, journal, mine)
                for snapshot in snapshots:
                    if outcome == "interrupted" and not isinstance(snapshot, Message) and snapshot.text:
                        snapshots.throw(KeyboardInterrupt())
                        snapshots.close()
        except CometError:
            assert outcome in ("failed", "cut")
        wire = self.server.received[received].json["messages"]
        before = [entry for entry in turns[:place] if (id(turns), entry[0]) not in self.left]
        expected = [text for entry in before for text in entry[1:]] + [question]
        assert [message["content"] for message in wire] == expected
        assert [message["role"] for message in wire] == ["user", "assistant"] * (len(wire) // 2) + ["user"]
        if outcome == "whole":
            if afresh:
                number = next(n for n in range(1, 1000) if f"{home}.{n}" not in self.model)
                self.model[f"{home}.{number}"], self.model[home] = self.model[home], turns
            turns[place : place + 1] = [(cell, question, f"answer {self.count}")]
            self.left.discard((id(turns), cell))
            self.asked.add((id(turns), cell))
            for other, entries in self.model.items():
                if (id(entries), cell) in self.asked and other.split(".")[0] != home.split(".")[0]:
                    self.left.add((id(entries), cell))

    def standing(self, name: str) -> list[Entry]:
        turns = self.model[name]
        return [entry for entry in turns if (id(turns), entry[0]) not in self.left]

    def home_of(self, name: str, cell: str) -> str:
        """A cell that was set aside with a former self of its conversation is run there."""
        former = [f"{name}.{n}" for n in range(999, 0, -1) if f"{name}.{n}" in self.model]
        held = [other for other in former if cell in [entry[0] for entry in self.standing(other)]]
        here = not self.standing(name) or cell in [entry[0] for entry in self.model[name]]
        return name if here or not held else held[0]

    @rule()
    def restart(self) -> None:
        session.reset()

    @rule(name=names, target=names)
    def fork(self, name: str) -> str:
        self.count += 1
        new = f"fork {self.count}"
        if not self.model[name]:  # one whose turns are all left out is there
            with pytest.raises(ConfigError) if not _exists(name) else nullcontext():
                conversations.fork(new, name=name)
        else:
            conversations.fork(new, name=name)
        self.model[new] = self.standing(name)
        return new

    @precondition(lambda self: any(map(self.standing, self.model)))
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name in self.model if self.standing(name)]))
        number = data.draw(st.integers(1, len(self.standing(name))))
        conversations.forget(number, name=name)
        gone = self.standing(name)[number - 1]
        self.model[name].remove(gone)
        self.asked.discard((id(self.model[name]), gone[0]))

    @invariant()
    def what_is_kept_is_what_the_model_says(self) -> None:
        for name in self.model:
            kept = conversations.get(name)
            assert [(turn.cell, *(m.text for m in turn.messages)) for turn in kept.turns] == self.standing(name)
            assert all(isinstance(json.loads(turn.wire), list) for turn in kept.turns)


def _exists(name: str) -> bool:
    return name in conversations.names()


class TestTalking(Talking.TestCase):  # type: ignore[misc, name-defined]  # hypothesis makes it
    settings = settings(
        max_examples=300,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
