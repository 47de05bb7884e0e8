"""What a user may ask of `apply_view` and `undo`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shardtools.errors import OptionError
from shardtools.options import option, same

CHANGES_OVERLAY = "changes"
"""Overlay of the new dataset: one row a change."""

WEIGHTS_OVERLAY = "weights"
"""Overlay of the new dataset: the weight of every image, where any was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """A dataset, what to change, and where the result goes.

    Attributes:
        dataset: A finished dataset; "DATASET@COMMIT" for an earlier state of it.
        view: SQL, or the path of a .sql file or of edits (.json, .csv, .parquet).
        out: The new dataset: a folder or s3://bucket/prefix.
        keep: Whether samples that the view does not return are dropped.
        drop: Whether samples that the view returns are dropped.
        classes: Specification for `taxonomy.load_classes`, for labels that no sample of the dataset has yet.
        parameters: Parameters of the SQL, name -> value.
        overlays: Folders or addresses of overlays that the SQL reads and that are not in the dataset.
        carry: Names of overlays of the dataset that the new one gets too.
        link: Whether untouched local shards become second names of the same files instead of copies.
        num_processes: Processes on this machine, at least 1; `None` for one a CPU core. Does not change the result.

    Raises:
        OptionError: Two options contradict each other, or a number is out of range.
    """

    dataset: str
    view: str
    out: str = field(metadata=option("The new dataset: a folder or s3://bucket/prefix.", metavar="DATASET2"))
    keep: bool = field(default=False, metadata=option("Drop samples that VIEW does not return."))
    drop: bool = field(default=False, metadata=option("Drop samples that VIEW returns."))
    classes: str | None = field(
        default=None, metadata=option("Class set (imagenet-1k, ...) for labels that no sample has yet.")
    )
    parameters: Mapping[str, Any] = field(default_factory=dict)
    overlays: tuple[str, ...] = field(
        default=(), metadata=option("An overlay outside of DATASET, for the SQL.", flag="--overlay", metavar="PATH")
    )
    carry: tuple[str, ...] = field(
        default=(), metadata=option("An overlay that DATASET2 gets too.", flag="--carry-overlay", metavar="NAME")
    )
    link: bool = field(
        default=False, metadata=option("Share untouched local files with DATASET (hard links) instead of copying.")
    )
    num_processes: int | None = field(
        default=None, metadata=option("Processes on this machine.", unset="one a CPU core")
    )

    def __post_init__(self) -> None:
        if self.keep and self.drop:
            raise OptionError("--keep drops what the view leaves out, --drop what it returns: give one of them")
        own = next((name for name in self.carry if name in (CHANGES_OVERLAY, WEIGHTS_OVERLAY)), None)
        if own is not None:
            raise OptionError(f"--carry-overlay {own}: apply writes the overlay {own} itself: drop it from the list")
        _check_processes(self.num_processes)


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoOptions:
    """A dataset that `apply_view` made, the one that it was made from, and where the result goes.

    Attributes:
        dataset: What was made; samples appended to it since stay.
        parent: What it was made from; it may have grown since.
        out: The new dataset: a folder or s3://bucket/prefix.
        link: As in `ApplyOptions`.
        num_processes: As in `ApplyOptions`.

    Raises:
        OptionError: A number is out of range.
    """

    dataset: str
    parent: str = field(metadata=option("What DATASET was made from, for --undo.", metavar="DATASET0"))
    out: str = field(metadata=option("The new dataset: a folder or s3://bucket/prefix.", metavar="DATASET2"))
    link: bool = same(ApplyOptions, "link")
    num_processes: int | None = same(ApplyOptions, "num_processes")

    def __post_init__(self) -> None:
        _check_processes(self.num_processes)


def _check_processes(num_processes: int | None) -> None:
    if num_processes is not None and num_processes < 1:
        raise OptionError(f"--num-processes is at least 1, found {num_processes}")


def max_processes(num_processes: int | None) -> int:
    """Processes to use where there is enough to do."""
    return num_processes or len(os.sched_getaffinity(0))
