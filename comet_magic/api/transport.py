"""The only HTTP: `HTTPRequest` → `HTTPResponse`, read by one thread into a queue on which the caller waits.

That one shape gives the interrupt (a wait on a queue can be interrupted everywhere, a blocked read cannot), our own
deadline under endless pings, and a moment's silence as an empty chunk, in which the caller can paint.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ..errors import NO_THREAD, NO_THREAD_HINT, TransportError
from ..keys import Key
from ..named_tuple import NamedTuple
from ..queues import next_of
from .unpacking import Unpacker

QUIET_S = 0.05  # seconds of silence after which the caller gets an empty chunk
DRAIN_S = 0.05  # seconds given to a finished reply to end its body, so that the connection can be used again
CHUNK = 65536
MOST_BYTES = 64_000_000  # of a decoded body; no model's reply comes near it
MOST_ROUTES = 16  # URLs for which it is remembered how they are reached
MOST_AHEAD = 8_000_000  # bytes that are read before they are wanted


class HTTPRequest(NamedTuple):
    """One request. body: None for a GET. key: goes into the Authorization header. direct: past any proxy.

    connect_s, read_s: seconds until a connection stands, and without any data. deadline_s: seconds for all of it.
    environment: the proxy variables as they are now; while they stay so, what they mean is not worked out again.
    most_bytes: of a decoded body that is taken.
    """

    url: str
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    key: Key | None = None
    direct: bool = False
    environment: tuple[str, ...] | None = None
    connect_s: float = 10
    read_s: float = 120
    deadline_s: float = 600
    most_bytes: int = MOST_BYTES


def _nothing(at_once: bool = False) -> None:
    pass


class HTTPResponse(NamedTuple):
    """One response, which whoever asked for it closes.

    headers: names in lower case.        chunks: the decoded body as it comes; b"" is a moment's silence.
    close(at_once): ends it. Without at_once, a body that is about to end is let end.
    """

    status: int
    headers: Mapping[str, str]
    chunks: Iterable[bytes]
    close: Callable[..., None] = _nothing

    def body(self, most: int = 2**25) -> bytes:
        """Return the whole body, up to `most` bytes; closes the response."""
        got = bytearray()
        try:
            for chunk in self.chunks:
                got += chunk
                if len(got) > most:
                    break
        finally:
            self.close()
        return bytes(got)


Transport = Callable[[HTTPRequest], HTTPResponse]


def multipart(parts: Sequence[tuple[str, Any]]) -> tuple[bytes, str]:
    """Return a form's body and its content type. parts: (name, text), or (name, (file name, bytes, media type))."""
    body, content_type = urllib3.encode_multipart_formdata(parts)
    return body, content_type


class RequestsTransport:
    """A `Transport` for any number of threads, which can be interrupted; connections are kept and used again."""

    def __init__(self) -> None:
        self._begin()
        # A child uses none of its parent's connections, nor of the locks around them.
        if hasattr(os, "register_at_fork"):
            still_there = weakref.WeakMethod(self._begin)  # so that one that nobody holds is closed
            os.register_at_fork(after_in_child=lambda: (begin := still_there()) and begin())

    def _begin(self) -> None:
        self._connections = _Connections(most=8)

    def __call__(self, request: HTTPRequest) -> HTTPResponse:
        """Raises: TransportError when no answer came; KeyboardInterrupt at any moment."""
        streamed = _StreamedRequest(request, self._connections)
        try:
            return streamed.response()
        except BaseException:
            streamed.close(at_once=True)
            raise


class PooledTransport:
    """A `Transport` for many threads, each of which reads its own reply, whole; for replies that nobody watches.

    It wakes no other thread, and keeps as many connections as there are threads. `abandon` ends all that is in flight,
    from any thread; nothing is sent after it.
    """

    def __init__(self, threads: int) -> None:
        self._connections = _Connections(most=threads)
        self._in_flight: set[_PooledRequest] = set()
        self._is_abandoned = False

    def __call__(self, request: HTTPRequest) -> HTTPResponse:
        """Raises: TransportError when no whole answer came."""
        pooled = _reader.request = _PooledRequest()
        self._in_flight.add(pooled)
        pooled.abandoned = self._is_abandoned
        answered = False
        deadline = time.monotonic() + request.deadline_s
        try:
            response = self._connections.send(request)
            answered = True
            try:
                unpacker = Unpacker(response.headers.get("content-encoding", ""))
                body = bytearray()
                while chunk := response.read1(CHUNK, decode_content=False):
                    for piece in unpacker.feed(chunk):
                        body += piece
                    if len(body) > request.most_bytes:
                        raise _too_large(request)
                    if time.monotonic() > deadline:
                        raise _timed_out(request.deadline_s, answered=True)
                for piece in unpacker.end():
                    body += piece
            except BaseException:
                response.close()  # what is left of it must not be the beginning of another reply
                raise
            response.release_conn()
            return HTTPResponse(response.status, _headers_of(response), [bytes(body)])
        except Exception as error:  # noqa: BLE001  # in our words, without the frames in which the key stands
            failure = _failure(error, request, answered)
        finally:
            self._in_flight.discard(pooled)
            _reader.request = None
        raise failure

    def abandon(self) -> None:
        self._is_abandoned = True
        for pooled in list(self._in_flight):
            pooled.abandoned = True
            _shut_down(pooled.socket)

    def close(self) -> None:
        """Close the connections that wait for a further request."""
        self._connections.close()


