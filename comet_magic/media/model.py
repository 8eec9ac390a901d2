"""Which model makes it, and by which API: the user's word, else the setting, else the endpoint's list."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import ConfigError
from ..messages.models import OfferedModel
from ..suggestions import did_you_mean
from .image_jobs import Midjourney, Replicate
from .images import Gemini, Images
from .money import estimate, rate_of
from .music import Suno
from .order import IMAGE, MUSIC, SPEECH, TRANSCRIPT, Order
from .service import Service
from .speech import PCMSpeech, Speech
from .transcripts import TEXT, Transcripts
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


def choose_model(order: Order, named: str, offered: Mapping[str, OfferedModel], own: Mapping[str, object]) -> Chosen:
    """Return the model for an order. named: by the user, "" by nobody.        offered: the endpoint's list.

    own: `CometSettings.prices`.
    Raises: ConfigError where nobody names one, and the list has none of that kind.
    """
    if named:
        return Chosen(named, offered.get(named))
    today = time.strftime("%Y-%m-%d")
    usable = [one for one in offered.values() if one.kind == order.kind and not "" < one.shuts_down <= today]
    hint = f"name one with -m, or set CometSettings.media_models = {{'{order.kind}': '…'}}"
    if not usable:
        article = "an" if order.kind == IMAGE else "a"
        what = (
            f"no {order.kind} model is in its list" if offered else f"it does not say which {order.kind} models it has"
        )
        raise ConfigError(f"{article} {order.kind} model is needed, and the endpoint cannot tell one: {what}", hint)

    def cost(one: OfferedModel) -> float:
        usd = estimate(order, rate_of(one.id, own, one)).usd
        return float("inf") if usd is None else usd

    lasting = [one for one in usable if not one.shuts_down] or usable
    chosen = min(lasting, key=cost)
    priced = "the cheapest" if cost(chosen) < float("inf") else "the first"
    return Chosen(chosen.id, chosen, f"{priced} {order.kind} model in the endpoint's list" if len(lasting) > 1 else "")


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
        return Transcripts(order.wants or TEXT, translates=order.api == "translations")
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


def service_named(kind: str, api: str, wants: str, parameters: Mapping[str, object]) -> Service:
    """Return the service of a job that was written down. api: its name."""
    order = Order(kind, "", api=api, parameters=parameters, wants=wants)
    return service_for(order, "")
