"""What a finished dataset holds, in the few facts that a wrong label or a lost image shows in.

Owns the look at the manifest at the end of every job that makes a dataset: classes, images without a label, reasons of
rows without an image. Six columns are read once more; the price is some seconds for 64 million rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shardtools.dataset.commit_file import DatasetInfo
from shardtools.dataset.opening import Dataset
from shardtools.dataset.sinks import class_folder
from shardtools.errors import DatasetError, first_line
from shardtools.sample import STATUS_OK
from shardtools.shards import IMAGEFOLDER
from shardtools.storage import REQUESTS_IN_FLIGHT, Storage, read_ahead

NUM_NAMES = 5
"""Classes that are named."""

_NUM_REASONS = 3
_MAX_REASONS = 10_000
_COLUMNS = ["split", "status", "reason", "wnid", "class_index"]
_SEVERAL = "class_indexes"
"""Parts of before images had several labels lack it."""

_Class = tuple[str, str | None, int | None]
"""Split, name and number of a class; no number for images without a label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Rows without an image for one reason: status, one line of detail, and how many."""

    status: str
    reason: str
    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a dataset holds.

    Attributes:
        num_classes: Labels that images have, those of images with several labels among them.
        class_names: The first of them by number, at most `NUM_NAMES`; the number itself where there is no name.
        num_unlabeled: Images without a label.
        rejected: The most frequent reasons of rows without an image, at most three.
        folder_order: Where readers of class folders number classes otherwise than the manifest does: a line that names
            both numberings; `None` where they agree, and in other formats.
        num_several: Images that may have several labels.
    """

    num_classes: int
    class_names: tuple[str, ...]
    num_unlabeled: int
    rejected: tuple[Rejected, ...]
    folder_order: str | None
    num_several: int = 0


def read_contents(storage: Storage, info: DatasetInfo) -> Contents:
    """Reads what the commit's manifest says.

    Raises:
        DatasetError: A part is damaged.
    """
    part_paths = tuple(entry.path for entry in info.parts)
    paths = Dataset(storage=storage, info=info, part_paths=part_paths).manifest_paths
    classes: Counter[_Class] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    several: set[int] = set()
    num_several = 0
    calls = (partial(_count, storage, path) for path in paths)
    for found in read_ahead(calls, 0 if storage.is_local else REQUESTS_IN_FLIGHT):
        classes.update(found.classes)
        num_several += found.num_several
        several |= found.several
        # Reasons with a key or a byte in them are as many as rows.
        if len(reasons) < _MAX_REASONS:
            reasons.update(found.reasons)
    names = {number: str(number) for number in several}
    for _, name, number in classes:
        if number is not None and (number in several or names.get(number) is None):
            names[number] = str(number) if name is None else name
    return Contents(
        num_classes=len(names),
        class_names=tuple(names[number] for number in sorted(names)[:NUM_NAMES]),
        num_unlabeled=sum(count for (_, _, number), count in classes.items() if number is None),
        num_several=num_several,
        rejected=tuple(
            Rejected(status=status, reason=reason, num_rows=count)
            for (status, reason), count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:_NUM_REASONS]
        ),
        folder_order=folder_order(storage.url, classes) if info.layout == IMAGEFOLDER else None,
    )


@dataclass(slots=True)
class _Counts:
    """Of one file of the manifest: images of each class, rows of each reason, labels of images with several."""

    classes: Counter[_Class] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    several: set[int] = field(default_factory=set)
    num_several: int = 0

    def add(self, table: pa.Table) -> None:
        """Adds the rows of a group."""
        is_image = pc.equal(table["status"], STATUS_OK)
        images = table.filter(is_image)
        if _SEVERAL in table.schema.names:
            self.several.update(pc.unique(pc.list_flatten(images[_SEVERAL])).to_pylist())
            self.num_several += len(images) - images[_SEVERAL].null_count
            images = images.filter(pc.is_null(images[_SEVERAL])).drop_columns(_SEVERAL)
        grouped = _grouped(images, ("split", "wnid", "class_index"))
        self.classes.update({(split, wnid, number): count for (split, wnid, number), count in grouped.items()})
        rejected = _grouped(table.filter(pc.invert(is_image)), ("status", "reason"))
        self.reasons.update({(status, reason or ""): count for (status, reason), count in rejected.items()})


def _count(storage: Storage, path: str) -> _Counts:
    """Counts one file of the manifest."""
    found = _Counts()
    try:
        with storage.open(path) as stream, pq.ParquetFile(stream, pre_buffer=True) as file:
            columns = [*_COLUMNS, *([_SEVERAL] if _SEVERAL in file.schema_arrow.names else [])]
            for group in range(file.num_row_groups):
                found.add(file.read_row_group(group, columns=columns))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DatasetError(
            f"{storage.object_url(path)} is no intact manifest ({first_line(error)}): restore it, or run the job again"
        ) from None
    return found


def _grouped(table: pa.Table, columns: tuple[str, ...]) -> dict[tuple[Any, ...], int]:
    found = table.group_by(list(columns)).aggregate([([], "count_all")])
    values = [found[name].to_pylist() for name in columns]
    return dict(zip(zip(*values, strict=True), found["count_all"].to_pylist(), strict=True))


def folder_order(url: str, classes: Mapping[_Class, int]) -> str | None:
    """A line for a dataset of class folders that its readers number otherwise than its manifest; `None` for others.

    Args:
        url: The dataset.
        classes: Split, name and number of each class that has images.
    """
    for split in sorted({split for split, _, _ in classes}):
        numbers: dict[str, set[int | None]] = {}
        for one, name, number in classes:
            if one == split:
                numbers.setdefault(class_folder(name, number), set()).add(number)
        there = {folder: rank for rank, folder in enumerate(sorted(numbers))}
        wrong = [folder for folder, rank in there.items() if numbers[folder] != {rank}]
        if wrong:
            first = wrong[0]
            here = " and ".join("none" if number is None else str(number) for number in sorted(numbers[first], key=str))
            return (
                f"labels: ImageFolder numbers the folders of {url}/{split} in sorted order, the manifest in its own: "
                f"{first} is {there[first]} there and {here} in the manifest; {len(wrong)} of {len(there)} "
                "classes differ"
            )
    return None
