"""One question to several models: side by side, each with its cost, one of them the turn."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from cells import Ran
from chat_wire import asked, chat, list_of, part, said
from kernels import Kernel
from wire_server import Received, Script, WireServer, canonical, reply, stream

import comet_magic
from comet_magic import conversations
from comet_magic.errors import ConfigError
from comet_magic.exchange import session
from comet_magic.settings import CometSettings

Serve = Callable[..., WireServer]


@pytest.fixture
def three(serve: Serve, shell: Any) -> WireServer:
    """A server with a Claude and two others, each of which says its name."""

    def answer(received: Received) -> Script:
        if received.line.startswith("GET"):
            return list_of("gpt-6-luna", "gemini-3-pro")
        model = received.json["model"]
        if model == "broken":
            return reply({"error": {"message": "it is broken", "type": "invalid_request_error"}}, status=400)
        return canonical(f"I am {model}.") if "/messages" in received.line else said(f"I am **{model}**.")

    CometSettings.instance().prices = {"gpt-6-luna": [1, 1], "gemini-3-pro": [2, 2], "claude-opus-5": [5, 5]}
    return serve(answer)


def test_each_reply_has_a_column_with_tokens_seconds_and_cost(three: WireServer, shell: Any) -> None:
    ran = Ran(shell, "%%claude -m opus,gpt-6-luna,gemini-3-pro\nwho?")
    assert ran.error is None
    for number, model in enumerate(("claude-opus-5", "gpt-6-luna", "gemini-3-pro"), start=1):
        assert f"<th>{number} · {model}</th>" in ran.markdown
        assert f"{number} · {model}\nI am" in ran.plain
    assert ran.plain.count(" s · ≈ $") == 3
    assert ran.plain.count(" out · ") == 3
    assert "I am **gpt-6-luna**." in ran.markdown
    assert "%claude_choose 2" in ran.plain
    assert comet_magic.last.text == "I am claude-opus-5."
    (turn,) = conversations.get().turns
    assert turn.reply == "I am claude-opus-5."
    assert session.current().totals.replies == 3


def test_another_reply_can_be_the_turn(three: WireServer, shell: Any) -> None:
    Ran(shell, "%%claude -m opus,gpt-6-luna\nwho?")
    ran = Ran(shell, "%claude_choose 2")
    assert "reply 2 (gpt-6-luna) is the turn of its cell now" in ran.printed
    assert comet_magic.last.text == "I am **gpt-6-luna**."
    Ran(shell, "%%claude\nand you?")
    assert asked(three.received)[-1]["messages"][1]["content"] == "I am **gpt-6-luna**."
    assert "later cell “and you?” answered another reply: run it again" in Ran(shell, "%claude_choose 1").printed
    assert conversations.get().turns[0].reply == "I am claude-opus-5."


@pytest.mark.parametrize("line", ["", "0", "3", "two"])
def test_a_choice_that_is_none_is_refused(three: WireServer, shell: Any, line: str) -> None:
    assert isinstance(Ran(shell, "%claude_choose 1").error, ConfigError)
    Ran(shell, "%%claude -m opus,gpt-6-luna\nwho?")
    assert isinstance(Ran(shell, f"%claude_choose {line}").error, ConfigError)


def test_one_that_fails_says_why_and_the_others_answer(three: WireServer, shell: Any) -> None:
    CometSettings.instance().aliases = {"broken": "broken"}
    ran = Ran(shell, "%%claude -m gpt-6-luna,broken\nwho?")
    assert ran.error is None
    assert "it is broken" in ran.plain
    assert "I am **gpt-6-luna**." in ran.markdown
    assert isinstance(Ran(shell, "%claude_choose 2").error, ConfigError)
    first = Ran(shell, "%%claude -m broken,gpt-6-luna --new\nwho?")
    assert "reply 1 is not whole" in first.plain
    assert "is the turn" in Ran(shell, "%claude_choose 2").printed
    assert conversations.get().turns[-1].reply == "I am **gpt-6-luna**."


def test_where_none_answers_it_is_an_error(three: WireServer, shell: Any) -> None:
    CometSettings.instance().aliases = {"broken": "broken", "worse": "broken"}
    assert "named twice" in str(Ran(shell, "%%claude -m broken,worse\nhi").error)
    three.scripts[:] = [reply({"error": {"message": "all is broken"}}, status=400)]
    assert "all is broken" in str(Ran(shell, "%%claude -m opus,sonnet\nhi").error)


def test_values_and_the_name(three: WireServer, shell: Any) -> None:
    three.scripts[:] = [
        lambda received: list_of("gpt-6-luna") if received.line.startswith("GET") else said('{"value": 4}')
        if "chat" in received.line else canonical('{"value": 5}')
    ]  # fmt: skip
    ran = Ran(shell, "%%claude -m gpt-6-luna,opus --as int -o n\n2+2?")
    assert shell.user_ns["n"] == 4
    assert "1 · gpt-6-luna\n4" in ran.plain
    assert "2 · claude-opus-5\n5" in ran.plain


def test_what_makes_no_sense_is_refused_before_anything_is_sent(three: WireServer, shell: Any) -> None:
    shell.run_cell("def f(x: int) -> int:\n    'F.'\n    return x")
    for line in ("-m opus,sonnet --tools f", "-m opus,opus", "-m opus,"):
        assert isinstance(Ran(shell, f"%%claude {line}\nhi").error, ConfigError), line
    assert asked(three.received) == []
    with pytest.raises(ConfigError, match="one model, not several"):
        comet_magic.ask("hi", model="opus,sonnet")


def test_a_dry_run_shows_each(three: WireServer, shell: Any) -> None:
    ran = Ran(shell, "%%claude -m opus,gpt-6-luna --dry-run\nhi")
    assert [output.data["text/plain"].count("Nothing was sent") for output in ran.outputs] == [1, 1]
    assert three.received == []


def test_they_are_asked_at_once_and_an_interrupt_keeps_what_came(serve: Serve, shell: Any) -> None:
    import _thread

    both = threading.Barrier(2, timeout=20)

    def answer(received: Received) -> Script:
        if received.line.startswith("GET"):
            return list_of("a-1", "b-1")
        both.wait()  # neither is answered before both are asked
        if received.json["model"] == "b-1":
            threading.Timer(1.0, _thread.interrupt_main).start()
        return stream(part({"content": f"Half of {received.json['model']}"}), end=(30,))

    serve(answer)
    ran = Ran(shell, "%%claude -m a-1,b-1\nhi")
    assert isinstance(ran.error, KeyboardInterrupt)
    assert "Half of a-1" in ran.plain
    assert "Half of b-1" in ran.plain
    assert ran.plain.count("stopped by you") == 2
    assert conversations.get().turns == ()


def test_run_all_is_free(three: WireServer, shell: Any) -> None:
    """In a new kernel, the cells of a notebook are answered from the store, each of their replies."""
    setup = f"%load_ext comet_magic\n%config CometSettings.endpoint = {three.url!r}"
    cells = {"q": "%%claude -m opus,gpt-6-luna\nwho?", "c": "%claude_choose 2", "d": "%%claude\nand you?"}
    texts: list[list[str]] = []
    for _ in range(2):
        kernel = Kernel(COMET_MAGIC_CONVERSATION="c")
        try:
            kernel.run(setup, cell="setup")
            ran = [kernel.run(code, cell=cell) for cell, code in cells.items()]
            texts.append([json.dumps([one.bundles() for one in ran], ensure_ascii=False)])
        finally:
            kernel.close()
    assert len(asked(three.received)) == 3
    assert asked(three.received)[2]["messages"][1]["content"] == "I am **gpt-6-luna**."
    assert texts[0][0].count("replayed from") == 0
    assert texts[1][0].count("replayed from") >= 3


def test_a_choice_of_replies_that_are_gone_is_refused(three: WireServer, shell: Any) -> None:
    Ran(shell, "%%claude -m opus,gpt-6-luna -c zap\nwho?")
    shell.run_line_magic("claude_history", "--delete -c zap")
    ran = Ran(shell, "%claude_choose 2")
    assert "is not one of these replies any more" in str(ran.error)
    assert "zap" not in conversations.names()


def test_what_was_cut_is_continued_and_nothing_else(serve: Serve, shell: Any) -> None:
    def answer(received: Received) -> Script:
        if received.line.startswith("GET"):
            return list_of("a-1", "b-1")
        if len(received.json["messages"]) > 1:
            return said(" and the rest.")
        model = received.json["model"]
        return chat(part({"content": f"{model} begins"}), finish="length" if model == cut else "stop")

    serve(answer)
    cut = "b-1"
    Ran(shell, "%%claude -m a-1,b-1\nhi")
    assert "there is no unfinished reply" in Ran(shell, "%claude_continue").printed
    assert conversations.get().turns[0].reply == "a-1 begins"
    cut = "a-1"
    Ran(shell, "%%claude -m a-1,b-1 --new\nhi there")
    assert "a-1 begins and the rest." in Ran(shell, "%claude_continue").plain
    assert conversations.get().turns[-1].reply == "a-1 begins and the rest."


def test_where_the_first_fails_in_a_second_run_another_can_take_its_place(three: WireServer, shell: Any) -> None:
    Ran(shell, "%%claude -m opus,gpt-6-luna -c d\nwho?")
    working = three.scripts[0]

    def failing(received: Received) -> Script:
        if "/messages" in received.line:
            return reply({"error": {"message": "it is broken", "type": "invalid_request_error"}}, status=400)
        return working(received)  # type: ignore[operator]

    three.scripts[:] = [failing]
    ran = Ran(shell, "%%claude -m opus,gpt-6-luna -c d --fresh\nwho?")
    assert "reply 1 is not whole" in ran.plain
    assert "is the turn of its cell now" in Ran(shell, "%claude_choose 2").printed
    assert conversations.get("d").turns[-1].reply == "I am **gpt-6-luna**."


def test_a_choice_is_remembered_when_its_cell_is_run_again(three: WireServer, shell: Any) -> None:
    Ran(shell, "%%claude -m opus,gpt-6-luna -c e\nwho?")
    Ran(shell, "%claude_choose 2")
    Ran(shell, "%%claude -c e\nand why?")
    printed = Ran(shell, "%claude_choose 1").printed
    assert "later cell “and why?” answered another reply: run it again" in printed
    Ran(shell, "%claude_choose 2")
    assert session.current().choices[session.current().comparison.turn.plan.position.key] == 2  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "said_"),
    [
        ("-m opus, luna", "no space goes after a comma: -m opus,luna"),
        ("-m opus,,luna", "a comma too many"),
        ("-m opus,luna,", "a comma too many"),
        ("-m opus,luna --tools query", "--tools cannot go with several models"),
    ],
)
def test_a_slip_on_the_line_is_said(three: WireServer, shell: Any, line: str, said_: str) -> None:
    assert said_ in str(Ran(shell, f"%%claude {line}\nhi").error)
    assert asked(three.received) == []
