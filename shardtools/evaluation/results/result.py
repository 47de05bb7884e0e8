"""One figure of a study, and the table that all of them are rows of.

Owns the columns. One tidy table takes the figures of every study, own and published, so that they join without a
schema for each; the price is that what is particular about one (a severity, a decision rule) is text in `split` or
`protocol`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import pyarrow as pa

from shardtools.errors import OptionError

COLUMNS: dict[str, str] = {
    "study": "what it was measured for: ood, applications, variation, ...",
    "model": "name of the network",
    "dataset": "what it was measured on: imagenet-a, imagenet-c, ...",
    "split": "a part of it: matched-frequency, snow/3, factor/pose, linf 4/255, shots/4; empty for all",
    "protocol": "how: preprocessing, restriction of classes, decision; published figures have their publisher's name",
    "metric": "a name in shardtools.evaluation.metrics.METRICS, or one of the user's",
    "value": "shares are 0 to 1",
    "seed": "of the run; null where there is one run, or it is not known",
    "low": "lower end of an interval of 95 %; null where there is none",
    "high": "its upper end",
    "source": "a run, an overlay, or the publication",
}
"""Column -> meaning, in the order of the files."""

KEY = ("study", "model", "dataset", "split", "protocol", "metric", "seed", "source")
"""Columns that tell two rows apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A row; see `COLUMNS`."""

    study: str
    model: str
    dataset: str
    split: str = ""
    protocol: str = ""
    metric: str
    value: float
    seed: int | None = None
    low: float | None = None
    high: float | None = None
    source: str

    def __post_init__(self) -> None:
        """Refuses what would be no figure.

        Raises:
            OptionError: The value, or an end of its interval, is not finite, or a name is empty.
        """
        for name in ("study", "model", "dataset", "metric", "source"):
            if not getattr(self, name):
                raise OptionError(f"a result needs a {name}, found an empty text: name it")
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            # A value less itself is 0 for finite numbers only.
            if number is not None and number - number != 0:
                raise OptionError(
                    f"{name} of {self.metric} of {self.model} on {self.dataset} is {number}, expected a finite "
                    "number: leave the row out"
                )


def _arrow_type(annotation: Any) -> pa.DataType:
    kinds = {str: pa.string(), float: pa.float64(), int: pa.int64()}
    return next(kinds[kind] for kind in (get_args(annotation) or (annotation,)) if kind in kinds)


_HINTS = get_type_hints(Result)

SCHEMA = pa.schema([pa.field(name, _arrow_type(_HINTS[name]), nullable=True) for name in COLUMNS])
"""Of the files: texts, 64-bit floats, 64-bit integers."""


def results_table(results: Iterable[Result]) -> pa.Table:
    """Rows as a table, in their order."""
    rows = list(results)
    return pa.table({name: [getattr(row, name) for row in rows] for name in COLUMNS}, schema=SCHEMA)


def results_of(table: pa.Table) -> list[Result]:
    """The rows of a table of `SCHEMA`.

    Raises:
        OptionError: One is no figure.
    """
    return [Result(**row) for row in table.select(list(COLUMNS)).to_pylist()]
