"""Run All is free: the notebook is run in two processes that differ in all that may differ, and asks in the first alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from wire_server import WireServer, canonical

RUN = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for number, (id, source) in enumerate(json.load(open(sys.argv[1]))):
    parent = {"header": {"msg_id": str(number), "msg_type": "execute_request"}, "metadata": {"cellId": id}}
    shell.get_parent = lambda: parent
    shell.run_cell(source, store_history=True)
"""
SETUP = """
import collections, dataclasses, enum, functools, logging, tempfile, threading, traceback, types, warnings
import numpy, pandas as pd, polars as pl, networkx as nx, xarray as xr
import matplotlib; matplotlib.use("agg"); import matplotlib.pyplot as plt
from pathlib import Path
from sklearn.linear_model import LinearRegression

class Thing:
    def __init__(self):
        self.inner, self.names = object(), {"a", "bb", "ccc", "dddd"}
    def method(self):
        return 1

class Tagged(Thing):
    def __repr__(self):
        return f"Tagged({self.names}, {id(self):#x})"

@dataclasses.dataclass
class Record:
    a: object
    b: set

thing, things, tagged = Thing(), [Thing() for _ in range(3)], Tagged()
words = {"alpha", "beta", "gamma", "delta"}
df = pd.DataFrame({"a": range(50), "b": list("xyzuv") * 10, "o": [object() for _ in range(50)]})
sets, grouped, polars = pd.Series([words] * 9), df.groupby("b"), pl.DataFrame({"a": [1, 2]})
lazy, nested = polars.lazy().filter(pl.col("a") > 1), {"k": words, "f": frozenset(words), "o": object()}
graph, array = nx.Graph([("a", "b"), ("b", "c")]), xr.DataArray(numpy.arange(6).reshape(2, 3), dims=("x", "y"))
model, generator, part = LinearRegression().fit([[1], [2]], [1, 2]), (i for i in range(3)), functools.partial(print, words)
record, function, bad = Record(object(), words), lambda v: v, ValueError("at", object(), words)
thread, lock, space = threading.Thread(target=print), threading.Lock(), types.SimpleNamespace(a=object(), s=words)
users, chain, proxy = collections.UserDict(a=words), collections.ChainMap({"a": words}, {}), types.MappingProxyType({"a": words})
folder = Path(tempfile.mkdtemp())
fig, ax = plt.subplots(); _ = ax.plot([1, 2])
"""
NAMES = (
    "thing things tagged words df sets grouped polars lazy nested graph array model generator part record function bad"
    " thread lock space users chain proxy folder fig numpy types thing.method Thing Record vars(thing) nested.items()"
).split()
LAST = [
    "print(thing, words, threading.current_thread().name)\nthing",
    "print(tempfile.mkdtemp()); warnings.warn('careful')",
    "%%time\nsum(range(10**5))",
    "%timeit -n 10 -r 2 sum(range(100))",
    "th = threading.Thread(target=lambda: 1 / 0); th.start(); th.join()",
    "logging.basicConfig(format='%(asctime)s %(message)s', force=True); logging.warning('hi %s', thing)",
    "display({'a': thing}); {'s': words, 't': tagged}",
    "try:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()",
    "open(folder / 'nope')",
    "raise ValueError(f'bad {words}')",
]
QUESTIONS = [
    "1 + 1",
    "print(words)",
    "%%claude --alone\nWhat of {{cells[-2:]}}?",
    *(f"%%claude --alone\nWhat is {{{{{name}}}}}?" for name in NAMES),
    *(cell for last in LAST for cell in (last, "%%claude\nWhat of {{cells[-1]}}?")),
    "%%claude\nWhy {{error}}?",
    "%%claude\n{{plot}} and {{notebook}}?",
    "%claude_fix",
]


@pytest.mark.timeout(300)
def test_every_kind_of_reference_is_the_same_question_in_another_process(tmp_path: Path) -> None:
    """Other hash seeds, counts of executions, addresses, temporary folders, times; and cells inserted above."""
    cells = [
        ("load", "%load_ext comet_magic"),
        ("setup", SETUP),
        *((f"q{at}", one) for at, one in enumerate(QUESTIONS)),
    ]
    above = [(f"above{at}", "1 + 1") for at in range(9)]
    with WireServer(lambda received: canonical(f"answer {len(server.received)}")) as server:
        first = run(tmp_path, "1", cells, server)
        asked = len(server.received)
        assert asked == sum("claude" in cell for cell in QUESTIONS), first[-2000:]
        second = run(tmp_path, "2", [*above, *cells], server)
        again = [received.json["messages"][-1] for received in server.received[asked:]]
        assert again == [], second[-2000:]


def run(folder: Path, seed: str, cells: list[tuple[str, str]], server: WireServer) -> str:
    path = folder / f"cells{seed}.json"
    path.write_text(json.dumps(cells))
    environment = {
        **os.environ, "PYTHONHASHSEED": seed, "COMETAPI_KEY": "sk-test-0123456789abcdef", "MPLBACKEND": "agg",
        "COMET_MAGIC_ENDPOINT": server.url, "JPY_SESSION_NAME": str(folder / "nb.ipynb"),
    }  # fmt: skip
    command = [sys.executable, "-W", "default", "-c", RUN, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    return done.stdout + done.stderr
