"""What is answered from the store, when, and how it is told."""

from __future__ import annotations

from typing import Any

import pytest
from cells import Ran
from wire_server import CLOSE, WireServer, block, canonical, delta, reply, start, stop, stream

import comet_magic
from comet_magic.errors import ConfigError
from comet_magic.exchange import session
from comet_magic.settings import CometSettings


@pytest.fixture
def server(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    with WireServer(lambda received: canonical(f"answer {len(server.received)}")) as server:
        shell.run_line_magic("config", f"CometSettings.endpoint = {server.url!r}")
        yield server


def in_cell(shell: Any, cell: str, code: str) -> Ran:
    """Run it as a front end would that names its cells."""
    in_cell.runs += 1  # type: ignore[attr-defined]
    parent = {"metadata": {"cellId": cell}, "header": {"msg_id": str(in_cell.runs)}}  # type: ignore[attr-defined]
    shell.get_parent = lambda: parent
    try:
        return Ran(shell, code)
    finally:
        del shell.get_parent


in_cell.runs = 0  # type: ignore[attr-defined]


def restart() -> None:
    session.reset()


def run_all(shell: Any) -> list[str]:
    """What the cells of a small notebook show."""
    cells = {"c1": "%%claude -c nb\none", "c2": "%%claude -c nb\ntwo", "c3": "%%claude --alone\nthree"}
    return [in_cell(shell, cell, code).plain for cell, code in cells.items()]


def test_restart_and_run_all_asks_nobody_and_says_so(shell: Any, server: WireServer) -> None:
    first = run_all(shell)
    assert [text.split("\n")[0] for text in first] == ["answer 1", "answer 2", "answer 3"]
    restart()
    again = run_all(shell)
    assert len(server.received) == 3
    assert [text.split("\n")[0] for text in again] == ["answer 1", "answer 2", "answer 3"]
    assert all(" · replayed from " in text and " · 0 tokens · --fresh asks again" in text for text in again)
    assert str(session.current().totals) == "3 replayed at no cost"
    assert comet_magic.last is not None
    assert comet_magic.last.receipt.replayed


def test_running_a_cell_again_in_the_same_kernel_asks_again(shell: Any, server: WireServer) -> None:
    run_all(shell)
    assert run_all(shell)[0].startswith("answer 4")
    restart()
    assert run_all(shell)[0].startswith("answer 4")  # the latest counts
    assert len(server.received) == 6


def test_a_replay_that_is_run_again_is_asked(shell: Any, server: WireServer) -> None:
    run_all(shell)
    restart()
    run_all(shell)
    run_all(shell)
    assert len(server.received) == 6


@pytest.mark.parametrize(
    "change", ["-m opus", "-t 7", "-s 'be brief'", "--temperature 0.5", "--stop x", "--effort low", "--think off"]
)
def test_any_change_asks_again(shell: Any, server: WireServer, change: str) -> None:
    in_cell(shell, "c1", "%%claude\none")
    restart()
    in_cell(shell, "c1", f"%%claude {change}\none")
    assert len(server.received) == 2


def test_a_change_above_asks_again_below(shell: Any, server: WireServer) -> None:
    in_cell(shell, "c1", "%%claude -c nb\none")
    in_cell(shell, "c2", "%%claude -c nb\ntwo")
    restart()
    in_cell(shell, "c1", "%%claude -c nb\nONE")
    in_cell(shell, "c2", "%%claude -c nb\ntwo")
    assert len(server.received) == 4


def test_another_endpoint_is_asked(shell: Any, server: WireServer) -> None:
    in_cell(shell, "c1", "%%claude\none")
    restart()
    with WireServer(canonical("other")) as other:
        shell.run_line_magic("config", f"CometSettings.endpoint = {other.url!r}")
        assert in_cell(shell, "c1", "%%claude\none").plain.startswith("other")


def test_how_a_reply_travels_makes_no_difference(shell: Any, server: WireServer) -> None:
    in_cell(shell, "c1", "%%claude\none")
    restart()
    shell.run_line_magic("config", "CometSettings.stream = False")
    in_cell(shell, "c1", "%%claude\none")
    assert len(server.received) == 1


def test_fresh_asks_again(shell: Any, server: WireServer) -> None:
    in_cell(shell, "c1", "%%claude\none")
    restart()
    assert in_cell(shell, "c1", "%%claude --fresh\none").plain.startswith("answer 2")


BROKEN = {
    "cut": stream(start(), block(), delta("Hel"), end=[CLOSE]),
    "max_tokens": stream(start(), block(), delta("Hel"), stop("max_tokens")),
    "refused": stream(start(), block(), delta("no"), stop("refusal")),
    "empty": stream(start(), stop()),
    "tool call": stream(start(), block(type="tool_use", id="t", name="f", input={}), stop("tool_use")),
    "another service's word": stream(start(), block(), delta("Hel"), stop("length")),
    "error": reply({"error": {"message": "no", "type": "invalid_request_error"}}, status=400),
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
def test_what_is_not_whole_is_never_replayed(shell: Any, server: WireServer, script: Any) -> None:
    server.scripts[:] = [script, canonical("whole")]
    in_cell(shell, "c1", "%%claude\none")
    restart()
    assert in_cell(shell, "c1", "%%claude\none").plain.startswith("whole")


def test_always_and_never(shell: Any, server: WireServer) -> None:
    in_cell(shell, "c1", "%%claude\none")
    shell.run_line_magic("config", "CometSettings.replay = 'always'")
    in_cell(shell, "c1", "%%claude\none")
    assert len(server.received) == 1
    restart()
    shell.run_line_magic("config", "CometSettings.replay = 'never'")
    in_cell(shell, "c1", "%%claude\none")
    assert len(server.received) == 2


def test_only_asks_nobody_and_a_miss_is_an_error(shell: Any, server: WireServer, tmp_path: Any) -> None:
    run_all(shell)
    restart()
    shell.run_line_magic("config", "CometSettings.replay = 'only'")
    path = session.store_path(CometSettings.instance())
    before = path.read_bytes()
    server.__exit__()  # nobody is there
    assert [text.split("\n")[0] for text in run_all(shell)] == ["answer 1", "answer 2", "answer 3"]
    assert [text.split("\n")[0] for text in run_all(shell)] == ["answer 1", "answer 2", "answer 3"]
    miss = in_cell(shell, "c4", "%%claude -c nb\nsomething else")
    assert isinstance(miss.error, ConfigError)
    assert "with CometSettings.replay = 'only' nothing is sent" in miss.error.what
    assert "run the notebook once" in miss.error.hint
    fresh = in_cell(shell, "c1", "%%claude -c nb --fresh\none")
    assert isinstance(fresh.error, ConfigError)
    restart()
    assert path.read_bytes() == before


def test_only_needs_no_key_and_names_the_endpoint_that_answered(
    shell: Any, server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_cell(shell, "c1", "%%claude\none")
    restart()
    monkeypatch.delenv("COMETAPI_KEY")
    shell.run_line_magic("config", "CometSettings.replay = 'only'")
    assert in_cell(shell, "c1", "%%claude\none").plain.startswith("answer 1")
    monkeypatch.setattr("comet_magic.api.local.find_spec", lambda name: None)
    shell.run_line_magic("config", "CometSettings.endpoint = 'auto'")
    miss = in_cell(shell, "c1", "%%claude\none")
    assert isinstance(miss.error, ConfigError)
    assert f"it was answered by {server.url}" in miss.error.hint


def test_without_cell_ids_a_notebook_that_is_run_again_is_replayed(shell: Any, server: WireServer) -> None:
    for _ in range(2):
        assert Ran(shell, "%%claude -c nb\none").plain.startswith("answer 1")
        assert Ran(shell, "%%claude -c nb\ntwo").plain.startswith("answer 2")
        restart()
    assert len(server.received) == 2
    Ran(shell, "%%claude -c nb\none")
    Ran(shell, "%%claude -c nb\nTWO")  # the second cell was edited: its turn is replaced
    assert texts(server) == ["one", "answer 1", "TWO"]
    restart()
    for number in range(3):
        Ran(shell, "%%claude -c nb\nONE")  # the first was: a new run begins, and is the one that is run again
        Ran(shell, "%%claude -c nb\nTWO")
        assert len(server.received) == 5, number
        restart()
    assert [turn.question for turn in comet_magic.conversations.get("nb").turns] == ["one", "TWO", "ONE", "TWO"]


def texts(server: WireServer) -> list[str]:
    return [message["content"] for message in server.received[-1].json["messages"]]


@pytest.mark.parametrize("has_ids", [True, False], ids=["cells with ids", "cells without"])
def test_two_cells_that_ask_the_same_have_replies_of_their_own(shell: Any, server: WireServer, has_ids: bool) -> None:
    def ask(cell: str) -> str:
        ran = in_cell(shell, cell, "%%claude --alone\nroll") if has_ids else Ran(shell, "%%claude --alone\nroll")
        return ran.plain.split("\n")[0]

    for _ in range(3):
        assert [ask("c1"), ask("c2"), ask("c3")] == ["answer 1", "answer 2", "answer 3"]
        restart()
    shell.run_line_magic("config", "CometSettings.replay = 'only'")
    assert [ask("c1"), ask("c2"), ask("c3")] == ["answer 1", "answer 2", "answer 3"]
    assert ask("c1") in ("answer 1", "answer 3")  # once more than it was asked: it is answered all the same
    assert len(server.received) == 3


def test_a_loop_that_asks_the_same_is_asked_each_time(shell: Any, server: WireServer) -> None:
    code = "import comet_magic\n[comet_magic.ask('roll').text for _ in range(3)]"
    for _ in range(2):
        assert in_cell(shell, "c1", code).result.result == ["answer 1", "answer 2", "answer 3"]
        restart()


def test_run_all_with_a_conversation_begun_afresh_in_the_middle(shell: Any, server: WireServer) -> None:
    cells = {"c1": "%%claude -c nb\none", "c2": "%%claude -c nb --new\ntwo", "c3": "%%claude -c nb\nthree"}
    for _ in range(3):
        for cell, code in cells.items():
            assert in_cell(shell, cell, code).error is None
        assert len(server.received) == 3
        restart()
    in_cell(shell, "c1", "%%claude -c nb\nONE")
    assert texts(server) == ["ONE"]
    in_cell(shell, "c2", "%%claude -c nb --new\nTWO")  # edited: in its place
    in_cell(shell, "c4", "%%claude -c nb\nfour")
    assert texts(server) == ["TWO", "answer 5", "three", "answer 3", "four"]
    assert comet_magic.conversations.names() == ["nb", "nb.1"]


def test_a_beginning_that_fails_costs_nothing(shell: Any, server: WireServer) -> None:
    in_cell(shell, "c1", "%%claude -c nb\none")
    good = server.scripts[:]
    server.scripts[:] = [BROKEN["cut"]]
    in_cell(shell, "c2", "%%claude -c nb --new\ntwo")
    assert comet_magic.conversations.names() == ["nb"]
    server.scripts[:] = [canonical("lo")]
    in_cell(shell, "c3", "%claude_continue -c nb")
    assert [message["content"] for message in server.received[-1].json["messages"]][:2] == ["two", "Hel"]
    assert comet_magic.conversations.names() == ["nb", "nb.1"]
    assert comet_magic.conversations.get("nb").turns[0].reply == "Hello"
    server.scripts[:] = good


@pytest.mark.parametrize("has_ids", [True, False], ids=["cells with ids", "cells without"])
def test_a_continued_reply_is_whole_when_the_notebook_is_run_again(
    shell: Any, server: WireServer, has_ids: bool
) -> None:
    def run(cell: str, code: str) -> Ran:
        return in_cell(shell, cell, code) if has_ids else Ran(shell, code)

    server.scripts[:] = [BROKEN["max_tokens"], canonical("lo")]
    for again in (False, True):
        cut = run("c1", "%%claude -c nb\none")
        goes_on = run("c2", "%claude_continue -c nb")
        assert ("later cells do not see this reply" in cut.plain) != again
        assert ("replayed from" in cut.plain) == again
        assert goes_on.error is None
        restart()
    assert cut.plain.startswith("Hello\n")
    assert "there is no unfinished reply in nb" in goes_on.printed
    assert len(server.received) == 2


@pytest.mark.parametrize("name", ["refused", "tool call", "empty"])
def test_what_cannot_go_on_is_not_continued(shell: Any, server: WireServer, name: str) -> None:
    server.scripts[:] = [BROKEN[name]]
    in_cell(shell, "c1", "%%claude -c nb\none")
    assert "there is no unfinished reply in nb" in in_cell(shell, "c2", "%claude_continue -c nb").printed
    assert len(server.received) == 1


def test_a_loop_asks_each_of_its_questions(shell: Any, server: WireServer) -> None:
    code = "import comet_magic\n[comet_magic.ask(text, chat='nb').text for text in ('a', 'b', 'a')]"
    assert in_cell(shell, "c1", code).result.result == ["answer 1", "answer 2", "answer 3"]
    restart()
    assert in_cell(shell, "c1", code).result.result == ["answer 1", "answer 2", "answer 3"]
    assert len(server.received) == 3
    assert [turn.cell for turn in comet_magic.conversations.get("nb").turns] == ["c1", "c1/2", "c1/3"]


def test_a_script_always_asks(server: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comet_magic.notebook.cell.current_shell", lambda: None)
    assert comet_magic.ask("one").text == "answer 1"
    restart()
    assert comet_magic.ask("one").text == "answer 2"


def test_a_replay_keeps_what_it_cost_then_and_the_metadata_says_when(shell: Any, server: WireServer) -> None:
    in_cell(shell, "c1", "%%claude\none")
    restart()
    ran = in_cell(shell, "c1", "%%claude -o answer\none")
    assert shell.user_ns["answer"].usage.output_tokens == 5
    assert ran.outputs[-1].metadata["comet_magic"]["replayed"] == pytest.approx(comet_magic.last.receipt.replayed)  # type: ignore[union-attr]
