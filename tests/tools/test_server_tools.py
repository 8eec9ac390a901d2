"""`comet_magic.mcp`: servers that behave, servers that do not, and what is left of them."""

from __future__ import annotations

import builtins
import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from cells import Ran
from processes import is_there, wait_until
from tool_calls import calls, check, results, use
from wire_server import CLOSE, WireServer, canonical

import comet_magic
from comet_magic.errors import ConfigError, ToolError
from comet_magic.settings import CometSettings
from comet_magic.tools import server_process
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
    assert "2 tools of the MCP server shop, described in " in done.plain


@pytest.mark.slow
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
    assert re.search(r"\[… 9,9\d\d,\d\d\d of 10,000,012 characters left out …\]", big["content"])
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
    with pytest.raises(ConfigError, match="no server gets it"):
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
    with pytest.raises(ConfigError, match=r'each word by itself: mcp\("uvx", "mcp-server-time;", "touch", "x"\)'):
        comet_magic.mcp("uvx mcp-server-time; touch x")
    assert not mark.exists()
    (tmp_path / "server.py").write_text(SCRIPT.read_text())
    assert [tool.name for tool in comet_magic.mcp(sys.executable, "server.py", folder=".")] == [
        "shop__stock",
        "shop__do",
    ]


def test_no_shell_reads_an_argument(tmp_path: Path) -> None:
    words = [f"$(touch {tmp_path / 'x'})", f"; touch {tmp_path / 'x'}", f"`touch {tmp_path / 'x'}`", "*"]
    assert len(start(*words)) == 2
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
    assert odd.left_out.pop("(no name)") == "it has no name"
    assert {name: why[:20] for name, why in odd.left_out.items()} == {
        "no-schema": "its input schema is ", "huge": "a name or a value of", "unseen": "a name or a value of",
        "far": "shop__far points to ", "a.b": "2 of its tools are c", "a_b": "2 of its tools are c",
    }  # fmt: skip
    server = serve(canonical())
    shell.user_ns["odd"] = odd
    done = Ran(shell, "%%claude --tools odd --dry-run\nGo.")
    assert "Looks harmless." in done.plain
    assert "4 tools of the MCP server shop, described in " in done.plain
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
    assert "has changed what it says of shop__stock" not in first.plain
    assert "has changed what it says of shop__stock" in second.plain
    assert "has changed what it says of shop__stock" not in third.plain
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
    with pytest.raises(ConfigError, match="the MCP server shop no longer has the tool stock"):
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


@pytest.mark.slow
def test_a_server_that_does_not_start_is_an_error() -> None:
    for words, wait_s, said in (
        (("mute",), 1.0, "did not answer as an MCP server within 1 s"),
        (("version",), 20.0, "speaks no version of the protocol that is known here: whatever"),
    ):
        with pytest.raises(ConfigError, match=said):
            start(*words, wait_s=wait_s)
    with pytest.raises(ConfigError, match=r"has ended \(exit code 3\): lost"):
        comet_magic.mcp(sys.executable, "-c", "import sys; print('lost', file=sys.stderr); sys.exit(3)")
    with pytest.raises(ConfigError, match="there is no folder /no/such/folder"):
        start(folder="/no/such/folder")
    with pytest.raises(ConfigError, match="cannot be started: .*Permission denied"):
        comet_magic.mcp("/etc/passwd")
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
    with pytest.raises(ToolError, match="it has ended"):
        shop[0](item="lamp")
    with pytest.raises(ConfigError, match="cannot be used: it has ended"):
        comet_magic.ask("Go.", tools=shop)


def test_a_server_that_never_ends_its_line_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "LARGEST_LINE", 2**20)
    shop = start()
    with pytest.raises(ToolError, match="a line of more than 1 MB"):
        shop[0](item="endless")
    wait_until(lambda: not is_there(pid_of(shop)))


def test_after_a_call_that_took_too_long_the_server_lives(serve: Callable[..., WireServer], user: list[str]) -> None:
    CometSettings.instance().tool_timeout_s = 0.3
    shop = start()
    server = serve(calls(use("shop__stock", {"item": "silent"})), canonical("So."))
    comet_magic.ask("Go.", tools=shop)
    assert "took longer than 0.3 s" in results(server.received[1])[0]["content"]
    with pytest.raises(ToolError, match=r"shop__stock gave no result within 0\.3 s"):
        shop["stock"](item="silent")
    CometSettings.instance().tool_timeout_s = 60
    assert len(json.loads(str(shop[0](item="state")))["cancelled"]) == 2
    CometSettings.instance().tool_timeout_s = 0.3
    on_a_thread: list[Any] = []
    server = serve(calls(use("shop__stock", {"item": "silent"})), canonical("So."))
    thread = threading.Thread(target=lambda: on_a_thread.append(comet_magic.ask("Go.", tools=shop)))
    thread.start()
    thread.join(30)
    assert on_a_thread[0].text == "So."
    assert "took longer than 0.3 s" in results(server.received[1])[0]["content"]


