"""Requests for media over the one transport: sent once, asked for again, and results fetched, the key held back.

A request that makes something is never sent again once bytes of it may have left; a look at a job always may be.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from ..api.client import HEADERS, Client, plain_transport, refusal
from ..api.retry import LARGEST_ERROR, backoff_s, retry_after_s
from ..api.transport import HTTPRequest, HTTPResponse
from ..errors import APIError, CometError, TransportError
from ..keys import without_key
from ..named_tuple import NamedTuple
from ..origins import is_loopback, origin_of
from ..strict_json import json_or_none
from .replies import Unclear
from .service import Body, Call

MOST_ANSWER = 50_000_000  # bytes of an answer in JSON, with pictures in it
MOST_AT_ONCE = 4  # times as many bytes of an answer with several pictures
MOST_REDIRECTS = 5
ROOM = 1_000_000  # bytes that the transport takes beyond it, so that our own message about the limit comes first
TRIES = 3  # at a result that does not come
FETCH_S = 3600.0  # seconds that a result may take to come
SUBMIT_S = 600.0  # seconds of silence in which a picture may be drawn; endpoints send nothing meanwhile


class CutOff(TransportError):
    """The answer ended before its end. content: what came of it."""

    def __init__(self, error: TransportError, content: bytes, content_type: str) -> None:
        super().__init__(error.what, error.hint, kind=error.kind)
        self.content, self.content_type = content, content_type


class ResultUnavailable(CometError):
    """A result that cannot be fetched, though the endpoint says that it is there."""


class Wire(NamedTuple):
    """An endpoint, as media are asked of it. wait_s: seconds that an answer may take, if more than usual.

    most: bytes of a result that are taken.
    """

    client: Client
    wait_s: float = SUBMIT_S
    most: int = MOST_ANSWER
    sleep: Callable[[float], None] = time.sleep

    def submit(self, call: Call, retries: int, watch: Callable[[bytes], None], number: int = 1) -> Body:
        """Send a request that makes something, once; again only where there was no connection to send it over.

        watch: gets the answer as it comes.        number: of the things that are asked for.
        Raises: APIError where the endpoint refuses; CutOff where only a part came; TransportError.
        """
        most = MOST_ANSWER * min(max(number, 1), MOST_AT_ONCE)
        request = self._request(call.path, call.content, call.content_type, max(self.wait_s, SUBMIT_S))
        for tried in range(retries + 1):
            try:
                response = self._sent(request._replace(most_bytes=most))
                break
            except TransportError as error:
                if error.kind != "connect" or tried == retries:
                    raise
                self.sleep(backoff_s(tried))
        content_type = response.headers.get("content-type", "")
        got = bytearray()
        try:
            for chunk in response.chunks:
                got += chunk
                watch(chunk)
        except TransportError as error:
            if "larger than" in error.what:
                error.what = f"the endpoint's answer is larger than {most // 10**6} MB, and was not read"
            raise CutOff(error, bytes(got), content_type) from None
        finally:
            response.close()
        return Body(bytes(got), content_type)

    def look(self, path: str) -> tuple[Body, float | None]:
        """Return what the endpoint says of a job, and the seconds that it asks to wait. Raises: CometError."""
        response = self._sent(self._request(path, None, "", self.client.limits.read_s))
        after = response.headers.get("openai-poll-after-ms", "")
        wait_s = float(after) / 1000 if after.isdigit() else retry_after_s(response.headers)
        # A film may be in it, in base64.
        return Body(response.body(self._most_status), response.headers.get("content-type", "")), wait_s

    @property
    def _most_status(self) -> int:
        return self.most * 4 // 3 + ROOM

    def fetch(self, address: str, path: Path, most: int, paint: Callable[[int], None]) -> bytes:
        """Fetch a result into a file. Returns: its first bytes.

        address: of the result, or a path of the endpoint's own.        most: bytes that are taken.
        paint: is told how many bytes have come.
        Raises: ResultUnavailable where it is not to be had; TransportError where the network fails three times.
        """
        last: CometError | None = None
        for tried in range(TRIES):
            if tried:
                self.sleep(backoff_s(tried))
            try:
                return self._fetched(self._absolute(address), path, most, paint)
            except APIError as error:
                if error.status < 500 and error.status not in (408, 425, 429):
                    raise _unavailable(address, error) from None
                last = error
            except TransportError as error:
                last = error
        assert last is not None
        if isinstance(last, APIError):
            raise _unavailable(address, last) from None
        raise last

    def _absolute(self, address: str) -> str:
        """Return the whole of an address. Raises: ResultUnavailable for what is none."""
        try:
            url = urljoin(f"{self.client.endpoint.base_url}/", address.strip())
            origin_of(url)  # also its port must be a number
        except ValueError:
            raise ResultUnavailable("the result's address is not an http address", KEPT) from None
        return url

    def _fetched(self, url: str, path: Path, most: int, paint: Callable[[int], None]) -> bytes:
        with contextlib.closing(_Closing(self._followed(url, most))) as closing:
            response = closing.response
            said = response.headers.get("content-length", "")
            size = int(said) if said.isdigit() and not response.headers.get("content-encoding") else None
            if size is not None and size > most:
                raise _too_large(url, size, most)
            return _written(response, path, most, size, url, paint)

    def _followed(self, url: str, most: int) -> HTTPResponse:
        """Return the response at an address, or where it leads to. The key goes to the endpoint alone."""
        own = origin_of(self.client.endpoint.base_url)
        has_key = origin_of(url) == own
        for _ in range(MOST_REDIRECTS):
            self._check_address(url, own)
            limits = self.client.limits
            request = HTTPRequest(
                url, None, {"user-agent": HEADERS["user-agent"], "accept": "*/*", "accept-encoding": "identity"},
                self.client.endpoint.key if has_key else None, is_loopback(urlsplit(url).hostname or ""),
                limits.environment, limits.connect_s, limits.read_s, FETCH_S, most + ROOM,
            )  # fmt: skip
            response = plain_transport()(request)
            if response.status not in (301, 302, 303, 307, 308):
                break
            response.close(at_once=True)
            url, has_key = self._absolute(urljoin(url, response.headers.get("location", ""))), False
        else:
            raise ResultUnavailable(f"the result's address redirects more than {MOST_REDIRECTS} times", KEPT)
        if response.status != 200:
            raise refusal(response)
        return response

    def _check_address(self, url: str, own: str) -> None:
        """Check that an address is not inside this machine or its network. Raises: ResultUnavailable where it is."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_near_by_right = origin_of(url) == own or not _is_public(urlsplit(own).hostname or "")
        if parts.scheme not in ("http", "https") or not host:
            raise ResultUnavailable("the result's address is not an http address", KEPT)
        if not is_near_by_right and not _is_public(host):
            raise ResultUnavailable(f"the result's address is inside this network ({host}), and was not asked", KEPT)

    def _request(self, path: str, content: bytes | None, content_type: str, most_s: float) -> HTTPRequest:
        endpoint, limits = self.client.endpoint, self.client.limits
        headers = {**HEADERS, "accept": "*/*"}
        if content_type:
            headers["content-type"] = content_type
        else:
            del headers["content-type"]
        return HTTPRequest(
            endpoint.base_url + path, content, headers, endpoint.key, endpoint.direct, limits.environment,
            limits.connect_s, most_s, most_s, self._most_status,
        )  # fmt: skip

    def _sent(self, request: HTTPRequest) -> HTTPResponse:
        key = self.client.endpoint.key
        try:
            response = plain_transport()(request)
        except CometError as error:
            raise without_key(error, key) from None
        if response.status >= 300:
            body = response.body(LARGEST_ERROR)
            answered = without_key(refusal(response._replace(chunks=[body])), key)
            # A page, or nothing, is the answer of what stands before the endpoint: the order may have arrived.
            is_clear = response.status < 500 or json_or_none(body.decode("utf-8", "replace")) is not None
            raise answered if is_clear else Unclear.of(answered)
        return response


