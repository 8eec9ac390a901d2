"""A `Request` in; events, and the `Message` that they make, out: HTTP, errors, endpoints, the local server."""

# What other folders may import.
__all__ = [
    "billing",
    "client",
    "dialect",
    "embeddings",
    "endpoint",
    "error_replies",
    "events",
    "retry",
    "sse",
    "transport",
]
