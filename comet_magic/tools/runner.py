"""The calls that a model makes of the user's tools: asked for, run, and answered, each with one result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from ..api.events import CALL, STEP, StreamEvent
from ..describe.description import Description, Limits
from ..describe.registry import describe
from ..describe.tracebacks import failure
from ..errors import ConfigError
from ..messages.message import ContentBlock, Message
from ..messages.request import REPLY_TOOL, Request
from ..messages.tool_call import DENIED, NOBODY_THERE, ToolCall
from ..output.schema import Mismatch
from ..text import exception_text, many, whole_text
from .functions import Tool
from .mcp_client import ServerFailed
from .names import api_name
from .server_result import ServerResult
from .timeouts import TimedOut, within

# Answers of a user. ALWAYS: in this conversation.        DENY_ALL: to all further calls of this reply, too.
# ROUND: it and the calls that are shown with it.
ONCE, ALWAYS, DENY, DENY_ALL, NOBODY, ROUND = "once", "always", "deny", "deny all", "nobody", "round"
ShownCall = tuple[str, Mapping[str, str]]  # a tool's name, and its arguments as texts
# Asks the user whether a tool may run: its name, its arguments as texts, whether it can be allowed for good; and the
# calls of the same round that would be asked about next.
Approve = Callable[[str, Mapping[str, str], bool, Sequence[ShownCall]], str]


def nobody(name: str, arguments: Mapping[str, str], can_be_always: bool, others: Sequence[ShownCall] = ()) -> str:
    """Answer where there is nobody to ask."""
    return NOBODY


class NotRun(Exception):
    """Why a call is not run, for the user. for_model: the same for the model."""

    def __init__(self, why: str, for_model: str) -> None:
        super().__init__(why)
        self.for_model = for_model


class ToolRunner:
    """The tools of one question, and what came of them so far. Lives for one question.

    calls: as they are shown.        before: the messages between the question and the last part of the reply.
    stopped: why it went no further, in words; "" if it did not stop.
    """

    def __init__(
        self, tools: Mapping[str, Tool], limits: Limits, approve: Approve, allowed: list[tuple[str, object]],
        conversation: str, *, most_rounds: int, most_calls: int, limit_s: float, sees_pictures: bool,
    ) -> None:  # fmt: skip
        """approve: asks the user.        allowed: what is allowed for good: in which conversation, which tool.

        most_rounds, most_calls: numbers of rounds and of calls at most.
        limit_s: seconds that a call may take.  sees_pictures: whether the model takes them.
        """
        self.tools = tools
        self._limits, self._approve, self._sees_pictures = limits, approve, sees_pictures
        self._allowed = allowed if conversation else []
        self._conversation = conversation
        self._most_rounds, self._most_calls, self._limit_s = most_rounds, most_calls, limit_s
        self._round = 0
        self._denies_all = False
        self._allowed_in_round: list[ContentBlock] = []
        self._answers: dict[str, tuple[ContentBlock, ToolCall]] = {}
        self.calls: list[ToolCall] = []
        self.before: tuple[Message, ...] = ()
        self.stopped = ""
        self._offered = [(tool.of_server, tool.of_server.digest) for tool in tools.values() if tool.of_server]
        self.notes = [
            f"the MCP server {own.server.name} has changed what it says of {own.name} since your last question"
            for own, digest in self._offered
            if own.asked_digest != digest
        ]

    def next(self, request: Request, message: Message) -> Generator[StreamEvent, None, Request | None]:
        """Run the calls of `message`. Returns: what to ask then; None when it calls nothing."""
        for own, digest in self._offered:
            own.asked_digest = digest  # the reply that says what has changed is there
        uses = message.tool_uses
        if not uses or message.is_cut or (request.form and any(use.get("name") == REPLY_TOOL for use in uses)):
            if self._round == self._most_rounds:
                self.notes.append(
                    f"after {many(self._most_rounds, 'round')} of calls no more were offered (tool_rounds)"
                )
            return None
        self._round += 1
        if self._round > self._most_rounds:
            self.stopped = f"stopped after {many(self._most_rounds, 'round')} of calls, the most (tool_rounds)"
            return None
        room = self._most_calls - len(self.calls)
        if len(uses) > room:
            self.notes.append(
                f"{many(len(uses) - room, 'call')} left out: {self._most_calls:,} is the most (tool_calls)"
            )
            uses = uses[: max(room, 0)]
            if not uses:
                self.stopped = f"stopped after {many(self._most_calls, 'call')}, the most (tool_calls)"
                return None
        echo = self._echo(message, len(uses))
        results: list[ContentBlock] = []
        self._allowed_in_round = []
        for number, (use, as_came) in enumerate(zip(echo.tool_uses, uses, strict=True), 1):
            tool = self.tools.get(use["name"])
            yield CALL if tool is None or self._is_allowed(tool) else STEP
            # A gateway that repeats a call repeats its id, too; it is not run again.
            mark = json.dumps([as_came.get("id"), use["name"], as_came.get("input")]) if as_came.get("id") else ""
            result, call = self._answers.get(mark) or self._answered(use, as_came, echo.tool_uses[number:])
            if mark and "partial_json" not in as_came:
                self._answers[mark] = result, call
            results.append({**result, "tool_use_id": use["id"]})
            self.calls.append(call)
        yield CALL
        answered = Message("user", tuple(results))
        self.before = (*self.before, echo, answered)
        may_call = self._round < self._most_rounds and len(self.calls) < self._most_calls
        return replace(request, messages=(*request.messages, echo, answered), may_call=may_call)

    def _echo(self, message: Message, most_calls: int) -> Message:
        """Return the message as it is sent back while its calls are open: complete, and each call with its own id.

        most_calls: number of its calls that are run; the message has no others then.
        """
        seen = {str(use.get("id")) for part in self.before for use in part.tool_uses}
        blocks: list[ContentBlock] = []
        numbers = count(1)
        for block in message.content:
            if block.get("type") == "tool_use":
                if not most_calls:
                    continue
                most_calls -= 1
                key = str(block.get("id") or "")
                if not key or key in seen:
                    key = next(new for number in numbers if (new := f"call_{number}") not in seen)
                seen.add(key)
                given = block.get("input")
                given = given if isinstance(given, dict) else {}
                name = api_name(str(block.get("name") or "unnamed"))
                extra = {"extra": block["extra"]} if "extra" in block else {}
                blocks.append({"type": "tool_use", "id": key, "name": name, "input": given, **extra})  # type: ignore[typeddict-item]  # what it wants back
            elif block.get("type") != "text" or (block.get("text") or "").strip():
                blocks.append(block)
        return replace(message, content=tuple(blocks))

    # ---- one call

    def _answered(
        self, use: ContentBlock, as_came: ContentBlock, others: Sequence[ContentBlock]
    ) -> tuple[ContentBlock, ToolCall]:
        """Return the result that goes back, and the call as it is shown. others: the calls behind it in its round."""
        call = ToolCall(use["name"], use["input"])
        try:
            tool, arguments = self._checked(call, as_came)
            if not any(use is one for one in self._allowed_in_round):
                self._ask_approval(tool, call, others)
        except NotRun as why:
            texts = call._replace(arguments=as_came.get("partial_json") or call.arguments, problem=str(why))
            return _result(use["id"], why.for_model, is_error=True), texts
        began = time.monotonic()
        blocks, text, problem = self._run(tool, arguments)
        took_s = time.monotonic() - began
        return _result(use["id"], blocks, is_error=bool(problem)), call._replace(
            result=text, problem=problem, took_s=took_s
        )

    def _is_allowed(self, tool: Tool) -> bool:
        """Return whether it runs without asking: it is safe, or has been allowed in this conversation."""
        given = [identity for conversation, identity in self._allowed if conversation == self._conversation]
        return tool.is_safe or any(_is_same(identity, tool.identity) for identity in given)

    def _checked(self, call: ToolCall, as_came: ContentBlock) -> tuple[Tool, dict[str, Any]]:
        """Return the tool, and its arguments as Python. Raises: NotRun."""
        tool = self.tools.get(call.name)
        if tool is None:
            there = ", ".join(self.tools)
            raise NotRun("there is no such tool", f"There is no tool {call.name}; there are: {there}.")
        if "partial_json" in as_came:
            raise NotRun("its arguments are not whole JSON", "The arguments are not whole JSON.")
        try:
            return tool, tool.schema.read(as_came.get("input"))
        except Mismatch as error:
            raise NotRun(f"its arguments do not fit: {error}", f"The arguments do not fit: {error}") from None

    def _shown(self, name: str, given: Mapping[str, Any]) -> ShownCall:
        """Return a call as it is shown to the user.

        Known secrets alone are hidden: what is only shaped like one may be what is to be run.
        """
        hide = getattr(self._limits.hide, "known", str)
        return name, {str(parameter): hide(repr(value)) for parameter, value in given.items()}

    def _ask_approval(self, tool: Tool, call: ToolCall, others: Sequence[ContentBlock]) -> None:
        """Raises: NotRun where the user does not give it, or nobody is there."""
        if self._is_allowed(tool):
            return
        if self._denies_all:
            raise NotRun(DENIED, "The user did not allow this call.")
        waiting = [use for use in others if (other := self.tools.get(use["name"])) and not self._is_allowed(other)]
        next_calls = [self._shown(use["name"], use["input"]) for use in waiting]
        answer = self._approve(*self._shown(call.name, call.arguments), bool(self._conversation), next_calls)
        if answer == ROUND and waiting:
            self._allowed_in_round = waiting
            return
        if answer == ALWAYS:
            self._allowed.append((self._conversation, tool.identity))
        if answer == NOBODY:
            note = (
                f"{tool.name} was not run, for {NOBODY_THERE}; @comet_magic.tool(safe=True) marks what needs no asking"
            )
            if note not in self.notes:
                self.notes.append(note)
            raise NotRun(NOBODY_THERE, f"The call was not allowed: {NOBODY_THERE}.")
        self._denies_all = answer == DENY_ALL
        if answer not in (ONCE, ALWAYS):
            raise NotRun(DENIED, "The user did not allow this call.")

    def _run(self, tool: Tool, arguments: dict[str, Any]) -> tuple[list[ContentBlock], str, str]:
        """Return what goes back, what is shown of it, and what went wrong, "" if nothing did."""
        try:
            value = within(self._limit_s, lambda: tool.function(**arguments))
        except TimedOut:
            for_model = f"it took longer than {self._limit_s:g} s, and was stopped"
            return [_text(f"The call failed: {for_model}.")], "", f"{for_model} (tool_timeout_s)"
        except KeyboardInterrupt:
            raise
        except ServerFailed as error:  # a server's words are all that there is: none of the user's code failed
            for_model = self._limits.fitted(str(error))
            return [_text(f"The call failed: {for_model}")], for_model, self._limits.short(str(error), 200)
        except BaseException as error:  # noqa: BLE001  # a user's tool failing is data
            for_model = self._limits.hide(failure(error, self._limits).text)
            why = self._limits.short(f"{type(error).__name__}: {exception_text(error)}", 200)
            return [_text(for_model)], for_model, why
        try:
            described = self._described(value)
        except ConfigError as error:
            return [_text(f"The result cannot be shown: {error.what}")], "", error.what
        blocks = [block for one in described for block in self._blocks(one)] or [_text("(nothing was returned)")]
        texts = [block.get("text") or f"⟨{block.get('type')}⟩" for block in blocks]
        return blocks, "\n".join(texts), ""

    def _described(self, value: Any) -> list[Description]:
        if isinstance(value, ServerResult):
            return value.described(self._limits)
        return describe(value, self._limits) if value is not None else []

    def _blocks(self, described: Description) -> list[ContentBlock]:
        is_plain = described.is_value or described.kind == "str"
        text = described.text if is_plain else "\n".join(filter(None, [described.kind, described.text]))
        attached = described.attached if self._sees_pictures else ()
        if described.attached and not attached:
            text += "\n(It cannot be shown to a model that takes text only.)"
        return [*([_text(text)] if text.strip() else []), *attached]


def _is_same(one: Any, other: Any) -> bool:
    """Return whether it is the very same function; a method, of the very same object; the same digest of a server's."""
    if isinstance(one, str):
        return isinstance(other, str) and one == other
    bound = getattr(one, "__self__", None)
    if bound is not None and bound is getattr(other, "__self__", None):
        return getattr(one, "__func__", one) is getattr(other, "__func__", other)
    return one is other


def _text(text: str) -> ContentBlock:
    return {"type": "text", "text": whole_text(text)}


def _result(use: str, content: str | list[ContentBlock], *, is_error: bool) -> ContentBlock:
    if isinstance(content, list) and len(content) == 1 and content[0].get("type") == "text":
        content = str(content[0].get("text"))
    result: ContentBlock = {"type": "tool_result", "tool_use_id": use, "content": content}
    return {**result, "is_error": True} if is_error else result
