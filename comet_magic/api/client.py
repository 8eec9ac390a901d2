"""One `Request` → one `MessageStream`; and where settings become a client.

Whatever an endpoint answers that is no reply becomes an `APIError` here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Protocol
from urllib.parse import quote

from .._version import VERSION
from ..environment import network_environment
from ..errors import APIError, CometError, TransportError
from ..keys import Key, without_key
from ..messages.message import LONGEST_NAME, Message
from ..messages.models import OfferedModel
from ..messages.request import CHAT, GRAMMAR, Request
from ..named_tuple import NamedTuple
from ..settings import CometSettings
from ..suggestions import did_you_mean
from .dialect import dialect, offered_model
from .endpoint import Announce, Endpoint, find_endpoint
from .error_replies import error_from
from .events import MessageBuilder, StreamEvent, stream_events
from .retry import (
    LARGEST_ERROR,
    LONGEST_WAIT_S,
    Retrying,
    decoded,
    ignore_lost,
    is_busy,
    is_passing,
    retry_after_s,
    wait_of,
)
from .transport import MOST_BYTES, HTTPRequest, HTTPResponse, RequestsTransport, Transport

PATIENCE_S = 0.3  # seconds without a word until it is said that something is going on
NO_LIST = "no_list"
CHECK_S = 10.0  # seconds that `check` waits
MOST_MODELS = 2000  # of a list of models
MOST_BYTES_OF_LINES = 4_000_000_000  # of results that are read line by line, and never held
MOST_PAGES = 10  # of the list of prices
WAITING = "waiting for the first words …"
HEADERS = {
    # Version 2026-10-21 would turn temperature into an error.
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "user-agent": f"comet_magic/{VERSION}",
}


class TimeLimits(NamedTuple):
    """Seconds that a request may take, and the variables that say how to reach the network, as they are now.

    connect_s: until a connection stands.        read_s: of silence.        deadline_s: for all of a reply.
    """

    connect_s: float = 10
    read_s: float = 120
    deadline_s: float = 600
    environment: tuple[str, ...] | None = None

    @classmethod
    def of(cls, settings: CometSettings) -> TimeLimits:
        seconds = (settings.connect_timeout_s, settings.read_timeout_s, settings.deadline_s)
        return cls(*seconds, network_environment())


DEFAULT_LIMITS = TimeLimits()


class Streams(Protocol):
    """Whatever can answer a request: a `Client`, something that wraps one, a test's fake."""

    def stream(self, request: Request) -> MessageStream: ...


