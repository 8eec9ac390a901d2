"""Defaults as traits, each with its help; and where they meet a cell's flags, the environment and the key.

One mechanism for all: `%config CometSettings.model = …`, `ipython_config.py`, `COMET_MAGIC_MODEL`, and the flags.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from copy import copy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from traitlets import Bool, Dict, Enum, Float, Int, TraitError, Unicode, Union, observe, validate
from traitlets.config import Config, SingletonConfigurable

from .environment import environment_at_start
from .errors import ConfigError, hide_in_errors
from .origins import allow, base_url, is_allowed, is_loopback, origin_of, origin_of_address

if TYPE_CHECKING:
    from .keys import Key
    from .messages.message import Message
    from .messages.request import Request
    from .redaction import Secrets


LOOKS_LIKE_KEY = "this looks like a key, and is not shown"
COMETAPI = "https://api.cometapi.com"
DIALECTS = ("messages", "chat", "responses")
FLAGS = ("model", "max_tokens", "system", "temperature", "stop", "effort", "thinking", "stream")  # of a request
EFFORTS = ("low", "medium", "high", "xhigh", "max")
# Settings for which no default may stand in.
MUST_HOLD = ("endpoint", "replay", "budget", "keep", "store", "share_values", "allow_http")
REPLAYS = ("auto", "always", "never", "only")
SMALLEST_BUDGET = 1024  # tokens; the API refuses less
# What CometAPI's documentation names; any other name may be set or typed.
ALIASES = {"opus": "claude-opus-5", "sonnet": "claude-sonnet-4-6", "haiku": "claude-haiku-4-5-20251001"}


class CometSettings(SingletonConfigurable):
    """What a `%%claude` cell uses unless a flag says otherwise."""

    model = Unicode("sonnet", help="Model, or an alias of one.").tag(config=True)
    max_tokens = Int(4096, help="Most tokens in a reply, thinking included.").tag(config=True)
    system = Unicode("", help="System prompt; empty: none is sent.").tag(config=True)
    temperature = Float(None, allow_none=True, help="0 to 1; None: not sent. Current models refuse it.").tag(
        config=True
    )
    effort = Enum(
        EFFORTS, None, allow_none=True, help=f"How hard the model works: {', '.join(EFFORTS)}; None: not sent."
    ).tag(config=True)
    thinking = Union(
        [Int(), Unicode()],
        default_value=None,
        allow_none=True,
        help="'off', 'adaptive', or a budget in tokens; None: not sent.",
    ).tag(config=True)
    stream = Bool(True, help="Show the reply while it is written.").tag(config=True)
    endpoint = Unicode(
        "auto",
        help="'auto' (CometAPI with a key, else the local model), 'cometapi', 'local', or a base URL.",
    ).tag(config=True)
    allow_http = Bool(
        False, help="Send to http:// addresses beyond this machine, too; all on the way can read the key."
    ).tag(config=True)
    aliases = Dict(
        value_trait=Unicode(), key_trait=Unicode(), default_value=ALIASES, help="Short names for models."
    ).tag(config=True)
    dialects = Dict(
        key_trait=Unicode(),
        help="In which API a model is asked: {'gpt-*': 'chat'}; names, aliases or patterns, and messages, chat or "
        "responses. Otherwise the endpoint's list decides, then the model's name.",
    ).tag(config=True)
    embedding_model = Unicode("text-embedding-3-small", help="Model of comet_magic.embed.").tag(config=True)
    extra_body = Dict(help="Fields that are added to each request, such as {'enable_thinking': False}.").tag(
        config=True
    )
    local_model = Unicode("", help="Path of a GGUF file for the local endpoint; empty: SmolLM2-135M.").tag(config=True)
    connect_timeout_s = Float(10, min=0.1, help="Seconds to wait for a connection.").tag(config=True)
    read_timeout_s = Float(120, min=0.1, help="Seconds to wait for the next part of a reply.").tag(config=True)
    deadline_s = Float(600, min=0.1, help="Seconds that a whole reply may take.").tag(config=True)
    retries = Int(2, min=0, max=10, help="How often a failed request is sent again.").tag(config=True)
    conversation = Unicode("", help="Conversation that cells talk in; empty: the notebook's own.").tag(config=True)
    history_turns = Int(50, min=0, help="Most earlier turns that are sent with a question.").tag(config=True)
    history_tokens = Int(
        50_000, min=0, help="Most estimated tokens of earlier turns that are sent with a question."
    ).tag(config=True)
    prompt_cache = Bool(True, help="Ask the endpoint to cache long histories, which makes them cheaper.").tag(
        config=True
    )
    replay = Enum(
        REPLAYS,
        "auto",
        help="Answer from the store: 'auto' (a cell's first run in a kernel), 'always', 'never', or 'only'.",
    ).tag(config=True)
    keep = Bool(True, help="Keep conversations and replies; False: in memory only.").tag(config=True)
    store = Unicode("", help="File for conversations and replies; empty: in your data folder.").tag(config=True)
    store_limit_mb = Float(500, min=1, help="Largest size of the store; beyond it the oldest replies are deleted.").tag(
        config=True
    )
    budget = Union(
        [Float(), Dict()],
        default_value=None,
        allow_none=True,
        help="US dollars that a session, and a day, may cost; or {'session': 1, 'day': 5}.",
    ).tag(config=True)
    prices = Dict(
        help="Prices you know better: {'model': [input, output]} in US dollars per million tokens; {'request': 0.04} "
        "or {'second': 0.1} for pictures, sound and film."
    ).tag(config=True)
    share_values = Bool(
        True, help="Let {{df}} show values; False: schema and statistics, and no figures, files, texts or outputs."
    ).tag(config=True)
    context = Enum(
        ("none", "notebook"),
        "none",
        help="'notebook': every %%claude says what the notebook has, as {{notebook}} does: names, never values.",
    ).tag(config=True)
    table_tokens = Int(
        1500, min=100, help="Most estimated tokens of a table's card, or of a collection's outline."
    ).tag(config=True)
    text_tokens = Int(5000, min=100, help="Most estimated tokens of a text, a file, code or outputs.").tag(config=True)
    image_pixels = Int(1568, min=64, max=8000, help="Longest side of a picture that is sent.").tag(config=True)
    tool_rounds = Int(10, min=1, help="Most rounds of tool calls in a reply.").tag(config=True)
    tool_calls = Int(50, min=1, help="Most tool calls in a reply.").tag(config=True)
    tool_timeout_s = Float(60, min=0.1, help="Seconds that a tool call may take.").tag(config=True)
    media_models = Dict(
        key_trait=Enum(("image", "speech", "transcript", "music", "video")),
        value_trait=Unicode(),
        help="Models that make pictures, sound and film: {'image': '…', 'speech': '…', 'transcript': '…', "
        "'music': '…', 'video': '…'}; otherwise the cheapest of the endpoint's list.",
    ).tag(config=True)
    voice = Unicode("alloy", help="Voice that speaks, unless --voice names another.").tag(config=True)
    media_folder = Unicode(
        "", help="Folder for pictures, sound and film; empty: NOTEBOOK_media beside the notebook."
    ).tag(config=True)
    audio_embed_mb = Float(5, min=0, help="Largest sound that is kept in the notebook, in MB; larger: a link.").tag(
        config=True
    )
    video_embed_mb = Float(10, min=0, help="Largest film that is kept in the notebook, in MB; larger: a link.").tag(
        config=True
    )
    media_limit_mb = Float(128, min=1, help="Largest picture, sound or film that is fetched, in MB.").tag(config=True)
    media_wait_s = Float(900, min=0.1, help="Seconds to wait for a song or a film; it goes on all the same.").tag(
        config=True
    )
    show_usage = Bool(True, help="Show model, tokens, seconds and price under a reply.").tag(config=True)
    remote_images = Bool(
        False, help="Show images from the network in replies; they tell their server that you look."
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        self._typed_keys: dict[str, Key] = {}  # by the origin for which they were typed
        self._refused: dict[str, str] = {}
        self._configuration: Any = {}
        self._configured_elsewhere: dict[str, Any] | None = None
        self._own_origins: set[str] | None = None
        self._refused_origins: set[str] = set()  # until the kernel ends, or the endpoint is set anew
        self._note_of_key: str | None = None
        self._latest_key: Key | None = None
        self._of_parent = _from_parent()  # before a setting of this process takes its place
        self.has_used_key = False  # for a question that was sent
        self._is_copy = False
        self.folder = Path()  # the notebook's, in which a `.env` is looked for, wherever %cd has gone
        # Asks the user whether the key may go to an origin; None: nobody can answer.
        self.ask_about_origin: Callable[[str], bool | None] = lambda origin: None
        super().__init__(**kwargs)
        self._read_environment()
        hide_in_errors(self._without_key)

    @classmethod
    def configured(cls, config: Any) -> CometSettings:
        """Return the settings of this process, with IPython's configuration applied; the environment still beats it."""
        settings = cls.instance()
        settings.apply(config)
        return settings

    def reset(self) -> None:
        """Go back to the built-in defaults, then to what the configuration and the environment say."""
        for name, trait in self.traits(config=True).items():
            setattr(self, name, trait.default(self))
        self.apply(self._configuration)

    def take_kept(self, section: dict[str, Any], others: dict[str, Any] | None = None) -> None:
        """Take what was just saved in IPython's configuration for what `reset` goes back to.

        others: what the configuration says elsewhere, which comes back when the saved settings are removed.
        """
        self._configured_elsewhere = others if self._configured_elsewhere is None else self._configured_elsewhere
        self._configuration = {**self._configuration, type(self).__name__: section}

    def configuration_without_kept(self, kept: Iterable[str]) -> dict[str, Any]:
        """Return what the configuration says but for what was saved, as far as that is known."""
        if self._configured_elsewhere is not None:
            return self._configured_elsewhere
        return {name: value for name, value in self.configuration.items() if name not in set(kept)}

    def at_start(self) -> CometSettings:
        """Return a copy, set as the settings will be when the kernel is restarted; it changes nothing of this one."""
        made = copy(self)
        made._is_copy, made._refused, made._refused_origins = True, dict(self._refused), set(self._refused_origins)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong with the environment was said at the start
            made.reset()
        return made

    @property
    def configuration(self) -> dict[str, Any]:
        """The settings that IPython's configuration names, and what it says of them."""
        return dict(self._configuration.get(type(self).__name__, {}))

    @property
    def configured_names(self) -> set[str]:
        return set(self.configuration) & set(self.trait_names(config=True))

    def apply(self, config: Any) -> None:
        """Set what `config` says, then what the environment does."""
        self._configuration = config
        if self._own_origins is None:  # later, a notebook may have written into it
            named = str(config.get(type(self).__name__, {}).get("endpoint", ""))
            self._own_origins = _origins_at_start() | _origins([named])
        for name, value in sorted(config.get(type(self).__name__, {}).items(), key=_judges_first):
            if name not in self.trait_names(config=True):
                _warn(f"CometSettings.{name} in IPython's configuration is not used: {self._no_setting(name)}")
                continue
            try:
                as_trait = getattr(value, "get_value", lambda trait, value=value: value)  # of a command line, a string
                setattr(self, name, as_trait(self.traits()[name]))
            except TraitError as error:
                _warn(f"a value in IPython's configuration is not used: {error}")
        self._read_environment()

    def _read_environment(self) -> None:
        named = [(name, value) for name, value in os.environ.items() if name.startswith("COMET_MAGIC_")]
        for variable, _ in sorted(named, key=_judges_first):
            if variable == "COMET_MAGIC_ENDPOINT_KEY":
                continue
            name = variable.removeprefix("COMET_MAGIC_").lower()
            if name not in self.trait_names(config=True):
                _warn(f"{variable} is not used: {self._no_setting(name)}")
                continue
            try:
                setattr(self, name, _from_text(os.environ[variable], self.traits()[name]))
            except (TraitError, ValueError, SyntaxError) as error:
                _warn(f"{variable} is not used: {error}")
                if name in MUST_HOLD:
                    self._refused[name] = str(error)
        for name, value in sorted(self._of_parent.items(), key=_judges_first):
            try:
                setattr(self, name, value)
            except TraitError as error:
                self._refused[name] = str(error)

    @classmethod
    def clear_instance(cls) -> None:
        os.environ.pop(FROM_PARENT, None)
        super().clear_instance()

    def _no_setting(self, name: str) -> str:
        from .suggestions import did_you_mean  # not at the top: loading stays quick

        return f"there is no setting {name}{did_you_mean(name, self.trait_names(config=True))}"

    def check_name(self, name: str) -> None:
        """Raises: ConfigError, naming the nearest, where there is no setting of that name."""
        if name not in self.trait_names(config=True):
            raise ConfigError(self._no_setting(name), "nothing was changed; %config CometSettings lists the settings")

    def assign(self, statement: str, namespace: dict[str, Any]) -> None:
        """Do what `CometSettings.model = "opus"` says. Raises: ConfigError for a value that is refused."""
        config = Config()
        exec(f"config.{statement}", namespace, {"config": config})
        for name, value in config[type(self).__name__].items():
            try:
                setattr(self, name, value)
            except TraitError as error:
                unchanged = f"nothing was changed: it is still {getattr(self, name)!r}"
                raise ConfigError(str(error).split("\n")[0], unchanged) from None

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a setting. Raises: TraitError, in our words; ConfigError where there is none of that name."""
        if not name.startswith("_") and name not in _NOT_SETTINGS and not hasattr(type(self), name):
            self.check_name(name)
        try:
            super().__setattr__(name, value)
        except TraitError as error:
            raise TraitError(self._refusal(name, value, str(error))) from None

    def _refusal(self, name: str, value: Any, reason: str) -> str:
        """Return why a value is refused: in the validators' own words, or in place of those of traitlets."""
        trait = self.traits().get(name)
        if trait is None or f"'{name}' trait" not in reason:
            return reason
        if self._looks_like_key(str(value)):
            return f"CometSettings.{name}: {LOOKS_LIKE_KEY}: enter it with %claude_key"
        form = f", such as {_FORMS[name]}" if name in _FORMS else ""
        return f"CometSettings.{name} must be {_kind(trait)}{form}, not {value!r}"

    @validate("model", "endpoint")
    def _validate_words(self, proposal: dict[str, Any]) -> str:
        name, text = proposal["trait"].name, str(proposal["value"]).strip()
        if not text:
            raise TraitError(f"CometSettings.{name} must not be empty")
        if self._looks_like_key(text):
            raise TraitError(f"CometSettings.{name}: {LOOKS_LIKE_KEY}: enter it with %claude_key")
        if name == "model":
            try:
                self._checked_model(text)
            except ConfigError as error:
                raise TraitError(f"{error.what}; {error.hint.removeprefix('nothing was sent; ')}") from None
        if name == "endpoint" and text not in ("auto", "cometapi", "local"):
            try:
                base_url(text, allow_http=self.allow_http)
            except ConfigError as error:
                raise TraitError(f"{error}\nnothing was changed: the endpoint stays {self.endpoint!r}") from None
        return text

    @validate("max_tokens")
    def _validate_max_tokens(self, proposal: dict[str, Any]) -> int:
        if not 1 <= proposal["value"] <= 10**9:
            raise TraitError(
                f"CometSettings.max_tokens must be at least 1, and {proposal['value']:.6g} is not possible"
            )
        return int(proposal["value"])

    @validate("temperature")
    def _validate_temperature(self, proposal: dict[str, Any]) -> float | None:
        if proposal["value"] is not None and not 0 <= proposal["value"] <= 1:  # not a number is neither
            raise TraitError(f"CometSettings.temperature is between 0 and 1, not {proposal['value']:g}")
        return None if proposal["value"] is None else float(proposal["value"])

    @validate("thinking")
    def _validate_thinking(self, proposal: dict[str, Any]) -> str | int | None:
        try:
            return thinking_from(proposal["value"])
        except ValueError as error:
            raise TraitError(f"CometSettings.thinking: {error}") from None

    @validate("budget")
    def _validate_budget(self, proposal: dict[str, Any]) -> float | dict[str, float] | None:
        try:
            spans = budget_limits(proposal["value"])
        except (ValueError, TypeError):
            raise TraitError(
                f"CometSettings.budget is US dollars, or {{'session': 1, 'day': 5}}, not {proposal['value']!r}"
            ) from None
        return spans if isinstance(proposal["value"], dict) else next(iter(spans.values()), None)

    @validate("prices")
    def _validate_prices(self, proposal: dict[str, Any]) -> dict[str, Any]:
        from .messages.prices import media_price, own_price  # not at the top: loading stays quick

        for model, price in proposal["value"].items():
            try:
                media_price(price) or own_price(price)
            except (ValueError, TypeError) as error:
                raise TraitError(f"CometSettings.prices[{model!r}]: {error}") from None
        return dict(proposal["value"])

    @validate("dialects")
    def _validate_dialects(self, proposal: dict[str, Any]) -> dict[str, Any]:
        from .suggestions import did_you_mean  # not at the top: loading stays quick

        for model, name in proposal["value"].items():
            if name not in DIALECTS:
                near = did_you_mean(str(name).lower(), DIALECTS)
                raise TraitError(
                    f"CometSettings.dialects[{model!r}] = {name!r} is no API; there are {', '.join(DIALECTS)}{near}"
                )
        return dict(proposal["value"])

    def model_named(self, name: str) -> str:
        """Return the model behind an alias; any other name is its own."""
        names = {**ALIASES, **self.aliases}
        return names.get(name, name)

    def _checked_model(self, name: str) -> str:
        """Return the model of a name. Raises: ConfigError where that is nearly an alias; no model is one plain word."""
        from .suggestions import did_you_mean  # not at the top: loading stays quick

        names = {**ALIASES, **self.aliases}
        if "," in name:
            raise ConfigError(
                f"{name}: one model, not several", "nothing was sent; %%claude -m asks several in one cell"
            )
        if name not in names and name.isalpha() and (near := did_you_mean(name, names)):
            raise ConfigError(
                f"{name} is not an alias of a model{near}",
                f"nothing was sent; if a model has that name: CometSettings.aliases = {{'{name}': '{name}'}}",
            )
        return self.model_named(name)

    def request(self, messages: tuple[Message, ...], **flags: Any) -> Request:
        """Return what will be asked: a flag that is not None beats its setting. The only place where they meet.

        flags: model, max_tokens, system, temperature, stop, effort, thinking, stream.
        Raises: ConfigError when they contradict one another.
        """
        from .messages.request import Request  # not at the top: it would be half the cost of %load_ext

        def chosen(name: str) -> Any:
            return getattr(self, name) if flags.get(name) is None else self._checked(name, flags[name])

        thinking, max_tokens = chosen("thinking"), chosen("max_tokens")
        if isinstance(thinking, int) and thinking >= max_tokens:
            raise ConfigError(
                f"a thinking budget of {thinking:,} leaves nothing of max_tokens = {max_tokens:,} for the answer",
                "raise max_tokens (-t) or lower the budget (--think)",
            )
        return Request(
            model=self._checked_model(chosen("model")),
            max_tokens=max_tokens,
            messages=messages,
            system=chosen("system") or None,
            temperature=chosen("temperature"),
            stop_sequences=_stops(flags.get("stop")),
            effort=chosen("effort"),
            thinking=thinking,
            stream=chosen("stream"),
            extra_body=dict(self.extra_body),
        )

    def _checked(self, name: str, value: Any) -> Any:
        """Return a flag's value, under the rules of its setting. Raises: ConfigError."""
        try:
            if name == "thinking":
                return thinking_from(value)
            if name == "model" and not str(value).strip():
                raise TraitError("the model's name is empty")
            if name == "model" and self._looks_like_key(str(value)):
                raise ConfigError(f"{name}: {LOOKS_LIKE_KEY}", "enter it with %claude_key")
            if name == "model":
                self._checked_model(str(value).strip())
            return self.traits()[name]._validate(self, value)
        except (TraitError, ValueError) as error:
            raise ConfigError(f"{name} = {value!r}: {error}", "nothing was sent") from None

    # ---- the key: never a trait, for %config prints every trait

    @property
    def key(self) -> Key | None:
        """The key in use: this session's, the environment's, or one that was kept. None when there is none."""
        from .keys import find_kept_key

        self._latest_key = self.key_at_hand or find_kept_key(self.folder)
        return self._latest_key

    def _without_key(self, text: str) -> str:
        for key in self._known_keys():
            text = key.hide_in(text)
        return text

    def _known_keys(self) -> list[Key]:
        """Return every key that this process has met, whatever endpoint is set; an error may be about that."""
        from .keys import ENDPOINT_KEY, Key, key_in_environment

        own = Key(os.environ.get(ENDPOINT_KEY, ""), ENDPOINT_KEY)
        return [*self._typed_keys.values(), *filter(None, (key_in_environment(os.environ), self._latest_key)), own]

    def is_key(self, text: str) -> bool:
        """Return whether the text contains a known key."""
        return self._without_key(text) != text

    @property
    def key_at_hand(self) -> Key | None:
        """The key of this session or of the environment, which takes no time to find."""
        from .keys import ENDPOINT_KEY, Key, key_in_environment

        if typed := self._typed_keys.get(self._origin):
            return typed
        if self._origin not in (COMETAPI, self._base_origin) and os.environ.get(ENDPOINT_KEY):
            return Key(os.environ[ENDPOINT_KEY], ENDPOINT_KEY)
        return self._typed_keys.get(COMETAPI) or key_in_environment(os.environ)

    def key_for(self, url: str, key: Key | None) -> Key | None:
        """Return `key`, the one in use, if it may go to `url`.

        A key goes to CometAPI, to this machine, to what the user's own environment or configuration names, and to where
        it was typed for. For any other origin the user is asked, once.
        Raises: ConfigError when the user does not allow it, or nobody can answer.
        """
        origin = origin_of(url)
        if key is None or self._typed_keys.get(origin) is key:
            return key
        own = _origins_at_start() if self._own_origins is None else self._own_origins
        if origin == COMETAPI or is_loopback(urlsplit(url).hostname or "") or origin in own or is_allowed(origin):
            return key
        answer = False if origin in self._refused_origins else self.ask_about_origin(origin)
        if answer:
            allow(origin)
            return key
        other = (
            "or enter a key of its own with %claude_key; COMET_MAGIC_ENDPOINT in the environment names an endpoint of"
        )
        other += " yours, COMET_MAGIC_ENDPOINT_KEY its key"
        if answer is None:
            why, hint = "nobody could allow it here", f"run a cell where you can answer, {other}"
        else:
            self._refused_origins.add(origin)
            why, hint = (
                "you did not allow it",
                f"%config CometSettings.endpoint = 'auto' goes back to CometAPI; {other}",
            )
        raise ConfigError(f"nothing was sent: {origin} is not CometAPI, and your key would go there: {why}", hint)

    @property
    def _origin(self) -> str:
        """The origin that `endpoint` names now."""
        if self.endpoint in ("auto", "cometapi", "local"):
            return self._base_origin or COMETAPI
        return origin_of_address(self.endpoint)

    @property
    def _base_origin(self) -> str:
        return origin_of_address(self.base_url_variable)

    def _looks_like_key(self, text: str) -> bool:
        from .redaction import looks_like_secret  # not at the top: loading stays quick

        return looks_like_secret(text) or self.is_key(text)

    def use_key(self, key: Key) -> None:
        """Use `key` for the endpoint that is set now, until the kernel ends.

        Raises: ConfigError when no header can carry it.
        """
        key.check()
        self._typed_keys[self._origin] = key

    def news_of_key(self) -> str:
        """Return, once, which of two keys is used, where a `.env` beats one that the user keeps; else ""."""
        from .keys import passed_over

        if self._note_of_key is None and not self.key_at_hand and (key := self.key):
            other = passed_over(key)
            self._note_of_key = f"the key is that of .env here, not the one in {other}" if other else ""
            return self._note_of_key
        return ""

    def secrets(self) -> Secrets:
        """Return what no value that is filled into a prompt may carry out: the key, and the environment's secrets."""
        from .redaction import Secrets

        key = self.key
        return Secrets(os.environ, lambda: [key.reveal()] if key else [])

    def check_environment(self) -> None:
        """Raises: ConfigError when a variable was refused without which something else would be sent, kept or spent."""
        for name, why in self._refused.items():
            raise ConfigError(f"COMET_MAGIC_{name.upper()} is not usable: {why}", "correct it, or set it with %config")

    @observe(*MUST_HOLD)
    def _chosen(self, change: Any) -> None:
        if self._is_copy:
            return
        self._refused.pop(change["name"], None)
        if change["name"] == "endpoint":
            self._refused_origins.clear()
        # A process that is started from here has none of these settings, and must not do what this one would not.
        chosen = {name: getattr(self, name) for name in MUST_HOLD}
        chosen = {name: value for name, value in chosen.items() if value != self.traits()[name].default_value}
        os.environ[FROM_PARENT] = json.dumps([os.getpid(), chosen, _variables()])

    @property
    def notebook_variable(self) -> str:
        """The path of the notebook that this kernel was started for, where Jupyter's server says so."""
        return os.environ.get("JPY_SESSION_NAME", "")

    @property
    def base_url_variable(self) -> str:
        return os.environ.get("COMETAPI_BASE_URL", "").strip()

    @property
    def has_other_companys_key(self) -> bool:
        """Whether COMET_API_KEY is set, in which Comet ML, the experiment tracker, keeps its own key."""
        return bool(os.environ.get("COMET_API_KEY"))


