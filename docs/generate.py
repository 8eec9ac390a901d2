"""Writes the pages that are read from the code: settings, flags, commands, the Python interface and errors."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import comet_magic
from comet_magic.api.error_replies import _RULES
from comet_magic.notebook import magics
from comet_magic.notebook.flags import parser
from comet_magic.settings import CometSettings

FLAGS = "The text of the cell is the question. Each flag holds for that cell only."
KINDS = {
    "ConfigError": "your input; nothing was sent",
    "TransportError": "the network",
    "APIError": "the endpoint answered with an error",
    "ToolError": "an MCP server, or a tool of it that you called",
    "ReplyError": "the reply is not of the type that was asked for",
}
NOTE = "*This page is written from the code.*"


def write_reference(folder: Path) -> None:
    """Write one Markdown page each for settings, flags, commands, Python and errors."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"settings": settings(), "flags": flags(), "commands": commands(), "python": python(), "errors": errors()}
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text("utf-8") != text:  # an unchanged page is not built again
            path.write_text(text, "utf-8")


def settings() -> str:
    fresh = CometSettings()
    rows = [
        f"| `{name}` | `{_default(trait, fresh)}` | {_cell(trait.help)} |"
        for name, trait in sorted(CometSettings.class_traits(config=True).items())
    ]
    how = (
        'A setting holds for all cells; a flag of a cell beats it. `%config CometSettings.model = "opus"` sets one in'
        ' this kernel, `c.CometSettings.model = "opus"` in `ipython_config.py` for all notebooks, and the variable'
        " `COMET_MAGIC_MODEL` in the kernel's environment, which beats the file. `%claude_panel` shows them all."
    )
    return "\n".join(
        ["# Settings", "", NOTE, "", how, "", "| setting | default | what it does |", "|---|---|---|", *rows, ""]
    )


def _default(trait: Any, fresh: CometSettings) -> str:
    return "{'opus': …}" if trait.name == "aliases" else repr(trait.default(fresh))


def flags() -> str:
    lines = magics.commands()["%%claude"]
    known = [", ".join(f"`{flag}`" for flag in action.option_strings) for action in parser()._actions]
    return "\n".join(
        [
            "# Flags of `%%claude`",
            "",
            NOTE,
            "",
            FLAGS,
            "",
            "```text",
            lines,
            "```",
            "",
            f"All flags: {'; '.join(known)}.",
            "",
        ]
    )


def commands() -> str:
    docs = magics.commands()
    rows = [f"| `{name}` | {_cell(doc.split(chr(10))[0])} |" for name, doc in docs.items()]
    parts = [
        part
        for name, doc in docs.items()
        if name != "%%claude"
        for part in (f"## `{name}`", "", "```text", doc, "```", "")
    ]
    table = ["| command | what it does |", "|---|---|", *rows]
    return "\n".join(
        ["# Commands", "", NOTE, "", "`%claude_help` shows this table in a notebook.", "", *table, "", *parts]
    )


def python() -> str:
    parts = ["# Python", "", NOTE, ""]
    for name in sorted({*comet_magic.__all__, "map"}):
        if name.startswith("_") or name in ("load_ipython_extension", "unload_ipython_extension"):
            continue
        parts += _described(f"comet_magic.{name}", getattr(comet_magic, name), name)
    return "\n".join(parts)


def _described(title: str, value: Any, name: str) -> list[str]:
    if name == "last":
        return [
            f"## `{title}`",
            "",
            "The latest reply of this process, a `Message`, also a partial one; None before the first.",
            "",
        ]
    if name == "last_run":
        from comet_magic.rows.result import Run

        lines = [f"## `{title}`", "", "The latest run over many rows; None before the first.", "", "```text"]
        lines += [inspect.getdoc(Run) or "", ""]
        for member in ("result", "frame", "errors", "usage", "usd", "retry"):
            lines += [member, f"    {(inspect.getdoc(getattr(Run, member)) or '').splitlines()[0]}".rstrip()]
        return [*lines, "```", ""]
    lines = [f"## `{title}`", "", "```text", *_signature(name, value), inspect.getdoc(value) or "", "```", ""]
    if inspect.ismodule(value):
        for member in getattr(value, "__all__", ()):
            function = getattr(value, member, None)
            if inspect.isroutine(function):
                lines += [f"### `{title}.{member}`", "", "```text", *_signature(member, function)]
                lines += [inspect.getdoc(function) or "", "```", ""]
    return lines


def _signature(name: str, value: Any) -> list[str]:
    if inspect.ismodule(value) or not callable(value) or name == "CometSettings":
        return []
    try:
        return [f"{name}{inspect.signature(value)}", ""]
    except (TypeError, ValueError):
        return []


def errors() -> str:
    """Return the errors that the package raises, by their texts, with what to do."""
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in KINDS}
    for path in sorted(Path(comet_magic.__file__).parent.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for kind, what, hint in _raised(function):
                    found[kind].add((what, hint))
    parts = ["# Errors", "", NOTE, "", "… stands for what is inserted.", ""]
    for name, about in KINDS.items():
        rows = [
            f"| {_cell(what)} | {_cell(hint)} |"
            for what, hint in sorted(found[name], key=lambda one: (one[0].lower(), one))
        ]
        if name == "APIError":
            rows += [f"| (the endpoint's words) | {_cell(rule.hint)} |" for rule in _RULES if rule.hint]
        parts += [f"## `{name}`: {about}", "", "| it says | what to do |", "|---|---|", *rows, ""]
    return "\n".join(parts)


def _raised(function: ast.FunctionDef) -> Iterator[tuple[str, str, str]]:
    """Yield the errors that a function makes: the class, what it says, and what to do."""
    named: dict[str, ast.expr] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named.setdefault(node.targets[0].id, node.value)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
            what, hint = (_text(node.args[at], named) if len(node.args) > at else "" for at in (0, 1))
            if what.strip("… "):
                yield node.func.id, what, hint


def _text(node: ast.expr, named: Mapping[str, ast.expr]) -> str:
    """Return the text of an argument, with … for what is not known before it is raised."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, {}) for part in node.values)
    return _text(named[node.id], {}) if isinstance(node, ast.Name) and node.id in named else "…"


def _cell(text: str) -> str:
    """Return a text as a table's cell; what stands between backticks is code already."""
    parts = text.replace("\n", " ").replace("|", "\\|").split("`")
    for at in range(0, len(parts), 2):
        parts[at] = re.sub(r"([<*_\[\\](?!\|))", r"\\\1", parts[at])
    return "`".join(parts)
