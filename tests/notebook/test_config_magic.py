"""`%config CometSettings.…`: what is wrong is an error of the cell; the rest is IPython's."""

from __future__ import annotations

from typing import Any

import pytest
from cells import Ran
from traitlets import TraitError
from traitlets.config import Config

from comet_magic.errors import ConfigError
from comet_magic.settings import CometSettings


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("CometSettings.modle = 'opus'", "there is no setting modle; did you mean model?"),
        ("CometSettings.modle", "there is no setting modle; did you mean model?"),
        ("CometSettings.xyzzy = 1", "there is no setting xyzzy"),
        ("CometSetings.model = 'opus'", "there is no CometSetings; did you mean CometSettings?"),
        ("CometSettings.model = 'opuss'", "opuss is not an alias of a model; did you mean opus?"),
        ("CometSettings.max_tokens = 'many'", "CometSettings.max_tokens must be a whole number, not 'many'"),
        (
            "CometSettings.retries = 70",
            "CometSettings.retries must be a whole number, at least 0 and at most 10, not 70",
        ),
        ("CometSettings.stream = 5", "CometSettings.stream must be True or False, not 5"),
        ("CometSettings.effort = 'hgh'", "CometSettings.effort must be one of 'low', 'medium'"),
        (
            "CometSettings.max_tokens = 'sk-ant-abcdefghijklmnop0123456789abcdef'",
            "this looks like a key, and is not shown",
        ),
    ],
)
def test_what_is_wrong_is_an_error_of_the_cell(shell: Any, line: str, what: str) -> None:
    before = {name: getattr(CometSettings.instance(), name) for name in CometSettings.class_trait_names(config=True)}
    ran = Ran(shell, f"%config {line}")
    assert isinstance(ran.error, ConfigError)
    assert what in ran.error.what
    assert "nothing was changed" in ran.error.hint
    assert "abcdefghijklmnop" not in ran.printed
    assert before == {name: getattr(CometSettings.instance(), name) for name in before}


def test_what_is_right_is_set_and_the_rest_is_ipythons(shell: Any) -> None:
    settings = CometSettings.instance()
    shell.user_ns["short"] = {"mine": "claude-opus-5"}
    for line in ("model = 'opus'", "budget = {'session': 2, 'day': 5}", "aliases = short", "max_tokens=5"):
        assert Ran(shell, f"%config CometSettings.{line}").error is None
    assert (settings.model, settings.budget, settings.max_tokens) == ("opus", {"session": 2.0, "day": 5.0}, 5)
    assert settings.aliases == {"mine": "claude-opus-5"}
    assert Ran(shell, "%config CometSettings.model").result.result == "opus"
    assert "CometSettings.model" in Ran(shell, "%config CometSettings").printed
    assert Ran(shell, "%config TerminalIPythonApp.nonsense = 1").error is None  # as IPython has it
    shell.run_line_magic("unload_ext", "comet_magic")
    assert "CometSettings" not in Ran(shell, "%config").printed


def test_a_name_that_does_not_exist_is_refused_in_python_and_told_at_the_start() -> None:
    settings = CometSettings.instance()
    with pytest.raises(ConfigError, match="did you mean model"):
        settings.modle = "opus"
    with pytest.raises(TraitError, match="must be a whole number"):
        settings.max_tokens = "many"
    with pytest.warns(
        UserWarning, match="CometSettings.modle in IPython's configuration is not used: there is no setting"
    ):
        settings.apply(Config({"CometSettings": {"modle": "opus"}}))
