"""Where requests go: the endpoint that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..errors import ConfigError
from ..keys import Key
from ..settings import COMETAPI, CometSettings, base_url
from . import local

Announce = Callable[[str], None]


class Endpoint(NamedTuple):
    """Where requests go.

    base_url: without /v1.            key: None where none is sent.
    label: what usage lines say in place of the model's name, if anything.
    model: the one model it has, if it has but one.            direct: past any proxy.
    local_model: the setting of that name, for the embedded model while it is not known to run; its base_url is "".
    publishes_prices: it is CometAPI, which does.
    """

    base_url: str
    key: Key | None = None
    label: str | None = None
    model: str | None = None
    direct: bool = False
    local_model: str | None = None
    publishes_prices: bool = False

    @property
    def name(self) -> str:
        """What it is in the store: the same tomorrow, also where the address is not."""
        return f"local:{self.model}" if self.local_model is not None else self.base_url

    def opened(self, announce: Announce) -> Endpoint:
        """Return the endpoint, running. Raises: ConfigError when it cannot be started."""
        if self.local_model is None:
            return self
        server = local.serve(self.local_model, announce)
        return Endpoint(server.base_url, server.key, server.label, server.model, direct=True)


def find_endpoint(settings: CometSettings, *, offline: bool = False) -> Endpoint:
    """Return the endpoint of `settings`, not started yet where it is the embedded model.

    offline: it is only wanted by name; then a key that is missing is no matter.
    Raises: ConfigError, naming the ways to go on.
    """
    name = settings.endpoint
    settings.check_environment()
    if name == "local":
        return _local(settings)
    key = settings.key
    if key:
        key.check()
    if name not in ("auto", "cometapi"):
        url = base_url(name)
        return Endpoint(url, key, publishes_prices=url == COMETAPI)
    if key or settings.base_url_variable:
        return Endpoint(
            base_url(settings.base_url_variable or COMETAPI, "COMETAPI_BASE_URL"), key, publishes_prices=True
        )
    if name == "auto" and local.is_installed(settings.local_model):
        return _local(settings)
    if offline:
        return Endpoint(COMETAPI)
    hint = "set COMETAPI_KEY, or enter a key with %claude_key"
    if name == "auto":
        hint += f"; or try a small local model: {local.INSTALL}; or set CometSettings.endpoint"
    raise ConfigError("no API key was found", hint)


def _local(settings: CometSettings) -> Endpoint:
    return Endpoint("", model=local.name_of(settings.local_model), local_model=settings.local_model)
