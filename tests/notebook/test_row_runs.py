"""`%%claude --rows`: the cell, its flags, what it shows, and where the user is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from kernels import Kernel
from row_server import RowServer
from wire_server import MESSAGE, Received, Script, WireServer, reply

import comet_magic
from comet_magic.notebook.flags import parse_flags
from comet_magic.notebook.rows_display import RowsTerminal
from comet_magic.rows import gate
from comet_magic.rows.progress import Progress, duration
from comet_magic.settings import CometSettings

Serve = Callable[..., WireServer]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_gates", {})
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    CometSettings.instance().model = "claude-haiku-4-5"


def said(received: Received) -> Script:
    if not received.body:
        return reply({}, status=404)
    text = str(received.json["messages"][0]["content"])
    is_typed = "output_config" in received.json
    words = json.dumps({"value": "good"}) if is_typed else text.rsplit(" ", 1)[1]
    return reply({**MESSAGE, "content": [{"type": "text", "text": words}]})


def test_a_cell_asks_each_row_and_puts_the_table_into_a_variable(shell: Any, serve: Serve) -> None:
    server = serve(said)
    shell.user_ns["reviews"] = pd.DataFrame({"review": [f"review {number}" for number in range(5)]})
    shell.run_cell_magic(
        "claude", "--rows reviews --as 'Literal[\"good\", \"bad\"]' -o tones --column tone -t 50",
        "Tone of this review? {{row.review}}\n",
    )  # fmt: skip
    tones = shell.user_ns["tones"]
    assert list(tones.columns) == ["review", "tone", "error"]
    assert list(tones.tone.cat.categories) == ["good", "bad"]
    assert {one.json["max_tokens"] for one in server.received if one.body} == {50}
    shell.run_cell_magic("claude", "--rows reviews.head(2) --samples 2 -o two", "Which? {{row.review}}")
    assert list(shell.user_ns["two"].columns) == ["review", "reply_1", "reply_2", "error"]
    shell.run_cell_magic("claude", "--rows reviews --limit 1 -o one", "Which? {{row.review}}")
    assert list(shell.user_ns["one"].reply) == ["0"]


def test_names_of_a_function_are_seen(shell: Any, serve: Serve) -> None:
    serve(said)
    shell.run_cell(
        "import pandas as pd\n"
        "def ask(table, about):\n"
        "    get_ipython().run_cell_magic('claude', '--rows table -o out', '{{about}} {{row.x}}')\n"
        "ask(pd.DataFrame({'x': ['a', 'b']}), 'Which?')\n"
    ).raise_error()
    assert list(shell.user_ns["out"].reply) == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--rows df --tools f", "--tools cannot go with --rows"), ("--rows df -c x", "--chat cannot go with --rows"),
        ("--rows df --code", "--code cannot go"), ("--limit 3", "--limit is for --rows"),
        ("--yes", "--yes is for --rows"), ("--rows df --samples 0", "at least 1"),
        ("--rows df --nulls x", "invalid choice"), 
    ],
)  # fmt: skip
def test_flags_that_make_no_sense_together_are_refused(line: str, text: str) -> None:
    with pytest.raises(comet_magic.ConfigError, match=text):
        parse_flags(line)


def test_a_name_that_is_no_table_is_said(shell: Any, serve: Serve) -> None:
    serve(said)
    shell.user_ns["reviews"] = pd.DataFrame({"x": ["a"]})
    with pytest.raises(comet_magic.ConfigError, match=r"NameError.*reviws"):
        shell.run_cell_magic("claude", "--rows reviws", "{{row.x}}")
    with pytest.raises(comet_magic.ConfigError, match="rows are a DataFrame"):
        shell.run_cell_magic("claude", "--rows 7", "{{row.x}}")


ROWS = "import pandas as pd\nr = pd.DataFrame({'review': [f'review {n}' for n in range(80)]})"
CELL = "%%claude --rows r -o out --workers 8\nTone? {{row.review}}"


def loaded(server: RowServer, **environment: str) -> Kernel:
    kernel = Kernel(**environment)
    kernel.run(f"%load_ext comet_magic\n%config CometSettings.endpoint = {server.url!r}\n{ROWS}")
    return kernel


def test_in_a_kernel_the_user_is_asked_once_with_the_estimate() -> None:
    with RowServer(delay=0.02) as server:
        kernel = loaded(server)
        try:
            questions = []
            for answer in ("n", "y"):
                asked = kernel.send(CELL, "cell-1", stdin=True)
                questions.append(kernel.client.get_stdin_msg(timeout=20)["content"]["prompt"])
                kernel.client.input(answer)
                ran = kernel.until_idle(asked)
                if answer == "n":
                    assert ran.reply["ename"] == "ConfigError"
                    assert "you did not say yes; 5 of 80 were asked" in ran.reply["traceback"][0]
                    assert server.stats()["answered"] == 5
            assert questions[0].startswith("80 rows, 5 asked already: 75 requests to claude-sonnet-4-6; about $")
            assert questions[0].endswith("Go on? [y/N] ")
            assert questions[1].startswith("80 rows, 5 in the store, 5 asked already: 70 requests")
            assert ran.reply["status"] == "ok"
            shown = ran.bundles()[-1]
            assert shown["text/plain"].startswith("80 rows · 80 answered, 5 of them from the store · ")
            assert set(shown) == {"text/markdown", "text/plain"}
            assert max(len(json.dumps(bundle)) for bundle in ran.bundles()) < 2000
        finally:
            kernel.close()


def test_two_interrupts_bring_the_kernel_back_within_a_second() -> None:
    with RowServer(delay=20) as server:
        kernel = loaded(server)
        try:
            asked = kernel.send(CELL.replace("--workers 8", "--workers 8 --yes"))
            until = time.monotonic() + 20
            while server.stats()["requests"] < 1:
                assert time.monotonic() < until
                time.sleep(0.05)
            kernel.manager.interrupt_kernel()
            time.sleep(1.0)  # two signals that come as one are one interrupt
            began = time.monotonic()
            kernel.manager.interrupt_kernel()
            ran = kernel.until_idle(asked)
            assert time.monotonic() - began < 2
            assert ran.reply["ename"] == "KeyboardInterrupt"
            assert any("stopping: waiting for what is under way" in one["text/plain"] for one in ran.bundles())
        finally:
            kernel.close()


def test_the_line_says_each_count_once_it_is_more_than_nothing() -> None:
    progress = Progress(rows=10, requests=10, usd=0.0)
    assert progress.line == "0 of 10"
    progress.answered, progress.at_once, progress.left_s = 3, 2, 61.0
    progress.failed["too long"] += 1
    assert "4 of 10 · 1 failed · 2 under way · " in progress.line
    assert progress.line.endswith("about 61 s left")
    assert progress.details == ["1 × too long"]
    progress.state = "done"
    assert "10 rows · 3 answered · 1 row failed · 6 not asked: run it again" in progress.line


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.123, "0.12 s"), (9.96, "10 s"), (45, "45 s"), (119, "2 min"), (7200, "2.0 h")]
)  # fmt: skip
def test_spans_of_time(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_terminal_writes_over_one_line_and_leaves_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    screen, progress = RowsTerminal(can_overwrite=True), Progress(rows=2, requests=2)
    screen.paint(progress)
    progress.answered, progress.state, progress.ended = 2, "done", progress.began + 1
    screen.finish(progress)
    assert capsys.readouterr().out == "\r0 of 2\r      \r2 rows · 2 answered · 1 s\n"
