"""The nouns of the Messages API as values: no I/O, and no words for the screen."""

# What other folders may import.
__all__ = [
    "conversation",
    "framed",
    "image_size",
    "lasting",
    "message",
    "models",
    "prices",
    "reasoning",
    "request",
    "tokens",
    "tool_call",
    "usage",
]
