"""Where the requests for rows are made: on threads of this process, or elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from ..api.transport import PooledTransport, Transport
from ..named_tuple import NamedTuple


class Backend(NamedTuple):
    """Where requests are made. transport: for all of them, from many threads.

    abandon: drops what is under way.        close: lets go of what it holds.
    """

    transport: Transport
    abandon: Callable[[], None]
    close: Callable[[], None]


def thread_backend(workers: int) -> Backend:
    """Return the threads of this process as the place where requests are made."""
    transport = PooledTransport(workers)
    return Backend(transport, transport.abandon, transport.close)