class MessageStream:
    """A reply in progress: iterate its events, and ask for `message` or `text` at any time. Use it in a `with`.

    Iterating raises, with what had arrived in the error's `partial`: APIError for an error in the stream,
    TransportError when the reply is cut off.
    """

    def __init__(
        self,
        request: Request,
        response: HTTPResponse,
        began: float,
        label: str | None = None,
        key: Key | None = None,
        events: Callable[[Iterable[bytes]], Iterator[StreamEvent]] = stream_events,
    ) -> None:
        """key: the one that the request was sent with; no error shows it.        events: of the request's dialect."""
        self._key = key
        self._builder = MessageBuilder()
        self._known = {
            "limit": request.max_tokens,
            "label": label,
            "request_id": response.headers.get("request-id") or response.headers.get("x-request-id"),
        }
        self._response = response
        self._began = began
        self._elapsed_s: float | None = None
        self._incomplete: str | None = None
        self._ended: Message | None = None  # the message, once nothing more comes
        self._events: Iterator[StreamEvent] = events(response.chunks)

    @property
    def text(self) -> str:
        return self._builder.text

    @property
    def has_text(self) -> bool:
        return self._builder.has_text

    @property
    def message(self) -> Message:
        if self._ended is not None and self._ended.incomplete == self._incomplete:
            return self._ended
        elapsed_s = self._elapsed_s if self._elapsed_s is not None else time.monotonic() - self._began
        message = self._builder.message(elapsed_s=elapsed_s, incomplete=self._incomplete, **self._known)
        if self._elapsed_s is not None:
            self._ended = message
        return message

    def begins_with_passing_error(self, announce: Announce = lambda text: None) -> bool:
        """Look at the events before the first words: an overloaded endpoint may say so only after its 200.

        announce: is told when that takes a while.
        """
        patience = time.monotonic() + PATIENCE_S
        seen: list[StreamEvent] = []
        passing = False
        for event in self._events:
            if event["type"] == "ping":
                if seen:  # what comes later is for who reads on
                    break
                if time.monotonic() > patience:
                    announce(WAITING)
                    patience = float("inf")
                continue
            seen.append(event)
            passing = event["type"] == "error" and is_passing(error_from(200, {**event, "type": "error"}))
            if event["type"] not in ("message_start", "content_block_start"):
                break
        self._events = chain(seen, self._events)
        return passing

    def __iter__(self) -> Iterator[StreamEvent]:
        try:
            for event in self._events:
                if event["type"] == "error":
                    raise error_from(200, {**event, "type": "error"})
                self._builder.add(event)
                yield event
            if not self._builder.finished and not self._incomplete:
                raise TransportError(
                    "cut off: the stream ended in the middle of the reply", "run the cell again", kind="cut"
                )
        except CometError as error:
            if self._incomplete:  # stopped from outside: the broken connection is our own doing
                return
            error = without_key(error, self._key)
            self._incomplete = error.what
            self._end(at_once=True)
            error.partial = self.message if self.has_text else None
            raise
        self._end()

    def until_done(self) -> Message:
        """Read to the end, and return the whole message."""
        for _ in self:
            pass
        return self.message

    def stop(self, why: str = "stopped by you") -> None:
        """End the reply now, keeping what has arrived; from any thread."""
        if self._elapsed_s is None:
            self._incomplete = self._incomplete or why
            self._end(at_once=True)

    def _end(self, at_once: bool = False) -> None:
        if self._elapsed_s is None:
            self._elapsed_s = time.monotonic() - self._began
            self._response.close(at_once=at_once)

    def __enter__(self) -> MessageStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop("stopped by you" if kind is None or issubclass(kind, KeyboardInterrupt) else "stopped by an error")


