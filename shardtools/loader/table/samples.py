"""The table of samples that a loader reads: one row a sample, in columns that are mapped from files.

Owns the columns, their digest and their files. Columns live in files without a name (or, saved, in a folder), so
memory does not grow with the dataset: the system keeps the pages that are in use. The price: about 80 bytes a row and
its key in the folder for temporary files while the table lives.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardtools.arrays import Int64s, UInt64s, from_int64, text_parts
from shardtools.documents import read_json
from shardtools.errors import DatasetError, FormatVersionError, OptionError, StorageError, first_line
from shardtools.loader.table.shard_paths import ShardPaths
from shardtools.storage import scratch_explained, scratch_file

TABLE_VERSION = 1
NO_CLASS = -1
"""`class_index` of a row without a label."""

COLUMN_TYPES: dict[str, tuple[str, int]] = {
    "key_hash": ("<u8", 1),
    "dataset": ("<u2", 1),
    "shard": ("<i4", 1),
    "sample_index": ("<i4", 1),
    "member_offset": ("<i8", 1),
    "num_bytes": ("<i8", 1),
    "class_index": ("<i4", 1),
    "sha256": ("u1", 32),
    "width": ("<i4", 1),
    "height": ("<i4", 1),
    "image_format": ("u1", 1),
    "weight": ("<f4", 1),
    "key_end": ("<i8", 1),
}
"""Column -> type and numbers a row. `key_end` is where the row's key ends in the file of all keys."""

_KEYS_FILE = "keys"
_FACTS_FILE = "table.json"
_ROWS_PER_STEP = 1_000_000


