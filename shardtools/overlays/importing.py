"""Overlays out of files of other programs: CSV and Parquet.

Owns how such a file is read: a piece at a time, `key` always as text (a CSV's 00012 is a key, not twelve). The price:
the types of a CSV's other columns are those of its first megabytes, and a later value of another type is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from shardtools.errors import OptionError, SourceError, first_line
from shardtools.overlays.overlay_file import KEY, OverlayInfo
from shardtools.overlays.writer import write_overlay
from shardtools.storage import open_storage

IMPORT_SUFFIXES = (".csv", ".parquet")
_CSV_BLOCK_BYTES = 16 << 20
_ROWS_PER_BATCH = 65_536


def import_overlay(
    dataset_url: str | os.PathLike[str],
    name: str,
    file: str | os.PathLike[str],
    *,
    unique: Sequence[str] = (KEY,),
    replace: bool = False,
    out: str | os.PathLike[str] | None = None,
) -> OverlayInfo:
    """Writes an overlay out of a CSV or Parquet file with a column `key`.

    Args:
        dataset_url: The finished dataset.
        name: As `OverlayWriter` takes it.
        file: A path or s3:// address ending in .csv or .parquet.
        unique: As `OverlayWriter` takes it.
        replace: Whether an overlay that is there is written anew.
        out: As `OverlayWriter` takes it.

    Raises:
        OptionError: The file has another suffix, or the name is not one of an overlay.
        SourceError: The file is no CSV or Parquet.
        DatasetError: Keys are unknown or doubled, or a column is missing.
        NotFoundError: There is no such file.
    """
    address = os.fspath(file)
    suffix = PurePosixPath(address).suffix.lower()
    if suffix not in IMPORT_SUFFIXES:
        raise OptionError(f"overlays are imported from {' or '.join(IMPORT_SUFFIXES)} files, found {address!r}")
    folder, slash, file_name = address.rpartition("/")
    with open_storage(folder or slash or ".").open(file_name) as stream:
        batches = _csv_batches(stream, address) if suffix == ".csv" else _parquet_batches(stream, address)
        settings = {"file": file_name}
        return write_overlay(
            dataset_url,
            name,
            batches,
            made_by="shardtools overlay import",
            settings=settings,
            unique=unique,
            replace=replace,
            out=out,
        )


def _csv_batches(stream: BinaryIO, address: str) -> Iterator[pa.Table]:
    try:
        reader = pacsv.open_csv(
            stream,
            # Threads of Arrow's would outlive the Python stream.
            read_options=pacsv.ReadOptions(block_size=_CSV_BLOCK_BYTES, use_threads=False),
            convert_options=pacsv.ConvertOptions(column_types={KEY: pa.string()}, strings_can_be_null=True),
        )
        with reader:
            yield pa.Table.from_batches([], schema=reader.schema)
            for batch in reader:
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{address} is no CSV that can be read: {first_line(error)}") from None


def _parquet_batches(stream: BinaryIO, address: str) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(stream) as file:
            yield pa.Table.from_batches([], schema=file.schema_arrow)
            for batch in file.iter_batches(_ROWS_PER_BATCH, use_threads=False):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{address} is no Parquet file that can be read: {first_line(error)}") from None
