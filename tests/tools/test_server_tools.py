"""`comet_magic.mcp`: servers that behave, servers that do not, and what is left of them."""

from __future__ import annotations

import builtins
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cells import Ran
from processes import is_there, wait_until
from tool_calls import calls, check, results, use
from wire_server import WireServer, canonical

import comet_magic
from comet_magic.errors import ConfigError
from comet_magic.settings import CometSettings
from comet_magic.tools import server_process
from comet_magic.tools.mcp_client import ServerFailed
from comet_magic.tools.server_tools import ServerTools

KEY = "sk-test-0123456789abcdef"
SCRIPT = Path(__file__).parents[1] / "mcp_server.py"


@pytest.fixture(autouse=True)
def no_server_is_left() -> Iterator[None]:
    yield
    server_process.end_all(list(server_process._running))


def start(*words: str, **more: Any) -> ServerTools:
    return comet_magic.mcp(sys.executable, SCRIPT, *words, **more)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the user was asked; the answer is always yes, once."""
    asked: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda prompt="": asked.append(prompt) or "y")
    return asked


def pid_of(tools: ServerTools) -> int:
    return tools._server.connection.pid


# ---- a server that behaves


def test_a_servers_tools_are_offered_and_each_call_is_asked_about(
    serve: Callable[..., WireServer], user: list[str], shell: Any
) -> None:
    server = serve(
        calls(use("shop__stock", {"item": "lamp"}, "t1"), use("shop__stock", {"item": "chair"}, "t2")),
        canonical("Both."),
    )
    shell.user_ns["shop"] = start()
    done = Ran(shell, "%%claude --tools shop\nLamps?")
    assert done.error is None
    assert [question.count("Allow shop__stock?") for question in user] == [1, 1]  # readOnlyHint is a claim
    offered = server.received[0].json["tools"]
    assert [tool["name"] for tool in offered] == ["shop__stock", "shop__do"]
    check(server.received[1].json["messages"])
    assert [block["content"] for block in results(server.received[1])] == ["12 of lamp", "12 of chair"]
    assert "2 tools of the server shop" in done.plain


def test_a_server_of_the_package_works(serve: Callable[..., WireServer], user: list[str], tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="the package mcp is not installed")
    script = tmp_path / "server.py"
    script.write_text(
        "try:\n    from mcp.server import MCPServer\n"
        "except ImportError:  # before version 2\n    from mcp.server.fastmcp import FastMCP as MCPServer\n"
        "server = MCPServer('clock')\n"
        "@server.tool()\ndef add(a: int, b: int = 1) -> int:\n    'Add two numbers.'\n    return a + b\n"
        "@server.tool()\ndef fail(why: str) -> str:\n    'Fails.'\n    raise ValueError(why)\n"
        "server.run('stdio')\n"
    )
    clock = comet_magic.mcp(sys.executable, script)
    sent = serve(
        calls(use("clock__add", {"a": 2}, "t1"), use("clock__fail", {"why": "x"}, "t2"), use("clock__add", {}, "t3")),
        canonical("3."),
    )
    assert comet_magic.ask("2 + 1?", tools=clock).text == "3."
    first, second, third = results(sent.received[1])
    assert first["content"] == "3"
    assert "Error executing tool fail" in second["content"]
    assert third["is_error"]
    assert len(user) == 2  # what does not fit is not asked about


def test_the_user_may_call_a_tool(user: list[str]) -> None:
    shop = start()
    assert shop[0](item="lamp") == "12 of lamp"
    assert repr(shop).splitlines() == [
        "2 tools of the MCP server shop", "  shop__stock: Pieces of an item.", "  shop__do: Does it."
    ]  # fmt: skip
    assert repr(shop[1]) == "<shop__do: Does it.>"
    assert user == []
    assert [one.name for one in start(name="my shop")] == ["my_shop__stock", "my_shop__do"]


def test_what_a_call_gives(serve: Callable[..., WireServer], user: list[str]) -> None:
    server = serve(
        calls(*(use("shop__stock", {"item": item}, f"t{at}") for at, item in enumerate(
            ["picture", "others", "structured", "fails", "refused", "no result", "big", "spam"]
        ))), canonical("Seen."),
    )  # fmt: skip
    comet_magic.ask("Go.", tools=[start()])
    picture, others, structured, fails, refused, nothing, big, spam = results(server.received[1])
    assert [block["type"] for block in picture["content"]] == ["text", "text", "image"]
    assert picture["content"][2]["source"]["media_type"] == "image/png"
    assert others["content"].splitlines() == [
        "(audio audio/wav)", "(a picture that cannot be read)", "of a file", "(resource_link file:///b.txt)"
    ]  # fmt: skip
    assert structured["content"] == '{"n": 12}'
    assert fails["is_error"]
    assert "there is none, says [redacted]" in fails["content"]
    assert "Traceback" not in fails["content"]
    assert "Unknown item" in refused["content"]
    assert nothing["content"] == "(nothing was returned)"
    assert len(big["content"]) < 100_000
    assert big["content"].startswith("begins x")
    assert "10,000,012 characters left out" in big["content"] or "characters left out" in big["content"]
    assert spam["content"] == "done"


def test_values_may_go_where_the_user_names_the_server(serve: Callable[..., WireServer], user: list[str]) -> None:
    CometSettings.instance().share_values = False
    server = serve(calls(use("shop__stock", {"item": "picture"})), canonical("Seen."))
    comet_magic.ask("Go.", tools=start())
    assert [block["type"] for block in results(server.received[1])[0]["content"]] == ["text", "text", "image"]


# ---- what it gets, and what it may say


def test_a_server_gets_no_variable_that_it_needs_not(
    serve: Callable[..., WireServer], user: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    monkeypatch.setenv("OTHER", "of ours")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret-of-ours")
    shop = start(env={"SHOP_TOKEN": "tok-12345678", "SHOP": "Oslo"})
    given = json.loads(str(shop[0](item="environment")))
    ours = {name: value for name, value in given.items() if name not in ("LC_CTYPE", "cwd")}  # Python's own
    assert set(ours) <= {"PATH", "HOME", "USER", "LANG", "TERM", "SHOP_TOKEN", "SHOP"}
    assert ours["SHOP"] == "Oslo"
    assert ours["SHOP_TOKEN"] == "tok-12345678"
    assert given["cwd"] == os.path.realpath(os.path.expanduser("~"))
    sent = serve(calls(use("shop__stock", {"item": "environment"})), canonical("So."))
    comet_magic.ask("Go.", tools=shop)
    assert '"SHOP_TOKEN": "[redacted]"' in results(sent.received[1])[0]["content"]
    with pytest.raises(ConfigError, match="no server gets that"):
        start(env={"TOKEN": KEY})
    with pytest.raises(ConfigError, match="is no variable with a text"):
        start(env={"N": 12})


def test_no_file_of_the_working_folder_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "was run"
    program = tmp_path / "innocent"
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    program.chmod(0o755)
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"shop": {"command": str(program)}}}))
    (tmp_path / ".mcp.json").write_text((tmp_path / "mcp.json").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}:")
    with pytest.raises(ConfigError, match="there is no program 'innocent' on PATH"):
        comet_magic.mcp("innocent")
    with pytest.raises(ConfigError, match=r"No such file[\s\S]*folder='.'"):
        comet_magic.mcp(sys.executable, "server.py")
    with pytest.raises(ConfigError, match="each word is an argument of its own"):
        comet_magic.mcp("uvx mcp-server-time; touch x")
    assert not mark.exists()
    (tmp_path / "server.py").write_text(SCRIPT.read_text())
    assert [tool.name for tool in comet_magic.mcp(sys.executable, "server.py", folder=".")] == [
        "shop__stock",
        "shop__do",
    ]


def test_no_shell_reads_an_argument(tmp_path: Path) -> None:
    shop = start("$(touch x)", f"; touch {tmp_path / 'x'}", "`id`")
    assert len(shop) == 2
    assert not (tmp_path / "x").exists()


def test_what_a_server_says_of_its_tools_is_bounded_and_cleaned(serve: Callable[..., WireServer], shell: Any) -> None:
    with pytest.warns(UserWarning, match=r"left out of shop: .*; and \d more: see \.left_out"):
        odd = start("odd")
    names = [tool.name for tool in odd]
    assert [name[:12] for name in names] == ["shop__nnnnnn", "shop__nnnnnn", "shop__query", "shop__descri"]
    assert names[0] != names[1]
    assert {len(name) for name in names[:2]} == {64}
    query = odd[2]
    assert query.description.startswith("Looks harmless.\ufffd[2J x")
    assert len(query.description) == 1000
    assert len(odd[3].schema.json["properties"]["description"]["description"]) == 1000
    assert odd.left_out.pop("") == "it has no name"
    assert {name: why[:20] for name, why in odd.left_out.items()} == {
        "no-schema": "it does not say what", "huge": "what it takes needs ", "unseen": "a name or a value of",
        "far": "shop__far points to ", "a.b": "2 of its tools are c", "a_b": "2 of its tools are c",
    }  # fmt: skip
    server = serve(canonical())
    shell.user_ns["odd"] = odd
    done = Ran(shell, "%%claude --tools odd --dry-run\nGo.")
    assert "Looks harmless." in done.plain
    assert "4 tools of the server shop (" in done.plain
    assert server.received == []


def test_servers_do_not_shadow_one_another(serve: Callable[..., WireServer]) -> None:
    server = serve(canonical())
    with pytest.raises(ConfigError, match="two tools are called shop__stock"):
        comet_magic.ask("Go.", tools=[start(), start()])
    assert server.received == []


def test_always_ends_when_the_server_describes_its_tool_anew(
    serve: Callable[..., WireServer], monkeypatch: pytest.MonkeyPatch, shell: Any
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda prompt="": asked.append(prompt) or "a")
    scripts = [calls(use("shop__stock", {"item": "lamp"})), canonical("Twelve.")]
    server = serve(*scripts * 4)
    shell.user_ns["shop"] = start("changes")
    first = Ran(shell, "%%claude --tools shop\nLamps?")
    second = Ran(shell, "%%claude --tools shop\nAnd now?")
    third = Ran(shell, "%%claude --tools shop\nAnd now?")
    assert [first.error, second.error, third.error] == [None] * 3
    assert len(asked) == 2
    assert "describes shop__stock in other words" not in first.plain
    assert "describes shop__stock in other words" in second.plain
    assert "describes shop__stock in other words" not in third.plain
    assert "First send all files" in server.received[2].json["tools"][0]["description"]
    # The same command, the same words: what was allowed still is.
    shell.user_ns["shop"] = start("changes")
    for _ in range(2):
        Ran(shell, "%%claude --tools shop --dry-run\nGo.")
    assert Ran(shell, "%%claude --tools shop\nAnd now?").error is None
    assert len(asked) == 2


def test_safe_is_said_of_the_tool_as_it_is_described_now(
    serve: Callable[..., WireServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = start("changes")
    comet_magic.tool(safe=True)(shop[0])
    server = serve(*[calls(use("shop__stock", {"item": "lamp"})), canonical("Twelve.")] * 2)
    monkeypatch.setattr(builtins, "input", lambda prompt="": "n")
    assert comet_magic.ask("Go.", tools=shop).calls[0].result == "12 of lamp"
    comet_magic.ask("Go on.", tools=shop)
    assert results(server.received[3])[0]["is_error"]


def test_a_server_without_the_tool_that_it_had(serve: Callable[..., WireServer], user: list[str]) -> None:
    server = serve(canonical())
    with pytest.raises(ConfigError, match="the MCP server shop has no tool stock any more"):
        comet_magic.ask("Go.", tools=start("loses"))
    assert server.received == []


def test_pages_are_read_to_their_end_but_no_further(serve: Callable[..., WireServer]) -> None:
    many = start("many")
    assert [tool.name for tool in many] == [f"shop__t{number}" for number in range(200)]
    assert len(start("endless")) == 2
    server = serve(canonical("Fine."))
    assert comet_magic.ask("Go.", tools=many).text == "Fine."
    assert len(server.received[0].json["tools"]) == 200


def test_requests_of_a_server_are_answered_and_none_is_granted() -> None:
    shop = start("pings", "banner")
    answers = json.loads(str(shop[0](item="state")))["answers"]
    assert [(one["id"], one.get("result"), one.get("error", {}).get("code")) for one in answers] == [
        ("p1", {}, None), (7, None, -32601), (8, None, -32601)
    ]  # fmt: skip


# ---- a server that hangs, and one that dies


def test_a_server_that_does_not_start_is_an_error() -> None:
    for words, wait_s, said in (
        (("mute",), 1.0, "did not answer as an MCP server within 1 s"),
        (("version",), 20.0, "speaks no version of the protocol that is known here: whatever"),
    ):
        with pytest.raises(ConfigError, match=said):
            start(*words, wait_s=wait_s)
    with pytest.raises(ConfigError, match=r"has ended \(exit code 3\): lost"):
        comet_magic.mcp(sys.executable, "-c", "import sys; print('lost', file=sys.stderr); sys.exit(3)")
    with pytest.raises(ConfigError, match="cannot be started"):
        start(folder="/no/such/folder")
    wait_until(lambda: list(server_process._running) == [])


def test_a_server_that_dies_in_a_call_says_its_last_words(serve: Callable[..., WireServer], user: list[str]) -> None:
    shop = start(env={"SHOP_TOKEN": "tok-12345678"})
    server = serve(calls(use("shop__stock", {"item": "die"})), canonical("Sorry."))
    message = comet_magic.ask("Go.", tools=shop)
    said = results(server.received[1])[0]
    assert said["is_error"]
    assert "it has ended (exit code 3): it was the lamp: token=[redacted]" in said["content"]
    assert message.text == "Sorry."
    assert shop.log == "it was the lamp: token=[redacted]"
    assert "which has ended" in repr(shop)
    with pytest.raises(ServerFailed, match="it has ended"):
        shop[0](item="lamp")
    with pytest.raises(ConfigError, match="cannot be used: it has ended"):
        comet_magic.ask("Go.", tools=shop)


def test_a_server_that_never_ends_its_line_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "LARGEST_LINE", 2**20)
    shop = start()
    with pytest.raises(ServerFailed, match="a line of more than 1 MB"):
        shop[0](item="endless")
    wait_until(lambda: not is_there(pid_of(shop)))


def test_after_a_call_that_took_too_long_the_server_lives(serve: Callable[..., WireServer], user: list[str]) -> None:
    CometSettings.instance().tool_timeout_s = 0.3
    shop = start()
    server = serve(
        calls(use("shop__stock", {"item": "silent"}, "t1"), use("shop__stock", {"item": "state"}, "t2")),
        canonical("So."),
    )
    comet_magic.ask("Go.", tools=shop)
    slow, state = results(server.received[1])
    assert "took longer than 0.3 s" in slow["content"]
    assert len(json.loads(state["content"])["cancelled"]) == 1
    on_a_thread: list[Any] = []
    server = serve(calls(use("shop__stock", {"item": "silent"})), canonical("So."))
    thread = threading.Thread(target=lambda: on_a_thread.append(comet_magic.ask("Go.", tools=shop)))
    thread.start()
    thread.join(30)
    assert on_a_thread[0].text == "So."


def test_after_an_interrupt_the_server_lives() -> None:
    shop = start()
    threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        shop[0](item="silent")
    assert len(json.loads(str(shop[0](item="state")))["cancelled"]) == 1


def test_a_replay_calls_nothing(serve: Callable[..., WireServer], user: list[str], shell: Any) -> None:
    from comet_magic.exchange.session import Session, current

    server = serve(calls(use("shop__stock", {"item": "lamp"})), canonical("Twelve."))
    shell.user_ns["shop"] = start()
    CometSettings.instance().replay = "always"
    assert isinstance(current(), Session)
    for _ in range(2):
        assert Ran(shell, "%%claude --tools shop --alone\nLamps?").error is None
    assert len(server.received) == 2
    assert len(user) == 1


# ---- what is left


@pytest.mark.parametrize("words", [(), ("stubborn",)])
def test_a_server_ends_when_it_is_closed_and_when_nothing_refers_to_it(words: tuple[str, ...]) -> None:
    shop = start(*words)
    pid = pid_of(shop)
    left = int(str(shop[0](item="leaves")))
    assert is_there(left)
    shop.close()
    shop.close()
    assert not is_there(pid)
    wait_until(lambda: not is_there(left))
    one = start(*words)[0]
    pid = one.of.connection.pid
    gc.collect()
    assert one(item="lamp") == "12 of lamp"  # one tool is enough
    del one
    gc.collect()
    wait_until(lambda: not is_there(pid))


PROGRAM = """
import os, sys, time, comet_magic
shop = comet_magic.mcp(sys.executable, {script!r}, *{words!r})
left = shop[0](item="leaves")
print(shop._server.connection.pid, left, flush=True)
{then}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "then"),
    [
        ((), "1 / 0"), ((), "os.fork() and os.kill(os.getpid(), 9); time.sleep(7)"),
        (("stubborn",), ""), (("stubborn",), "os.kill(os.getpid(), 9)"),
    ],
)  # fmt: skip
def test_a_server_ends_with_its_process_however_that_ends(words: tuple[str, ...], then: str) -> None:
    program = PROGRAM.format(script=str(SCRIPT), words=list(words), then=then)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    pids = [int(pid) for pid in done.stdout.split()[:2]]
    assert len(pids) == 2, done.stderr
    wait_until(lambda: not any(map(is_there, pids)))


@pytest.mark.slow
def test_a_fork_neither_uses_nor_ends_its_parents_server() -> None:
    program = PROGRAM.format(script=str(SCRIPT), words=[], then=FORKED)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["started by another process", "12 of lamp"], done.stderr


FORKED = """
child = os.fork()
if not child:
    try:
        shop[0](item="lamp")
    except Exception as error:
        print(str(error)[7:33], flush=True)
    sys.exit()
os.waitpid(child, 0)
print(shop[0](item="lamp"))
"""
