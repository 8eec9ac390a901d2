"""A run, when it has ended or been stopped: its rows, what each has cost, what failed and why."""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ..messages.usage import Usage
from ..named_tuple import NamedTuple
from ..output.dataframes import Rows
from .columns import ERROR, TEXT, Column, built, names_of, text_column
from .progress import Progress
from .source import Source

NULL, PROBLEM = -1, -2  # in place of an item: nothing is sent for this row
NOT_ASKED = "not asked: the run was stopped"
_NUMBER = {"type": "number"}
_WHOLE = {"type": "integer"}


class Failure(NamedTuple):
    """Why an item has no value, in words."""

    why: str


class Items:
    """What is asked: one item for each different question, and which item stands for which row.

    digests: of the items.        firsts: the row, counted from 0, and the sample that first asked each.
    of_rows: the item of each row, sample after sample; NULL or PROBLEM where there is none.
    problems: why a prompt could not be filled in, by place in `of_rows`.        lengths: characters of each item's row.
    values: of each item: its cells, a `Failure`, or None while there is neither.
    """

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self.firsts = array("q")
        self.of_rows = array("q")
        self.problems: dict[int, str] = {}
        self.lengths = array("q")
        self.values: list[Any] = []
        self.tries = bytearray()
        self.replayed = bytearray()
        self.tokens = array("q")
        self.usd = array("d")
        self.seconds = array("f")
        self.request_ids: list[str | None] = []

    def add(self, digest: bytes, first: int, length: int) -> int:
        self.digests.append(digest)
        self.firsts.append(first)
        self.lengths.append(length)
        self.values.append(None)
        self.tries.append(0)
        self.replayed.append(0)
        self.tokens.append(-1)
        self.usd.append(float("nan"))
        self.seconds.append(0.0)
        self.request_ids.append(None)
        return len(self.digests) - 1

    @property
    def missing(self) -> list[int]:
        """The items that have neither a value nor a failure."""
        return [item for item, value in enumerate(self.values) if value is None]

    def state(self, item: int) -> str:
        if item < 0:
            return "skipped" if item == NULL else "failed"
        value = self.values[item]
        return "not asked" if value is None else "failed" if isinstance(value, Failure) else "answered"


class Run:
    """What one prompt over many rows came to; the latest is `comet_magic.last_run`.

    progress: its counts.        usage: of what was asked, and not of what the store had.
    result: the rows with the columns that they have by now.
    """

    def __init__(
        self, source: Source, columns: Sequence[Column], samples: int, items: Items, progress: Progress,
        again: Callable[..., Any],
    ) -> None:  # fmt: skip
        self._source, self._columns, self._samples, self._items = source, columns, samples, items
        self.progress = progress
        self._again = again

    @property
    def usage(self) -> Usage:
        """The tokens of what was asked; None for what the endpoint did not report."""
        return self.progress.usage

    @property
    def usd(self) -> float | None:
        """US dollars, estimated; None where no price is known."""
        return self.progress.usd

    @property
    def errors(self) -> dict[str, int]:
        """How many rows failed, by reason, the most frequent first."""
        counts: Counter[str] = Counter()
        for first in range(0, len(self._items.of_rows), self._samples):
            errors = {self._error_at(position) for position in range(first, first + self._samples)}
            counts.update(error for error in errors if error)
        return dict(counts.most_common())

    @property
    def result(self) -> Any:
        """The table with the columns that it has by now, also of a run that was stopped."""
        columns: dict[str, Any] = {}
        for number, column in enumerate(self._columns):
            for sample, name in enumerate(names_of([column], self._samples)):
                values = self._values(number, sample)
                columns[name] = built(self._source.library, column._replace(name=name), values)
        columns[ERROR] = text_column(self._source.library, self._errors())
        return self._source.with_columns(columns)

    def frame(self) -> Any:
        """Return one row for each row: digest, state, tries, tokens, usd, seconds, replayed, request id, error.

        Where each was asked several times, there is one for each sample.
        It is a table of the library of the rows; of a list of dicts, a list of dicts.
        """
        library, items = self._source.library, self._items
        numbers = list(items.of_rows)
        samples = [position % self._samples + 1 for position in range(len(numbers))]
        several = {"sample": (dict(_WHOLE), samples)} if self._samples > 1 else {}
        lists: dict[str, tuple[dict[str, Any], list[Any]]] = {
            **several,
            "digest": (dict(TEXT), [items.digests[item].hex() if item >= 0 else None for item in numbers]),
            "state": (dict(TEXT), [items.state(item) for item in numbers]),
            "tries": (_WHOLE, [items.tries[item] if item >= 0 else 0 for item in numbers]),
            "tokens": (_WHOLE, [_counted(items.tokens[item]) if item >= 0 else None for item in numbers]),
            "usd": (_NUMBER, [_known(items.usd[item]) if item >= 0 else None for item in numbers]),
            "seconds": (_NUMBER, [round(items.seconds[item], 3) if item >= 0 else None for item in numbers]),
            "replayed": ({"type": "boolean"}, [bool(items.replayed[item]) if item >= 0 else False for item in numbers]),
            "request_id": (dict(TEXT), [items.request_ids[item] if item >= 0 else None for item in numbers]),
            "error": (dict(TEXT), [self._error_at(position) for position in range(len(numbers))]),
        }  # fmt: skip
        columns = {name: built(library, Column(name, (), schema), values) for name, (schema, values) in lists.items()}
        return _frame(library, columns)

    def retry(self, *, everything: bool = False) -> Any:
        """Ask again for the rows that failed, and return the whole table anew.

        everything: also for those whose very same request can never succeed, such as a text that is too long.
        Raises: as `comet_magic.map`, but for failed rows.
        """
        return self._again(retry="all" if everything else "failed")

    def _values(self, column: int, sample: int) -> list[Any]:
        of_items = [value[column] if type(value) is tuple else None for value in self._items.values]
        return [of_items[item] if item >= 0 else None for item in self._items.of_rows[sample :: self._samples]]

    def _errors(self) -> list[str | None]:
        if self._samples == 1:
            return [self._error_at(position) for position in range(len(self._items.of_rows))]
        errors: list[str | None] = []
        for row in range(self._source.size):
            first = row * self._samples
            of_row = [(sample + 1, self._error_at(first + sample)) for sample in range(self._samples)]
            said = [f"sample {sample}: {error}" for sample, error in of_row if error]
            errors.append("; ".join(said) or None)
        return errors

    def _error_at(self, position: int) -> str | None:
        item = self._items.of_rows[position]
        if item == NULL:
            return None
        if item == PROBLEM:
            return self._items.problems[position]
        value = self._items.values[item]
        return value.why if isinstance(value, Failure) else NOT_ASKED if value is None else None

    def __repr__(self) -> str:
        return "\n".join([f"<Run: {self.progress.summary}>", *self.progress.details])


def _counted(tokens: int) -> int | None:
    return tokens if tokens >= 0 else None


def _known(usd: float) -> float | None:
    return None if usd != usd else usd


def _frame(library: str, columns: dict[str, Any]) -> Any:
    match library:
        case "pandas":
            return sys.modules["pandas"].DataFrame(columns)
        case "polars":
            return sys.modules["polars"].DataFrame(columns)
        case "list":
            records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
            return Rows.of(records, {"properties": {name: {} for name in columns}})
    table = sys.modules["pyarrow"].table(columns)
    return sys.modules["duckdb"].from_arrow(table) if library == "duckdb" else table
