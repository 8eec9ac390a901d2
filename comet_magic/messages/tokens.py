"""Estimates of tokens, rather too many than too few."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from . import image_size
from .message import Message

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \n"
BYTES_A_TOKEN = 3  # of letters; newer tokenizers; older ones take about 4 of English, so estimates are rather too high
PIXELS_A_TOKEN = 750
TOKENS_A_PAGE = 3000
OF_A_MESSAGE = 4  # tokens that its role and its ends take


def estimated_tokens(text: str) -> int:
    """Estimate rather too many than too few; digits, signs and other scripts take twice what letters do."""
    encoded = text.encode("utf-8", "replace")
    return -(-(len(encoded) + len(encoded.translate(None, _LETTERS))) // BYTES_A_TOKEN)


def estimated_message(message: Message) -> int:
    return sum(map(block_tokens, message.content))


def block_tokens(block: Mapping[str, Any]) -> int:
    """Estimate the tokens of a block. Source for pictures and PDFs: the provider's vision and PDF pages."""
    content, source = block.get("content"), block.get("source")
    if isinstance(content, list | tuple):  # the result of a tool, which may have pictures in it
        return sum(map(block_tokens, content))
    if not isinstance(source, Mapping) or source.get("type") != "base64":
        return sum(estimated_tokens(str(value)) for name, value in block.items() if name != "type")
    data = base64.b64decode(source.get("data", ""))
    if source.get("media_type") == image_size.PDF:
        return max(1, image_size.pages(data)) * TOKENS_A_PAGE
    width, height = image_size.pixels(data) or (1024, 1024)
    return -(-width * height // PIXELS_A_TOKEN)
