"""What `eval ood` leaves in files: rows of results, and text.

Owns the adding. Figures that were measured before in the same way (the columns of `results.KEY`) are replaced, so that
a command run again leaves one row a figure. The price: the file is read and written whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from shardtools.errors import NotFoundError
from shardtools.evaluation.results import KEY, Result, read_results, write_results
from shardtools.storage import open_storage


def add_results(results: Iterable[Result], address: str | os.PathLike[str]) -> int:
    """Adds rows to a file of results, which is made where it is not there; returns the number of rows it has then.

    Args:
        results: In the order of the file.
        address: A path or s3:// address that ends in .parquet or .csv.

    Raises:
        OptionError: It ends otherwise.
        SourceError: There is a file that holds no results.
        StorageError: The place cannot be written.
    """
    try:
        there = read_results([address])
    except NotFoundError:
        there = []
    rows = {tuple(getattr(row, name) for name in KEY): row for row in [*there, *results]}
    return write_results(rows.values(), address)


def write_text(address: str | os.PathLike[str], text: str) -> None:
    """Writes a file that appears whole or not at all.

    Raises:
        StorageError: The place cannot be written.
    """
    folder, slash, name = os.fspath(address).rpartition("/")
    open_storage(folder or slash or ".").write(name, f"{text}\n".encode())
