"""A panel of widgets for the settings: linked both ways to `CometSettings`, and owner of nothing.

A widget's callback may come on another thread, or late: each sets one trait, and a cell reads its settings once, at its
start. What comes from neither a hand nor a cell, the list of models, is shown after a cell, on the thread that ran it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from traitlets import TraitError

from .. import conversations
from ..api import client
from ..background import in_background
from ..errors import CometError
from ..exchange import session
from ..exchange.offered import known_model, list_models
from ..keys import Key, keep, keyring_here
from ..messages import models
from ..settings import ALIASES, EFFORTS, SMALLEST_BUDGET, CometSettings
from . import profile
from .cell import current_shell
from .controls import LABEL, HiddenText, all_widgets, heading, label_style, message_box, rounded, row, say
from .display import publish
from .settings_table import described, html_table, key_status, plain_table, settings_table

PATIENCE_S = 2.0  # seconds that the list of models may keep the kernel waiting
MOST_TOKENS = 128_000  # the slider's end where the model's own limit is unknown
NOT_SENT = "not sent"
WAYS = ("off", "adaptive", "budget")  # of thinking


class Panel(widgets.VBox):
    """The panel. Any number of them agree, for they only show `settings`."""

    def __init__(self, settings: CometSettings, profile: Any = None) -> None:
        """profile: the folder where `Keep as my defaults` writes; without it there is no such button."""
        self._settings = settings
        self._profile = profile
        self._controls: dict[str, Callable[[Any], None]] = {}  # how to show a setting's value
        self._showing: set[int] = set()  # threads that are moving controls, which then is no hand's doing
        self._models: Future[list[str]] | None = None  # until it is shown
        self._kept_key = ""
        self.release: Callable[[], None] = lambda: None  # lets go of the shell
        self._facts, self._list, self._key_status, self._result, self._session, self._message_box = (
            message_box() for _ in range(6)
        )
        super().__init__(
            [widgets.HTML(f"<style>{Path(__file__).with_suffix('.css').read_text('utf-8')}</style>"), *self._rows()]
        )
        self.add_class("comet-panel")
        with self._moving():
            for name in self._controls:
                self._controls[name](getattr(settings, name))
        settings.observe(self._on_setting)
        self.look_again()

    # ---- what it holds

    def _rows(self) -> list[Any]:
        test = self._button("Test", "Ask the endpoint something free", self._test, self._result)
        tooltip = "Back to the settings that you have saved, or else to the package's"
        buttons = [self._button("Reset", tooltip, self._reset, self._message_box)]
        if self._profile:
            tooltip = "Use these settings in all notebooks from their next start on"
            buttons.insert(0, self._button("Save for all notebooks", tooltip, self._keep, self._message_box))
        self._model_box = self._combo("model", "Model", self._aliases())
        self._talks = self._combo("conversation", "Conversation", [])
        self._talks.placeholder = "the notebook's own"
        return [
            heading("Model"),
            self._model_box,
            self._facts,
            self._list,
            self._max_tokens(),
            self._temperature(),
            self._effort(),
            self._thinking(),
            self._system(),
            heading("Reply"),
            self._switches(("stream", "Stream"), ("show_usage", "Usage line"), ("remote_images", "Remote images")),
            heading("Data and money"),
            self._switches(("share_values", "Share values")),
            self._number("table_tokens", "Table tokens"),
            self._budget(),
            heading("Endpoint and key"),
            self._combo("endpoint", "Endpoint", ["auto", "cometapi", "local"]),
            self._key_status,
            self._key(),
            row(test, indent=True),
            self._result,
            heading("Session"),
            self._talks,
            self._session,
            row(*buttons, indent=True),
            self._message_box,
        ]

    def _combo(self, name: str, label: str, options: list[str]) -> Any:
        box = widgets.Combobox(options=options, continuous_update=False, description=label, **self._look(name))
        self._link(name, box)
        return box

    def _effort(self) -> Any:
        box = widgets.Dropdown(options=[NOT_SENT, *EFFORTS], description="Effort", **self._look("effort"))

        def show(value: str | None) -> None:
            box.value = value or NOT_SENT

        def changed(change: dict[str, Any]) -> None:
            self._set("effort", None if change["new"] == NOT_SENT else change["new"])

        self._controls["effort"] = show
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

        self._controls["max_tokens"] = show
        number.observe(typed, "value")
        slider.observe(lambda change: self._set("max_tokens", min(rounded(change["new"]), self._limit())), "value")
        return row(number, slider)

    def _number(self, name: str, label: str) -> Any:
        look = self._look(name)
        box = widgets.IntText(description=label, continuous_update=False, style=look["style"], tooltip=look["tooltip"])
        box.layout.width = "14em"
        self._link(name, box)
        return box

    def _budget(self) -> Any:
        look = self._look("budget")
        box = widgets.Text(
            description="Budget $", continuous_update=False, style=look["style"], tooltip=look["tooltip"],
            placeholder="none; a number, or session=1, day=5",
        )  # fmt: skip
        box.layout = look["layout"]

        def show(value: object) -> None:
            box.value = _budget_text(value)

        def typed(change: dict[str, Any]) -> None:
            try:
                self._set("budget", _budget_of(change["new"]))
            except ValueError:
                self._refuse("budget", f"{change['new']!r} is not a budget: a number, or session=1, day=5")

        self._controls["budget"] = show
        box.observe(typed, "value")
        return box

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

        self._controls["temperature"] = show
        switch.observe(changed, "value")
        slider.observe(lambda change: changed(change) if switch.value else None, "value")
        return row(label, switch, slider)

    def _thinking(self) -> Any:
        look = self._look("thinking")
        kind = widgets.Dropdown(
            options=[NOT_SENT, *WAYS], description="Thinking", style=look["style"], tooltip=look["tooltip"]
        )
        kind.layout = widgets.Layout(flex="1 1 14em", min_width="14em")
        budget = widgets.IntText(
            value=SMALLEST_BUDGET, description="tokens", continuous_update=False, tooltip=look["tooltip"]
        )
        budget.style.description_width = "4em"
        budget.layout.width = "11em"
        self._thinking_parts = (kind, budget)

        def show(value: str | int | None) -> None:
            model = self._settings.model_named(self._settings.model)
            now = "budget" if isinstance(value, int) else value or NOT_SENT
            options = (NOT_SENT, *(mode for mode in WAYS if mode == now or not models.refusal(model, mode)))
            if tuple(kind.options) != options:
                kind.options = options
            kind.value = now
            budget.layout.display = None if isinstance(value, int) else "none"
            if isinstance(value, int):
                budget.value = value

        def changed(_: object) -> None:
            values = {NOT_SENT: None, "budget": budget.value}
            self._set("thinking", values.get(kind.value, kind.value))

        self._controls["thinking"] = show
        kind.observe(changed, "value")
        budget.observe(lambda change: changed(change) if kind.value == "budget" else None, "value")
        return row(kind, budget)

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
        return row(*boxes, indent=True)

    def _key(self) -> Any:
        where = "the system keyring" if keyring_here() else "a file that only you can read"
        hidden = HiddenText(
            self._use_key, description="New key", placeholder="type or paste, then Enter", **label_style()
        )
        hidden.tooltip = "Used at once; it is not saved in the notebook"
        hidden.layout = widgets.Layout(flex="1 1 18em", min_width="17em")
        self._keep_key = widgets.Checkbox(description="keep it", indent=False)
        self._keep_key.tooltip = f"In {where}; otherwise the key is forgotten when the kernel ends"
        self._keep_key.layout = widgets.Layout(width="6em")
        return row(hidden, self._keep_key)

    def _button(self, label: str, tooltip: str, act: Callable[[], str], out: Any) -> Any:
        """Return a button. act: what a click does; what it returns, or how it failed, goes to `out`."""
        button = widgets.Button(description=label, tooltip=tooltip)
        button.layout.width = "auto"

        def clicked(_: object) -> None:
            try:
                say(out, act())
            except CometError as error:
                say(out, str(error), is_error=True)
            self._look_up_key()
            self.refresh()

        button.on_click(clicked)
        return button

    def _look(self, name: str) -> dict[str, Any]:
        return {**label_style(), "tooltip": self._settings.traits()[name].help, "layout": widgets.Layout(width="auto")}

    # ---- both ways

    def _link(self, name: str, box: Any) -> None:
        def show(value: Any) -> None:
            box.value = value

        self._controls[name] = show
        box.observe(lambda change: self._set(name, change["new"]), "value")

    def _set(self, name: str, value: Any) -> None:
        """Let the setting follow the control that a user moved, or move the control back."""
        if threading.get_ident() in self._showing or value == getattr(self._settings, name):
            return
        try:
            setattr(self._settings, name, value)
            self._show(name, getattr(self._settings, name))
            say(self._message_box, "")
        except TraitError as error:
            self._refuse(name, str(error).split("\n")[0])

    def _refuse(self, name: str, why: str) -> None:
        old = getattr(self._settings, name)
        self._show(name, old)
        say(self._message_box, f"{name} stays {old!r}: {why}", is_error=True)

    def _on_setting(self, change: Any) -> None:
        """Let the control follow the setting, whoever changed it."""
        self._show(change["name"], change["new"])
        if change["name"] in ("model", "aliases", "endpoint"):
            say(self._result, "")  # the test was of another one
        if change["name"] in ("model", "aliases"):
            with self._moving():
                self._offer(self._model_box.options)
                self._follow_model()
        elif change["name"] == "endpoint":
            self._fetch_models()
            self.refresh()

    def _show(self, name: str, value: Any) -> None:
        if name in self._controls:
            with self._moving():
                self._controls[name](value)

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Treat changes of controls on this thread as ours, not the user's, until the block ends."""
        thread = threading.get_ident()
        if thread in self._showing:
            yield
            return
        self._showing.add(thread)
        try:
            yield
        finally:
            self._showing.discard(thread)

    def _aliases(self) -> list[str]:
        return list({**ALIASES, **self._settings.aliases})

    def _offer(self, models: Iterable[str]) -> None:
        self._model_box.options = tuple(dict.fromkeys([*self._aliases(), *models]))

    # ---- what follows from the model

    def _limit(self) -> int:
        facts = models.known(self._settings.model_named(self._settings.model))
        return facts.max_output if facts else 10**9

    def _follow_model(self) -> None:
        model = self._settings.model_named(self._settings.model)
        facts = models.known(model)
        listed = known_model(self._settings, session.current(), model)
        alias = f"{model} · " if model != self._settings.model else ""
        say(self._facts, f"{alias}{_facts(facts, listed)}")
        self._controls["thinking"](self._settings.thinking)
        self._slider.max = math.log10(max(facts.max_output if facts else MOST_TOKENS, self._settings.max_tokens)) + 1e-9
        why = models.refusal(model, "temperature")
        switch, slider = self._temperature_parts
        help_text = self._settings.traits()["temperature"].help
        for part in (switch, slider):
            part.tooltip = why or help_text
        switch.disabled = bool(why) and self._settings.temperature is None
        slider.disabled = bool(why) or self._settings.temperature is None
        refused = [text for mode in WAYS if (text := models.refusal(model, mode))]
        self._thinking_parts[0].tooltip = "; ".join(refused) or self._settings.traits()["thinking"].help

    def _fetch_models(self) -> None:
        """Ask the endpoint for its list: shown now if it comes soon, else after a later cell."""
        name = self._settings.endpoint
        self._models = None  # an older question's answer would be another endpoint's
        if name == "local":
            say(self._list, "the local model answers, whatever name is set")
        elif name in ("auto", "cometapi") and not (self._settings.key or self._settings.base_url_variable):
            say(self._list, "no key, so no list of models: any name can be typed")
        else:
            self._models = in_background(lambda: offered_models(self._settings))
            if wait([self._models], PATIENCE_S).not_done:
                say(self._list, "the list of models is slow to come; any name can be typed")

    # ---- what buttons do

    def _use_key(self, key: Key) -> None:
        try:
            self._settings.use_key(key)
            where = keep(key) if self._keep_key.value else ""
            say(self._result, f"kept in {where}" if where else "in use until the kernel ends")
        except CometError as error:
            say(self._result, str(error), is_error=True)
        self.look_again()

    def _test(self) -> str:
        return client.check(self._settings)

    def _keep(self) -> str:
        return profile.keep(self._settings, self._profile)

    def _reset(self) -> str:
        return profile.reset(self._settings)

    # ---- what is shown

    def look_again(self) -> None:
        """Look up what a cell does not change: the key that is kept somewhere, the endpoint's models."""
        self._look_up_key()
        with self._moving():
            self._follow_model()
        self._fetch_models()
        self.refresh()

    def _look_up_key(self) -> None:
        self._kept_key = key_status(self._settings)

    def refresh(self, _: object = None) -> None:
        """Show what has changed besides settings: the session, the key, a list of models that came late."""
        if self._models and self._models.done():
            names, why_none = _listed(self._models)
            self._offer(names)
            say(self._list, why_none)
            with self._moving():
                self._follow_model()
            self._models = None
        with self._moving():
            self._talks.options = tuple(conversations.names())
        say(self._session, "\n".join(filter(None, [str(session.current().totals), session.current().problem])))
        at_hand = self._settings.key_at_hand
        say(self._key_status, f"Key: {described(at_hand) if at_hand else self._kept_key}")

    def shows(self, settings: CometSettings) -> bool:
        return self._settings is settings

    def close(self) -> None:
        """Take the panel from every page, and let go of what it follows."""
        if self.comm is None:
            return
        self._settings.unobserve(self._on_setting)
        self.release()
        for widget in all_widgets(self):
            widgets.Widget.close(widget)

    def __repr__(self) -> str:
        return "Panel()"

    def _ipython_display_(self) -> None:
        table = settings_table(self._settings)
        publish({"text/html": html_table(table), "text/plain": plain_table(table)})
        if hasattr(current_shell(), "kernel"):
            publish({**self._repr_mimebundle_(), "text/plain": ""})


