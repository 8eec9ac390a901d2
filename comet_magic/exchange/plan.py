"""A question, options, settings and session → a `Plan`: all that is decided of one question, before anything is sent.

This is the only place where they meet. Settings are not read after it, so that a setting which a panel changes in the
middle of a question is for the next one; the session is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..api.client import TimeLimits
from ..api.dialect import chosen_dialect, not_sent
from ..api.endpoint import Endpoint, find_endpoint
from ..describe.description import CellName, Limits, no_cell_name
from ..describe.question import Question, limits_of
from ..errors import ConfigError
from ..keys import without_key
from ..messages import models, prices, tokens
from ..messages.message import Message
from ..messages.models import OfferedModel
from ..messages.prices import Price
from ..messages.request import MESSAGES, Request
from ..named_tuple import NamedTuple
from ..settings import CometSettings, budget_limits
from ..store.database import Store
from ..store.requests import Attempt, RequestRecord, StoredReply
from ..text import many
from .cells import Cell
from .negotiate import with_learned
from .offered import find_dialect, find_offered
from .position import Position, find_position
from .replay import count_run, find_stored
from .session import Session

if TYPE_CHECKING:
    from ..output.typed import OutputType
    from ..tools.functions import Tool

CACHEABLE = 4096  # tokens; a prefix of so many can be cached on every model
DEFAULT_LIMITS = Limits()
GO_ON = "Your reply was cut off. Continue exactly from where it ended, without repeating any of it. It ended with:\n\n"


class Options(NamedTuple):
    """What is asked for besides the question.

    flags: those of `CometSettings.request`; one that is None leaves it to the settings.
    new: begin the conversation anew.  fresh: not from the store.  dry_run: nothing will be sent.
    continues: the partial reply that is to go on.
    output: what the reply is to be.        tools: what the model may call, by name.
    cell_name: returns what a cell is called whose code has a file name.
    makes_cell: whether a cell is made of the reply's Python.
    """

    flags: Mapping[str, Any] = {}
    new: bool = False
    fresh: bool = False
    dry_run: bool = False
    continues: Attempt | None = None
    output: OutputType | None = None
    tools: Mapping[str, Tool] = {}
    cell_name: CellName = no_cell_name
    makes_cell: bool = False


class Plan(NamedTuple):
    """One question, decided. record: how it is written down.

    endpoint: where it goes, not started yet where it is the local model.        time_limits, retries: of each request.
    position: in the conversation.        stored: the reply that answers it without asking.
    is_store_named: whether the settings name the store's file; otherwise it is the user's own.
    times: how often the cell was run in this kernel.        makes_turn: whether the reply may be a turn.
    list_problem: why it is not known in which dialect the model is to be asked, in words; "" if it is.
    is_dialect_chosen: whether the user names the dialect, in `CometSettings.dialects`.
    price: None where none is known.      budget: US dollars, by "session" and "day".
    limits: of what tools send back.      tool_rounds, tool_calls, tool_timeout_s: of their calls.
    """

    question: Question
    options: Options
    request: Request
    record: RequestRecord
    endpoint: Endpoint
    time_limits: TimeLimits
    retries: int
    position: Position
    stored: StoredReply | None
    price: Price | None
    budget: Mapping[str, float]
    limits: Limits
    tool_rounds: int
    tool_calls: int
    tool_timeout_s: float
    share_values: bool
    show_usage: bool
    remote_images: bool
    store_limit_mb: float
    store: Store
    is_store_named: bool
    times: int
    makes_turn: bool = True
    list_problem: str = ""
    is_dialect_chosen: bool = False

    @property
    def sent_line(self) -> str:
        """What is sent, in words; "" where the text is sent alone."""
        return without_key(self.position.sent_line(self.question.sent), self.endpoint.key)

    @property
    def notes(self) -> list[str]:
        own = [self.question.note] if self.question.note else []
        return own if self.stored else [*own, *not_sent(self.request), *filter(None, [self.list_problem])]


def make_plan(question: Question, options: Options, cell: Cell, settings: CometSettings, session: Session) -> Plan:
    """Decide all that there is to decide of one question.

    Raises: ConfigError; no question has been sent by then, but the endpoint may have been asked for its models.
    """
    settings.check_environment()
    if cell.conversation and settings.is_key(cell.conversation):
        raise ConfigError("the name of the conversation is your key", "nothing was sent; enter a key with %claude_key")
    store = session.store(settings)
    part = options.continues
    question = question._replace(extras=_extras(options))
    # Secrets are only looked for where something is filled in.
    limits = limits_of(settings, options.cell_name) if options.tools or options.output else DEFAULT_LIMITS
    key = part.cell if part else ""
    position = find_position(store, session, settings, question.message, cell, key=key, new=options.new)
    request = build_request(question, options, settings, position, limits)
    question = question.with_repeats(request.repeated_names())
    replay = "never" if options.dry_run else settings.replay
    endpoint = find_endpoint(settings, offline=options.dry_run or replay == "only")
    request = replace(request, model=endpoint.model) if endpoint.model else request
    if not options.dry_run and (problem := unsupported_by(request, endpoint)):
        raise ConfigError(
            problem, "nothing was sent; set COMETAPI_KEY for Claude, or leave it out (--alone leaves out earlier turns)"
        )
    stored, times = None, 0
    if not options.dry_run:
        times = count_run(session, position, endpoint.name, request)
        is_fresh = options.fresh or part is not None
        stored = find_stored(replay, session, store, position, endpoint.name, request, fresh=is_fresh, times=times)
    time_limits, retries = TimeLimits.of(settings), settings.retries
    names = (str(options.flags.get("model") or settings.model), request.model)
    price = None
    known: Mapping[str, OfferedModel] = {}
    if options.dry_run:
        known = session.known_models(store, endpoint.name)
    elif not stored:
        known = find_offered(settings, session, store, endpoint, names, time_limits)
    if not stored:
        price = prices.price_of(request.model, settings.prices, known)
        request = _in_dialect(request, settings, endpoint, names, known, store)
    if endpoint.key and (news := settings.news_of_key()):
        question = question.with_note(news)
    record = _record(request, question, endpoint, session, position, price, part)
    return Plan(
        question, options, request, record, endpoint, time_limits, retries, position, stored, price,
        budget_limits(settings.budget), limits, settings.tool_rounds, settings.tool_calls, settings.tool_timeout_s,
        settings.share_values, settings.show_usage, settings.remote_images, settings.store_limit_mb, store,
        bool(settings.store), times, list_problem=session.list_problem(endpoint.name),
        is_dialect_chosen=bool(chosen_dialect(names, settings.dialects)),
    )  # fmt: skip


def with_model(plan: Plan, model: str, settings: CometSettings, session: Session) -> Plan:
    """Return the plan of the same question to another model, whose reply makes no turn. Raises: as `make_plan`."""
    options = plan.options._replace(flags={**plan.options.flags, "model": model})
    store, endpoint, position = plan.store, plan.endpoint, plan.position
    named = settings.request(plan.request.messages, **options.flags).model
    request = replace(plan.request, model=named, cached=(), dialect=MESSAGES, refused=frozenset())
    request = _with_cache_marks(request, settings, position)
    stored, price, names = None, None, (model, named)
    if not options.dry_run:
        stored = find_stored(
            settings.replay, session, store, position, endpoint.name, request, fresh=options.fresh, times=plan.times
        )
    if not stored:
        known = (
            session.known_models(store, endpoint.name)
            if options.dry_run
            else find_offered(settings, session, store, endpoint, names, plan.time_limits)
        )
        price = prices.price_of(named, settings.prices, known)
        request = _in_dialect(request, settings, endpoint, names, known, store)
    record = _record(request, plan.question, endpoint, session, position, price, None)
    record = record._replace(conversation="")  # it is no part of one, and nothing that could go on there
    return plan._replace(
        options=options, request=request, record=record, stored=stored, price=price, makes_turn=False,
        is_dialect_chosen=bool(chosen_dialect(names, settings.dialects)),
    )  # fmt: skip


def _extras(options: Options) -> tuple[str, ...]:
    """Return what else is sent of the user's, for the line that says so."""
    own = [tool.name for tool in options.tools.values() if not tool.of_server]
    names = [f"tools: {', '.join(own)}"] if own else []
    by_server: dict[str, list[int]] = {}
    for tool in options.tools.values():
        if tool.of_server:
            by_server.setdefault(tool.of_server.server.name, []).append(tool.of_server.size)
    for server, sizes in by_server.items():
        names.append(f"{many(len(sizes), 'tool')} of the MCP server {server}, described in {sum(sizes):,} characters")
    form = [f"the schema of {options.output.name}"] if options.output else []
    task = ["that one cell will be made of its Python"] if options.makes_cell and not options.output else []
    return (*names, *form, *task)


