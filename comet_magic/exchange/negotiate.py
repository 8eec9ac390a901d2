"""Send a request the way its endpoint accepts it: in another mode, or without cache marks, where it refuses those."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..api.client import MessageStream, Streams
from ..errors import APIError
from ..messages.request import Request

if TYPE_CHECKING:
    from ..output.modes import OutputModes


class Sender:
    """Sends the requests of one question. modes: how to ask for a form, where one is asked for.

    refused_cache: the endpoints that take no `cache_control`; this one joins them when it turns out to be one.
    How often it sends is in the table of `api.retry`.
    """

    def __init__(self, client: Streams, endpoint: str, refused_cache: set[str], modes: OutputModes | None) -> None:
        self._client, self._endpoint, self._refused_cache, self._modes = client, endpoint, refused_cache, modes

    def __call__(self, request: Request) -> MessageStream:
        """Send `request`, in other ways while the endpoint refuses how it is asked. Raises: as `Client.stream`."""
        was_cached = False
        while True:
            request = self._adapted(request)
            try:
                stream = self._client.stream(request)
            except APIError as error:
                # Not all name the field: some say only that a content must be a string.
                if request.cached and (error.status in (400, 422) or "cache_control" in error.what):
                    request, was_cached = replace(request, cached=()), True
                elif not (self._modes and self._modes.refused(error)):
                    raise
                continue
            if was_cached:
                self._refused_cache.add(self._endpoint)
            if self._modes:
                self._modes.taken()
            return stream

    def _adapted(self, request: Request) -> Request:
        if request.cached and self._endpoint in self._refused_cache:
            request = replace(request, cached=())
        return replace(request, mode=self._modes.now) if self._modes else request
