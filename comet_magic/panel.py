"""A panel of widgets for the settings: linked both ways to `CometSettings`, and owner of nothing.

A widget's callback may come on another thread, or late: each sets one trait, and a cell reads its settings once, at its
start. The panel itself sends only from the thread that runs cells, for ipykernel 7.4 follows the last sender.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

import ipywidgets as widgets
from traitlets import TraitError

from . import catalog, client, defaults
from .display import current_shell, publish
from .errors import CometError
from .keys import Key, keep, keyring_here
from .overview import html_table, key_status, plain_table, settings_table
from .settings import ALIASES, EFFORTS, SMALLEST_BUDGET, CometSettings

PATIENCE_S = 2.0  # seconds that the list of models may keep the kernel waiting
MOST_TOKENS = 128_000  # the slider's end where the model's own limit is unknown
NOT_SENT = "not sent"
WAYS = ("off", "adaptive", "budget")  # of thinking
LABEL = "7em"
INDENT = "calc(7em + 6px)"  # where the controls begin

STYLE = """<style>
.comet-panel { max-width: 46em; padding: 2px 0 6px; }
.comet-panel h4 { margin: 10px 0 2px; font-size: 12px; font-weight: 600; letter-spacing: .04em;
  text-transform: uppercase; color: var(--jp-ui-font-color2, #777); line-height: 22px;
  border-bottom: 1px solid var(--jp-border-color2, #ddd); }
.comet-panel [role=status] { line-height: 1.35; font-size: 12px; color: var(--jp-ui-font-color2, #777); }
.comet-panel .comet-error { color: var(--jp-error-color1, #c33); }
.comet-panel .widget-html-content { white-space: normal; overflow: visible; }
</style>"""

# A widget is not saved with the notebook: without a kernel JupyterLab shows a broken line where it was. So a table goes
# before it, and the page shows whichever of the two it can.
TABLE_STYLE = """<style>
.jp-OutputArea-child:has(.comet-settings):has(+ .jp-OutputArea-child .comet-panel) { display: none; }
.jp-OutputArea-child:has(.comet-settings) + .jp-OutputArea-child:not(:has(.comet-panel)) { display: none; }
</style>"""


class Panel(widgets.VBox):
    """The panel. Any number of them agree, for they only show `settings`."""

    def __init__(self, settings: CometSettings, profile: Any = None) -> None:
        """profile: the folder where `Keep as my defaults` writes; without it there is no such button."""
        self._settings = settings
        self._profile = profile
        self._shown: dict[str, Callable[[Any], None]] = {}  # how to show a setting's value
        self._showing: set[int] = set()  # threads that are moving controls, which then is no hand's doing
        self._late: list[str] | None = None
        self._facts, self._key_status, self._result, self._session, self._said = (_said() for _ in range(5))
        super().__init__([widgets.HTML(STYLE), *self._rows()])
        self.add_class("comet-panel")
        for name in self._shown:
            self._show(name, getattr(settings, name))
        settings.observe(self._on_setting)
        self._fetch_models()
        self.refresh()

    # ---- what it holds

    def _rows(self) -> list[Any]:
        keeping = [self._button("Keep as my defaults", "Write these settings into your IPython profile", self._keep)]
        reset = self._button("Reset", "Back to how the settings were at the start", self._reset)
        return [
            _heading("Model"),
            self._combo("model", "Model", [*ALIASES, *self._settings.aliases]),
            self._facts,
            self._max_tokens(),
            self._temperature(),
            self._effort(),
            self._thinking(),
            self._system(),
            _heading("Reply"),
            self._switches(("stream", "Stream"), ("show_usage", "Usage line"), ("remote_images", "Remote images")),
            _heading("Endpoint and key"),
            self._combo("endpoint", "Endpoint", ["auto", "cometapi", "local"]),
            self._key_status,
            self._key(),
            _row(
                self._button("Test", "Ask the endpoint something free", lambda: client.check(self._settings)),
                indent=True,
            ),
            self._result,
            _heading("Session"),
            self._session,
            _row(*(keeping if self._profile else []), reset, indent=True),
            self._said,
        ]

    def _combo(self, name: str, label: str, options: list[str]) -> Any:
        box = widgets.Combobox(
            options=tuple(dict.fromkeys(options)), continuous_update=False, description=label, **self._look(name)
        )
        setattr(self, f"_{name}_box", box)
        self._link(name, box)
        return box

    def _effort(self) -> Any:
        box = widgets.Dropdown(options=[NOT_SENT, *EFFORTS], description="Effort", **self._look("effort"))

        def show(value: str | None) -> None:
            box.value = value or NOT_SENT

        def changed(change: dict[str, Any]) -> None:
            self._set("effort", None if change["new"] == NOT_SENT else change["new"])

        self._shown["effort"] = show
        box.observe(changed, "value")
        return box

    def _max_tokens(self) -> Any:
        look = self._look("max_tokens")
        number = widgets.IntText(
            description="Max tokens", continuous_update=False, style=look["style"], tooltip=look["tooltip"]
        )
        number.layout.width = "14em"
        slider = widgets.FloatLogSlider(
            min=0, max=math.log10(MOST_TOKENS), step=0.01, readout=False, tooltip=look["tooltip"]
        )
        slider.continuous_update = False
        slider.layout = widgets.Layout(flex="1 1 8em", min_width="8em")
        self._slider = slider

        def show(value: int) -> None:
            number.value = value
            slider.max = max(slider.max, math.log10(value) + 1e-9)
            if round(slider.value) != value:
                slider.value = value

        def typed(change: dict[str, Any]) -> None:
            most = self._limit()
            if change["new"] > most:
                self._refuse("max_tokens", f"{change['new']:,} is more than the model's {most:,} tokens")
            else:
                self._set("max_tokens", change["new"])

        self._shown["max_tokens"] = show
        number.observe(typed, "value")
        slider.observe(lambda change: self._set("max_tokens", _rounded(change["new"])), "value")
        return _row(number, slider)

    def _temperature(self) -> Any:
        tooltip = self._look("temperature")["tooltip"]
        label = widgets.Label(
            "Temperature", layout=widgets.Layout(width=LABEL, display="flex", justify_content="flex-end")
        )
        switch = widgets.Checkbox(description="send", indent=False, tooltip=tooltip)
        switch.layout = widgets.Layout(width="5em", margin="2px 2px 2px 8px")
        slider = widgets.FloatSlider(value=0.7, min=0, max=1, step=0.05, readout_format=".2f", tooltip=tooltip)
        slider.layout = widgets.Layout(flex="1 1 8em", min_width="8em")
        self._temperature_parts = (switch, slider)

        def show(value: float | None) -> None:
            switch.value = value is not None
            if value is not None:
                slider.value = value
            self._follow_model()

        def changed(_: object) -> None:
            self._set("temperature", slider.value if switch.value else None)

        self._shown["temperature"] = show
        switch.observe(changed, "value")
        slider.observe(lambda change: changed(change) if switch.value else None, "value")
        return _row(label, switch, slider)

    def _thinking(self) -> Any:
        look = self._look("thinking")
        kind = widgets.Dropdown(
            options=[NOT_SENT, *WAYS], description="Thinking", style=look["style"], tooltip=look["tooltip"]
        )
        kind.layout = widgets.Layout(flex="1 1 14em", min_width="14em")
        budget = widgets.IntText(value=SMALLEST_BUDGET, continuous_update=False, tooltip="Budget in tokens")
        budget.layout.width = "6.5em"
        self._thinking_parts = (kind, budget)

        def show(value: str | int | None) -> None:
            kind.value = "budget" if isinstance(value, int) else value or NOT_SENT
            budget.layout.display = None if isinstance(value, int) else "none"
            if isinstance(value, int):
                budget.value = value

        def changed(_: object) -> None:
            values = {NOT_SENT: None, "budget": budget.value}
            self._set("thinking", values.get(kind.value, kind.value))

        self._shown["thinking"] = show
        kind.observe(changed, "value")
        budget.observe(lambda change: changed(change) if kind.value == "budget" else None, "value")
        return _row(kind, budget)

    def _system(self) -> Any:
        box = widgets.Textarea(
            description="System", rows=2, continuous_update=False, placeholder="none is sent", **self._look("system")
        )
        self._link("system", box)
        return box

    def _switches(self, *named: tuple[str, str]) -> Any:
        boxes = []
        for name, label in named:
            box = widgets.Checkbox(description=label, indent=False, tooltip=self._settings.traits()[name].help)
            box.layout = widgets.Layout(width="9.5em")
            self._link(name, box)
            boxes.append(box)
        return _row(*boxes, indent=True)

    def _key(self) -> Any:
        place = "the system keyring" if keyring_here() else "a file that only you can read"
        hidden = HiddenText(self._use_key, description="New key", placeholder="type or paste, then Enter", **_style())
        hidden.tooltip = "Used at once; it is not kept in the notebook"
        hidden.layout = widgets.Layout(flex="1 1 18em", min_width="17em")
        self._keep_key = widgets.Checkbox(description="keep it", indent=False)
        self._keep_key.tooltip = f"In {place}; otherwise the key is forgotten when the kernel ends"
        self._keep_key.layout = widgets.Layout(width="6em")
        return _row(hidden, self._keep_key)

    def _button(self, label: str, tooltip: str, act: Callable[[], str]) -> Any:
        button = widgets.Button(description=label, tooltip=tooltip)
        button.layout.width = "auto"
        out = self._result if label == "Test" else self._said

        def clicked(_: object) -> None:
            try:
                _say(out, act())
            except CometError as error:
                _say(out, str(error), is_error=True)
            self.refresh()

        button.on_click(clicked)
        return button

    def _look(self, name: str) -> dict[str, Any]:
        return {**_style(), "tooltip": self._settings.traits()[name].help, "layout": widgets.Layout(width="auto")}

    # ---- both ways

    def _link(self, name: str, box: Any) -> None:
        def show(value: Any) -> None:
            box.value = value

        self._shown[name] = show
        box.observe(lambda change: self._set(name, change["new"]), "value")

    def _set(self, name: str, value: Any) -> None:
        """A hand moved a control: the setting follows, or the control goes back."""
        if threading.get_ident() in self._showing or value == getattr(self._settings, name):
            return
        try:
            setattr(self._settings, name, value)
            _say(self._said, "")
        except TraitError as error:
            self._refuse(name, str(error).split("\n")[0])

    def _refuse(self, name: str, why: str) -> None:
        old = getattr(self._settings, name)
        self._show(name, old)
        _say(self._said, f"{name} stays {old!r}: {why}", is_error=True)

    def _on_setting(self, change: Any) -> None:
        """The setting moved, whoever moved it: the control follows."""
        self._show(change["name"], change["new"])
        if change["name"] == "model":
            self._follow_model()

    def _show(self, name: str, value: Any) -> None:
        thread = threading.get_ident()
        if name not in self._shown or thread in self._showing:
            return
        self._showing.add(thread)
        try:
            self._shown[name](value)
        finally:
            self._showing.discard(thread)

    # ---- what follows from the model

    def _limit(self) -> int:
        facts = catalog.known(self._settings.model_named(self._settings.model))
        return facts.max_output if facts else 10**9

    def _follow_model(self) -> None:
        model = self._settings.model_named(self._settings.model)
        facts = catalog.known(model)
        alias = f"{model} · " if model != self._settings.model else ""
        _say(self._facts, f"{alias}{facts or 'nothing is known of this model; it can be used all the same'}")
        self._slider.max = math.log10(max(facts.max_output if facts else MOST_TOKENS, self._settings.max_tokens)) + 1e-9
        why = catalog.refusal(model, "temperature")
        switch, slider = self._temperature_parts
        help_text = self._settings.traits()["temperature"].help
        for part in (switch, slider):
            part.tooltip = why or help_text
        switch.disabled = bool(why) and self._settings.temperature is None
        slider.disabled = bool(why) or self._settings.temperature is None
        refused = [text for way in WAYS if (text := catalog.refusal(model, way))]
        self._thinking_parts[0].tooltip = "; ".join(refused) or self._settings.traits()["thinking"].help
        self._offer_thinking(model)

    def _offer_thinking(self, model: str) -> None:
        kind, _ = self._thinking_parts
        now = kind.value
        options = (NOT_SENT, *(way for way in WAYS if way == now or not catalog.refusal(model, way)))
        if tuple(kind.options) != options:
            kind.options = options
            kind.value = now

    def _fetch_models(self) -> None:
        """Fill the list from the endpoint: now if it answers soon, else after a later cell."""
        if not (self._settings.key or self._settings.base_url_variable or "://" in self._settings.endpoint):
            _say(self._result, "no key, so no list of models: any name can be typed")
            return
        failed: list[str] = []

        def fetch() -> None:
            try:
                self._late = sorted(model["id"] for model in client.connect(self._settings).models())
            except CometError as error:
                failed.append(error.what)

        thread = threading.Thread(target=fetch, daemon=True)
        thread.start()
        thread.join(PATIENCE_S)
        if thread.is_alive():
            _say(self._result, "the list of models is slow to come; any name can be typed")
        elif failed:
            _say(self._result, f"no list of models ({failed[0]}); any name can be typed")

    # ---- what buttons do

    def _use_key(self, key: Key) -> None:
        try:
            self._settings.use_key(key)
            place = keep(key) if self._keep_key.value else ""
            _say(self._result, f"kept in {place}" if place else "in use until the kernel ends")
        except CometError as error:
            _say(self._result, str(error), is_error=True)
        self.refresh()

    def _keep(self) -> str:
        return f"kept in {defaults.keep(self._settings, self._profile)}; IPython reads it at the next start"

    def _reset(self) -> str:
        self._settings.reset()
        return "the settings are as they were at the start"

    # ---- what is shown

    def refresh(self, _: object = None) -> None:
        """Show what has changed besides settings: the session, the key, a list of models that came late."""
        if self._late is not None:
            offered, self._late = self._late, None
            self._model_box.options = tuple(dict.fromkeys([*ALIASES, *self._settings.aliases, *offered]))
        _say(self._session, str(client.totals))
        _say(self._key_status, f"Key: {key_status(self._settings)}")
        self._follow_model()

    def close(self) -> None:
        self._settings.unobserve(self._on_setting)
        super().close()

    def _ipython_display_(self) -> None:
        table = settings_table(self._settings)
        publish({"text/html": TABLE_STYLE + html_table(table), "text/plain": plain_table(table)})
        bundle = self._repr_mimebundle_()
        publish({**bundle, "text/plain": ""})


class HiddenText(widgets.Password):
    """A password field whose text never becomes its state: it is taken from the message, and the field is cleared.

    take: gets the key.
    """

    def __init__(self, take: Callable[[Key], None], **options: Any) -> None:
        self._take = take
        super().__init__(continuous_update=False, **options)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """What the page sends. Before ipywidgets would echo it, and keep it."""
        if typed := sync_data.pop("value", ""):
            key = Key(typed, "the panel")
            del typed
            self.send_state("value")  # the empty one that it has
            self._take(key)
        super().set_state(sync_data)


def _said() -> Any:
    box = widgets.HTML()
    box.layout = widgets.Layout(margin=f"0 2px 2px {INDENT}")
    return box


def _say(box: Any, text: str, is_error: bool = False) -> None:
    shown = f'<div class="comet-{"error" if is_error else "said"}" role="status">{escape(text)}</div>' if text else ""
    if box.value != shown:
        box.value = shown
    box.layout.display = None if text else "none"


def _heading(text: str) -> Any:
    return widgets.HTML(f"<h4>{text}</h4>")


def _row(*boxes: Any, indent: bool = False) -> Any:
    margin = f"0 0 0 {INDENT}" if indent else "0"
    return widgets.HBox(boxes, layout=widgets.Layout(flex_flow="row wrap", align_items="center", margin=margin))


def _style() -> dict[str, Any]:
    return {"style": {"description_width": LABEL}}


def _rounded(value: float) -> int:
    """A slider's value to two digits, as a person would have typed it."""
    digits = max(0, int(math.log10(max(value, 1))) - 1)
    return int(max(1, round(value / 10**digits) * 10**digits))


def panel() -> Panel:
    """A panel for the settings, which displays itself; brought up to date after each cell."""
    shell = current_shell()
    if shell is None:
        return Panel(CometSettings.instance())
    shown = Panel(CometSettings.instance(), Path(shell.profile_dir.location))
    shell.events.register("post_run_cell", shown.refresh)
    return shown


class _CallableModule(ModuleType):
    """`comet_magic.panel` is this module, and it is called like the function."""

    def __call__(self) -> Panel:
        return panel()


sys.modules[__name__].__class__ = _CallableModule
