"""A conversation as Markdown: as safe as the output in a notebook, also in Obsidian, which knows more signs."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..messages.conversation import Conversation, Turn
from ..messages.framed import frames_in
from ..messages.message import ContentBlock
from ..messages.tool_call import ToolCall
from ..render.markdown import safe_markdown
from ..render.message import quoted
from ..text import dollars, escaped, lazy_pattern


def to_markdown(conversation: Conversation, title: str) -> str:
    parts = [f"# {escaped(title)}"]
    for turn in conversation.turns:
        for number, message in enumerate(turn.messages):
            heading = "Reply" if message.role == "assistant" else "Results" if number else "Question"
            parts += [f"## {heading}", *_parts_of(message.text.strip("\n")), *map(_block, message.content)]
        parts.append(f"*{_account(turn)}*" if turn.at else "")
    return "\n\n".join(filter(None, parts)) + "\n"


def _parts_of(text: str) -> list[str]:
    """Return a text as Markdown, and the data in it as blocks of their own, which no reader takes for HTML."""
    parts, at = list[str](), 0
    for frame in frames_in(text):
        parts += [_plain(text[at : frame.start].strip("\n")), quoted(text[frame.start : frame.end])]
        at = frame.end
    return [*parts, _plain(text[at:].strip("\n"))]


_FENCE = lazy_pattern(r"[\s>]*(`{3,}|~{3,})")
_CODE_SPAN = lazy_pattern(r"((?<!`)(`+)(?!`).*?(?<!`)\2(?!`))")


def _plain(text: str) -> str:
    """Return safe Markdown in which Obsidian hides nothing: to it, `%%claude … %%` is a comment."""
    return "\n".join(_disarmed(safe_markdown(text)))


def _disarmed(text: str) -> Iterator[str]:
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        is_code = bool(fence or mark)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        yield line if is_code or "%%" not in line else _without_comments(line)


def _without_comments(line: str) -> str:
    parts = _CODE_SPAN.split(line)  # prose, a code span, its backticks, prose, …
    prose = [part.replace("%%", "&#37;&#37;") for part in parts[::3]]
    spans = [*parts[1::3], ""]
    return "".join(part for pair in zip(prose, spans, strict=True) for part in pair)


def _account(turn: Turn) -> str:
    """Return when a turn was asked, and what it used and cost."""
    day = time.strftime("%d %b %Y, %H:%M", time.localtime(turn.at)).lstrip("0")
    used = [f"{turn.tokens:,} tokens"] if turn.tokens is not None else []
    money = [f"≈ {dollars(turn.cost_usd)}"] if turn.cost_usd is not None else []
    return " · ".join([day, *used, *money])


def _block(block: ContentBlock) -> str:
    """Return a call of a tool, or its result; "" for other blocks."""
    if block["type"] == "tool_use":
        return quoted(ToolCall(str(block.get("name")), block.get("input")).as_python, "python")
    if block["type"] != "tool_result":
        return ""
    content = block.get("content")
    texts = [content] if isinstance(content, str) else [str(part.get("text") or part["type"]) for part in content or ()]
    return quoted("\n".join(texts))
