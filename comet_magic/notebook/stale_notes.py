"""Lines that say which later cells are outdated: taken back when those have been run again, as they stay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..messages.message import Message
from ..store import turns
from ..store.database import Store

if TYPE_CHECKING:
    from .display import Screen


class StaleNotes:
    """The replies that say so now, by conversation and cell. Lives as long as the extension is loaded."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], tuple[Screen, Message]] = {}

    def keep(self, conversation: str, cell: str, screen: Screen, message: Message) -> None:
        """Take note of a reply that was shown."""
        self._shown.pop((conversation, cell), None)
        if message.receipt.stale and screen.can_update and not message.as_type:  # a value has a display of its own
            self._shown[conversation, cell] = screen, message

    def mend(self, store: Store, conversation: str) -> None:
        """Show the replies of a conversation anew that name cells which are not stale any more."""
        noted = {key: value for key, value in self._shown.items() if key[0] == conversation}
        stale = {turn.cell for turn in turns.conversation(store, conversation).stale()} if noted else set()
        for key, (screen, message) in noted.items():
            left = tuple(one for one in message.receipt.stale if one[0] in stale)
            if left != message.receipt.stale:
                message = replace(message, receipt=message.receipt._replace(stale=left))
                screen.finish(message)
                self.keep(*key, screen, message)
