"""Token counts of a reply, as far as they were reported."""

from __future__ import annotations

from collections.abc import Mapping

from ..named_tuple import NamedTuple

MOST = 10**12  # tokens; beyond it, it is no count


class Usage(NamedTuple):
    """Token counts; None is "not reported", which is not 0. `a + b` adds what was reported.

    input_tokens: without the cached ones, as the API counts.
    output_tokens: thinking included.
    cache_read_input_tokens, cache_creation_input_tokens: read from, and written to, the prompt cache.
    ephemeral_1h_input_tokens: those of the written ones that stay for an hour, which costs more.
    web_search_requests: searches that the server ran.
    reasoning_tokens: those of the output that were thinking, where that is said.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None
    web_search_requests: int | None = None
    reasoning_tokens: int | None = None

    @classmethod
    def from_wire(cls, wire: object) -> Usage:
        """Counts from a `usage` object, however incomplete: 3.0 and "3" are 3, null and nonsense are not reported."""
        if not isinstance(wire, Mapping):
            return cls()
        flat = {**wire}
        for name in ("server_tool_use", "cache_creation"):
            if isinstance(part := wire.get(name), Mapping):
                flat.update(part)
        return cls(**{name: count_of(flat.get(name)) for name in cls._fields})

    def merged(self, later: Usage) -> Usage:
        """Return the counts of one reply: `later` ones win, but 0 never replaces a positive number."""
        pairs = zip(self, later, strict=True)
        return Usage(*(old if new is None or (new == 0 and old) else new for old, new in pairs))

    def __add__(self, other: Usage) -> Usage:  # type: ignore[override]  # counts are added up, not put one behind the other
        pairs = zip(self, other, strict=True)
        return Usage(*(None if a is None and b is None else (a or 0) + (b or 0) for a, b in pairs))

    def plausible(self, *, has_text: bool, most: int | None = None) -> Usage:
        """Return the counts without those that cannot be: 0 for a prompt or a text, or far more than `most`."""
        prompt = (self.input_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens)
        usage = self._replace(input_tokens=None) if self.input_tokens == 0 and not any(prompt) else self
        output = usage.output_tokens
        is_none = output is not None and ((has_text and output == 0) or (most is not None and output > 2 * most + 1000))
        return usage._replace(output_tokens=None) if is_none else usage

    def reported(self) -> dict[str, int]:
        """Return the counts that were reported, by name."""
        return {name: count for name, count in zip(self._fields, self, strict=True) if count is not None}

    @property
    def prompt_tokens(self) -> int | None:
        """All tokens of the prompt, cached ones included."""
        parts = (self.input_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens)
        return sum(part or 0 for part in parts) if self.input_tokens is not None else None

    def __str__(self) -> str:
        """Return `1,204 in (980 cached) · 310 out`, or what of it was reported."""
        prompt = self.prompt_tokens
        if prompt is None and self.output_tokens is None:
            return "usage not reported"
        cached = [
            f"{count:,} {word}"
            for count, word in (
                (self.cache_read_input_tokens, "cached"),
                (self.cache_creation_input_tokens, "written to cache"),
            )
            if count
        ]
        parts = [
            "input not reported" if prompt is None else f"{prompt:,} in",
            "output not reported" if self.output_tokens is None else f"{self.output_tokens:,} out",
        ]
        if cached:
            parts[0] += f" ({', '.join(cached)})"
        if self.reasoning_tokens and self.output_tokens is not None:
            parts[1] += f" ({self.reasoning_tokens:,} reasoning)"
        if self.web_search_requests:
            parts.append(f"web searches: {self.web_search_requests}")
        return " · ".join(parts)


def count_of(value: object) -> int | None:
    """Return a whole number that is not below 0, also where it came as `3.0` or `"3"`; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        count = int(float(value))  # type: ignore[arg-type]  # whatever float() refuses is not a count
    except (TypeError, ValueError, OverflowError):
        return None
    return count if 0 <= count <= MOST else None