def test_after_an_interrupt_the_server_lives() -> None:
    shop = start()

    def interrupt() -> None:
        wait_until(lambda: "silent" in shop.log)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        shop[0](item="silent")
    assert len(json.loads(str(shop[0](item="state")))["cancelled"]) == 1


def test_a_replay_calls_nothing(serve: Callable[..., WireServer], user: list[str], shell: Any) -> None:
    server = serve(calls(use("shop__stock", {"item": "lamp"})), canonical("Twelve."))
    shell.user_ns["shop"] = start()
    CometSettings.instance().replay = "always"
    for _ in range(2):
        assert Ran(shell, "%%claude --tools shop --alone\nLamps?").error is None
    assert len(server.received) == 2
    assert len(user) == 1


# ---- what is left


@pytest.mark.slow
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
    pid = one.server.connection.pid
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
        print(str(error)[20:46], flush=True)
    sys.exit()
os.waitpid(child, 0)
print(shop[0](item="lamp"))
"""


# ---- what reviewers tried


def test_a_definition_that_cannot_be_taken_leaves_nothing_of_itself(
    serve: Callable[..., WireServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "input", lambda prompt="": "n")
    shop = start("flickers")
    comet_magic.tool(safe=True)(shop[0])
    server = serve(calls(use("shop__stock", {"item": "lamp"})), canonical("So."))
    with pytest.raises(
        ConfigError, match="stock of the MCP server shop cannot be offered any more: its input schema is m"
    ):
        comet_magic.ask("Go.", tools=shop)
    comet_magic.ask("Go.", tools=shop)
    assert server.received[0].json["tools"][0]["description"] == "Pieces of an item."
    assert results(server.received[1])[0]["is_error"]  # what was said to be safe has to be said again


@pytest.mark.parametrize("text", ["Your API token:", "-----BEGIN PRIVATE KEY-----", 'password = "'])
def test_what_looks_like_a_secret_breaks_no_question(serve: Callable[..., WireServer], text: str) -> None:
    def named(x: str) -> None: ...

    named.__doc__ = text
    server = serve(canonical("So."))
    comet_magic.ask("Go.", tools=[named])
    assert server.received[0].json["tools"][0]["input_schema"]["properties"] == {"x": {"type": "string"}}


def test_the_key_is_no_argument_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    with pytest.raises(ConfigError, match="no server gets it"):
        start("--api-key", KEY)


def test_secrets_are_hidden_before_anything_is_cut(serve: Callable[..., WireServer], user: list[str]) -> None:
    secret = "tokensecretvalue-ABCDEFGHIJKLMNOP"
    env = {"SHOP_TOKEN": secret}
    with pytest.raises(ConfigError) as died:
        start("dies", env=env)
    assert "OP" not in str(died.value)
    with pytest.raises(ConfigError) as died:
        start("dies", "--token", secret)
    assert "tokensecret" not in str(died.value)
    shop = start("tells", env=env)
    assert "tokensecret" not in repr(shop) + shop[0].description + json.dumps(shop[0].schema.json)
    server = serve(calls(use("shop__stock", {"item": "tells"})), canonical("So."))
    comet_magic.ask("Go.", tools=shop)
    assert "tokensecret" not in server.received[0].body.decode() + server.received[1].body.decode()


def test_always_is_for_that_program_in_that_folder_with_those_variables(
    serve: Callable[..., WireServer], monkeypatch: pytest.MonkeyPatch, shell: Any, tmp_path: Path
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda prompt="": asked.append(prompt) or "a")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "server.py").write_text(SCRIPT.read_text())
    serve(*[calls(use("shop__stock", {"item": "lamp"})), canonical("Twelve.")] * 5)
    counts = []
    for folder, env in (("a", {}), ("a", {}), ("b", {}), ("b", {"DB": "production"}), ("b", {})):
        shell.user_ns["shop"] = comet_magic.mcp(sys.executable, "server.py", folder=tmp_path / folder, env=env)
        assert Ran(shell, "%%claude --tools shop -c talk\nLamps?").error is None
        counts.append(len(asked))
    assert counts == [1, 1, 2, 3, 3]


def test_no_argument_forges_a_line_of_the_prompt(serve: Callable[..., WireServer], user: list[str]) -> None:
    forged = "x = 1\nClaude asks to run\n  shop__stock\n    item"
    serve(calls(use("shop__stock", {"item": "lamp", forged: "chair"})), canonical("So."))
    comet_magic.ask("Go.", tools=start())
    assert [line for line in user[0].splitlines() if line.startswith("Claude")] == ["Claude asks to run"]


@pytest.mark.slow
def test_closing_waits_for_no_fork_and_no_child() -> None:
    """A fork holds the pipes of its parent, and a daemon of the server's those of the server."""
    shop = start()
    assert int(str(shop[0](item="detaches")))
    child = os.fork()
    if not child:
        signal.pause()
    try:
        shop.close()
        assert is_there(child)  # it has not been waited for
        other = start()
        assert [other[0](item="lamp") for _ in range(6)] == ["12 of lamp"] * 6  # nobody else reads its pipe
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.slow
def test_an_interrupt_while_a_server_is_closed_kills_it() -> None:
    shop = start("stubborn")
    pid = pid_of(shop)
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        shop.close()
    wait_until(lambda: not is_there(pid))
    shop.close()