class Client(NamedTuple):
    """An endpoint. Holds no state of its own, and may be used by many threads.

    transport: how requests travel.        endpoint: where to, and with which key.
    announce: gets a sentence when there is something to wait for.
    limits: how long each request may take.
    """

    transport: Transport
    endpoint: Endpoint
    announce: Announce = lambda text: None
    limits: TimeLimits = DEFAULT_LIMITS

    def stream(self, request: Request) -> MessageStream:
        """Send `request`; return its reply as it begins to come.

        Raises: APIError when the endpoint refuses; TransportError when it cannot be reached.
        """
        if self.endpoint.model:
            request = replace(request, model=self.endpoint.model)
        if request.mode == GRAMMAR:  # the embedded model's server holds a reply to a schema on its chat endpoint alone
            request = replace(request, dialect=CHAT, stream=False)
        spoken = dialect(request.dialect)
        began = time.monotonic()
        for again in (True, False):
            spent_s = 0.0 if again else time.monotonic() - began
            limits = self.limits._replace(deadline_s=max(self.limits.deadline_s - spent_s, 0.001))
            client = self._replace(limits=limits)
            response = client._send(spoken.path, spoken.body(request), is_streamed=request.stream)
            known = (self.endpoint.label, self.endpoint.key, spoken.events)
            try:
                stream = MessageStream(request, response, began, *known)
                if not again or not stream.begins_with_passing_error(self.announce):
                    break
                response.close(at_once=True)
                self.announce("the endpoint is overloaded: asking once more")
            except CometError as error:
                response.close(at_once=True)
                if not (again and isinstance(error, APIError) and is_passing(error)):
                    raise without_key(error, self.endpoint.key) from None
                self.announce("the endpoint is overloaded: asking once more")
            except BaseException:
                response.close(at_once=True)
                raise
        return stream

    def fetch(self, path: str, body: str | None = None) -> dict[str, Any]:
        """Return the JSON object at a path, or the one that answers a body which is no question.

        Raises: APIError for anything else.
        """
        raw = self._send(path, body).body()
        try:
            reply = json.loads(raw)  # it may be megabytes of numbers, which are looked at one by one later
        except (ValueError, RecursionError):
            reply = decoded(raw)
        if not isinstance(reply, dict) or reply.get("error"):
            raise without_key(error_from(200, reply), self.endpoint.key)
        return reply

    def lines(self, path: str) -> Iterator[bytes]:
        """Yield the lines at a path as they come, however many there are. Raises: APIError; TransportError."""
        response = self._send(path, is_large=True)
        rest = b""
        try:
            for chunk in response.chunks:
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
            if rest:
                yield rest
        finally:
            response.close(at_once=True)

    def models(self) -> list[dict[str, Any]]:
        """Return what the endpoint offers: one object a model, with at least its `id`.

        A list of thousands is cut; a name of hundreds of characters, or with what cannot be printed, is none.
        Raises: APIError when the endpoint has no such list.
        """
        usable: dict[str, dict[str, Any]] = {}
        after = ""
        for _ in range(MOST_PAGES):
            try:
                body = decoded(self._send(f"/v1/models{after}").body())
            except CometError:
                if usable:  # a page that is not there ends the list
                    break
                raise
            if isinstance(body, dict) and body.get("error"):
                raise without_key(error_from(200, body), self.endpoint.key)
            data = body.get("data") if isinstance(body, dict) else body
            if not isinstance(data, list):
                raise APIError("the endpoint has no list of models", "any name can be set all the same", code=NO_LIST)
            known = len(usable)
            usable.update(
                (model["id"], model) for model in data if isinstance(model, dict) and _is_name(model.get("id"))
            )
            if data and not usable:
                raise APIError(
                    f"the endpoint's list of {len(data):,} models names no id",
                    "any name can be set all the same", code=NO_LIST,
                )  # fmt: skip
            page = body if isinstance(body, dict) else {}
            has_more = page.get("has_more") in (True, "true")
            last = (page.get("last_id") or next(reversed(usable), None)) if has_more else None
            if not _is_name(last) or len(usable) == known or len(usable) >= MOST_MODELS:
                break
            after = f"?after_id={quote(str(last), safe='')}"
        return without_key(list(islice(usable.values(), MOST_MODELS)), self.endpoint.key)

    def published_models(self) -> dict[str, OfferedModel]:
        """Return what CometAPI publishes for everyone of its models, by their ids: kinds, dialects, prices.

        Source: GET /api/models of its documentation, which asks for no key; none is sent.
        """
        published: dict[str, OfferedModel] = {}
        client = self._replace(endpoint=self.endpoint._replace(key=None))
        for page in range(1, MOST_PAGES + 1):
            body = decoded(client._send(f"/api/models?page={page}&page_size=1000").body())
            models = body.get("data") if isinstance(body, dict) else None
            records = [model for model in models if isinstance(model, dict)] if isinstance(models, list) else []
            offer = {record["id"]: offered_model(record) for record in records if _is_name(record.get("id"))}
            total = body.get("total") if isinstance(body, dict) else None
            if not offer.keys() - published.keys():
                break
            published.update(offer)
            if not isinstance(total, int) or len(records) * page >= total:
                break
        return published

    def offered_models(self) -> dict[str, OfferedModel]:
        """Return what the endpoint's own list says of its models, by their ids. Raises: as `models`."""
        return {record["id"]: offered_model(record) for record in self.models()}

    def count_tokens(self, request: Request) -> int | None:
        """Return the endpoint's own estimate of the prompt's tokens; None where it has none."""
        body = {k: v for k, v in request.to_wire().items() if k not in ("max_tokens", "stream")}
        try:
            counted = decoded(self._send("/v1/messages/count_tokens", json.dumps(body)).body())
        except CometError:
            return None
        count = counted.get("input_tokens") if isinstance(counted, dict) else None
        return count if isinstance(count, int) else None

    def _send(
        self, path: str, body: str | None = None, *, is_streamed: bool = False, is_large: bool = False
    ) -> HTTPResponse:  # fmt: skip
        limits = self.limits
        request = HTTPRequest(
            self.endpoint.base_url + path,
            None if body is None else body.encode("ascii"),
            HEADERS,
            self.endpoint.key,
            self.endpoint.direct,
            limits.environment,
            limits.connect_s,
            # A reply that comes in one piece is silent until then.
            limits.read_s if is_streamed or body is None else limits.deadline_s,
            limits.deadline_s,
            MOST_BYTES_OF_LINES if is_large else MOST_BYTES,
        )
        try:
            response = self.transport(request)
        except CometError as error:
            raise without_key(error, self.endpoint.key) from None
        if response.status >= 300:
            raise without_key(refusal(response), self.endpoint.key)
        return response


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def refusal(response: HTTPResponse) -> APIError:
    """Return the error in a response whose status is no success."""
    if response.status < 400:
        location = response.headers.get("location", "an unnamed place").partition("?")[0]  # behind it, what signs it
        return APIError(
            f"{response.status}: the endpoint redirects to {location}, which is not followed: the key would go there",
            "set CometSettings.endpoint to the address that answers itself",
            status=response.status,
        )
    body = response.body(LARGEST_ERROR)
    error = error_from(response.status, decoded(body), response.headers)
    error.retry_after = wait_of(response.headers, body) if is_busy(response.status) else retry_after_s(response.headers)
    if error.retry_after and error.retry_after > LONGEST_WAIT_S:
        error.hint = f"the endpoint asks to wait {error.retry_after:,.0f} s"
        if error.retry_after < 86_400:
            again = time.strftime("%H:%M", time.localtime(time.time() + error.retry_after))
            error.hint += f": run the cell again after {again}"
    return error


