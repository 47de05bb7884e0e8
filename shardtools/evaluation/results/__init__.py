"""Results: one tidy table of figures, own and published, as files, joined, and as text."""

from typing import TYPE_CHECKING

from shardtools.evaluation.results.options import TableOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.results.files import read_results, write_results
    from shardtools.evaluation.results.references import REFERENCES, Reference, reference_results
    from shardtools.evaluation.results.result import COLUMNS, SCHEMA, Result, results_of, results_table
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "COLUMNS",
    "REFERENCES",
    "SCHEMA",
    "Reference",
    "Result",
    "TableOptions",
    "read_results",
    "reference_results",
    "results_of",
    "results_table",
    "write_results",
]