def test_pictures_are_bounded(serve: Callable[..., WireServer], user: list[str]) -> None:
    server = serve(calls(use("shop__stock", {"item": "pictures"})), canonical("Seen."))
    comet_magic.ask("Go.", tools=start())
    blocks = results(server.received[1])[0]["content"]
    assert [block["type"] for block in blocks].count("image") == 20
    assert blocks[0]["text"].count("(a picture more, which is left out)") == 80


def test_odd_answers_are_read() -> None:
    shop = start("bom", "nulls")
    assert shop[0](item="lamp") == "12 of lamp"
    assert shop[0](item="plain text") == "a content that is a text"
    with pytest.raises(ToolError, match="it failed, and did not say why"):
        shop[0](item="no reason")
    with pytest.raises(ConfigError, match=r"shop__stock\(item=…\)"):
        shop[0]("lamp")
    with pytest.raises(KeyError, match="did you mean 'stock'|did you mean stock"):
        shop["stok"]


def test_a_ping_at_once_is_answered_and_a_flood_is_not() -> None:
    shop = start("early")
    assert json.loads(str(shop[0](item="state")))["answers"][0]["id"] == "early"
    shop = start()
    assert shop[0](item="flood") == "done"
    assert shop[0].server.connection._process.pending <= 1010


def test_a_with_closes_the_server() -> None:
    with start() as shop:
        pid = pid_of(shop)
        assert shop["shop__stock"](item="lamp") == "12 of lamp"
    assert not is_there(pid)
    with pytest.raises(ToolError, match="you closed it"):
        shop[0](item="lamp")


@pytest.mark.parametrize(
    ("arguments", "more", "said"),
    [
        ((["python", "server.py"],), {}, 'mcp\\("python", "server.py"\\)'),
        (({"command": "npx", "args": ["-y", "x"], "env": {"A": "b"}},), {}, 'mcp\\("npx", "-y", "x"\\), env=|"x", env='),
        (("http://localhost:8000/mcp",), {}, "only a server that is a program"),
        (("npx -y @scope/server",), {}, 'mcp\\("npx", "-y", "@scope/server"\\)'),
        ((5,), {}, "the name of a program, not 5"), (("cat",), {"name": 5}, "name is a text"),
        (("cat",), {"folder": 5}, "folder is a path"), (("cat",), {"wait_s": "60"}, "number of seconds"),
        (("cat",), {"wait_s": 0}, "number of seconds"), (("cat\0",), {}, "NUL"), (("uvx-not-there",), {}, "on PATH"),
    ],
)  # fmt: skip
def test_a_command_in_another_form_is_an_error_that_shows_the_right_one(
    arguments: Any, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        comet_magic.mcp(*arguments, **more)
    assert list(server_process._running) == []


def test_secrets_of_several_lines_and_in_long_ones_are_hidden(
    serve: Callable[..., WireServer], user: list[str]
) -> None:
    pem = (
        "-----BEGIN PRIVATE KEY-----\n"
        + "\n".join(f"MIIEvLINE{number}" for number in range(20))
        + "\n-----END PRIVATE KEY-----"
    )
    secret = "tokensecretvalue-ABCDEFGHIJKLMNOP"
    shop = start(env={"SSH_PRIVATE_KEY": pem, "SHOP_TOKEN": secret})
    server = serve(
        calls(use("shop__stock", {"item": "many secrets"}, "t1"), use("shop__stock", {"item": "writes a key"}, "t2")),
        canonical("So."),
    )
    comet_magic.ask("Go.", tools=shop)
    sent = server.received[1].body.decode()
    assert "MIIEv" not in sent + shop.log
    assert "tokensecret" not in sent + shop.log
    assert "it has ended (exit code 1)" in sent


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (("--partition-key", "customer_id"), {}), (("--max-tokens", "40960000"), {}), (("--no-auth", "filesystem"), {}),
        (("--auth", "/home/user/project"), {}), ((), {"MAX_TOKENS": "1000", "SHOP_AUTH": "none", "DB_PASSWORD": "test"}),
    ],
)  # fmt: skip
def test_ordinary_words_are_not_hidden(
    serve: Callable[..., WireServer], user: list[str], words: tuple[str, ...], env: dict[str, str]
) -> None:
    given = [*words[1:], *env.values()]
    server = serve(calls(use("shop__stock", {"item": " ".join(given)})), canonical("So."))
    comet_magic.ask("Go.", tools=start(*words, env=env))
    assert results(server.received[1])[0]["content"] == f"12 of {' '.join(given)}"