_FORMS = {
    "dialects": "{'qwen*': 'chat'}", "aliases": "{'luna': 'gpt-6-luna'}",
    "prices": "{'gpt-6-luna': [0.25, 2]}",
    "media_models": "{'image': '…'}, whose keys are image, speech, transcript, music and video",
}  # fmt: skip
_NOT_SETTINGS = ("has_used_key", "folder", "ask_about_origin")


def _kind(trait: Any) -> str:
    """Return what a setting may be, in words."""
    none = " or None" if trait.allow_none else ""
    if isinstance(trait, Enum):
        return f"one of {', '.join(map(repr, trait.values or ()))}{none}"
    least, most = getattr(trait, "min", None), getattr(trait, "max", None)
    bounds = ([f"at least {least:g}"] if isinstance(least, int | float) and math.isfinite(least) else []) + (
        [f"at most {most:g}"] if isinstance(most, int | float) and math.isfinite(most) else []
    )
    kinds = {Bool: "True or False", Int: "a whole number", Float: "a number", Unicode: "a text", Dict: "a dict"}
    kind = next((words for one, words in kinds.items() if isinstance(trait, one)), trait.info())
    return f"{kind}{none}" + (f", {' and '.join(bounds)}" if bounds else "")


# The settings of the process that started this one. It is no COMET_MAGIC_… of the user's: an endpoint in it is not what
# the user's own environment names, and gets no key that the user has not allowed.
FROM_PARENT = "_COMET_MAGIC_FROM_PARENT"


