"""Cells as they ran → what stands for them in a prompt: sources, text outputs and failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..describe.description import Description, Limits
from ..describe.tracebacks import failure
from ..messages.tokens import estimated_tokens
from ..text import many

if TYPE_CHECKING:
    from .executions import Execution


def describe_executions(executions: Sequence[Execution], limits: Limits) -> Description:
    """Describe cells as they ran: sources, outputs, and how they failed. Each is cut only where all do not fit."""
    texts = [_text(run, limits, limits.text_tokens) for run in executions]
    if estimated_tokens("\n\n".join(texts)) > limits.text_tokens:
        part = max(100, limits.text_tokens // len(executions) // 2)
        texts = [_text(run, limits, part) for run in executions]
    label = f"In[{executions[0].number}]" if len(executions) == 1 else many(len(executions), "cell")
    return Description("notebook cells", limits.fitted("\n\n".join(texts)), label)


def _text(run: Execution, limits: Limits, tokens: int) -> str:
    """Write out one of them. tokens: of its source, and of its outputs."""
    lines = [f"In[{run.number}]:", limits.fitted(run.source.strip("\n"), tokens)]
    if run.outputs and limits.share_values:
        outputs = "\n".join(run.hidden_outputs(limits.hide))
        lines += [f"Out[{run.number}]:", limits.fitted(outputs.strip("\n"), tokens)]
    elif run.outputs:
        lines.append(f"Out[{run.number}]: (not shared)")
    if run.error is not None:
        lines += [f"In[{run.number}] failed:", failure(run.error, limits).text]
    elif run.failed:
        why = limits.short(run.failed, 500) if limits.share_values else run.failed.split(":")[0]
        lines.append(f"In[{run.number}] failed: {why}")
    return "\n".join(lines)
