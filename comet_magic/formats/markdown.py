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
    parts = [f"# {escaped(title).replace('%%', '&#37;&#37;')}"]
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


# A line that may begin or end a block of code, behind the signs of quotes and lists; the mark, and what follows it.
_FENCE = lazy_pattern(r"((?:[ \t]|>|[-+*](?= )|\d+[.)](?= ))*)(`{3,}|~{3,})(.*)$")
_CODE_SPAN = lazy_pattern(r"((?<!`)(`+)(?!`).*?(?<!`)\2(?!`))")
_RUN = lazy_pattern(r"(?i)\s*\{?\s*(dataview|tasks|templater|execute|run-)")


def _plain(text: str) -> str:
    """Return safe Markdown in which Obsidian hides nothing, and its plug-ins run nothing.

    `%%claude … %%` would be a comment there, and code in the language `dataviewjs` a program.
    """
    return "\n".join(_disarmed(safe_markdown(text)))


def _disarmed(text: str) -> Iterator[str]:
    mark = ""
    for line in text.split("\n"):
        fence = _FENCE.match(line)
        if mark:
            ends = fence and fence[2].startswith(mark) and not fence[3].strip()
            mark = "" if ends else mark
            yield line
        elif fence and ("`" not in fence[3] or fence[2][0] == "~"):
            mark = fence[2]
            yield f"{fence[1]}{mark}text" if _RUN.match(fence[3]) else line
        else:
            yield _without_comments(line)


def _without_comments(line: str) -> str:
    if "%%" not in line and "$=" not in line:
        return line
    parts = _CODE_SPAN.split(line)  # prose, a code span, its backticks, prose, …
    prose = [part.replace("%%", "&#37;&#37;") for part in parts[::3]]
    spans = [*(span.replace("$=", "$ =") for span in parts[1::3]), ""]
    return "".join(part for pair in zip(prose, spans, strict=True) for part in pair)


def _account(turn: Turn) -> str:
    """Return when a turn was asked, and what it used and cost."""
    day = time.strftime("%d %b %Y, %H:%M", time.localtime(turn.at)).lstrip("0")
    used = [f"{turn.tokens:,} tokens"] if turn.tokens is not None else []
    money = [f"≈ {dollars(turn.cost_usd)}"] if turn.cost_usd is not None else []
    return " · ".join([day, *used, *money])


def _block(block: ContentBlock) -> str:
    """Return a call of a tool, its result, or what stands for a picture; "" for text."""
    if block["type"] in ("image", "document"):
        return f"⟨{block['type']}⟩"
    if block["type"] == "tool_use":
        return quoted(ToolCall(str(block.get("name")), block.get("input")).as_python, "python")
    if block["type"] != "tool_result":
        return ""
    content = block.get("content")
    texts = [content] if isinstance(content, str) else [str(part.get("text") or part["type"]) for part in content or ()]
    return quoted("\n".join(texts))
