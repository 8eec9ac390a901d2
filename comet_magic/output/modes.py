"""How a reply of a certain form is asked for. What an endpoint and a model accept is learned, and kept in the store.

FORMAT: `output_config.format`, which holds the reply to the schema.        TOOL: the answer as a call of a tool.
FORCED: the same, made to call it.        WORDS: an instruction in the prompt, which every model takes.
OBJECT: a JSON object, with the schema in the prompt, which other dialects have.
GRAMMAR: what the embedded model's server has in their place.
"""

from __future__ import annotations

import re
from copy import copy

from ..errors import APIError
from ..messages.models import known
from ..messages.request import FORCED, FORMAT, GRAMMAR, MESSAGES, OBJECT, TOOL, WORDS, Request
from ..store import accepted
from ..store.database import Store
from ..text import lazy_pattern

_USUAL, _EMBEDDED, _OTHERS = (FORMAT, FORCED, TOOL, WORDS), (GRAMMAR, WORDS), (FORMAT, FORCED, OBJECT, WORDS)


class OutputModes:
    """The modes that are left for one question to one endpoint; `now` is the one to use next."""

    def __init__(self, store: Store, endpoint: str, request: Request, *, is_embedded: bool = False) -> None:
        self._store, self._endpoint, self._model = store, endpoint, request.model
        learned = accepted.find_accepted(store, endpoint, request.model)
        refused_modes = {mode for mode, fits in learned.items() if not fits} | set(_impossible(request))
        self._proven = {mode for mode, fits in learned.items() if fits}  # a reply has been of the form
        self._fit = set(self._proven)  # the endpoint has taken such a request, at least
        modes = _EMBEDDED if is_embedded else _USUAL if request.dialect == MESSAGES else _OTHERS
        self._left = [mode for mode in modes if mode not in refused_modes]
        self._refused: list[str] = []
        self._passed_over: list[str] = []

    @property
    def now(self) -> str:
        return self._left[0]

    def refused(self, error: APIError) -> bool:
        """Note a refusal of the request. Returns: whether the endpoint may take another mode."""
        # What says what else it is about is not sent again in another mode.
        is_about_request = error.status in (400, 422) or "invalid_request" in (error.code, error.type)
        is_about_request = is_about_request and (error.about == "form" or (not error.about and _may_be(error)))
        if not is_about_request or len(self._left) == 1 or self.now in self._fit:
            return False
        self._refused.append(self._left.pop(0))
        return True

    def taken(self) -> None:
        """Note that the endpoint took the request in this mode: what it refused before was the mode."""
        self._keep(self._refused, is_taken=False)
        self._refused = []
        self._fit.add(self.now)

    def ignored(self) -> bool:
        """Note that the reply is as if no form had been asked for. Returns: whether there is another mode."""
        # The others leave it to the model. Who passes a forced tool over has no tools.
        refused_modes = {FORMAT: [FORMAT], FORCED: [FORCED, TOOL]}.get(self.now, [])
        if self.now in self._proven:  # it is the model that did not answer
            return False
        self._left = [mode for mode in self._left if mode not in refused_modes]
        self._passed_over += refused_modes
        return bool(refused_modes)

    def fits(self) -> None:
        """Note that the reply is of the form in this mode: the modes that were passed over before will not do."""
        self._keep(self._passed_over, is_taken=False)
        if self.now not in self._proven:
            self._keep([self.now], is_taken=True)
            self._proven.add(self.now)

    def for_another_question(self) -> OutputModes:
        """Return the modes for another question of the same form, with what is known by now."""
        other = copy(self)
        other._left, other._refused, other._passed_over = list(self._left), [], []
        return other

    def merge(self, other: OutputModes) -> None:
        """Take over which modes are left for a question of the same form."""
        self._left = [mode for mode in self._left if mode in other._left] or self._left

    def _keep(self, modes: list[str], *, is_taken: bool) -> None:
        accepted.keep_accepted(self._store, self._endpoint, self._model, modes, is_taken=is_taken)


# Fields of a request that are the same in every mode: an error that names one of them is about that.
_ELSEWHERE = lazy_pattern(
    r"\b(?:messages?[.\[]|roles?\b|alternate|temperature|max_tokens|thinking|signature|system prompt|image|document|pdf"
    r"|cache_control|stop_sequences|top_[pk]|api[ _-]?key|account|organi[sz]ation|region|safety|policy)",
    re.I,
)


def _may_be(error: APIError) -> bool:
    """Return whether a refusal that names no reason of its own may be of the way in which the form is asked for."""
    return not _ELSEWHERE.search(error.what)


def _impossible(request: Request) -> list[str]:
    """Return the modes that cannot work: a schema is too open for the format, or a model cannot be forced."""
    facts = known(request.model)
    is_thinking = request.thinking not in (None, "off") or request.model.endswith("-thinking")
    unforced = bool(request.tools) or is_thinking or (facts is not None and not facts.forced)
    form = request.form
    return [*([FORMAT] if form and form.strict is None else []), *([FORCED] if unforced else [])]
