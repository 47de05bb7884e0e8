"""Rows of text as aligned columns, fitted to the terminal.

Owns the fitting: on a terminal the widest columns are cut until a row fits; into a pipe or file nothing is cut.
The price of alignment is that all rows are held before the first is printed.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from shardtools.evaluation.results import TextTable

_GAP = "  "
_NARROWEST = 12


def format_columns(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Aligned lines, the header first.

    Args:
        header: One title a column.
        rows: Cells of one line each, as many as `header`.
        width: Columns of the terminal that a line may take; `None` cuts nothing.
    """
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    if width is not None:
        spare = width - len(_GAP) * (len(widths) - 1)
        while sum(widths) > spare and max(widths) > _NARROWEST:
            widths[widths.index(max(widths))] -= 1
    return [_GAP.join(_fit(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in table]


def format_tables(tables: Iterable[TextTable], width: int | None = None) -> list[str]:
    """Lines of tables, each after its title and before an empty line."""
    return [line for table in tables for line in (table.title, *format_columns(table.header, table.rows, width), "")]


def _fit(cell: str, size: int) -> str:
    return set_cell_size(cell, size) if cell_len(cell) <= size else set_cell_size(cell, size - 1) + "…"


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is, or `None` where it is a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