class _PooledRequest:
    """A request whose thread waits for it itself."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.abandoned = False


def _shut_down(connection: Any) -> None:
    """Wake the thread that reads from a socket; to close the response would wait for the server's next byte."""
    if connection:
        with contextlib.suppress(OSError):
            # TLS inside a proxy's TLS is a wrapper around the socket.
            getattr(connection, "socket", connection).shutdown(socket.SHUT_RDWR)


_END = object()
_proxy_lookup = requests.Session()  # is only asked what the environment says
_reader = threading.local()  # for which request this thread reads


class _StreamedRequest:
    """One request and its response: the reader thread fills the queue, the caller empties it."""

    def __init__(self, request: HTTPRequest, connections: _Connections) -> None:
        self.request = request
        self.socket: socket.socket | None = None
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.ended = False
        self.abandoned = False
        self._read_bytes = self._taken_bytes = 0
        self.deadline = time.monotonic() + request.deadline_s
        self._connections = connections
        # Not threading.Thread: its start() waits until the thread runs, which costs as much as the request.
        try:
            _thread.start_new_thread(self._read, ())
        except RuntimeError:
            raise TransportError(f"nothing was sent: {NO_THREAD}", NO_THREAD_HINT, kind="thread") from None

    # ---- the reader thread

    def _read(self) -> None:
        _reader.request = self
        answered = False
        try:
            with self._connections.send(self.request) as response:
                answered = True
                unpacker = Unpacker(response.headers.get("content-encoding", ""))
                chunk = response.read1(CHUNK, decode_content=False)
                pieces = unpacker.feed(chunk)
                first = next(pieces, b"")
                # Head, first bytes and, where that is all, the end are one item: each waking of a thread costs much.
                is_all = not chunk or (response.closed and unpacker.is_plain)
                self.queue.put((response, first, is_all))
                while not is_all:
                    for piece in pieces:
                        self._wait_for_room(len(piece))
                        self.queue.put(piece)
                    chunk = response.read1(CHUNK, decode_content=False)
                    is_all = not chunk
                    pieces = unpacker.feed(chunk)
                    if is_all:
                        for piece in unpacker.end():
                            self.queue.put(piece)
                        self.socket = None  # from now on, another request may use it
                        self.queue.put(_END)
        except Exception as error:  # noqa: BLE001  # whatever went wrong belongs to the thread that waits for it
            self.queue.put(_failure(error, self.request, answered))

    def _wait_for_room(self, size: int) -> None:
        """Read no more than a little ahead of the caller. size: of the chunk that was put last."""
        self._read_bytes += size
        while self._read_bytes - self._taken_bytes > MOST_AHEAD:
            if self.abandoned:
                raise TransportError("the request was given up")
            time.sleep(0.005)

    # ---- the caller's thread

    def response(self) -> HTTPResponse:
        while (item := self._next()) is None:
            if time.monotonic() > self.deadline:
                raise _timed_out(self.request.deadline_s, answered=False)
        if isinstance(item, Exception):
            raise item
        response, chunk, self.ended = item
        return HTTPResponse(response.status, _headers_of(response), self._chunks(chunk), self.close)

    def _next(self) -> Any:
        try:
            return next_of(self.queue, QUIET_S)
        except Empty:
            return None

    def _chunks(self, first: bytes) -> Iterator[bytes]:
        self._taken_bytes = len(first)
        if first:
            yield first
        while not self.ended:
            item = self._next()
            if item is None:
                yield b""
            elif isinstance(item, bytes):
                self._taken_bytes += len(item)
                if self._taken_bytes > self.request.most_bytes:
                    raise _too_large(self.request)
                yield item
            else:
                self.ended = True
                if isinstance(item, Exception):
                    raise item
                return
            if time.monotonic() > self.deadline:
                raise _timed_out(self.request.deadline_s, answered=True)

    def close(self, at_once: bool = False) -> None:
        """Let go of the connection: to be used again if the body ends in a moment, else for good."""
        if not at_once:
            until = time.monotonic() + DRAIN_S
            while not self.ended and (left := until - time.monotonic()) > 0:
                with contextlib.suppress(Empty):
                    self.ended = not isinstance(next_of(self.queue, left), bytes)
        if not self.ended and not self.abandoned:
            self.abandoned = True
            _shut_down(self.socket)


