"""`%claude_fix`: the question that goes with a cell that failed: the cell, the error, and what the cell works with."""

from __future__ import annotations

import ast
import builtins
import contextlib
import linecache
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from .cards import Bounds, Description, many, type_name
from .context import Question, Writing, bounds_of
from .describe import describe
from .errors import ConfigError
from .failures import CellName, failure, is_users
from .messages import Message
from .names import missing
from .pictures import is_picture
from .redaction import REDACTED, is_secret_name
from .runs import Run, Runs
from .settings import CometSettings

MOST_VARIABLES = 10
CARD_TOKENS = 600  # of each variable; there may be many
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
TASK = (
    "A cell of my notebook failed. Say the cause first, in a sentence or two. Then give the whole corrected cell in "
    "one ```python block, ready to be run in place of this one."
)


def fix_question(
    failed: Run, hint: str, settings: CometSettings, namespace: Mapping[str, Any], runs: Runs,
    transform: Callable[[str], str],
) -> Question:  # fmt: skip
    """transform: makes Python of a cell with magics in it."""
    assert failed.error is not None
    bounds = bounds_of(settings)
    bounds = replace(
        bounds, table_tokens=min(bounds.table_tokens, CARD_TOKENS), text_tokens=min(bounds.text_tokens, 2000)
    )
    tree = _parsed(transform(failed.source))
    scope = {**namespace, **_locals(failed.error, runs.name_of)}
    hint = hint.strip()
    writing = Writing("what to do, and your hint" if hint else "what to do")
    writing.text(f"{TASK}\n" + (f"{hint}\n" if hint else ""))
    cell = Description("notebook cell", bounds.fitted(failed.source), many(len(failed.source.splitlines()), "line"))
    writing.add(f"In[{failed.number}]", cell)
    writing.add("error", failure(failed.error, bounds, runs.name_of).hidden(bounds.hide))
    names = list(_variables(failed, tree, scope, runs.name_of))
    _add_variables(writing, names[:MOST_VARIABLES], scope, bounds, runs.name_of)
    if len(names) > MOST_VARIABLES:
        writing.leave_out(f"{len(names) - MOST_VARIABLES} of the cell's variables")
    writing.text("".join(f"\n{line}" for line in _facts(failed, tree, scope, names)))
    return writing.question()


def _add_variables(
    writing: Writing, names: list[str], scope: dict[str, Any], bounds: Bounds, cell_name: CellName
) -> None:
    first: dict[int, str] = {}
    short: dict[str, str] = {}  # those that a line is enough for
    for name in names:
        if (same := first.setdefault(id(scope[name]), name)) != name:
            short[name] = f"the same as {same}"
            continue
        for description in _described(name, scope[name], bounds, cell_name):
            if description.is_inline:
                short[name] = description.text
            else:
                writing.add(name, description)
    if short:
        lines = "\n".join(f"{name} = {value}" for name, value in short.items())
        writing.add("variables", Description("values", lines, ", ".join(short)))


def corrected(reply: Message) -> str:
    """The corrected cell of a whole reply; "" if there is none. Of several blocks of Python the longest is meant."""
    blocks = reply.code_blocks if reply.is_whole else []
    python = [code for language, code in blocks if language.lower() in ("", "python", "py", "python3", "ipython")]
    return max(python, key=len, default="").strip("\n")


def _parsed(source: str) -> ast.AST | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def _locals(error: BaseException, cell_name: CellName) -> dict[str, Any]:
    """Of the innermost frame of the user's, as far as the line that failed names them."""
    found: dict[str, Any] = {}
    for frame, line in traceback.walk_tb(error.__traceback__):
        filename = frame.f_code.co_filename
        if is_users(filename, cell_name) and frame.f_code.co_name != "<module>":
            words = set(re.findall(r"\w+", linecache.getline(filename, line)))
            found = {name: value for name, value in frame.f_locals.items() if name in words}
    return found


def _variables(failed: Run, tree: ast.AST | None, scope: dict[str, Any], cell_name: CellName) -> Iterator[str]:
    """What the cell works with, in the order of its text: the names of its own that have a value."""
    assert failed.error is not None
    words = re.findall(r"[^\W\d]\w*", failed.source)  # all of them where it is no Python
    if tree is not None:
        words = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    words += list(_locals(failed.error, cell_name))
    defined = {node.name for node in ast.walk(tree) if isinstance(node, _DEFINITIONS)} if tree else set()
    for name in dict.fromkeys(words):
        if name in defined:  # its source is in the cell
            continue
        if name in scope and not name.startswith("_") and not hasattr(builtins, name) and _is_worth_it(scope[name]):
            yield name


def _is_worth_it(value: Any) -> bool:
    """Whether the model cannot know it: modules, and what libraries define, it does."""
    if isinstance(value, types.ModuleType | Runs):
        return False
    if callable(value) and hasattr(value, "__module__") and isinstance(value, type | types.FunctionType):
        return value.__module__ in (None, "__main__")
    return not isinstance(value, types.BuiltinFunctionType | types.MethodType)


def _described(name: str, value: Any, bounds: Bounds, cell_name: CellName) -> list[Description]:
    if is_secret_name(name) and isinstance(value, str | bytes):
        return [Description(type_name(value), REDACTED, is_value=True)]
    if is_picture(value) or (not bounds.share_values and isinstance(value, str | int | float | complex)):
        return [Description(type_name(value), f"({type_name(value)}, not shown)", is_value=True)]
    try:
        return describe(value, bounds, cell_name)
    except ConfigError as error:  # the error can be explained without it
        return [Description(type_name(value), f"({error.what})", is_value=True)]


def _facts(failed: Run, tree: ast.AST | None, scope: dict[str, Any], names: list[str]) -> Iterator[str]:
    assert failed.error is not None
    found = missing(failed.error, tree, scope)
    if found:
        yield f"Not there: {found}."
    yield f"Versions: {', '.join(_versions(failed, tree, scope, names))}."


def _versions(failed: Run, tree: ast.AST | None, scope: dict[str, Any], names: list[str]) -> Iterator[str]:
    """Of Python, and of the libraries whose modules, values or frames the cell met."""
    yield f"Python {sys.version.split()[0]}"
    assert failed.error is not None
    used = [scope.get(node.id) for node in ast.walk(tree) if isinstance(node, ast.Name)] if tree else []
    homes = [value.__name__ for value in used if isinstance(value, types.ModuleType)]
    homes += [type(scope[name]).__module__ for name in names]
    trace = traceback.walk_tb(failed.error.__traceback__)
    homes += [str(frame.f_globals.get("__name__", "")) for frame, _ in trace]
    for home in dict.fromkeys(home.split(".")[0] for home in homes):
        if home in sys.stdlib_module_names or home in ("__main__", "IPython", "ipykernel", "comet_magic"):
            continue
        with contextlib.suppress(AttributeError):
            yield f"{home} {sys.modules[home].__version__}" if home in sys.modules else home
