"""Which model makes it, and by which API: the user's word, else the setting, else the endpoint's list."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from ..errors import ConfigError
from ..messages.models import OfferedModel
from ..named_tuple import NamedTuple
from ..suggestions import did_you_mean
from .gemini import Gemini
from .image_jobs import Midjourney, Replicate
from .images import Images
from .money import estimate, rate_of
from .music import Suno
from .order import IMAGE, MUSIC, SPEECH, TRANSCRIPT, Order
from .service import Service
from .speech import PCMSpeech, Speech
from .transcripts import Transcripts, check_model
from .video import Kling, Veo, Videos

APIS: dict[str, tuple[str, ...]] = {
    "image": ("images", "gemini", "replicate", "midjourney"), "speech": ("speech",),
    "transcript": ("transcriptions", "translations"), "music": ("suno",), "video": ("videos", "kling", "veo"),
}  # fmt: skip


class Chosen(NamedTuple):
    """A model, by its name. offered: what the endpoint's list says of it.        note: why it is this one, or ""."""

    name: str
    offered: OfferedModel | None = None
    note: str = ""


# Families that are closed, or close within weeks, and of which many lists do not say so.
# Source: OpenAI's page of deprecations, and Google's, as of 2026-11-24.
_CLOSING = re.compile(
    r"dall-e|gpt-image-1(?:\b|-mini|\.5)|chatgpt-image|sora|gemini-2\.5-flash-image|chirp-v?3-0", re.I
)


def choose_model(
    order: Order, named: str, offered: Mapping[str, OfferedModel], own: Mapping[str, object], *, is_sure: bool = False
) -> Chosen:  # fmt: skip
    """Return the model for an order. named: by the user, "" by nobody.        offered: the endpoint's list.

    own: `CometSettings.prices`.        is_sure: whether the name is right, whatever it looks like.
    Raises: ConfigError for a name that is nearly one of the list; or where nobody names one, and the list has none.
    """
    if named:
        return _named(order, named, {} if is_sure and named not in offered else offered)
    today = time.strftime("%Y-%m-%d")
    usable = [
        one for one in offered.values()
        if one.kind == order.kind and not "" < one.shuts_down <= today
        and not _CLOSING.search(one.id) and _can(order, one.id)
    ]  # fmt: skip
    if not usable:
        article = "an" if order.kind == IMAGE else "a"
        why = f"no {order.kind} model is in its list" if offered else "its list of models did not come, or it has none"
        raise ConfigError(
            f"{article} {order.kind} model is needed, and the endpoint offers none: {why}",
            f"name one with -m, or set CometSettings.media_models = {{'{order.kind}': '…'}}",
        )

    def cost(one: OfferedModel) -> float:
        usd = estimate(order, rate_of(one.id, own, one)).usd
        return float("inf") if usd is None else usd

    lasting = [one for one in usable if not one.shuts_down] or usable
    chosen = min(lasting, key=cost)
    priced = "the cheapest" if cost(chosen) < float("inf") else "the first"
    return Chosen(chosen.id, chosen, f"{priced} {order.kind} model in the endpoint's list" if len(lasting) > 1 else "")


def _named(order: Order, name: str, offered: Mapping[str, OfferedModel]) -> Chosen:
    if (known := offered.get(name)) is not None:
        is_other = known.kind not in (order.kind, "chat")
        return Chosen(name, known, f"by the endpoint's list, {name} is for {known.kind}" if is_other else "")
    of_kind = [one.id for one in offered.values() if one.kind == order.kind]
    if of_kind and (near := did_you_mean(name, of_kind)):
        raise ConfigError(
            f"{name} is not in the endpoint's list{near}",
            f"nothing was sent; if it is right: CometSettings.aliases = {{{name!r}: {name!r}}}",
        )
    return Chosen(name, None, f"{name} is not in the endpoint's list" if offered else "")


def _can(order: Order, model: str) -> bool:
    """Return whether a model can do what a transcript is wanted for; others can, as far as is known."""
    if order.kind != TRANSCRIPT:
        return True
    try:
        check_model(model, order.form, translates=order.api == "translations")
    except ConfigError:
        return False
    return True


def service_for(order: Order, model: str) -> Service:
    """Return how an order is asked for. Raises: ConfigError for an API that there is not."""
    known = APIS[order.kind]
    if order.api and order.api not in known:
        near = did_you_mean(order.api, known)
        raise ConfigError(f"there is no API {order.api!r} for this{near}", f"nothing was sent; {', '.join(known)}")
    if order.kind == IMAGE:
        return _of_image(order.api, model)
    if order.kind == SPEECH:
        return PCMSpeech() if order.parameters.get("response_format") == "pcm" else Speech()
    if order.kind == TRANSCRIPT:
        return Transcripts(order.form, translates=order.api == "translations")
    if order.kind == MUSIC:
        return Suno()
    if order.api == "kling" or (not order.api and re.match(r"kling", model, re.I)):
        return Kling()
    return Veo() if order.api == "veo" else Videos()


def _of_image(api: str, model: str) -> Service:
    if api == "gemini" or (not api and re.search(r"gemini", model, re.I)):
        return Gemini()
    if api == "replicate" or (not api and "/" in model):
        return Replicate()
    if api == "midjourney" or (not api and re.match(r"mj|midjourney", model, re.I)):
        return Midjourney()
    return Images()
