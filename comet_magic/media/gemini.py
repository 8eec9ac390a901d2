"""Pictures by Google's API for models that write and draw: POST /v1beta/models/MODEL:generateContent."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator
from typing import Any

from ..errors import APIError, ConfigError
from .order import Order
from .replies import checked, decoded, no_result, token_usage
from .service import Answer, AnswersAtOnce, Body, Call, Result, inputs_of, json_call


class Gemini(AnswersAtOnce):
    """Google's API for models that write and draw. One picture a call."""

    name = "gemini"
    has_separate_calls = True

    def calls(self, order: Order, model: str) -> list[Call]:
        pictures = [
            {"inlineData": {"mimeType": one.mime, "data": base64.b64encode(one.content).decode()}}
            for one in inputs_of(order)
        ]
        if inputs_of(order, "mask"):
            raise ConfigError("this model takes no mask", _NOT_SENT)
        given = dict(order.parameters)
        shape = _shape(str(given.pop("size"))) if given.get("size") else {}
        config: dict[str, Any] = {"responseModalities": ["TEXT", "IMAGE"], **given}
        if shape:
            config["imageConfig"] = shape
        body = {
            "contents": [{"role": "user", "parts": [{"text": order.prompt}, *pictures]}],
            "generationConfig": config,
        }
        return [json_call(f"/v1beta/models/{model}:generateContent", body)] * order.number

    def answer(self, bodies: list[Body]) -> Answer:
        results: list[Result] = []
        used = token_usage(None)
        errors: list[APIError] = []
        for body in bodies:
            try:
                said = checked(body)
            except APIError as error:
                errors.append(error)
                results.append(Result(problem=error.what))
                continue
            found = list(_drawn(said))
            if found:
                results.append(found[-1])  # those before it are drafts
            used += token_usage(said.get("usageMetadata")) if isinstance(said, dict) else used
            if not found:
                results.append(Result(problem=_why_none(said)))
        if errors and len(errors) == len(bodies):
            raise errors[0]
        if not any(result.content for result in results):
            raise no_result("picture", results[0].problem)
        return Answer(is_done=True, results=tuple(results), usage=used)


def _shape(size: str) -> dict[str, str]:
    """Return `imageConfig` for 16:9, 2K, both, or 1024x768. Raises: ConfigError for anything else."""
    shape: dict[str, str] = {}
    for word in size.replace(",", " ").split():
        if re.fullmatch(r"\d+:\d+", word):
            shape["aspectRatio"] = word
        elif re.fullmatch(r"[124]k", word, re.I):
            shape["imageSize"] = word.upper()
        elif pair := re.fullmatch(r"(\d+)[x×](\d+)", word):
            wide, high = int(pair[1]), int(pair[2])
            least = math.gcd(wide, high) or 1
            shape["aspectRatio"] = f"{wide // least}:{high // least}"
        elif word != "auto":
            raise ConfigError(f"size {size!r}: this model takes a shape, as 16:9, and 1K, 2K or 4K", _NOT_SENT)
    return shape


def _candidates(said: Any) -> list[dict[str, Any]]:
    listed = said.get("candidates") if isinstance(said, dict) else None
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _parts(said: Any) -> Iterator[dict[str, Any]]:
    for candidate in _candidates(said):
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        yield from (part for part in parts or () if isinstance(part, dict) and not part.get("thought"))


def _drawn(said: Any) -> Iterator[Result]:
    for part in _parts(said):
        inline = part.get("inlineData") or part.get("inline_data")
        if isinstance(inline, dict) and (content := decoded(inline.get("data"))):
            yield Result(content)


def _why_none(said: Any) -> str:
    texts = " ".join(str(part["text"]) for part in _parts(said) if part.get("text"))
    feedback = said.get("promptFeedback") if isinstance(said, dict) else None
    blocked = [str(feedback["blockReason"])] if isinstance(feedback, dict) and feedback.get("blockReason") else []
    ends = [str(one["finishReason"]) for one in _candidates(said) if one.get("finishReason") not in (None, "STOP")]
    return " · ".join(filter(None, [*blocked, *ends, texts]))


_NOT_SENT = "nothing was sent"
