"""The names of tools, as the API takes them, and the mark of those that run without asking."""

from __future__ import annotations

import re
from hashlib import sha256

LONGEST_NAME = 64  # characters, says the API
SAFE = "_comet_magic_is_safe"  # an attribute that `comet_magic.tool(safe=True)` sets


def api_name(name: str) -> str:
    """Return a name with `_` for each sign that the API does not take, and at most so many characters as it takes."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:LONGEST_NAME]


def unique_name(prefix: str, name: str) -> str:
    """Return `prefix` and a name as the API takes them; what cannot be said so, or is too long, ends with a digest."""
    plain, digest = api_name(name), sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    if not plain.strip("_-"):
        plain = f"tool_{digest}"
    whole = f"{prefix}{plain}"
    return whole if len(prefix) + len(name) <= LONGEST_NAME else f"{whole[: LONGEST_NAME - 9]}_{digest}"
