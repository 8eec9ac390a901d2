"""What an order would send, shown in place of sending it."""

from __future__ import annotations

import json

from ..keys import without_key
from ..store.media import FETCHED
from ..text import clean, dollars, escaped, many
from .durations import seconds_of
from .order import TRANSCRIPT, Order
from .results import day
from .run import Preview, Ready
from .running import AGAIN


class MediaDryRun:
    """Displays itself: an order as it would be sent, without any key in it."""

    def __init__(self, order: Order, preview: Preview) -> None:
        self._order, self._preview = without_key(order, preview.endpoint.key), preview

    @property
    def lines(self) -> list[str]:
        order, ready, job = self._order, self._preview.ready, self._preview.known
        if ready is None and job is not None:
            noun, name = order.nouns[0], job.name
            what = f"was ordered on {day(job)}, and its job {name} is {job.state}"
            if job.state == FETCHED:
                what = f"was made on {day(job)}, and would be shown at no cost (job {name})"
            if not self._preview.has_files:
                what = f"was made on {day(job)}, and its file is no longer there (job {name})"
            return ["Nothing was sent: this is a dry run.", f"The cell would send nothing: this {noun} {what}", AGAIN]
        assert ready is not None
        noun = f"a {order.nouns[0]}" if order.number == 1 else f"{order.number} {order.nouns[1]}"
        paths = " and ".join(dict.fromkeys(call.path for call in ready.calls))
        times = f", in {many(len(ready.calls), 'request')}" if len(ready.calls) > 1 else ""
        why = f" ({ready.model.note})" if ready.model.note else ""
        return [
            "Nothing was sent: this is a dry run.",
            f"It would ask for {noun} from {ready.model.name}{why} at {self._preview.endpoint.name}{paths}{times}",
            f"cost: {_cost(ready)}",
            f"with: {self._along(ready)}",
            *([f"parameters: {json.dumps(order.parameters, ensure_ascii=False)}"] if order.parameters else []),
        ]

    def _along(self, ready: Ready) -> str:
        order = self._order
        size = sum(len(call.content) for call in ready.calls)
        parts = [many(len(order.prompt), "character") + " of text"] if order.prompt else []
        for one in order.inputs:
            seconds = seconds_of(one.content) if order.kind == TRANSCRIPT else None
            length = f", {seconds:,.1f} s" if seconds is not None else ""
            parts.append(f"{one.role or one.name} ({one.mime}, {len(one.content):,} bytes{length})")
        return f"{' · '.join(parts)}; {size:,} bytes in all"

    def __str__(self) -> str:
        head = [f"[{clean(line)}]" for line in self.lines]
        return "\n".join([*head, "", clean(self._order.prompt)]).rstrip()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        first, *rest = self.lines
        parts = [f"**{escaped(first)}**", "<br>".join(f"<small>{escaped(line)}</small>" for line in rest)]
        prompt = "\n".join(f"> {escaped(line)}" for line in self._order.prompt.splitlines())
        return {"text/markdown": "\n\n".join(filter(None, [*parts, prompt])), "text/plain": str(self)}


def _cost(ready: Ready) -> str:
    usd, how = ready.estimate
    return how if usd is None else f"about {dollars(usd)} at most: {how}"
