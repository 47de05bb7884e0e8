"""`dataset.json`: what a committed dataset holds, and how the file is read and written.

Owns the commit's content and its version. It lists every part and shard with its digest, so that a reader sees one
consistent state while a later run adds to the folder; the price is some 200 bytes a shard.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from shardtools.documents import Document, Format
from shardtools.manifest import FORMAT_VERSION, ShardFile

DATASET_FILE = "dataset.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEntry:
    """A Parquet file of manifest rows: path in the dataset, sha256 of the file, and its number of rows."""

    path: str
    sha256: str
    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitInfo:
    """Totals of one split: `num_images` counts rows with status ok, `num_bytes` their payloads."""

    num_rows: int
    num_images: int
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo(Document):
    """The commit of a dataset.

    Attributes:
        kind: "generated" or "real".
        plan_id: Fingerprint of the plan the dataset was made from.
        scale: Number of clones of a generated dataset, 1 otherwise.
        parent: Digest of the `dataset.json` that this one was derived from, if any.
        splits: Split name -> totals.
        statuses: Status -> number of rows.
        parts: One entry a shard, in the order of shards.
        shards: The files that hold the images; none where every image is a file.
        compact: The same rows as `parts` in few large files; empty for small datasets.
        layout: Format of the shards: one of `shards.LAYOUT_NAMES`.
        fields: Members that the shards hold beside image and label, where the format names its columns.
        index_files: Files made from the manifest that readers of the format need (`index.json`).
    """

    format: ClassVar[Format] = Format(
        name="shardtools-dataset",
        version=FORMAT_VERSION,
        what=f"the {DATASET_FILE} of a dataset",
        remedy="restore it, or run the job again",
    )

    kind: str
    plan_id: str
    scale: int
    parent: str | None
    splits: dict[str, SplitInfo]
    statuses: dict[str, int]
    parts: tuple[PartEntry, ...]
    shards: tuple[ShardFile, ...]
    compact: tuple[PartEntry, ...] = field(default=())
    layout: str = "tar"
    fields: tuple[str, ...] = field(default=())
    index_files: tuple[ShardFile, ...] = field(default=())

    @property
    def num_rows(self) -> int:
        """Rows of all splits."""
        return sum(split.num_rows for split in self.splits.values())

    @property
    def num_images(self) -> int:
        """Rows with status ok of all splits."""
        return sum(split.num_images for split in self.splits.values())
