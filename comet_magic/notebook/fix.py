"""`%claude_fix`: the question that goes with a cell that failed: the cell, the error, and what the cell works with."""

from __future__ import annotations

import ast
import builtins
import difflib
import linecache
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Mapping
from numbers import Number
from typing import Any

from ..describe.dependencies import has, home, plain, table_library, type_name
from ..describe.description import CellName, Description, Limits
from ..describe.images import is_picture
from ..describe.question import Question, QuestionBuilder, limits_of
from ..describe.registry import describe
from ..describe.tracebacks import failure, is_users
from ..errors import ConfigError
from ..named_tuple import NamedTuple
from ..redaction import REDACTED, is_secret_name
from ..render.message import quoted
from ..settings import CometSettings
from ..suggestions import did_you_mean, missing
from ..text import clean, lazy_pattern, many
from .executions import Execution, Executions, first_line
from .flags import FIX_FLAGS
from .next_cell import Replaced
from .outline import versions_of

MOST_VARIABLES = 10
MOST_DIFF = 40  # lines of the difference that are shown
MOST_CELLS = 3  # besides the one that failed
REPLACES = "# replaces:"
CARD_TOKENS, TEXT_TOKENS = 600, 2000  # of each variable; there may be many
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
OUTPUT_TOKENS = 500  # of what the cell printed before it failed
TASK = (
    "A cell of my notebook failed. Say the cause first, in a sentence or two. Then give the whole corrected cell in "
    "one ```python block, ready to be run in place of it. Where the mistake is in another cell, such as one that "
    "defines a function, correct that one instead, whole. Begin the block with a comment that names the cell by its "
    f"first line: {REPLACES} <its first line>"
)


class FixLine(NamedTuple):
    """What stands behind `%claude_fix`. cell: the number of the cell that is meant, None for whichever failed last."""

    hint: str
    cell: int | None = None
    dry_run: bool = False

    @classmethod
    def of(cls, line: str) -> FixLine:
        """Read the flags before the hint, and a `--dry-run` behind it. Raises: ConfigError for an unknown flag."""
        cell, dry_run = None, False
        while flag := _FIX_FLAG.match(line):
            cell, dry_run = int(flag[1]) if flag[1] else cell, dry_run or not flag[1]
            line = line[flag.end() :]
        hint, behind, rest = line.rpartition("--dry-run")
        if behind and not rest.strip() and hint.endswith(" "):
            line, dry_run = hint, True
        if wrong := re.match(r"\s*(--\w[\w-]*)", line):
            what = "--cell needs the number of a cell" if wrong[1] == "--cell" else f"unknown flag {wrong[1]}"
            near = "" if wrong[1] == "--cell" else did_you_mean(wrong[1], (*FIX_FLAGS, "--help"))
            raise ConfigError(f"%claude_fix: {what}{near}", "nothing was sent; %claude_fix? shows its flags")
        return cls(line.strip(), cell, dry_run)


_FIX_FLAG = lazy_pattern(r"\s*(?:--dry-run|--cell[ =](\d+))(?:\s+|$)")


class Variable(NamedTuple):
    """name: as it is called in the question: with its function, where it is local to one."""

    name: str
    value: Any