def build_request(
    question: Question, options: Options, settings: CometSettings, position: Position, limits: Limits
) -> Request:
    messages: tuple[Message, ...] = (question.message,)
    flags, part = dict(options.flags), options.continues
    if part and part.message:
        text = part.message.text.rstrip()
        former_part = Message("assistant", ({"type": "text", "text": text},))
        # Current models refuse a request that ends with the assistant's part.
        messages = (*messages, former_part, Message.user(GO_ON + text[-200:]))
        former = part.parameters
        flags = {"temperature": former.get("temperature"), "stop": former.get("stop_sequences"), **flags}
        flags = {"model": former.get("model"), "system": former.get("system", ""), **flags}
    tools = tuple(tool.wire(limits.hide) for tool in options.tools.values())
    form = options.output.form.hidden(limits.hide) if options.output else None
    request = replace(settings.request(messages, **flags), history=position.sent.turns, tools=tools, form=form,
                      makes_cell=options.makes_cell)  # fmt: skip
    return _with_cache_marks(request, settings, position)


def _with_cache_marks(request: Request, settings: CometSettings, position: Position) -> Request:
    if not settings.prompt_cache or not request.history:
        return request
    facts = models.known(request.model)
    system = tokens.estimated_tokens(request.system or "")
    cached = position.sent.breakpoints(facts.cacheable if facts else CACHEABLE, system)
    return replace(request, cached=cached) if cached else request


