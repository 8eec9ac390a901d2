"""What a question takes along, and how that is marked for the endpoint's cache and told under the reply."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from cells import Ran
from wire_server import Received, WireServer, canonical, reply

import comet_magic
from comet_magic import conversations
from comet_magic.errors import APIError, ConfigError
from comet_magic.exchange import cells, session
from comet_magic.notebook import cell
from comet_magic.settings import CometSettings

LONG = "word " * 1500  # 7,500 characters: 2,500 tokens by our estimate


@pytest.fixture
def server(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    with WireServer(canonical(LONG)) as server:
        shell.run_line_magic("config", f"CometSettings.endpoint = {server.url!r}")
        yield server


def marked(received: Received) -> list[int]:
    """Places of the messages with a cache mark; each mark is on the last block of its message."""
    places = []
    for place, message in enumerate(received.json["messages"]):
        if not isinstance(message["content"], str):
            assert message["content"][-1].pop("cache_control") == {"type": "ephemeral"}
            assert all(set(block) == {"type", "text"} for block in message["content"])
            places.append(place)
    return places


def test_old_prefixes_are_marked_for_the_cache_and_never_more_than_four(shell: Any, server: WireServer) -> None:
    for number in range(30):
        Ran(shell, f"%%claude\n{number}")
    marks = [marked(received) for received in server.received]
    assert marks[:3] == [[], [1], [3]]
    assert marks[9] == [15, 17]
    assert marks[19] == [15, 31, 37]
    assert marks[20] == [15, 29]  # 50,000 tokens are 19 of these turns: the oldest are left out
    assert max(map(len, marks)) <= 4


def test_a_short_history_is_not_marked(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [canonical("short")]
    for number in range(5):
        Ran(shell, f"%%claude\n{number}")
    assert all(marked(received) == [] for received in server.received)


def test_marking_can_be_turned_off(shell: Any, server: WireServer) -> None:
    shell.run_line_magic("config", "CometSettings.prompt_cache = False")
    for number in range(3):
        Ran(shell, f"%%claude\n{number}")
    assert all(marked(received) == [] for received in server.received)


@pytest.mark.parametrize("status", [400, 500])
def test_an_endpoint_that_refuses_the_marks_is_asked_without_from_then_on(
    shell: Any, server: WireServer, status: int
) -> None:
    def picky(received: Received) -> Any:
        if b"cache_control" in received.body:
            error = {"type": "invalid_request_error", "message": "messages.1.content.0.cache_control: Extra inputs"}
            return reply({"type": "error", "error": error}, status=status)
        return canonical(LONG)

    server.scripts[:] = [picky]
    for number in range(4):
        ran = Ran(shell, f"%%claude\n{number}")
        assert ran.error is None
    assert [b"cache_control" in received.body for received in server.received] == [False, True, False, False, False]


def test_another_refusal_is_no_reason_to_leave_the_marks_out(shell: Any, server: WireServer) -> None:
    Ran(shell, "%%claude\none")
    server.scripts[:] = [reply({"error": {"type": "invalid_request_error", "message": "no"}}, status=400)]
    assert isinstance(Ran(shell, "%%claude\ntwo").error, APIError)
    assert len(server.received) == 3  # once more without the marks, for some endpoints say only that it is invalid
    server.scripts[:] = [canonical(LONG)]
    Ran(shell, "%%claude\nthree")
    assert b"cache_control" in server.received[-1].body  # that was not what it refused


def test_what_is_left_out_is_said(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [canonical("ok")]
    shell.run_line_magic("config", "CometSettings.history_turns = 4")
    lines = [Ran(shell, f"%%claude\n{number}").plain.split("\n")[-1] for number in range(7)]
    assert lines[0].startswith("◈ m · ")
    assert lines[1] == "◈ sent: your text · 1 earlier turn"
    assert lines[4] == "◈ sent: your text · 4 earlier turns"
    assert lines[5] == "◈ sent: your text · 4 earlier turns · left out: 1 older turn (history_turns, history_tokens)"
    assert len(server.received[6].json["messages"]) == 2 * 4 + 1
    shell.run_line_magic("config", "CometSettings.history_turns = 0")
    none = Ran(shell, "%%claude\n7").plain.split("\n")[-1]
    assert none == "◈ sent: your text · left out: 7 older turns (history_turns, history_tokens)"
    assert len(server.received[7].json["messages"]) == 1


def test_the_sent_line_is_part_of_the_usage(shell: Any, server: WireServer) -> None:
    shell.run_line_magic("config", "CometSettings.show_usage = False")
    Ran(shell, "%%claude\none")
    assert "sent:" not in Ran(shell, "%%claude\ntwo").plain


def test_alone_and_chat(shell: Any, server: WireServer) -> None:
    server.scripts[:] = [canonical("ok")]
    Ran(shell, "%%claude\none")
    Ran(shell, "%%claude --alone\ntwo")
    Ran(shell, "%%claude -c other\nthree")
    Ran(shell, "%claude four")
    Ran(shell, "%%claude -c other\nfive")
    assert [[m["content"].strip() for m in r.json["messages"]] for r in server.received] == [
        ["one"], ["two"], ["three"], ["one", "ok", "four"], ["three", "ok", "five"],
    ]  # fmt: skip
    for flags in ("--alone -c x", "--alone --new", "-c ''", "-c"):
        assert isinstance(Ran(shell, f"%%claude {flags}\nhi").error, ConfigError), flags
    assert len(server.received) == 5


def test_a_setting_names_the_conversation(shell: Any, server: WireServer) -> None:
    shell.run_line_magic("config", "CometSettings.conversation = 'shared'")
    Ran(shell, "%%claude\none")
    assert conversations.names() == ["shared"]
    assert conversations.get().name == "shared"


def test_vs_code_names_its_notebook(shell: Any, server: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.user_ns["__vsc_ipynb_file__"] = "/there/x.ipynb"
    Ran(shell, "%%claude\none")
    assert conversations.names() == ["/there/x.ipynb"]


def test_a_path_in_the_home_folder_is_said_from_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "home" / "work" / "x.ipynb"))
    shell = SimpleNamespace(user_ns={}, get_parent=lambda: {"metadata": {"cellId": "a"}})
    monkeypatch.setattr(cells, "notebook_path", cell.notebook_path)
    monkeypatch.setattr(cell, "current_shell", lambda: shell)

    def name() -> str:
        return session.current().conversation_name(CometSettings.instance())

    assert name() == "~/work/x.ipynb"
    # A kernel that a notebook's code starts inherits the variable; but it has no cells.
    shell.get_parent = lambda: {"metadata": {}}
    assert name().startswith("kernel-")
    monkeypatch.setattr(cell, "current_shell", lambda: None)
    assert name().startswith("kernel-")
    monkeypatch.setattr(cell, "current_shell", lambda: shell)
    shell.get_parent = lambda: {"metadata": {"cellId": "a"}}
    monkeypatch.setenv("JPY_SESSION_NAME", "console-1")
    assert name().startswith("kernel-")


def test_ask_is_alone_unless_it_is_told_otherwise(server: WireServer) -> None:
    server.scripts[:] = [canonical("ok")]
    comet_magic.ask("one")
    comet_magic.ask("two", chat="talk")
    comet_magic.ask("three", chat="talk")
    comet_magic.ask("four", chat="talk", new=True)
    assert [len(received.json["messages"]) for received in server.received] == [1, 1, 3, 1]
    assert conversations.names() == ["talk", "talk.1"]
    with pytest.raises(TypeError, match="it takes namespace, as_, tools, chat, new, fresh, model"):
        comet_magic.ask("five", colour="red")


def test_a_conversation_in_python(server: WireServer, tmp_path: Any) -> None:
    server.scripts[:] = [canonical("ok")]
    comet_magic.ask("one\nwith a second line", chat="talk")
    comet_magic.ask("two", chat="talk")
    path = conversations.export(tmp_path / "talk.jsonl", name="talk")
    assert path.read_text().splitlines()[1] == '{"role": "assistant", "content": "ok"}'
    copy = conversations.load(path, "copy")
    assert copy.messages == conversations.get("talk").messages
    assert copy.stale() == ()
    conversations.fork("fork", name="talk")
    conversations.fork("fork", name="talk")  # the same one: a notebook may be run again
    comet_magic.ask("three", chat="fork")
    conversations.fork("fork", name="talk")
    assert [len(conversations.get(name).turns) for name in ("talk", "copy", "fork")] == [2, 2, 3]
    conversations.forget(1, name="fork")
    assert len(conversations.get("fork").stale()) == 2
    conversations.rename("fresh", name="fork")
    conversations.delete("fresh")
    assert set(conversations.names()) == {"talk", "copy"}
    for wrong in (
        lambda: conversations.load(path, "copy"),
        lambda: conversations.rename("copy", name="talk"),
        lambda: conversations.fork("", name="talk"),
        lambda: conversations.fork("x", name="nobody"),
        lambda: conversations.export(tmp_path / "no" / "folder.md", name="talk"),
        lambda: conversations.export(tmp_path / "x.md", name="nobody"),
        lambda: conversations.forget(3, name="talk"),
    ):
        with pytest.raises(ConfigError):
            wrong()


@pytest.mark.parametrize(
    "lines",
    ["", "no json", "[]", '{"role": "user", "content": "half a turn"}', '{"role": "assistant", "content": "first"}',
     '{"role": "user", "content": "q"}\n{"role": "assistant", "content": " "}', '{"content": "x"}', "3"],
)  # fmt: skip
def test_what_is_no_conversation_is_not_imported(tmp_path: Any, lines: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(lines)
    with pytest.raises(ConfigError, match="not imported"):
        conversations.load(path, "bad")
    assert conversations.names() == []


def test_an_import_keeps_tool_calls_with_their_results(tmp_path: Any) -> None:
    path = tmp_path / "tools.jsonl"
    lines = [
        '{"role": "user", "content": "weather?"}',
        '{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}',
        '{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "12"}]}',
        '{"role": "assistant", "content": "12 degrees"}',
    ]
    path.write_text("\n".join(lines))
    (turn,) = conversations.load(path, "tools").turns
    assert [message.to_wire()["role"] for message in turn.messages] == ["user", "assistant", "user", "assistant"]
    assert conversations.export(tmp_path / "again.jsonl", name="tools").read_text() == "\n".join(lines) + "\n"
