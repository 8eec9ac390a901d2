"""`--code`: the reply's Python in one new cell below."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cells import Ran
from kernels import Kernel
from kernels import Ran as KernelRan
from wire_server import WireServer, canonical, delta, start, stop, stream

from comet_magic.exchange import session
from comet_magic.settings import CometSettings

KEY = "sk-test-0123456789abcdef"
REPLY = """First:

```python
import math
```

~~~sh
ls
~~~

````py
import math
print("```", math.pi)
````

Done."""
CODE = 'import math\nprint("```", math.pi)'


@pytest.fixture
def put(shell: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COMETAPI_KEY", KEY)
    made: list[str] = []
    shell.set_next_input = made.append
    return made


@pytest.fixture
def server(put: list[str]) -> Iterator[WireServer]:
    with WireServer(canonical(REPLY)) as server:
        CometSettings.instance().endpoint = server.url
        yield server


def test_its_longest_block_goes_into_one_cell(server: WireServer, shell: Any, put: list[str]) -> None:
    done = Ran(shell, "%%claude --code\nHow?")
    assert put == [CODE]
    assert "New code was put into a cell below" in done.said
    assert "It is the longest of the reply's 2 blocks" in done.said
    assert "One notebook cell will be made of the Python in your reply" in str(server.received[-1].json["messages"])
    # Where it stands in the cell below, it is folded here.
    assert f"the code of the cell below</small></summary>\n\n````py\n{CODE}\n````\n\n</details>" in done.markdown
    assert done.markdown.count(CODE) == 1
    assert "math" not in shell.user_ns


def test_what_has_no_code_or_is_a_part_puts_none(server: WireServer, shell: Any, put: list[str]) -> None:
    server.scripts = [canonical("```sh\nls\n```"), stream(start(), delta(REPLY), stop("max_tokens"))]
    assert "no Python code" in Ran(shell, "%%claude --code\nHow?").said
    assert "not whole" in Ran(shell, "%%claude --code\nHow?").said
    assert put == []


def test_with_a_type_or_a_dry_run_it_does_no_harm(server: WireServer, shell: Any, put: list[str]) -> None:
    Ran(shell, "%%claude --code --dry-run\nHow?")
    assert (put, server.received) == ([], [])


def put_by(ran: KernelRan) -> list[str]:
    return [part["text"] for part in ran.reply["payload"] if part["source"] == "set_next_input"]


def test_run_again_in_a_notebook_it_stacks_no_cells() -> None:
    other = REPLY.replace("math", "cmath")
    with WireServer(canonical(REPLY), canonical(REPLY), canonical(other), canonical(other)) as server:
        for _ in range(2):
            kernel = Kernel(COMETAPI_KEY=KEY, COMET_MAGIC_ENDPOINT=server.url, COMET_MAGIC_CONVERSATION="nb")
            try:
                kernel.run("%load_ext comet_magic")
                if not server.received:
                    assert put_by(kernel.run("%%claude --code\nHow?", cell="a")) == [CODE]
                    again = kernel.run("%%claude --code\nHow?", cell="a")
                    assert put_by(again) == []
                    assert "No other cell was made" in again.plain
                    changed = kernel.run("%%claude --code\nHow?", cell="a")
                    assert put_by(changed) == [CODE.replace("math", "cmath")]
                    assert "the cell with the former code is still there" in changed.plain
                    assert put_by(kernel.run("%%claude --code --fresh\nHow?", cell="a")) == [
                        CODE.replace("math", "cmath")
                    ]
                else:  # a restarted kernel replays, and puts nothing that is there
                    again = kernel.run("%%claude --code\nHow?", cell="a")
                    assert put_by(again) == []
                    assert put_by(kernel.run("%%claude --code\nHow?", cell="b")) != []
            finally:
                kernel.close()
        assert len(server.received) == 5


def test_a_flag_that_comes_later_puts_the_code_of_a_replay(server: WireServer) -> None:
    kernel = Kernel(COMETAPI_KEY=KEY, COMET_MAGIC_ENDPOINT=server.url)
    try:
        kernel.run("%load_ext comet_magic\n%config CometSettings.replay = 'always'")
        kernel.run("%%claude --alone\nHow?", cell="a")
        assert put_by(kernel.run("%%claude --alone --code\nHow?", cell="a")) == [CODE]
        assert len(server.received) == 1
    finally:
        kernel.close()


def test_in_a_terminal_it_is_the_next_input(nobody_home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from IPython.terminal.interactiveshell import TerminalInteractiveShell

    monkeypatch.setenv("COMETAPI_KEY", KEY)
    TerminalInteractiveShell.clear_instance()
    shell = TerminalInteractiveShell.instance()
    try:
        shell.run_line_magic("load_ext", "comet_magic")
        with WireServer(canonical(REPLY)) as server:
            CometSettings.instance().endpoint = server.url
            for _ in range(2):
                shell.run_cell("%%claude --code\nHow?", store_history=True)
                assert shell.rl_next_input == CODE
    finally:
        shell.run_line_magic("unload_ext", "comet_magic")
        shell.history_manager.end_session()
        TerminalInteractiveShell.clear_instance()
        session.reset()


@pytest.mark.parametrize(
    ("code", "note"),
    [
        ("import os\nos.system('ls')", "line 2 runs a command"),
        ("x = 1\n!pip install x", "line 2 runs a command"),
        ("import subprocess as s", "line 1 runs a command"),
        (f"x = 1{' ' * 300}; import os", "line 1 is wider than a screen"),
        ("x = 'a\u200b\U000e0041b'", "characters that cannot be seen were taken out of it"),
    ],
)
def test_what_a_reader_could_miss_is_said(server: WireServer, shell: Any, put: list[str], code: str, note: str) -> None:
    server.scripts[:] = [canonical(f"```python\n{code}\n```")]
    done = Ran(shell, "%%claude --code\nHow?")
    assert note in done.said
    assert "\u200b" not in put[0]
    assert "\U000e0041" not in put[0]


def test_ordinary_code_has_nothing_to_look_at(server: WireServer, shell: Any, put: list[str]) -> None:
    assert "Look at" not in Ran(shell, "%%claude --code\nHow?").said