def fix_question(
    failed: Execution, hint: str, settings: CometSettings, namespace: Mapping[str, Any], executions: Executions,
    transform: Callable[[str], str],
) -> Question:  # fmt: skip
    """Return the question about a failed cell. transform: makes Python of a cell with magics in it."""
    assert failed.error is not None
    tree = _parsed(failed.source, transform)
    scope, function, line = _innermost(failed.error, executions.name_of)
    words = set(re.findall(r"\w+", line))
    local = {name: value for name, value in scope.items() if name in words}
    hint, limits = hint.strip(), _limits(settings, executions.name_of, f"{failed.source}\n{line}")
    variables = [
        *(Variable(name, namespace[name]) for name in _names(failed.source, tree) if _is_worth_it(name, namespace)),
        *(Variable(f"{name} (in {function})", local[name]) for name in local if _is_worth_it(name, local)),
    ]
    writing = QuestionBuilder(limits, "what to do, and your hint" if hint else "what to do")
    writing.text(f"{TASK}\n" + (f"{hint}\n" if hint else ""))
    lines = many(len(failed.source.splitlines()), "line")
    writing.add("the failed cell", Description("notebook cell", limits.fitted(failed.source), lines))
    for source in _other_cells(failed, executions):
        lines = many(len(source.splitlines()), "line")
        writing.add("another cell", Description("notebook cell", limits.fitted(source), lines))
    if printed := "\n".join(failed.hidden_texts(limits.hide)).strip("\n"):
        if limits.share_values:
            writing.add("what it printed", Description("output", limits.fitted(printed, OUTPUT_TOKENS)))
    writing.add("error", failure(failed.error, limits).hidden(limits.hide))
    _add_variables(writing, variables[:MOST_VARIABLES], limits)
    if len(variables) > MOST_VARIABLES:
        writing.leave_out(f"{len(variables) - MOST_VARIABLES} of the cell's variables")
    missing_name = missing(failed.error, tree, namespace)
    if function:  # a typo in a function is near to one of its own names, and not to one that is as alike elsewhere
        missing_name = missing(failed.error, _parsed(line, str), scope) or missing_name
        if missing_name and not missing_name.nearest:
            missing_name = missing(failed.error, _parsed(line, str), {**namespace, **scope}) or missing_name
    if missing_name and (limits.share_values or not missing_name.is_data):
        writing.text(limits.hide(f"\nNot there: {missing_name}."))
    homes = [home(variable.value) for variable in variables]
    writing.text(f"\nVersions: {', '.join(_versions(failed.error, tree, namespace, homes))}.")
    return writing.question()


def _limits(settings: CometSettings, cell_name: CellName, about: str) -> Limits:
    limits = limits_of(settings, cell_name)
    return limits._replace(
        table_tokens=min(limits.table_tokens, CARD_TOKENS),
        text_tokens=min(limits.text_tokens, TEXT_TOKENS),
        about=about,
    )


def _other_cells(failed: Execution, executions: Executions) -> list[str]:
    """Return the sources of the other cells that the failure went through, the innermost last."""
    assert failed.error is not None
    names = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(failed.error.__traceback__)]
    sources = [executions.source_of(name) for name in dict.fromkeys(names)]
    return [source for source in sources if source and source.strip() != failed.source.strip()][-MOST_CELLS:]


def _add_variables(writing: QuestionBuilder, variables: list[Variable], limits: Limits) -> None:
    first: dict[int, str] = {}
    short: dict[str, str] = {}  # those that a line is enough for
    for name, value in variables:
        if (same := first.setdefault(id(value), name)) != name:
            short[name] = f"the same as {same}"
            continue
        for description in _described(name.split(" ")[0], value, limits):
            if description.is_inline:
                short[name] = description.text
            else:
                writing.add(name, description)
    if short:
        lines = "\n".join(f"{name} = {value}" for name, value in short.items())
        writing.add("variables", Description("values", lines, ", ".join(short)))


def replacement(code: str, failed: Execution, executions: Executions, hide: Callable[[str], str]) -> Replacement:
    """Return the corrected cell with a comment that names what it replaces, and how it differs from that.

    hide: takes secrets out of what is shown.
    """
    named = _REPLACES.search(code)
    body = code[: named.start()] + code[named.end() :].lstrip("\n") if named else code
    wanted = named[1].strip().strip("\"'`") if named else ""
    sources = [failed.source, *_other_cells(failed, executions)]
    alike = [source for source in sources if wanted and first_line(source).strip('"…').startswith(wanted.rstrip("…"))]
    replaced = alike[0] if alike else failed.source
    comment = f"{REPLACES} {hide(first_line(replaced))}"
    magic, rest = [*body.split("\n", 1), ""][:2] if body.startswith("%%") else ("", body)
    before, after = (hide(source).strip().splitlines() for source in (replaced, body))
    diff = difflib.unified_diff(before, after, n=1, lineterm="")
    return Replacement(
        "\n".join(filter(None, [magic, comment, rest])),
        "\n".join(list(diff)[2:]),
        Replaced(replaced, failed.cell if replaced == failed.source else executions.cell_of(replaced)),
    )


