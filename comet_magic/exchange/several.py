"""One question to several models at once: a thread for each, and one of the replies is the turn."""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import Future

from ..background import in_background
from ..errors import CometError, ConfigError, without_known_keys
from ..keys import without_key
from ..messages.message import Message
from ..named_tuple import NamedTuple
from ..render.message import stale_cells
from ..settings import CometSettings
from ..store import turns
from .journal import Journal, called, total_tokens, turn_of
from .loop import Reply
from .plan import Plan, with_model
from .run import run
from .session import Session

MOST_MODELS = 8
POLL_S = 0.05  # seconds between two looks at what has come
PATIENCE_S = 5.0  # seconds that a stopped reply may take to end


class Answer:
    """What one of the models says. text: so far.        message: the finished one.        error: what ended it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.name = plan.request.model
        self.text = ""
        self.note = ""
        self.message: Message | None = None
        self.error: BaseException | None = None
        self._reply: Reply | None = None
        self._is_stopped = False
        self.done: Future[None] = Future()

    def begin(self, session: Session) -> None:
        self.done = in_background(lambda: self._run(session))

    def _run(self, session: Session) -> None:
        try:
            with Journal(session, self.plan) as journal:
                for snapshot in run(self.plan, journal, session, announce=self._announce):
                    if isinstance(snapshot, Message):
                        self.message = snapshot
                        continue
                    self._reply, self.text = snapshot, snapshot.text
                    if self._is_stopped:
                        snapshot.stop()
        except BaseException as error:  # noqa: BLE001  # it is shown in its column, or raised where all have failed
            self.error = error

    def _announce(self, text: str) -> None:
        self.note = text

    def stop(self) -> None:
        """End it with what has come; from another thread."""
        self._is_stopped = True
        if self._reply:
            self._reply.stop()

    @property
    def is_whole(self) -> bool:
        return self.message is not None and self.message.is_whole

    @property
    def problem(self) -> str:
        """Why there is no reply, in words; "" if there is one, or none yet."""
        if isinstance(self.error, CometError):
            return f"{self.error.what}; {self.error.hint}" if self.error.hint else self.error.what
        return "" if self.error is None else without_known_keys(f"{type(self.error).__name__}: {self.error}")


class Comparison(NamedTuple):
    """The answers to one question, in the order in which the models were named.

    has_turn: whether one of them was chosen as the turn.        chosen: which one was, when the cell was run before.
    """

    answers: tuple[Answer, ...]

    has_turn: bool = False
    chosen: int = 1

    @property
    def turn(self) -> Answer:
        """The one that is the turn of its cell, unless another is chosen."""
        return self.answers[0]

    @property
    def message(self) -> Message | None:
        """The reply that is the turn; where it did not come, the first that did; None for none."""
        return self.turn.message or next((answer.message for answer in self.answers if answer.message), None)


def plans_for(models: list[str], plan: Plan, settings: CometSettings, session: Session) -> list[Plan]:
    """Return a plan for each of the models. plan: for the first of them. Raises: ConfigError."""
    if plan.endpoint.model:
        raise ConfigError("the endpoint has one model only", "nothing was sent; name one with -m")
    if len(models) > MOST_MODELS:
        what = f"{len(models)} models are more than fit side by side"
        raise ConfigError(what, f"nothing was sent; name at most {MOST_MODELS}")
    plans = [plan, *(with_model(plan, model, settings, session) for model in models[1:])]
    named = [one.request.model for one in plans]
    if twice := next((model for model in named if named.count(model) > 1), ""):
        raise ConfigError(f"{twice} is named twice", "nothing was sent; name each model once")
    return plans


def ask_several(plans: list[Plan], session: Session) -> Generator[Comparison, None, None]:
    """Yield the answers while they grow, and when all have ended.

    Raises: KeyboardInterrupt, once what had come is in them; what ended the first, where none gave a reply.
    """
    chosen = session.choices.get(plans[0].position.key, 1)
    session.comparison = comparison = Comparison(tuple(map(Answer, plans)), chosen=chosen)
    for answer in comparison.answers:
        answer.begin(session)
    try:
        while not all(answer.done.done() for answer in comparison.answers):
            yield comparison
            time.sleep(POLL_S)
    except BaseException:
        for answer in comparison.answers:
            answer.stop()
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and not all(answer.done.done() for answer in comparison.answers):
            time.sleep(POLL_S)
        session.latest = comparison.message or session.latest
        yield comparison
        raise
    for answer in comparison.answers:
        answer.error = answer.error or answer.done.exception()  # such as that there is no thread to be had
    session.latest = comparison.message or session.latest
    yield comparison
    if comparison.message is None and (error := comparison.turn.error):
        raise error


def _is_current(comparison: Comparison) -> bool:
    """Return whether the turn of the comparison's cell is one of its replies; or as before, where none was one yet."""
    position = comparison.turn.plan.position
    conversation = turns.conversation(comparison.turn.plan.store, position.cell.conversation)
    now = next((turn.request for turn in conversation.turns if turn.cell == position.key), None)
    plans = [answer.plan for answer in comparison.answers]
    replies = {plan.stored.request if plan.stored else plan.record.id for plan in plans}
    if comparison.has_turn or comparison.turn.is_whole:
        return now in replies
    former = next((turn.request for turn in position.conversation.turns if turn.cell == position.key), None)
    return now == former or position.is_new