def unsupported_by(request: Request, endpoint: Endpoint) -> str:
    """Say what of the request the endpoint is known not to take; "" if nothing is."""
    if endpoint.local_model is None:
        return ""
    types = {str(block.get("type")) for message in request.all_messages for block in message.content}
    refused = sorted(types & {"image", "document"})
    return f"the local model takes text only, and no {' or '.join(refused)}" if refused else ""


def _in_dialect(
    request: Request, settings: CometSettings, endpoint: Endpoint, names: tuple[str, ...],
    known: Mapping[str, OfferedModel], store: Store,
) -> Request:  # fmt: skip
    """Return the request in the dialect of its model, as far as that and its fields are known."""
    dialect = find_dialect(settings, endpoint, names, known)
    request = request if request.dialect == dialect else replace(request, dialect=dialect)
    is_chosen = bool(chosen_dialect(names, settings.dialects))
    return with_learned(request, store, endpoint.name, is_chosen=is_chosen)


def _record(
    request: Request, question: Question, endpoint: Endpoint, session: Session, position: Position,
    price: Price | None, part: Attempt | None,
) -> RequestRecord:  # fmt: skip
    most = price.most(prices.estimated_prompt(request), request.max_tokens) if price else None
    return RequestRecord.of(
        request, question.message, hide=partial(without_key, key=endpoint.key), id=os.urandom(16).hex(), at=time.time(),
        endpoint=endpoint.name, session=session.id, conversation=position.cell.conversation, cell=position.key,
        execution=position.cell.execution, most_usd=most,
        is_new=position.is_new, continues=part.id if part else "",
    )  # fmt: skip
