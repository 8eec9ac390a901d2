"""A reply as safe Markdown for a notebook, and as text for a terminal."""

from __future__ import annotations

import re
import time
from urllib.parse import quote

from ..messages.message import WHOLE_REASONS, Message, Receipt
from ..messages.tool_call import ToolCall
from ..text import MARK, clean, dollars, escaped, many, one_line
from .markdown import safe_markdown, wrapped

SHOWN_ROWS = 50  # of the table that a query returned
SHOWN_QUESTION = 20_000  # characters of what was sent that its line opens to
SHOWN_CHARACTERS = 200_000  # beyond it, a browser needs seconds for one reply


def to_markdown(message: Message, *, show_usage: bool = True, remote_images: bool = False, folded: str = "") -> str:
    """Return a reply as safe Markdown: collapsed thinking, text, how it ended, usage.

    folded: code that stands elsewhere, too, and is folded here.
    """
    parts = []
    if message.thinking:
        thinking = safe_markdown(message.thinking[:SHOWN_CHARACTERS], remote_images=remote_images)
        parts.append(f"<details><summary>Thinking</summary>\n\n{thinking}\n\n</details>")
    text, more = displayed_part(message.text)
    for step in message.steps():
        if parts and parts[-1].startswith(_CALL) and not isinstance(step, ToolCall):
            parts.append("<p></p>")  # a gap: the lines of calls have none below them
        if isinstance(step, ToolCall):
            parts.append(_call(step))
        elif step is message and message.as_type:  # not what it was to be
            parts.append(quoted(text, "json" if text.lstrip().startswith(("{", "[")) else "text"))
        elif step is message and text:
            parts.append(_folded(safe_markdown(text, remote_images=remote_images), folded))
        elif step is not message and step.text.strip():
            parts.append(safe_markdown(step.text[:SHOWN_CHARACTERS].strip("\n"), remote_images=remote_images))
    parts += _sources(message)
    parts += [_note(note) for note in [*more, *notes(message)]]
    return "\n\n".join([*parts, *(_account(message) if show_usage else [])])


def pictures_markdown(message: Message) -> str:
    """Return the pictures of a reply that shows itself; a cell's stand in outputs of their own."""
    pictures = [f"![a picture of the reply](data:{kind};base64,{data})" for kind, data in message.pictures]
    return "".join(f"\n\n{picture}" for picture in pictures)


def _folded(markdown: str, code: str) -> str:
    """Return the Markdown with the block of that code behind a line that opens it."""
    block = re.search(rf"(?m)^(`{{3,}}|~{{3,}})[^\n`]*\n{re.escape(code)}\n+\1[ \t]*$", markdown) if code else None
    if block is None:
        return markdown
    head = f"<details><summary><small>{MARK} the code of the cell below</small></summary>"
    return f"{markdown[: block.start()]}{head}\n\n{block[0]}\n\n</details>{markdown[block.end() :]}"


def value_markdown(message: Message, *, show_usage: bool = True) -> str:
    """Return what stands below a value that is shown by itself: notes, usage, and the reply that it was read from."""
    calls = [_call(step) for step in message.steps() if isinstance(step, ToolCall)]
    quotes = [_note(note) for note in notes(message)]
    head = f"<details><summary><small>{MARK} reply, read as {escaped(message.as_type)}</small></summary>"
    raw = quoted(first_part(message.text, SHOWN_CHARACTERS), "json")
    lines = _account(message) if show_usage else []
    return "\n\n".join([*calls, *quotes, *lines, head, raw, "</details>"])


MOST_SOURCES = 20


def _sources(message: Message) -> list[str]:
    """Return the line with what the reply cites, as links; none where it cites nothing."""
    links = [_link(title, url) for title, url in message.sources[:MOST_SOURCES]]
    return [f"<small>{MARK} Sources: {' · '.join(links)}</small>"] if links else []


def _link(title: str, url: str) -> str:
    is_address = re.fullmatch(r"https?://[^\s<>]{1,2000}", url)
    return f"[{escaped(title)}]({quote(url, safe=_SAFE)})" if is_address else escaped(title)


