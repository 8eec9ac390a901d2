"""Where requests go: the endpoint that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..keys import Key
from ..named_tuple import NamedTuple
from ..origins import base_url, is_loopback
from ..settings import COMETAPI, CometSettings
from . import local

Announce = Callable[[str], None]


class Endpoint(NamedTuple):
    """Where requests go.

    base_url: without /v1.            key: None where none is sent.
    label: what usage lines say in place of the model's name, if anything.
    model: the one model it has, if it has but one.            direct: past any proxy.
    local_model: the setting of that name, for the embedded model while it is not known to run; its base_url is "".
    is_cometapi: it publishes what its models are and cost.
    """

    base_url: str
    key: Key | None = None
    label: str | None = None
    model: str | None = None
    direct: bool = False
    local_model: str | None = None
    is_cometapi: bool = False

    @property
    def name(self) -> str:
        """What it is in the store: the same tomorrow, also where the address is not."""
        return f"local:{self.model}" if self.local_model is not None else self.base_url

    @property
    def host(self) -> str:
        """What the usage line says of it: nothing of CometAPI, and of the embedded model, which has a label."""
        return "" if self.label or self.base_url in ("", COMETAPI) else urlsplit(self.base_url).netloc

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
    is_custom = name not in ("auto", "cometapi")
    if is_custom or key or settings.base_url_variable:
        address, source = (name, "the endpoint") if is_custom else (settings.base_url_variable, "COMETAPI_BASE_URL")
        url = base_url(address or COMETAPI, source, allow_http=settings.allow_http)
        if not offline:
            key = settings.key_for(url, key)
        settings.has_used_key = settings.has_used_key or (bool(key) and not offline)
        direct = is_loopback(urlsplit(url).hostname or "")
        return Endpoint(url, key, direct=direct, is_cometapi=not is_custom or url == COMETAPI)
    if name == "auto" and not settings.has_used_key and local.is_installed(settings.local_model):
        return _local(settings)
    if offline:
        return Endpoint(COMETAPI)
    hint = "run %claude_key and type it, or set COMETAPI_KEY before the kernel starts"
    if name == "auto":
        hint += f"; without a key a small local model can answer: {local.INSTALL}"
    what = "no API key was found"
    if settings.has_used_key:
        what += " any more; this session has used one, so it does not change to the local model by itself"
    if settings.has_other_companys_key:
        what += "; COMET_API_KEY is not read: it is the name of another company's key, Comet ML's"
    raise ConfigError(what, hint)


def _local(settings: CometSettings) -> Endpoint:
    return Endpoint("", model=local.name_of(settings.local_model), local_model=settings.local_model)
