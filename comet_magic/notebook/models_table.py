"""The models that the endpoint offers as a table: kind, dialect, context, price, and what is about to be shut down."""

from __future__ import annotations

from collections.abc import Callable

from ..api.dialect import chosen_dialect
from ..api.endpoint import find_endpoint
from ..exchange.negotiate import learned_dialects
from ..exchange.offered import find_dialect, list_models
from ..exchange.session import current
from ..messages.models import OfferedModel, known, short_count
from ..render.table import Table
from ..settings import ALIASES, CometSettings

MOST_SHOWN = 300
HEAD = ("model", "alias", "kind", "asked as", "context", "$ in", "$ out", "")


def models_table(settings: CometSettings, line: str, announce: Callable[[str], None]) -> tuple[list[str], Table]:
    """Return the names of all models, and a table of those in which every word of `line` stands. Raises: CometError."""
    models = list_models(settings, current(), announce)
    words = line.lower().split()
    endpoint = find_endpoint(settings, offline=True)
    learned = learned_dialects(current().store(settings), endpoint.name)

    def dialect(names: tuple[str, ...]) -> str:
        by_itself = "" if chosen_dialect(names, settings.dialects) else learned.get(names[-1], "")
        return by_itself or find_dialect(settings, endpoint, names, models)

    rows = [_row(settings, models[name], dialect) for name in sorted(models)]
    fitting = [row for row in rows if all(word in " ".join(row).lower() for word in words)]
    notes = []
    if len(fitting) > MOST_SHOWN:
        notes.append(
            f"and {len(fitting) - MOST_SHOWN:,} more: %claude_models WORDS shows those in which all words stand"
        )
    if words and not fitting:
        notes.append(f"none of the {len(rows):,} models has {' and '.join(words)} in its line: try fewer words")
    elif any(row[5] for row in fitting):
        notes.append("prices are in US dollars per million tokens")
    columns = [index for index in range(len(HEAD)) if index in (0, 2) or any(row[index] for row in fitting)]
    shown = [tuple(row[index] for index in columns) for row in fitting[:MOST_SHOWN]]
    return sorted(models), Table("", tuple(HEAD[index] for index in columns), shown, notes)


def _row(settings: CometSettings, model: OfferedModel, dialect: Callable[[tuple[str, ...]], str]) -> tuple[str, ...]:
    names = {**ALIASES, **settings.aliases}
    aliases = [alias for alias, name in names.items() if name == model.id]
    facts = known(model.id)
    price = model.price or ((facts.price_in, facts.price_out) if facts else None)
    context = model.context or (facts.context if facts else None)
    asked_as = dialect((*aliases, model.id)) if model.kind == "chat" else ""
    amounts = [f"{amount:g}" for amount in price] if price else ["", ""]
    others = ((model.per_request, "a request"), (model.per_second, "a second"))
    more = [f"${usd:g} {of}" for usd, of in others if usd is not None]
    ends = " · ".join([*more, *([f"shuts down {model.shuts_down}"] if model.shuts_down else [])])
    return (model.id, ", ".join(aliases), model.kind, asked_as, short_count(context) if context else "", *amounts, ends)