_SAFE = "/:?#@!&'*+,;=%~"  # not brackets or dollars, which Markdown or mathematics would take


def plain_sources(message: Message) -> list[str]:
    """Return the lines of `_sources` for a terminal."""
    cited = message.sources[:MOST_SOURCES]
    return [f"{MARK} source: {clean(title)}{f' {clean(url)}' if url else ''}" for title, url in cited]


def _note(text: str) -> str:
    return f"> {MARK} **{escaped(text)}**"


def _account(message: Message) -> list[str]:
    if message.receipt.question is None:
        return ["<br>".join(map(noted, account(message)))]
    return [noted(usage_line(message)), _proof(message.receipt), *map(noted, stale_line(message))]


def noted(text: str) -> str:
    """Return a sentence of ours as a line of ours."""
    return f"<small>{MARK} {escaped(text)}</small>"


_CALL = f"<details><summary><small>{MARK} "


def _call(call: ToolCall) -> str:
    """Return the line of a call; it opens to show the arguments and the result."""
    head = f"{_CALL}{escaped(call.line)}</small></summary>"
    if table := call.table:
        from .table import Table  # not at the top: few replies ask a database

        rows = [tuple(row) for row in table[1 : SHOWN_ROWS + 1]]
        left_out = [f"and {many(len(table) - 1 - SHOWN_ROWS, 'more row')}"] if len(table) - 1 > SHOWN_ROWS else []
        shown = Table("", tuple(table[0]), rows, left_out).to_markdown()
        return "\n\n".join([head, quoted(call.sql, "sql"), shown, "</details>"])
    outcome = "\n".join(filter(None, [call.problem, call.result]))
    return "\n\n".join([head, quoted(first_part(f"{call.given}\n\n→ {outcome}", SHOWN_QUESTION)), "</details>"])


def _proof(receipt: Receipt) -> str:
    """Return the line that says what was sent; it opens to show just that."""
    pictures = [f"![a picture that was sent]({address})" for address in receipt.thumbnails if address]
    parts = [f"<details><summary><small>{MARK} sent: {escaped(receipt.sent)}</small></summary>", *pictures]
    return "\n\n".join([*parts, quoted(first_part(receipt.question or "", SHOWN_QUESTION)), "</details>"])


def first_part(text: str, most: int) -> str:
    """Return as much of a text as a page can carry, and how much more there is."""
    return text if len(text) <= most else f"{text[:most]}\n[… {len(text) - most:,} more characters]"


def quoted(text: str, language: str = "text") -> str:
    """Return a text as a block that shows it as it stands."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    mark = "`" * max(3, longest + 1)
    return safe_markdown(f"{mark}{language}\n{text}\n{mark}")


def to_plain(message: Message, *, show_usage: bool = True) -> str:
    """Return a reply as text for a terminal: folded, without control characters."""
    text, more = displayed_part(message.full_text)
    parts = [wrapped(clean(text))] if text else []
    parts += [f"[a picture, {kind}, {len(data) * 3 // 4 / 1000:,.0f} kB]" for kind, data in message.pictures]
    parts += ["\n".join(lines)] if (lines := plain_sources(message)) else []
    parts += [f"[{MARK} {clean(note)}]" for note in [*more, *notes(message)]]
    if show_usage:
        parts.append("\n".join(plain_account(message)))
    return "\n\n".join(parts)


def plain_account(message: Message) -> list[str]:
    """Return the lines of `account` for a terminal."""
    return [f"{MARK} {clean(line)}" for line in account(message)]


def displayed_part(text: str) -> tuple[str, list[str]]:
    """Return as much of a reply as a page can carry, and a note about the rest."""
    if len(text) <= SHOWN_CHARACTERS:
        return text.strip("\n"), []
    note = f"shown: the first {SHOWN_CHARACTERS:,} of {len(text):,} characters; all of it is in comet_magic.last.text"
    return text[:SHOWN_CHARACTERS], [note]


def ending(message: Message) -> str:
    """Return how the reply ended, in words, or "" when it ended as replies do."""
    if why := message.incomplete or message.mismatch:
        return why
    details = message.stop_details or {}
    match "tool_use" if message.tool_uses and message.stop_reason in WHOLE_REASONS else message.stop_reason:
        case "end_turn" | "stop_sequence":
            return "" if message.text.strip() or message.pictures else "(empty reply)"
        case "max_tokens":
            limit = f" = {message.limit:,}" if message.limit else ""
            if (
                not message.text.strip()
                and not message.tool_uses
                and (message.usage.reasoning_tokens or message.thinking)
            ):
                return f"max_tokens{limit} was used up by reasoning, so there is no answer: raise it with -t"
            return f"cut off at max_tokens{limit}: raise it with -t"
        case "refusal":
            category = f" ({details['category']})" if details.get("category") else ""
            why = f": {details['explanation']}" if details.get("explanation") else ""
            return f"refused{category}{why}"
        case "model_context_window_exceeded":
            return "the model's context is full: ask with less text"
        case "tool_use":
            return f"a tool call is pending: {_some([str(use.get('name') or 'unnamed') for use in message.tool_uses])}"
        case "pause_turn":
            return "paused by the server, again and again: run the cell again"
        case None:
            return "no stop reason was given" if message.text.strip() else "(empty reply)"
        case other:
            return f"stop reason: {other}"


def _some(names: list[str], most: int = 5) -> str:
    """Return the first of some names that come from elsewhere, each short, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(one_line(name, 60) for name in names[:most]) + more


