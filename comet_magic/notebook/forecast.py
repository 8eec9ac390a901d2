"""`%claude_forecast`: which questions of the saved notebook Restart & Run All would ask again, why, and for how much.

The notebook's file is read, and the store; nothing is run, and nothing is sent.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from ..describe.changes import YOUR_TEXT, Change, change_since, is_readable
from ..describe.description import Limits, no_cell_name
from ..describe.question import Question, fill, limits_of
from ..describe.template import Reference, pieces
from ..errors import CometError, ConfigError
from ..exchange.cells import Cell, Notebook
from ..exchange.following import follow
from ..exchange.forecast import FAILS, NEVER, Forecast, SavedQuestion, forecast_reply
from ..exchange.plan import Options
from ..exchange.session import Session, current
from ..messages.message import Message
from ..named_tuple import NamedTuple
from ..render.table import Table, about
from ..settings import CometSettings
from ..store import left_out, requests, turns
from ..store.database import Store
from ..store.requests import Attempt
from ..text import dollars, many, one_line
from .cell import current_cell, current_shell, notebook_now
from .executions import current_executions
from .flags import models_named, parse_flags
from .named import output_type_named, tools_named
from .saved_notebook import SavedCell, saved_notebook

LONGEST = 60  # characters of a question that are shown
MOST_NAMED = 6  # questions that the sentence names
_OPTIONS = ("chat", "alone", "new", "fresh", "as_type", "tools", "code", "literal")
_MAGIC = re.compile(r"%%claude(?=\s|$)(.*)")
_AROUND = re.compile(r"%%(?:time|capture)\b")
_CONFIG = re.compile(r"(?m)^[ \t]*%config[ \t]+CometSettings\.(\w+)[ \t]*=(.+)$")
_CELLS = re.compile(r"\{\{\s*cells\[-(\d+)(:)?\]\s*\}\}")
_MUTATED = (ast.Attribute, ast.Subscript)


class Line(NamedTuple):
    """A question of the notebook. cell: the number that its cell will have.        key: in the store.

    conversation: in which it asks, "" for none.
    asks_rows: whether it asks for each row of a table; each is looked up when the cell is run.
    """

    cell: int
    key: str
    text: str
    conversation: str
    forecast: Forecast
    asks_rows: bool = False


class _Written(NamedTuple):
    """A question as it stands in the file. flags: None for a `%claude` line.        key: its cell's, of cells with ids.

    above: the sources of the code cells above it, in order.
    passing: names that cells below it change, so that their values now are not those that it will see.
    """

    text: str
    flags: str | None
    key: str
    above: tuple[str, ...] = ()
    passing: frozenset[str] = frozenset()


def forecast(settings: CometSettings, namespace: Mapping[str, Any]) -> list[Line]:
    """Return the questions of the saved notebook, in order, and what would become of each."""
    notebook, _ = notebook_now()
    saved, session, shell = saved_notebook(notebook.path), current(), current_shell()
    then = settings.at_start()
    walk = _Walk(then, session, notebook, dict(namespace), has_ids=bool(current_cell("").id))
    cells = [cell for cell in saved.cells if cell.kind == "code" and cell.source.strip()]
    cells = [cell for cell in cells if notebook.deleted.get(cell.id, 0.0) <= notebook.saved_at]
    changes = [_changed_names(cell.source, shell) for cell in cells]
    lines: list[Line] = []
    for number, cell in enumerate(cells, 1):
        for name, value in _CONFIG.findall(cell.source):
            _set(then, name, value.strip(), namespace)
        above = tuple(one.source for one in cells[: number - 1])
        passing = frozenset[str]().union(*changes[number:])
        for written in _questions(cell, shell):
            lines.append(Line(number, *walk.line(written._replace(above=above, passing=passing))))
    return lines


def _set(settings: CometSettings, name: str, value: str, namespace: Mapping[str, Any]) -> None:
    """Set what a `%config` line of the notebook will set, where that can be told without running anything."""
    with suppress(Exception):  # what cannot be told stays as it is
        if name in settings.trait_names(config=True):
            tree = ast.parse(value, mode="eval")
            if not any(isinstance(node, ast.Call | ast.Attribute | ast.Await) for node in ast.walk(tree)):
                value_of = eval(compile(tree, "<%config>", "eval"), {"__builtins__": {}}, dict(namespace))
                setattr(settings, name, value_of)


def _python(source: str, shell: Any) -> ast.Module | None:
    """Return what IPython makes of a cell; None where that is no Python."""
    with suppress(Exception):  # transformers are anybody's
        return ast.parse(shell.transform_cell(source) if shell else source)
    return None


def _changed_names(source: str, shell: Any) -> set[str]:
    """Return the names that a cell sets, or changes in place."""
    names: set[str] = set()
    tree = None if source.lstrip().startswith("%%") else _python(source, shell)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif (isinstance(node, _MUTATED) and not isinstance(node.ctx, ast.Load)) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        ):
            names |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    return names


def _questions(cell: SavedCell, shell: Any) -> Iterator[_Written]:
    lines = cell.source.replace("\r\n", "\n").lstrip("\n").split("\n")
    while lines and (_AROUND.match(lines[0]) or not lines[0].strip()):
        lines = lines[1:]
    if lines and (magic := _MAGIC.fullmatch(lines[0])):
        body = "\n".join(lines[1:]).rstrip("\n")
        flags = magic[1].split()
        if body.strip() and not {"-h", "--help", "--dry-run"} & set(flags):
            yield _Written(body, magic[1], cell.id)
    elif lines and not lines[0].startswith("%%") and "%claude" in cell.source:
        for count, text in enumerate(_lines(_python("\n".join(lines), shell)), 1):
            yield _Written(text, None, cell.id if count == 1 else f"{cell.id}/{count}")


def _lines(tree: ast.Module | None) -> Iterator[str]:
    """Yield the texts of a cell's `%claude` lines."""
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "run_line_magic":
            words = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if len(words) == 2 and words[0] == "claude" and words[1].strip() and "--dry-run" not in words[1].split():
                yield words[1]


