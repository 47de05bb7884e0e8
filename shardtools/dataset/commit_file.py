"""`dataset.json`: what a committed dataset holds, and how the file is read and written.

Owns the commit's content and its version. It lists every part and shard with its digest, so that a reader sees one
consistent state while a later run adds to the folder; the price is some 200 bytes a shard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar, Self

from shardtools.documents import Document, FieldError, Format, wrong_field
from shardtools.errors import ShardError, StorageError
from shardtools.manifest import FORMAT_VERSION, ShardFile
from shardtools.shards import LAYOUT_NAMES, check_split, parse_part_path
from shardtools.storage import check_path

DATASET_FILE = "dataset.json"
KINDS = ("generated", "real", "rendered", "derived")
_LENGTHS = {"parts": "num_rows", "compact": "num_rows", "shards": "num_bytes", "index_files": "num_bytes"}
_MAX_SCALE = 2**31 - 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
        kind: One of `KINDS`.
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

    @classmethod
    def from_json(cls, content: bytes, *, where: str) -> Self:
        """The reverse of `to_json`; what a reader will follow is looked at.

        Raises:
            DatasetError: Not such a file, or a value that no dataset has.
            FormatVersionError: Written by another format version.
        """
        info = super(DatasetInfo, cls).from_json(content, where=where)
        try:
            info._check()
        except (FieldError, ShardError, StorageError) as error:
            raise cls.format.damaged(where, error) from None
        return info

    def _check(self) -> None:
        _check_choice("kind", self.kind, KINDS)
        _check_choice("layout", self.layout, LAYOUT_NAMES)
        _check_count("scale", self.scale, 1, _MAX_SCALE)
        if self.parent is not None and not _SHA256.fullmatch(self.parent):
            raise wrong_field("parent", "64 hexadecimal digits, or null", self.parent)
        for split, totals in self.splits.items():
            check_split(split)
            for name in ("num_rows", "num_images", "num_bytes"):
                _check_count(f"splits.{split}.{name}", getattr(totals, name))
        for status, count in self.statuses.items():
            _check_count(f"statuses.{status}", count)
        for kind in ("parts", "compact", "shards", "index_files"):
            for number, entry in enumerate(getattr(self, kind)):
                place = f"{kind}[{number}]"
                check_path(entry.path)
                _check_count(f"{place}.{_LENGTHS[kind]}", getattr(entry, _LENGTHS[kind]))
                if not _SHA256.fullmatch(entry.sha256):
                    raise wrong_field(f"{place}.sha256", "64 hexadecimal digits", entry.sha256)
        paths = [entry.path for entry in self.parts]
        for path in paths:
            parse_part_path(path)
        if len(set(paths)) < len(paths):
            raise FieldError("parts has a path twice")

    @property
    def num_rows(self) -> int:
        """Rows of all splits."""
        return sum(split.num_rows for split in self.splits.values())

    @property
    def num_images(self) -> int:
        """Rows with status ok of all splits."""
        return sum(split.num_images for split in self.splits.values())


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise wrong_field(name, f"one of {', '.join(known)}", value)


def _check_count(name: str, value: int, least: int = 0, most: int = 2**63 - 1) -> None:
    if not least <= value <= most:
        raise wrong_field(name, f"{least} to {most}", value)
