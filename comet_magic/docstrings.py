"""The docstring of a function or a class, also where Python was told to drop them (`python -OO`, PYTHONOPTIMIZE=2)."""

from __future__ import annotations

import ast
import contextlib
import inspect
import sys
import textwrap
from typing import Any

IS_DROPPED = sys.flags.optimize >= 2


def docstring(thing: Any) -> str:
    """Return it without its indentation, read from the source where it was dropped; "" where there is none."""
    text = inspect.getdoc(thing) or ""
    if text or not IS_DROPPED:
        return text
    with contextlib.suppress(OSError, TypeError, SyntaxError):
        defined = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
        if isinstance(defined, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return ast.get_docstring(defined) or ""
    return ""
