"""What an expression on a magic's line is worth: a type, or tools. The only `eval` of flags."""

from __future__ import annotations

import ast
import typing
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..output.dataframes import need_frame_class
from ..output.typed import OutputType, output_type
from ..suggestions import nearest_to
from ..tools.functions import Tool, query, tools_of


def named(flag: str, text: str, scope: Mapping[str, Any], hint: str) -> Any:
    """Return what an expression on a magic's line is worth. flag: as errors call it.

    Raises: ConfigError, naming the nearest.
    """
    try:
        return eval(compile(text, f"<{flag}>", "eval"), dict(scope))
    except Exception as error:  # the user's expression raises what it likes
        hints = filter(None, [nearest_to(error, None, scope), f"nothing was sent; {hint}"])
        raise ConfigError(f"{flag}: {type(error).__name__}: {error}", "; ".join(hints)) from error


def tools_named(text: str, namespace: Mapping[str, Any], tables: Mapping[str, Any], limit_s: float) -> dict[str, Tool]:
    """Return the tools that `f,g` names. Raises: ConfigError, naming the nearest."""
    hint = "--tools takes functions and tools, as in --tools f,g; in quotes what is more than a name: \"shop['stock']\""
    functions = named(f"--tools {text}", f"({text},)", {"query": query, **namespace}, hint)
    parts = ast.parse(f"({text},)", mode="eval").body
    assert isinstance(parts, ast.Tuple)
    names = [part.id if isinstance(part, ast.Name) else "" for part in parts.elts]
    return tools_of(functions, tables, limit_s, names if len(names) == len(functions) else ())


_OURS = ("Literal", "Annotated", "Any", "Optional", "Union")


def output_type_named(text: str, namespace: Mapping[str, Any]) -> OutputType:
    """Return the type that an expression names, as `list[str]`. Raises: ConfigError, naming the nearest."""
    text = text.strip()
    if text == "DataFrame" and text not in namespace:
        return output_type(need_frame_class(), text)
    scope = {**{name: getattr(typing, name) for name in _OURS}, **namespace}
    return output_type(named(f"--as {text}", text, scope, "--as takes a type, in quotes: --as 'list[str]'"), text)
