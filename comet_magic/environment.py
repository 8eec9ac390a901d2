"""The variables of this process, for what is no setting: its start, its children, its network and its terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def terminal_shows_colours() -> bool:
    """Return whether what is printed goes to a terminal that draws. Source: no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


@cache
def environment_at_start() -> dict[str, str]:
    """Return the variables with which this process was started: what a notebook sets later is not the user's own."""
    with contextlib.suppress(OSError):
        if pairs := [pair for pair in Path("/proc/self/environ").read_bytes().split(b"\0") if b"=" in pair]:
            return {
                os.fsdecode(name): os.fsdecode(value) for name, _, value in (pair.partition(b"=") for pair in pairs)
            }
    return dict(os.environ)


def variables_named(names: Iterable[str]) -> dict[str, str]:
    """Return those variables of the environment that are set."""
    return {name: os.environ[name] for name in names if name in os.environ}


def environment_without_secrets() -> dict[str, str]:
    """Return the environment for a child that is to have neither the key nor another secret."""
    from .redaction import is_secret_name

    return {name: value for name, value in os.environ.items() if not is_secret_name(name)}


def network_environment() -> tuple[str, ...]:
    """Return the variables that say how to reach the network, as they are now."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return tuple(os.environ.get(spelling, "") for name in names for spelling in (name, name.lower()))
