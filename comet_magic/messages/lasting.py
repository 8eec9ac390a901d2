"""What of a text lasts from one run of a notebook to the next: not the order of sets, nor times, places and addresses.

Two questions that differ in nothing else are the same question, and a stored reply answers both.
"""

from __future__ import annotations

from ..text import lazy_pattern
from .framed import frames_in

MOST_SORTED = 20_000  # characters of a text in which sets are looked for
# How Python writes addresses in memory.
ADDRESS = r" at 0x[0-9A-Fa-f]{6,}"
BARE_ADDRESS = r"\b0x[0-9A-Fa-f]{11,16}\b"
OF_THREAD = r"(?<=, started )\d{9,}|(?<=, started daemon )\d{9,}"
_NUMBER = r"[\d.,]+"
_UNIT = r"(?:ns|[µμ]s|us|ms|s|min|h)\b"
_SPAN = rf"{_NUMBER} ?{_UNIT}(?: {_NUMBER} ?{_UNIT})*"
# What Python, tempfile, threading and ipykernel write, each in its own form.
_PASSING = lazy_pattern(
    rf"{ADDRESS}|{OF_THREAD}"
    r"|(?<=[/\\])tmp[a-z0-9_]{8}\b|\bipykernel_\d+|<ipython-input-\d+-\w+>"
    r"|\bThread-\d+(?= \()|\bThreadPoolExecutor-\d+_\d+|(?<=name=')Task-\d+(?=')"
)
# What IPython, tqdm, logging and statsmodels print of times, and addresses; in values, such a number may matter.
_PRINTED = lazy_pattern(
    r"(?m)"
    rf"^CPU times: .*$|^(?:Wall|Compiler) ?(?:time)?: {_SPAN}.*$"
    rf"|(?:^The slowest run took .*\n)?^.*{_SPAN} ± {_SPAN} per loop \(mean ± std\. dev\..*$"
    rf"|^{_NUMBER} {_UNIT}.* per loop.*best of.*$"
    r"|\| *[\d.]+[kMG]?/[\d.]+[kMG]? *\[[^\]\n]*\]|\d+it \[\d[\d:]*, [^\]\n]*\]"
    r"|^(?:\w+:\w+:)?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}|^Date: +\w{3}, \d\d \w{3} \d{4}|^Time: +\d\d:\d\d:\d\d"
    rf"|{BARE_ADDRESS}"
)
# A table's size in memory grows when its texts are encoded, as for a card.
_MEMORY = lazy_pattern(r"(?m)^([\d,]+ rows? × [\d,]+ columns?) · ~?[\d.]+ [MG]B\b")
_OF_CELLS = lazy_pattern(r'<data[^\n]* type="(?:notebook cells?|output)"')


def lasting(text: str) -> str:
    """Return a text without what changes from run to run inside its frames of data. It is for comparing only."""
    if "<data" not in text:
        return text
    parts, at = [], 0
    for frame in frames_in(text):
        parts += [text[at : frame.start], _lasting(text[frame.start : frame.end])]
        at = frame.end
    return "".join([*parts, text[at:]])


def _lasting(frame: str) -> str:
    if _OF_CELLS.match(frame):
        frame = _PRINTED.sub("…", frame)
    return with_sorted_sets(_MEMORY.sub(r"\1", _PASSING.sub("…", frame)))


_QUOTED = r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
_ANGLED = r"<[^<>\n]*>"  # as `<Color.RED: 1>`
_SET = lazy_pattern(rf"{_QUOTED}|\{{((?:{_QUOTED}|{_ANGLED}|[^{{}}'\":\n<])*)\}}")  # a colon would make it a dict
_GROUP = r"\((?:[^()\n]|\([^()\n]*\))*\)"
_LITERAL = rf"(?:b?(?:{_QUOTED})|-?[\d.]+(?:e[+-]?\d+)?j?|{_ANGLED}|[A-Za-z_][\w.]*{_GROUP}|{_GROUP}|None|True|False)"
_ITEM = lazy_pattern(_LITERAL)
_ITEMS = lazy_pattern(rf"{_LITERAL}(?:, {_LITERAL})+")


def with_sorted_sets(text: str) -> str:
    """Return a text with the values in each `{…}` of a set in the order of the alphabet; dicts and quotes stay."""
    if "{" not in text or "," not in text or len(text) > MOST_SORTED:
        return text
    return _SET.sub(lambda match: match[0] if match[1] is None else _sorted(match[1]), text)


def _sorted(items: str) -> str:
    """Return a set's text. items: what stands in its braces, which stays as it is where it is no row of values."""
    values = sorted(_ITEM.findall(items)) if _ITEMS.fullmatch(items) else [items]
    return f"{{{', '.join(values)}}}"