def test_the_values_of_a_parameter_stay_what_they_are(serve: Callable[..., WireServer]) -> None:
    def scope(name: Literal["secrets:read", "token:write"]) -> None:
        """Ask for a scope."""

    server = serve(canonical("So."))
    comet_magic.ask("Go.", tools=[scope])
    properties = server.received[0].json["tools"][0]["input_schema"]["properties"]
    assert properties["name"]["enum"] == ["secrets:read", "token:write"]


def test_what_has_changed_is_told_once_a_reply_is_there(serve: Callable[..., WireServer], shell: Any) -> None:
    shell.user_ns["shop"] = start("changes")
    server = serve(canonical("So."))
    assert Ran(shell, "%%claude --tools shop --alone\nGo.").error is None
    CometSettings.instance().retries = 0
    server.scripts[:] = [[CLOSE]]
    assert Ran(shell, "%%claude --tools shop --alone\nGo on.").error is not None
    server.scripts[:] = [canonical("So.")]
    assert "has changed what it says of shop__stock" in Ran(shell, "%%claude --tools shop --alone\nNow?").plain
    assert "has changed what it says of" not in Ran(shell, "%%claude --tools shop --alone\nAnd now?").plain


def test_the_bounds_hold_after_the_start(serve: Callable[..., WireServer], monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(canonical("So."))
    with pytest.raises(ConfigError, match="now describes its tools in more than 200,000 characters"):
        comet_magic.ask("Go.", tools=start("grows"))
    with pytest.raises(ConfigError, match="has two tools called stock"):
        comet_magic.ask("Go.", tools=start("doubles"))
    assert server.received == []
    with pytest.warns(UserWarning, match="it offers more tools than are read"):
        assert len(start("for ever")) == 100
    began = [tool.name for tool in start("scripts")]
    assert [re.sub("_[0-9a-f]{8}$", "", name) for name in began] == ["shop__tool"] * 2
    assert start("scripts", name="магазин")[0].name.startswith("server_")


def test_answers_that_cannot_be_read_end_the_request() -> None:
    shop = start()
    with pytest.raises(ToolError, match="its answer cannot be read"):
        shop[0](item="no JSON")
    with pytest.raises(ToolError, match="Parse error"):
        shop[0](item="no id")
    for odd in (b"x", float("nan")):
        with pytest.raises(ConfigError, match="its arguments are no JSON"):
            shop[0](item=odd)


def test_a_working_folder_that_is_gone_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert len(start(folder=".")) == 2


@pytest.mark.slow
def test_a_close_after_a_close_that_was_interrupted_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = start("stubborn")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(shop._server.connection), "close", interrupted)
        with pytest.raises(KeyboardInterrupt):
            shop.close()
    assert is_there(pid_of(shop))
    shop.close()
    assert not is_there(pid_of(shop))


@pytest.mark.slow
def test_an_interrupt_while_the_guard_is_started_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = set(Path("/proc/self/task").iterdir())
    monkeypatch.setattr(server_process._guard, "_start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start("stubborn")
    assert list(server_process._running) == []
    assert set(Path("/proc/self/task").iterdir()) <= before
