"""`--tools` and `ask(…, tools=…)`: what is offered, asked, run and sent back; and that no call is left without a result."""

from __future__ import annotations

import builtins
import json
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from cells import Ran
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernels import Kernel
from tool_calls import KEY, calls, check, results, use
from wire_server import CLOSE, MESSAGE, Received, Script, WireServer, canonical, event, reply, start, stop, stream

import comet_magic
from comet_magic import conversations
from comet_magic.errors import ConfigError, ReplyError
from comet_magic.exchange import session
from comet_magic.settings import CometSettings
from comet_magic.tools import timeouts


class Answers:
    """What the user answers, and what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[Any] = []
        self.asked: list[str] = []
        monkeypatch.setattr(builtins, "input", self._input)

    def _input(self, prompt: str = "") -> str:
        self.asked.append(prompt)
        answer = self.given.pop(0)
        if isinstance(answer, str):
            return answer
        raise answer


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


def define(shell: Any) -> list[Any]:
    """The user's functions, in the user's namespace; and what they were called with."""
    shell.run_cell(
        "import comet_magic\n"
        "ran = []\n"
        "def add(a: int, b: int = 1) -> int:\n    'Add two numbers.'\n    ran.append((a, b))\n    return a + b\n"
        "def fail(why: str = 'no'):\n    'Fails.'\n    raise ValueError(why)\n"
        "@comet_magic.tool(safe=True)\n"
        "def look(name: str) -> str:\n    'Look it up.'\n    ran.append(name)\n    return f'<{name}>'\n"
    )
    return shell.user_ns["ran"]


# ---- the loop


@pytest.mark.parametrize("streamed", [True, False])
def test_a_call_is_asked_run_and_answered(
    serve: Callable[..., WireServer], user: Answers, shell: Any, streamed: bool
) -> None:
    server = serve(calls(use("add", {"a": 2, "b": 3}), text="Let me add.", streamed=streamed), canonical("It is 5."))
    ran = define(shell)
    user.given = ["y"]
    done = Ran(shell, "%%claude --tools add -o answer\nWhat is 2 + 3?")
    assert done.error is None
    assert ran == [(2, 3)]
    assert "add\n    a = 2\n    b = 3\n" in user.asked[0]
    first, second = server.received
    assert first.json["tools"] == [
        {
            "name": "add",
            "description": "Add two numbers.",
            "input_schema": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"default": 1, "type": "integer"}},
                "required": ["a"],
                "additionalProperties": False,
            },
        }
    ]
    assert "tool_choice" not in first.json
    check(second.json["messages"])
    assert results(second) == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "5"}]
    answer = shell.user_ns["answer"]
    assert answer.text == "It is 5."
    assert answer.usage.output_tokens == (8 if streamed else 10)  # of both rounds
    assert "Let me add." in done.markdown
    assert "add(a=2, b=3) → 5" in done.plain
    assert "<details><summary><small>◈ add" in done.markdown
    assert "tools: add" in done.plain
    Ran(shell, "%%claude\nThanks.")
    check(server.received[-1].json["messages"])
    sent = server.received[-1].json
    assert [m["role"] for m in sent["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert [tool["name"] for tool in sent["tools"]] == ["add"]  # who sends calls must say what the tools were
    assert sent["tool_choice"] == {"type": "none"}


def test_in_a_terminal_it_is_told_as_it_comes(
    serve: Callable[..., WireServer], user: Answers, nobody_home: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from IPython.terminal.interactiveshell import TerminalInteractiveShell

    serve(calls(use("add", {"a": 2}), text="Let me add."), canonical("It is 3."), canonical('{"value": 3}'))
    TerminalInteractiveShell.clear_instance()
    shell = TerminalInteractiveShell.instance()
    try:
        shell.run_line_magic("load_ext", "comet_magic")
        define(shell)
        user.given = ["y"]
        shell.run_cell("%%claude --tools add\nWhat is 2 + 1?", store_history=True)
        told = capsys.readouterr().out
        assert told.startswith("Let me add.\n\n[add(a=2) → 3 · < 0.01 s]\n\nIt is 3.\n")
        shell.run_cell("%%claude --as int\nWhat is 2 + 1?", store_history=True)
        assert capsys.readouterr().out.startswith("3\n◈ m · ")
    finally:
        shell.run_line_magic("unload_ext", "comet_magic")
        shell.history_manager.end_session()
        TerminalInteractiveShell.clear_instance()


def test_answers_of_the_user(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    def server_of(received: Received) -> Script:
        last = received.json["messages"][-1]["content"]
        return canonical("Done.") if isinstance(last, list) else calls(use("add", {"a": 1}))

    server = serve(server_of)
    ran = define(shell)
    user.given = ["n"]
    done = Ran(shell, "%%claude --tools add\none")
    assert ran == []
    assert results(server.received[-1])[0]["is_error"] is True
    assert "denied by you" in done.plain
    user.given = ["maybe", "A"]
    Ran(shell, "%%claude --tools add\ntwo")
    Ran(shell, "%%claude --tools add\nthree")  # always, from now on
    assert (len(ran), len(user.asked)) == (2, 3)
    user.given = ["", "once"]
    Ran(shell, "%%claude --tools add -c other\nfour")  # but in this conversation
    Ran(shell, "%%claude --tools add -c other\nfive")
    assert (len(ran), len(user.asked)) == (3, 5)
    shell.run_cell("def add(a: int, b: int = 1) -> int:\n    'Other code.'\n    return 0\n")
    user.given = ["n"]
    Ran(shell, "%%claude --tools add\nsix")  # what was allowed was another function
    assert len(user.asked) == 6
    user.given = ["a", "y", "n"]
    comet_magic.ask("seven", tools=[shell.user_ns["add"]])  # no conversation, so nothing is for good
    assert "lways" not in user.asked[-1]
    comet_magic.ask("eight", tools=[shell.user_ns["add"]])
    assert len(user.asked) == 9


def test_where_nobody_can_answer_only_what_is_safe_runs(
    serve: Callable[..., WireServer], user: Answers, shell: Any
) -> None:
    server = serve(calls(use("add", {"a": 1}, "t1"), use("look", {"name": "x"}, "t2")), canonical("Done."))
    ran = define(shell)
    user.given = [EOFError()]
    done = Ran(shell, "%%claude --tools add,look\nGo.")
    assert ran == ["x"]
    add, look = results(server.received[-1])
    assert add["is_error"] is True
    assert look["content"] == "<x>"
    assert "@comet_magic.tool(safe=True)" in done.plain


def test_what_goes_wrong_goes_back(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    server = serve(
        calls(
            use("fail", {"why": "broken"}, "t1"), use("add", {"a": "x"}, "t2"), use("nothing", {}, "t3"),
            use("add", {"a": 1}, "t4"), use("add", {"c": 1}, "t5"),
        ),
        canonical("Sorry."),
    )  # fmt: skip
    define(shell)
    user.given = ["y", "y"]
    done = Ran(shell, "%%claude --tools add,fail\nGo.")
    failed, invalid, unknown, fine, other = results(server.received[-1])
    assert [block.get("is_error", False) for block in (failed, invalid, unknown, fine, other)] == [
        True,
        True,
        True,
        False,
        True,
    ]
    assert "ValueError: broken" in failed["content"]
    assert "raise ValueError(why)" in failed["content"]
    assert "calls.py" not in failed["content"]  # frames of the user's code alone
    assert "valid integer" in invalid["content"]
    assert "There is no tool nothing; there are: add, fail." in unknown["content"]
    assert "Extra inputs" in other["content"]
    assert len(user.asked) == 2  # what cannot be run is not asked about
    assert all(line in done.plain for line in ("fail(why='broken') → ValueError: broken", "no such tool"))
    check(server.received[-1].json["messages"])


def test_a_tool_that_never_returns(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    shell.run_cell(
        "import time\n"
        "def sleep():\n    time.sleep(60)\n"
        # Python 3.10 hears no signal in a loop that calls nothing.
        "def spin():\n    while True:\n        try:\n            len('')\n        except Exception:\n            pass\n"
    )
    server = serve(calls(use("sleep", {}, "t1"), use("spin", {}, "t2")), canonical("Well."))
    CometSettings.instance().tool_timeout_s = 0.3
    user.given = ["y", "y"]
    began = time.monotonic()
    done = Ran(shell, "%%claude --tools sleep,spin\nGo.")
    assert time.monotonic() - began < 40  # one sleeps for 60 s, the other never ends
    assert done.error is None
    assert all(
        "took longer than 0.3 s" in block["content"] and block["is_error"] for block in results(server.received[-1])
    )
    assert "tool_timeout_s" in done.plain


def test_a_limit_of_time_leaves_other_alarms_as_they_were() -> None:
    rang: list[int] = []
    former = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    before = signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        with pytest.raises(timeouts.TimedOut):
            timeouts.within(0.1, lambda: time.sleep(5))
        assert timeouts.within(5, lambda: 3) == 3
        time.sleep(0.5)
        assert rang == [1]
    finally:
        signal.signal(signal.SIGALRM, former)
        signal.setitimer(signal.ITIMER_REAL, *before)


def test_off_the_main_thread_there_is_a_limit_too() -> None:
    ended: list[object] = []

    def run() -> None:
        ended.append(timeouts.within(5, lambda: 3))
        try:
            timeouts.within(0.1, lambda: time.sleep(1))
        except timeouts.TimedOut as error:
            ended.append(error)
        try:
            timeouts.within(5, lambda: 1 / 0)
        except ZeroDivisionError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert [type(one) for one in ended] == [int, timeouts.TimedOut, ZeroDivisionError]


def test_tools_run_where_the_cell_does(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    database = sqlite3.connect(":memory:")  # which may be used on its own thread alone

    def count() -> int:
        return int(database.execute("SELECT 7").fetchone()[0])

    server = serve(calls(use("count", {})), canonical("7."))
    user.given = ["y"]
    comet_magic.ask("How many?", tools=[count])
    assert results(server.received[-1])[0]["content"] == "7"
    database.close()


def test_results_are_texts_cards_and_pictures(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    from PIL import Image

    shell.user_ns.update(pd=pd, np=np, Image=Image)
    shell.run_cell(
        "def table():\n    return pd.DataFrame({'a': [1, 2, 3]})\n"
        "def picture():\n    return Image.effect_noise((700, 700), 100)\n"
        "def nothing():\n    pass\n"
        "def long():\n    return 'x' * 100_000\n"
        "def odd():\n    return '\\ud83d half, and \\x00'\n"
    )
    names = ["table", "picture", "nothing", "long", "odd"]
    server = serve(calls(*(use(name, {}, f"t{name}") for name in names)), canonical("Nice."))
    user.given = ["y"] * 5
    done = Ran(shell, f"%%claude --tools {','.join(names)}\nGo.")
    assert done.error is None
    table, picture, nothing, long, odd = (block["content"] for block in results(server.received[-1]))
    assert "pandas DataFrame" in table
    assert "3 rows" in table
    assert [block["type"] for block in picture] == ["text", "image"]
    assert "nothing was returned" in nothing
    assert "left out" in long
    assert "half" in odd
    Ran(shell, "%%claude\nAnd now?")
    check(server.received[-1].json["messages"])
    (turn,) = conversations.get(conversations.names()[0]).turns[:1]
    assert turn.size < 25_000  # a picture counts by its pixels, also in a result


def test_values_and_secrets_stay_here(
    serve: Callable[..., WireServer], user: Answers, shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "tok-abcdef-123456")
    shell.run_cell(
        "def secret(word: str = 'tok-abcdef-123456'):\n    return 'it is tok-abcdef-123456'\n"
        "def leak():\n    raise ValueError('tok-abcdef-123456')\n"
    )
    shell.run_cell("def text():\n    return 'private'\n")
    server = serve(calls(use("secret", {}, "t1"), use("leak", {}, "t2"), use("text", {}, "t3")), canonical("Hm."))
    user.given = ["y"] * 6
    done = Ran(shell, "%%claude --tools secret,leak,text\nGo.")
    assert "tok-abcdef" not in json.dumps([sent.json for sent in server.received])
    assert "tok-abcdef" not in done.markdown
    server = serve(calls(use("text", {}, "t3"), use("leak", {}, "t4")), canonical("Hm."))
    CometSettings.instance().share_values = False
    done = Ran(shell, "%%claude --tools text,leak --alone\nGo.")
    assert "private" not in json.dumps([sent.json for sent in server.received])
    assert "share_values" in done.plain


def test_the_most_rounds(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    def server_of(received: Received) -> Script:
        if received.json.get("tool_choice") == {"type": "none"}:
            return canonical("Enough.")
        return calls(use("look", {"name": "x"}, f"t{len(received.json['messages'])}"))

    server = serve(server_of)
    define(shell)
    CometSettings.instance().tool_rounds = 3
    done = Ran(shell, "%%claude --tools look\nGo.")
    assert done.error is None
    assert len(server.received) == 4
    assert "after 3 rounds of calls" in done.plain
    assert "Enough." in done.plain
    assert "look(name='x')" in done.plain
    endless = serve(calls(use("look", {"name": "x"})))  # whatever it is told
    done = Ran(shell, "%%claude --tools look\nAgain.")
    assert "stopped after 3 rounds of calls, the most" in done.plain
    assert len(endless.received) == 4
    ids = [
        block["id"]
        for message in endless.received[-1].json["messages"]
        if message["role"] == "assistant" and isinstance(message["content"], list)
        for block in message["content"]
    ]
    assert len(ids) == 6
    assert len(set(ids)) == len(ids)  # a gateway that gives the same id again
    Ran(shell, "%%claude\nNext.")
    assert not any(m["content"] == "Again." for m in endless.received[-1].json["messages"])  # that was no turn


def test_calls_that_were_cut_are_not_run(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    serve(calls(use("look", {"name": "x"}), reason="max_tokens"))
    ran = define(shell)
    done = Ran(shell, "%%claude --tools look\nGo.")
    assert ran == []
    assert "cut off at max_tokens" in done.plain


def test_arguments_that_are_no_json(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    opening = event("content_block_start", index=0, content_block=use("look", {}))
    part = event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": '{"na'})
    server = serve(stream(start(), opening, part, stop("tool_use")), canonical("Oh."))
    ran = define(shell)
    done = Ran(shell, "%%claude --tools look\nGo.")
    assert ran == []
    assert "not whole JSON" in results(server.received[-1])[0]["content"]
    assert "not whole JSON" in done.plain
    check(server.received[-1].json["messages"])
    assert "partial_json" not in json.dumps(server.received[-1].json)


def test_thinking_goes_back_while_the_calls_are_open_and_not_later(
    serve: Callable[..., WireServer], user: Answers, shell: Any
) -> None:
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "Eq=="}
    both = reply(
        {
            **MESSAGE,
            "content": [thinking, {"type": "text", "text": ""}, use("look", {"name": "x"})],
            "stop_reason": "tool_use",
        }
    )
    server = serve(both, canonical("Done."), canonical("Bye."))
    define(shell)
    Ran(shell, "%%claude --tools look\nGo.")
    assert server.received[1].json["messages"][1]["content"] == [thinking, use("look", {"name": "x"})]
    Ran(shell, "%%claude\nThanks.")
    assert server.received[2].json["messages"][1]["content"] == [use("look", {"name": "x"})]


def test_an_interrupt_in_the_middle_costs_no_turn(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    server = serve(calls(use("add", {"a": 1})), canonical("Fine."))
    define(shell)
    user.given = [KeyboardInterrupt()]
    done = Ran(shell, "%%claude --tools add\nGo.")
    assert isinstance(done.error, KeyboardInterrupt)
    assert "stopped by you" in done.plain
    assert len(server.received) == 1
    Ran(shell, "%%claude\nNext.")
    assert [m["content"] for m in server.received[-1].json["messages"]] == ["Next."]


def test_a_replay_runs_nothing(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    server = serve(calls(use("look", {"name": "x"})), canonical("Done."), canonical("Thanks."))
    ran = define(shell)
    CometSettings.instance().replay = "always"
    Ran(shell, "%%claude --tools look -c one\nGo.")
    done = Ran(shell, "%%claude --tools look -c two\nGo.")
    assert ran == ["x"]
    assert "replayed" in done.plain
    assert "look(name='x')" in done.plain
    Ran(shell, "%%claude -c two\nMore.")  # the replayed turn is whole, with its calls
    check(server.received[-1].json["messages"])
    assert len(server.received[-1].json["messages"]) == 5


def test_the_turn_survives_the_kernel_and_its_export(
    serve: Callable[..., WireServer], user: Answers, shell: Any, nobody_home: Any
) -> None:
    server = serve(calls(use("look", {"name": "x"})), canonical("Done."), canonical("Again."))
    define(shell)
    Ran(shell, "%%claude --tools look -c talk\nGo.")
    session.reset()
    Ran(shell, "%%claude -c talk\nOn.")
    check(server.received[-1].json["messages"])
    assert len(server.received[-1].json["messages"]) == 5
    Ran(shell, "%claude_history -c talk --export talk.jsonl")
    Ran(shell, "%claude_history -c copy --import talk.jsonl")
    assert conversations.get("copy").messages == conversations.get("talk").messages
    Ran(shell, "%claude_history -c talk --export talk.md")
    told = (nobody_home / "talk.md").read_text()
    assert "```python\nlook(name='x')\n```\n\n## Results\n\n```text\n<x>\n```\n\n## Reply\n\nDone." in told


def test_the_budget_holds_between_rounds(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    expensive = stream(
        start(input_tokens=1_000_000),
        event("content_block_start", index=0, content_block=use("look", {"name": "x"})),
        stop("tool_use", output_tokens=3),
    )
    server = serve(expensive, canonical("Done."))
    define(shell)
    CometSettings.instance().prices = {"claude-sonnet-4-6": [3, 15]}
    CometSettings.instance().budget = 0.5
    done = Ran(shell, "%%claude --tools look\nGo.")
    assert isinstance(done.error, ConfigError)
    assert "budget" in str(done.error)
    assert len(server.received) == 1
    assert "budget" in done.plain


def test_a_failure_of_a_later_round_keeps_what_was_paid_for(
    serve: Callable[..., WireServer], user: Answers, shell: Any
) -> None:
    serve(calls(use("look", {"name": "x"}), text="Let me look."), reply(b"{}", status=500))
    define(shell)
    done = Ran(shell, "%%claude --tools look\nGo.")
    assert done.error.partial.usage.output_tokens == 3  # type: ignore[union-attr]
    assert done.plain.count("Let me look.") == 1
    assert done.plain.count("look(name='x')") == 1


def test_tools_and_a_type(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    server = serve(calls(use("look", {"name": "x"})), canonical('{"value": 4}'))
    define(shell)
    done = Ran(shell, "%%claude --tools look --as int -o n\nHow many?")
    assert shell.user_ns["n"] == 4
    assert "look(name='x')" in done.markdown
    assert [tool["name"] for tool in server.received[0].json["tools"]] == ["look"]
    assert "format" in server.received[0].json["output_config"]
    server = serve(
        calls(use("reply", {"value": "no"})), calls(use("look", {"name": "x"})), calls(use("reply", {"a": 1}))
    )
    assert comet_magic.ask("What?", tools=[shell.user_ns["look"]], as_=dict[str, int]) == {"a": 1}
    assert [len(sent.json["tools"]) for sent in server.received] == [2, 2, 2]
    serve(calls(use("reply", {"value": "no"})))
    with pytest.raises(ReplyError):
        comet_magic.ask("What?", tools=[shell.user_ns["look"]], as_=dict[str, int])


def test_tools_that_are_none_are_said_before_anything_is_sent(serve: Callable[..., WireServer], shell: Any) -> None:
    server = serve(canonical())
    shell.run_cell(
        "import functools\n"
        "def add(a: int): pass\n"
        "async def later(): pass\n"
        "def odd(frame: object, /): pass\n"
        "class Thing: pass\n"
        "def thing(it: Thing): pass\n"
        "def reply(): pass\n"
        "five = 5\n"
    )
    for named, said in [
        ("ad", "did you mean add?"), ("later", "is async"), ("odd", "has no name to be given by"), ("thing", "no JSON can be read"),
        ("five", "is not a function"), ("add,add", "two tools are called add"), ("reply", "cannot be called reply"), ("add(", "SyntaxError"),
        ("query", "name one in the prompt, as {{df}}"),
    ]:  # fmt: skip
        done = Ran(shell, f'%%claude --tools "{named}"\nGo.')
        assert isinstance(done.error, ConfigError), named
        assert said in str(done.error), str(done.error)
    with pytest.raises(ConfigError, match="a list of functions"):
        comet_magic.ask("Go.", tools=print)  # type: ignore[arg-type]
    assert server.received == []


def test_a_dry_run_names_the_tools(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    server = serve(canonical())
    define(shell)
    done = Ran(shell, "%%claude --tools look --dry-run\nGo.")
    assert "Look it up." in done.plain
    assert "tools: look" in done.plain
    assert server.received == []


def test_what_was_cut_is_asked_anew(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    cut = stream(
        start(), event("content_block_delta", index=0, delta={"type": "text_delta", "text": '{"va'}), stop("max_tokens")
    )
    server = serve(cut)
    define(shell)
    for flags in ("--as int", "--tools look"):
        done = Ran(shell, f"%%claude {flags}\nGo.")
        assert "later cells do not see this reply" in done.plain
        assert "%claude_continue" not in done.plain
    assert "no unfinished reply" in Ran(shell, "%claude_continue").printed
    assert len(server.received) == 2


# ---- any interleaving

OUTCOMES = ["fine", "fails", "denied", "invalid", "unknown", "nobody", "interrupt", "cut", "broken"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turns=st.lists(
        st.lists(st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=3), max_size=3), min_size=1, max_size=3
    )
)
def test_any_interleaving_leaves_a_valid_conversation(
    turns: list[list[list[str]]], serve: Callable[..., WireServer], user: Answers, shell: Any
) -> None:
    """turns: of each the rounds, of each the calls, of each how it goes."""
    define(shell)
    CometSettings.instance().conversation = f"c{time.monotonic_ns()}"
    whole = 0
    for rounds in turns:
        scripts: list[Script] = []
        user.given = []
        ends_early = False
        for number, outcomes in enumerate(rounds):
            uses = []
            for place, outcome in enumerate(outcomes):
                name = {"fails": "fail", "unknown": "gone"}.get(outcome, "add")
                uses.append(
                    use(
                        name,
                        {"a": "x"} if outcome == "invalid" else {} if name != "add" else {"a": 1},
                        f"t{number}.{place}",
                    )
                )
            if "cut" in outcomes or "broken" in outcomes:
                script = calls(*uses, reason="max_tokens" if "cut" in outcomes else "tool_use")
                scripts.append(script if "cut" in outcomes else [*script[: len(script) // 2], CLOSE])
                ends_early = True
                break
            scripts.append(calls(*uses))
            answers: dict[str, Any] = {
                "fine": "y",
                "fails": "y",
                "denied": "n",
                "nobody": EOFError(),
                "interrupt": KeyboardInterrupt(),
            }
            for outcome in outcomes:
                if outcome in answers and not ends_early:
                    user.given.append(answers[outcome])
                ends_early = ends_early or outcome == "interrupt"
            if ends_early:
                break
        server = serve(*scripts, canonical("Well."))
        done = Ran(shell, "%%claude --tools add,fail\nGo.")
        assert (done.error is None) == (not ends_early or "cut" in rounds[len(scripts) - 1]), done.error
        for sent in server.received:
            check(sent.json["messages"])
        whole += not ends_early
    server = serve(canonical("Yes."))
    Ran(shell, "%%claude\nIs it whole?")
    messages = server.received[0].json["messages"]
    check(messages)
    assert sum(message["content"] == "Go." for message in messages) == whole


# ---- a real kernel


def test_in_a_kernel_the_user_is_asked_through_its_input_prompt(serve: Callable[..., WireServer]) -> None:
    server = serve(calls(use("add", {"a": 2})), canonical("3."), calls(use("add", {"a": 2})), canonical("Not allowed."))
    kernel = Kernel(COMETAPI_KEY=KEY, COMET_MAGIC_ENDPOINT=server.url)
    try:
        kernel.run("%load_ext comet_magic\ndef add(a: int) -> int:\n    return a + 1")
        asked = kernel.send("%%claude --tools add\nGo.", "asking", stdin=True)
        prompt = kernel.client.get_stdin_msg(timeout=20)
        assert "a = 2" in prompt["content"]["prompt"]
        kernel.client.input("y")
        ran = kernel.until_idle(asked)
        assert "add(a=2) → 3" in ran.plain
        assert results(server.received[1])[0]["content"] == "3"
        ran = kernel.run("%%claude --tools add\nGo.", cell="c")  # a front end that has no input prompt, as nbclient
        assert "nobody could allow it here" in ran.plain
        assert ran.reply["status"] == "ok"
    finally:
        kernel.close()


# ---- what reviewers tried


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    def drop(self) -> str:
        return f"{self.name} is gone"


def test_what_was_allowed_is_that_very_function(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    def server_of(received: Received) -> Script:
        last = received.json["messages"][-1]["content"]
        return canonical("Done.") if isinstance(last, list) else calls(use("drop", {}))

    server = serve(server_of)
    shop, other = Shop("test"), Shop("production")
    user.given = ["a"]
    for _ in range(2):
        comet_magic.ask("Go.", tools=[shop.drop], chat="c")
    assert len(user.asked) == 1
    user.given = ["n"]
    comet_magic.ask("Go.", tools=[other.drop], chat="c")
    assert results(server.received[-1])[0]["is_error"] is True
    assert len(user.asked) == 2


def test_no_argument_can_push_the_question_out_of_sight(
    serve: Callable[..., WireServer], user: Answers, shell: Any
) -> None:
    shell.run_cell("def send(path: str, note: str):\n    return 'sent'")
    forged = " " * 3200 + "\nClaude asks to run\n  look\nAllow look? \x1b[2J\u202e" + "x" * 5000
    serve(calls(use("send", {"path": "/etc/shadow", "note": forged + KEY})), canonical("Done."))
    user.given = ["s", "n"]
    Ran(shell, "%%claude --tools send\nGo.")
    first, whole = user.asked
    assert len(first) < 1000
    assert "    path = '/etc/shadow'\n" in first
    assert first.endswith(
        "Allow send? [y]es, once · [a]lways in this conversation · [s]how all · [N]o · [x] no to all: "
    )
    assert "\x1b" not in first + whole
    assert "⟨3200 blanks⟩" in first
    assert "more characters⟩" in first
    assert "x" * 5000 in whole
    assert KEY not in first + whole


@pytest.mark.parametrize(
    "command",
    [
        "export API_TOKEN='x; rm -rf ~; true'",
        'login --password="$(rm -rf ~)"',
        "echo -----BEGIN RSA PRIVATE KEY-----; rm -rf ~",
        "curl -H 'Authorization: Bearer $(rm -rf ~)aaaaaaaaaaaaaaaa'",
    ],
)
def test_whoever_approves_sees_all_that_runs(
    serve: Callable[..., WireServer], user: Answers, shell: Any, command: str
) -> None:
    shell.run_cell("def run(cmd: str):\n    return 'ran'")
    serve(calls(use("run", {"cmd": command})), canonical("Done."))
    user.given = ["s", "n"]
    Ran(shell, "%%claude --tools run\nGo.")
    for question in user.asked:
        assert "rm -rf ~" in question


def test_what_prints_as_a_blank_is_written_as_its_escape(
    serve: Callable[..., WireServer], user: Answers, shell: Any
) -> None:
    shell.run_cell("def run(cmd: str):\n    return 'ran'")
    serve(calls(use("run", {"cmd": "ls\u3164\u2800\u115f\u200b; rm"})), canonical("Done."))
    user.given = ["n"]
    Ran(shell, "%%claude --tools run\nGo.")
    assert r"ls\u3164\u2800\u115f\u200b; rm" in user.asked[0]


def test_no_to_all_asks_no_more_in_this_reply(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    uses = [use("add", {"a": number}, f"t{number}") for number in range(4)]
    server = serve(calls(*uses), calls(use("add", {"a": 9}, "t9")), canonical("Then not."), canonical("Hi."))
    ran = define(shell)
    user.given = ["y", "x"]
    Ran(shell, "%%claude --tools add\nGo.")
    assert len(user.asked) == 2
    assert ran == [(0, 1)]
    assert len(server.received) == 3


def test_the_calls_of_a_round_can_be_allowed_at_once(
    serve: Callable[..., WireServer], user: Answers, shell: Any
) -> None:
    uses = [use("add", {"a": number}, f"t{number}") for number in range(3)]
    serve(calls(*uses), calls(use("add", {"a": 9}, "t9")), canonical("Done."))
    ran = define(shell)
    user.given = ["y", "r", "n"]
    Ran(shell, "%%claude --tools add\nGo.")
    assert ran == [(0, 1), (1, 1), (2, 1)]  # and what a later round calls is asked about anew
    first, second, third = user.asked
    assert first.count("    a = ") == 3
    assert "[r] all 3 above" in first
    assert "[r] all 2 above" in second
    assert "[r]" not in third


def test_a_query_s_line_says_its_rows_and_opens_to_a_table(serve: Callable[..., WireServer], shell: Any) -> None:
    server = serve(
        calls(use("query", {"sql": "SELECT city, n FROM table_1 ORDER BY n"}, "t1")), canonical("Two cities.")
    )
    shell.user_ns["sales"] = pa.table({"city": ["Oslo", "Ber|gen", "x"], "n": [2, 1, 0]})
    done = Ran(shell, "%%claude --tools query\nWhich? {{sales.slice(0, 2)}}")
    asked = server.received[0].json
    assert 'name="table_1 = sales.slice(' in str(asked["messages"])
    assert '"table_1"' in asked["tools"][0]["description"]
    assert "query: SELECT city, n FROM table&#95;1 ORDER BY n → 2 rows × 2 columns" in done.markdown
    assert "```sql\nSELECT city, n FROM table_1 ORDER BY n\n```" in done.markdown
    assert "| Ber&#124;gen | 1 |" in done.markdown
    assert done.markdown.index("</details>\n\n<p></p>\n\nTwo cities.") > 0


def test_the_calls_of_a_reply_are_bounded(serve: Callable[..., WireServer], shell: Any) -> None:
    shell.run_cell(
        "import comet_magic\ncount = [0]\n@comet_magic.tool(safe=True)\ndef ping(x: int):\n    count[0] += 1"
    )
    uses = [use("ping", {"x": number}, "same") for number in range(900)]
    server = serve(calls(*uses), canonical("Done."))
    done = Ran(shell, "%%claude --tools ping\nGo.")
    assert shell.user_ns["count"] == [50]
    assert "850 calls left out: 50 is the most (tool_calls)" in done.plain
    check(server.received[-1].json["messages"])
    assert len(results(server.received[-1])) == 50
    assert server.received[-1].json.get("tool_choice") == {"type": "none"}


def test_a_denial_holds_when_it_is_run_again_and_fresh_asks(
    serve: Callable[..., WireServer], user: Answers, shell: Any
) -> None:
    server = serve(calls(use("add", {"a": 1})), canonical("Then not."), calls(use("add", {"a": 1})), canonical("2."))
    ran = define(shell)
    CometSettings.instance().replay = "always"
    user.given = ["n", "y"]
    Ran(shell, "%%claude --tools add -c one\nGo.")
    again = Ran(shell, "%%claude --tools add -c two\nGo.")
    assert (ran, len(user.asked), len(server.received)) == ([], 1, 2)
    assert "denied by you" in again.plain
    assert "replayed from" in again.plain
    Ran(shell, "%%claude --tools add -c two --fresh\nGo.")
    assert (ran, len(server.received)) == ([(1, 1)], 4)


def test_a_call_that_nobody_could_allow_is_not_replayed(
    serve: Callable[..., WireServer], user: Answers, shell: Any
) -> None:
    server = serve(calls(use("add", {"a": 1})), canonical("Then not."), calls(use("add", {"a": 1})), canonical("2."))
    ran = define(shell)
    CometSettings.instance().replay = "always"
    user.given = [EOFError(), "y"]
    Ran(shell, "%%claude --tools add -c one\nGo.")
    Ran(shell, "%%claude --tools add -c two\nGo.")
    assert (ran, len(server.received)) == ([(1, 1)], 4)


def test_a_call_that_nobody_offered_makes_no_turn(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    server = serve(calls(use("look", {"name": "x"}), text="Let me look.", reason="end_turn"), canonical("Yes."))
    done = Ran(shell, "%%claude\nGo.")
    assert "a tool call is pending: look" in done.plain
    Ran(shell, "%%claude\nNext.")
    assert [m["content"] for m in server.received[-1].json["messages"]] == ["Next."]
    server = serve(calls(use("reply", {}), use('bad "name"!\n', {}, "t2")), canonical("Well."), canonical("Yes."))
    define(shell)
    Ran(shell, "%%claude --tools look\nGo.")
    Ran(shell, "%%claude\nNext.")
    names = [tool["name"] for tool in server.received[-1].json["tools"]]
    assert names == ["reply", "bad__name___"]
    check(server.received[-1].json["messages"])


def test_each_round_is_priced_by_itself(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    def script(*events: bytes, reason: str) -> Script:
        return stream(start(input_tokens=60_000), *events, stop(reason, output_tokens=10))

    opening = event("content_block_start", index=0, content_block=use("look", {"name": "x"}))
    text = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Done."})
    serve(script(opening, reason="tool_use"), script(text, reason="end_turn"))
    define(shell)
    Ran(shell, "%%claude --tools look -m claude-haiku-5-5\nGo.")
    assert comet_magic.last.receipt.cost_usd == pytest.approx((120_000 * 0.1 + 20 * 0.5) / 1e6)  # no long prompt


def test_tools_that_fail_in_odd_ways(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    shell.run_cell(
        "import comet_magic, asyncio, dataclasses, functools\n"
        "class Mute(Exception):\n    def __str__(self): raise ValueError\n"
        "@comet_magic.tool(safe=True)\ndef mute(): raise Mute\n"
        "@comet_magic.tool(safe=True)\ndef cancelled(): raise asyncio.CancelledError\n"
        "@comet_magic.tool(safe=True)\ndef ended(): raise SystemExit\n"
        "@dataclasses.dataclass\nclass Unhashable:\n    n: int = 1\n    def __call__(self, a: int) -> int: return a\n"
        "odd = Unhashable()\n"
        "def scaled(by: int, n: float) -> float:\n    'Scale it.'\n    return by * n\n"
        "double = functools.partial(scaled, n=2.5)\n"
        "both = [mute, cancelled]\n"
    )
    server = serve(
        calls(use("mute", {}, "1"), use("cancelled", {}, "2"), use("ended", {}, "3"), use("odd", {"a": 4}, "4"), use("scaled", {"by": 2}, "5")),
        canonical("Odd."),
    )  # fmt: skip
    user.given = ["y", "y"]
    done = Ran(shell, "%%claude --tools mute,cancelled,ended,odd,double\nGo.")
    assert done.error is None
    assert [block.get("is_error", False) for block in results(server.received[-1])] == [True, True, True, False, False]
    assert [block["content"] for block in results(server.received[-1])[3:]] == ["4", "5.0"]
    scaled = server.received[0].json["tools"][-1]
    assert scaled["description"] == "Scale it."
    assert scaled["input_schema"]["properties"]["by"] == {"type": "integer"}
    for many in ("both", "*both"):
        assert Ran(shell, f"%%claude --tools {many} --dry-run\nGo.").error is None


def test_with_many_calls_it_paints_no_more_often(serve: Callable[..., WireServer], user: Answers, shell: Any) -> None:
    serve(calls(*(use("look", {"name": str(at)}, f"t{at}") for at in range(200))), canonical("Done."))
    define(shell)
    done = Ran(shell, "%%claude --tools look\nGo.")
    assert done.error is None
    assert sum(len(str(output.data)) for output in done.outputs) < 2_000_000


def test_a_type_that_is_not_reached_with_tools_is_an_error(
    serve: Callable[..., WireServer], user: Answers, shell: Any
) -> None:
    serve(calls(use("look", {"name": "x"})))
    define(shell)
    CometSettings.instance().tool_rounds = 1
    with pytest.raises(ReplyError, match="stopped after 1 round of calls"):
        comet_magic.ask("Go.", as_=int, tools=[shell.user_ns["look"]])


def test_in_a_kernel_an_interrupt_ends_a_call_at_once(serve: Callable[..., WireServer]) -> None:
    runaway = "SELECT count(*) FROM df a, df b, df c WHERE a.n * b.n % 7 = c.n"
    server = serve(
        calls(use("sleep", {}), text="I will sleep."),
        calls(use("query", {"sql": runaway}), text="I will query."),
        canonical("Awake."),
    )
    kernel = Kernel(COMETAPI_KEY=KEY, COMET_MAGIC_ENDPOINT=server.url)
    try:
        kernel.run(
            "%load_ext comet_magic\nimport comet_magic, time, pandas as pd\ndf = pd.DataFrame({'n': range(100_000)})\n"
            "@comet_magic.tool(safe=True)\ndef sleep():\n    print('asleep', flush=True)\n    time.sleep(50)\n"
        )
        ran = kernel.run("%%claude --tools sleep\nGo.", interrupt_when="asleep")
        assert ran.ended - ran.interrupted < 40  # it sleeps for 50 s; the query would run for hours
        assert ran.error[0].startswith("KeyboardInterrupt")
        assert "stopped by you" in ran.plain
        kernel.run("1")  # what comes at once after an error may be taken for a part of the same queue
        ran = kernel.run("%%claude --tools query\nGo: {{df}}", interrupt_when="I will query.")
        assert ran.error, (ran.reply, ran.plain, ran.printed)
        assert ran.ended - ran.interrupted < 40  # it sleeps for 50 s; the query would run for hours
        assert ran.error[0].startswith("KeyboardInterrupt")
        kernel.run("%%claude\nAre you there?")
        assert [m["content"] for m in server.received[-1].json["messages"]] == ["Are you there?"]
    finally:
        kernel.close()
