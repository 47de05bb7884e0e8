"""Opening a dataset for reading: the committed state, or what is there so far.

Owns which files a reader may look at. A committed dataset is read by its `dataset.json` alone, so a run that adds
shards meanwhile is not seen half-way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from shardtools.dataset.layout import DATASET_FILE, DatasetInfo
from shardtools.errors import DatasetError, NotFoundError
from shardtools.manifest import Part, decode_part
from shardtools.shards.names import parse_part_path
from shardtools.storage import Storage, open_storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset to read.

    Attributes:
        storage: Where it is.
        info: Its commit; `None` while a first run has not finished.
        part_paths: Manifest parts, in the order of shards.
    """

    storage: Storage
    info: DatasetInfo | None
    part_paths: tuple[str, ...]

    @property
    def manifest_paths(self) -> tuple[str, ...]:
        """The fewest Parquet files that hold every row once: the merged ones where the commit has them."""
        if self.info is not None and self.info.compact:
            return tuple(entry.path for entry in self.info.compact)
        return self.part_paths

    def read_part(self, path: str) -> Part:
        """Rows and shard facts of one part.

        Raises:
            DatasetError: The part is missing or damaged.
        """
        try:
            content = self.storage.read(path)
        except NotFoundError:
            raise DatasetError(
                f"{self.storage.object_url(path)} is missing though the dataset lists it: restore it, or run the job "
                "again"
            ) from None
        return decode_part(content, where=self.storage.object_url(path))

    def tables(self) -> Iterator[pa.Table]:
        """The rows, one table a part, never more than one in memory."""
        for path in self.part_paths:
            yield self.read_part(path).table


def open_dataset(url: str | os.PathLike[str], *, incomplete: bool = False) -> Dataset:
    """Opens the dataset at `url` for reading.

    Args:
        url: A folder or s3:// address.
        incomplete: Whether a dataset whose first run is not finished may be opened; its parts so far are the rows.

    Raises:
        DatasetError: There is no dataset, or it is not finished and `incomplete` is false.
        FormatVersionError: Written by another format version.
    """
    storage = open_storage(url)
    try:
        content = storage.read(DATASET_FILE)
    except NotFoundError:
        paths = list_parts(storage)
        if not paths:
            raise DatasetError(
                f"{storage.url} is no dataset: it has neither {DATASET_FILE} nor manifest parts: check the path"
            ) from None
        if not incomplete:
            raise DatasetError(
                f"{storage.url} is not finished ({len(paths)} shards so far): run the job that makes it again, it "
                "resumes"
            ) from None
        return Dataset(storage=storage, info=None, part_paths=tuple(paths))
    info = DatasetInfo.from_json(content, where=storage.object_url(DATASET_FILE))
    return Dataset(storage=storage, info=info, part_paths=tuple(entry.path for entry in info.parts))


def list_parts(storage: Storage) -> list[str]:
    """Paths of all committed parts, in the order of splits and shards.

    Raises:
        ShardError: The manifest folder holds something else.
    """
    return sorted((stored.path for stored in storage.list("manifest/")), key=parse_part_path)