class _Closing:
    """A response that is closed at once: what is left of a result is not waited for."""

    def __init__(self, response: HTTPResponse) -> None:
        self.response = response

    def close(self) -> None:
        self.response.close(at_once=True)


def _written(
    response: HTTPResponse, path: Path, most: int, size: int | None, url: str, paint: Callable[[int], None]
) -> bytes:  # fmt: skip
    first, got = b"", 0
    with path.open("wb") as file:
        for chunk in response.chunks:
            got += len(chunk)
            if got > most:
                raise _too_large(url, got, most)
            first = first if len(first) >= 64 else first + chunk[:64]
            file.write(chunk)
            paint(got)
        file.flush()
        os.fsync(file.fileno())
    if size is not None and got < size:
        raise TransportError(f"cut off: {got:,} of {size:,} bytes came", "run the cell again", kind="cut")
    return first


def shown_address(address: str) -> str:
    """Return an address without what signs it, and without a password, for a message."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else parts.path


def _unavailable(address: str, error: APIError) -> ResultUnavailable:
    why = "has expired, or is forbidden" if error.status in (401, 403, 404, 410) else "is not available"
    return ResultUnavailable(f"the result at {shown_address(address)} {why} ({error.status})", KEPT)


def _too_large(address: str, size: int, most: int) -> ResultUnavailable:
    return ResultUnavailable(
        f"the result at {shown_address(address)} is larger than {most / 1e6:,.0f} MB"
        + (f": {size / 1e6:,.0f} MB" if size > most + 1 else ""),
        "nothing was lost: CometSettings.media_limit_mb raises that, and the same cell fetches it then",
    )


KEPT = "the job is kept: %comet_jobs lists it, and %comet_resume fetches it again; nothing is ordered for that"


def _is_public(host: str) -> bool:
    if is_loopback(host):
        return False
    try:
        return ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return "." in host and not host.endswith((".local", ".internal", ".localhost"))
