"""Texts in, vectors out: POST /v1/embeddings, in as many requests as its limits ask for.

Source: OpenAI's reference for embeddings, as CometAPI documents it: at most 2,048 inputs and 300,000 tokens a request.
"""

from __future__ import annotations

import json
from array import array
from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import APIError
from ..messages.tokens import estimated_tokens
from ..messages.usage import Usage
from .client import Client

if TYPE_CHECKING:
    import numpy

MOST_INPUTS, MOST_TOKENS = 2048, 250_000  # of a request; the tokens are estimated
_HINT = "the vectors of this request were not stored; call embed again, or try another model"


def batches(texts: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield (begin, end, estimated tokens) of each request."""
    begin = tokens = 0
    for index, text in enumerate(texts):
        size = estimated_tokens(text)
        if index > begin and (index - begin == MOST_INPUTS or tokens + size > MOST_TOKENS):
            yield begin, index, tokens
            begin, tokens = index, 0
        tokens += size
    if len(texts) > begin:
        yield begin, len(texts), tokens


def request_embeddings(client: Client, model: str, texts: Sequence[str], dimensions: int | None) -> dict[str, Any]:
    """Return the endpoint's reply. Raises: APIError when it refuses."""
    body: dict[str, Any] = {"model": model, "input": list(texts)}
    if dimensions is not None:
        body["dimensions"] = dimensions
    try:
        return client.fetch("/v1/embeddings", json.dumps({**body, "encoding_format": "base64"}))
    except APIError as error:
        if "encoding_format" not in error.what:
            raise
        return client.fetch("/v1/embeddings", json.dumps(body))


def usage_of(reply: dict[str, Any]) -> Usage:
    usage = reply.get("usage")
    tokens = usage.get("prompt_tokens", usage.get("total_tokens")) if isinstance(usage, dict) else None
    return Usage.from_wire({"input_tokens": tokens, "output_tokens": 0})


def vectors_of(reply: dict[str, Any], rows: Sequence[int]) -> numpy.ndarray[Any, Any]:
    """Return the vectors of a reply, one row a text, float32. rows: where each text stands for the user, for errors.

    Raises: APIError when there is not one of finite numbers for each text.
    """
    import numpy

    data = reply.get("data")
    items = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    if len(items) != len(rows):
        raise APIError(f"the endpoint returned {len(items):,} vectors for {len(rows):,} texts", _HINT, status=200)
    indexes = [item.get("index") for item in items]
    if all(isinstance(index, int) for index in indexes) and sorted(indexes) == list(range(len(rows))):  # type: ignore[type-var]  # all are int
        items.sort(key=lambda item: int(item["index"]))
    elif any(index is not None for index in indexes):
        raise APIError("the endpoint's vectors have indexes that are not those of the texts", _HINT, status=200)
    values = [item.get("embedding") for item in items]
    vectors = [_vector(value, row) for value, row in zip(values, rows, strict=True)]
    if len({len(vector) for vector in vectors}) > 1:
        raise APIError("the endpoint's vectors are of different lengths", _HINT, status=200)
    stacked = numpy.frombuffer(b"".join(vectors), numpy.float32).reshape(len(rows), -1)
    if not (finite := numpy.isfinite(stacked).all(axis=1)).all():
        raise _no_vector(rows[int(finite.argmin())])
    return stacked


def _vector(value: object, row: int) -> bytes:
    """Return a vector as float32. value: base64 of that, or a list of numbers."""
    try:
        vector = b64decode(value, validate=True) if isinstance(value, str) else array("f", value).tobytes()  # type: ignore[call-overload]  # what is no list raises
    except (ValueError, TypeError):
        raise _no_vector(row) from None
    if not vector or len(vector) % 4:
        raise _no_vector(row)
    return vector


def _no_vector(row: int) -> APIError:
    return APIError(f"the endpoint returned no usable vector for row {row:,}", _HINT, status=200)
