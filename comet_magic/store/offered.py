"""What endpoints say of their models, as it was when they were asked last."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ..messages.models import OfferedModel
from .connection import Connection, Row
from .database import Store


def keep_offered(store: Store, endpoint: str, models: Iterable[OfferedModel]) -> None:
    """Put these in the place of what was known of that endpoint."""
    now = time.time()
    rows = [(endpoint, *model._replace(dialects=" ".join(sorted(model.dialects))), now) for model in models]  # type: ignore[arg-type]  # as it is stored

    def act(db: Connection) -> None:
        db.execute("DELETE FROM models WHERE endpoint = ?", (endpoint,))
        db.executemany("INSERT OR REPLACE INTO models VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", rows)

    store.write(act, keeps_turns=True)


def find_offered(store: Store, endpoint: str) -> tuple[dict[str, OfferedModel], float]:
    """Return what is known of the endpoint's models, by their ids, and when it was kept; ({}, 0) for nothing."""

    def act(db: Connection) -> list[Row]:
        return db.execute("SELECT * FROM models WHERE endpoint = ?", (endpoint,)).fetchall()

    rows = store.find(act) or []
    at = max((row["at"] for row in rows), default=0.0)
    models = [OfferedModel(*tuple(row)[1:-1]) for row in rows]
    return {model.id: model._replace(dialects=frozenset(str(model.dialects).split())) for model in models if model}, at
