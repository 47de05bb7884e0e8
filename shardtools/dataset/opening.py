"""Opening a dataset for reading: the committed state, or what is there so far.

Owns which files a reader may look at. A committed dataset is read by its `dataset.json` alone, so a run that adds
shards meanwhile is not seen half-way.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from shardtools.dataset.commit_file import DATASET_FILE, DatasetInfo
from shardtools.errors import DatasetError, NotFoundError
from shardtools.manifest import Part, decode_part
from shardtools.shards import parse_part_path
from shardtools.storage import Storage, open_storage

_DIGEST = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset to read.

    Attributes:
        storage: Where it is.
        info: Its commit; `None` while a first run has not finished.
        part_paths: Manifest parts, in the order of shards.
        content: The bytes of its `dataset.json`; empty without one.
    """

    storage: Storage
    info: DatasetInfo | None
    part_paths: tuple[str, ...]
    content: bytes = b""

    @property
    def commit(self) -> DatasetInfo:
        """Its commit; only a dataset that was opened `incomplete` may have none.

        Raises:
            DatasetError: The first run has not finished.
        """
        if self.info is None:
            raise DatasetError(f"{self.storage.url} is not finished: run the job that makes it again, it resumes")
        return self.info

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
        url: A folder or s3:// address; with "@" and the first 8 or more digits of a commit's digest the dataset as it
            was before an append.
        incomplete: Whether a dataset whose first run is not finished may be opened; its parts so far are the rows.

    Raises:
        DatasetError: There is no dataset, or it is not finished and `incomplete` is false.
        FormatVersionError: Written by another format version.
    """
    place, file = _commit_of(os.fspath(url))
    storage = open_storage(place)
    try:
        content = storage.read(file)
    # Without a commit the parts are all there is to know: some, and a run is on its way or was killed; none, and it is
    # no dataset.
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
    info = DatasetInfo.from_json(content, where=storage.object_url(file))
    part_paths = tuple(entry.path for entry in info.parts)
    return Dataset(storage=storage, info=info, part_paths=part_paths, content=content)


def commit_path(sha256: str) -> str:
    """Path of an earlier commit in its dataset."""
    return f"commits/{sha256[:16]}.json"


def _commit_of(url: str) -> tuple[str, str]:
    """The dataset's place and the file of its commit: "photos@1a2b3c4d" is the commit of that digest."""
    place, _, digits = url.rpartition("@")
    if not place or not _DIGEST.fullmatch(digits) or os.path.isdir(url):
        return url, DATASET_FILE
    storage = open_storage(place)
    kept = [stored.path for stored in storage.list("commits/")]
    found = [path for path in kept if path.startswith(f"commits/{digits[:16]}")]
    if found:
        return place, found[0]
    try:
        if hashlib.sha256(storage.read(DATASET_FILE)).hexdigest().startswith(digits):
            return place, DATASET_FILE
    except NotFoundError:
        pass
    names = ", ".join(path.removeprefix("commits/").removesuffix(".json") for path in kept)
    raise DatasetError(f"{place} has no earlier commit {digits}: it has {names or 'none'}")


def list_parts(storage: Storage) -> list[str]:
    """Paths of all committed parts, in the order of splits and shards.

    Raises:
        ShardError: The manifest folder holds something else.
    """
    return sorted((stored.path for stored in storage.list("manifest/")), key=parse_part_path)
