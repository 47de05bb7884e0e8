"""From datasets to a table of samples: one split, or everything that has an image.

Owns reading manifests for training: only the needed columns, a row group at a time, never a Python object a row. The
price: a dataset that is not committed is refused, because its order would change with its next shard.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shardtools.arrays import Int64s, from_int64, from_texts, text_parts, to_numpy
from shardtools.dataset import Dataset, open_dataset
from shardtools.errors import DatasetError, NotFoundError, OptionError, StorageError, first_line
from shardtools.loader.randomness import hash_keys
from shardtools.loader.table.samples import NO_CLASS, TABLE_VERSION, SampleTable, TableWriter
from shardtools.sample import STATUS_OK
from shardtools.shards import IMAGEFOLDER, parse_part_path

_REPEATED_COLUMNS = ["split", "status", "shard", "image_format"]
_COLUMNS = [
    "key",
    *_REPEATED_COLUMNS,
    "sample_index",
    "member_offset",
    "num_bytes",
    "sha256",
    "width",
    "height",
    "class_index",
]
_INTEGERS = ("sample_index", "member_offset", "num_bytes", "width", "height", "class_index")
_NULL_AS = {"width": 0, "height": 0, "class_index": NO_CLASS}
_MAX_FORMATS = 255
_HEX_DIGITS = 64


def read_split(
    urls: Sequence[str | os.PathLike[str]], split: str, *, cache_folder: str | os.PathLike[str] | None = None
) -> SampleTable:
    """The samples of one split of one or several datasets.

    Args:
        urls: Folders or s3:// addresses; their order is that of the table.
        split: "train", "val", ...: each dataset must have it.
        cache_folder: Where to keep the table, for the other ranks of the machine and the next run; it is found
            again by the digest of what it was made from. `None` makes it anew.

    Raises:
        OptionError: No dataset is given, one twice, or one lacks the split or has no image in it.
        DatasetError: A dataset is not finished, or its manifest is damaged or has a key twice.
        StorageError: The table cannot be kept in `cache_folder`.
    """
    opened = _open_all(urls)
    for name, dataset in opened:
        splits = dataset.commit.splits
        if split not in splits:
            raise OptionError(f"{name} has no split {split!r}: it has {', '.join(splits) or 'none'}")
        if splits[split].num_images == 0:
            raise OptionError(f"split {split!r} of {name} has no image with status {STATUS_OK}: check the dataset")
    if cache_folder is None:
        return _read(opened, split)
    # Named by commits, so a dataset that grew has another folder, and nothing that lies there is ever out of date.
    folder = Path(cache_folder) / f"table-{_fingerprint(opened, split)}"
    if not folder.exists():
        table = _read(opened, split)
        try:
            table.save(folder)
        except StorageError:
            # Several ranks may be here at once: the first one's folder stays.
            if not folder.exists():
                raise
        return table
    return SampleTable.load(folder)


def read_all(urls: Sequence[str | os.PathLike[str]]) -> SampleTable:
    """The samples of all splits that have an image.

    Raises:
        OptionError: No dataset is given, one twice, or none has an image.
        DatasetError: See `read_split`.
    """
    return _read(_open_all(urls), None)


def _open_all(urls: Sequence[str | os.PathLike[str]]) -> list[tuple[str, Dataset]]:
    names = [os.fspath(url) for url in urls]
    if not names:
        raise OptionError("a loader needs at least one dataset: give its folder or s3:// address")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise OptionError(f"dataset {twice} is given twice, its samples would come twice: give it once, with a weight")
    return [(name, open_dataset(name)) for name in names]


def _fingerprint(opened: Sequence[tuple[str, Dataset]], split: str) -> str:
    commits = [(name, hashlib.sha256(data.info.to_json()).hexdigest()) for name, data in opened if data.info]
    return hashlib.sha256(json.dumps([TABLE_VERSION, split, commits]).encode()).hexdigest()[:24]


def _read(opened: Sequence[tuple[str, Dataset]], split: str | None) -> SampleTable:
    shards = tuple(
        (number, shard.path)
        for number, (_, dataset) in enumerate(opened)
        if dataset.info is not None
        for shard in dataset.info.shards
    )
    writer = TableWriter(datasets=tuple(name for name, _ in opened), shards=shards)
    try:
        for number, (_, dataset) in enumerate(opened):
            _DatasetReader(dataset, number, shards, writer).read(split)
        table = writer.finish(has_weight=False)
    finally:
        writer.close()
    table = _in_order(table)
    _check_keys(table)
    return table


class _DatasetReader:
    """Appends one dataset's rows to a table."""

    def __init__(self, dataset: Dataset, number: int, shards: Sequence[tuple[int, str]], writer: TableWriter) -> None:
        self._dataset = dataset
        self._number = number
        self._writer = writer
        self._first_shard = next((index for index, (owner, _) in enumerate(shards) if owner == number), 0)
        self._shard_paths = from_texts([path for owner, path in shards if owner == number])
        self._is_files = dataset.info is not None and dataset.info.layout == IMAGEFOLDER

    def read(self, split: str | None) -> None:
        for path in self._dataset.manifest_paths:
            # A part's name says which split it is of; merged files hold several.
            if split is not None and path in self._dataset.part_paths and parse_part_path(path)[0] != split:
                continue
            where = self._dataset.storage.object_url(path)
            for rows in self._row_groups(path, where, split):
                self._append(rows, where)

    def _row_groups(self, path: str, where: str, split: str | None) -> Iterator[pa.Table]:
        """Rows with an image, one row group at a time."""
        storage = self._dataset.storage
        try:
            with storage.open(path) as stream:
                source = pa.memory_map(str(storage.local_path(path))) if storage.is_local else stream
                with pq.ParquetFile(source, read_dictionary=_REPEATED_COLUMNS, pre_buffer=True) as file:
                    for group in range(file.num_row_groups):
                        # Merged files hold the parts in order, so split by split: most groups are skipped by their
                        # footer's smallest and largest.
                        if split is not None and not _may_hold(file, group, split):
                            continue
                        yield _with_image(file.read_row_group(group, columns=_COLUMNS), split)
        except NotFoundError:
            raise DatasetError(
                f"{where} is missing though the dataset lists it: restore it, or run the job again"
            ) from None
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(
                f"{where} is no intact manifest ({first_line(error)}): restore it, or run the job again"
            ) from None

    def _append(self, rows: pa.Table, where: str) -> None:
        if rows.num_rows == 0:
            return
        if rows["key"].null_count:
            raise DatasetError(f"{where} has an image without key: run shardtools verify, then repair")
        columns = {name: _integers(rows, name, where) for name in _INTEGERS}
        columns["shard"] = self._shards(rows["shard"], where)
        # Manifests are nearly always in order, and then nothing is copied.
        order = np.lexsort((columns["sample_index"], columns["shard"]))
        if bool((np.diff(order) != 1).any()):
            rows, columns = rows.take(from_int64(order)), {name: values[order] for name, values in columns.items()}
        keys = rows["key"].combine_chunks()
        columns |= {
            "key_hash": hash_keys(keys),
            "dataset": np.full(len(keys), self._number, np.uint16),
            "sha256": _digests(rows["sha256"].combine_chunks(), where),
            "image_format": self._formats(rows["image_format"], where),
            "weight": np.ones(len(keys), np.float32),
        }
        self._writer.append(columns, keys)

    def _shards(self, column: pa.ChunkedArray, where: str) -> npt.NDArray[Any]:
        """Number of each row's shard; without shards each row is a file, numbered in the order of the manifest."""
        if not self._is_files:
            return _codes(column, self._shard_paths, where, "a shard of the dataset") + self._first_shard
        if column.null_count:
            raise DatasetError(f"{where} has an image without shard: run shardtools verify, then repair")
        paths = column.cast(pa.large_string()).combine_chunks()
        first = self._writer.shards.extend(self._number, paths)
        return np.arange(first, first + len(paths), dtype=np.int32)

    def _formats(self, column: pa.ChunkedArray, where: str) -> npt.NDArray[Any]:
        known = self._writer.image_formats
        # Appended only: rows that are written already have numbers of the formats before.
        known += sorted(set(pc.unique(column).to_pylist()) - {None, *known})
        if len(known) > _MAX_FORMATS:
            raise DatasetError(f"a table has at most {_MAX_FORMATS} image formats, found {len(known)} up to {where}")
        return _codes(column, from_texts(known), where, "an image format")