class _Walk:
    """Goes through the notebook, and knows which conversations will have changed by then."""

    def __init__(
        self, settings: CometSettings, session: Session, notebook: Notebook, namespace: dict[str, Any], *, has_ids: bool
    ) -> None:
        self._settings, self._session, self._notebook = settings, session, notebook
        self._namespace, self._has_ids = namespace, has_ids
        self._has_news: set[str] = set()
        self._back: dict[str, list[str]] = {}  # cells that ask again in a conversation that they had left
        self._used: set[str] = set()
        executions = current_executions()
        self._cell_name = executions.name_of if executions else no_cell_name

    def line(self, written: _Written) -> tuple[str, str, str, Forecast, bool]:
        shown = one_line(written.text, LONGEST)
        try:
            flags = parse_flags(written.flags) if written.flags is not None else {}
            if flags.get("rows"):
                return written.key, shown, "", Forecast(""), True
            question = self._question(written, flags)
        except CometError as error:
            return written.key, shown, "", Forecast(f"{FAILS}{error.what}"), False
        name, store = question.cell.conversation, self._session.store(self._settings)
        if question.options.new:
            self._has_news.discard(name)
        limits = limits_of(self._settings)
        is_after_news = name in self._has_news and self._settings.history_turns > 0
        back = tuple(self._back.get(name, ()))
        forecast = self._forecast(question, limits, is_after_news=is_after_news, also=back)
        if name and (forecast.why or forecast.joins):
            self._has_news.add(name)
        if forecast.returns:
            self._back.setdefault(name, []).append(question.key)
        if question.key:
            self._has_news.update(left_out.leaves(store, question.key, name, self._notebook.path))
        return question.key, shown, name, forecast, False

    def _forecast(self, question: SavedQuestion, limits: Limits, **known: Any) -> Forecast:
        """Return what would become of a question; of one to several models, what of the first that has no reply."""
        models = models_named(question.options.flags)
        if len(models) == 1:
            return forecast_reply(question, limits, self._settings, self._session, **known)
        forecasts = []
        for model in models:
            options = question.options._replace(flags={**question.options.flags, "model": model})
            asked = question.former.parameters.get("model") if question.former else None
            former = question.former if asked == self._settings.model_named(model) else None
            one = question._replace(options=options, former=former, change=question.change if former else "")
            forecast = forecast_reply(one, limits, self._settings, self._session, **known)
            forecasts.append(forecast._replace(why=f"{model}: {forecast.why}") if forecast.why == NEVER else forecast)
        again = [forecast for forecast in forecasts if forecast.why]
        known_usd = [forecast.cost_usd for forecast in again if forecast.cost_usd is not None]
        return (again or forecasts)[0]._replace(cost_usd=sum(known_usd) if known_usd else None)

    def _question(self, written: _Written, flags: Mapping[str, Any]) -> SavedQuestion:
        flags = {name: value for name, value in flags.items() if name not in ("help", "into", "dry_run")}
        given = {name: flags.pop(name, None) for name in _OPTIONS}
        name = "" if given["alone"] else given["chat"] or self._session.conversation_name(self._settings)
        store = self._session.store(self._settings)
        if name:
            follow(store, self._session, name, self._notebook)
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
        former = requests.latest_of(store, key, name, self._notebook.path) if key else None
        change = self._change(written, former, is_text=bool(given["literal"]))
        cell = Cell(name, key.split("/")[0] if self._has_ids else "", None, key, True, notebook=self._notebook)
        return SavedQuestion(
            Question(change.question), options, cell, key, former, change.why, change.is_exact, is_exact
        )

    def _change(self, written: _Written, former: Attempt | None, *, is_text: bool) -> Change:
        """Compare a question with how it was asked, if it was."""
        text = written.text
        if is_text:
            why = YOUR_TEXT if former and former.question.text != text else ""
            return Change(why, Message.user(text), is_exact=True)
        namespace = {name: value for name, value in self._namespace.items() if name not in written.passing}
        if former is None:
            parts = pieces(text)
            if all(is_readable(part, namespace) for part in parts if isinstance(part, Reference)):
                return Change("", fill(parts, text, self._settings, namespace, self._cell_name), is_exact=True)
            return Change("", Message.user(text))
        change = change_since(text, former.question, self._settings, namespace, self._cell_name)
        other = "" if change.why else _other_cells(written, former.question.text)
        return change._replace(why=other, is_exact=False) if other else change

    def _key_of_same(self, store: Store, name: str, text: str) -> str:
        """Return the key of the first turn that asked this, where the cells have no ids in the kernel."""
        for turn in turns.conversation(store, name).turns if name else ():
            if turn.cell not in self._used:
                with suppress(CometError):
                    if not change_since(text, turn.messages[0], self._settings, {}).why:
                        self._used.add(turn.cell)
                        return turn.cell
        return ""


