"""What is made, on the screen: one output while it is made, and then the picture or the player, with a line below."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

from ..environment import terminal_shows_colours
from ..errors import without_known_keys
from ..media.order import IMAGE
from ..media.results import OrderResult
from ..media.shown import bundle, plain, without_keys
from ..messages.image_size import media_type
from ..render.table import Table
from ..settings import CometSettings
from ..text import MARK, clean, dollars, escaped, one_line, shown_path
from .cell import current_shell, is_console
from .display import applies_updates, only_prints
from .status_display import StatusLine, StatusOutput

LONGEST_S = 1e6  # seconds; what is said to be later is no time
PAINT_S = 0.5  # seconds between two paints
SHOWN_TEXT, SHOWN_PROMPT = 3000, 60  # characters of a transcript, and of a prompt


class MediaOutput:
    """Paints into one output of a notebook. can_update: also before the end."""

    def __init__(self, publish: Callable[..., None], *, can_update: bool) -> None:
        self._publish, self._can_update = publish, can_update
        self._output = StatusOutput(publish)
        self._due, self._has_painted = 0.0, False

    def paint(self, line: str, preview: bytes = b"") -> None:
        now = time.monotonic()
        if not self._can_update or now < self._due:
            return
        self._due, self._has_painted = now + PAINT_S, True
        if (kind := media_type(preview)) in ("image/png", "image/jpeg"):
            text = {"text/plain": f"[unfinished picture] {clean(line)}"}
            self._output.show({kind: base64.b64encode(preview).decode(), **text})
        else:
            self._output.show({"text/markdown": f"*{escaped(line)}*", "text/plain": clean(line)})

    def say(self, line: str) -> None:
        """Put a line in the place of what was painted, where nothing was made."""
        if self._has_painted:
            self._output.show(_small(line))

    def finish(self, made: OrderResult, line: str, *, shows_media: bool) -> None:
        shown = (
            [bundle(one, f"{MARK} {line}" if len(made.media) == 1 else "") for one in made.media] if shows_media else []
        )
        has_line = bool(shown) and "text/html" in shown[0][0] and len(shown) == 1
        if made.text is not None and not made.media:
            shown = [(_transcript(made.text), {})] if shows_media else []
        if not has_line:
            shown.append((_small(line), _facts(made)))
        first, *others = shown
        self._output.show(*first)
        for data, metadata in others:
            self._publish(data=data, metadata=metadata)


class MediaTerminal:
    """Says how it stands in one line that is written over; a terminal shows no pictures, and names the files."""

    def __init__(self, *, can_overwrite: bool) -> None:
        self._line = StatusLine(can_overwrite=can_overwrite)

    def paint(self, line: str, preview: bytes = b"") -> None:
        self._line.write(clean(without_known_keys(line)))

    def say(self, line: str) -> None:
        self._line.end([f"{MARK} {clean(line)}"])

    def finish(self, made: OrderResult, line: str, *, shows_media: bool) -> None:
        lines = [plain(one) for one in made.media] if shows_media else []
        if made.text is not None and not made.media and shows_media:
            lines = [_transcript(made.text)["text/plain"]]
        self._line.end([*lines, f"{MARK} {clean(line)}"])


class NoScreen:
    """For a script, which shows nothing."""

    def paint(self, line: str, preview: bytes = b"") -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def finish(self, made: OrderResult, line: str, *, shows_media: bool) -> None:
        pass


def media_screen() -> MediaOutput | MediaTerminal | NoScreen:
    """Return where it is shown now."""
    shell: Any = current_shell()
    if shell is None:
        return NoScreen()
    if only_prints(shell) or is_console(shell):
        return MediaTerminal(can_overwrite=terminal_shows_colours())
    return MediaOutput(shell.display_pub.publish, can_update=applies_updates(shell))


def made_line(made: OrderResult) -> str:
    """Return the line under what was made: model, tokens, seconds, price, files; and what there is to say of it."""
    job, parts = made.job, list[str]()
    if job.kind == IMAGE:  # no front end shows the words that stand beside a picture for those who cannot see it
        parts.append(f"“{one_line(job.prompt, SHOWN_PROMPT)}”")
    if CometSettings.instance().show_usage:
        parts.append(job.model)
        if made.again_from:
            source, again = ("its file", "makes another") if made.media else ("the store", "asks again")
            parts.append(f"made on {made.again_from}, shown from {source} at no cost; --fresh {again}")
        else:
            parts += [str(job.used)] if job.used.reported() else []
            parts += [f"{job.seconds:.1f} s"] if job.seconds is not None else []
            parts.append("no price is known" if job.usd is None else f"≈ {dollars(job.usd)}")
    parts.append(", ".join(shown_path(one.path) for one in made.media))
    return " · ".join(map(without_keys, filter(None, [*parts, *made.notes])))


def _small(line: str) -> dict[str, str]:
    return {"text/markdown": f"<small>{MARK} {escaped(line)}</small>", "text/plain": f"{MARK} {clean(line)}"}


def _facts(made: OrderResult) -> dict[str, Any]:
    """Return what an output's metadata says of it: enough to know where it came from, and never a key."""
    job = made.job
    facts = {"job": job.id, "kind": job.kind, "model": job.model, "usage": job.used.reported()}
    return {"comet_magic": {name: value for name, value in facts.items() if value}}


def _transcript(text: Any) -> dict[str, str]:
    if isinstance(text, list):
        rows = [(_clock(row.get("start")), _clock(row.get("end")), str(row.get("text") or "")) for row in text]
        more = [f"and {len(rows) - 50:,} more"] if len(rows) > 50 else []
        return Table("", ("start", "end", "text"), rows[:50], more)._repr_mimebundle_()
    whole = without_known_keys(str(text)).strip()
    shown = whole if len(whole) <= SHOWN_TEXT else f"{whole[:SHOWN_TEXT]} … ({len(whole):,} characters)"
    quoted = "\n".join(f"> {escaped(line)}" if line.strip() else ">" for line in shown.splitlines())
    return {"text/markdown": quoted or "> ", "text/plain": clean(shown)}


def _clock(seconds: Any) -> str:
    """Return `1:05.3`."""
    if not isinstance(seconds, int | float) or not 0 <= seconds < LONGEST_S:
        return ""
    minutes, tenths = divmod(round(seconds * 10), 600)
    return f"{minutes}:{tenths // 10:02}.{tenths % 10}"