def _may_hold(file: pq.ParquetFile, group: int, split: str) -> bool:
    column = file.schema_arrow.get_field_index("split")
    statistics = file.metadata.row_group(group).column(column).statistics
    return statistics is None or not statistics.has_min_max or bool(statistics.min <= split <= statistics.max)


def _with_image(rows: pa.Table, split: str | None) -> pa.Table:
    wanted = pc.equal(rows["status"], from_texts([STATUS_OK])[0])
    if split is not None:
        wanted = pc.and_(wanted, pc.equal(rows["split"], from_texts([split])[0]))
    return rows if pc.all(wanted).as_py() else rows.filter(wanted)


def _integers(rows: pa.Table, name: str, where: str) -> npt.NDArray[Any]:
    column = rows[name]
    if column.null_count:
        if name not in _NULL_AS:
            raise DatasetError(f"{where} has an image without {name}: run shardtools verify, then repair")
        column = column.fill_null(from_int64(np.array([_NULL_AS[name]]))[0].cast(column.type))
    return to_numpy(column)


def _codes(column: pa.ChunkedArray, known: pa.Array, where: str, meaning: str) -> npt.NDArray[Any]:
    """Number of each value in `known`."""
    pieces = []
    for chunk in column.chunks:
        numbers = pc.index_in(chunk.dictionary, value_set=known).take(chunk.indices)
        if numbers.null_count:
            value = chunk.filter(pc.is_null(numbers))[0].as_py()
            raise DatasetError(f"{where}: expected {meaning}, found {value!r}: run shardtools verify, then repair")
        pieces.append(to_numpy(numbers))
    return np.concatenate(pieces)