def _other_cells(written: _Written, was: str) -> str:
    """Return, in words, which `{{cells[-1]}}` shows another cell than it did, as far as the cells' first lines tell."""
    for match in _CELLS.finditer(written.text):
        last = int(match[1])
        shown = written.above[-last:] if match[2] else written.above[-last:][:1]
        for source in shown:
            first = next((line.strip() for line in source.splitlines() if line.strip()), "")
            if first not in was:
                return f"`{match[0].strip('{} ')}` changed"
    return ""


def forecast_table(settings: CometSettings, namespace: Mapping[str, Any]) -> Table:
    """Return what `%claude_forecast` shows. Raises: ConfigError where the notebook's file is not known."""
    path = notebook_now()[0].path
    if not path:
        hint = "a forecast needs JupyterLab, Notebook 7 or VS Code"
        raise ConfigError("which file this notebook is in is not known", hint)
    found = forecast(settings, namespace)
    if not found:
        raise ConfigError(f"there is no question in {path}, as it was saved last", "save the notebook first")
    lines, row_cells = [line for line in found if not line.asks_rows], [line.cell for line in found if line.asks_rows]
    asked = [line for line in lines if line.forecast.why]
    rows = [(str(line.cell), line.text, line.forecast.why, about(line.forecast.cost_usd)) for line in asked]
    notes = ["Based on the last saved notebook. Nothing was run, and nothing was sent."]
    if row_cells:
        which = f"Cell {row_cells[0]} asks" if len(row_cells) == 1 else f"Cells {', '.join(map(str, row_cells))} ask"
        notes.append(f"{which} for each row of a table: rows that are in the store are not asked again.")
    said = _sentence(len(lines), asked) if lines else "There is no question but those for each row of a table"
    return Table(said, ("cell", "question", "why", "cost last time"), rows, notes)


def _sentence(count: int, asked: list[Line]) -> str:
    """Return what would happen, in words. asked: the questions that the store would not answer."""
    if not asked:
        all_of_them = "the one question" if count == 1 else f"all {count} questions"
        return f"Restart & Run All would ask nothing again: the store answers {all_of_them}"
    failing = [line for line in asked if line.forecast.why.startswith(FAILS)]
    new = [line for line in asked if line.forecast.why == NEVER]
    again = [line for line in asked if line not in (*failing, *new)]
    known = sum(line.forecast.cost_usd or 0.0 for line in again)
    price = f", ≈ {dollars(known)}" if known else ""
    parts = [f"{len(again)} of {many(count, 'question')} would be asked again{price}: {_named(again)}"] if again else []
    parts += (
        [f"{len(new)} of {many(count, 'question')} would be asked for the first time: {_cells_of(new)}"] if new else []
    )
    parts += [f"{len(failing)} of {many(count, 'question')} would fail: {_named(failing)}"] if failing else []
    return "; ".join(parts)


def _named(lines: list[Line]) -> str:
    named = [f"cell {line.cell}, {line.forecast.why.removeprefix(FAILS)}" for line in lines[:MOST_NAMED]]
    return "; ".join([*named, *([f"and {len(lines) - MOST_NAMED} more"] if len(lines) > MOST_NAMED else [])])


def _cells_of(lines: list[Line]) -> str:
    return f"cell{'s' if len(lines) > 1 else ''} {', '.join(str(line.cell) for line in lines)}"