def _headers_of(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    """Return the headers, names in lower case; one that came several times is joined with commas."""
    return {name.lower(): response.headers[name] for name in response.headers}


class _Connections:
    """Sends requests over kept connections, from any thread.

    requests' adapter finds the proxy and the certificates, once for each URL. Its session is not used: it adds cookies,
    redirects and .netrc, and works all of that out again for each request, which takes as long as the rest.
    """

    def __init__(self, most: int) -> None:
        """most: connections to each host that are kept."""
        self._adapter = _Adapter(pool_maxsize=most)
        self._routes: dict[tuple[object, ...], tuple[HTTPConnectionPool, str]] = {}

    def send(self, request: HTTPRequest) -> urllib3.BaseHTTPResponse:
        """Return the response when its head is there. Raises: what urllib3 and requests raise."""
        pool, url = self._route(request)
        timeout = urllib3.Timeout(connect=request.connect_s, read=request.read_s)
        headers = dict(request.headers)
        if request.key:
            headers["authorization"] = f"Bearer {request.key.reveal()}"
        return pool.urlopen(
            "GET" if request.body is None else "POST", url, body=request.body, headers=headers, timeout=timeout,
            retries=False, redirect=False, assert_same_host=False, preload_content=False, decode_content=False,
        )  # fmt: skip

    def _route(self, request: HTTPRequest) -> tuple[HTTPConnectionPool, str]:
        """Return the connections that lead to a URL, and how it is written in a request over them."""
        to = (request.url, request.direct, request.environment)
        if route := self._routes.get(to):
            return route
        direct = {"no_proxy": urlsplit(request.url).hostname or ""} if request.direct else {}
        options = _proxy_lookup.merge_environment_settings(request.url, direct, True, True, None)
        verify, proxies, cert = options["verify"], options["proxies"], options["cert"]
        prepared = requests.Request("GET", request.url).prepare()
        pool: Any = self._adapter.get_connection_with_tls_context(prepared, verify, proxies=proxies, cert=cert)
        self._adapter.cert_verify(pool, prepared.url, verify, cert)  # type: ignore[no-untyped-call]
        route = (pool, self._adapter.request_url(prepared, proxies))
        if request.environment is not None:
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            self._routes[to] = route
        return route

    def close(self) -> None:
        self._routes.clear()  # a pool closes its connections when nobody holds it any more
        self._adapter.close()


class _Watched:
    """A connection that tells its request which socket it waits on, and sends nothing for one that was given up."""

    sock: Any
    debuglevel = 0  # at 1, http.client prints the Authorization header

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # urllib3's, in the classes below
        self._note_socket()

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._note_socket()
        super().request(*args, **kwargs)  # type: ignore[misc]

    def _note_socket(self) -> None:
        """Note the socket, so that the request can be ended from outside, also while the server is silent."""
        request: _StreamedRequest | _PooledRequest = _reader.request
        request.socket = self.sock
        if request.abandoned:
            raise TransportError("the request was given up")


class _HTTPConnection(_Watched, HTTPConnection):
    pass


class _HTTPSConnection(_Watched, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class _Adapter(HTTPAdapter):
    """requests' adapter, with connections that tell their request which socket they wait on."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if isinstance(manager, urllib3.ProxyManager):
            manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        return manager


# ---- failures, in our words. Built here and raised elsewhere, so that none drags frames along in which the key stands.


def _failure(error: Exception, request: HTTPRequest, answered: bool) -> TransportError:
    """Return the exception of requests or urllib3 as ours. answered: whether the response had begun."""
    if isinstance(error, TransportError):
        return error.with_traceback(None)
    where = urlsplit(request.url).netloc.rpartition("@")[2]
    if answered:
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            return _timed_out(request.read_s, answered=True, silent=request.read_s < request.deadline_s)
        return TransportError("cut off: the connection broke in the middle of the reply", _AGAIN, kind="cut")
    if isinstance(error, urllib3.exceptions.ProxyError):
        return TransportError(f"the proxy for {where} cannot be reached", _PROXY, kind="proxy")
    if isinstance(error, urllib3.exceptions.SSLError):
        return TransportError(f"the TLS connection to {where} failed: {_tls_reason(error)}", _TLS, kind="tls")
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return TransportError(f"cannot connect to {where}: {_reason(error)}", _CONNECT, kind="connect")
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        what = f"cannot connect to {where}: no connection within {request.connect_s:g} s"
        return TransportError(what, _CONNECT, kind="connect")
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return _timed_out(request.read_s, answered=False, silent=request.read_s < request.deadline_s)
    if isinstance(error, OSError) and "CA certificate bundle" in str(error):
        path = str(error).rsplit(": ", 1)[-1]
        return TransportError(f"nothing was sent: the certificates are not in {path}", _BUNDLE, kind="tls")
    # These come while the way is worked out, before anything is sent; those of requests are OSErrors, too.
    if isinstance(error, requests.RequestException | urllib3.exceptions.LocationValueError):
        return TransportError(
            f"nothing was sent: the address of {where}, or of its proxy, cannot be used",
            "check CometSettings.endpoint, and HTTPS_PROXY, HTTP_PROXY and NO_PROXY in the environment", kind="proxy",
        )  # fmt: skip
    if isinstance(error, urllib3.exceptions.InvalidHeader):  # the server has answered, so it is not asked again
        return TransportError(
            f"the head of the reply from {where} cannot be read; the request may have been billed",
            "check CometSettings.endpoint: its server, or a proxy before it, sends two lengths", kind="other",
        )  # fmt: skip
    if isinstance(error, urllib3.exceptions.HTTPError | OSError):
        what = f"{where} closed the connection before it answered; the request may have been billed"
        return TransportError(what, _AGAIN, kind="reset")
    return TransportError(f"the request to {where} failed: {type(error).__name__}", _CONNECT, kind="other")


def _too_large(request: HTTPRequest) -> TransportError:
    what = f"cut off: the reply is larger than {request.most_bytes // 10**6:,} MB"
    return TransportError(what, _SMALLER, kind="cut")


_SMALLER = "ask for less, or check CometSettings.endpoint: no model writes so much"
_AGAIN = "run the cell again"
_CONNECT = "check the network and CometSettings.endpoint"
_PROXY = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY in the environment"
_BUNDLE = "REQUESTS_CA_BUNDLE, or CURL_CA_BUNDLE, names the file: correct it, or unset it"
_TLS = "check the clock, the proxy and REQUESTS_CA_BUNDLE; certificates are always verified"


def _reason(error: BaseException) -> str:
    """Return the operating system's or the TLS library's own words, from inside the wrappers around them."""
    text = str(error)
    for mark, words in (
        ("Name or service not known", "the name is unknown"),
        ("nodename nor servname", "the name is unknown"),
        ("getaddrinfo failed", "the name is unknown"),
        ("Temporary failure in name resolution", "the name cannot be looked up"),
        ("Connection refused", "nothing listens there"),
        ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
        ("Network is unreachable", "the network cannot be reached"),
    ):
        if mark in text:
            return words
    return text.rsplit(":", 1)[-1].strip(" ')\">") or type(error).__name__


def _tls_reason(error: BaseException) -> str:
    """Return what OpenSSL says: its reason's name and words, without the line of its source."""
    text = re.sub(r"\s*\(_ssl\.c:\d+\)", "", str(error))
    if untrusted := re.search(r"certificate verify failed: ([^\"()]+)", text):
        why = untrusted[1].rstrip(" .")
        return f"its certificate is not trusted: {why if why.count(chr(39)) % 2 == 0 else why.rstrip(chr(39))}"
    if mismatch := re.search(r"hostname '[^']*' doesn't match [^)\"]*|Hostname mismatch[^\"()]*", text):
        return f"its certificate is not trusted: {mismatch[0].strip(' .')}"
    if named := re.search(r"\[(?:SSL|X509)(?:: ([A-Z0-9_]+))?\] ([^'\"()\[\]]+)", text):
        is_plain = named[1] in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")
        what = f"{named[2].strip(' .')} ({named[1]})" if named[1] else named[2].strip(" .")
        return what + ("; it seems to answer without TLS, as http://" if is_plain else "")
    return _reason(error)


def _timed_out(seconds: float, *, answered: bool, silent: bool = False) -> TransportError:
    if not answered:
        what = f"no answer within {seconds:g} s; the request may have been billed, so it was not sent again"
    elif silent:
        what = f"cut off: nothing came for {seconds:g} s"
    else:
        what = f"cut off: the reply took more than {seconds:g} s"
    setting = "read_timeout_s" if silent else "deadline_s"
    return TransportError(what, f"run the cell again, or raise CometSettings.{setting}", kind="timeout")