def _digests(column: pa.Array, where: str) -> npt.NDArray[np.uint8]:
    """Hexadecimal digests as bytes, [N, 32]."""
    text = column.cast(pa.string())
    complaint = f"{where} has an image without a sha256 of 64 digits: run shardtools verify, then repair"
    ends, digits = text_parts(text)
    if text.null_count or bool((np.diff(ends) != _HEX_DIGITS).any()):
        raise DatasetError(complaint)
    values = _hex_pairs()[digits.view("<u2")]
    if int(values.max()) > 255:
        raise DatasetError(complaint)
    return np.asarray(values, np.uint8).reshape(len(text), _HEX_DIGITS // 2)


@cache
def _hex_pairs() -> npt.NDArray[np.uint16]:
    """Value of each pair of characters, read as a little-endian number; 256 where they are no hexadecimal digits."""
    pairs = np.full(2**16, 256, np.uint16)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8).astype(np.int64)
    pairs[digits[:, None] + 256 * digits] = 16 * np.arange(16)[:, None] + np.arange(16)
    return pairs


def _in_order(table: SampleTable) -> SampleTable:
    """The table sorted by shard and place, which manifests nearly always are."""
    same_shard = table.shard[1:] == table.shard[:-1]
    falls = (table.shard[1:] < table.shard[:-1]) | (same_shard & (table.sample_index[1:] <= table.sample_index[:-1]))
    if not bool(falls.any()):
        return table
    return table.take(np.lexsort((table.sample_index, table.shard)))


def _check_keys(table: SampleTable) -> None:
    """Refuses a dataset with a key twice: it would be delivered twice an epoch."""
    for start, stop in zip(table.dataset_starts[:-1].tolist(), table.dataset_starts[1:].tolist(), strict=True):
        # Numbers first: texts are compared only where two hashes are equal.
        hashes = np.sort(table.key_hash[start:stop])
        suspects = hashes[1:][hashes[1:] == hashes[:-1]]
        for suspect in suspects[:1]:
            rows = np.flatnonzero(table.key_hash[start:stop] == suspect) + start
            keys = _distinct(table, rows)
            if len(keys) < len(rows):
                raise DatasetError(
                    f"a key comes once in a dataset, found {keys[0]!r} {len(rows)} times in "
                    f"{table.datasets[int(table.dataset[start])]}: run shardtools verify"
                )


def _distinct(table: SampleTable, rows: Int64s) -> list[str]:
    return sorted(set(table.key_strings(rows)))
