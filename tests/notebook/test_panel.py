"""The panel without a browser: linked both ways, owner of nothing, silent about the key."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cells import Ran
from traitlets.config import Config
from wire_server import WireServer, canonical, reply

import comet_magic
from comet_magic.errors import ConfigError
from comet_magic.messages import models
from comet_magic.notebook.panel import Panel
from comet_magic.notebook.profile import keep
from comet_magic.settings import CometSettings

SECRET = "sk-test-SECRETSECRET-f3a9"


@pytest.fixture
def settings() -> CometSettings:
    return CometSettings.instance()


def text(box: Any) -> str:
    return str(box.value)


def all_state(panel: Panel) -> str:
    """Everything of the panel that a front end could save."""

    def states(widget: Any) -> list[Any]:
        return [widget.get_state(), *(state for child in getattr(widget, "children", ()) for state in states(child))]

    return json.dumps(states(panel), default=str)


def find(panel: Panel, description: str) -> Any:
    def search(widget: Any) -> Any:
        if getattr(widget, "description", None) == description:
            return widget
        return next((found for child in getattr(widget, "children", ()) if (found := search(child))), None)

    return search(panel)


def test_settings_and_controls_follow_one_another(settings: CometSettings) -> None:
    one, two = Panel(settings), Panel(settings)
    for name, label, value in (
        ("model", "Model", "opus"), ("max_tokens", "Max tokens", 999), ("effort", "Effort", "low"), ("system", "System", "be brief"),
        ("stream", "Stream", False), ("show_usage", "Usage line", False), ("remote_images", "Remote images", True),
        ("endpoint", "Endpoint", "http://127.0.0.1:9"), ("thinking", "Thinking", "adaptive"),
    ):  # fmt: skip
        setattr(settings, name, value)
        assert find(one, label).value == find(two, label).value == value
        settings.reset()
        find(one, label).value = value
        assert getattr(settings, name) == value
        assert find(two, label).value == value
        settings.reset()


def test_temperature_is_sent_only_when_its_switch_is_on(settings: CometSettings) -> None:
    panel = Panel(settings)
    switch, slider = panel._temperature_parts
    assert (switch.value, slider.disabled) == (False, True)
    switch.value = True
    assert settings.temperature == 0.7
    slider.value = 0.2
    assert settings.temperature == 0.2
    settings.temperature = None
    assert switch.value is False


def box_of(panel: Panel, description: str) -> Any:
    from comet_magic.notebook.controls import all_widgets

    return next(one for one in all_widgets(panel) if getattr(one, "description", "") == description)


def test_data_and_money(settings: CometSettings) -> None:
    panel = Panel(settings)
    shares, tokens, budget = (box_of(panel, name) for name in ("Share values", "Table tokens", "Budget $"))
    shares.value, tokens.value = False, 300
    assert (settings.share_values, settings.table_tokens) == (False, 300)
    for typed, meant in (("5", 5.0), ("session=1, day=5", {"session": 1.0, "day": 5.0}), ("$0.5", 0.5), ("", None)):
        budget.value = typed
        assert settings.budget == meant
    settings.budget = {"day": 2}
    assert budget.value == "day=2"
    budget.value = "much"
    assert (budget.value, settings.budget) == ("day=2", {"day": 2})
    assert "is not a budget: a number" in text(panel._message_box)
    budget.value = "-1"
    assert settings.budget == {"day": 2}
    tokens.value = 5
    assert (tokens.value, settings.table_tokens) == (300, 300)


def test_a_thinking_budget(settings: CometSettings) -> None:
    panel = Panel(settings)
    kind, budget = panel._thinking_parts
    kind.value = "budget"
    assert settings.thinking == 1024
    budget.value = 5
    assert settings.thinking == 1024
    assert budget.value == 1024
    assert "at least 1,024" in text(panel._message_box)
    settings.thinking = 3000
    assert (kind.value, budget.value) == ("budget", 3000)


@pytest.mark.parametrize(
    ("model", "thinking"),
    [("claude-opus-5-5", "off"), ("haiku", "adaptive"), ("claude-opus-5", 5000), ("my-own", 2000)],
)
def test_a_way_of_thinking_that_the_model_refuses_is_shown_all_the_same(
    settings: CometSettings, model: str, thinking: str | int
) -> None:
    settings.model, settings.thinking, settings.temperature = model, thinking, 0.5
    one, two = Panel(settings), Panel(settings)
    for panel in (one, two):
        assert panel._thinking_parts[0].value == (thinking if isinstance(thinking, str) else "budget")
    seen: list[Any] = []
    settings.observe(lambda change: seen.append(change["name"]))
    settings.model = "sonnet"
    settings.model = model
    assert seen == ["model", "model"]
    assert settings.thinking == thinking


def test_the_slider_ends_at_the_models_limit(settings: CometSettings) -> None:
    panel = Panel(settings)
    panel._slider.value = 10**panel._slider.max
    assert settings.max_tokens == 128_000


def test_an_alias_that_moves_is_followed(settings: CometSettings) -> None:
    panel = Panel(settings)
    settings.model = "opus"
    settings.aliases = {"opus": "claude-haiku-4-5", "mine": "claude-x"}
    assert "200k context" in text(panel._facts)
    assert "mine" in find(panel, "Model").options


def test_the_key_is_not_looked_up_after_every_cell(settings: CometSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = Panel(settings)
    monkeypatch.setattr("comet_magic.keys.find_kept_key", lambda folder: pytest.fail("looked up"))
    panel.refresh()


def test_a_list_that_echoes_the_key_is_hidden(settings: CometSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    for status in (200, 401):
        with WireServer(reply({"error": {"message": f"bad token {SECRET}"}}, status=status)) as server:
            settings.endpoint = server.url
            panel = Panel(settings)
            find(panel, "Test").click()
            assert "bad token …f3a9" in text(panel._list)
            assert SECRET not in all_state(panel)
        settings.endpoint = "auto"


def test_one_panel_is_shown_again_and_closed_with_the_extension(shell: Any) -> None:
    panel = comet_magic.panel()
    assert comet_magic.panel() is panel
    shell.run_line_magic("unload_ext", "comet_magic")
    assert shell.events.callbacks["post_run_cell"] == []
    assert panel.comm is None
    panel.close()
    shell.run_line_magic("load_ext", "comet_magic")
    assert comet_magic.panel() is not panel


def test_the_slider_has_a_log_scale_and_speaks_in_round_numbers(settings: CometSettings) -> None:
    panel = Panel(settings)
    panel._slider.value = 12_345.6
    assert settings.max_tokens == 12_000
    assert panel._slider.value == 12_000
    settings.max_tokens = 777
    assert round(panel._slider.value) == 777


def test_what_is_out_of_range_is_refused_with_a_sentence(settings: CometSettings) -> None:
    panel = Panel(settings)
    for label, bad, words in (
        ("Max tokens", 0, "max_tokens must be at least 1"),
        ("Max tokens", 500_000, "more than the model&#x27;s 128,000"),
        ("Endpoint", "nonsense", "is not auto"),
        ("Model", " ", "must not be empty"),
    ):
        before = find(panel, label).value
        find(panel, label).value = bad
        assert find(panel, label).value == before
        assert words in text(panel._message_box)
        assert "comet-error" in text(panel._message_box)


def test_controls_follow_what_the_model_takes(settings: CometSettings) -> None:
    panel = Panel(settings)
    switch, _ = panel._temperature_parts
    kind, _ = panel._thinking_parts
    assert "1M context · 128k output · list price $3 in, $15 out" in text(panel._facts)
    assert not switch.disabled
    settings.model = "claude-opus-5-5"
    assert switch.disabled
    assert switch.tooltip == "claude-opus-5-5 refuses a temperature"
    assert kind.options == ("not sent", "adaptive")
    assert "claude-opus-5-5 refuses thinking: off" in kind.tooltip
    settings.model = "my-own"
    assert not switch.disabled
    assert "nothing is known" in text(panel._facts)
    settings.model = "haiku"
    assert "200k context" in text(panel._facts)


def test_names_of_known_models_come_in_many_forms() -> None:
    for name in (
        "claude-sonnet-4-5-20250929",
        "anthropic/claude-sonnet-4-5",
        "claude-sonnet-4-5-20250929-thinking",
        "cometapi-sonnet-4-5-20250929",
    ):
        assert models.known(name) == models.KNOWN["claude-sonnet-4-5"], name
    assert models.known("gpt-4") is None


def test_the_list_of_models_comes_from_the_endpoint(settings: CometSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    with WireServer(reply({"data": [{"id": "claude-x"}]})) as server:
        settings.endpoint = server.url
        assert find(Panel(settings), "Model").options == ("opus", "sonnet", "haiku", "claude-x")
    with WireServer(reply({"error": {"message": "none here"}}, status=404)) as server:
        settings.endpoint = server.url
        assert "none here" in text(Panel(settings)._list)


def test_a_slow_list_does_not_keep_the_kernel_waiting(settings: CometSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    monkeypatch.setattr("comet_magic.notebook.panel.PATIENCE_S", 0.1)
    with WireServer([0.5, *reply({"data": [{"id": "claude-x"}]})]) as server:
        settings.endpoint = server.url
        panel = Panel(settings)
        assert "slow" in text(panel._list)
        deadline = time.monotonic() + 60
        while not panel._models.done() and time.monotonic() < deadline:  # type: ignore[union-attr]
            pass
        panel.refresh()
        assert "claude-x" in find(panel, "Model").options
        assert text(panel._list) == ""
    settings.endpoint = "auto"


def test_without_a_key_it_says_why_there_is_no_list(settings: CometSettings) -> None:
    panel = Panel(settings)
    assert "no key, so no list of models" in text(panel._list)
    settings.endpoint = "local"
    assert "the local model answers" in text(panel._list)
    assert "Key: none" in text(panel._key_status)


def test_a_typed_key_is_used_and_is_in_no_state(settings: CometSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = Panel(settings)
    field = find(panel, "New key")
    sent: list[Any] = []
    monkeypatch.setattr(type(field), "send_state", lambda self, key=None: sent.append((key, self.value)))
    field.set_state({"value": SECRET})
    assert settings.key is not None
    assert settings.key.reveal() == SECRET
    assert "ends …f3a9" in text(panel._key_status)
    assert SECRET not in f"{all_state(panel)}{sent}{vars(field)}"
    assert ("value", "") in sent
    field.set_state({"value": "two words"})
    assert "has a space" in text(panel._result)
    assert "two words" not in text(panel._result)


def test_keeping_a_key(settings: CometSettings) -> None:
    from comet_magic.keys import key_file

    panel = Panel(settings)
    panel._keep_key.value = True
    find(panel, "New key").set_state({"value": SECRET})
    assert key_file().read_text() == SECRET
    assert "kept in" in text(panel._result)


def test_the_test_button_says_what_it_found(settings: CometSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    with WireServer(reply({"data": [{"id": "claude-sonnet-4-6"}]})) as server:
        settings.endpoint = server.url
        panel = Panel(settings)
        find(panel, "Test").click()
        assert "key accepted · claude-sonnet-4-6 is offered" in text(panel._result)
        settings.model = "haiku"
        assert text(panel._result) == ""  # it was of another model
        find(panel, "Test").click()
        assert "warning: claude-haiku-4-5-20251001 is not in its list of 1 models" in text(panel._result)
        server.scripts[:] = [reply({"error": {"message": "bad token"}}, status=401)]
        find(panel, "Test").click()
        assert "401: bad token" in text(panel._result)
        assert "the key was rejected" in text(panel._result)
        server.scripts[:] = [reply({}, status=404)]
        find(panel, "Test").click()
        assert "it has no list of models" in text(panel._result)


def test_the_session_is_counted_after_each_cell(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = comet_magic.panel()
    assert "no replies yet" in text(panel._session)
    with WireServer(canonical()) as server:
        CometSettings.instance().endpoint = server.url
        for _ in range(2):
            Ran(shell, "%%claude\nhi")
    assert "2 replies · 22 in · 10 out · ≈ $0.00022" in text(panel._session)


def test_defaults_are_kept_beside_all_else(settings: CometSettings, tmp_path: Path) -> None:
    path = tmp_path / "ipython_config.json"
    path.write_text('{"InteractiveShell": {"colors": "NoColor"}, "CometSettings": {"model": "old"}}')
    settings.model, settings.max_tokens = "opus", 99
    assert str(path) in keep(settings, tmp_path)
    assert json.loads(path.read_text()) == {
        "InteractiveShell": {"colors": "NoColor"},
        "CometSettings": {"max_tokens": 99, "model": "opus"},
    }
    settings.apply(Config({"CometSettings": {"effort": "low"}}))
    settings.effort = None
    assert str(path) in keep(settings, tmp_path)
    assert json.loads(path.read_text())["CometSettings"]["effort"] is None  # or the other file's would be back
    settings.apply(Config())
    settings.reset()
    keep(settings, tmp_path)
    assert json.loads(path.read_text()) == {"InteractiveShell": {"colors": "NoColor"}}
    path.write_text("{ not json")
    with pytest.raises(ConfigError, match="not saved"):
        keep(settings, tmp_path)
    assert path.read_text() == "{ not json"
    assert [child.name for child in tmp_path.iterdir() if "ipython_config" in child.name] == ["ipython_config.json"]


def test_kept_defaults_are_read_at_the_next_start(nobody_home: Path) -> None:
    import subprocess
    import sys

    code = "%load_ext comet_magic\n%config CometSettings.max_tokens = 99\n%claude_keep\n"
    run = [sys.executable, "-m", "IPython", "--no-banner", "--simple-prompt", "--colors=NoColor"]
    subprocess.run(run, input=code, capture_output=True, text=True, timeout=60, check=True)
    again = "%load_ext comet_magic\n%config CometSettings.max_tokens\n%config CometSettings.max_tokens = 5\n%claude_reset\n%config CometSettings.max_tokens\n"
    done = subprocess.run(run, input=again, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.count("Out[2]: 99") == 1
    assert done.stdout.count("Out[5]: 99") == 1


def test_a_change_from_another_thread_takes_effect_for_the_next_cell(shell: Any) -> None:
    def script(received: Any) -> Any:
        return reply({"data": []}) if received.line.startswith("GET") else [0.4, *canonical()]

    with WireServer(script) as server:
        CometSettings.instance().endpoint = server.url
        panel = comet_magic.panel()
        threading.Timer(0.15, lambda: setattr(find(panel, "Model"), "value", "opus")).start()
        assert Ran(shell, "%%claude\nhi").error is None
        Ran(shell, "%%claude\nhi")
        Ran(shell, "%%claude -m haiku\nhi")
        assert [request.json["model"] for request in server.received if request.body] == [
            "claude-sonnet-4-6", "claude-opus-5", "claude-haiku-4-5-20251001"
        ]  # fmt: skip
    assert find(panel, "Model").value == "opus"


def test_a_terminal_gets_a_table(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", SECRET)
    shown = Ran(shell, "%claude_panel").printed
    for name in CometSettings.class_traits(config=True):
        assert f"%config CometSettings.{name} = …" in shown
    assert "found in COMETAPI_KEY, ends …f3a9" in shown
    assert "SECRETSECRET" not in shown


def test_an_output_is_a_table_and_the_panel(shell: Any) -> None:
    ran = Ran(shell, "import comet_magic\ncomet_magic.panel()")
    (table,) = ran.outputs  # and the panel, where there is a kernel: in the browser's tests
    assert "<table class='comet-settings'>" in table.data["text/html"]
    assert "%config CometSettings.model = …" in table.data["text/plain"]
    assert "key" not in table.data["text/plain"]


def test_every_control_has_a_label_and_a_tooltip(settings: CometSettings) -> None:
    def controls(widget: Any) -> list[Any]:
        return [widget, *(control for child in getattr(widget, "children", ()) for control in controls(child))]

    for control in controls(Panel(settings)):
        if hasattr(control, "disabled") and type(control).__name__ not in ("HTML", "Label"):
            assert control.tooltip, control
            assert control.description or type(control).__name__ in ("FloatSlider", "FloatLogSlider", "IntText")


def test_a_conversation_is_picked_among_those_that_are_kept(shell: Any) -> None:
    panel = comet_magic.panel()
    assert panel._talks.placeholder == "the notebook's own"
    with WireServer(canonical()) as server:
        CometSettings.instance().endpoint = server.url
        Ran(shell, "%%claude -c eda\none")
        assert panel._talks.options == ("eda",)
        panel._talks.value = "eda"
        Ran(shell, "%%claude\ntwo")
        assert len(server.received[-1].json["messages"]) == 3
        panel._talks.value = ""
        Ran(shell, "%%claude\nthree")
        assert len(server.received[-1].json["messages"]) == 1
    assert "3 replies · 33 in · 15 out · ≈ $0.00032" in text(panel._session)


def test_the_panel_says_when_nothing_is_being_kept(shell: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.sqlite").write_bytes(b"no database " * 1000)
    CometSettings.instance().store = str(tmp_path / "bad.sqlite")
    assert "nothing is being stored: " in text(comet_magic.panel()._session)