def _from_parent() -> dict[str, Any]:
    """Return the settings that the process that started this one had, of those for which no default may stand in."""
    try:
        process, settings, variables = json.loads(os.environ.get(FROM_PARENT, ""))
        if process == os.getpid():
            return {}
        # A variable that the parent did not have was given to this process, and says what is meant for it.
        now = _variables()
        return {
            name: value
            for name, value in settings.items()
            if name in MUST_HOLD and (name not in now or now[name] == variables.get(name))
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def _variables() -> dict[str, str]:
    """Return the variables that name one of these settings, by the setting."""
    variables = {name: os.environ.get(f"COMET_MAGIC_{name.upper()}") for name in MUST_HOLD}
    return {name: value for name, value in variables.items() if value is not None}


def _warn(text: str) -> None:
    """Warn; where warnings are errors, say it, for the settings are read all the same."""
    try:
        warnings.warn(text, stacklevel=5)
    except UserWarning:
        print(text, file=sys.stderr)


@cache
def _origins_at_start() -> set[str]:
    named = environment_at_start()
    return _origins([named.get("COMETAPI_BASE_URL", ""), named.get("COMET_MAGIC_ENDPOINT", "")])


def _origins(addresses: list[str]) -> set[str]:
    """Return the origins of those that are addresses."""
    return set(filter(None, map(origin_of_address, addresses)))


def _judges_first(item: tuple[str, Any]) -> bool:
    """Sort the settings by which an endpoint and a model are judged before those."""
    return not item[0].lower().endswith(("allow_http", "aliases"))


def budget_limits(value: Any) -> dict[str, float]:
    """Return US dollars by "session" and "day", as far as they are limited. Raises: ValueError or TypeError."""
    if value is None:
        return {}
    given = value if isinstance(value, dict) else {"session": value, "day": value}
    if any(isinstance(usd, bool) for usd in given.values()):
        raise ValueError("a budget is an amount")
    spans = {name: float(usd) + 0.0 for name, usd in given.items() if usd is not None}
    if not set(spans) <= {"session", "day"} or not all(usd >= 0 for usd in spans.values()):
        raise ValueError("a budget is not below 0, for a session and for a day")
    return spans


def _stops(stop: Any) -> tuple[str, ...]:
    stops = (
        (stop,)
        if isinstance(stop, str)
        else tuple(stop or ())
        if isinstance(stop, (list, tuple, type(None)))
        else (stop,)
    )
    if not all(isinstance(text, str) and text.strip() for text in stops):
        raise ConfigError(f"stop = {stop!r}: a stop sequence is a text that is not empty", "nothing was sent")
    return stops


def _from_text(text: str, trait: Any) -> Any:
    """Return an environment variable's text as the value that its trait takes."""
    if isinstance(trait, Unicode):
        return text
    if isinstance(trait, Bool):
        return {"1": True, "true": True, "yes": True, "on": True}.get(text.lower(), False if _is_no(text) else text)
    if text.lower() in ("", "none"):
        return None
    return ast.literal_eval(text) if re.match(r"[-+\d.{]", text) else text


def _is_no(text: str) -> bool:
    return text.lower() in ("0", "false", "no", "off")


def thinking_from(value: object) -> str | int | None:
    """Return `off`, `adaptive`, or a budget in tokens. Raises: ValueError, saying what is possible."""
    if value is None or value in ("off", "adaptive"):
        return value
    if isinstance(value, str) and value.strip().isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if value >= SMALLEST_BUDGET:
            return value
        raise ValueError(f"a thinking budget of {value} is too small: at least {SMALLEST_BUDGET:,} tokens")
    raise ValueError(f"{value!r} is not off, adaptive, or a budget in tokens")
