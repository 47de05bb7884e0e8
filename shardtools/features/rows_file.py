"""Tables of numbers that other programs made, one row an image: .npy and .parquet.

    .npy      [N, D], a row for each image of the dataset, in the order of its manifest
    .parquet  a column `key`, and either one column of lists of D numbers or D columns of numbers; any order, any rows

Owns reading them and bringing them to keys. The price: the whole table is in memory, of its own type.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shardtools.arrays import Int64s, to_numpy
from shardtools.errors import DatasetError, OptionError, SourceError, first_line
from shardtools.features.keyed_rows import KeyedRows
from shardtools.hashes import stream_digest
from shardtools.storage import open_storage

ROWS_FILE_SUFFIXES = (".npy", ".parquet")
_KEY = "key"


@dataclass(frozen=True, kw_only=True, eq=False)
class RowsFile(KeyedRows):
    """A table of a file.

    Attributes:
        dataset: Address of the dataset, as it was given.
        url: Of the file.
        file_keys: Keys of the rows, large strings [N].
        values: Of a floating type, [N, D].
        columns: Names of the columns where each number has its own; `None` for lists and .npy.
        sha256: Digest of the file.
    """

    dataset: str
    url: str
    file_keys: pa.Array
    values: npt.NDArray[Any]
    columns: tuple[str, ...] | None
    sha256: str

    @property
    def where(self) -> str:
        return self.url

    @property
    def keys(self) -> pa.Array:
        return self.file_keys


def read_rows_file(dataset_url: str | os.PathLike[str], file: str | os.PathLike[str]) -> RowsFile:
    """Reads a table of numbers, and holds its rows against the images of a dataset.

    Args:
        dataset_url: The finished dataset.
        file: A path or s3:// address ending in .npy or .parquet; see the module for what is in it.

    Raises:
        OptionError: The file has another suffix.
        SourceError: It cannot be read, or holds no table of floating-point numbers.
        DatasetError: Rows are missing, or keys are unknown or doubled.
        NotFoundError: There is no such file.
    """
    from shardtools.loader import read_all

    address = os.fspath(file)
    suffix = PurePosixPath(address).suffix.lower()
    if suffix not in ROWS_FILE_SUFFIXES:
        raise OptionError(f"a table of numbers is a {' or '.join(ROWS_FILE_SUFFIXES)} file, found {address!r}")
    folder, slash, name = address.rpartition("/")
    content = open_storage(folder or slash or ".").read(name)
    known = read_all([dataset_url]).keys.cast(pa.large_string())
    if suffix == ".npy":
        values, columns, keys = _read_npy(content, address), None, known
        if len(values) != len(known):
            raise DatasetError(
                f"{address}: expected a row for each of {len(known)} images of {os.fspath(dataset_url)}, in the order "
                f"of its manifest, found {len(values)}: give a .parquet with a column `key`"
            )
    else:
        keys, values, columns = _read_parquet(content, address)
        _check_keys(keys, known, address, os.fspath(dataset_url))
    return RowsFile(
        dataset=os.fspath(dataset_url),
        url=address,
        file_keys=keys,
        values=_floats(values, address),
        columns=columns,
        sha256=stream_digest(io.BytesIO(content)),
    )


def _read_npy(content: bytes, address: str) -> npt.NDArray[Any]:
    try:
        found: npt.NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError):
        # NumPy's own words advise to load what may run code.
        raise SourceError(
            f"{address} is no .npy file of numbers that can be read: write it with numpy.save, not as objects"
        ) from None
    return found


def _read_parquet(content: bytes, address: str) -> tuple[pa.Array, npt.NDArray[Any], tuple[str, ...] | None]:
    try:
        table = pq.read_table(io.BytesIO(content), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{address} is no Parquet file that can be read: {first_line(error)}") from None
    names = [name for name in table.column_names if name != _KEY]
    if _KEY not in table.column_names or not names:
        raise SourceError(f"{address}: expected columns `key` and numbers, found {', '.join(table.column_names)}")
    keys = table[_KEY]
    if not (pa.types.is_string(keys.type) or pa.types.is_large_string(keys.type)):
        raise SourceError(f"{address}: column key is {keys.type}, expected strings")
    numbers = table.select(names)
    lacking = next((name for name in (_KEY, *names) if table[name].null_count), None)
    if lacking is not None:
        raise SourceError(f"{address}: column {lacking} has {table[lacking].null_count} nulls, expected none")
    keys = keys.cast(pa.large_string()).combine_chunks()
    if len(names) == 1 and _is_list(numbers.schema.field(0).type):
        return keys, _read_lists(numbers[names[0]], address), None
    wrong = next((field for field in numbers.schema if not pa.types.is_floating(field.type)), None)
    if wrong is not None:
        raise SourceError(
            f"{address}: column {wrong.name} is {wrong.type}, expected one column of lists, or columns of "
            "floating-point numbers alone beside `key`"
        )
    return keys, np.column_stack([np.asarray(numbers[name].to_numpy()) for name in names]), tuple(names)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _read_lists(column: pa.ChunkedArray, address: str) -> npt.NDArray[Any]:
    flat = pc.list_flatten(column)
    lengths = np.asarray(pc.list_value_length(column).to_numpy())
    if not len(lengths) or (lengths != lengths[0]).any() or flat.null_count:
        found = "none" if not len(lengths) else f"{lengths.min()} to {lengths.max()} numbers, {flat.null_count} nulls"
        raise SourceError(f"{address}: expected lists of one length without nulls, found {found}")
    return np.asarray(flat.to_numpy()).reshape(len(lengths), -1)


def _floats(values: npt.NDArray[Any], address: str) -> npt.NDArray[Any]:
    if values.ndim != 2 or values.shape[1] == 0 or not np.issubdtype(values.dtype, np.floating):
        raise SourceError(f"{address}: expected floating-point numbers [N, D], found {values.dtype} {values.shape}")
    return values


def _check_keys(keys: pa.Array, known: pa.Array, address: str, dataset: str) -> None:
    unknown = pc.is_null(pc.index_in(keys, value_set=known))
    if pc.any(unknown).as_py():
        first = keys[int(pc.index(unknown, True).as_py())].as_py()
        raise DatasetError(
            f"{address}: {pc.sum(unknown).as_py()} of {len(keys)} keys have no image in {dataset}, first {first!r}: "
            "give keys as its manifest has them"
        )
    if len(keys.unique()) < len(keys):
        counts = keys.value_counts()
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
        raise DatasetError(f"{address}: expected each key once, found {twice!r} twice")


def places_of(wanted: pa.Array, table: KeyedRows) -> Int64s:
    """Rows of keys in a table, -1 where it has none, [N]."""
    places = pc.index_in(wanted, value_set=table.keys)
    return to_numpy(places.cast(pa.int64()).fill_null(-1)).astype(np.int64)
