"""The settings as a table of text, for where there are no widgets: a terminal, a saved notebook."""

from __future__ import annotations

from html import escape

from .settings import CometSettings


def key_status(settings: CometSettings) -> str:
    key = settings.key
    return f"found in {key.source}, ends {key.hint}" if key else "none"


def settings_table(settings: CometSettings) -> list[tuple[str, str, str]]:
    """(setting, value, the line that changes it), and the key's status."""
    rows = [
        (name, repr(getattr(settings, name)), f"%config CometSettings.{name} = …")
        for name in settings.trait_names(config=True)
        if name != "aliases"
    ]
    return [*rows, ("key", key_status(settings), "%claude_key")]


def plain_table(rows: list[tuple[str, str, str]]) -> str:
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{name:<{wide[0]}}  {value:<{min(wide[1], 32)}}  {line}" for name, value, line in rows)


def html_table(rows: list[tuple[str, str, str]]) -> str:
    left = "<td style='text-align:left'>"
    cells = "".join(
        f"<tr>{left}{escape(name)}</td>{left}<code>{escape(value)}</code></td>{left}<code>{escape(line)}</code></td></tr>"
        for name, value, line in rows
    )
    head = "<tr><th>setting</th><th>value</th><th>change it with</th></tr>"
    return f"<table class='comet-settings'><thead>{head}</thead><tbody>{cells}</tbody></table>"
