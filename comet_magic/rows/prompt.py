"""A prompt about `row`: filled in once for all that names no row, and for each row with what is left.

`{{row.review}}`, `{{row["order id"]}}`, `{{row}}` for all of it, or any expression over it. A row's value is data: it
is never read as a template, and stands in a frame unless it is short and plain.
"""

from __future__ import annotations

import ast
import builtins
import datetime as dt
import json
import keyword
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from types import CodeType
from typing import Any

from ..describe.description import INLINE, Description, Limits, stable_repr
from ..describe.question import QuestionBuilder, value_of
from ..describe.registry import describe
from ..describe.scalars import is_null
from ..describe.template import Reference, pieces
from ..errors import ConfigError
from ..messages.message import Message
from ..messages.tokens import BYTES_A_TOKEN, estimated_tokens
from ..named_tuple import NamedTuple
from ..redaction import REDACTED, is_secret_field
from ..suggestions import did_you_mean
from ..text import exception_text, whole_text

MISSING = "(missing)"
MOST_TOKENS_A_CHARACTER = 3  # as `estimated_tokens` counts
VERSION = b"1"  # of these rules: what another release fills in otherwise is another prompt
_AT_ONCE = (str, int, float, bool)
_PLAIN = (*_AT_ONCE, dt.date, dt.time, dt.timedelta)


class NullField(Exception):
    """A field that the prompt names is missing in this row."""


class RowProblem(Exception):
    """The prompt cannot be filled in for this row; in words."""


class Row:
    """One row in the expressions of a prompt: `row.name`, or `row["name"]`."""

    __slots__ = ("_number", "_part", "_raises")

    def __init__(self, part: Mapping[Any, list[Any]], number: int, *, raises: bool) -> None:
        """part: the values of the columns.        raises: whether a missing value ends the filling in."""
        self._part, self._number, self._raises = part, number, raises

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __getitem__(self, name: Any) -> Any:
        try:
            value = self._part[name][self._number]
        except KeyError:
            raise _no_column(name, self._part) from None
        if is_null(value):
            if self._raises:
                raise NullField(name)
            return MISSING
        return value

    def check(self) -> None:
        """Raises: NullField where all of it is missing, and that ends the filling in."""
        if self._raises and all(is_null(values[self._number]) for values in self._part.values()):
            raise NullField("row")

    def _describe_(self, limits: Limits) -> Description:
        return Description("row", limits.fitted(str(self)))

    def __str__(self) -> str:
        return "\n".join(f"{name}: {_shown(name, values[self._number])}" for name, values in self._part.items())


def _shown(name: Any, value: Any) -> str:
    """Return a value of a whole row: the same in every process, and no secret by its column's name."""
    if is_null(value):
        return MISSING
    if is_secret_field(str(name)):
        return REDACTED
    return stable_repr(value) if isinstance(value, set | frozenset | list | tuple | dict) else str(value)


class NoColumn(ConfigError, AttributeError):
    """The row has no such column; `getattr(row, name, default)` works, too."""


def _spelled(column: Any) -> str:
    """Return how a column of the row is written in a prompt."""
    is_name = isinstance(column, str) and column.isidentifier() and not keyword.iskeyword(column)
    return f"row.{column}" if is_name else f"row[{json.dumps(column, default=str, ensure_ascii=False)}]"


def _no_column(name: Any, columns: Any) -> ConfigError:
    names = [str(column) for column in columns]
    near = did_you_mean(str(name), names)
    if near and (named := next((column for column in columns if near.endswith(f" {column}?")), None)) is not None:
        near = f"; did you mean {_spelled(named)}?"
    has = "" if near else f": the columns are {', '.join(names[:20])}"
    return NoColumn(f"row.{name}: there is no such column{near or has}", "nothing was sent")


class _Piece(NamedTuple):
    """A reference to the row. column: the one that it is, where it is no more than that; None for an expression.

    is_scoped: whether it has a scope of its own, in which names of `eval`'s locals are not seen.
    """

    reference: Reference
    code: CodeType
    column: Any
    is_scoped: bool


class Identity(NamedTuple):
    """What tells the prompt of a row from those of others. length: in characters, as far as they are sent.

    is_cut: whether a value is longer than what is sent of it.
    """

    data: bytes
    length: int
    is_cut: bool


