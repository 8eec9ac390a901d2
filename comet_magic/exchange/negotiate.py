"""Send a request the way its endpoint accepts it: in another mode or dialect, or without a field that it refuses."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..api.client import Client, MessageStream, Streams
from ..errors import APIError
from ..messages.request import CHAT, MESSAGES, RESPONSES, Request
from ..store import accepted
from ..store.database import Store
from ..suggestions import did_you_mean
from ..text import lazy_pattern

if TYPE_CHECKING:
    from ..output.modes import OutputModes


class Sender:
    """Sends the requests of one question. modes: how to ask for a form, where one is asked for.

    refused_cache: the endpoints that take no `cache_control`; this one joins them when it turns out to be one.
    How often it sends is in the table of `api.retry`.
    """

    def __init__(
        self, client: Streams, endpoint: str, refused_cache: set[str], modes: OutputModes | None,
        wants_thinking: dict[tuple[str, str], bool] | None = None,
        keep: Callable[[Request, bool], None] = lambda request, is_other_dialect: None, *,
        is_dialect_chosen: bool = False, offered: Iterable[str] = (),
    ) -> None:  # fmt: skip
        """wants_thinking: by endpoint and model, whether it wants the thinking before calls back.

        keep: gets a request that was taken with other fields than the one before it, and whether in another dialect.
        is_dialect_chosen: the user names the dialect, so no other one is tried.
        offered: names of the models that the endpoint has, as far as they are known.
        """
        self._offered = offered
        self._is_dialect_chosen = is_dialect_chosen
        self._keep = keep
        self._learned: Request | None = None
        self._client, self._endpoint, self._refused_cache, self._modes = client, endpoint, refused_cache, modes
        self._latest: Request | None = None
        self._began = 0.0
        self._wants_thinking = {} if wants_thinking is None else wants_thinking

    def __call__(self, request: Request) -> MessageStream:
        """Send `request`, in other ways while the endpoint refuses how it is asked. Raises: as `Client.stream`."""
        if request is not self._latest:  # else it is the same once more, within the time that it had
            self._latest, self._began = request, time.monotonic()
        was_cached, first_dialect = False, request.dialect
        learned: bool | None = None
        while True:
            request = self.adapted(request, learned)
            try:
                stream = self._client_now().stream(request)
            except APIError as error:
                # Not all name the field: some say only that a content must be a string.
                is_about_cache = error.status in (400, 422) or "cache_control" in error.what
                is_cached = request.cached or request.caches_first_block
                if is_cached and request.dialect == MESSAGES and is_about_cache:
                    request, was_cached = replace(request, cached=(), caches_first_block=False), True
                elif (other := _in_other_words(request, error)) and (
                    # Another dialect is tried once.
                    other.dialect == request.dialect
                    or (request.dialect == first_dialect and not self._is_dialect_chosen)
                ):
                    request = self._learned = other
                elif learned is None and (other := _other_thinking(request, error)):
                    request, learned = other, other.sends_thinking
                elif not (self._modes and self._modes.refused(error)):
                    if error.about == "model":
                        error.hint += did_you_mean(request.model, self._offered)
                    raise
                continue
            if learned is not None:
                self._wants_thinking[self._endpoint, request.model] = learned
            if was_cached:
                self._refused_cache.add(self._endpoint)
            if (kept := self._learned) and (kept.dialect, kept.refused) == (request.dialect, request.refused):
                self._keep(request, request.dialect != first_dialect)
            if self._modes:
                self._modes.taken()
            return stream

    def _client_now(self) -> Streams:
        """Return the client with what is left of `deadline_s`, which is for every way of sending a request together."""
        spent_s = time.monotonic() - self._began
        if not isinstance(self._client, Client) or spent_s < 0.01:
            return self._client
        limits = self._client.limits
        return self._client._replace(limits=limits._replace(deadline_s=max(limits.deadline_s - spent_s, 0.001)))

    def adapted(self, request: Request, learned: bool | None = None) -> Request:
        """Return the request as it is sent next. learned: whether thinking goes along; None: as is known."""
        wants = self._wants_thinking.get((self._endpoint, request.model)) if learned is None else None
        if wants is not None:
            request = replace(request, sends_thinking=wants)
        if (request.cached or request.caches_first_block) and self._endpoint in self._refused_cache:
            request = replace(request, cached=(), caches_first_block=False)
        if kept := self._learned:  # also for the further requests of the same reply
            request = replace(request, dialect=kept.dialect, refused=kept.refused)
        return replace(request, mode=self._modes.now) if self._modes else request


def _other_thinking(request: Request, error: APIError) -> Request | None:
    """Return the request with the thinking that an endpoint wants back, or without what it refuses; else None."""
    if (
        error.status in (401, 402, 403, 404, 408, 429)
        or error.about
        or not re.search("thinking|reasoning|signature", error.what, re.I)
    ):
        return None
    is_wanted = request.dialect == MESSAGES or _IS_WANTED.search(error.what)
    if request.has_thinking and not request.sends_thinking and is_wanted:
        return replace(request, sends_thinking=True)
    sends_any = bool(request.sends_thinking) or any(
        message.without_thinking() is not message for message in request.messages
    )
    sends_any = sends_any or (request.dialect != MESSAGES and request.has_thinking)
    return request.without_thinking() if sends_any and request.sends_thinking is not False else None


_IS_WANTED = lazy_pattern(r"must be|passed back|missing|required|expected", re.I)
# Fields that the user has not asked for, or whose other name does the same.
_FIELDS = ("max_tokens", "max_completion_tokens", "stream_options", "store", "include", "reasoning.summary")
_ABOUT_FIELD = lazy_pattern(
    r"unsupported|not supported|does(?:n't| not) support|unknown|unrecognized|unexpected|not permitted|not allowed"
    r"|invalid (?:parameter|field)|extra inputs|use '?max",
    re.I,
)
_BY_RESPONSES = lazy_pattern(r"v1/responses|responses (?:api|endpoint)|not a chat model", re.I)
_BY_CHAT = lazy_pattern(r"v1/chat/completions|chat completions (?:api|endpoint)", re.I)


def _in_other_words(request: Request, error: APIError) -> Request | None:
    """Return the request without a field that the endpoint refuses, or in the dialect that it names; else None."""
    if request.dialect == MESSAGES or error.status in (401, 402, 403, 408, 429):
        return None
    if request.dialect == CHAT and _BY_RESPONSES.search(error.what):
        return replace(request, dialect=RESPONSES, refused=frozenset())
    is_not_there = error.status in (404, 405) and error.about != "model"
    if request.dialect == RESPONSES and (is_not_there or _BY_CHAT.search(error.what)):
        return replace(request, dialect=CHAT, refused=frozenset())
    if not _ABOUT_FIELD.search(error.what):
        return None
    # The field that is named first is the one that is refused; the other is what is advised.
    named = [(at, name) for name in _FIELDS if (at := _index_of(name, error.what)) >= 0 and name not in request.refused]
    refused = {min(named)[1]} if named else set[str]()
    limits = {"max_tokens", "max_completion_tokens"}
    if not refused or limits <= refused | request.refused:
        return None
    return replace(request, refused=request.refused | refused)


def _index_of(name: str, text: str) -> int:
    match = re.search(rf"(?<![\w.]){re.escape(name)}(?![\w])", text)
    return match.start() if match else -1


# ---- what was learned


def with_learned(request: Request, store: Store, endpoint: str, *, is_chosen: bool) -> Request:
    """Return the request as the endpoint is known to take it from this model. is_chosen: the user names the dialect."""
    if request.dialect == MESSAGES:
        return request
    learned = accepted.find_accepted(store, endpoint, request.model)
    if not is_chosen and _IN_RESPONSES in learned:
        request = replace(request, dialect=RESPONSES if learned[_IN_RESPONSES] else CHAT)
    prefix = f"{request.dialect} "
    refused = {
        name.removeprefix(prefix) for name, is_taken in learned.items() if name.startswith(prefix) and not is_taken
    }
    return replace(request, refused=frozenset(refused)) if refused else request


def learned_dialects(store: Store, endpoint: str) -> dict[str, str]:
    """Return the dialects of models that refused the one in which they were asked first, by model."""
    learned = accepted.find_models(store, endpoint, _IN_RESPONSES)
    return {model: RESPONSES if is_taken else CHAT for model, is_taken in learned.items()}


def keep_learned(store: Store, endpoint: str, request: Request, is_other_dialect: bool) -> None:
    """Note without which fields, and in which other dialect, an endpoint has taken a request of this model."""
    refused = [f"{request.dialect} {name}" for name in request.refused]
    accepted.keep_accepted(store, endpoint, request.model, refused, is_taken=False)
    if is_other_dialect:
        is_taken = request.dialect == RESPONSES
        accepted.keep_accepted(store, endpoint, request.model, [_IN_RESPONSES], is_taken=is_taken)


_IN_RESPONSES = "asked in responses"
