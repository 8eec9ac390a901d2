"""A reply on the screen: painted through one display while it grows, and left there as one output that stands alone.

The browser is the bottleneck: it needs about 11 ms for each kB of Markdown that it paints, and what it cannot paint
queues. So the time between two paints grows with the text.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ..environment import terminal_shows_colours
from ..errors import without_known_keys
from ..exchange.loop import Reply
from ..exchange.plan import Plan
from ..messages.message import Message
from ..render.markdown import GrowingMarkdown
from ..render.message import displayed_part, notes, plain_account, plain_sources, to_markdown, to_plain, value_markdown
from ..text import MARK, clean, escaped, many
from .cell import current_shell, is_console, is_terminal
from .executions import parent_of
from .next_cell import one_block

PAINT_S = 0.1  # seconds between paints at least; faster only flickers
PAINT_BYTES_PER_S = 40_000  # what JupyterLab keeps up with
PATIENCE_S = 0.3  # seconds without text until a placeholder says that something is going on


if TYPE_CHECKING:
    from ..render.terminal import TerminalMarkdown
    from ..tools.runner import Approve

BundleOf = Callable[[Any], tuple[dict[str, Any], dict[str, Any]]]


def plain_bundle(value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"text/plain": repr(value)}, {}


class Screen(Protocol):
    """A place where a reply is painted. can_update: also later, from another cell."""

    can_update: bool

    def note(self, text: str) -> None: ...
    def asking(self, approve: Approve) -> Approve: ...
    def paint(self, text: str) -> int: ...
    def finish(self, message: Message) -> None: ...


class LiveDisplay:
    """Paints one reply. `note` may be called before there is any."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._due = 0.0
        self._painted = ""
        self._patience = time.monotonic() + PATIENCE_S
        self.note = screen.note

    def show(self, snapshots: Generator[Reply | Message, None, Message]) -> Message:
        """Paint the reply as it grows, and its end. Raises what it raises, with what had arrived left on the screen."""
        message: Message | None = None
        try:
            for snapshot in snapshots:
                message = self._show(snapshot)
        except BaseException as error:
            # If painting was interrupted, the reply has yet to be ended; otherwise this raises the error again.
            self._show(snapshots.throw(error))
            raise
        finally:
            snapshots.close()
        assert message is not None
        return message

    def _show(self, snapshot: Reply | Message) -> Message | None:
        if isinstance(snapshot, Message):
            self._screen.finish(snapshot)
            return snapshot
        if snapshot.is_urgent:
            self._due = 0.0
        self.paint(snapshot)
        return None

    def paint(self, reply: Reply) -> None:
        """Paint what has arrived, if it is time to. Costs nothing if not."""
        now = time.monotonic()
        if now < self._due:
            return
        text = reply.text
        if text != self._painted:
            size = self._screen.paint(text)
            self._painted = text
            self._due = now + max(PAINT_S, size / PAINT_BYTES_PER_S)
        elif not text and now > self._patience:
            self._patience = float("inf")
            self._screen.note("thinking …")