class Replacement(NamedTuple):
    """code: of the new cell.        diff: from the cell that it replaces, which is `former`."""

    code: str
    diff: str
    former: Replaced

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Show how the cell changes."""
        if not self.diff:
            return {"text/plain": "", "text/markdown": ""}
        lines = self.diff.split("\n")
        shown = "\n".join(lines[:MOST_DIFF]) + (f"\n… {len(lines) - MOST_DIFF} more lines" if lines[MOST_DIFF:] else "")
        return {"text/plain": clean(shown), "text/markdown": quoted(clean(shown), "diff")}


_REPLACES = lazy_pattern(r"(?m)^[ \t]*# replaces:[ \t]*(.*)$")


_MAGIC = lazy_pattern(r"%%[^\n]*\n|%\w+(?: +-\S+)* ")  # what a magic such as %%time or %timeit has before the code


def _parsed(source: str, transform: Callable[[str], str]) -> ast.AST | None:
    """Return the syntax tree of a cell; None where it is no Python."""
    source = source.strip()
    magic = _MAGIC.match(source)
    try:
        return ast.parse(transform(source[magic.end() :] if magic else source))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _innermost(error: BaseException, cell_name: CellName) -> tuple[dict[str, Any], str, str]:
    """Return the locals, the function and the failed line of the user's innermost frame; {} and "" in no function."""
    found: tuple[dict[str, Any], str, str] = ({}, "", "")
    for frame, number in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if is_users(code.co_filename, cell_name):
            line = linecache.getline(code.co_filename, number).strip()
            is_local = code.co_name != "<module>" and frame.f_locals is not frame.f_globals
            found = (dict(frame.f_locals), code.co_name, line) if is_local else ({}, "", line)
    return found


def _names(source: str, tree: ast.AST | None) -> list[str]:
    """Return the names that the cell uses, in order, without those that it defines."""
    if tree is None:
        return list(dict.fromkeys(re.findall(r"[^\W\d]\w*", source)))
    defined = {node.name for node in ast.walk(tree) if isinstance(node, _DEFINITIONS)}
    named = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return [name for name in dict.fromkeys(named) if name not in defined]


def _is_worth_it(name: str, scope: Mapping[str, Any]) -> bool:
    """Return whether it has a value that the model cannot know; modules, and what libraries define, it does."""
    if name not in scope or name.startswith("_") or hasattr(builtins, name):
        return False
    value = scope[name]
    # By its class: a proxy may raise when it is asked.
    if issubclass(type(value), types.ModuleType | types.BuiltinFunctionType | types.MethodType | Executions):
        return False
    is_code = issubclass(type(value), type | types.FunctionType)
    return not is_code or value.__module__ in (None, "__main__")


def _described(name: str, value: Any, limits: Limits) -> list[Description]:
    kind = type_name(value)
    if is_secret_name(name) and not (table_library(value) or issubclass(type(value), type | types.FunctionType)):
        return [Description(kind, REDACTED, is_value=True)]
    try:
        if is_picture(value):
            shape = f" of shape {value.shape}" if has(value, "shape", "dtype") else ""
            return [Description(kind, f"({kind}{shape}, not shown)", is_value=True)]
        if not limits.share_values and issubclass(type(plain(value)), Number):
            return [Description(kind, f"({kind}, not shown)", is_value=True)]
        return describe(value, limits)
    except Exception as error:  # noqa: BLE001  # a proxy raises what it likes; the error can be explained without it
        why = error.what if isinstance(error, ConfigError) and limits.share_values else f"{kind}, not shown"
        return [Description(kind, f"({why})", is_value=True).hidden(limits.hide)]


def _versions(error: BaseException, tree: ast.AST | None, scope: Mapping[str, Any], homes: list[str]) -> Iterator[str]:
    """Yield the versions of Python and of the libraries whose modules, values or frames the cell met."""
    yield f"Python {sys.version.split()[0]}"
    used: list[Any] = [scope.get(node.id) for node in ast.walk(tree) if isinstance(node, ast.Name)] if tree else []
    modules = [str(module.__name__) for module in used if issubclass(type(module), types.ModuleType)]
    frames = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    yield from versions_of([*modules, *homes, *frames])
