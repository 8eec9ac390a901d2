"""A request's body and key: the same however its earlier turns are held."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from comet_magic.messages.conversation import Turn
from comet_magic.messages.message import Message
from comet_magic.messages.request import FORCED, FORMAT, GRAMMAR, TOOL, WORDS, Form, Request

QUESTION = Message.user("and then?")
PAIRS = [
    (Message.user(f"question {n} \ud800 ✓"), Message("assistant", ({"type": "text", "text": f"answer {n}"},)))
    for n in range(3)
]
TURNS = tuple(Turn.of(str(n), pair) for n, pair in enumerate(PAIRS))
FORM = Form({"type": "object", "properties": {"value": {"type": "integer"}}}, None)
REQUESTS = [
    Request("m", 9, (QUESTION,)),
    Request("m", 9, (QUESTION,), system="s", temperature=0.5, stop_sequences=("x",), effort="low", thinking="off"),
    Request("m", 9, (QUESTION,), thinking=2048, stream=False),
    *(Request("m", 9, (QUESTION,), form=FORM, mode=mode) for mode in (FORMAT, FORCED, TOOL, WORDS)),
    Request("m", 9, (QUESTION,), tools=({"name": "f", "input_schema": {"type": "object"}},), may_call=False),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_turns_that_stay_text_make_the_same_body_as_their_messages(request_: Request) -> None:
    of_turns = replace(request_, history=TURNS).to_wire()
    of_messages = replace(request_, messages=(*(message for pair in PAIRS for message in pair), QUESTION)).to_wire()
    assert of_turns == of_messages
    assert json.loads(replace(request_, history=TURNS).to_json()) == of_turns
    assert replace(request_, history=TURNS).to_json().isascii()


def test_cache_marks_stand_at_the_end_of_turns() -> None:
    body = Request("m", 9, (QUESTION,), history=TURNS, cached=(0, 2)).to_wire()
    marked = [at for at, message in enumerate(body["messages"]) if "cache_control" in str(message)]
    assert marked == [1, 5]
    block = {"type": "text", "text": "answer 0", "cache_control": {"type": "ephemeral"}}
    assert body["messages"][1] == {"role": "assistant", "content": [block]}


def test_the_key_is_of_what_is_asked_and_not_of_how_it_travels() -> None:
    first = Request("m", 9, (QUESTION,), history=TURNS, form=FORM)
    same = [
        replace(first, stream=False), replace(first, cached=(0,)), replace(first, mode=WORDS), replace(first, mode=GRAMMAR),
    ]  # fmt: skip
    others = [
        replace(first, model="n"), replace(first, max_tokens=10), replace(first, history=TURNS[:2]),
        replace(first, history=TURNS[::-1]), replace(first, messages=(Message.user("?"),)), replace(first, form=None),
    ]  # fmt: skip
    assert {one.key for one in same} == {first.key}
    assert len({first.key, *(one.key for one in others)}) == len(others) + 1
