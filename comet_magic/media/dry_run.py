"""What an order would send, shown in place of sending it."""

from __future__ import annotations

from ..keys import without_key
from ..text import clean, dollars, escaped, many
from .durations import seconds_of
from .order import TRANSCRIPT, Order
from .run import Ready


class MediaDryRun:
    """Displays itself: an order as it would be sent, without any key in it."""

    def __init__(self, order: Order, ready: Ready) -> None:
        self._order, self._ready = without_key(order, ready.endpoint.key), ready

    @property
    def lines(self) -> list[str]:
        order, ready = self._order, self._ready
        noun = f"a {order.nouns[0]}" if order.number == 1 else f"{order.number} {order.nouns[1]}"
        paths = " and ".join(dict.fromkeys(call.path for call in ready.calls))
        times = f", in {many(len(ready.calls), 'request')}" if len(ready.calls) > 1 else ""
        why = f" ({ready.model.note})" if ready.model.note else ""
        usd = ready.estimate.usd
        money = f"at most ≈ {dollars(usd)}: {ready.estimate.how}" if usd is not None else ready.estimate.how
        return [
            "Nothing was sent: this is a dry run.",
            f"It would order {noun} from {ready.model.name}{why} at {ready.endpoint.name}{paths}{times}",
            f"cost: {money}",
            f"with: {self._along()}",
            *([f"parameters: {dict(order.parameters)}"] if order.parameters else []),
        ]

    def _along(self) -> str:
        order = self._order
        size = sum(len(call.content) for call in self._ready.calls)
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
