"""Features for reading: memory-mapped parts as one table, with keys and labels.

Owns finding them and refusing those of another dataset version. Nothing is read before it is asked for. The price of
mapping: they must lie on this machine's disks, so features in an object store are copied once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shardtools.dataset import Dataset, open_dataset
from shardtools.errors import DatasetError, NotFoundError, OptionError, ShardtoolsError, first_line
from shardtools.features.features_file import (
    FEATURES_FILE,
    FEATURES_FOLDER,
    EncoderFacts,
    FeaturePart,
    FeaturesInfo,
    check_same_encoder,
)
from shardtools.features.keyed_rows import KeyedRows
from shardtools.features.writer import clear_features, features_storage, parts_done
from shardtools.hashes import stream_digest
from shardtools.manifest import digest
from shardtools.quoting import shell_word
from shardtools.storage import Storage, open_storage
from shardtools.words import counted

ROWS_PER_BLOCK = 8192
_MAX_MAPPED = 64
"""Parts that are mapped at a time: each holds a file descriptor."""


class FeatureStore(KeyedRows):
    """A table of features [N, D].

    Attributes:
        dataset: Address of the dataset, as it was given.
        info: What `features.json` says.
        storage: The features' own folder.
    """

    def __init__(self, dataset: str, storage: Storage, info: FeaturesInfo) -> None:
        """Checks that every part is there and has its length.

        Raises:
            DatasetError: One is not.
            OptionError: The folder is not on this machine.
        """
        self.dataset, self.storage, self.info = dataset, storage, info
        if not storage.is_local:
            raise OptionError(
                f"features are read from a disk of this machine, found {storage.url}: copy that folder, give its path"
            )
        sizes = {stored.path: stored.num_bytes for stored in storage.list()}
        for part in info.parts:
            if sizes.get(part.path) != part.num_bytes or part.keys_path not in sizes:
                raise DatasetError(
                    f"{storage.object_url(part.path)}: expected {part.num_bytes} bytes and its keys, found "
                    f"{sizes.get(part.path, 'nothing')}: extract the features again with replace (--replace)"
                )
        # First row of each part, and N: where a row lies is one binary search.
        self._starts = np.concatenate(([0], np.cumsum([part.num_rows for part in info.parts]))).astype(np.int64)
        self._mapped: dict[int, npt.NDArray[Any]] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return len(self), self.info.encoder.feature_dim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value on the disk."""
        return np.dtype(self.info.encoder.dtype)

    @property
    def num_bytes(self) -> int:
        """Bytes of all features as they are stored."""
        return len(self) * self.shape[1] * self.dtype.itemsize

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows `start` to `stop` as memory of the caller's own, [stop - start, D].

        Args:
            start: 0-based.
            stop: One after the last, cut off at N.
        """
        stop = min(stop, len(self))
        shape = (max(stop - start, 0), self.shape[1])
        found = np.empty(shape, self.dtype)
        for number, rows in self._pieces(start, stop):
            first = int(self._starts[number]) + rows.start - start
            self._read_into(number, rows.start, found[first : first + len(rows)])
        return found

    def _read_into(self, number: int, first: int, out: npt.NDArray[Any]) -> None:
        """Rows of a part into memory: by reading, since pages that are mapped count as this process's memory."""
        part = self.info.parts[number]
        row_bytes = self.shape[1] * self.dtype.itemsize
        header = part.num_bytes - part.num_rows * row_bytes
        with open(self._path(part.path), "rb", buffering=0) as stream:
            stream.seek(header + first * row_bytes)
            view = out.reshape(-1).view(np.uint8).data
            # A read may return less than was asked for, by a signal or a limit of the system; nothing at all is the
            # end.
            while len(view):
                count = stream.readinto(view)
                if not count:
                    raise _damaged(self.storage.object_url(part.path), "it is too short")
                view = view[count:]

    def blocks(self, rows_per_block: int = ROWS_PER_BLOCK) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """First row number and rows of one block after the other, of the stored type."""
        for start in range(0, len(self), rows_per_block):
            yield start, self.read(start, start + rows_per_block)

    def take(self, rows: npt.ArrayLike) -> npt.NDArray[Any]:
        """Some rows in the given order, [M, D]."""
        wanted = np.asarray(rows, np.int64)
        if wanted.size and not 0 <= int(wanted.min()) <= int(wanted.max()) < len(self):
            raise OptionError(
                f"rows of {self.storage.url} are 0 to {len(self) - 1}, found {wanted.min()}..{wanted.max()}"
            )
        found = np.empty((len(wanted), self.shape[1]), self.dtype)
        # Part by part, whatever the order of rows: each is mapped once, and its rows go to where they were asked for.
        numbers = np.searchsorted(self._starts, wanted, side="right") - 1
        for number in np.unique(numbers).tolist():
            here = np.flatnonzero(numbers == number)
            found[here] = self._part(number)[wanted[here] - self._starts[number]]
        return found

    def array(self) -> npt.NDArray[Any]:
        """All features in memory, [N, D], of the stored type.

        Raises:
            DatasetError: One of them is not finite.
        """
        found = self.read(0, len(self))
        for start in range(0, len(found), ROWS_PER_BLOCK):
            self.check_finite(found[start : start + ROWS_PER_BLOCK], start)
        return found

    def check_finite(self, block: npt.NDArray[Any], start: int) -> None:
        """Refuses a block of rows (the first is row `start`) with a value that is none.

        Raises:
            DatasetError: The message names the key.
        """
        if np.isfinite(block).all():
            return
        row = start + int(np.argwhere(~np.isfinite(block))[0][0])
        raise DatasetError(
            f"{self.storage.url}: the feature of {self.keys[row].as_py()!r} is not finite: extract the features again "
            "with replace (--replace)"
        )

    @property
    def where(self) -> str:
        return self.storage.url

    @cached_property
    def keys(self) -> pa.Array:
        """Keys of the rows, as Arrow strings.

        Raises:
            DatasetError: A file of keys is damaged.
        """
        chunks: list[pa.Array] = []
        for part in self.info.parts:
            keys = self._read_keys(part)
            if len(keys) != part.num_rows:
                raise DatasetError(
                    f"{self.storage.object_url(part.keys_path)}: expected {part.num_rows} keys, found {len(keys)}: "
                    "extract the features again with replace (--replace)"
                )
            chunks.append(keys)
        return pa.chunked_array(chunks, pa.large_string()).combine_chunks()

    def row_of(self, key: str) -> int:
        """Row number of a key.

        Raises:
            OptionError: There is no such row.
        """
        row = int(pc.index(self.keys, pa.scalar(key, pa.large_string())).as_py())
        if row < 0:
            raise OptionError(f"features at {self.storage.url} have no key {key!r}: give a key of {self.dataset}")
        return row

    def check_digests(self) -> None:
        """Reads every part once and compares its sha256.

        Raises:
            DatasetError: A part was altered.
        """
        for part in self.info.parts:
            with open(self._path(part.path), "rb") as stream:
                found = stream_digest(stream)
            if found != part.sha256:
                raise DatasetError(
                    f"{self.storage.object_url(part.path)} was altered: expected sha256 {part.sha256[:16]}..., found "
                    f"{found[:16]}...: extract the features again with replace (--replace)"
                )

    def _path(self, path: str) -> Path:
        found = self.storage.local_path(path)
        if found is None:
            raise OptionError(f"{self.storage.url} is not on this machine: copy it")
        return found

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, range]]:
        """Parts that hold some rows, and which of their own rows."""
        number = int(np.searchsorted(self._starts, start, side="right")) - 1
        # From the part that holds the first row on, until one begins at or after `stop`.
        while number < len(self.info.parts) and (first := int(self._starts[number])) < stop:
            yield number, range(max(start - first, 0), min(stop, int(self._starts[number + 1])) - first)
            number += 1

    def _part(self, number: int) -> npt.NDArray[Any]:
        # Taken out and put back at the end, the part in use becomes the youngest.
        found = self._mapped.pop(number, None)
        if found is None:
            part = self.info.parts[number]
            try:
                found = np.load(self._path(part.path), mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise _damaged(self.storage.object_url(part.path), error) from None
            if found.shape != (part.num_rows, self.shape[1]) or found.dtype != self.dtype:
                raise _damaged(self.storage.object_url(part.path), f"it holds {found.dtype} {found.shape}")
        # Dictionaries keep the order of insertion: the first is the one that waited longest.
        self._mapped[number] = found
        while len(self._mapped) > _MAX_MAPPED:
            del self._mapped[next(iter(self._mapped))]
        return found

    def _read_keys(self, part: FeaturePart) -> pa.Array:
        try:
            column = pq.read_table(self._path(part.keys_path), columns=["key"], use_threads=False)["key"]
        except (OSError, pa.ArrowException) as error:
            raise _damaged(self.storage.object_url(part.keys_path), error) from None
        return column.cast(pa.large_string()).combine_chunks()


def open_features(
    dataset_url: str | os.PathLike[str],
    name: str,
    *,
    encoder: EncoderFacts | None = None,
    any_version: bool = False,
) -> FeatureStore:
    """Opens features of a dataset.

    Args:
        dataset_url: A folder or s3:// address.
        name: Their name in the dataset; or, with a "/" in it, the folder where they lie.
        encoder: Refuses features of another encoder than this one.
        any_version: Whether those of another version of the dataset may be opened.

    Raises:
        DatasetError: There are no such features, they are not finished or damaged, or of another dataset version.
        PlanMismatchError: They are of another encoder.
        OptionError: The name is none, or they are not on this machine.
    """
    address = os.fspath(dataset_url)
    dataset = open_dataset(dataset_url)
    storage = open_storage(name) if "/" in name else features_storage(dataset, name)
    try:
        info = FeaturesInfo.from_json(storage.read(FEATURES_FILE), where=storage.object_url(FEATURES_FILE))
    except NotFoundError:
        raise _absent(dataset, storage, name) from None
    if not any_version:
        _check_version(info, dataset, storage.url)
    if encoder is not None:
        check_same_encoder(info.encoder, encoder, where=storage.url, whose="that asked for")
    return FeatureStore(address, storage, info)


def feature_names(dataset: Dataset) -> list[str]:
    """Names of the finished features in a dataset."""
    parts = [stored.path.removeprefix(FEATURES_FOLDER).split("/") for stored in dataset.storage.list(FEATURES_FOLDER)]
    return sorted(names[0] for names in parts if len(names) == 2 and names[1] == FEATURES_FILE)


def only_features(dataset_url: str | os.PathLike[str], name: str | None) -> str:
    """The name, or where none is given that of the only features in the dataset.

    Raises:
        OptionError: There are none, or several.
    """
    if name is not None:
        return name
    names = feature_names(open_dataset(dataset_url))
    if len(names) != 1:
        have = f"has the features {', '.join(names)}: give one of them" if names else "has no features"
        make = (
            ""
            if names
            else f": `shardtools features {shell_word(os.fspath(dataset_url))} --encoder ENCODER` makes them"
        )
        raise OptionError(f"{os.fspath(dataset_url)} {have}{make}")
    return names[0]


def remove_features(dataset_url: str | os.PathLike[str], name: str) -> None:
    """Removes features of a dataset, also unfinished ones.

    Raises:
        DatasetError: There are none of that name.
    """
    dataset = open_dataset(dataset_url)
    storage = features_storage(dataset, name)
    if not storage.list():
        raise _absent(dataset, storage, name)
    clear_features(storage)


def _absent(dataset: Dataset, storage: Storage, name: str) -> ShardtoolsError:
    done = len(parts_done(storage))
    if done:
        return DatasetError(
            f"features at {storage.url} are not finished ({counted(done, 'part')} so far): run `shardtools "
            "features` again, it "
            "resumes"
        )
    there = ", ".join(feature_names(dataset)) or "none"
    return DatasetError(
        f"{dataset.storage.url} has no features {name!r}: it has {there}; `shardtools features` makes them"
    )


def _check_version(info: FeaturesInfo, dataset: Dataset, where: str) -> None:
    now = digest(dataset.content)
    if info.plan.dataset_sha256 == now:
        return
    then = info.plan.dataset_sha256[:8]
    raise DatasetError(
        f"features at {where} are of commit {then} ({counted(info.plan.dataset_num_rows, 'row')}) of their dataset, "
        f"{dataset.storage.url} is at commit {now[:8]} ({counted(dataset.commit.num_rows, 'row')}): extract "
        "them again with "
        f"replace (--replace), or read {dataset.storage.url}@{then}"
    )


def _damaged(where: str, error: Exception | str) -> DatasetError:
    return DatasetError(
        f"{where} is damaged ({first_line(error)}): extract the features again with replace (--replace)"
    )
