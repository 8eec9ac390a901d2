"""An analyst's day: questions about data, some of them again, cells inserted, deleted, moved; and Restart & Run All."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kernels import Kernel, Ran
from wire_server import WireServer, canonical

MORNING = {
    "load": "%load_ext comet_magic\nimport pandas as pd, matplotlib.pyplot as plt",
    "data": "sales = pd.DataFrame({'city': ['Oslo', 'Bergen', 'Oslo'], 'n': [3, 5, 8]})",
    "q1": "%%claude\nWhat is in {{sales}}?",
    "look": "print(sales.n.sum()); sales.groupby('city').n.sum()",
    "q2": "%%claude\nDoes {{cells[-1]}} say which city sells most?",
    "plot": "fig, ax = plt.subplots(); ax.plot(sales.n); fig",
    "q3": "%%claude\nDescribe {{fig}} beside {{sales.n}}.",
    "fail": "try:\n    sales['price']\nexcept KeyError as error:\n    failed = error",
    "q4": "%%claude\nWhy {{failed}}?",
    "rate": "def rate(n):\n    return n / sales.n.sum()",
    "q5": "%%claude\nIs {{rate}} right for {{set(sales.city)}}?",
    "q6": "%%claude --alone\nSum up {{sales.describe()}}.",
    "q7": "%%claude -c names\nA name for {{sales.columns.tolist()}}?",
    "q8": "%%claude\nWhat comes next, of {{[object(), rate]}}?",
}
FALSE = ("answered what was here before", "deleted cell", "run it again", "would be asked again")


class Day:
    """The notebook on the screen, and the kernel behind it."""

    def __init__(self, path: Path, server: WireServer) -> None:
        self.path, self.server = path, server
        self.cells = dict(MORNING)
        self.deleted: list[str] = []
        self.start()

    def start(self) -> None:
        self.kernel = Kernel(
            COMETAPI_KEY="sk-test-0123456789abcdef", COMET_MAGIC_ENDPOINT=self.server.url, MPLBACKEND="agg",
            JPY_SESSION_NAME=str(self.path),
        )  # fmt: skip

    def run(self, id: str, code: str = "") -> Ran:
        ran = self.kernel.until_idle(self.kernel.send(code or self.cells[id], id, deleted=tuple(self.deleted)))
        self.deleted.clear()
        assert not ran.error
        return ran

    def run_all(self) -> dict[str, str]:
        """What each question shows."""
        return {id: ran.plain for id in self.cells if (ran := self.run(id)) and id.startswith("q")}

    def restart_and_run_all(self) -> dict[str, str]:
        self.kernel.close()
        self.start()
        return self.run_all()

    def put(self, id: str, source: str, at: int) -> None:
        cells = list(self.cells.items())
        self.cells = dict([*cells[:at], (id, source), *cells[at:]])

    def delete(self, id: str) -> str:
        self.deleted.append(id)
        return self.cells.pop(id)

    def save(self) -> None:
        cells: list[dict[str, Any]] = [
            {"id": id, "cell_type": "code", "source": source, "outputs": [], "metadata": {}, "execution_count": None}
            for id, source in self.cells.items()
        ]
        self.path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))

    def foreseen(self) -> str:
        return self.run("forecast", "%claude_forecast").result


@pytest.mark.timeout(300)
def test_an_analysts_day(nobody_home: Path) -> None:
    with WireServer(lambda received: canonical(f"answer {len(server.received)}")) as server:
        day = Day(nobody_home / "day.ipynb", server)
        try:
            day.save()
            day.run_all()
            assert len(server.received) == 8
            assert "would ask nothing again: the store answers all 8 questions" in day.foreseen()
            day.restart_and_run_all()
            assert len(server.received) == 8

            day.cells["q2"] = "%%claude\nWhich city sells most, by {{cells[-1]}}?"
            day.save()
            day.run("look")
            assert "“Describe {{fig}} beside" in day.run("q2").plain  # it answered what was here before
            for id in ("q3", "q4", "q5", "q8"):
                day.run(id)
            assert len(server.received) == 13

            day.put("x", "x = 1", 2)
            day.put("q9", "%%claude\nAnd in winter?", 6)
            day.delete("q4")
            moved = day.cells.pop("q8")
            day.put("q8", moved, 11)
            day.save()
            said = day.foreseen()
            assert "; 1 of 8 questions would be asked for the first time: cell 7\n" in said
            before = len(server.received)
            for id in ("q9", "q3", "q8", "q5"):
                day.run(id)
            assert len(server.received) == before + 4
            assert "would ask nothing again" in day.foreseen()

            before = len(server.received)
            shown = day.restart_and_run_all()
            assert len(server.received) == before
            assert list(shown) == ["q1", "q2", "q9", "q3", "q8", "q5", "q6", "q7"]
            assert all("replayed from" in text for text in shown.values())
            assert [text for text in shown.values() for word in FALSE if word in text] == []
            assert {text.split("\n")[0] for text in shown.values()} == {
                f"answer {n}" for n in (1, 6, 7, 9, 14, 15, 16, 17)
            }
        finally:
            day.kernel.close()
