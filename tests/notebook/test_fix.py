"""`%claude_fix`: what of a failure goes along, and what comes back."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cells import Ran
from hypothesis import given
from hypothesis import strategies as st
from kernels import Kernel
from markdown_it import MarkdownIt
from wire_server import WireServer, canonical, delta, start, stop, stream

from comet_magic.errors import ConfigError
from comet_magic.render.markdown import code_blocks
from comet_magic.settings import CometSettings

CODE = "df['price'].mean()"
REPLY = f"There is no column `prise`.\n\n```python\n{CODE}\n```\n\nThat is all."


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WireServer]:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    with WireServer(canonical(REPLY)) as server:
        CometSettings.instance().endpoint = server.url
        yield server


def fixed(shell: Any, server: WireServer, hint: str = "") -> str:
    """The question that is sent."""
    asked = len(server.received)
    ran = Ran(shell, f"%claude_fix {hint}")
    assert ran.error is None
    assert len(server.received) == asked + 1
    content = server.received[-1].json["messages"][-1]["content"]
    assert isinstance(content, str)
    return content


def frame(shell: Any) -> None:
    shell.user_ns.update(df=pd.DataFrame({"price": [1.5, 2.5], "city": ["Oslo", "Rome"]}), pd=pd)


def test_nothing_to_fix_is_said(shell: Any, server: WireServer) -> None:
    assert "nothing to fix" in Ran(shell, "%claude_fix").printed
    Ran(shell, "x = 0\n1 / 0")
    Ran(shell, "x = 0\n1 / 1")
    fixed(shell, server)
    Ran(shell, "1 / 0")
    Ran(shell, "1 / 0 if x else 1")  # another cell
    fixed(shell, server)
    shell.user_ns["ok"] = False
    Ran(shell, "assert ok")
    shell.user_ns["ok"] = True
    Ran(shell, "assert ok")
    assert "nothing to fix" in Ran(shell, "%claude_fix").printed


def test_a_missing_column(shell: Any, server: WireServer) -> None:
    frame(shell)
    shell.user_ns["unrelated"] = "never mentioned"
    Ran(shell, "total = 1\ndf['prise'].mean()")
    ran = Ran(shell, "%claude_fix I mean the price")
    text = server.received[-1].json["messages"][-1]["content"]
    assert text.startswith("A cell of my notebook failed.")
    assert "\nI mean the price\n" in text
    assert "total = 1\ndf['prise'].mean()" in text
    assert "KeyError: 'prise'" in text
    assert 'Cell "total = 1", line 2\n' in text
    assert "  > df['prise'].mean()" in text
    assert "in a library, " in text
    assert "site-packages/" not in text.replace("site-packages/pandas", "")
    assert "2 rows × 2 columns" in text
    assert "Not there: df has no 'prise'; similar: price." in text
    assert f"Versions: Python {sys.version.split()[0]}, pandas {pd.__version__}." in text
    assert "never mentioned" not in text
    reply = ran.outputs[-2].data
    assert "sent: what to do, and your hint · the failed cell (2 lines) · error (KeyError) · df (2 × 2, card of" in str(
        reply["text/plain"]
    )
    assert "New code was put into" in ran.said
    assert reply["text/markdown"].startswith("There is no column `prise`.")
    assert ran.markdown == "```diff\n@@ -1,2 +1 @@\n-total = 1\n-df['prise'].mean()\n+df['price'].mean()\n```"


def test_a_name_that_does_not_exist(shell: Any, server: WireServer) -> None:
    shell.user_ns["prices"] = [1, 2]
    Ran(shell, "sum(price)")
    assert "the namespace has no 'price'; similar: prices" in fixed(shell, server)
    Ran(shell, "prices.apend(3)")
    assert "list has no 'apend'; similar: append" in fixed(shell, server)
    Ran(shell, "from math import sqroot")
    assert "ImportError: cannot import name 'sqroot'" in fixed(shell, server)


def test_a_syntax_error(shell: Any, server: WireServer) -> None:
    shell.user_ns["values"] = [1, 2, 3]
    Ran(shell, "for v in values\n    print(v)")
    text = fixed(shell, server)
    assert "SyntaxError: expected ':'" in text
    assert 'Cell "for v in values", line 1\n  > for v in values\n' in text
    assert "^" in text
    assert "[1, 2, 3]" in text


def test_chained_and_grouped_exceptions(shell: Any, server: WireServer) -> None:
    Ran(
        shell,
        "def load():\n    try:\n        {}['key']\n    except KeyError as error:\n        raise ValueError('bad file') from error\nload()",
    )
    text = fixed(shell, server)
    assert (
        text.index("KeyError: 'key'")
        < text.index("which was the direct cause of:")
        < text.index("ValueError: bad file")
    )
    Ran(shell, "try:\n    1/0\nfinally:\n    int('x')")
    assert "while that was handled, there came:" in fixed(shell, server)
    if sys.version_info >= (3, 11):
        Ran(shell, "raise ExceptionGroup('several', [ValueError('one'), ExceptionGroup('inner', [TypeError('two')])])")
        text = fixed(shell, server)
        assert "exception 1 of the group's 2:\n  ValueError: one" in text
        assert "    TypeError: two" in text
        assert "several (2 sub-exceptions)" in text


def test_a_nested_function_shows_its_locals(shell: Any, server: WireServer) -> None:
    Ran(
        shell,
        "def outer(rows):\n    def inner(row):\n        return row['b'] + 1\n    return [inner(row) for row in rows]",
    )
    Ran(shell, "outer([{'a': 1}])")
    text = fixed(shell, server)
    assert 'Cell "def outer(rows):", line 3, in inner\n' in text
    assert "{'a': 1}" in text
    assert "Not there: row has no 'b'" in text or "KeyError: 'b'" in text
    assert 'name="outer"' in text


def test_a_group_and_its_member_may_refer_to_one_another(shell: Any, server: WireServer) -> None:
    if sys.version_info >= (3, 11):
        Ran(
            shell,
            "try:\n    raise ExceptionGroup('g', [ValueError('one')])\nexcept ExceptionGroup as g:\n    raise g.exceptions[0]",
        )
        assert "ValueError: one" in fixed(shell, server)


def test_a_key_of_a_method_or_of_a_function_has_its_nearest(shell: Any, server: WireServer) -> None:
    frame(shell)
    Ran(shell, "df.groupby('citty').size()")
    assert "Not there: df has no 'citty'; similar: city." in fixed(shell, server)
    Ran(shell, "def f(rows):\n    return rows['cty']\nf(df)")
    assert "Not there: rows has no 'cty'; similar: city." in fixed(shell, server)


def test_it_is_a_turn_that_can_be_asked_about(shell: Any, server: WireServer) -> None:
    Ran(shell, "%%claude\nfirst")
    Ran(shell, "1/0")
    fixed(shell, server)
    Ran(shell, "%%claude\nWhy did that happen?")
    messages = server.received[-1].json["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2 + ["user"]
    assert "ZeroDivisionError" in str(messages[2]["content"])


def test_a_local_and_a_global_of_one_name(shell: Any, server: WireServer) -> None:
    Ran(shell, "x = ['a', 'b']\ndef f(x):\n    return x / 0\nf(3); len(x)")
    text = fixed(shell, server)
    assert "x = ['a', 'b']" in text
    assert "x (in f) = 3" in text


def test_recursion_is_summed_up(shell: Any, server: WireServer) -> None:
    # Not at the limit that is set: IPython looks through all modules of this process for each frame of its traceback.
    near = "import sys, inspect\nlimit = sys.getrecursionlimit()\nsys.setrecursionlimit(len(inspect.stack(0)) + 100)"
    back = "finally:\n    sys.setrecursionlimit(limit)"
    Ran(shell, f"def down(n):\n    return down(n + 1)\n{near}\ntry:\n    down(0)\n{back}")
    text = fixed(shell, server)
    assert "more frames" in text
    assert "RecursionError: maximum recursion depth exceeded" in text
    assert text.count("in down") < 12


def test_magics_in_the_cell(shell: Any, server: WireServer) -> None:
    frame(shell)
    Ran(shell, "%%time\nx = df['prise']\n")
    text = fixed(shell, server)
    assert "%%time\nx = df['prise']" in text
    assert "Not there: df has no 'prise'; similar: price." in text
    assert 'name="df"' in text
    Ran(shell, "%timeit -n1 -r1 undefined_name")
    assert "undefined_name" in fixed(shell, server)


def test_what_is_secret_stays(shell: Any, server: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_TOKEN", "opaque-value-1")
    shell.user_ns.update(password="hunter2-not-known", url="https://u:pa55word@host/", token_holder="opaque-value-1")
    Ran(shell, 'api_key = "literal-in-the-source"\nraise ValueError(f"{password and 1} {token_holder} {url}")')
    ran = Ran(shell, "%claude_fix")
    sent = json.dumps(server.received[-1].json) + ran.plain + ran.markdown
    for secret in ("hunter2", "opaque-value-1", "pa55word", "literal-in-the-source"):
        assert secret not in sent, secret
    assert "secrets redacted" in ran.outputs[-2].data["text/plain"]


def test_without_values_the_message_stays_too(shell: Any, server: WireServer) -> None:
    CometSettings.instance().share_values = False
    frame(shell)
    Ran(shell, "customer = 'Alice Adams'\nint(customer + df['city'][0])")
    text = fixed(shell, server)
    assert "Alice Adams" not in text.replace("customer = 'Alice Adams'", "")
    assert "Oslo" not in text
    assert "ValueError (its message may show values, which are not shared)" in text
    Ran(shell, "no_such_name")
    assert "NameError: name 'no_such_name' is not defined" in fixed(shell, server)


def test_a_variable_that_cannot_be_described_does_not_stop_it(shell: Any, server: WireServer) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

        def _repr_llm_(self) -> str:
            raise RuntimeError("nor this")

    shell.user_ns["broken"] = Broken()
    Ran(shell, "broken + 1")
    assert "(the describer " in fixed(shell, server)


@pytest.mark.parametrize(
    "code",
    [
        "class L:\n    __class__ = property(lambda self: 1 / 0)\nreq = L()", "raise NameError('x', name=5)",
        "class D:\n    def __dir__(self): raise RuntimeError\nd = D()\nd.foo", "e = ValueError('x'); e.__notes__ = [5, 'note']; raise e",
        "class E(Exception):\n    exceptions = None\nraise E('odd')", "class E(Exception):\n    exceptions = ['a']\nraise E('odd')",
        "exec('1/0')", "not " * 300 + "x y",
    ],
)  # fmt: skip
def test_odd_failures_are_sent_too(shell: Any, server: WireServer, code: str) -> None:
    Ran(shell, code)
    if shell.magics_manager.registry["CometMagics"].executions.failure is None:
        Ran(shell, "req\n1/0")
    assert "Versions: Python" in fixed(shell, server)


def test_secrets_by_their_names(shell: Any, server: WireServer) -> None:
    shell.user_ns.update(
        passwords=["hunter2list"], api_keys={"a": "hunter2dict"}, secret_bytes=bytearray(b"hunter2bytes")
    )
    Ran(shell, "passwords, api_keys, secret_bytes, 1/0")
    assert "hunter2" not in fixed(shell, server)


def test_a_dry_run_at_either_end(shell: Any, server: WireServer) -> None:
    Ran(shell, "1/0")
    for line in ("--dry-run why?", "why so --dry-run", "--dry-run"):
        assert "Nothing was sent" in Ran(shell, f"%claude_fix {line}").plain
    assert isinstance(Ran(shell, "%claude why --dry-run").error, ConfigError)
    assert server.received == []


def test_only_a_whole_reply_puts_a_cell_below(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    put: list[str] = []
    shell.set_next_input = put.append
    cut = stream(start(), delta(REPLY), stop("max_tokens"))
    with WireServer(canonical(REPLY), cut, canonical("No code."), canonical(REPLY)) as server:
        CometSettings.instance().endpoint = server.url
        for hint in "abcd":
            Ran(shell, "1/0")
            Ran(shell, f"%claude_fix {hint}")
        assert len(server.received) == 4
    assert put == [f'# replaces: "1/0"\n{CODE}'] * 2


def test_a_question_mark_at_the_end_is_no_call_for_help(shell: Any, server: WireServer) -> None:
    Ran(shell, "1/0")
    assert "why does it fail?" in fixed(shell, server, "why does it fail?")


def test_in_a_kernel_the_cell_is_put_below(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(canonical(REPLY)) as server:
        kernel = Kernel(COMETAPI_KEY="sk-test-0123456789abcdef", COMET_MAGIC_ENDPOINT=server.url)
        try:
            kernel.run("%load_ext comet_magic\nimport pandas as pd\ndf = pd.DataFrame({'price': [1.5]})", cell="a")
            kernel.run(
                "from IPython.display import display, Markdown\nprint('printed'); display(df); print('again')\n7",
                cell="b",
            )
            assert kernel.run("df['prise']", cell="c").error
            ran = kernel.run("%claude_fix", cell="d")
            payload = ran.reply["payload"]
            assert [(part["source"], part["text"], part["replace"]) for part in payload] == [
                ("set_next_input", f"# replaces: \"df['prise']\"\n{CODE}", False)
            ]
            text = server.received[-1].json["messages"][-1]["content"]
            assert "Cell \"df['prise']\", line 1" in text
            assert "/tmp/ipykernel" not in text
            assert str(Path.home()) not in text
            kernel.run("%%claude --alone\n{{cells[2]}} {{cells[-1]}} {{error}}", cell="e")
            text = server.received[-1].json["messages"][-1]["content"]
            assert (
                text.index("its output:\nprinted\n")
                < text.index("   price\n0    1.5")
                < text.index("again\n")
                < text.rindex("\n7\n")
            )
            assert "There is no column `prise`." in text
            assert "KeyError: 'prise'" in text
            assert not kernel.run("df['prise'] = 1; df['prise']", cell="c").error
            assert "nothing to fix" in kernel.run("%claude_fix", cell="d").result
        finally:
            kernel.close()


# ---- code blocks


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("```python\nx = 1\n```", [("python", "x = 1")]),
        ("~~~py title=x\nx\n~~~\n\n```\ny", [("py", "x"), ("", "y")]),
        ("````md\n```python\nx\n```\n````", [("md", "```python\nx\n```")]),
        ("1. so:\n\n   ```python\n   if x:\n       y\n   ```\n2. done", [("python", "if x:\n    y")]),
        ("> ```python\n> x\n> ```\n", [("python", "x")]),
        ("no `code` here", []),
        ("```python\n\n```", [("python", "")]),
    ],
)
def test_code_blocks(text: str, blocks: list[tuple[str, str]]) -> None:
    assert code_blocks(text) == blocks


@given(
    st.lists(st.sampled_from(["```", "```python", "~~~", "````", "x = 1", "    y", "", "text", "  ```"]), max_size=12)
)
def test_code_blocks_are_those_of_a_markdown_parser(lines: list[str]) -> None:
    text = "\n".join(lines)
    tokens = [token for token in MarkdownIt("commonmark").parse(text) if token.type == "fence"]
    expected = [(token.info.split()[0] if token.info else "", token.content.removesuffix("\n")) for token in tokens]
    assert [(language, code.rstrip("\n")) for language, code in code_blocks(text)] == [
        (language, code.rstrip("\n")) for language, code in expected
    ]


# ---- what the cell worked with


def test_a_typo_in_a_function_is_near_to_that_function_s_names(shell: Any, server: WireServer) -> None:
    Ran(shell, "pric = 'global'\ndef total(prices):\n    return sum(price)\n")
    Ran(shell, "total([1, 2])")
    text = fixed(shell, server)
    assert "the namespace has no 'price'; similar: prices" in text
    assert "return sum(price)" in text  # the cell that defines it goes along
    assert 'name="another cell"' in text


def test_axes_have_their_shape_and_versions_are_asked_for(shell: Any, server: WireServer) -> None:
    Ran(
        shell,
        "import matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt\nfig, axes = plt.subplots(2, 3)",
    )
    Ran(shell, "axes[5].plot([1, 2]); matplotlib.nothing")
    text = fixed(shell, server)
    assert "axes = (numpy ndarray of shape (2, 3), not shown)" in text
    assert "matplotlib 3." in text.rpartition("Versions: ")[2]
    Ran(shell, "plt.close('all')")


def test_a_shell_s_words_go_along(shell: Any, server: WireServer) -> None:
    Ran(shell, "%%bash\necho before\necho 'no such thing' >&2\nexit 3")
    text = fixed(shell, server)
    assert "no such thing" in text
    assert "exit 3" in text


def test_the_columns_that_the_cell_names_have_their_figures(shell: Any, server: WireServer) -> None:
    shell.user_ns["wide"] = pd.DataFrame({f"column_{n}": [n, n + 1.5] for n in range(200)})
    Ran(shell, "wide['column_150'] / 0 + wide.column_77 + wide['column_x']")
    text = fixed(shell, server)
    for name in ("column_150", "column_77"):
        assert f"\n{name} (float64)|0|" in text


def test_a_corrected_cell_of_a_function_names_the_cell_that_it_replaces(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    put: list[str] = []
    shell.set_next_input = put.append
    reply = "A typo.\n\n```python\n# replaces: def total(prices):\ndef total(prices):\n    return sum(prices)\n```"
    with WireServer(canonical(reply)) as server:
        CometSettings.instance().endpoint = server.url
        Ran(shell, "def total(prices):\n    return sum(price)")
        Ran(shell, "total([1])")
        ran = Ran(shell, "%claude_fix")
    assert put == ['# replaces: "def total(prices):"\ndef total(prices):\n    return sum(prices)']
    assert ran.markdown == (
        "```diff\n@@ -1,2 +1,2 @@\n def total(prices):\n-    return sum(price)\n+    return sum(prices)\n```"
    )
