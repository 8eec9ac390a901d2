"""What was used and what it cost, reply by reply: sums for the budget and the usage report.

The ledger holds counts and names, no text; pruning leaves it alone.
"""

from __future__ import annotations

import time

from ..named_tuple import NamedTuple
from .connection import Connection, Row
from .database import Store

COLUMNS = {"model": "model", "conversation": "conversation", "day": "date(at, 'unixepoch', 'localtime')"}


class Spent(NamedTuple):
    """usd: of the replies with a known price.        unpriced: how many had none."""

    usd: float = 0.0
    replies: int = 0
    unpriced: int = 0


def spent(store: Store, *, session: str = "", since: float = 0.0) -> Spent:
    """Return what is in the ledger: of that session, if one is named, else since that time."""
    where, value = ("session = ?", session) if session else ("at >= ?", since)

    def act(db: Connection) -> Spent:
        row = db.execute(
            "SELECT coalesce(sum(cost_usd), 0), coalesce(sum(replies), 0),"
            " coalesce(sum(replies * (cost_usd IS NULL)), 0)"
            " FROM ledger WHERE " + where,
            (value,),
        ).fetchone()
        return Spent(*row)

    here, behind = store.read(act), store.look_behind(act) or Spent()
    return Spent(here.usd + behind.usd, here.replies + behind.replies, here.unpriced + behind.unpriced)


def promised_usd(db: Connection, *, payer: str = "", since: float = 0.0) -> float:
    """Return what was spent, and what requests in flight may cost, in one reading.

    payer: the session that pays, for itself and for the children of its process; "" for all since that time.
    """
    mine = "session IN (SELECT id FROM sessions WHERE payer = ?)"
    where, value = (mine, payer) if payer else ("at >= ?", since)
    row = db.execute(
        f"SELECT (SELECT coalesce(sum(cost_usd), 0) FROM ledger WHERE {where}) +"
        " (SELECT coalesce(sum(most_usd), 0) FROM requests INDEXED BY requests_in_flight"
        f" WHERE state = 'in flight' AND {where})",
        (value, value),
    ).fetchone()
    return float(row[0])


def midnight() -> float:
    """Return when today began here, in seconds since 1970."""
    now = time.localtime()
    return time.mktime((now.tm_year, now.tm_mon, now.tm_mday, 0, 0, 0, 0, 0, -1))


class Line(NamedTuple):
    """Sums over some replies. None: not reported by any of them; cost_usd: None where no price was known.

    name: of the model, conversation or day.        unpriced: replies without a price.
    unreported: replies whose output was not reported.
    """

    name: str
    replies: int
    input: int | None
    cached: int | None
    written: int | None
    output: int | None
    cost_usd: float | None
    unpriced: int
    unreported: int

    @property
    def prompt_tokens(self) -> int | None:
        """All tokens of the prompts, cached ones included."""
        return None if self.input is None else self.input + (self.cached or 0) + (self.written or 0)


def lines(store: Store, by: str, *, session: str = "") -> list[Line]:
    """Return the ledger summed by "model", "conversation" or "day"; days in order, the others the dearest first."""
    column = COLUMNS[by]

    def act(db: Connection) -> list[Row]:
        return db.execute(
            f"SELECT {column} AS name, sum(replies) AS replies, sum(input) AS input, sum(cached) AS cached,"
            " sum(written) AS written, sum(output) AS output, sum(cost_usd) AS cost_usd,"
            " sum(replies * (cost_usd IS NULL)) AS unpriced, sum(replies * (output IS NULL)) AS unreported"
            " FROM ledger WHERE ? = '' OR session = ?"
            f" GROUP BY {column} ORDER BY {'name' if by == 'day' else 'cost_usd DESC, replies DESC'}",
            (session, session),
        ).fetchall()

    return [Line(**dict(row)) for row in store.find_all(act)]
