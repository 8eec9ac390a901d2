"""The names of tools, as the API takes them, and the mark of those that run without asking."""

from __future__ import annotations

import re
from hashlib import sha256

LONGEST_NAME = 64  # characters, says the API
SAFE = "_comet_magic_is_safe"  # an attribute that `comet_magic.tool(safe=True)` sets


def api_name(name: str) -> str:
    """Return a name with `_` for each sign that the API does not take, and at most so many characters as it takes."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:LONGEST_NAME]


def unique_name(name: str) -> str:
    """Return such a name; the end of a long one becomes a digest of all of it, so that two long ones stay two."""
    if len(name) <= LONGEST_NAME:
        return api_name(name)
    return f"{api_name(name[: LONGEST_NAME - 9])}_{sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"
