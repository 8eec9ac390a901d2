"""Cells as they ran → what stands for them in a prompt: sources, what the screen showed, failures, and pictures.

Cells have no number here: that is another one at each run, and what is sent would be.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..describe import images
from ..describe.description import Description, Limits
from ..describe.tracebacks import failure
from ..errors import ConfigError
from ..messages.tokens import estimated_tokens
from ..text import many

if TYPE_CHECKING:
    from .executions import Execution

MOST_PICTURES = 4  # that go along with cells; the latest ones


def describe_executions(executions: Sequence[Execution], limits: Limits) -> list[Description]:
    """Describe cells as they ran. Each is cut only where all do not fit. The latest pictures follow."""
    shared = [picture for run in executions for picture in run.pictures][-MOST_PICTURES:] if limits.share_values else []
    texts = _texts(executions, limits, limits.text_tokens, shared)
    if estimated_tokens("\n\n".join(texts)) > limits.text_tokens:
        texts = _texts(executions, limits, max(100, limits.text_tokens // len(executions) // 2), shared)
    label = many(len(executions), "cell")
    if shared:
        label += f" with {many(len(shared), 'picture')}"
    described = [Description("notebook cells", limits.fitted("\n\n".join(texts)), label)]
    for number, picture in enumerate(shared, 1):
        one = describe_picture(picture, limits)
        described.append(one._replace(text=f"picture {number}, {one.text}") if one.attached else one)
    return described


def _texts(executions: Sequence[Execution], limits: Limits, tokens: int, shared: list[tuple[str, Any]]) -> list[str]:
    return [
        _text(run, limits, tokens, shared, f"cell {number} of {len(executions)}" if len(executions) > 1 else "cell")
        for number, run in enumerate(executions, 1)
    ]


def _text(run: Execution, limits: Limits, tokens: int, shared: list[tuple[str, Any]], name: str) -> str:
    """Write out one of them. tokens: of its source, and of its outputs.        shared: the pictures that go along."""
    lines = [f"{name}:", limits.fitted(run.source.strip("\n"), tokens)]
    if run.outputs and limits.share_values:
        outputs = "\n".join(_outputs(run, limits, shared))
        lines += ["its output:", limits.fitted(outputs.strip("\n"), tokens)]
    elif run.outputs:
        lines.append("its output: (not shared)")
    if run.error is not None:
        lines += ["it failed:", failure(run.error, limits).text]
    elif run.failed:
        why = limits.short(run.failed, 500) if limits.share_values else run.failed.split(":")[0]
        lines.append(f"it failed: {why}")
    return "\n".join(lines)


def _outputs(run: Execution, limits: Limits, shared: list[tuple[str, Any]]) -> list[str]:
    places = {id(picture): number for number, picture in enumerate(shared, 1)}
    texts = []
    for output, text in zip(run.outputs, run.hidden_texts(limits.hide), strict=True):
        if output.picture:
            number = places.get(id(output.picture))
            text = f"[picture {number}]" if number else "[a picture, which is not sent]"
        texts.append(text)
    return texts


def describe_picture(picture: tuple[str, Any], limits: Limits) -> Description:
    """Describe what a cell displayed as a picture. Raises: ConfigError where it cannot be made an image."""
    kind, data = picture
    limits.refuse_values("a picture")
    if kind == "figure":
        return images.picture(data, limits)
    if kind == "image/svg+xml":
        return Description("picture as SVG", limits.fitted(str(data)))
    if kind.startswith("image/"):
        return images.image(data if isinstance(data, bytes) else base64.b64decode(data), "picture", limits)
    library = "plotly.graph_objects" if "plotly" in kind else "altair"
    module: Any = sys.modules.get(library)
    if module is None:
        raise ConfigError(f"the last picture was made with {library.split('.')[0]}, which is not loaded any more",
                          "nothing was sent; run its cell again")  # fmt: skip
    figure = module.Figure(data) if "plotly" in kind else module.Chart.from_dict(data)
    return images.picture(figure, limits)
