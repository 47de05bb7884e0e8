"""What belongs to a dataset, for those who are given an address: its own files, and the dataset under another name.

Owns the answer for a file that is to be written somewhere: results and reports may lie anywhere but on a file that a
reader of a dataset relies on. The price: each folder above the file is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from shardtools.dataset.commit_file import DATASET_FILE
from shardtools.dataset.opening import Dataset
from shardtools.dataset.plan_file import PLAN_FILE
from shardtools.errors import OptionError, StorageError
from shardtools.storage import Storage, open_storage

_MARKS = (DATASET_FILE, PLAN_FILE)


def find_twice(datasets: Sequence[Dataset]) -> tuple[int, int] | None:
    """Positions of the first two that are the same version of one dataset, under whatever names; `None`: all differ."""
    seen: dict[tuple[str, bytes], int] = {}
    for number, dataset in enumerate(datasets):
        first = seen.setdefault((dataset.storage.place, dataset.content), number)
        if first != number:
            return first, number
    return None


def refuse_dataset_file(address: str) -> None:
    """Refuses to write a file over one of a dataset, or among the files in its folders.

    Raises:
        OptionError: `address` names such a file, also by a link; a new one directly in the dataset's folder is none.
    """
    for folder, inside in _places(address):
        storage = open_storage(folder)
        if any(_has(storage, mark) for mark in _MARKS) and ("/" in inside or inside in _MARKS or _has(storage, inside)):
            raise OptionError(
                f"cannot write {address}: it is a file of the dataset {storage.url}, which nothing here changes: "
                "give a name outside of it"
            )


def _places(address: str) -> Iterator[tuple[str | Path, str]]:
    """Each folder above a file, with the file's path in it."""
    folder, slash, name = address.rpartition("/")
    storage = open_storage(folder or slash or ".")
    local = storage.local_path(name)
    if local is None:
        parts = f"{storage.url}/{name}".split("/")
        for count in range(len(parts) - 1, 2, -1):
            yield "/".join(parts[:count]), "/".join(parts[count:])
        return
    # A link is replaced where it lies, and who gives one means the file behind it: neither may be a dataset's.
    named = Path(os.path.realpath(local.parent)) / local.name
    for file in dict.fromkeys((named, Path(os.path.realpath(local)))):
        for parent in file.parents:
            yield parent, file.relative_to(parent).as_posix()


def _has(storage: Storage, path: str) -> bool:
    # A folder that cannot be looked into is none that a dataset was opened from.
    try:
        return storage.exists(path)
    except StorageError:
        return False
