"""`%claude_forecast`: which questions of the saved notebook Restart & Run All would ask again, why, and for how much.

The notebook's file is read, and the store; nothing is run, and nothing is sent.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from traitlets import TraitError

from ..describe.changes import change_since, is_readable
from ..describe.question import Question, fill, limits_of
from ..describe.template import Reference, pieces
from ..errors import CometError, ConfigError
from ..exchange.cells import Cell, Notebook
from ..exchange.following import follow
from ..exchange.forecast import Asked, Foreseen, foresee
from ..exchange.plan import Options
from ..exchange.session import Session, current
from ..messages.message import Message
from ..render.table import Table, about
from ..settings import CometSettings
from ..store import requests, turns
from ..store.database import Store
from ..text import dollars, many, one_line
from .cell import current_cell, notebook_now
from .flags import parse_flags
from .named import output_type_named, tools_named
from .saved_notebook import SavedCell, saved_notebook

LONGEST = 60  # characters of a question that are shown
MOST_NAMED = 6  # questions that the sentence names
_OPTIONS = ("chat", "alone", "new", "fresh", "as_type", "tools", "code", "literal")
_MAGIC = re.compile(r"%%claude(?=\s|$)(.*)")
_LINE = re.compile(r"(?m)^%claude[ \t]+(.+)$")
_AROUND = re.compile(r"%%(?:time|capture)\b")
_CONFIG = re.compile(r"(?m)^%config[ \t]+CometSettings\.(\w+)[ \t]*=(.+)$")


class Line(NamedTuple):
    """A question of the notebook. cell: the number that its cell will have.        key: in the store."""

    cell: int
    key: str
    text: str
    foreseen: Foreseen


class _Written(NamedTuple):
    """A question as it stands in the file. flags: None for a `%claude` line."""

    text: str
    flags: str | None
    key: str


def forecast(settings: CometSettings, namespace: Mapping[str, Any]) -> list[Line]:
    """Return the questions of the saved notebook, in order, and what would become of each."""
    notebook, _ = notebook_now()
    saved, session = saved_notebook(notebook.path), current()
    then = settings.at_start()
    has_ids = bool(current_cell("").id)
    seen = _Seen(then, session, notebook, dict(namespace), has_ids=has_ids)
    lines: list[Line] = []
    number = 0
    for cell in saved.cells:
        is_gone = notebook.deleted.get(cell.id, 0.0) > notebook.saved_at
        if cell.kind != "code" or not cell.source.strip() or is_gone:
            continue
        number += 1
        for name, value in _CONFIG.findall(cell.source):
            with suppress(TraitError, ValueError, SyntaxError):
                if name in then.trait_names(config=True):
                    setattr(then, name, ast.literal_eval(value.strip()))
        lines += [Line(number, *seen.line(written)) for written in _questions(cell)]
    return lines


def _questions(cell: SavedCell) -> Iterator[_Written]:
    rows = cell.source.replace("\r\n", "\n").lstrip("\n").split("\n")
    while rows and (_AROUND.match(rows[0]) or not rows[0].strip()):
        rows = rows[1:]
    if rows and (magic := _MAGIC.fullmatch(rows[0])):
        yield _Written("\n".join(rows[1:]), magic[1], cell.id)
    elif not (rows and rows[0].startswith("%%")):
        for count, text in enumerate(_LINE.findall("\n".join(rows)), 1):
            yield _Written(text, None, cell.id if count == 1 else f"{cell.id}/{count}")


class _Seen:
    """What is known while the notebook is gone through: which conversations have news by then."""

    def __init__(
        self, settings: CometSettings, session: Session, notebook: Notebook, namespace: dict[str, Any], *, has_ids: bool
    ) -> None:
        self._settings, self._session, self._notebook = settings, session, notebook
        self._namespace, self._has_ids = namespace, has_ids
        self._has_news: set[str] = set()
        self._used: set[str] = set()

    def line(self, written: _Written) -> tuple[str, str, Foreseen]:
        shown = one_line(written.text, LONGEST)
        try:
            asked = self._asked(written)
        except CometError as error:
            return written.key, shown, Foreseen(f"it would fail: {error.what}")
        name = asked.cell.conversation
        if name:
            follow(self._session.store(self._settings), self._session, name, self._notebook)
        limits = limits_of(self._settings)
        is_after_news = bool(name) and name in self._has_news
        foreseen = foresee(asked, limits, self._settings, self._session, is_after_news=is_after_news)
        if foreseen.why and name:
            self._has_news.add(name)
        return asked.key, shown, foreseen

    def _asked(self, written: _Written) -> Asked:
        flags = parse_flags(written.flags) if written.flags is not None else {}
        flags = {name: value for name, value in flags.items() if name not in ("help", "into", "dry_run")}
        given = {
            name: flags.pop(name, None)
            for name in ("chat", "alone", "new", "fresh", "as_type", "tools", "code", "literal")
        }
        name = "" if given["alone"] else given["chat"] or self._session.conversation_name(self._settings)
        store = self._session.store(self._settings)
        key = written.key if self._has_ids else self._key_of_same(store, name, written.text)
        options = Options(flags, bool(given["new"]), bool(given["fresh"]), makes_cell=bool(given["code"]))
        is_exact = True
        try:
            if given["as_type"]:
                options = options._replace(output=output_type_named(given["as_type"], self._namespace))
            if given["tools"]:
                tools = tools_named(given["tools"], self._namespace, {}, self._settings.tool_timeout_s)
                options = options._replace(tools=tools)
        except ConfigError:  # they come with the cells above
            is_exact = False
        former = requests.latest_of(store, key)
        change, message = "", Message.user(written.text)
        if former and not given["literal"]:
            change, message = change_since(written.text, former.question, self._settings, self._namespace)
        elif not former and not given["literal"]:
            message = self._filled(written.text)
        elif former and former.question.text != written.text:
            change = "your text changed"
        cell = Cell(name, key.split("/")[0] if self._has_ids else "", None, key, True, notebook=self._notebook)
        return Asked(Question(message), options, cell, key, change, is_exact)

    def _filled(self, text: str) -> Message:
        """Return a question with what it refers to, where that can be looked up."""
        parts = pieces(text)
        if all(is_readable(part, self._namespace) for part in parts if isinstance(part, Reference)):
            with suppress(ConfigError):
                return fill(parts, text, self._settings, self._namespace)
        return Message.user(text)

    def _key_of_same(self, store: Store, name: str, text: str) -> str:
        """Return the key of the first turn that asked this, where the cells have no ids in the kernel."""
        for turn in turns.conversation(store, name).turns:
            if turn.cell not in self._used:
                with suppress(CometError):
                    if not change_since(text, turn.messages[0], self._settings, {})[0]:
                        self._used.add(turn.cell)
                        return turn.cell
        return ""


def forecast_table(settings: CometSettings, namespace: Mapping[str, Any]) -> Table:
    """Return what `%claude_forecast` shows. Raises: ConfigError where the notebook's file is not known."""
    lines = forecast(settings, namespace)
    if not lines:
        path = notebook_now()[0].path
        raise ConfigError(
            f"there is no question in {path}, as it was saved last"
            if path
            else "which file this notebook is in is not known",
            "save the notebook first; nothing was sent"
            if path
            else "a forecast needs JupyterLab, Notebook 7 or VS Code",
        )
    again = [line for line in lines if line.foreseen.why]
    costs = [line.foreseen.cost_usd for line in again]
    known = sum(cost for cost in costs if cost is not None)
    rows = [(str(line.cell), line.text, line.foreseen.why, about(line.foreseen.cost_usd)) for line in again]
    notes = ["of the notebook as it was saved last; nothing was run, and nothing was sent"]
    if unknown := costs.count(None):
        notes.append(f"{many(unknown, 'question')} without a known price")
    return Table(_sentence(len(lines), again, known), ("cell", "question", "why", "cost last time"), rows, notes)


def _sentence(count: int, again: list[Line], usd: float) -> str:
    if not again:
        all_of_them = "the one question" if count == 1 else f"all {count} questions"
        return f"Restart & Run All would ask nothing again: the store answers {all_of_them}"
    named = [f"cell {line.cell}, {line.foreseen.why}" for line in again[:MOST_NAMED]]
    named += [f"and {len(again) - MOST_NAMED} more"] if len(again) > MOST_NAMED else []
    price = f", ≈ {dollars(usd)}" if usd else ""
    return f"{len(again)} of {many(count, 'question')} would be asked again{price}: {'; '.join(named)}"
