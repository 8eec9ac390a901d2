"""A `Request` in; events, and the `Message` that they make, out: HTTP, errors, endpoints, the local server."""
