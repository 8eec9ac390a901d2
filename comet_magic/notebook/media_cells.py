"""Orders from a cell or from Python: made, shown while that goes on, and handed over."""

from __future__ import annotations

from typing import Any

from ..exchange.session import current
from ..media import run
from ..media.dry_run import MediaDryRun
from ..media.order import MUSIC, Order
from ..media.orders import segments_table
from ..media.results import OrderResult, order_of
from ..settings import CometSettings
from .display import brief_interrupt
from .media_display import made_line, media_screen

_GOES_ON = "what was ordered goes on: run the cell again, or %comet_jobs"


def order_shown(
    order: Order, *, is_fresh: bool = False, is_dry: bool = False, shows_media: bool = False, note: str = ""
) -> Any:  # fmt: skip
    """Return what was ordered, shown while it is made; or what would be sent, where `is_dry`.

    shows_media: also what was made, and not its line alone.        note: what is to be said of the order.
    Raises: as `run.make`.
    """
    settings, session = CometSettings.instance(), current()
    if is_dry:
        return MediaDryRun(order, run.preview(order, settings, session, is_fresh=is_fresh))
    screen = media_screen()
    with brief_interrupt(_GOES_ON):
        made = run.make(order, settings, session, screen, is_fresh=is_fresh, note=note)
    screen.finish(made, made_line(made), shows_media=shows_media)
    return value_of(made)


def resumed(named: str, *, shows_media: bool = False) -> Any:
    """Return what comes of a job, shown while it is waited for. Raises: as `run.resume`."""
    settings, session = CometSettings.instance(), current()
    screen = media_screen()
    with brief_interrupt(_GOES_ON):
        made = run.resume(named, settings, session, screen)
    screen.finish(made, made_line(made), shows_media=shows_media)
    return value_of(made)


def value_of(made: OrderResult) -> Any:
    """Return what a user gets: the one thing that was made, a list of several, a text, or a table of segments."""
    if made.media:
        is_list = made.job.kind == MUSIC or order_of(made.job).number > 1
        return made.media if is_list or len(made.media) > 1 else made.media[0]
    return segments_table(made.text) if isinstance(made.text, list) else made.text