# ---- from settings to a reply

_transport = RequestsTransport()


def plain_transport() -> Transport:
    """Return the transport of this process without its retries, for what is free and an extra."""
    return _transport


def connect(settings: CometSettings, announce: Announce = lambda text: None) -> Client:
    """Return a client for the endpoint that `settings` name now. Raises: ConfigError when there is none to talk to."""
    return client_for(find_endpoint(settings), TimeLimits.of(settings), settings.retries, announce)


def client_for(
    endpoint: Endpoint, limits: TimeLimits, retries: int, announce: Announce, lost: Callable[[str], None] = ignore_lost
) -> Client:
    """Return a client for that endpoint, which is started where it is the local model. Raises: ConfigError.

    lost: as of `Retrying`.
    """
    return Client(Retrying(_transport, retries, announce, lost=lost), endpoint.opened(announce), announce, limits)


def check(settings: CometSettings, announce: Announce = lambda text: None) -> str:
    """Ask the endpoint something free; say in a line whether it answers, takes the key, and offers the model.

    Raises: ConfigError, TransportError or APIError, as a cell would.
    """
    client = connect(settings, announce)
    limits = client.limits._replace(read_s=CHECK_S, deadline_s=CHECK_S)
    client = client._replace(transport=_transport, limits=limits)
    began = time.monotonic()
    try:
        offered: list[str] | None = [model["id"] for model in client.models()]
    except APIError as error:
        if error.code != NO_LIST and error.status not in (404, 405):
            raise
        offered = None
    milliseconds = (time.monotonic() - began) * 1000
    endpoint = client.endpoint
    model = endpoint.model or settings.model_named(settings.model)
    key = "no key is needed" if endpoint.model else "key accepted" if endpoint.key else "no key was sent"
    if offered is None:
        return (
            f"reachable in {milliseconds:.0f} ms · it has no list of models, so key and model show with the first cell"
        )
    offer = f"{model} is offered"
    if model not in offered:
        near = did_you_mean(model, offered)
        offer = f"warning: {model} is not in its list of {len(offered)} models{near or '; %claude_models lists them'}"
    return f"reachable in {milliseconds:.0f} ms · {key} · {offer}"
