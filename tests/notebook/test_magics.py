"""The magics in a real IPython: what is sent, what is shown, what is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cells import Ran, shown_in_turn
from wire_server import MESSAGE, Received, Script, WireServer, canonical, delta, reply, start, stop, stream

import comet_magic
from comet_magic.errors import ConfigError
from comet_magic.notebook.flags import parse_flags, parser


@pytest.fixture
def server(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[WireServer]:
    """An endpoint that says "4", in place of the real one."""
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    with WireServer(canonical()) as server:
        shell.run_line_magic("config", f"CometSettings.endpoint = {server.url!r}")
        yield server


def sent(server: WireServer) -> str:
    return str(server.received[-1].json["messages"][0]["content"])


def test_a_cell_is_sent_as_it_stands_and_its_reply_shown(shell: Any, server: WireServer) -> None:
    body = "What is {x} of $y, {'a': 1}?\n  \\n! %magic\n?"
    ran = Ran(shell, f"%%claude\n{body}\n")
    assert ran.error is None
    assert sent(server) == body
    assert ran.markdown.startswith("4\n\n<small>◈ m · 11 in · 5 out · ")
    assert ran.plain.startswith("4\n\n◈ m · 11 in · 5 out · ")
    assert ran.outputs[-1].metadata["comet_magic"] == {
        "id": "msg_1",
        "model": "m",
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 5},
    }
    assert [output.update for output in ran.outputs] == [False, True][: len(ran.outputs)]


@pytest.mark.parametrize(
    "question",
    [
        "what's up?",
        "what is up?",
        "what is up??",
        'say "hi";',
        "{x} and $y",
        "a = b; c",
        "- m opus",
        "-x or -y?",
        "is 50% of {} 5?",
        "don't",
    ],
)
def test_a_line_is_sent_as_it_stands(shell: Any, server: WireServer, question: str) -> None:
    shell.user_ns.update(x="NO", y="NO")
    assert Ran(shell, f"%claude {question}").error is None
    assert sent(server) == question


@pytest.mark.parametrize(
    ("line", "cell"),
    [
        ("-m opus hi", "%%claude -m opus, and below it: hi"),
        ("--model=opus hi", "%%claude --model=opus, and below it: hi"),
        ("-m opus -t 5 what is up?", "%%claude -m opus -t 5, and below it: what is up?"),
        ("--dry-run what?", "%%claude --dry-run, and below it: what?"),
        ("what? --dry-run", "%%claude --dry-run, and below it: what?"),
        ("-mopus hi", "%%claude -m opus, and below it: hi"),
    ],
)
def test_flags_on_a_line_are_refused_with_the_cell(shell: Any, server: WireServer, line: str, cell: str) -> None:
    error = Ran(shell, f"%claude {line}").error
    assert isinstance(error, ConfigError)
    assert f"nothing was sent; write a cell that begins with {cell}" in error.hint
    assert server.received == []


def test_a_misspelt_flag_is_named_wherever_it_stands(shell: Any, server: WireServer) -> None:
    Ran(shell, "1/0")
    for line, near in (
        ("%claude --modle opus hi", "did you mean --model?"),
        ("%claude_fix --dryrun", "did you mean --dry-run?"),
        ("%claude_fix --model opus", "unknown flag --model"),
        ("%claude_fix --cell x", "--cell needs the number of a cell"),
        ("%claude_reset model", "takes no flags"),
    ):
        error = Ran(shell, line).error
        assert isinstance(error, ConfigError), line
        assert near in error.what, line
    assert "Explain and correct" in Ran(shell, "%claude_fix --help").printed
    assert server.received == []


@pytest.mark.parametrize("cell", ["\n\n%load_ext comet_magic\n\nx = 1\n", "%load_ext comet_magic\n   \n%claude hi?\n"])
def test_it_is_loaded_by_any_cell(shell: Any, server: WireServer, monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    shell.run_line_magic("unload_ext", "comet_magic")
    monkeypatch.setenv("COMET_MAGIC_ENDPOINT", server.url)
    ran = Ran(shell, cell)
    assert ran.error is None
    assert "Traceback" not in ran.printed
    assert "CometMagics" in shell.magics_manager.registry
    assert len(server.received) == cell.count("hi?")


@pytest.mark.parametrize("braces", ["{df}", "{ df }", "{df.head}", "{df['a']}"])
def test_one_pair_of_braces_around_a_table_gets_a_hint(shell: Any, server: WireServer, braces: str) -> None:
    Ran(shell, "import pandas as pd\ndf = pd.DataFrame({'a': [1]}); text = 'x'")
    said = Ran(shell, f"%%claude\nWhat is in {braces}?").plain
    assert f"{braces} was sent as text: write {{{braces}}} to send the table" in said
    for quiet in ("{text}", "{nothing}", "{{df}}", "{'df': 1}"):
        assert "as text" not in Ran(shell, f"%%claude\nWhat is in {quiet}?").plain
    assert "as text" not in Ran(shell, f"%%claude --literal\nWhat is in {braces}?").plain


def test_loading_anew_keeps_what_the_session_has_cost(shell: Any, server: WireServer) -> None:
    def ask() -> str:
        comet_magic.CometSettings.instance().endpoint = server.url
        return Ran(shell, "%%claude -m haiku\nhi").plain

    assert "session ≈ $0.000036" in ask()
    shell.run_line_magic("reload_ext", "comet_magic")
    assert "session ≈ $0.000072" in ask()


def test_a_question_in_a_string_is_left_alone(shell: Any, server: WireServer) -> None:
    Ran(shell, 'text = """\n%claude what is up?\n"""')
    assert shell.user_ns["text"] == "\n%claude what is up?\n"
    assert server.received == []


def test_help_is_still_help(shell: Any, server: WireServer) -> None:
    shown = Ran(shell, "%%claude?").printed
    for flag in parser()._option_string_actions:
        assert f"{flag} " in shown or f"{flag}," in shown
    assert "Ask in a line" in Ran(shell, "%claude?").printed
    assert "Nothing was sent" in Ran(shell, "%%claude --help\nhello").printed
    assert server.received == []


def test_flags_beat_settings_for_one_cell(shell: Any, server: WireServer) -> None:
    shell.run_line_magic("config", "CometSettings.system = 'be brief'")
    ran = Ran(
        shell,
        '%%claude -m opus -t 50 -s "be  kind" --stop END --stop "a b" --effort low --think 1024 --temperature 0\nhi',
    )
    assert isinstance(ran.error, ConfigError)  # 1,024 of thinking in 50 tokens
    Ran(shell, '%%claude -m opus --max-tokens=2000 -s "be  kind" --stop END --stop "a b" --effort low --think 1024\nhi')
    body = server.received[-1].json
    assert body["model"] == "claude-opus-5"
    assert (body["max_tokens"], body["system"], body["stop_sequences"]) == (2000, "be  kind", ["END", "a b"])
    assert body["output_config"] == {"effort": "low"}
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    Ran(shell, "%%claude\nhi")
    assert server.received[-1].json["system"] == "be brief"
    assert "thinking" not in server.received[-1].json
    Ran(shell, "%%claude -s ''\nhi")
    assert "system" not in server.received[-1].json


def test_into_leaves_a_message_and_nothing_else(shell: Any, server: WireServer) -> None:
    Ran(shell, "1 + 1")
    before = set(shell.user_ns)
    Ran(shell, "%%claude -o answer\nhi")
    assert shell.user_ns["answer"].text == "4"
    assert shell.user_ns["answer"] is comet_magic.last
    assert {name for name in set(shell.user_ns) - before if not name.startswith("_")} == {"answer"}
    assert shell.user_ns["_"] == 2
    assert list(shell.user_ns["Out"]) == [1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--modl opus", "did you mean --model?"),
        ("--modl=opus", "did you mean --model?"),
        ("--max_tokens 5", "did you mean --max-tokens?"),
        ("-x", "unknown flag -x"),
        ("-m", "needs a value"),
        ("-t many", "'many' is not a number"),
        ("-t 0", "at least 1"),
        ("--temperature 3", "between 0 and 1"),
        ("--think 5", "at least 1,024"),
        ("--think deep", "off, adaptive, or a budget"),
        ("--effort hi", "did you mean high?"),
        ("-o 1x", "not a variable's name"),
        ("-o class", "not a variable's name"),
        ("-s what's up", "not closed"),
        ("hello there", "the prompt goes below"),
    ],
)
def test_a_wrong_flag_sends_nothing_and_says_why(shell: Any, server: WireServer, line: str, words: str) -> None:
    ran = Ran(shell, f"%%claude {line}\nhi")
    assert isinstance(ran.error, ConfigError)
    assert words in str(ran.error)
    assert len(ran.error._render_traceback_()) == 2
    assert "Traceback" not in ran.printed
    assert server.received == []


def test_flags_that_are_not_given_are_none() -> None:
    assert {name for name, value in parse_flags("").items() if value} == set()


TYPED = [
    "Why does this fail?\n>>> f(1)\n... \nTraceback\n",
    "Merge:\n<<<<<<< ours\na = 1\n=======\na = 2\n>>>>>>> theirs\n",
    ">>> he wrote this\n>> she wrote that\nWho is right?\n",
    "In [1]: x = 1\n\nIn [2]: x\nOut[2]: 1\nExplain.\n",
    "Fix this:\n\n    def f():\n        return 1\n\n    >>> f()\n",
    "... and then?\n",
    ">>> x\n   \n",
    "hello\n>>> x   \n   \n\t\n",
    "a\u2028>>> b\n>>> d\n",
    ">>>x\n>>>\n",
    ">>> >>> twice\n",
]


@pytest.mark.parametrize("body", TYPED)
@pytest.mark.parametrize("around", ["%%claude --alone\n", "%%time\n%%claude --alone\n", "\n\n%%claude --alone\n"])
def test_what_was_typed_is_what_is_sent(shell: Any, body: str, around: str) -> None:
    with WireServer(canonical()) as server:
        settings = comet_magic.CometSettings.instance()
        settings.endpoint, settings.replay = server.url, "never"
        for cell in (around + body, (around + body).replace("\n", "\r\n")):
            assert Ran(shell, cell).error is None
            assert server.received[-1].json["messages"][0]["content"] == body.removesuffix("\n")
        Ran(shell, f"get_ipython().run_cell_magic('claude', '--alone', {body!r})")
        assert server.received[-1].json["messages"][0]["content"] == body.removesuffix("\n")
        assert len(server.received) == 3


def test_a_name_near_an_alias_is_asked_about(shell: Any) -> None:
    with WireServer(canonical()) as server:
        comet_magic.CometSettings.instance().endpoint = server.url
        refused = Ran(shell, "%%claude -m opuss\nhi").error
        assert isinstance(refused, ConfigError)
        assert refused.what == "opuss is not an alias of a model; did you mean opus?"
        comet_magic.CometSettings.instance().aliases = {"opuss": "opuss"}
        assert Ran(shell, "%%claude -m opuss\nhi").error is None
        assert Ran(shell, "%%claude -m gpt-5-opus\nhi").error is None
        assert [one.line.split()[0] for one in server.received] == ["GET", "POST", "POST"]  # it has no list


def test_the_package_is_there_by_its_name_and_goes_with_unload(shell: Any) -> None:
    assert shell.user_ns["comet_magic"] is comet_magic
    assert "comet_magic" in shell.user_ns_hidden
    shell.run_line_magic("unload_ext", "comet_magic")
    assert "comet_magic" not in shell.user_ns
    shell.user_ns["comet_magic"] = "mine"
    shell.run_line_magic("load_ext", "comet_magic")
    assert shell.user_ns["comet_magic"] == "mine"


def test_an_empty_prompt_is_refused(shell: Any, server: WireServer) -> None:
    assert "empty" in str(Ran(shell, "%%claude\n  \n").error)
    assert "empty" in str(Ran(shell, "%claude").error)
    assert server.received == []


def test_a_cut_reply_fails_the_cell_and_stays(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [stream(start(), delta("Hello"), end=[0.05, "reset"])]
    ran = Ran(shell, "%%claude -o answer\nhi")
    assert isinstance(ran.error, comet_magic.TransportError)
    assert ran.markdown.startswith("Hello\n\n> ◈ **cut off")
    assert comet_magic.last is not None
    assert comet_magic.last.incomplete
    assert "answer" not in shell.user_ns


def test_a_wait_is_announced_in_the_output(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [reply("{}", status=429, retry_after_ms="20"), canonical()]
    shown = shown_in_turn(shell, "%%claude\nhi")
    assert shown[0] == "429: waiting 0.02 s, try 2 of 3"
    assert shown[-1].startswith("4\n")


def test_the_reply_can_come_in_one_piece(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [reply(MESSAGE)]
    shell.run_line_magic("config", "CometSettings.stream = False")
    assert Ran(shell, "%%claude\nhi").plain.startswith("Héllo ✓")
    assert "stream" not in server.received[-1].json


def test_the_usage_line_can_be_turned_off(shell: Any, server: WireServer) -> None:
    shell.run_line_magic("config", "CometSettings.show_usage = False")
    ran = Ran(shell, "%%claude\nhi")
    assert (ran.markdown, ran.plain) == ("4", "4")


def test_models_are_listed_with_their_aliases(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [reply({"data": [{"id": "claude-opus-5"}, {"id": "claude-a"}]})]
    table = Ran(shell, "%claude_models").result.result
    assert [(row[0], row[1]) for row in table.rows] == [("claude-a", ""), ("claude-opus-5", "opus")]


def test_ask_is_the_same_engine(shell: Any, server: WireServer) -> None:
    message = comet_magic.ask("2+2?", model="haiku", max_tokens=7)
    assert message.text == "4"
    assert message._repr_markdown_().startswith("4\n\n<small>")
    assert (server.received[-1].json["model"], server.received[-1].json["max_tokens"]) == (
        "claude-haiku-4-5-20251001",
        7,
    )
    with pytest.raises(TypeError, match="modle"):
        comet_magic.ask("x", modle="opus")


@pytest.mark.parametrize(
    "flags",
    [
        {"max_tokens": -1}, {"max_tokens": "5"}, {"temperature": 9}, {"thinking": "on"}, {"thinking": True}, {"effort": "huge"},
        {"model": ""}, {"stop": 5}, {"stop": [""]},
    ],
)  # fmt: skip
def test_ask_refuses_what_a_flag_would(shell: Any, server: WireServer, flags: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        comet_magic.ask("hi", **flags)
    with pytest.raises(ConfigError, match="int"):
        comet_magic.ask(5)  # type: ignore[arg-type]
    assert server.received == []
    comet_magic.ask("hi", stop="END")
    assert server.received[0].json["stop_sequences"] == ["END"]


def test_a_failing_ask_leaves_what_came(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [stream(start(), delta("Hello"), end=[0.05, "reset"])]
    with pytest.raises(comet_magic.TransportError):
        comet_magic.ask("hi")
    assert comet_magic.last is not None
    assert comet_magic.last.text == "Hello"
    assert "output not reported (partial)" in comet_magic.last.usage_line()


def test_a_refused_value_does_not_stop_the_next_loading(shell: Any) -> None:
    Ran(shell, "%config CometSettings.temperature = 5")
    shell.run_line_magic("unload_ext", "comet_magic")
    shell.run_line_magic("load_ext", "comet_magic")
    assert Ran(shell, "%config CometSettings.temperature").printed.strip() in ("None", "")


def test_unloading_undoes_everything(shell: Any) -> None:
    shell.run_line_magic("config", "")  # IPython registers its own magics on first use

    def state() -> tuple[Any, ...]:
        manager = shell.magics_manager.magics
        return (
            sorted(manager["cell"]), sorted(manager["line"]), sorted(shell.user_ns), [c for c in shell.configurables if type(c).__module__.startswith("comet")],
            list(shell.Completer.custom_matchers), list(shell.input_transformer_manager.token_transformers),
            {name: list(found) for name, found in shell.events.callbacks.items()},
        )  # fmt: skip

    loaded = state()
    shell.run_line_magic("unload_ext", "comet_magic")
    unloaded = state()
    assert "claude" not in unloaded[0]
    assert unloaded != loaded
    shell.run_line_magic("load_ext", "comet_magic")
    shell.run_line_magic("unload_ext", "comet_magic")
    assert state() == unloaded
    shell.run_line_magic("load_ext", "comet_magic")
    assert [len(part) for part in state()] == [len(part) for part in loaded]


def test_two_cells_in_a_row_are_two_requests(shell: Any, server: WireServer) -> None:
    def echo(received: Received) -> Script:
        return canonical(str(received.json["messages"][-1]["content"]))

    server.scripts[:] = [echo]
    for text in ("one\n", "two\n"):
        assert Ran(shell, f"%%claude\n{text}").plain.startswith(text.strip())


def test_stop_reasons_are_told(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [stream(start(), delta("Hel"), stop("max_tokens"))]
    ran = Ran(shell, "%%claude -t 3\nhi")
    assert ran.error is None
    assert "> ◈ **cut off at max&#95;tokens = 3" in ran.markdown
    assert "[◈ cut off at max_tokens = 3: raise it with -t]" in ran.plain


RUN = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in sys.argv[1:]:
    shell.run_cell(cell, store_history=True)
"""


