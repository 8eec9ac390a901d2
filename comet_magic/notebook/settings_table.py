"""The settings as a table of text, for where there are no widgets: a terminal, a saved notebook."""

from __future__ import annotations

from html import escape

from ..keys import Key
from ..settings import CometSettings

# A widget is not saved with the notebook: without a kernel JupyterLab shows a broken line where it was. So a table goes
# before it, and the page shows whichever of the two it can.
TABLE_STYLE = """<style>
.jp-OutputArea-child:has(.comet-settings):has(+ .jp-OutputArea-child .comet-panel) { display: none; }
.jp-OutputArea-child:has(.comet-settings) + .jp-OutputArea-child:not(:has(.comet-panel)) { display: none; }
</style>"""


def described(key: Key) -> str:
    return f"found in {key.source}, ends {key.hint}"


def key_status(settings: CometSettings) -> str:
    key = settings.key
    return described(key) if key else "none"


def settings_table(settings: CometSettings, key: str = "") -> list[tuple[str, str, str]]:
    """Return (setting, value, the line that changes it); and the key's status, if given."""
    names = settings.trait_names(config=True)
    rows = [(name, repr(getattr(settings, name)), f"%config CometSettings.{name} = …") for name in names]
    return [*rows, ("key", key, "%claude_key")] if key else rows


def plain_table(rows: list[tuple[str, str, str]]) -> str:
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    width = min(wide[1], 48)
    cut_rows = [(name, value if len(value) <= width else f"{value[: width - 1]}…", line) for name, value, line in rows]
    return "\n".join(f"{name:<{wide[0]}}  {value:<{width}}  {line}" for name, value, line in cut_rows)


def html_table(rows: list[tuple[str, str, str]]) -> str:
    left = "<td style='text-align:left'>"
    cells = "".join(
        f"<tr>{left}{escape(name)}</td>{left}<code>{escape(value)}</code></td>{left}<code>{escape(line)}</code></td></tr>"
        for name, value, line in rows
    )
    head = "<tr><th>setting</th><th>value</th><th>change it with</th></tr>"
    return f"{TABLE_STYLE}<table class='comet-settings'><thead>{head}</thead><tbody>{cells}</tbody></table>"
