"""What a question would send, shown in place of sending it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..api.dialect import dialect
from ..api.endpoint import Endpoint
from ..describe.images import thumbnails
from ..keys import without_key
from ..messages.message import ContentBlock, Message
from ..messages.prices import estimated_prompt
from ..messages.request import MESSAGES, Request
from ..messages.tool_call import ToolCall
from ..render.message import SHOWN_CHARACTERS, first_part, quoted
from ..text import clean, dollars, escaped, many
from .plan import Plan, unsupported_by
from .run import output_modes


class DryRun:
    """Displays itself: a request as it would be sent, without any key in it."""

    def __init__(self, request: Request, endpoint: Endpoint, sent: str, most_usd: float | None, more: str = "") -> None:
        """sent: what goes along, in words.        more: what else there is to say of it."""
        self._request = without_key(request, endpoint.key)
        self._endpoint = endpoint.name
        self._sent, self._most_usd, self._more = sent, most_usd, more
        self._problem = unsupported_by(request, endpoint)

    @classmethod
    def of(cls, plan: Plan) -> DryRun:
        request = plan.request
        if plan.options.output:
            request = replace(request, mode=output_modes(plan).now)
        return cls(request, plan.endpoint, plan.sent_line, plan.record.most_usd)

    @property
    def head(self) -> list[str]:
        """What frames the messages: where to, which parameters, how much."""
        spoken = dialect(self._request.dialect)
        body = json.loads(spoken.body(self._request))
        parameters = {name: value for name, value in body.items() if name not in _PROMPT}
        offered = {tool["name"] for tool in self._request.tools}  # which are shown below
        others = [tool for tool in parameters.pop("tools", ()) if _name_of(tool) not in offered]
        parameters |= {"tools": others} if others else {}
        count, most = len(self._request.all_messages), self._most_usd
        money = f", at most ≈ {dollars(most)}" if most is not None else ""
        return [
            "Nothing was sent: this is a dry run.",
            *filter(None, [self._more]),
            f"It would go to {self._request.model} at {self._endpoint}{_path(self._request)}: {many(count, 'message')},"
            f" about {estimated_prompt(self._request):,} tokens, and up to {self._request.max_tokens:,} back{money}",
            f"with: {self._sent or 'your text'}",
            f"parameters: {json.dumps(parameters, ensure_ascii=False)}",
            *filter(None, [self._problem]),
        ]

    def _texts(self) -> list[tuple[str, str, Message | None]]:
        """Return (role, text, message) of each part; first the tools and the system prompt, if there are any."""
        tools = [("tool", _tool(tool), None) for tool in self._request.tools]
        system = [("system", self._request.system, None)] if self._request.system else []
        messages = map(Message.from_wire, self._request.to_wire()["messages"])
        return [*tools, *system, *((message.role, _text(message), message) for message in messages)]

    def __str__(self) -> str:
        parts = [f"[{clean(line)}]" for line in self.head]
        for role, text, _ in self._texts():
            parts.append(f"{role}:\n{clean(_fitted(text))}")
        return "\n\n".join(["\n".join(parts[: len(self.head)]), *parts[len(self.head) :]])

    def to_markdown(self) -> str:
        first, *rest = self.head
        parts = [f"**{escaped(first)}**", "<br>".join(f"<small>{escaped(line)}</small>" for line in rest)]
        *earlier, last = [self._section(*one) for one in self._texts()]
        if earlier:
            parts += ["<details><summary>what goes before it</summary>", *earlier, "</details>"]
        return "\n\n".join([*parts, last])

    def _section(self, role: str, text: str, message: Message | None) -> str:
        pictures = thumbnails(message) if message else ()
        pictures_of = [f"![a picture that would be sent]({address})" for address in pictures if address]
        return "\n\n".join([f"**{role}**", quoted(_fitted(text)), *pictures_of])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/markdown": self.to_markdown(), "text/plain": str(self)}


def _name_of(tool: Mapping[str, Any]) -> object:
    """Return the name of a tool in a body of any dialect."""
    return tool.get("name") or tool.get("function", {}).get("name")


def _tool(tool: Mapping[str, Any]) -> str:
    """Return all that a model reads of a tool: its name, its description, and its parameters as JSON Schema."""
    parameters = json.dumps(tool["input_schema"], ensure_ascii=False)
    return "\n".join(filter(None, [str(tool["name"]), str(tool.get("description") or ""), parameters]))


_PROMPT = ("messages", "system", "input", "instructions")


def _path(request: Request) -> str:
    """Return where it goes, in words, where that is not usual."""
    return "" if request.dialect == MESSAGES else dialect(request.dialect).path


def _fitted(text: str) -> str:
    return first_part(text.strip("\n"), SHOWN_CHARACTERS)


def _text(message: Message) -> str:
    """Return its blocks in order; a picture or a document is named where it stands."""
    return "".join(map(_block, message.content))


def _block(block: ContentBlock) -> str:
    if block.get("type") == "tool_use":
        return f"⟨calls {ToolCall(str(block.get('name')), block.get('input')).as_python}⟩"
    if block.get("type") == "tool_result":
        content = block.get("content")
        return f"⟨result: {content if isinstance(content, str) else ''.join(map(_block, content or ()))}⟩"
    return str(block.get("text") or "") or f"⟨{block.get('type')}⟩"
