"""A plan → snapshots of its reply: the stored one, or one that is asked for and grows."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING

from ..api.client import client_for
from ..keys import without_key
from ..messages.message import Message
from .journal import Journal
from .loop import Reply
from .negotiate import Sender, keep_learned
from .plan import Plan

if TYPE_CHECKING:
    from ..output.modes import OutputModes
    from ..output.typed import OutputType
    from ..store.requests import StoredReply
    from ..tools.runner import Approve, ToolRunner
    from .session import Session


def run(
    plan: Plan, journal: Journal, session: Session, *, announce: Callable[[str], None] = lambda text: None,
    approve: Approve | None = None,
) -> Generator[Reply | Message, None, Message]:  # fmt: skip
    """Yield the reply after each of its events and, however it ends, the finished `Message` last, which is returned.

    announce: gets a sentence when there is something to wait for.        approve: asks the user whether a call may run.
    Throw an exception in, such as a KeyboardInterrupt, to end the reply with what has come.
    Raises, after the message: whatever ended the reply before its time.
    """
    if plan.stored:
        message = journal.finish_stored(_read_again(plan.stored, plan.options.output))
        yield message
        return message
    with _reply(plan, journal, session, announce, approve) as reply:
        try:
            journal.checkpoint(reply)
            for _ in reply:
                journal.checkpoint(reply)
                yield reply
        except GeneratorExit:
            raise
        except BaseException as error:
            reply.stop("stopped by you" if isinstance(error, KeyboardInterrupt) else "stopped by an error")
            yield journal.finish(reply, error)
            raise
        message = journal.finish(reply)
        yield message
    return message


def finished(snapshots: Generator[Reply | Message, None, Message]) -> Message:
    """Return the finished message, where nothing is painted. Raises what `run` raises."""
    try:
        while True:
            next(snapshots)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what `run` returns
    except BaseException as error:
        snapshots.throw(error)  # ends the reply, where the exception came from outside; else it is raised again
        raise
    finally:
        snapshots.close()


def _read_again(stored: StoredReply, output: OutputType | None) -> StoredReply:
    """Return the stored reply, with the value that it was read as, where one is asked for."""
    if output is None:
        return stored
    from ..output.typed import read_stored

    return stored._replace(message=read_stored(stored.message, output))


def _reply(
    plan: Plan, journal: Journal, session: Session, announce: Callable[[str], None], approve: Approve | None
) -> Reply:
    typed = modes = tools = None
    if plan.options.output:
        from ..output.typed import TypedReply

        modes = output_modes(plan)
        typed = TypedReply(plan.options.output, modes, partial(without_key, key=plan.endpoint.key))
    if plan.options.tools:
        tools = _tool_runner(plan, session, approve)
        if plan.endpoint.local_model is not None:
            journal.note("the local model calls no tools: its server ignores them")
    client = client_for(plan.endpoint, plan.time_limits, plan.retries, announce, journal.lost)
    learned = partial(keep_learned, plan.store, plan.endpoint.name)
    send = Sender(
        client, plan.endpoint.name, session.refused_cache, modes, session.wants_thinking, learned,
        is_dialect_chosen=plan.is_dialect_chosen,
        offered=session.known_models(plan.store, plan.endpoint.name),
    )  # fmt: skip
    part = plan.options.continues.message if plan.options.continues else None
    return Reply(plan.request, send, key=plan.endpoint.key, typed=typed, tools=tools, part=part, allow=journal.allow)


def output_modes(plan: Plan) -> OutputModes:
    from ..output.modes import OutputModes

    is_embedded = plan.endpoint.local_model is not None
    return OutputModes(plan.store, plan.endpoint.name, plan.request, is_embedded=is_embedded)


def _tool_runner(plan: Plan, session: Session, approve: Approve | None) -> ToolRunner:
    from ..tools.runner import ToolRunner, nobody

    return ToolRunner(
        plan.options.tools, plan.limits, approve or nobody, session.allowed, plan.position.cell.conversation,
        most_rounds=plan.tool_rounds, most_calls=plan.tool_calls, limit_s=plan.tool_timeout_s,
        sees_pictures=plan.endpoint.local_model is None,
    )  # fmt: skip
