"""`comet_magic.ask`: the engine of the magics for Python, which shows nothing and returns the reply."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

from .describe.description import no_cell_name
from .describe.question import Question, names_in, question
from .describe.template import Reference, pieces
from .errors import ConfigError
from .exchange.journal import Journal
from .exchange.plan import Options, make_plan
from .exchange.run import finished, run
from .exchange.session import current
from .messages.message import Message
from .notebook.cell import current_cell, current_shell
from .notebook.executions import current_executions
from .settings import FLAGS, CometSettings
from .suggestions import did_you_mean

T = TypeVar("T")
Tools = Iterable[Callable[..., Any]]


@overload
def ask(
    prompt: str, namespace: Mapping[str, Any] | None = ..., *, as_: None = ..., tools: Tools = ..., chat: str = ...,
    new: bool = ..., fresh: bool = ..., **named: Any,
) -> Message: ...  # fmt: skip
@overload
def ask(
    prompt: str, namespace: Mapping[str, Any] | None = ..., *, as_: type[T], tools: Tools = ..., chat: str = ...,
    new: bool = ..., fresh: bool = ..., **named: Any,
) -> T: ...  # fmt: skip
@overload
def ask(
    prompt: str, namespace: Mapping[str, Any] | None = ..., *, as_: Any, tools: Tools = ..., chat: str = ...,
    new: bool = ..., fresh: bool = ..., **named: Any,
) -> Any: ...  # fmt: skip
def ask(
    prompt: str, namespace: Mapping[str, Any] | None = None, *, as_: Any = None, tools: Tools = (), chat: str = "",
    new: bool = False, fresh: bool = False, **named: Any,
) -> Any:  # fmt: skip
    """Ask, and return the reply, which displays itself as Markdown in a notebook; or the value that it is read as.

    namespace: what each `{{expr}}` of the prompt is looked up in, as `globals()`; without one, and without values by
    name, a prompt is text, whatever is in it: it may have been made of data.
    as_: a type, a DataFrame class or a JSON Schema: what the reply is to be, and what is returned.
    tools: functions that may be called for it, each call after the user has allowed it.
    chat: the conversation that it is a turn of; "" for none.        new: begin that conversation anew.
    fresh: ask again, also where a notebook's first run would be answered from the store.
    named: the flags of `%%claude` (model, max_tokens, system, temperature, stop, effort, thinking, stream), and values
    that the prompt refers to: `ask("Describe {{sales}}", sales=df)`.
    Raises: ConfigError, TransportError, APIError, or ReplyError for a reply that is not of the type; all but the first
    with what had arrived in `partial`.
    """
    flags = {name: value for name, value in named.items() if name in FLAGS}
    values = {name: value for name, value in named.items() if name not in FLAGS}
    settings, session = CometSettings.instance(), current()
    filled = _question(prompt, settings, namespace, values)
    options = Options(flags, new=new, fresh=fresh, cell_name=_cell_name())
    if as_ is not None:
        from .output.typed import output_type

        options = options._replace(output=output_type(as_))
    if tools:
        from .tools.functions import tools_of

        options = options._replace(tools=tools_of(tools, filled.tables, settings.tool_timeout_s))
    plan = make_plan(filled, options, current_cell(chat), settings, session)
    try:
        with Journal(session, plan) as journal:
            message = finished(run(plan, journal, session, approve=_approve))
    finally:
        if session.problem and current_shell() is None:
            warnings.warn(session.problem, stacklevel=2)
    return message if options.output is None else message.value


def _approve(name: str, arguments: Mapping[str, str], can_be_always: bool, others: Sequence[Any] = ()) -> str:
    from .notebook.stdin import approve

    return approve(name, arguments, can_be_always, others)


def _cell_name() -> Callable[[str], str]:
    executions = current_executions()
    return executions.name_of if executions else no_cell_name


def _question(
    prompt: str, settings: CometSettings, namespace: Mapping[str, Any] | None, values: dict[str, Any]
) -> Question:
    if namespace is None and not values:
        return question(prompt, settings)._replace(note=_unfilled(prompt))
    named = names_in(prompt) if isinstance(prompt, str) else set()
    if unknown := set(values) - named:
        known = ", ".join(("namespace", "as_", "tools", "chat", "new", "fresh", *FLAGS))
        raise TypeError(
            f"ask() got an unexpected keyword argument {min(unknown)!r}: no {{{{…}}}} of the prompt names it"
            f"{did_you_mean(min(unknown), named)}; besides those, it takes {known}"
        )
    scope = {**_names(), **(namespace or {}), **values}
    return question(prompt, settings, scope, _cell_name())


def _unfilled(prompt: str) -> str:
    try:
        references = [piece for piece in pieces(prompt) if isinstance(piece, Reference)]
    except ConfigError:  # it is text, whatever it looks like
        return ""
    return f"{references[0]} was sent as text: ask(prompt, globals()) would fill it in" if references else ""


def _names() -> dict[str, Any]:
    """Return the names that a prompt may use besides the given ones: in a script, the last uncaught exception."""
    if executions := current_executions():
        return executions.names()
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return {"error": error} if error is not None else {}