def usage_line(message: Message) -> str:
    """Return `claude-sonnet-4-6 · 1,204 in (980 cached) · 310 out · 2.1 s · ≈ $0.0083 · session ≈ $0.21`."""
    receipt, name = message.receipt, message.label or message.model or "model not reported"
    if receipt.replayed is not None:
        day = time.strftime("%d %b %Y", time.localtime(receipt.replayed)).lstrip("0")
        of = f" · reply of {receipt.host}" if receipt.host else ""
        of += f" · in {receipt.store}" if receipt.store else ""
        return f"{name} · replayed from {day}{of} · 0 tokens · --fresh asks again"
    is_counted = str(message.usage) != "usage not reported"
    kind = " (partial)" if message.incomplete and is_counted else ""
    parts = [name, f"{message.usage}{kind}"]
    if message.mismatch:
        parts.append(f"not usable as {message.as_type}")
    if message.elapsed_s is not None:
        parts.append(f"{message.elapsed_s:.1f} s")
    if receipt.cost_usd is not None:
        parts.append(f"≈ {dollars(receipt.cost_usd)}")
    host = f"sent to {receipt.host}" if receipt.host else ""
    return " · ".join([*parts, *filter(None, [receipt.session, host])])


def account(message: Message) -> list[str]:
    """Return the lines under a reply: what it cost, what was sent besides the question, and which cells it outdates."""
    sent = [f"sent: {message.receipt.sent}"] if message.receipt.sent else []
    return [usage_line(message), *sent, *stale_line(message)]


MOST_STALE = 3  # cells that are named


def stale_line(message: Message) -> list[str]:
    """Return the line that names the later cells that answered what was here before; [] where there is none."""
    names = [name for _, name in message.receipt.stale]
    return [stale_cells(names, "what was here before")] if names else []


def stale_cells(names: list[str], former: str) -> str:
    """Return the sentence that some later cells are to be run again. former: what they answered, in words."""
    more = f" and {len(names) - MOST_STALE} more" if len(names) > MOST_STALE else ""
    cells = "later cell" if len(names) == 1 else "later cells"
    again = "it" if len(names) == 1 else "them"
    shown = ", ".join(f"“{name}”" for name in names[:MOST_STALE])
    return f"{cells} {shown}{more} answered {former}: run {again} again"


def notes(message: Message) -> list[str]:
    """Return what a reader must know besides the text: how it ended, what is not shown, what was odd."""
    lines = [text] if (text := ending(message)) else []
    if message.unknown_blocks:
        lines.append(f"not shown: {_some(message.unknown_blocks)}")
    return [*lines, *message.warnings]
