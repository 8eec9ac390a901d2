"""What is written down of one question: before it is sent, while its reply grows, and however it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..api.retry import may_be_billed
from ..errors import CometError
from ..keys import without_key
from ..messages import prices
from ..messages.conversation import Turn
from ..messages.framed import unframed
from ..messages.message import Message, Receipt
from ..messages.request import Request
from ..messages.tool_call import NOBODY_THERE
from ..messages.usage import Usage
from ..render.message import ending
from ..store import requests, turns
from ..store.connection import Connection
from ..store.requests import Ending, RequestRecord, StoredReply
from ..text import dollars, one_line, shown_path
from . import budget
from .plan import Plan
from .session import Session

if TYPE_CHECKING:
    from .loop import Reply

CHECKPOINT_S = 2.0  # seconds between two writings-down of a growing reply; a killed kernel loses less than that


class Journal:
    """Writes down one question, its reply and its cost. Used in a `with`, which finishes it also where nothing came."""

    def __init__(self, session: Session, plan: Plan) -> None:
        self._session, self._plan = session, plan
        self._notes = plan.notes
        self._question = without_key(plan.question.message, plan.endpoint.key)
        self._reply: Reply | None = None
        self._is_finished = False
        self._due = 0.0
        self._stale: tuple[tuple[str, str], ...] = ()  # later cells that the reply outdates
        self._lost_usd = 0.0  # of tries that broke off before an answer, and may have been billed
        self._most_usd = plan.record.most_usd or 0.0  # what the request that is being sent may cost

    def __enter__(self) -> Journal:
        """Write the request down, before it is sent. Raises: ConfigError when it could pass the budget."""
        if self._plan.stored:
            return self
        store, record = self._plan.store, self._plan.record
        try:
            self._session.promise(record.id, self._most_usd)
            requests.begin(store, record, self._check_of(record))
            self.note(budget.budget_note(store, self._plan.budget))
            self._due = time.monotonic() + CHECKPOINT_S
        except BaseException:
            self._session.promise(record.id, 0.0)
            requests.withdraw(store, record.id)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.promise(self._plan.record.id, 0.0)
        if self._is_finished or self._plan.stored:
            return
        # It was refused, or stopped at an awkward moment.
        why = "stopped by you" if error is None or isinstance(error, KeyboardInterrupt) else "stopped by an error"
        ending = Ending(None, error.what if isinstance(error, CometError) else why)
        if self._reply:
            self._count_unanswered(self._reply, error)
            message, cost = self._reply.message, self._cost(self._reply)
            ending = ending._replace(message=message if message.content else None, usage=message.usage, cost_usd=cost)
            self._session.count(message.usage, cost)
        elif (cost := self._lost_usd + (self._most_usd if may_be_billed(error) else 0)) > 0:
            ending = ending._replace(cost_usd=cost)
            self._session.count(Usage(), cost)
        requests.finish(self._plan.store, self._plan.record, ending)

    def note(self, text: str) -> None:
        """Say `text` under the reply."""
        if text:
            self._notes.append(text)

    def checkpoint(self, reply: Reply) -> None:
        """Write the reply down as far as it has come, every now and then."""
        self._reply = reply
        if time.monotonic() > self._due:
            requests.checkpoint(self._plan.store, self._plan.record.id, reply.message)
            self._due = time.monotonic() + CHECKPOINT_S

    def allow(self, request: Request, reply: Reply) -> None:
        """Check the budget before a further request of the same reply. Raises: ConfigError when it could pass it."""
        if price := self._plan.price:
            self._most_usd = price.most(prices.estimated_prompt(request), request.max_tokens)
            self._promised((self._cost(reply) or 0) + self._most_usd)

    def lost(self, why: str) -> None:
        """Count a try that may have been billed, and check the budget before the next. Raises: ConfigError."""
        self._lost_usd += self._most_usd
        if self._plan.price:
            self.note(f"a try may have been billed, and counts as ≈ {dollars(self._most_usd)}: {why}")
            spent = (self._cost(self._reply) or 0) if self._reply else self._lost_usd
            self._promised(spent + self._most_usd)

    def _count_unanswered(self, reply: Reply, error: BaseException | None) -> None:
        """Count a further request of the reply that got no answer, as the most that it may cost."""
        if reply.is_unanswered and may_be_billed(error):
            self._lost_usd += self._most_usd

    def _promised(self, most_usd: float) -> None:
        record = self._plan.record._replace(most_usd=most_usd)
        self._session.promise(record.id, most_usd)
        requests.raise_most(self._plan.store, record.id, most_usd, self._check_of(record))

    def _check_of(self, record: RequestRecord) -> Callable[[Connection], None]:
        plan = self._plan
        limits = plan.budget if plan.endpoint.local_model is None else {}  # which costs nothing
        return budget.check_of(plan.store, limits, record, self._session)

    def _cost(self, reply: Reply) -> float | None:
        """Return what the requests of the reply have cost, with the tries that were lost; None without a price."""
        cost = _cost(self._plan, reply)
        return None if cost is None else cost + self._lost_usd

    # ---- the end

    def finish(self, reply: Reply, error: BaseException | None = None) -> Message:
        """Write down how the reply ended. Returns: the message, with what is to be said under it.

        error: what ended it before its time.
        """
        if error is not None:
            self._count_unanswered(reply, error)
        plan, message = self._plan, reply.message
        cost, part = self._cost(reply), plan.options.continues
        tokens = total_tokens(message.usage)
        if part:
            cost_of_turn, tokens = _sum(cost, part.cost_usd), _sum(tokens, part.tokens)
        else:
            cost_of_turn = cost
        turn = self._turn(message, plan.record.id, plan.record.at, cost_of_turn, tokens)
        why = "" if message.is_whole else ending(message) or "not whole"
        # What the user denied stays denied when the notebook is run again; where nobody could answer, somebody may now.
        is_replayable = not any(call.problem == NOBODY_THERE for call in message.calls)
        requests.finish(
            plan.store,
            plan.record,
            Ending(
                message, why, turn, message.usage, cost, is_replayable, plan.position.turn_position, not plan.makes_turn
            ),
        )
        self._is_finished = True
        self._session.unannounced.pop((plan.store, plan.position.cell.conversation), None)  # the sent line says them
        self._session.count(message.usage, cost)
        if why and plan.position.cell.conversation and plan.makes_turn:
            self.note(self._not_a_turn(message))
        self._keep_small()
        is_reported = message.incomplete or message.usage.output_tokens is not None
        return self._finished(message, self._receipt(cost if is_reported else None))

    def finish_stored(self, stored: StoredReply) -> Message:
        """Note that a stored reply answered. Returns: the message, with what is to be said under it."""
        plan, position = self._plan, self._plan.position
        self._session.count_replay()
        self._question = stored.question  # it stays in the conversation as it was asked
        turn = self._turn(stored.message, stored.request, stored.at, stored.cost_usd, stored.tokens)
        if turn:
            turns.keep_turn(plan.store, position.cell.conversation, turn, position.turn_position)
        turns.leave_others(plan.store, position.key, position.cell.conversation, position.cell.notebook.path)
        store = shown_path(plan.store.path) if plan.is_store_named else ""
        receipt = Receipt(host=plan.endpoint.host, replayed=stored.at, store=store)
        return self._finished(stored.message, receipt)

    def _finished(self, message: Message, receipt: Receipt) -> Message:
        self.note(self._session.news_of_store())
        warnings = (*message.warnings, *self._notes)
        message = replace(message, warnings=warnings, receipt=receipt, shows_usage=self._plan.show_usage)
        self._session.latest = message
        return message

    def _turn(
        self, message: Message, request: str, at: float, cost_usd: float | None, tokens: int | None
    ) -> Turn | None:
        """Return the turn that the reply makes; None where it makes none."""
        position = self._plan.position
        if not position.cell.conversation or not message.is_whole or not self._plan.makes_turn:
            return None
        turn = turn_of(self._plan, self._session, self._question, message, request, at, cost_usd, tokens)
        # What this kernel has not run is run again when cells run from the top, and is stale until then.
        stale = [later for later in position.stale_after(turn) if later.session == self._session.id]
        self._stale = tuple((later.cell, called(later)) for later in stale)
        return turn

    def _not_a_turn(self, message: Message) -> str:
        options = self._plan.options
        is_text = bool(message.text.strip()) and not options.output and not options.tools
        can_continue = is_text and message.stop_reason in (None, "max_tokens")
        return "later cells do not see this reply" + ("; %claude_continue finishes it" if can_continue else "")

    def _receipt(self, cost: float | None) -> Receipt:
        plan = self._plan
        receipt = Receipt(cost, self._session.totals.money, plan.sent_line, host=plan.endpoint.host, stale=self._stale)
        if not plan.question.has_data:
            return receipt
        from ..describe.images import thumbnails

        return receipt._replace(question=self._question.text, thumbnails=thumbnails(self._question))

    def _keep_small(self) -> None:
        store, limit = self._plan.store, self._plan.store_limit_mb
        if store.may_be_over(limit) and store.size_mb() > max(limit, self._session.shrunk_to_mb * 1.1):
            from ..store.conversations import shrink  # not at the top: few stores are ever full

            gone = shrink(store, limit, keep=self._plan.position.cell.conversation)
            self._session.shrunk_to_mb = store.size_mb()
            went = f"its {gone:,} oldest replies were deleted" if gone else "this conversation alone is larger"
            self.note(f"the store passed {limit:g} MB: {went}")


def _cost(plan: Plan, reply: Reply) -> float | None:
    """Return what the requests of the reply have cost, each by itself; with estimates where a count is not reported."""
    if plan.price is None:
        return None
    used = (prices.estimated_usage(part.usage, request, part.written) for request, part in reply.requests)
    return sum(plan.price.cost(usage) or 0.0 for usage in used)


def turn_of(
    plan: Plan, session: Session, question: Message, message: Message, request: str, at: float,
    cost_usd: float | None, tokens: int | None,
) -> Turn:  # fmt: skip
    """Return the turn that a whole reply makes, and note what the session is to know of it."""
    position = plan.position
    turn = Turn.of(
        position.key, (question, *message.before, message), plan.request.model, asked_after=position.digest_before,
        request=request, at=at, session=session.id, execution=position.cell.execution, cost_usd=cost_usd, tokens=tokens,
    )  # fmt: skip
    session.cells.ran_in(position.cell.conversation, turn.cell)
    if not plan.share_values:
        session.without_values.add(turn.digest)
    return turn


def total_tokens(usage: Usage) -> int | None:
    return None if usage.prompt_tokens is None else usage.prompt_tokens + (usage.output_tokens or 0)


def _sum(a: float | None, b: float | None) -> Any:
    """Return the sum of the known amounts; None if neither is known."""
    return b if a is None else a if b is None else a + b


def called(turn: Turn) -> str:
    """Return what a turn's cell is called: by its question, for its number is another one at each run."""
    return one_line(unframed(turn.question), 40) if turn.wire else f"[{turn.execution}]"
