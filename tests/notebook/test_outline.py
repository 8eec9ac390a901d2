"""What the notebook has, as `{{notebook}}` and the setting `context` tell it: names, and never a value."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from cells import Ran
from wire_server import WireServer, canonical

from comet_magic.settings import CometSettings


@pytest.fixture
def server(serve: Callable[..., WireServer]) -> WireServer:
    return serve(canonical("A reply."))


def sent(server: WireServer) -> str:
    content: Any = server.received[-1].json["messages"][-1]["content"]
    return str(content)


@pytest.fixture
def names(shell: Any) -> dict[str, Any]:
    made = {
        "sales": pd.DataFrame({"city": ["Oslo"], "price": [12345.5]}),
        "lazy": pl.LazyFrame({"a": [1]}),
        "rates": [0.77, 0.88],
        "limit": 98765,
        "who": "Alice",
        "matrix": np.eye(3) * 4321,
        "password": "hunter2",
        "note": "the key is sk-ant-REDACTED-abc123def456",
        "np": np,
    }
    shell.user_ns.update(made)
    Ran(shell, "import pandas as pd\nfrom collections import Counter")
    Ran(shell, "def load(path: str, sep=';secret;', *rest) -> dict:\n    return {}\nclass Shop:\n    rent = 55555")
    return made


def test_names_kinds_columns_signatures_imports_and_versions(
    shell: Any, server: WireServer, names: dict[str, Any]
) -> None:
    Ran(shell, "%%claude\nWhat is there? {{notebook}}")
    text = sent(server)
    for line in (
        "tables:\n- lazy: polars LazyFrame: a\n- sales: pandas DataFrame 1 × 2: city, price\n",
        "- limit: int\n- matrix: numpy ndarray 3 × 3\n- rates: list of 2\n- who: str\n",
        "functions and classes:\n- class Shop\n- load(path: str, sep=…, *rest) -> dict\n",
        "imports:\n- from collections import Counter\n- import numpy as np\n- import pandas as pd\n",
        f"versions: Python {sys.version.split()[0]}, numpy {np.__version__}, pandas {pd.__version__}, polars {pl.__version__}",
    ):
        assert line in text
    values = ("Oslo", "12345", "0.77", "98765", "Alice", "4321", "hunter2", "sk-ant", "secret", "55555")
    assert [value for value in values if value in text] == []
    assert "password" not in text
    assert "note" not in text.split("tables:")[1]
    shell.user_ns["pivoted"] = pd.crosstab(pd.Series(["a", "b"]), pd.Series(["Ann Lee", "Bob Ray"], name="who"))
    shell.user_ns["proxy"] = type("Proxy", (), {"__class__": property(lambda self: 1 / 0)})()
    Ran(shell, "%%claude --alone\n{{notebook}}")
    assert "Ann Lee" not in sent(server)
    assert "pivoted: pandas DataFrame 2 × 2: a pivot table's, which are values" in sent(server)


def test_the_setting_adds_it_to_every_question_and_says_so(
    shell: Any, server: WireServer, names: dict[str, Any]
) -> None:
    Ran(shell, "%%claude\nplain")
    assert sent(server) == "plain"
    CometSettings.instance().context = "notebook"
    ran = Ran(shell, "%%claude\nplain")
    assert sent(server).startswith('<data name="notebook" type="outline of the notebook"')
    assert sent(server).endswith("</data>\nplain")
    assert "sent: your text · notebook (" in ran.plain
    assert "sales: pandas DataFrame" in Ran(shell, "%%claude --dry-run\nplain").plain
    Ran(shell, "%%claude --alone\n{{limit}} {{notebook}}")
    assert sent(server).count("sales: pandas DataFrame") == 1
    assert len(Ran(shell, "%claude_history").result.result._repr_mimebundle_()["text/plain"]) < 1000
    Ran(shell, "%%claude\n")
    assert len(server.received) == 3


def test_its_order_is_not_that_of_the_runs(shell: Any, server: WireServer) -> None:
    Ran(shell, "b = 1; a = 2")
    Ran(shell, "%%claude --alone --fresh\n{{notebook}}")
    first = sent(server)
    Ran(shell, "del b, a; a = 3; b = 4; _hidden = 5")
    Ran(shell, "%%claude --alone --fresh\n{{notebook}}")
    assert sent(server) == first


def test_it_is_bounded(shell: Any, server: WireServer) -> None:
    from comet_magic.messages.tokens import estimated_tokens

    shell.user_ns.update({f"variable_{n}": n for n in range(5000)})
    Ran(shell, "%%claude\n{{notebook}}")
    assert "more\n" in sent(server)
    assert "versions: Python" in sent(server)
    assert estimated_tokens(sent(server)) < 1700


def test_a_name_of_the_user_s_own_wins(shell: Any, server: WireServer) -> None:
    shell.user_ns["notebook"] = "mine"
    Ran(shell, "%%claude\n{{notebook}}")
    assert sent(server).startswith("mine")


def test_references_in_a_function_see_its_names(shell: Any, server: WireServer) -> None:
    Ran(shell, "patient = 'GLOBAL'\nother = 'also global'")
    Ran(shell, "def f(patient):\n    %claude summarise {{patient}} {{other}}\nf('passed')")
    assert sent(server) == "summarise passed also global"
    Ran(
        shell,
        "def g(patient):\n    get_ipython().run_cell_magic('claude', '--alone', 'summarise {{patient}}')\ng('passed')",
    )
    assert sent(server) == "summarise passed"
    Ran(
        shell,
        "def h(a):\n    inner = lambda b: get_ipython().run_line_magic('claude', '{{a}} {{b}}')\n    inner(a + 1)\nh(5)",
    )
    assert "{{a}} raised NameError" in str(server.received) or len(server.received) == 2
    Ran(shell, "%claude {{patient}}")
    assert sent(server) == "GLOBAL"
