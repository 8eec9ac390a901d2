"""The dialects in which an endpoint may be asked, and which of them a model is asked in.

A dialect is a path, a `Request` → a body, and bytes → events of Messages. Everything above it is the same for all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ..messages.models import OfferedModel
from ..messages.request import CHAT, MESSAGES, RESPONSES, Request
from ..named_tuple import NamedTuple
from ..strict_json import json_or_none
from .events import StreamEvent, stream_events


class Dialect(NamedTuple):
    """One way to ask. path: below the endpoint's base URL.

    body: the text of the request, in ASCII.        events: of the reply, as those of Messages.
    """

    path: str
    body: Callable[[Request], str]
    events: Callable[[Iterable[bytes]], Iterator[StreamEvent]]


def dialect(name: str) -> Dialect:
    """Return a dialect by its name; those besides Messages are imported on use."""
    if name == CHAT:
        from .chat_body import chat_body
        from .chat_events import chat_events

        return Dialect("/v1/chat/completions", lambda request: json.dumps(chat_body(request)), chat_events)
    if name == RESPONSES:
        from .responses_body import responses_body
        from .responses_events import responses_events

        return Dialect("/v1/responses", lambda request: json.dumps(responses_body(request)), responses_events)
    return MESSAGES_DIALECT


MESSAGES_DIALECT = Dialect("/v1/messages", Request.to_json, stream_events)
_CLAUDE = re.compile(r"(?:^|[^a-z])claude", re.I)
_BY_RESPONSES = re.compile(r"(?:.*/)?(?:o\d+(?:-|$)|gpt-.*-pro(?:-|$)|.*codex|computer-use|.*deep-research)", re.I)


def is_claude(model: str) -> bool:
    return bool(_CLAUDE.search(model))


def chosen_dialect(names: Iterable[str], own: Mapping[str, str]) -> str:
    """Return the dialect that the user names for a model, by a name or a pattern; "" for none."""
    names = list(names)
    exact = (own[name] for name in names if name in own)
    fitting = (chosen for pattern, chosen in own.items() if any(fnmatchcase(name, pattern) for name in names))
    return next(exact, "") or next(fitting, "")


def dialect_of(
    model: str, own: Mapping[str, str], names: Iterable[str], offered: OfferedModel | None, *, is_chat_server: bool
) -> str:
    """Return the name of the dialect in which `model` is asked: what the user says, else the endpoint, else its name.

    own: `CometSettings.dialects`.        names: those under which the user may mean it, such as an alias.
    offered: what the endpoint's list says of it.
    is_chat_server: whether models that nothing is known of are asked as chat completions there.
    """
    if chosen := chosen_dialect(names, own):
        return chosen
    listed = offered.dialects if offered else frozenset()
    if is_claude(model):  # also where a list does not say so: gateways' lists name what they translate to, too
        return MESSAGES
    if _BY_RESPONSES.match(model) and (RESPONSES in listed or (not listed and is_chat_server)):
        return RESPONSES
    if listed:
        return next(name for name in (CHAT, RESPONSES, MESSAGES) if name in listed)
    return CHAT if is_chat_server else MESSAGES


def not_sent(request: Request) -> list[str]:
    """Return what of a request its dialect has no field for, each as a sentence; nothing where it has all."""
    if request.dialect == MESSAGES:
        return []
    names = [f"thinking = {request.thinking!r}"] if request.thinking is not None else []
    names += ["the stop sequences"] if request.dialect == RESPONSES and request.stop_sequences else []
    api = dialect(request.dialect).path
    return [f"{name}: not sent, for {api} has no field for it" for name in names]


# ---- what lists say


_KINDS = {
    "text": "chat", "chat": "chat", "llm": "chat", "language": "chat", "multimodal": "chat", "image": "image",
    "audio": "speech", "speech": "speech", "tts": "speech", "transcription": "transcript", "stt": "transcript",
    "embedding": "embedding", "embeddings": "embedding", "video": "video", "music": "music", "rerank": "rerank",
}  # fmt: skip
_BY_NAME = (
    (r"embed|bge-|voyage", "embedding"), (r"whisper|transcri|-asr", "transcript"), (r"tts|speech|eleven", "speech"),
    (r"suno|music|lyria", "music"), (r"sora|veo\d?|kling|seedance|runway|video|hailuo|wan2", "video"),
    (r"dall-e|image|midjourney|^mj|flux|sd-|stable-diffusion|imagen|seedream", "image"), (r"rerank", "rerank"),
    (r"moderation", "moderation"),
)  # fmt: skip
_OF_ENDPOINT = (
    (MESSAGES, r"/v1/messages|anthropic|\bmessages\b"), (RESPONSES, r"/v1/responses|openai-response|\bresponses?\b"),
    (CHAT, r"chat/completions|chat[-_ ]?completions?|\bopenai\b(?!-)|\bchat\b|/text/chat"),
)  # fmt: skip


def offered_model(record: Mapping[str, Any]) -> OfferedModel:
    """Return what one object of a list of models says: CometAPI's, OpenAI's, Anthropic's, or another gateway's.

    Sources: GET /api/models of CometAPI (`model_type`, `endpoints`, `api_doc_url`, `pricing`); GET /v1/models of
    new-api (`supported_endpoint_types`), OpenAI (`shutdown_date`), Anthropic (`retires_at`), vLLM (`max_model_len`).
    """
    name = str(record.get("id"))
    kind = _KINDS.get(str(record.get("model_type") or record.get("mode") or "").lower(), "") or _kind_by_name(name)
    context = next((n for key in _CONTEXTS if (n := _count(record.get(key)))), None)
    output = next((n for key in _OUTPUTS if (n := _count(record.get(key)))), None)
    ends = next((str(record[key])[:10] for key in _SHUTDOWNS if isinstance(record.get(key), str) and record[key]), "")
    return OfferedModel(
        name, kind, _dialects(record), context, output, *_price(record.get("pricing"), kind),
        ends if re.match(r"\d{4}-\d\d", ends) else "", *_other_prices(record.get("pricing")),
    )  # fmt: skip


_CONTEXTS = ("context_length", "max_model_len", "max_context_length", "context_window", "max_input_tokens")
_OUTPUTS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_SHUTDOWNS = ("shutdown_date", "retires_at", "deprecation_date", "expiration_date")


def _kind_by_name(name: str) -> str:
    return next((kind for pattern, kind in _BY_NAME if re.search(pattern, name, re.I)), "chat")


def _dialects(record: Mapping[str, Any]) -> frozenset[str]:
    """Return the dialects that a record names; none where it names none, or none of these."""
    if record.get("type") == "model" and "object" not in record:
        return frozenset((MESSAGES,))
    said = record.get("supported_endpoint_types") or record.get("endpoints")
    if isinstance(said, str) and isinstance(parsed := json_or_none(said), list | dict):
        said = parsed
    words = json.dumps(said) if said else ""
    named = {name for name, pattern in _OF_ENDPOINT if re.search(pattern, words, re.I)}
    if not named and isinstance(page := record.get("api_doc_url"), str):
        named = {name for name, pattern in _OF_ENDPOINT if re.search(pattern, page, re.I)}
    return frozenset(named)


def _price(pricing: object, kind: str) -> tuple[float | None, float | None]:
    """Return US dollars per million tokens, in and out; None where it is priced otherwise, or not at all."""
    if not isinstance(pricing, Mapping) or "M Tokens" not in str(pricing.get("currency")):
        return None, None
    amounts = [pricing.get("input"), pricing.get("output")]
    if kind == "embedding" and isinstance(amounts[0], int | float) and amounts[0] > 0:
        return float(amounts[0]), 0.0  # nothing is written
    if not all(isinstance(amount, int | float) and amount > 0 for amount in amounts):
        return None, None
    return float(amounts[0]), float(amounts[1])  # type: ignore[arg-type]  # both are numbers


def _other_prices(pricing: object) -> tuple[float | None, float | None]:
    """Return US dollars for each request, and for each second; None where it is not priced so."""
    said = pricing if isinstance(pricing, Mapping) else {}
    per_request = next((usd for name in ("per_request", "per_image") if (usd := _usd(said.get(name)))), None)
    return per_request, _usd(said.get("per_second"))


def _usd(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
