"""Addresses of endpoints, and which key may go where: to its own origin, and to others that its owner has allowed.

An origin is scheme, host and port, as browsers use the word. Source: RFC 6454.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from .errors import ConfigError
from .text import check_home, user_folder


def origin_of(url: str) -> str:
    """Return `https://gateway.example:8443`; the port only where it is not the scheme's own."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: the whole of it, and not only its beginning."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=32)
def base_url(text: str, name: str = "the endpoint", *, allow_http: bool = False) -> str:
    """Return one base URL for all the ways to write it: with or without scheme, `/v1`, `/v1/messages`, a slash.

    allow_http: also to other machines than this.
    Raises: ConfigError, for anything that is no https address, nor an http one of this machine.
    """
    hint = "an endpoint looks like https://api.cometapi.com or http://127.0.0.1:8080"
    address = text.strip()
    from .redaction import looks_like_secret  # not at the top: loading stays quick

    # What may hold a password or a key is not said again.
    shown = f"{name} {text!r}" if not re.search("[@?#]", text) and not looks_like_secret(text) else name
    if "://" not in address:
        begin = re.match(r"(\[[^\]]*\]|[^:/]*)(?=:|/|$)", address)
        address = f"{'http' if begin and is_loopback(begin[1]) else 'https'}://{address}"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(f"{shown} is not a URL", hint) from None
    if parts.username or parts.password:
        raise ConfigError("the endpoint must not carry a user name or password", "set the key in COMETAPI_KEY")
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[\w.:-]+", host) or re.search(r"\s", address):
        raise ConfigError(f"{shown} is not an http(s) URL", hint)
    if parts.scheme == "http" and not is_loopback(host) and not allow_http:
        raise ConfigError(
            f"{shown} is not encrypted: all on the way could read the key and the questions",
            "use https://, or http:// with CometSettings.allow_http = True",
        )
    if parts.query or parts.fragment:
        raise ConfigError(f"{shown} has a query or fragment", hint)
    if "://" not in text and re.fullmatch(r"\w+", host) and host != "localhost" and port is None:
        raise ConfigError(f"{shown} is not auto, cometapi, local, or a URL", hint)
    path = re.sub(r"/+(v1(/+(messages|responses|chat/+completions|models|embeddings))?)?/*$", "", parts.path)
    return f"{parts.scheme}://{parts.netloc}{path}"


@lru_cache(maxsize=32)  # each question asks for it several times
def origin_of_address(address: str) -> str:
    """Return the origin of an address, "" where it is none."""
    if address in ("", "auto", "cometapi", "local"):
        return ""
    try:
        return origin_of(base_url(address, allow_http=True))
    except ConfigError:
        return ""


# ---- the origins that the user has allowed, one a line, in a file beside the key's


def is_allowed(origin: str) -> bool:
    with contextlib.suppress(OSError):
        return origin in file().read_text("utf-8", "replace").splitlines()
    return False


def allow(origin: str) -> None:
    """Remember that the user's key may go there; where that cannot be written, it is asked again another day."""
    with contextlib.suppress(OSError):
        check_home(file())
        file().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file().open("a", encoding="utf-8") as lines:
            lines.write(f"{origin}\n")


def file() -> Path:
    return user_folder("config") / "origins"