class Notebook:
    """A screen that shows Markdown: one output, updated in place; where updates are not applied, shown at the end."""

    def __init__(
        self, publish: Callable[..., None], *, show_usage: bool, remote_images: bool,
        bundle_of: BundleOf = plain_bundle, makes_cell: bool = False, clear: Callable[..., None] | None = None,
        can_update: bool = True,
    ) -> None:  # fmt: skip
        """bundle_of: how Jupyter shows a value.        makes_cell: the reply's code will stand in a cell of its own.

        clear: clears the cell's output, where there is nothing in it but the reply; else None.
        can_update: whether what is shown can be shown anew in its place.
        """
        self.can_update = can_update
        self._makes_cell = makes_cell
        self._clear, self._has_asked, self._has_shown = clear, False, False
        self._publish = publish
        self._bundle_of = bundle_of
        self._show_usage = show_usage
        self._remote_images = remote_images
        self._growing = GrowingMarkdown(remote_images=remote_images)
        self._id = os.urandom(16).hex()
        self._is_open = False
        self._notes: list[str] = []

    def note(self, text: str) -> None:
        if not self.can_update:
            return
        self._notes.append(text)
        lines = "\n\n".join(f"*{escaped(note)}*" for note in self._notes)
        self._update({"text/markdown": lines, "text/plain": "\n".join(map(clean, self._notes))})

    def paint(self, text: str) -> int:
        if not self.can_update:
            return 0
        part, notes = displayed_part(text)
        markdown = self._growing.safe(part)
        bundle = {"text/markdown": "\n\n".join([markdown, *notes])}
        if not self._is_open:
            bundle["text/plain"] = clean(part)  # a console shows the first display only, and only this of it
        self._update(bundle)
        return len(markdown.encode())

    def asking(self, approve: Approve) -> Approve:
        """Return the same, but what was asked is cleared once the reply is there."""

        def ask(*call: Any) -> str:
            self._has_asked = True
            return approve(*call)

        return ask

    def finish(self, message: Message) -> None:
        if self._has_asked and self._clear:
            self._has_asked = False
            self._clear(wait=True)
            self._is_open, self._id = False, os.urandom(16).hex()
        if message.is_value:
            self._show_value(message)
            return
        code = one_block(message) if self._makes_cell else ""
        markdown = to_markdown(message, show_usage=self._show_usage, remote_images=self._remote_images, folded=code)
        bundle = {
            "text/markdown": markdown,
            "text/plain": to_plain(message, show_usage=self._show_usage),
        }
        self._update(bundle, {"comet_magic": facts(message)})
        self._show_pictures(message)

    def _show_pictures(self, message: Message) -> None:
        """Show each picture of the reply as an output of its own, the one form that every front end shows; once."""
        if not self._has_shown:
            self._has_shown = True
            publish_pictures(self._publish, message, "the reply")

    def _show_value(self, message: Message) -> None:
        """Show the value where the reply grew, as Jupyter shows it, and below it what there is to say."""
        data, metadata = self._bundle_of(message.value)
        if data:  # a widget shows itself
            self._update(data, metadata)
        self._is_open, self._id = False, os.urandom(16).hex()
        markdown = value_markdown(message, show_usage=self._show_usage)
        plain = "\n".join(_account(message, self._show_usage))
        self._update({"text/markdown": markdown, "text/plain": plain}, {"comet_magic": facts(message)})

    def _update(self, bundle: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        self._publish(data=bundle, metadata=metadata or {}, transient={"display_id": self._id}, update=self._is_open)
        self._is_open = True


def publish_pictures(publish: Callable[..., None], message: Message, whose: str) -> None:
    for kind, data in message.pictures:
        publish(data={kind: data, "text/plain": f"[a picture of {whose}, {kind}]"}, metadata={})


def _drawer() -> TerminalMarkdown | None:
    """Return what draws Markdown, where the terminal shows colours; else the text is printed as it stands."""
    if not terminal_shows_colours():
        return None
    from ..render.terminal import TerminalMarkdown  # not at the top: notebooks have no terminal

    return TerminalMarkdown(lambda text: print(text, end=""))


class Terminal:
    """A screen that can only go on: text is printed as it comes, then how it ended and the usage."""

    can_update = False

    def __init__(self, *, show_usage: bool, bundle_of: BundleOf = plain_bundle, is_typed: bool = False) -> None:
        """is_typed: the reply is to be a value, and shown when it is one."""
        self._show_usage = show_usage
        self._bundle_of = bundle_of
        self._is_typed = is_typed
        self._printed = ""
        self._draw = _drawer()

    def note(self, text: str) -> None:
        print(f"[{clean(text)}]", flush=True)

    def asking(self, approve: Approve) -> Approve:
        return approve

    def paint(self, text: str) -> int:
        if self._is_typed:
            return 0
        # A replacement at the end may be the first half of a character.
        ready = clean(without_known_keys(text)).rstrip("\ufffd")
        self._begin_anew_unless(ready)
        self._print(ready[len(self._printed) :])
        self._printed = max(self._printed, ready, key=len)
        return 0

    def _print(self, text: str) -> None:
        if self._draw:
            self._draw.feed(text)
            sys.stdout.flush()
        else:
            print(text, end="", flush=True)

    def _end_drawing(self) -> None:
        if self._draw:
            self._draw.close()
            self._draw = _drawer()

    def _begin_anew_unless(self, text: str) -> None:
        """Leave what is printed, and begin below it where the endpoint has begun its reply anew."""
        # Between two requests of a reply, there are fewer newlines at its end for a moment.
        if not text.startswith(self._printed) and self._printed.rstrip("\n") != text.rstrip("\n"):
            self._end_drawing()
            print(f"\n[{MARK} the endpoint began its reply anew]", flush=True)
            self._printed = ""

    def finish(self, message: Message) -> None:
        self._begin_anew_unless(clean(message.full_text))
        rest = clean(message.full_text)[len(self._printed) :]
        if message.is_value:
            rest = clean(str(self._bundle_of(message.value)[0].get("text/plain", "")))
        elif self._draw:
            self._print(rest)
            self._end_drawing()
            rest = ""
        if message.pictures:
            print(
                f"\n[{many(len(message.pictures), 'picture')}, which a terminal cannot show: comet_magic.last.pictures]"
            )
        lines = _account(message, self._show_usage)
        print("\n".join([rest, *lines] if self._printed or rest else lines), flush=True)


def _account(message: Message, show_usage: bool) -> list[str]:
    endings = [*plain_sources(message), *(f"[{MARK} {clean(note)}]" for note in notes(message))]
    return [*endings, *(plain_account(message) if show_usage else [])]


def publish(bundle: dict[str, Any]) -> None:
    """Show an output, where there is somewhere to show it."""
    if shell := current_shell():
        shell.display_pub.publish(data=bundle)


def only_prints(shell: Any) -> bool:
    """Return whether it is a terminal whose outputs nobody captures."""
    return is_terminal(shell) and not type(shell.display_pub).__name__.startswith("Capturing")


def show(shell: Any, value: Any) -> None:
    """Show a value that displays itself, as Markdown where there is a notebook, else as text."""
    if only_prints(shell):
        print(value)
    else:
        bundle = value._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        shell.display_pub.publish(data=data, metadata=metadata)


def screen_for(shell: Any, plan: Plan) -> Screen:
    """Return a notebook's output where there is one (also one that is being captured), else the terminal."""
    bundle_of, show_usage = shell.display_formatter.format, plan.show_usage
    if only_prints(shell) or is_console(shell):
        return Terminal(show_usage=show_usage, bundle_of=bundle_of, is_typed=bool(plan.options.output))
    return Notebook(
        shell.display_pub.publish, show_usage=show_usage, remote_images=plan.remote_images, bundle_of=bundle_of,
        makes_cell=plan.options.makes_cell, clear=shell.display_pub.clear_output if _is_alone(shell) else None,
        can_update=applies_updates(shell),
    )  # fmt: skip


def applies_updates(shell: Any) -> bool:
    """Return whether what is shown now can be shown anew in its place.

    Outputs that are captured are collected, each update as one more; Output widgets and the engines of ipyparallel pass
    over updates; and a shell without a front end prints each.
    """
    publisher, kernel = type(shell.display_pub), type(getattr(shell, "kernel", None))
    is_plain = publisher.__module__ == "IPython.core.displaypub"
    is_captured = publisher.__name__.startswith("Capturing")
    return not (is_plain or is_captured or kernel.__module__.startswith("ipyparallel.") or _is_in_widget(shell))


def _is_in_widget(shell: Any) -> bool:
    """Return whether an Output widget takes what is shown now."""
    widgets, outputs = (sys.modules.get(f"ipywidgets.widgets.{name}") for name in ("widget", "widget_output"))
    if widgets is None or outputs is None:
        return False
    asked = parent_of(shell).get("header", {}).get("msg_id")
    here = [widget for widget in list(widgets._instances.values()) if isinstance(widget, outputs.Output)]
    return bool(asked) and any(widget.msg_id == asked for widget in here)


def _is_alone(shell: Any) -> bool:
    """Return whether the reply is all that the running cell shows, and a kernel can clear it."""
    sources = shell.history_manager.input_hist_raw
    return hasattr(shell.display_pub, "register_hook") and bool(sources) and sources[-1].lstrip().startswith("%%claude")


def facts(message: Message) -> dict[str, Any]:
    """Return what an output's metadata says of a reply: enough to know where it came from, and never a key."""
    known = {
        "id": message.id,
        "request_id": message.request_id,
        "model": message.model,
        "stop_reason": message.stop_reason,
        "incomplete": message.incomplete,
        "mismatch": message.mismatch,
        "replayed": message.receipt.replayed,
        "usage": message.usage.reported(),
    }
    return {name: value for name, value in known.items() if value}


@contextmanager
def brief_interrupt(where: str = "whatever had arrived is above") -> Iterator[None]:
    """Let a KeyboardInterrupt through with two lines in place of its traceback. where: what had come is found."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        lines = ["KeyboardInterrupt: stopped by you", f"  → {where}"]
        interrupt._render_traceback_ = lambda: lines  # type: ignore[attr-defined]  # IPython asks for it
        raise
