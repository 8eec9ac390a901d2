"""A conversation as a table: which cell asked what, what it cost, and whether it still stands."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..conversations import called
from ..errors import ConfigError
from ..exchange.cells import RUN
from ..exchange.following import follow
from ..exchange.session import Session, current
from ..messages.conversation import Turn
from ..messages.framed import unframed
from ..render.table import Table, about, counted
from ..settings import CometSettings
from ..store import conversations, left_out, requests, turns
from ..store.requests import Attempt
from ..suggestions import nearest
from ..text import one_line, shown_path
from .cell import notebook_now
from .forecast import forecast

LONGEST = 60  # characters of a question's first line


def history(settings: CometSettings, name: str, namespace: Mapping[str, Any]) -> Table:
    """Return the turns of a conversation, and the attempts that made none.

    namespace: the user's, in which it is looked up what questions refer to.
    """
    session = current()
    store = session.store(settings)
    session.sweep()
    follow(store, session, name, notebook_now()[0])
    lines = [line for line in forecast(settings, namespace) if line.conversation == name]
    reasons = {line.key: line.forecast.why for line in lines}
    conversation = turns.conversation(store, name)
    stale = {turn.cell for turn in conversation.stale()}
    rows = [
        (
            str(number),
            _cell(session, turn.cell, turn.session, turn.execution),
            first_line(turn.question),
            counted(turn.tokens),
            about(turn.cost_usd),
            _state(turn, reasons.get(turn.cell, ""), is_stale=turn.cell in stale),
        )
        for number, turn in enumerate(conversation.turns, 1)
    ]
    left = {one.cell: one.asks_in for one in left_out.find(store, name)}
    whole = turns.with_left_out(store, name, *left) or conversation
    for turn in [turn for turn in whole.turns if turn.cell in left]:
        asks_in, cell = left[turn.cell], _cell(session, turn.cell, turn.session, turn.execution)
        why = "its cell was deleted" if asks_in is None else f"its cell now asks in {asks_in!r}"
        why = "its cell now asks in no conversation" if asks_in == "" else why
        rows.append(
            ("", cell, first_line(turn.question), counted(turn.tokens), about(turn.cost_usd), f"left out: {why}")
        )
    for attempt in requests.attempts(store, name):
        cell = _cell(session, attempt.cell, attempt.session, attempt.execution)
        state = "in flight" if attempt.state == requests.IN_FLIGHT else f"{attempt.state}: {attempt.why.split(': ')[0]}"
        rows.append(
            ("", cell, first_line(attempt.question.text), counted(attempt.tokens), about(attempt.cost_usd), state)
        )
    notes = [store.problem] if store.problem else []
    if not rows:
        notes.insert(0, "nothing has been asked in it yet")
    head = ("#", "cell", "question", "tokens", "cost", "state")
    return Table(f"Conversation {called(name)}", head, rows, notes)


def all_conversations(settings: CometSettings) -> Table:
    store = current().store(settings)
    rows = [
        (
            summary.name,
            str(summary.turns),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(summary.latest)),
            about(summary.cost_usd),
        )
        for summary in conversations.conversations(store)
    ]
    file = shown_path(store.path)
    where = (
        f"kept in {file}"
        if store.is_file
        else f"read from {file}; nothing is written"
        if store.behind
        else "kept in memory"
    )
    notes = [store.problem or where]
    return Table("Conversations", ("name", "turns", "latest", "cost"), rows, notes)


def existing(settings: CometSettings, name: str) -> None:
    """Check that there is such a conversation. Raises: ConfigError, naming the nearest."""
    names = conversations.names(current().store(settings))
    if name.strip() not in names:
        near = nearest(name, names, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"there is no conversation {name!r}", f"{hint}%claude_history --all lists them")


def to_continue(settings: CometSettings, name: str) -> Attempt | None:
    """Return the latest reply of the conversation that is only a part, and can go on; None if there is none."""
    store = current().store(settings)
    current().sweep()
    parts = [a for a in requests.attempts(store, name) if a.state == requests.PARTIAL]
    parts = [part for part in parts if part.message and part.message.stop_reason in (None, "max_tokens")]
    parts = [part for part in parts if part.message and part.message.text.strip()]
    parts = [part for part in parts if "tools" not in part.parameters]  # a value, or calls, are asked for anew
    return parts[-1] if parts else None


def _state(turn: Turn, why_again: str, *, is_stale: bool) -> str:
    if why_again:
        return f"would be asked again: {why_again}"
    if is_stale:
        return "outdated: it answered an older text"
    return "imported" if turn.request is None and not turn.session else ""


def first_line(text: str) -> str:
    return one_line(unframed(text), LONGEST)


def _cell(session: Session, cell: str, of: str | None, execution: int | None) -> str:
    """Return `[5]` for a cell of this kernel, else what tells it from others."""
    if of == session.id and execution:
        return f"[{execution}]"
    return f"[{execution}] earlier" if cell.startswith(RUN) and execution else cell[:8]
