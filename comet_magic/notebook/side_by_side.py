"""The replies of several models side by side: a column each where there is a page, one below the other in text."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from ..exchange.plan import Plan
from ..exchange.session import current
from ..exchange.several import Answer, Comparison
from ..messages.message import Message
from ..render.markdown import GrowingMarkdown
from ..render.message import displayed_part, noted, quoted, to_markdown, to_plain, value_markdown
from ..text import MARK, clean, escaped
from .cell import is_console
from .display import PAINT_BYTES_PER_S, PAINT_S, BundleOf, applies_updates, facts, only_prints, publish_pictures


class SideBySide:
    """Paints the answers of one question into one output."""

    def __init__(
        self, publish: Callable[..., None] | None, bundle_of: BundleOf, *, show_usage: bool, remote_images: bool,
        is_turn: bool, can_update: bool = True,
    ) -> None:  # fmt: skip
        """publish: None where text is printed at the end.        is_turn: whether one of the replies is a turn.

        can_update: whether what is shown can be shown anew in its place.
        """
        self._can_update = can_update
        self._publish, self._bundle_of = publish, bundle_of
        self._show_usage, self._remote_images, self._is_turn = show_usage, remote_images, is_turn
        self._id = os.urandom(16).hex()
        self._is_open = False
        self._due = 0.0
        self._painted = ""
        # One for each answer, by its name.
        self._texts: dict[str, GrowingMarkdown] = defaultdict(lambda: GrowingMarkdown(remote_images=remote_images))

    def show(self, snapshots: Generator[Comparison, None, None]) -> Comparison:
        """Paint the answers as they grow, and their end. Raises what iterating raises."""
        comparison: Comparison | None = None
        try:
            for comparison in snapshots:
                self._paint(comparison)
        except BaseException as error:
            # Where it came while something was painted, the replies have yet to be ended.
            try:
                comparison = snapshots.throw(error)
            except BaseException as raised:  # they had ended
                if raised is not error:
                    raise
            raise
        finally:
            if comparison is not None:
                self._finish(comparison)
        assert comparison is not None
        return comparison

    def _paint(self, comparison: Comparison) -> None:
        now = time.monotonic()
        if self._publish is None or not self._can_update or now < self._due:
            return
        markdown = _table(comparison, self._growing)
        if markdown != self._painted:
            self._painted = markdown
            plain = "\n\n".join(f"{answer.name}: {clean(answer.text)}" for answer in comparison.answers)
            self._update({"text/markdown": markdown, "text/plain": plain})
            self._due = now + max(PAINT_S, len(markdown.encode()) / PAINT_BYTES_PER_S)

    def _growing(self, answer: Answer) -> str:
        if answer.message or answer.problem:
            return self._finished(answer)
        part, more = displayed_part(answer.text)
        markdown = self._texts[answer.name].safe(part)
        waiting = [] if part else [f"*{escaped(answer.note or 'thinking …')}*"]
        return "\n\n".join([markdown, *more, *waiting])

    def _finished(self, answer: Answer) -> str:
        message = _without_session(answer.message)
        if message is None:
            return f"> {MARK} **{escaped(answer.problem or 'stopped by you')}**"
        if message.is_value:
            value = quoted(str(self._bundle_of(message.value)[0].get("text/plain", message.value)))
            return f"{value}\n\n{value_markdown(message, show_usage=self._show_usage)}"
        return to_markdown(message, show_usage=self._show_usage, remote_images=self._remote_images)

    def _finish(self, comparison: Comparison) -> None:
        note = _choice(comparison) if self._is_turn else []
        note += [money] if self._show_usage and (money := current().totals.money) else []
        plain = "\n\n".join([*map(self._plain, _numbered(comparison)), *(f"{MARK} {line}" for line in note)])
        if self._publish is None:
            print(plain)
            return
        markdown = "\n\n".join([_table(comparison, self._finished), *map(noted, note)])
        metadata = [facts(answer.message) for answer in comparison.answers if answer.message]
        self._update({"text/markdown": markdown, "text/plain": plain}, {"comet_magic": {"replies": metadata}})
        for answer in comparison.answers:
            if answer.message:
                publish_pictures(self._publish, answer.message, answer.name)

    def _plain(self, numbered: tuple[int, Answer]) -> str:
        number, answer = numbered
        message = _without_session(answer.message)
        problem = clean(answer.problem or "stopped by you")
        text = to_plain(message, show_usage=self._show_usage) if message else f"[{MARK} {problem}]"
        if message and message.is_value:
            text = f"{clean(str(self._bundle_of(message.value)[0].get('text/plain', '')))}\n{text}"
        return f"{number} · {clean(answer.name)}\n{text}"

    def _update(self, bundle: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        assert self._publish is not None
        self._publish(data=bundle, metadata=metadata or {}, transient={"display_id": self._id}, update=self._is_open)
        self._is_open = True


def _numbered(comparison: Comparison) -> list[tuple[int, Answer]]:
    return list(enumerate(comparison.answers, start=1))


def _without_session(message: Message | None) -> Message | None:
    """Return a reply without the sum of the session, which grows from column to column and stands below them."""
    return None if message is None else replace(message, receipt=message.receipt._replace(session=""))


def _choice(comparison: Comparison) -> list[str]:
    """Return the line that says which reply later cells see, and how to choose another."""
    others = [number for number, answer in _numbered(comparison)[1:] if answer.is_whole]
    if comparison.turn.is_whole and comparison.chosen in others:
        number = comparison.chosen
        former = f"you had chosen reply {number} here: %claude_choose {number} takes the new one"
        return [f"reply 1 is the turn that later cells see; {former}"]
    if comparison.turn.is_whole:
        return [f"reply 1 is the turn that later cells see; %claude_choose {others[0]} takes another"] if others else []
    if not others:
        return ["no reply is whole, so later cells see none of them"]
    return [f"reply 1 is not whole, so later cells see none of these; %claude_choose {others[0]} takes that one"]


def _table(comparison: Comparison, cell: Callable[[Answer], str]) -> str:
    """Return the answers as the columns of a table; what stands between empty lines in it is Markdown."""
    width = 100 // len(comparison.answers)
    heads = [f"<th>{number} · {escaped(answer.name)}</th>" for number, answer in _numbered(comparison)]
    cells = [
        f'<td width="{width}%" valign="top" style="text-align: left; vertical-align: top">\n\n{cell(answer)}\n\n</td>'
        for answer in comparison.answers
    ]
    return f"<table><tr>{''.join(heads)}</tr>\n<tr>\n{''.join(cells)}\n</tr></table>"


def side_by_side_for(shell: Any, plan: Plan) -> SideBySide:
    """Return a page's columns where there is one, else what prints."""
    is_page = not (only_prints(shell) or is_console(shell))
    return SideBySide(
        shell.display_pub.publish if is_page else None, shell.display_formatter.format, show_usage=plan.show_usage,
        remote_images=plan.remote_images, is_turn=bool(plan.position.cell.conversation),
        can_update=applies_updates(shell),
    )  # fmt: skip
