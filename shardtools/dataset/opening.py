"""Opening a dataset for reading: the committed state, or what is there so far.

Owns which files a reader may look at. A committed dataset is read by its `dataset.json` alone, so a run that adds
shards meanwhile is not seen half-way.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from shardtools.dataset.belonging import (
    MAX_CHECKED_BYTES,
    MAX_DECODED_BYTES,
    MAX_FETCHED_BYTES,
    check_belongs,
    check_committed,
    check_digest,
    check_rows,
)
from shardtools.dataset.commit_file import DATASET_FILE, DatasetInfo, PartEntry
from shardtools.errors import DatasetError, NotFoundError
from shardtools.manifest import Part, decode_part
from shardtools.shards import parse_part_path
from shardtools.storage import Storage, open_storage
from shardtools.words import counted

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
    _entries: dict[str, PartEntry] = field(default_factory=dict, init=False, repr=False, compare=False)

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
        if self.info is not None and not self._entries:
            self._entries.update((entry.path, entry) for entry in self.info.parts)
        return read_part(self.storage, self._entries.get(path, path))[1]

    def check_manifest(self, sizes: Mapping[str, int]) -> None:
        """Refuses a manifest that is damaged or not the one that was committed, where it is not too long to be read.

        Args:
            sizes: Path -> length in bytes of those of `manifest_paths` that are to be read, which all are there.

        Raises:
            DatasetError: It is.
        """
        num_bytes = sum(sizes.values())
        may_be_read = num_bytes <= (MAX_CHECKED_BYTES if self.storage.is_local else MAX_FETCHED_BYTES)
        parts = [path for path in self.part_paths if path in sizes]
        if may_be_read and num_bytes <= MAX_DECODED_BYTES:
            for path in parts:
                self.read_part(path)
        elif self.info is None:
            # No `dataset.json` vouches for the format: the first part does, where not all can be read.
            self.read_part(parts[0])
        if may_be_read and self.info is not None:
            entries = self.info.compact or self.info.parts if num_bytes > MAX_DECODED_BYTES else self.info.compact
            check_committed(self.storage, [entry for entry in entries if entry.path in sizes])

    def tables(self) -> Iterator[pa.Table]:
        """The rows, one table a part, never more than one in memory."""
        for path in self.part_paths:
            yield self.read_part(path).table


def read_part(storage: Storage, entry: PartEntry | str) -> tuple[bytes, Part]:
    """A part's bytes and what they hold.

    Args:
        storage: The dataset.
        entry: What its commit says of the part; its path alone where there is no commit.

    Raises:
        DatasetError: The part is missing, damaged, another's, or not the one that was committed.
    """
    path = entry if isinstance(entry, str) else entry.path
    where = storage.object_url(path)
    try:
        content = storage.read(path)
    except NotFoundError:
        raise DatasetError(
            f"{where} is missing though the dataset lists it: restore it, or run the job again"
        ) from None
    # Before it is decoded: an altered part may well decode, with rows that lead to other bytes.
    if not isinstance(entry, str):
        check_digest(content, entry, where=where)
    part = decode_part(content, where=where)
    check_belongs(part, path, where=where)
    check_rows(part.table, {shard.path: shard.num_bytes for shard in part.shards}, where=where)
    return content, part


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
                f"{storage.url} is not finished ({counted(len(paths), 'shard')} so far): run the job that makes "
                "it again, it "
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
    for path in kept:
        # The name has the first digits alone: the others are those of the content.
        is_near = path.startswith(f"commits/{digits[:16]}")
        if is_near and hashlib.sha256(storage.read(path)).hexdigest().startswith(digits):
            return place, path
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
