"""What was used and what it cost: by model, by conversation, by day, as tables that display themselves."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any

from ..api.billing import find_billing
from ..api.client import connect, plain_transport
from ..api.endpoint import find_endpoint
from ..conversations import called
from ..errors import CometError
from ..exchange.session import current
from ..render.table import Table, about, counted
from ..settings import CometSettings
from ..store import ledger
from ..store.ledger import Line
from ..text import dollars

PARTS = tuple(ledger.COLUMNS)


class UsageReport:
    """`lines` by "model", "conversation" and "day"; `frame` is a DataFrame of all, if pandas is there.

    over: "this session" or "all time".
    """

    def __init__(self, lines: dict[str, list[Line]], over: str, notes: list[str]) -> None:
        self.lines = lines
        self.over = over
        self._notes = notes

    @property
    def frame(self) -> Any:
        """One row a line: `by`, then the fields of `Line`. Raises: ImportError without pandas."""
        import pandas

        return pandas.DataFrame([{"by": by, **line._asdict()} for by, lines in self.lines.items() for line in lines])

    def tables(self) -> list[Table]:
        tables = [_table(by, lines) for by, lines in self.lines.items() if lines]
        if not tables:
            return [Table(f"Usage, {self.over}", (), [], ["no replies yet", *self._notes])]
        tables[0] = Table(f"Usage, {self.over}", tables[0].head, tables[0].rows)
        tables[-1].notes.extend(self._notes)
        return tables

    def plot(self) -> Any:
        """Spend by day as a small matplotlib figure; None without matplotlib, or with nothing to show."""
        days = [line for line in self.lines["day"] if line.cost_usd]
        if len(days) < 2 or find_spec("matplotlib") is None:
            return None
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 1.8), layout="constrained")
        axes = figure.subplots()
        axes.bar([line.name for line in days[-31:]], [line.cost_usd or 0 for line in days[-31:]])
        axes.set_ylabel("≈ US$ a day")
        axes.tick_params(axis="x", labelrotation=45, labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        return figure

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables()))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        markdown = "\n\n".join(table.to_markdown() for table in self.tables())
        if figure := self.plot():
            markdown += f"\n\n![spend by day](data:image/png;base64,{_png(figure)})"
        return {"text/markdown": markdown, "text/plain": str(self)}


def _png(figure: Any) -> str:
    from base64 import b64encode
    from io import BytesIO

    file = BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return b64encode(file.getvalue()).decode()


def usage(settings: CometSettings, *, all_time: bool = False) -> UsageReport:
    """Return what this session has used, or all sessions that the store knows of."""
    session = current()
    store = session.store(settings)
    of = "" if all_time else session.id
    lines = {by: ledger.lines(store, by, session=of) for by in PARTS}
    money = "≈: estimated by the list price, the endpoint's published price, or yours; the bill is what counts"
    notes = [money] if any(line.cost_usd for line in lines["model"]) else []
    if session.totals.replayed and not all_time:
        notes.insert(0, f"and {session.totals.replayed:,} replayed, at no cost")
    if bill := gateway_note(settings):
        notes.append(bill)
    if store.problem:
        notes.append(store.problem)
    return UsageReport(lines, "all time" if all_time else "this session", notes)


def gateway_note(settings: CometSettings) -> str:
    """Return what the gateway says was spent, beside our estimate since the first such answer; "" for nothing."""
    try:
        endpoint = find_endpoint(settings, offline=True)
        if endpoint.local_model is not None or endpoint.key is None:
            return ""
        bill = find_billing(connect(settings)._replace(transport=plain_transport()))
    except CometError:
        return ""
    if bill is None:
        return ""
    session, now = current(), time.time()
    ours = session.totals.usd
    at, theirs, before = session.first_bill = session.first_bill or (now, bill.spent_usd, ours)
    since = ""
    if at < now and ours > before:
        clock = time.strftime("%H:%M", time.localtime(at))
        theirs = max(round(bill.spent_usd - theirs, 6), 0)
        since = f"; since {clock}: {dollars(theirs)}, and the estimate is {about(ours - before)}"
    return f"the gateway says of this key's account: {bill}{since}"


def _table(by: str, lines: list[Line]) -> Table:
    has_cache = any(line.cached for line in lines)
    head = (by, "replies", "in", *(["cached"] if has_cache else []), "out", "cost")
    rows = [
        (
            called(line.name) if by == "conversation" else line.name,
            f"{line.replies:,}",
            counted(line.prompt_tokens),
            *([counted(line.cached)] if has_cache else []),
            counted(line.output) + (f" + {line.unreported} not reported" if line.unreported else ""),
            _cost(line),
        )
        for line in lines
    ]
    return Table(f"by {by}", head, rows)


def _cost(line: Line) -> str:
    if line.cost_usd is None:
        return ""
    rest = f" + {line.unpriced} without a price" if line.unpriced else ""
    return about(line.cost_usd) + rest
