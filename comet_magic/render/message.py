"""A reply as safe Markdown for a notebook, and as text for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..messages.tool_call import Call
from ..text import clean, escaped
from .markdown import safe_markdown, wrapped

if TYPE_CHECKING:  # making classes of them takes a while
    from typing import Protocol

    class Proof(Protocol):
        """What was sent: a `Receipt`."""

        @property
        def sent(self) -> str: ...
        @property
        def question(self) -> str | None: ...
        @property
        def thumbnails(self) -> tuple[str, ...]: ...

    class Shown(Protocol):
        """What can be shown: a `Message`."""

        @property
        def text(self) -> str: ...
        @property
        def told(self) -> str: ...
        @property
        def thinking(self) -> str: ...
        @property
        def as_type(self) -> str: ...
        @property
        def receipt(self) -> Proof: ...
        def steps(self) -> Iterator[Any]: ...
        def notes(self) -> list[str]: ...
        def account(self) -> list[str]: ...
        def usage_line(self) -> str: ...


SHOWN_QUESTION = 20_000  # characters of what was sent that its line opens to
SHOWN_CHARACTERS = 200_000  # beyond it, a browser needs seconds for one reply


def to_markdown(message: Shown, *, show_usage: bool = True, remote_images: bool = False) -> str:
    """A reply as safe Markdown: collapsed thinking, text, how it ended, usage."""
    parts = []
    if message.thinking:
        thinking = safe_markdown(message.thinking[:SHOWN_CHARACTERS], remote_images=remote_images)
        parts.append(f"<details><summary>Thinking</summary>\n\n{thinking}\n\n</details>")
    text, more = shown(message.text)
    for step in message.steps():
        if isinstance(step, Call):
            parts.append(_call(step))
        elif step is message and message.as_type:  # not what it was to be
            parts.append(quoted(text, "json"))
        elif step is message and text:
            parts.append(safe_markdown(text, remote_images=remote_images))
        elif step is not message and step.text.strip():
            parts.append(safe_markdown(step.text[:SHOWN_CHARACTERS].strip("\n"), remote_images=remote_images))
    parts += [f"> **{escaped(note)}**" for note in [*more, *message.notes()]]
    return "\n\n".join([*parts, *(_account(message) if show_usage else [])])


def value_markdown(message: Shown, *, show_usage: bool = True) -> str:
    """What stands below a value that is shown by itself: notes, usage, and the reply that it was read from."""
    calls = [_call(step) for step in message.steps() if isinstance(step, Call)]
    notes = [f"> **{escaped(note)}**" for note in message.notes()]
    head = f"<details><summary><small>reply, read as {escaped(message.as_type)}</small></summary>"
    raw = quoted(beginning(message.text, SHOWN_CHARACTERS), "json")
    account = _account(message) if show_usage else []
    return "\n\n".join([*calls, *notes, *account, head, raw, "</details>"])


def _account(message: Shown) -> list[str]:
    if message.receipt.question is None:
        return ["<br>".join(f"<small>{escaped(line)}</small>" for line in message.account())]
    return [f"<small>{escaped(message.usage_line())}</small>", _proof(message.receipt)]


def _call(call: Call) -> str:
    """The line of a call; it opens to show the arguments and the result."""
    head = f"<details><summary><small>{escaped(call.line)}</small></summary>"
    told = "\n".join(filter(None, [call.problem, call.result]))
    return "\n\n".join([head, quoted(beginning(f"{call.given}\n\n→ {told}", SHOWN_QUESTION)), "</details>"])


def _proof(receipt: Proof) -> str:
    """The line that says what was sent; it opens to show just that."""
    pictures = [f"![a picture that was sent]({address})" for address in receipt.thumbnails if address]
    parts = [f"<details><summary><small>sent: {escaped(receipt.sent)}</small></summary>", *pictures]
    return "\n\n".join([*parts, quoted(beginning(receipt.question or "", SHOWN_QUESTION)), "</details>"])


def beginning(text: str, most: int) -> str:
    """As much of it as a page can carry, and how much more there is."""
    return text if len(text) <= most else f"{text[:most]}\n[… {len(text) - most:,} more characters]"


def quoted(text: str, language: str = "text") -> str:
    """A text as a block that shows it as it stands."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    mark = "`" * max(3, longest + 1)
    return safe_markdown(f"{mark}{language}\n{text}\n{mark}")


def to_plain(message: Shown, *, show_usage: bool = True) -> str:
    """A reply as text for a terminal: folded, without control characters."""
    text, more = shown(message.told)
    parts = [wrapped(clean(text))] if text else []
    parts += [f"[{clean(note)}]" for note in [*more, *message.notes()]]
    if show_usage:
        parts.append("\n".join(map(clean, message.account())))
    return "\n\n".join(parts)


def shown(text: str) -> tuple[str, list[str]]:
    """As much of a reply as a page can carry, and a note about the rest."""
    if len(text) <= SHOWN_CHARACTERS:
        return text.strip("\n"), []
    note = f"shown: the first {SHOWN_CHARACTERS:,} of {len(text):,} characters; all of it is in comet_magic.last.text"
    return text[:SHOWN_CHARACTERS], [note]