class SampleTable:
    """Samples in the order of datasets, shards and positions in their shard; never empty, never changed.

    Attributes:
        datasets: Addresses, as they were given.
        shards: Number of the dataset and path in it, of every shard that a row is in or could be in.
        image_formats: What the numbers of `image_format` mean.
        key_hash: `randomness.hash_keys` of the keys, uint64 [N].
        dataset: Number in `datasets`, uint16 [N].
        shard: Number in `shards`, int32 [N], never falling.
        sample_index: 0-based position in the shard, int32 [N].
        member_offset: Byte offset of the image's payload in its shard, int64 [N].
        num_bytes: Length of the payload, int64 [N].
        class_index: Label, or `NO_CLASS`, int32 [N].
        sha256: Digest of the payload, uint8 [N, 32].
        width: Pixels, 0 where the manifest does not know, int32 [N].
        height: As width.
        image_format: Number in `image_formats`, uint8 [N].
        weight: float32 [N], or `None` where the view gives none.
        keys: All keys, as Arrow strings in place.
    """

    def __init__(
        self,
        columns: Mapping[str, npt.NDArray[Any]],
        keys: npt.NDArray[np.uint8],
        facts: dict[str, Any],
        shards: ShardPaths | None = None,
    ) -> None:
        self.datasets: tuple[str, ...] = tuple(facts["datasets"])
        self.shards = ShardPaths(map(tuple, facts["shards"])) if shards is None else shards
        self.image_formats: tuple[str, ...] = tuple(facts["image_formats"])
        self.key_hash: UInt64s = columns["key_hash"]
        self.dataset: npt.NDArray[np.uint16] = columns["dataset"]
        self.shard: npt.NDArray[np.int32] = columns["shard"]
        self.sample_index: npt.NDArray[np.int32] = columns["sample_index"]
        self.member_offset: Int64s = columns["member_offset"]
        self.num_bytes: Int64s = columns["num_bytes"]
        self.class_index: npt.NDArray[np.int32] = columns["class_index"]
        self.sha256: npt.NDArray[np.uint8] = columns["sha256"]
        self.width: npt.NDArray[np.int32] = columns["width"]
        self.height: npt.NDArray[np.int32] = columns["height"]
        self.image_format: npt.NDArray[np.uint8] = columns["image_format"]
        self.weight: npt.NDArray[np.float32] | None = columns["weight"] if facts["has_weight"] else None
        self._columns, self._key_bytes, self._facts = columns, keys, facts
        # In place: the ends and bytes in the mapped files are laid out as Arrow lays out large strings.
        ends = pa.py_buffer(columns["key_end"])
        self.keys: pa.Array = pa.LargeStringArray.from_buffers(facts["num_rows"], ends, pa.py_buffer(keys))

    def __len__(self) -> int:
        return len(self.key_hash)

    def key_strings(self, rows: Int64s) -> list[str]:
        """Keys of the given rows, in their order."""
        found: list[str] = self.keys.take(from_int64(rows)).to_pylist()
        return found

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over keys, order, places, labels, weights and image digests; not over addresses."""
        total = hashlib.blake2b(digest_size=8)
        for name in ("key_hash", "shard", "sample_index", "class_index", "weight", "sha256"):
            for start in range(0, len(self), _ROWS_PER_STEP):
                total.update(np.ascontiguousarray(self._columns[name][start : start + _ROWS_PER_STEP]).data)
        return total.hexdigest()

    @cached_property
    def shard_starts(self) -> Int64s:
        """First row of each shard that has rows and, last, the number of rows: what `EpochOrder` wants."""
        return _run_starts(self.shard)

    @cached_property
    def dataset_starts(self) -> Int64s:
        """First row of each dataset and, last, the number of rows, [number of datasets + 1]: what `Mixture` wants."""
        return np.searchsorted(self.dataset, np.arange(len(self.datasets) + 1)).astype(np.int64)

    def take(
        self,
        rows: Int64s,
        *,
        class_index: npt.NDArray[np.int32] | None = None,
        weight: npt.NDArray[np.float32] | None = None,
    ) -> SampleTable:
        """A table of some rows, with other labels or weights where given.

        Args:
            rows: At least one, [M]; rising, so that the order of tables holds.
            class_index: [M].
            weight: [M].
        """
        writer = TableWriter(datasets=self.datasets, shards=self.shards, image_formats=self.image_formats)
        given = {"class_index": class_index, "weight": weight}
        for start in range(0, len(rows), _ROWS_PER_STEP):
            part = slice(start, start + _ROWS_PER_STEP)
            columns = {
                name: self._columns[name][rows[part]] if given.get(name) is None else given[name][part]  # type: ignore[index]
                for name in COLUMN_TYPES
                if name != "key_end"
            }
            writer.append(columns, self.keys.take(from_int64(rows[part])))
        return writer.finish(has_weight=self.weight is not None or weight is not None)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the table into a folder that `load` maps; the folder appears whole or not at all.

        Raises:
            StorageError: The folder is there already, or cannot be written.
        """
        target = Path(folder)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            try:
                for name in COLUMN_TYPES:
                    self._columns[name].tofile(temporary / name)
                self._key_bytes.tofile(temporary / _KEYS_FILE)
                (temporary / _FACTS_FILE).write_text(
                    json.dumps({"version": TABLE_VERSION, **self._facts, "shards": list(self.shards)})
                )
                # `mkdtemp` shuts it for all but its owner.
                temporary.chmod(0o755)
                temporary.rename(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        except OSError as error:
            raise StorageError(f"cannot write the table to {target}: {error.strerror}: choose another folder") from None

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> SampleTable:
        """Maps a saved table.

        Raises:
            DatasetError: Not a table, or one that lost bytes.
            FormatVersionError: Written by another version.
        """
        place = Path(folder)
        try:
            facts = read_json((place / _FACTS_FILE).read_bytes())
            version, num_rows = facts.pop("version"), facts["num_rows"]
            if version != TABLE_VERSION:
                raise FormatVersionError(
                    f"{place} has version {version!r} of a loader's table, this release reads {TABLE_VERSION}: remove "
                    "the folder, it is made again"
                )
            columns = {}
            for name, (dtype, per_row) in COLUMN_TYPES.items():
                columns[name] = _mapped(place / name, dtype, num_rows + (name == "key_end"), per_row)
            # The last end says how long the keys are, so a file that lost its tail is refused here.
            keys = _mapped(place / _KEYS_FILE, "u1", int(columns["key_end"][-1]), 1)
            table = cls(columns, keys, facts)
            # The numbers come from a disk: wrong ones would lead outside of the keys, or to another shard, in
            # mid-epoch.
            table.keys.validate(full=True)
            known = (
                (table.shard, table.shards),
                (table.dataset, table.datasets),
                (table.image_format, table.image_formats),
            )
            if not all(0 <= int(numbers.min()) <= int(numbers.max()) < len(names) for numbers, names in known):
                raise ValueError("a number of a shard, dataset or image format is out of range")
            return table
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"{place} is no intact table of a loader ({first_line(error)}): remove the folder, it is made again"
            ) from None


