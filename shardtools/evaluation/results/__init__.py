"""Results: one tidy table of figures, own and published, as files, joined, and as text."""

from typing import TYPE_CHECKING

from shardtools.evaluation.results.options import LAYOUT_NAMES, REFERENCE_NAMES, TableOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.results.comparing import Cell, Column, Comparison, Line, cell_text, compare
    from shardtools.evaluation.results.files import read_results, write_results
    from shardtools.evaluation.results.joining import Joined, join_results, joined_table, own_results
    from shardtools.evaluation.results.layouts import LAYOUTS, Layout, lay_out, layout_rows, layouts_of
    from shardtools.evaluation.results.publications import (
        COG_LEVELS,
        COG_SHOTS,
        LONG_TAILED,
        SMALL_SETS,
        TRANSFER_SETS,
    )
    from shardtools.evaluation.results.references import REFERENCES, Reference, reference_results
    from shardtools.evaluation.results.result import COLUMNS, KEY, SCHEMA, Result, results_of, results_table
    from shardtools.evaluation.results.severity_picture import draw_severities, severity_curves
    from shardtools.evaluation.results.text import Block, TextTable, block_markdown, markdown, remarks, text_blocks
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "COG_LEVELS",
    "COG_SHOTS",
    "COLUMNS",
    "KEY",
    "LAYOUTS",
    "LAYOUT_NAMES",
    "LONG_TAILED",
    "REFERENCES",
    "REFERENCE_NAMES",
    "SCHEMA",
    "SMALL_SETS",
    "TRANSFER_SETS",
    "Block",
    "Cell",
    "Column",
    "Comparison",
    "Joined",
    "Layout",
    "Line",
    "Reference",
    "Result",
    "TableOptions",
    "TextTable",
    "block_markdown",
    "cell_text",
    "compare",
    "draw_severities",
    "join_results",
    "joined_table",
    "lay_out",
    "layout_rows",
    "layouts_of",
    "markdown",
    "own_results",
    "read_results",
    "reference_results",
    "remarks",
    "results_of",
    "results_table",
    "severity_curves",
    "text_blocks",
    "write_results",
]
