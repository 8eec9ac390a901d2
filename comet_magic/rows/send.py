"""The request for one row, on whatever thread: sent as the endpoint takes it, read as its type, mended once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..api.client import Client
from ..errors import ReplyError
from ..exchange.loop import Reply
from ..exchange.negotiate import Sender, keep_learned
from ..exchange.session import Session
from ..keys import without_key
from ..messages.message import Message
from ..messages.models import OfferedModel
from ..messages.request import Request
from ..output.modes import OutputModes
from ..output.typed import OutputType, TypedReply, answer_of
from ..store.database import Store
from .engine import Task
from .failures import NOT_SENT, NotSent, problem_of
from .money import Money


class RowSender:
    """Makes the requests of one run; from many threads.

    learned: the last request as the endpoint took it, when it took one otherwise than it was asked first.
    """

    def __init__(
        self, client: Client, endpoint: str, store: Store, session: Session, money: Money, output: OutputType | None,
        modes: OutputModes | None, *, is_dialect_chosen: bool, offered: Mapping[str, OfferedModel],
    ) -> None:  # fmt: skip
        self._client, self._endpoint, self._store, self._session, self._money = client, endpoint, store, session, money
        self._output, self._modes = output, modes
        self._is_dialect_chosen, self._offered = is_dialect_chosen, offered
        self.learned: Request | None = None
        self._hide = partial(without_key, key=client.endpoint.key)

    def __call__(self, task: Task, further: list[float]) -> Message:
        """Return the reply, with its value. Raises: CometError, with what had come in `partial`.

        further: gets what is set aside for each request that the reply takes besides the first.
        """
        modes = self._modes_now()
        typed = TypedReply(self._output, modes, self._hide) if self._output and modes else None

        def allow(request: Request, reply: Reply) -> None:
            if not self._money.reserve(task.most_usd):
                raise NotSent(NOT_SENT)
            further.append(task.most_usd)

        with Reply(
            task.request, self._sender(modes), key=self._client.endpoint.key, typed=typed, allow=allow
        ) as reply:  # fmt: skip
            for _ in reply:
                pass
            message = reply.message
        if modes is not None and self._modes is not None:
            self._modes.merge(modes)
        if problem := problem_of(message):
            error = ReplyError(problem)
            error.partial = message
            raise error
        return message

    def adapted(self, request: Request) -> Request:
        """Return a request as it would be sent now: in the mode, and with the fields, that the endpoint takes."""
        return self._sender(self._modes_now()).adapted(request)

    def read(self, message: Message) -> Message:
        """Return a reply that came another way, with its value. Raises: Mismatch."""
        modes = self._modes_now()
        if self._output is None or modes is None:
            return message
        typed = TypedReply(self._output, modes, self._hide)
        typed.value = self._output.value_of(answer_of(message), self._hide)
        return typed.as_text(message, is_value=True)

    def _modes_now(self) -> OutputModes | None:
        """Return the modes for one more question; None where text is asked for."""
        return self._modes.for_another_question() if self._modes else None

    def _sender(self, modes: OutputModes | None) -> Sender:
        return Sender(
            self._client, self._endpoint, self._session.refused_cache, modes, self._session.wants_thinking,
            self._keep, is_dialect_chosen=self._is_dialect_chosen, offered=self._offered,
        )  # fmt: skip

    def _keep(self, request: Request, is_other_dialect: bool) -> None:
        self.learned = request
        keep_learned(self._store, self._endpoint, request, is_other_dialect)