def choose(session: Session, number: int) -> str:
    """Make a reply of the latest comparison the turn of its cell. number: from 1 on. Returns: what was done, in words.

    Raises: ConfigError when there is none, or it is no whole reply.
    """
    comparison = session.comparison
    if comparison is None:
        hint = "run the cell that asks several models first: %%claude -m opus,gpt-…"
        raise ConfigError("no cell of this kernel has asked several models", hint)
    if not 1 <= number <= len(comparison.answers):
        raise ConfigError(f"there is no reply {number}", f"choose one from 1 to {len(comparison.answers)}")
    answer = comparison.answers[number - 1]
    if answer.message is None or not answer.is_whole:
        raise ConfigError(f"reply {number} ({answer.name}) is not whole, so it can be no turn", "choose another one")
    plan = comparison.turn.plan
    position = plan.position
    if position.cell.conversation and not _is_current(comparison):
        what = "the cell's turn is not one of these replies any more"
        raise ConfigError(what, "nothing was changed; run the cell that asks several models again")
    session.latest = answer.message
    if not position.cell.conversation:
        return f"comet_magic.last is reply {number} ({answer.name}); the cell is in no conversation"
    stored = answer.plan.stored
    question = stored.question if stored else without_key(plan.question.message, plan.endpoint.key)
    usage, record = answer.message.usage, answer.plan.record
    source = (
        (stored.request, stored.at, stored.cost_usd, stored.tokens)
        if stored
        else (record.id, record.at, answer.message.receipt.cost_usd, total_tokens(usage))
    )
    turn = turn_of(answer.plan, session, question, answer.message, *source)
    had_turn = comparison.has_turn or comparison.turn.is_whole
    turn_position = position.turn_position._replace(is_new=False) if had_turn else position.turn_position
    turns.keep_turn(plan.store, position.cell.conversation, turn, turn_position)
    session.comparison = comparison._replace(has_turn=True)
    session.choices[position.key] = number
    conversation = turns.conversation(plan.store, position.cell.conversation)
    behind = {one.cell for one in conversation.turns[conversation.index_of(turn.cell) + 1 :]}
    later = [one for one in conversation.stale() if one.cell in behind and one.session == session.id]
    stale = f"; {stale_cells([called(one) for one in later], 'another reply')}" if later else ""
    return f"reply {number} ({answer.name}) is the turn of its cell now{stale}"
