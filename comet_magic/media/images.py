"""Pictures: POST /v1/images/generations, and /v1/images/edits with pictures to begin with."""

from __future__ import annotations

from typing import Any

from ..api.sse import SSEDecoder
from ..api.transport import multipart
from ..errors import APIError, ConfigError
from ..strict_json import json_or_none
from .order import Order
from .replies import DAMAGED, checked, decoded, is_data, no_result, token_usage
from .service import Answer, AnswersAtOnce, Body, Call, Result, form_text, inputs_of, json_call

MOST_PICTURES, MOST_PICTURE_BYTES = 16, 50_000_000  # that go along, and of each. Source: OpenAI's reference


class Images(AnswersAtOnce):
    """OpenAI's API for pictures."""

    name = "images"

    def calls(self, order: Order, model: str) -> list[Call]:
        """Raises: ConfigError for more, or larger, pictures than the API takes."""
        fields = {"model": model, "prompt": order.prompt, **({"n": order.number} if order.number > 1 else {})}
        fields |= order.parameters
        if not order.inputs:
            return [json_call("/v1/images/generations", fields)]
        pictures, masks = inputs_of(order), inputs_of(order, "mask")
        if not pictures:
            raise ConfigError("a mask says which part of a picture is to change, and there is no picture", _NOT_SENT)
        if len(pictures) > MOST_PICTURES or any(len(one.content) > MOST_PICTURE_BYTES for one in pictures):
            most = f"{MOST_PICTURES} pictures of {MOST_PICTURE_BYTES // 10**6} MB each"
            raise ConfigError(f"the endpoint takes at most {most}", _NOT_SENT)
        name = "image" if len(pictures) == 1 else "image[]"
        parts: list[tuple[str, Any]] = [(key, form_text(value)) for key, value in fields.items()]
        parts += [(name, (one.name, one.content, one.mime)) for one in pictures]
        parts += [("mask", (one.name, one.content, one.mime)) for one in masks]
        return [Call("/v1/images/edits", *multipart(parts))]

    def answer(self, bodies: list[Body]) -> Answer:
        (body,) = bodies
        if body.is_stream:
            return _streamed(body)
        said = checked(body)
        data = said.get("data") if isinstance(said, dict) else None
        if isinstance(data, dict):  # one picture alone, or an envelope around it
            data = data["data"] if isinstance(data.get("data"), list) else [data]
        if not isinstance(data, list) or not data:
            raise no_result("picture", _words(said))
        results = tuple(_result(one) for one in data)
        return Answer(is_done=True, results=results, usage=token_usage(said.get("usage")))


def _result(one: Any) -> Result:
    if isinstance(one, str):
        one = {"url" if "://" in one[:10] or is_data(one) else "b64_json": one}
    if not isinstance(one, dict):
        return Result(problem="the endpoint's answer has something else in its place")
    caption = str(one.get("revised_prompt") or "")
    if text := one.get("b64_json"):
        content = decoded(text)
        return Result(content, caption=caption, problem="" if content else DAMAGED)
    address = one.get("url")
    if isinstance(address, str) and address:
        return Result(address=address, caption=caption)
    return Result(problem="the endpoint's answer has neither a picture nor an address")


def _words(said: Any) -> str:
    """Return what an answer without a picture says."""
    if not isinstance(said, dict):
        return str(said)
    for choice in said.get("choices") or ():
        if isinstance(choice, dict) and isinstance(message := choice.get("message"), dict):
            return str(message.get("content") or "")
    texts = (said.get(name) for name in ("text", "message", "output_text", "detail", "reason"))
    return next((str(text) for text in texts if text), "")


class Previews:
    """Reads a stream of pictures while it comes. Lives for one answer."""

    def __init__(self) -> None:
        self._decoder = SSEDecoder()

    def feed(self, chunk: bytes) -> bytes:
        """Return the latest picture in what came; b"" for none."""
        latest = b""
        for event in self._decoder.feed(chunk):
            value = json_or_none(event.data)
            if isinstance(value, dict) and (content := decoded(value.get("b64_json"))):
                latest = content
        return latest


def _streamed(body: Body) -> Answer:
    whole: list[Result] = []
    partial, usage, why = b"", None, "the stream ended without a picture"
    try:
        for event in body.events():
            content = decoded(event.get("b64_json"))
            if str(event["type"]).endswith(".completed"):
                whole.append(Result(content, problem="" if content else DAMAGED))
                usage = event.get("usage")
            elif content:
                partial = content
    except APIError as error:  # what came before it was paid for
        why = error.what
    if not whole and partial:
        whole = [Result(partial, is_unfinished=True)]
    if not whole:
        raise no_result("picture", why)
    return Answer(is_done=True, results=tuple(whole), usage=token_usage(usage), why=why)


_NOT_SENT = "nothing was sent"