class TableWriter:
    """Collects rows, which must come in the order of tables, into files without a name."""

    def __init__(
        self,
        *,
        datasets: tuple[str, ...],
        shards: Iterable[tuple[int, str]],
        image_formats: tuple[str, ...] = (),
    ) -> None:
        self.image_formats = list(image_formats)
        self.num_rows = 0
        self._num_key_bytes = 0
        self.shards = shards if isinstance(shards, ShardPaths) else ShardPaths(shards)
        self._datasets = datasets
        self._files: dict[str, BinaryIO] = {}
        with scratch_explained():
            for name in (*COLUMN_TYPES, _KEYS_FILE):
                self._files[name] = scratch_file()  # mapped later
            # Arrow wants an end more than rows: the first row's key begins at 0.
            self._files["key_end"].write(bytes(8))

    def append(self, columns: Mapping[str, npt.NDArray[Any]], keys: pa.Array) -> None:
        """Adds rows: all of `COLUMN_TYPES` but `key_end`, and their keys."""
        ends, content = text_parts(keys)
        with scratch_explained():
            for name, values in columns.items():
                self._files[name].write(np.ascontiguousarray(values, COLUMN_TYPES[name][0]).data)
            self._files["key_end"].write(np.ascontiguousarray(ends[1:] + self._num_key_bytes, "<i8").data)
            self._files[_KEYS_FILE].write(content.data)
        self._num_key_bytes += len(content)
        self.num_rows += len(keys)

    def finish(self, *, has_weight: bool) -> SampleTable:
        """Maps what was written.

        Raises:
            OptionError: There are no rows.
        """
        if self.num_rows == 0:
            raise OptionError("a loader needs at least one sample, found none: check the split or the view")
        columns = {}
        with scratch_explained():
            for name, (dtype, per_row) in COLUMN_TYPES.items():
                columns[name] = _mapped(self._files[name], dtype, self.num_rows + (name == "key_end"), per_row)
            keys = _mapped(self._files[_KEYS_FILE], "u1", self._num_key_bytes, 1)
        # The maps outlive the descriptors. Without a name and a descriptor, the files go with the last array.
        self.close()
        facts = {
            "num_rows": self.num_rows,
            "datasets": self._datasets,
            "image_formats": tuple(self.image_formats),
            "has_weight": has_weight,
        }
        return SampleTable(columns, keys, facts, self.shards)

    def close(self) -> None:
        """Lets go of the files; what is mapped stays."""
        for file in self._files.values():
            # After a full disk, closing tries to write again and fails again.
            with contextlib.suppress(OSError):
                file.close()


def _mapped(file: Path | BinaryIO, dtype: str, count: int, per_row: int) -> npt.NDArray[Any]:
    shape = (count,) if per_row == 1 else (count, per_row)
    if isinstance(file, Path):
        expected = count * per_row * np.dtype(dtype).itemsize
        if file.stat().st_size != expected:
            raise ValueError(f"{file.name}: expected {expected} bytes, found {file.stat().st_size}")
    else:
        file.flush()
    # As a plain array: `numpy.memmap` makes every little slice an object of its own class, which is slow.
    found: npt.NDArray[Any] = np.asarray(np.memmap(file, dtype, "r", shape=shape))
    return found


def _run_starts(values: npt.NDArray[Any]) -> Int64s:
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.concatenate(([0], changes, [len(values)])).astype(np.int64)
