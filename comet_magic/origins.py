"""Which key may go where: a key belongs to an origin, and goes to no other until its owner has said so.

An origin is scheme, host and port, as browsers use the word. Source: RFC 6454.
"""

from __future__ import annotations

import contextlib
import ipaddress
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

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