def _facts(facts: models.KnownModel | None, listed: models.OfferedModel | None) -> str:
    """Return what is known of a model, in words: of a Claude, the provider says it; of others, the endpoint's list."""
    ends = f" · shuts down {listed.shuts_down}" if facts and listed and listed.shuts_down else ""
    if facts:
        return f"{facts}{ends}"
    said = str(listed or "")
    return said if said not in ("", "chat") else "nothing is known of this model; it can be used all the same"


def offered_models(settings: CometSettings) -> list[str]:
    """Return the names of the models in the endpoint's list. Raises: CometError."""
    return sorted(list_models(settings, session.current()))


def _listed(models: Future[list[str]]) -> tuple[list[str], str]:
    """Return the names, and why there are none, in words."""
    why = "the endpoint's list of models is empty"
    try:
        if names := models.result():
            return names, ""
    except CometError as error:
        why = f"no list of models ({error.what})"
    except Exception as error:  # noqa: BLE001  # nobody else would hear of it
        why = f"no list of models ({type(error).__name__})"
    return [], f"{why}; any name can be typed"


_open: Panel | None = None  # one for each process: however often it is displayed, its views agree


def panel() -> Panel:
    """Return the panel for the settings, which displays itself; brought up to date after each cell."""
    global _open
    settings, shell = CometSettings.instance(), current_shell()
    if _open is not None and _open.comm is not None and _open.shows(settings):
        _open.look_again()
        return _open
    close_panel()
    _open = Panel(settings, Path(shell.profile_dir.location) if shell else None)
    if shell:
        shell.events.register("post_run_cell", _open.refresh)
        _open.release = partial(shell.events.unregister, "post_run_cell", _open.refresh)
    return _open


def close_panel() -> None:
    global _open
    if _open is not None:
        _open.close()
        _open = None


def _budget_text(value: Any) -> str:
    if not isinstance(value, dict):
        return "" if value is None else f"{value:g}"
    return ", ".join(f"{span}={usd:g}" for span, usd in value.items())


def _budget_of(text: str) -> Any:
    """Return the budget that `5`, or `session=1, day=5`, means. Raises: ValueError."""
    text = text.strip().lstrip("$")
    if not text or "=" not in text:
        return float(text) if text else None
    return {name.strip(): float(usd) for name, _, usd in (part.partition("=") for part in text.split(","))}
