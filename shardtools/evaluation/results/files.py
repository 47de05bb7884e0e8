"""Results as Parquet and CSV files.

Owns the reading of a file that a user may have written by hand: columns in any order, empty cells as nulls, and columns
that are no part of the table left aside. The price: a misspelt optional column is not noticed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from shardtools.errors import OptionError, SourceError, first_line
from shardtools.evaluation.results.result import COLUMNS, SCHEMA, Result, results_of, results_table
from shardtools.storage import open_storage

SUFFIXES = (".parquet", ".csv")

_NEEDED = ("study", "model", "dataset", "metric", "value", "source")


def write_results(results: Iterable[Result], address: str | os.PathLike[str]) -> int:
    """Writes a file that appears whole or not at all; returns the number of rows.

    Args:
        results: In the order of the file.
        address: A path or s3:// address that ends in .parquet or .csv; a file already there is replaced.

    Raises:
        OptionError: It ends otherwise.
        StorageError: The place cannot be written.
    """
    folder, name = _split(address)
    table = results_table(results)
    stream = io.BytesIO()
    if name.lower().endswith(".csv"):
        pacsv.write_csv(table, stream, pacsv.WriteOptions(quoting_style="needed"))
    else:
        pq.write_table(table, stream, compression="zstd")
    open_storage(folder).write(name, stream.getvalue())
    return int(table.num_rows)


def read_results(addresses: Sequence[str | os.PathLike[str]]) -> list[Result]:
    """The rows of files, in their order.

    Args:
        addresses: Paths or s3:// addresses that end in .parquet or .csv.

    Raises:
        NotFoundError: There is no such file.
        SourceError: A file is damaged, lacks a column, or has a value of another type.
    """
    return [row for address in addresses for row in _read(address)]


def _read(address: str | os.PathLike[str]) -> list[Result]:
    folder, name = _split(address)
    where = os.fspath(address)
    content = open_storage(folder).read(name)
    try:
        table = _csv(content) if name.lower().endswith(".csv") else pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"{where} is no table of results ({first_line(error)}): `shardtools eval ood` writes one"
        ) from None
    missing = [column for column in _NEEDED if column not in table.column_names]
    if missing:
        raise SourceError(
            f"{where} lacks the column {', '.join(missing)}: a table of results has {', '.join(COLUMNS)}, of which "
            f"{', '.join(_NEEDED)} are needed"
        )
    try:
        columns = [_column(table, field) for field in SCHEMA]
        return results_of(pa.table(columns, schema=SCHEMA))
    except (pa.ArrowException, OptionError) as error:
        raise SourceError(f"{where} has a row that is no figure: {first_line(error)}") from None


def _csv(content: bytes) -> pa.Table:
    """All columns of a CSV file; those of the table with its types, an empty cell as null or an empty text."""
    options = pacsv.ConvertOptions(column_types=SCHEMA, strings_can_be_null=False)
    return pacsv.read_csv(pa.BufferReader(content), convert_options=options)


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name not in table.column_names:
        fill = "" if field.type == pa.string() else None
        return pa.chunked_array([pa.array([fill] * table.num_rows, field.type)])
    column = table[field.name].cast(field.type)
    if field.name in _NEEDED and column.null_count:
        row = column.is_null().index(True).as_py()
        raise OptionError(f"row {row + 1} has no {field.name}")
    return column.fill_null("") if field.type == pa.string() else column


def _split(address: str | os.PathLike[str]) -> tuple[str, str]:
    """Folder and name of a file."""
    text = os.fspath(address)
    if PurePosixPath(text).suffix.lower() not in SUFFIXES:
        raise OptionError(f"results are read and written as {' or '.join(SUFFIXES)}, found {text!r}: rename the file")
    folder, slash, name = text.rpartition("/")
    return folder or slash or ".", name
