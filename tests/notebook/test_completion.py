"""Tab in prompts: what a real kernel offers, and that other cells are offered what they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels import Kernel
from wire_server import WireServer, canonical

import comet_magic
from comet_magic.describe.template import Reference, open_expression, pieces
from comet_magic.errors import ConfigError

SET_UP = """%load_ext comet_magic
import pandas as pd
import polars as pl
from pathlib import Path
sales = pd.DataFrame({"city": ["Oslo"], "price": [10.5], "unit price": [1]})
salmon = pl.DataFrame({"weight": [1]})
odd = pd.DataFrame({"price [EUR]": [1], 'say "hi"': [2], "it's": [3]})
class Proxy:
    __class__ = property(lambda self: 1 / 0)
proxy = Proxy()
by_key = {"key one": 1, "other": 2}
class Order: pass
def orders(): pass"""
NAMES = ["sales", "salmon"]
IN_PROMPTS = {
    # Within an open {{, also behind an apostrophe.
    "It isn't {{sal": NAMES,
    "{{ sal": NAMES,
    "{{sales}} isn't {{sal": NAMES,
    "{{\n  sal": NAMES,
    "{{max(\n\n  sal": NAMES,
    "{{ {'a': {'b': sal": NAMES,
    "It's {{sales.pri": ["price"],
    "It's {{sales[\"c": ["city"],
    "{{by_key['k": ["key one"],
    # Columns in a text that a table's method is given.
    "What's {{sales.query(\"pr": ["price"],
    "{{sales.query('price > 3 and ci": ["city"],
    "{{sales.query('`un": ["`unit price`"],
    "{{sales.query('un": ["`unit price`"],
    "{{sales.groupby(['ci": ["city"],
    "{{sales.dropna().sort_values(by='un": ["unit price"],
    "{{salmon.select('we": ["weight"],
    '{{odd.groupby("pr': ["price [EUR]"],
    '{{odd.query("pr': ["`price [EUR]`"],
    "{{odd.groupby('sa": ['say "hi"'],
    '{{odd.groupby("it': ["it's"],
    "{{odd.groupby('it": [],
    # The prompt's own words; files, where they are meant.
    "{{cel": ["cells"],
    "{{sales.to_csv('/et": ["/etc/"],
    # Prose.
    "": [],
    "sal": [],
    "It isn't sal": [],
    r"\{{sal": [],
    "{{sales}} and sal": [],
    '{{sales["price"]}} and sal': [],
    "{{ {'a': {'b': 1}}}} sal": [],
    "{{ what?\n\nsal": [],
    "{{it's\nsal": [],
    "{{%ti": [],
}
ON_LINES = {
    "%%claude --mo": ["--model"],
    "%%claude -m op": ["opus"],
    "%%claude --model=op": ["--model=opus"],
    "%%claude --effort ": ["high", "low", "max", "medium", "xhigh"],
    "%%claude --as Or": ["Order"],
    "%%claude --as Da": ["DataFrame"],
    "%%claude --as 'list[Or": ["'list[Order"],
    "%%claude --tools orders,qu": ["orders,query"],
    "%%claude --tools o": ["orders"],
    "%%claude -o sal": NAMES,
    "%%claude -m zz": [],
    "%%claude --rows sal": NAMES,
    "%%claude --nulls s": ["send", "skip"],
    "%%claude -s 'You are ": [],
    '%%claude --as "dict[str, Or': ['"dict[str, Order'],
    "%claude_continue --ch": ["--chat"],
    "%claude_forget --": ["--everything"],
    "%%claude -t ": [],
    "%%time\n%%claude --mo": ["--model"],
    "%claude_history --fo": ["--forget", "--fork"],
    "%claude_usage --": ["--all"],
    "%claude_key sal": [],
    "%claude what of sal": [],
    "%claude what of {{sal": NAMES,
    "answer = %claude what of {{sales.ci": ["city"],
    "%claude_fix it was sal": [],
    "%claude_fix --": ["--cell", "--dry-run"],
}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    home = str(tmp_path_factory.mktemp("home"))
    kernel = Kernel(HOME=home, IPYTHONDIR=home, XDG_DATA_HOME=home, JPY_SESSION_NAME="")
    kernel.run(SET_UP)
    yield kernel
    kernel.close()


def offered(kernel: Kernel, code: str) -> list[str]:
    """What a front end would list; the text that it would replace ends at the cursor."""
    content = kernel.client.complete(code, reply=True, timeout=20)["content"]
    assert content["cursor_end"] == len(code) or not content["matches"]
    return sorted(content["matches"])


@pytest.mark.parametrize("body", IN_PROMPTS)
def test_in_a_prompt(kernel: Kernel, body: str) -> None:
    assert offered(kernel, f"%%claude -m opus\n{body}") == IN_PROMPTS[body]


@pytest.mark.parametrize("line", ON_LINES)
def test_on_a_magics_line(kernel: Kernel, line: str) -> None:
    assert offered(kernel, line) == ON_LINES[line]


def test_of_a_literal_prompt_nothing_is_filled_in(kernel: Kernel) -> None:
    assert offered(kernel, "%%claude --literal\n{{sal") == []
    assert offered(kernel, "%%claude -s 'say --literal'\n{{sal") == NAMES


def test_a_row_has_the_columns_of_the_table_that_is_named(kernel: Kernel) -> None:
    head = "%%claude --rows sales -o out\n"
    assert offered(kernel, head + "Is it {{row.") == ["city", "price"]
    assert offered(kernel, head + "It isn't {{row.ci") == ["city"]
    assert offered(kernel, head + '{{row["un') == ["unit price"]
    assert offered(kernel, head + "{{ro") == ["round", "row"]
    assert offered(kernel, head + "row.ci") == []
    assert offered(kernel, "%%claude\n{{row.ci") == []


def test_what_replaces_what(kernel: Kernel) -> None:
    """The word alone is replaced, by characters: an emoji before it is one."""
    code = "%%claude\n🐟 isn't {{sales.query('price > 3 and ci"
    content = kernel.client.complete(code, reply=True, timeout=20)["content"]
    assert code[content["cursor_start"] : content["cursor_end"]] == "ci"
    behind = kernel.client.complete("%%claude\n{{sal}} and more", 14, reply=True, timeout=20)["content"]
    assert (behind["matches"], behind["cursor_start"]) == (NAMES, 11)


ORDINARY = [
    "sal",
    "sales.pri",
    "'%%claude'\nsal",
    "%%time\nsal",
    "%%html\nsal",
    "x = '{{sal",
    "%tim",
    "%%claudette\nsal",
]


def test_other_cells_are_offered_what_they_were(kernel: Kernel) -> None:
    with_us = {code: offered(kernel, code) for code in ORDINARY}
    assert with_us["sal"] == NAMES
    kernel.run("%unload_ext comet_magic")
    assert {code: offered(kernel, code) for code in ORDINARY} == with_us
    assert "sales" in offered(kernel, "%%claude\nsal")
    kernel.run("%load_ext comet_magic")
    assert offered(kernel, "%%claude\nsal") == []


def test_conversations_and_models_of_the_endpoint(shell: Any) -> None:
    with WireServer(canonical()) as server:
        comet_magic.CometSettings.instance().endpoint = server.url
        comet_magic.ask("hi", chat="eda of sales")
    shell.magics_manager.registry["CometMagics"].offered = ["claude-x"]

    def tab(line: str) -> list[str]:
        from IPython.core.completer import provisionalcompleter

        with provisionalcompleter():
            return [one.text for one in shell.Completer.completions(line, len(line))]

    assert tab("%%claude -c ") == tab("%claude_history --chat ") == ["'eda of sales'"]
    assert tab("%%claude -m cl") == ["claude-x"]


@given(st.lists(st.sampled_from(["{{", "}}", "{", "}", "(", ")", "'", '"', "\\", "a", ".b", "[", "]", " ", "\n", ","])))
def test_what_is_closed_is_not_open(parts: list[str]) -> None:
    """Behind a prompt that ends in a reference, or in a text without braces, nothing is open."""
    prompt = "".join(parts)
    try:
        found = pieces(f"{prompt}{{{{sales}}}}")
    except ConfigError:
        return
    if isinstance(found[-1], Reference) and found[-1].source == "sales":
        assert open_expression(f"{prompt}{{{{sales}}}}") is None
        inner = open_expression(f"{prompt}{{{{sales")
        assert inner is not None
        assert inner.source == "sales"


def test_a_hostile_prompt_takes_no_time() -> None:
    """None of these is looked through more than once or so."""
    for text in (
        "{{" * 50_000,
        "{{ (" * 20_000,
        "{{'" * 30_000,
        "{{" + "a" * 100_000,
        "{{sales.query('" + "(" * 50_000,
    ):
        open_expression(text)
    assert open_expression("{{a}} " * 20_000 + "{{sal") is not None


def test_paths_and_names_with_spaces(shell: Any, nobody_home: Any) -> None:
    from comet_magic import conversations
    from comet_magic.notebook.flag_completion import line_completions

    (nobody_home / "exports").mkdir()
    (nobody_home / "exports" / "my talk.json").write_text(
        '[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]'
    )
    (nobody_home / "exports" / ".hidden.json").write_text("")
    (nobody_home / 'q"x.json').write_text("")
    Path("~/my talk.json").expanduser().write_text("")
    conversations.load(nobody_home / "exports" / "my talk.json", "all/Trip to Bergen")
    magics = shell.magics_manager.registry["CometMagics"]
    for before, word, offered in (
        (["%claude_history", "--import"], "exp", ["exports/"]), (["%claude_history", "--import"], "exports/", ['"exports/my talk.json']),
        (["%claude_history", "--import"], '"exports/my', ['"exports/my talk.json']), (["%claude_history", "--import"], "exports/.h", ["exports/.hidden.json"]),
        (["%claude_history", "--export"], "nothing/x", []), (["%claude_history", "-c"], "al", ["'all/Trip to Bergen'"]),
        (["%claude_history"], "--import=exp", ["--import=exports/"]), (["%claude_history"], "--chat=al", ["--chat='all/Trip to Bergen'"]),
        (["%claude_history", "--import"], "~/my", ['"~/my talk.json']), (["%claude_history", "--import"], "q", ["'q\"x.json"]),
        (["%claude_history", "-c"], '"all/Tr', ["'all/Trip to Bergen'"]), (["%%claude", "-c"], "x", []),
    ):  # fmt: skip
        assert line_completions(before, word, magics) == offered, word
