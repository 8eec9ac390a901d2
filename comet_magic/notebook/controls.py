"""The parts that the panel is made of: rows, headings, messages, and a field whose text is never kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from ..keys import Key

LABEL = "7em"
INDENT = "calc(7em + 6px)"  # where the controls begin


class HiddenText(widgets.Password):
    """A password field whose text never becomes its state: it is taken from the message, and the field is cleared.

    take: gets the key.
    """

    def __init__(self, take: Callable[[Key], None], **options: Any) -> None:
        self._take = take
        super().__init__(continuous_update=False, **options)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page sends, before ipywidgets would echo it and keep it."""
        if typed := sync_data.pop("value", ""):
            key = Key(typed, "the panel")
            del typed
            self.send_state("value")  # the empty one that it has
            self._take(key)
        super().set_state(sync_data)


def message_box() -> Any:
    box = widgets.HTML()
    box.layout = widgets.Layout(margin=f"0 2px 2px {INDENT}")
    return box


def say(box: Any, text: str, is_error: bool = False) -> None:
    lines = "<br>".join(map(escape, text.split("\n")))
    content = f'<div class="comet-{"error" if is_error else "said"}" role="status">{lines}</div>' if text else ""
    if box.value != content:
        box.value = content
    box.layout.display = None if text else "none"


def heading(text: str) -> Any:
    return widgets.HTML(f"<h4>{text}</h4>")


def all_widgets(widget: Any) -> list[Any]:
    return [widget, *(inner for child in getattr(widget, "children", ()) for inner in all_widgets(child))]


def row(*boxes: Any, indent: bool = False) -> Any:
    margin = f"0 0 0 {INDENT}" if indent else "0"
    return widgets.HBox(boxes, layout=widgets.Layout(flex_flow="row wrap", align_items="center", margin=margin))


def label_style() -> dict[str, Any]:
    return {"style": {"description_width": LABEL}}


def rounded(value: float) -> int:
    """Return a slider's value to two digits, as a person would have typed it."""
    digits = max(0, int(math.log10(max(value, 1))) - 1)
    return int(max(1, round(value / 10**digits) * 10**digits))
