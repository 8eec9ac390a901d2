"""One question and its reply: what is asked, how it is answered, and what is written down of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..api.client import connect
from ..api.endpoint import Announce, Endpoint, find_endpoint
from ..describe.description import Bounds
from ..describe.images import thumbnails
from ..describe.question import Question, bounds_of
from ..errors import CometError, ConfigError, ReplyError
from ..keys import Key
from ..messages import prices, tokens
from ..messages.conversation import Turn
from ..messages.message import Message, Receipt
from ..messages.models import known
from ..messages.prices import Price
from ..messages.request import Request
from ..messages.tool_call import REFUSED, Call
from ..messages.usage import Usage
from ..notebook.executions import watched
from ..settings import CometSettings
from ..store import requests, turns
from ..store.conversations import shrink
from ..store.requests import Asked, Attempt, Found
from . import budget
from .cells import Place
from .dry_run import Preview
from .loop import Rounds
from .negotiate import Sender
from .position import standing
from .replay import to_replay
from .session import Session
from .streams import Continued, Growing, Recorded, Replayed

if TYPE_CHECKING:
    from ..output.modes import Ways
    from ..output.typed import Wanted
    from ..tools.runner import Toolbox
    from ..tools.tool import Tool


CACHEABLE = 4096  # tokens; the most that any model asks of a prefix
GO_ON = "Your reply was cut off. Continue exactly from where it ended, without repeating any of it. It ended with:\n\n"


class Exchange:
    """Lives for one question: ask for its `request`, `stream` that, `keep` what came."""

    def __init__(
        self, settings: CometSettings, session: Session, question: Question, place: Place, *, fresh: bool = False,
        new: bool = False, continued: Attempt | None = None, wanted: Wanted | None = None,
        tools: Mapping[str, Tool] | None = None,
    ) -> None:  # fmt: skip
        """fresh: not from the store.  new: in a conversation begun afresh.  continued: the part that is to go on.

        wanted: what the reply is to be.        tools: what the model may call, by name.
        """
        settings.check_environment()
        self._settings, self._session, self._fresh, self._part = settings, session, fresh, continued
        self._store = session.store(settings)
        cell = continued.cell if continued else ""
        self._question = _with_parts(question, wanted, tools)
        self._wanted, self._tools = wanted, tools or {}
        self._rounds: Rounds | None = None
        self._standing = standing(self._store, session, settings, question.message, place, cell=cell, new=new)
        self._shows_usage = settings.show_usage
        self._asked: Asked | None = None
        self._found: Found | None = None
        self._price: Price | None = None
        self._key: Key | None = None
        self._is_kept = False
        self._notes = [question.note] if question.note else []

    @cached_property
    def _bounds(self) -> Bounds:
        return bounds_of(self._settings)

    # ---- what is asked

    def request(self, **flags: Any) -> Request:
        """flags: as of `CometSettings.request`. Raises: ConfigError when they contradict one another."""
        messages = (*self._standing.sent.messages, self._standing.question)
        if self._part and self._part.message:
            text = self._part.message.text.rstrip()
            part = Message("assistant", ({"type": "text", "text": text},))
            # Current models refuse a request that ends with the assistant's part.
            messages = (*messages, part, Message.user(GO_ON + text[-200:]))
            asked = self._part.parameters
            flags = {"temperature": asked.get("temperature"), "stop": asked.get("stop_sequences"), **flags}
            flags = {"model": asked.get("model"), "system": asked.get("system", ""), **flags}
        tools = tuple(tool.wire(self._bounds.hide) for tool in self._tools.values())
        form = self._wanted.form.hidden(self._bounds.hide) if self._wanted else None
        request = replace(self._settings.request(messages, **flags), tools=tools, form=form)
        return replace(request, cached=self._breakpoints(request)) if self._settings.prompt_cache else request

    def _breakpoints(self, request: Request) -> tuple[int, ...]:
        facts = known(request.model)
        system = tokens.estimated_tokens(request.system or "")
        return self._standing.sent.breakpoints(facts.cacheable if facts else CACHEABLE, system)

    # ---- how it is answered

    @contextmanager
    def stream(self, request: Request, announce: Announce = lambda text: None) -> Iterator[Growing]:
        """The reply, from the store or the endpoint. Raises: ConfigError before anything is sent, else as `Client`."""
        endpoint = find_endpoint(self._settings, offline=self._settings.replay == "only")
        self._key = endpoint.key
        request = _addressed(request, endpoint)
        if unfit := _not_taken(request, endpoint):
            raise ConfigError(
                unfit,
                "nothing was sent; set COMETAPI_KEY for Claude, or leave it out (--alone leaves out earlier turns)",
            )
        self._found = to_replay(
            self._settings, self._session, self._store, self._standing, endpoint, request,
            fresh=self._fresh or self._part is not None,
        )  # fmt: skip
        if self._found:
            self._found = self._read(self._found)
            yield Replayed(self._found)
            return
        asked = self._begin(endpoint, request)
        reply: Growing | None = None
        why = "stopped by you"
        try:
            with self._answer(request, endpoint, announce) as stream:
                reply = Continued(stream, self._part.message) if self._part and self._part.message else stream
                yield Recorded(
                    reply, lambda message: requests.checkpoint(self._store, asked, self._without_key(message))
                )
        except CometError as error:
            why = error.what
            raise
        finally:
            if not self._is_kept:  # it was refused, or stopped at an awkward moment
                message = self._without_key(reply.message) if reply and reply.text else None
                requests.finish(self._store, asked, message, why, None, Usage(), None)

    def _read(self, found: Found) -> Found:
        """A stored reply, with the value that it was read as, where one is wanted."""
        if self._wanted is None:
            return found
        from ..output.schema import Unfit

        try:
            value = self._wanted.value_of(found.message.text)
        except Unfit as problem:
            raise ReplyError(
                f"the reply in the store is no {self._wanted.name}: {problem}",
                "--fresh asks again",
                reason=str(problem),
            ) from None
        return replace(found, message=replace(found.message, value=value, as_type=self._wanted.name))

    def preview(self, request: Request) -> Preview:
        """What `stream` would send."""
        endpoint = find_endpoint(self._settings, offline=True)
        self._key = endpoint.key
        request = _addressed(request, endpoint)
        system = self._hidden(request.system) if request.system else None
        shown = replace(request, messages=tuple(map(self._without_key, request.messages)), system=system)
        if self._wanted:
            shown = replace(shown, way=self._ways(endpoint, request).now)
        notes = tuple(filter(None, [_not_taken(request, endpoint)]))
        return Preview(shown, endpoint.name, self._hidden(self._standing.sent_line(self._question.sent)), notes)

    def _begin(self, endpoint: Endpoint, request: Request) -> Asked:
        """Write the request down, before it is sent. Raises: ConfigError when it could pass the budget."""
        self._price = self._find_price(endpoint, request.model)
        most = self._price.most(tokens.estimated_prompt(request), request.max_tokens) if self._price else None
        place = self._standing.place
        asked = self._asked = Asked(
            request, self._standing.question, endpoint.name, self._session.id, place.conversation, self._standing.cell,
            place.execution, most, self._hidden, self._standing.begins_afresh, self._part.id if self._part else "",
        )  # fmt: skip
        requests.begin(self._store, asked)
        try:
            if note := budget.check(self._store, self._settings, asked, self._session.totals.usd):
                self._notes.append(note)
        except BaseException:
            requests.withdraw(self._store, asked)
            raise
        return asked

    def _answer(self, request: Request, endpoint: Endpoint, announce: Announce) -> Rounds:
        """The reply, in as many rounds as it takes."""
        typed = toolbox = ways = None
        if self._wanted:
            from ..output.typed import Typed

            ways = self._ways(endpoint, request)
            typed = Typed(self._wanted, ways, self._hidden)
        if self._tools:
            toolbox = self._toolbox(endpoint)
            if endpoint.local_model is not None:
                self._notes.append("the local model calls no tools: its server passes them over")
        send = Sender(connect(self._settings, announce), endpoint.name, self._session.refused_cache, ways)
        self._rounds = Rounds(request, send, typed=typed, toolbox=toolbox, allow=self._allow)
        return self._rounds

    def _toolbox(self, endpoint: Endpoint) -> Toolbox:
        from ..tools.runner import Toolbox

        settings, runs = self._settings, watched()
        return Toolbox(
            self._tools, self._bounds, runs.name_of if runs else lambda filename: "", self._session.allowed,
            self._standing.place.conversation, rounds=settings.tool_rounds, limit_s=settings.tool_timeout_s,
            sees_pictures=endpoint.local_model is None,
        )  # fmt: skip

    def _ways(self, endpoint: Endpoint, request: Request) -> Ways:
        from ..output.modes import Ways

        return Ways(self._store, endpoint.name, request, is_embedded=endpoint.local_model is not None)

    def _allow(self, request: Request) -> None:
        """Before a further round. Raises: ConfigError when it could pass the budget."""
        assert self._asked is not None
        if self._price:
            so_far = self._cost() or 0
            most = so_far + self._price.most(tokens.estimated_prompt(request), request.max_tokens)
            self._asked = replace(self._asked, most_usd=most)
            requests.raise_most(self._store, self._asked)
        budget.check(self._store, self._settings, self._asked, self._session.totals.usd)

    def _cost(self) -> float | None:
        """What the rounds have cost so far, each by itself; with estimates where a count is not reported."""
        if self._price is None or self._rounds is None:
            return None
        used = (prices.estimated_usage(part.usage, request, _said(part)) for request, part in self._rounds.asked)
        return sum(self._price.cost(usage) or 0.0 for usage in used)

    def _find_price(self, endpoint: Endpoint, model: str) -> Price | None:
        published: dict[str, tuple[float, float]] = {}
        if endpoint.publishes_prices:
            published = self._session.published_prices(
                self._store, endpoint.name, lambda: connect(self._settings).published_prices()
            )
        return prices.price_of(model, self._settings.prices, published)

    # ---- what is written down

    def keep(self, message: Message) -> Message:
        """Write down how it ended. Returns: the message, with what is to be said under it."""
        message = self._keep_replay(self._found) if self._found else self._keep_reply(self._without_key(message))
        if problem := self._session.news_of_store():
            self._notes.append(problem)
        message = replace(message, warnings=(*message.warnings, *self._notes), shows_usage=self._shows_usage)
        self._session.latest = message
        return message

    def _keep_replay(self, found: Found) -> Message:
        self._session.count_replay()
        known = {"request": found.request, "at": found.at, "cost_usd": found.cost_usd, "tokens": found.tokens}
        if turn := self._turn(found.message, **known):
            afresh = self._standing.begins_afresh
            turns.keep_turn(self._store, self._standing.place.conversation, turn, afresh=afresh)
        return replace(found.message, receipt=Receipt(replayed=found.at))

    def _keep_reply(self, message: Message) -> Message:
        assert self._asked is not None
        cost = self._cost()
        took: dict[str, Any] = {"cost_usd": cost, "tokens": _total(message.usage)}
        if self._part:
            took = {name: _sum(amount, getattr(self._part, name)) for name, amount in took.items()}
        turn = self._turn(message, request=self._asked.id, at=self._asked.at, **took)
        why = "" if message.is_whole else message.ending or "not whole"
        requests.finish(self._store, self._asked, message, why, turn, message.usage, cost)
        if any(call.problem in REFUSED for call in message.calls):
            requests.keep_from_replays(self._store, self._asked)  # another time, the user may allow it
        self._is_kept = True
        self._session.count(message.usage, cost)
        if why and self._standing.place.conversation:
            is_text = bool(message.text.strip()) and not self._wanted and not self._tools
            goes_on = is_text and message.stop_reason in (None, "max_tokens")
            self._notes.append(
                "later cells do not see this reply" + ("; %claude_continue lets it go on" if goes_on else "")
            )
        self._keep_small()
        is_reported = message.incomplete or message.usage.output_tokens is not None
        money = self._session.totals.money
        return replace(message, receipt=self._receipt(cost if is_reported else None, money))

    def _receipt(self, cost: float | None, money: str) -> Receipt:
        question = self._question
        receipt = Receipt(cost, money, self._hidden(self._standing.sent_line(question.sent)))
        if not question.has_data:
            return receipt
        text = self._hidden(question.message.text)
        return replace(receipt, question=text, thumbnails=thumbnails(question.message))

    def _turn(self, message: Message, **known: Any) -> Turn | None:
        """The turn that the reply makes; None where it makes none."""
        place = self._standing.place
        if not place.conversation or not message.is_whole:
            return None
        turn = Turn.of(
            self._standing.cell, (self._without_key(self._standing.question), *message.before, message),
            asked_after=self._standing.asked_after, session=self._session.id, execution=place.execution, **known,
        )  # fmt: skip
        self._session.cells.ran_in(place.conversation, turn.cell)
        if not self._settings.share_values:
            self._session.without_values.add(turn.digest)
        if stale := self._standing.stale_after(turn):
            later = "1 later turn" if stale == 1 else f"{stale} later turns"
            self._notes.append(f"{later} answered what stood here before: %claude_history shows which")
        return turn

    def _hidden(self, text: str) -> str:
        return self._key.hidden_in(text) if self._key else text

    def _without_key(self, message: Message) -> Message:
        """The message, with nothing in it of the key: users have put theirs into a question, and models repeat it."""
        text = json.dumps([message.content, [vars(call) for call in message.calls]])
        hidden = self._hidden(text)
        before = tuple(map(self._without_key, message.before))
        if hidden != text:
            content, calls = json.loads(hidden)
            message = replace(message, content=tuple(content), calls=tuple(Call(**call) for call in calls))
        return replace(message, before=before) if before != message.before else message

    def _keep_small(self) -> None:
        limit = self._settings.store_limit_mb
        if self._store.may_be_over(limit) and self._store.size_mb() > max(limit, self._session.shrunk_to_mb * 1.1):
            gone = shrink(self._store, limit, keep=self._standing.place.conversation)
            self._session.shrunk_to_mb = self._store.size_mb()
            went = f"its {gone:,} oldest replies are gone" if gone else "this conversation alone is larger"
            self._notes.append(f"the store passed {limit:g} MB: {went}")


def _with_parts(question: Question, wanted: Wanted | None, tools: Mapping[str, Tool] | None) -> Question:
    """With what else is sent of the user's, for the line that says so."""
    names = [f"tools: {', '.join(tools)}"] if tools else []
    form = [f"the schema of {wanted.name}"] if wanted else []
    return question._replace(extras=(*names, *form))


def _said(message: Message) -> str:
    return message.text + "".join(json.dumps(use.get("input")) for use in message.tool_uses)


def _addressed(request: Request, endpoint: Endpoint) -> Request:
    """As that endpoint gets it."""
    return replace(request, model=endpoint.model) if endpoint.model else request


def _not_taken(request: Request, endpoint: Endpoint) -> str:
    """What of the request the endpoint is known not to take, in words; "" if nothing is."""
    if endpoint.local_model is None:
        return ""
    kinds = {str(block.get("type")) for message in request.messages for block in message.content}
    unfit = sorted(kinds & {"image", "document"})
    return f"the local model takes no {' and no '.join(unfit)}, only text" if unfit else ""


def _total(usage: Usage) -> int | None:
    return None if usage.prompt_tokens is None else usage.prompt_tokens + (usage.output_tokens or 0)


def _sum(a: float | None, b: float | None) -> Any:
    """None: not known."""
    return b if a is None else a if b is None else a + b
