"""Send a request the way its endpoint accepts it: in another mode, or without cache marks, where it refuses those."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ..api.client import Client, MessageStream, Streams
from ..errors import APIError
from ..messages.request import Request

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
    ) -> None:  # fmt: skip
        """wants_thinking: by endpoint and model, whether it wants the thinking before calls back."""
        self._client, self._endpoint, self._refused_cache, self._modes = client, endpoint, refused_cache, modes
        self._latest: Request | None = None
        self._began = 0.0
        self._wants_thinking = {} if wants_thinking is None else wants_thinking

    def __call__(self, request: Request) -> MessageStream:
        """Send `request`, in other ways while the endpoint refuses how it is asked. Raises: as `Client.stream`."""
        if request is not self._latest:  # else it is the same once more, within the time that it had
            self._latest, self._began = request, time.monotonic()
        was_cached = False
        learned: bool | None = None
        while True:
            request = self._adapted(request, learned)
            try:
                stream = self._client_now().stream(request)
            except APIError as error:
                # Not all name the field: some say only that a content must be a string.
                if request.cached and (error.status in (400, 422) or "cache_control" in error.what):
                    request, was_cached = replace(request, cached=()), True
                elif learned is None and (other := _other_thinking(request, error)):
                    request, learned = other, other.sends_thinking
                elif not (self._modes and self._modes.refused(error)):
                    raise
                continue
            if learned is not None:
                self._wants_thinking[self._endpoint, request.model] = learned
            if was_cached:
                self._refused_cache.add(self._endpoint)
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

    def _adapted(self, request: Request, learned: bool | None) -> Request:
        wants = self._wants_thinking.get((self._endpoint, request.model)) if learned is None else None
        if wants is not None:
            request = replace(request, sends_thinking=True) if wants else request.without_thinking()
        if request.cached and self._endpoint in self._refused_cache:
            request = replace(request, cached=())
        return replace(request, mode=self._modes.now) if self._modes else request


def _other_thinking(request: Request, error: APIError) -> Request | None:
    """Return the request with the thinking that an endpoint wants back, or without what it refuses; else None."""
    if (
        error.status in (401, 402, 403, 404, 408, 429)
        or error.about
        or not re.search("thinking|reasoning|signature", error.what, re.I)
    ):
        return None
    if request.has_thinking and not request.sends_thinking:
        return replace(request, sends_thinking=True)
    without = request.without_thinking()
    return without if request.sends_thinking or without.messages != request.messages else None
