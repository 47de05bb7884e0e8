"""Results as CSV, JSON and Parquet, streamed batch by batch.

Owns how a value is written. CSV and JSON go through Python objects, so that nested values and exact integers survive;
the price is some million cells a second. Parquet is written from Arrow as it is and is the format for large results.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from shardtools.dataset import refuse_dataset_file
from shardtools.errors import OptionError
from shardtools.storage import open_storage

if TYPE_CHECKING:
    from shardtools.sql.session import Rows


def write_csv(rows: Rows, stream: TextIO) -> int:
    """Writes a header and one line a row (RFC 4180 quoting, null as an empty cell); returns the number of rows."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(rows.schema.names)
    number = 0
    for batch in rows:
        writer.writerows(_converted_rows(batch, _csv_cell))
        number += batch.num_rows
    return number


def write_json(rows: Rows, stream: TextIO) -> int:
    """Writes one array of objects, an object a line; returns the number of rows.

    Numbers without a JSON form (NaN, infinity) become null.
    """
    names = rows.schema.names
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    number = 0
    stream.write("[")
    for batch in rows:
        for row in _converted_rows(batch, to_json_value):
            stream.write((",\n " if number else "\n ") + encode(dict(zip(names, row, strict=True))))
            number += 1
    stream.write("\n]\n" if number else "]\n")
    return number


def write_parquet(rows: Rows, stream: BinaryIO) -> int:
    """Writes a Parquet file with zstd compression; returns the number of rows."""
    number = 0
    with pq.ParquetWriter(stream, rows.schema, compression="zstd") as writer:
        for batch in rows:
            writer.write_batch(batch)
            number += batch.num_rows
    return number


def save(rows: Rows, address: str) -> int:
    """Writes a result to a file that appears whole or not at all; returns the number of rows.

    Args:
        rows: Read to its end.
        address: A path or s3:// address ending in one of `SUFFIXES`; a file already there is replaced.

    Raises:
        OptionError: The suffix is another one, or it is a file of a dataset.
        StorageError: The place cannot be written.
    """
    write = SUFFIXES[check_output(address)]
    folder, slash, name = address.rpartition("/")
    with open_storage(folder or slash or ".").writer(name) as stream:
        return write(rows, stream)


def check_output(address: str) -> str:
    """The suffix of an address, if results can be written there.

    Raises:
        OptionError: They cannot: it ends in another suffix, or names a file of a dataset.
    """
    suffix = PurePosixPath(address).suffix.lower()
    if suffix not in SUFFIXES:
        raise OptionError(
            f"--output writes {', '.join(SUFFIXES)}, found {address!r}: give a name that ends in one of them"
        )
    refuse_dataset_file(address)
    return suffix


def to_json_value(value: Any) -> Any:
    """A value of a result as JSON knows it."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(name): to_json_value(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(entry) for entry in value]
    return str(value)


def _csv_cell(value: Any) -> Any:
    content = to_json_value(value)
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(value, float):
        return value
    return json.dumps(content, ensure_ascii=False) if isinstance(content, dict | list) else content


def _converted_rows(batch: pa.RecordBatch, convert: Callable[[Any], Any]) -> Iterator[tuple[Any, ...]]:
    """Rows of a batch, each value through `convert`; texts and integers need none, and they are most of a manifest."""
    columns = [
        column.to_pylist()
        if pa.types.is_string(column.type) or pa.types.is_integer(column.type)
        else map(convert, column.to_pylist())
        for column in batch.columns
    ]
    return zip(*columns, strict=True)


def _as_text(write: Callable[[Rows, TextIO], int]) -> Callable[[Rows, BinaryIO], int]:
    def write_bytes(rows: Rows, stream: BinaryIO) -> int:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        number = write(rows, text)
        text.flush()
        # Detached, because the stream's owner publishes it and closes it.
        text.detach()
        return number

    return write_bytes


SUFFIXES: dict[str, Callable[[Rows, BinaryIO], int]] = {
    ".parquet": write_parquet,
    ".csv": _as_text(write_csv),
    ".json": _as_text(write_json),
}
"""Suffix of an output file -> what writes it."""