def in_new_shell(*cells: str, **environment: str) -> str:
    """What the cells print in an IPython of their own."""
    command = [sys.executable, "-c", RUN, *cells]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert not done.stderr
    return done.stdout


def test_the_cell_that_loads_the_extension_can_ask(nobody_home: Path) -> None:
    """IPython has read `%claude what is a list?` as a call for help before there is a %claude."""
    with WireServer(canonical()) as server:
        load = f"%load_ext comet_magic\n%config CometSettings.endpoint = {server.url!r}\n"
        printed = in_new_shell(f"{load}%claude what is a list?\n%claude {{{{1 + 1}}}} and?\nlist?", "dict?")
        asked = [received.json["messages"][-1]["content"] for received in server.received]
    assert asked == ["what is a list?", "2 and?"]
    assert "Built-in mutable sequence" in printed  # list?
    assert "dict() -> new empty dictionary" in printed


def test_without_docstrings_there_is_help_and_tools_are_described(nobody_home: Path) -> None:
    function = 'def f(a: int) -> int:\n    "Adds one."\n    return a + 1'
    helps = ("%%claude -h\nx", "%%claude?", "%claude_history -h", "%claude_usage -h")
    printed = in_new_shell(
        "%load_ext comet_magic", *helps, function, "%%claude --dry-run --tools f\nhi", PYTHONOPTIMIZE="2"
    )
    assert printed.count("Flags, each for this cell alone") == 2
    assert "Show the turns of this notebook's conversation" in printed
    assert "Show what this session has used and cost" in printed
    assert "tool:\nf\nAdds one.\n{" in printed


def test_the_help_lists_every_command(shell: Any) -> None:
    rows = Ran(shell, "%claude_help").result.result.rows
    kinds = [shell.magics_manager.registry[name].magics for name in ("CometMagics", "MediaMagics")]
    assert [name for name, _ in rows] == sorted(
        f"{sign}{name}" for own in kinds for sign, kind in (("%%", "cell"), ("%", "line")) for name in own[kind]
    )
    assert all(words.endswith((".", "?", ":")) or "`" in words for _, words in rows)
    assert {"%%claude", "%claude_forecast", "%claude_help", "%claude_panel"} <= {name for name, _ in rows}