class RowPrompt(NamedTuple):
    """A prompt, as far as it is the same for all rows.

    parts: texts, what stands for values that are no row's, and references to the row, in order.
    columns: those that are named; all where the whole row is.        fixed: a digest of what is the same.
    fixed_tokens: estimated, of that.        fixed_first: tokens of it that stand before the row.
    is_cacheable: whether what stands before the row is a block of its own.
    """

    parts: Sequence[str | tuple[str, list[Description]] | _Piece]
    columns: Sequence[Any]
    scope: dict[str, Any]
    limits: Limits
    fixed: bytes
    fixed_tokens: int
    fixed_first: int
    nulls: str
    is_cacheable: bool = False

    def row(self, part: Mapping[Any, list[Any]], number: int) -> Row:
        return Row(part, number, raises=self.nulls == "skip")

    def _value(self, piece: _Piece, row: Row) -> Any:
        if piece.column is not None:
            return row[piece.column]
        if isinstance(piece.reference.tree.body, ast.Name):  # the whole row
            row.check()
        try:
            if piece.is_scoped:
                return eval(piece.code, {**self.scope, "row": row})
            return eval(piece.code, self.scope, {"row": row})
        except (NullField, ConfigError):
            raise
        except Exception as error:  # the user's expression raises what it likes
            what = f"{piece.reference} raised {type(error).__name__}: {exception_text(error)[:200]}"
            raise RowProblem(self.limits.hide(what)) from error

    def identity(self, row: Row) -> Identity:
        """Return what tells this row's prompt from those of others. Raises: NullField, RowProblem."""
        parts, length, is_cut = [], 0, False
        most = self.limits.text_tokens
        for piece in self.parts:
            if not isinstance(piece, _Piece):
                continue
            value = self._value(piece, row)
            kind = type(value)
            if kind in _AT_ONCE or isinstance(value, _PLAIN):
                text = value if kind is str else str(value)
            else:
                described = self._described(piece, value)
                text = json.dumps([[one.kind, one.text, one.attached] for one in described])
            bound = ""
            if len(text) * MOST_TOKENS_A_CHARACTER > most:  # else it cannot be cut
                bound = f"\0{most}"
                is_cut = is_cut or estimated_tokens(text) > most
            parts.append(f"{len(text)}\0{text}{bound}")
            length += min(len(text), most * BYTES_A_TOKEN)
        return Identity("\0".join(parts).encode("utf-8", "surrogatepass"), length, is_cut)

    def message(self, row: Row) -> Message:
        """Return the question about a row. Raises: NullField, RowProblem."""
        writing, is_begun = QuestionBuilder(self.limits), False
        for part in self.parts:
            if isinstance(part, str):
                writing.text(part)
            elif isinstance(part, _Piece):
                if self.is_cacheable and not is_begun:
                    writing.end_text()
                is_begun = True
                name = part.reference.source
                if name in writing.known:
                    writing.again(name)
                    continue
                for description in self._described(part, self._value(part, row)):
                    writing.add(name, description)
            elif part[0] in writing.known:
                writing.again(part[0])
            else:
                for description in part[1]:
                    writing.add(part[0], description)
        return writing.question().message

    def _described(self, piece: _Piece, value: Any) -> list[Description]:
        is_short = type(value) is str and len(value) * MOST_TOKENS_A_CHARACTER <= self.limits.text_tokens
        if is_short:  # it is never cut
            text = self.limits.hide(whole_text(value))
            is_plain = len(text) <= INLINE and not any(mark in text for mark in "<{\n")
            return [Description("text", text, "", is_value=is_plain)]
        if isinstance(value, Row):  # whose texts are the user's, also where they look like an address in memory
            return [value._describe_(self.limits)]
        try:
            described = describe(value, self.limits)
        except ConfigError as error:
            raise RowProblem(f"{piece.reference}: {error.what}") from error
        return [
            one._replace(is_value=False) if any(mark in one.text for mark in "<{") and type(value) is str else one
            for one in described
        ]


_SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def row_prompt(
    prompt: str, columns: Sequence[Any] | None, namespace: Mapping[str, Any], limits: Limits, nulls: str = "skip"
) -> RowPrompt:  # fmt: skip
    """Fill in what is the same for all rows. columns: of the table; None: it may have any.

    nulls: "skip" or "send", for missing values of columns that are named.
    Raises: ConfigError where it names no row, or a column that is not there; or as `question` does.
    """
    if not limits.share_values:
        raise ConfigError(
            "rows are values, and CometSettings.share_values = False keeps them here",
            "nothing was sent; set it to True",
        )
    scope = {"Path": _path(), **namespace}
    parts: list[str | tuple[str, list[Description]] | _Piece] = []
    for piece in pieces(prompt):
        if isinstance(piece, str):
            parts.append(piece)
        elif "row" in {node.id for node in ast.walk(piece.tree) if isinstance(node, ast.Name)}:
            parts.append(_row_piece(piece, columns, scope))
        else:
            value = value_of(piece, scope)
            try:
                parts.append((piece.source, describe(value, limits)))
            except ConfigError as error:
                raise ConfigError(f"{piece}: {error.what}", error.hint) from error
    of_row = [part for part in parts if isinstance(part, _Piece)]
    if not of_row:
        what = "the prompt names no row, so it would be the same for all of them"
        example = f"{{{{{_spelled(columns[0])}}}}}" if columns else "{{row}}"
        raise ConfigError(what, f"nothing was sent; write {example} where the row's text goes")
    used = [_columns_of(part.reference.tree) for part in of_row]
    named = list(dict.fromkeys(name for names in used for name in names or ()))
    wanted = list(columns or ()) if None in used else named
    fixed = sha256(VERSION)
    sizes = []
    for part in parts:
        if isinstance(part, _Piece):
            sizes.append(-1)
            fixed.update(b"\0row\0" + part.reference.source.encode("utf-8", "surrogatepass"))
            continue
        text = part if isinstance(part, str) else json.dumps([part[0], part[1]])
        sizes.append(estimated_tokens(text))
        fixed.update(b"\0text\0" + text.encode("utf-8", "surrogatepass"))
    first = sizes.index(-1)
    return RowPrompt(
        parts, wanted, scope, limits, fixed.digest(), sum(size for size in sizes if size > 0), sum(sizes[:first]),
        nulls,
    )  # fmt: skip


def _row_piece(piece: Reference, columns: Sequence[Any] | None, scope: Mapping[str, Any]) -> _Piece:
    """Return a reference to the row, whose names and columns are there. Raises: ConfigError."""
    code = _compiled(piece)
    for name in _free_names(piece.tree) - {"row"}:
        if name not in scope and not hasattr(builtins, name):
            near = did_you_mean(name, [*scope, *map(str, columns or ())])
            raise ConfigError(f"{piece}: the name {name!r} is not defined{near}", "nothing was sent")
    for name in _columns_of(piece.tree) or ():
        if columns is not None and name not in columns:
            raise _no_column(name, columns)
    is_scoped = any(isinstance(node, _SCOPES) for node in ast.walk(piece.tree))
    return _Piece(piece, code, _alone(piece.tree), is_scoped)


def _compiled(piece: Reference) -> CodeType:
    """Raises: ConfigError where the expression calls something else `row`, or cannot be compiled."""
    stored = {
        node.id for node in ast.walk(piece.tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    stored |= {node.arg for node in ast.walk(piece.tree) if isinstance(node, ast.arg)}
    if "row" in stored:
        raise ConfigError(f"{piece}: row is the name of the row", "nothing was sent; call yours otherwise")
    try:
        return compile(piece.tree, f"<{piece.source}>", "eval")
    except SyntaxError as error:
        raise ConfigError(f"{piece}: {error.msg}", "nothing was sent") from None


def _path() -> Callable[..., Any]:
    from pathlib import Path

    return Path


def _free_names(tree: ast.AST) -> set[str]:
    """Return the names that an expression looks up, without those that it binds itself."""
    loaded = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return loaded - stored - {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


def _alone(tree: ast.Expression) -> Any:
    """Return the column that an expression is, if it is no more than that; else None."""
    node = tree.body
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Constant):
        return node.slice.value
    return None


def _columns_of(tree: ast.AST) -> set[Any] | None:
    """Return the columns of the row that an expression names; None where it takes the row as a whole."""
    named: set[Any] = set()
    of_columns = 0
    for node in ast.walk(tree):
        inner = node.value if isinstance(node, ast.Attribute | ast.Subscript) else None
        if not isinstance(inner, ast.Name) or inner.id != "row":
            continue
        if isinstance(node, ast.Attribute):
            named.add(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            named.add(node.slice.value)
        else:
            return None
        of_columns += 1
    mentioned = sum(isinstance(node, ast.Name) and node.id == "row" for node in ast.walk(tree))
    return named if of_columns == mentioned else None
