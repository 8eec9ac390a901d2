"""A request, sent as the endpoint takes it: in another way, or without cache marks, where it refuses those."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..api.client import MessageStream, Streams
from ..errors import APIError
from ..messages.request import Request

if TYPE_CHECKING:
    from ..output.modes import Ways


class Sender:
    """Of one question to one endpoint. ways: to ask for a form, where one is asked for.

    refused_cache: the endpoints that take no `cache_control`; this one joins them when it turns out to be one.
    """

    def __init__(self, client: Streams, endpoint: str, refused_cache: set[str], ways: Ways | None) -> None:
        self._client, self._endpoint, self._refused_cache, self._ways = client, endpoint, refused_cache, ways

    def __call__(self, request: Request) -> MessageStream:
        """Raises: as `Client.stream`; what the last way met with."""
        if self._ways is None:
            return self._sent(request)
        while True:
            try:
                stream = self._sent(replace(request, way=self._ways.now))
            except APIError as error:
                if not self._ways.refused(error):
                    raise
            else:
                self._ways.taken()
                return stream

    def _sent(self, request: Request) -> MessageStream:
        """Once more without cache marks, where that is what the endpoint refuses."""
        if self._endpoint in self._refused_cache:
            request = replace(request, cached=())
        try:
            return self._client.stream(request)
        except APIError as error:
            # Not all name the field: some say only that a content must be a string.
            if not request.cached or (error.status not in (400, 422) and "cache_control" not in error.what):
                raise
        stream = self._client.stream(replace(request, cached=()))
        self._refused_cache.add(self._endpoint)
        return stream
