"""`comet_magic.ask`: the engine of the magics for Python, which shows nothing and returns the reply."""

from __future__ import annotations

import warnings
from typing import Any

from .client import user_message
from .display import LiveDisplay, Unseen, current_shell
from .exchange import Exchange
from .messages import Message
from .place import place_in
from .session import current
from .settings import CometSettings

FLAGS = ("model", "max_tokens", "system", "temperature", "stop", "effort", "thinking", "stream")


def ask(prompt: str, *, chat: str = "", new: bool = False, fresh: bool = False, **flags: Any) -> Message:
    """Ask, and return the reply, which displays itself as Markdown in a notebook.

    chat: the conversation that it is a turn of; "" for none.        new: begin that conversation afresh.
    fresh: ask again, also where a notebook's first run would be answered from the store.
    flags: as of `%%claude`: model, max_tokens, system, temperature, stop, effort, thinking, stream.
    Raises: ConfigError, TransportError or APIError; the last two with what had arrived in `partial`.
    """
    if unknown := set(flags) - set(FLAGS):
        known = ", ".join(("chat", "new", "fresh", *FLAGS))
        raise TypeError(f"ask() got an unexpected keyword argument {min(unknown)!r}; it takes {known}")
    settings, session = CometSettings.instance(), current()
    place = place_in(current_shell(), chat)
    exchange = Exchange(settings, session, user_message(prompt), place, new=new, fresh=fresh)
    with exchange.stream(exchange.request(**flags)) as reply:
        try:
            return LiveDisplay(Unseen(), ended=exchange.keep).show(reply)
        finally:
            if session.problem and current_shell() is None:
                warnings.warn(session.problem, stacklevel=2)
