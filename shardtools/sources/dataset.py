"""A dataset of this package as a source: every row with its provenance, images checked against their digests.

Owns what a copy keeps: rows without images stay rows, labels and provenance come from the manifest, and the members
that a writer would make from them again are left to it. The price of checking each digest: a copy stops at the first
altered image.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from shardtools.dataset import DATASET_FILE, Dataset, PartEntry, label_members, open_dataset, read_part
from shardtools.errors import OptionError, SourceError
from shardtools.manifest import PROVENANCE_COLUMNS, digest
from shardtools.quoting import shell_word
from shardtools.sample import STATUS_OK, Sample
from shardtools.shards import TarSample, joined_path, parse_part_path, read_members, read_samples
from shardtools.sources.base import Source
from shardtools.sources.image.png import encode_rgb_png
from shardtools.sources.labels import labels_digest
from shardtools.sources.options import SourceOptions
from shardtools.storage import Storage, read_ahead
from shardtools.taxonomy import ImageClass

_RANGE_BYTES = 8 * 1024 * 1024
"""Neighbouring images are fetched together up to this length."""

_RANGES_AHEAD = 3

_Row = Mapping[str, Any]
OpenColumns = Callable[[Storage, str, Sequence[str], Path], Source]


@dataclass(slots=True)
class _Cache:
    """What this process read last: a part's rows, and the members of a tar by key."""

    part_path: str = ""
    table: pa.Table | None = None
    shard_path: str = ""
    members: dict[str, TarSample] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSource(Source):
    """An opened dataset.

    Attributes:
        parts: Split -> (path of a manifest part, rows up to its end) in order.
        entries: Path -> what the commit says of that part.
        layout: Format of its shards.
        columns: The same shards read by their format, where they hold members beside image and label; else `None`.
        images_before: Manifest part -> images of its split before it; only with `columns`.
        wnid_to_class_index: Labels of the class set given by the user; `None` keeps the rows' own.
        cache: What this process read last.
    """

    parts: Mapping[str, Sequence[tuple[str, int]]]
    entries: Mapping[str, PartEntry]
    layout: str
    columns: Source | None
    images_before: Mapping[str, int]
    wnid_to_class_index: Mapping[str, int] | None
    cache: _Cache = field(default_factory=_Cache, repr=False, compare=False)

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        groups = _neighbors(self._rows(split, start, stop))
        calls = (partial(self._fetch, group) for group in groups)
        for group, content in read_ahead(calls, 0 if self.storage.is_local else _RANGES_AHEAD):
            base = group[0]["member_offset"] or 0
            members = self._members(split, group)
            for row in group:
                yield self._sample(row, content, base, next(members))

    def keys(self, split: str) -> Iterator[str]:
        for path, _ in self.parts[split]:
            yield from self._table(path)["key"].to_pylist()

    def close(self) -> None:
        if self.columns is not None:
            self.columns.close()

    def _rows(self, split: str, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """The rows, and in each the part it stands in."""
        ends = [end for _, end in self.parts[split]]
        while start < stop:
            # A part at a time, so that only one part's rows are in memory.
            number = bisect_right(ends, start)
            first = ends[number - 1] if number else 0
            end = min(stop, ends[number])
            path = self.parts[split][number][0]
            for row in self._table(path).slice(start - first, end - start).to_pylist():
                yield {**row, _PART: path}
            start = end

    def _members(self, split: str, group: Sequence[_Row]) -> Iterator[Mapping[str, bytes]]:
        """What lies beside each image of a group, by the reader of the format."""
        first = group[0]
        if first["shard"] is None:
            return itertools.repeat({}, len(group))
        if self.layout == "tar":
            return map(self._tar_members, group)
        if self.columns is None:
            return itertools.repeat({}, len(group))
        # Readers of the format know nothing of parts: they count the images of the whole split, and a joined file
        # counts its own already.
        before = 0 if first["shard"] == joined_path(split) else self.images_before[first[_PART]]
        start = before + first["sample_index"]
        return (sample.extra_members for sample in self.columns.samples(split, start, start + len(group)))

    def _table(self, path: str) -> pa.Table:
        if self.cache.part_path != path or self.cache.table is None:
            self.cache.part_path, self.cache.table = path, read_part(self.storage, self.entries[path])[1].table
        return self.cache.table

    def _fetch(self, group: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], memoryview]:
        first, last = group[0], group[-1]
        if first["shard"] is None:
            return group, memoryview(b"")
        num_bytes = last["member_offset"] + last["num_bytes"] - first["member_offset"]
        return group, memoryview(self.storage.read_range(first["shard"], first["member_offset"], num_bytes))

    def _sample(self, row: _Row, content: memoryview, base: int, members: Mapping[str, bytes]) -> Sample:
        sample = Sample(
            image_bytes=None,
            provenance={name: row[name] for name in PROVENANCE_COLUMNS if row[name] is not None},
            class_index=self._class_index(row),
            class_indexes=None if row["class_indexes"] is None else tuple(row["class_indexes"]),
            **{name: row[name] for name in _KEPT_COLUMNS},
        )
        if row["status"] != STATUS_OK:
            return sample
        start = row["member_offset"] - base
        image_bytes = bytes(content[start : start + row["num_bytes"]])
        # Before anything is made of the bytes: a copy would give the damage a new digest, and nobody would find it
        # again.
        if digest(image_bytes) != row["sha256"]:
            raise SourceError(
                f"{self.storage.object_url(row['shard'])}, key {row['key']!r}, byte {row['member_offset']}: the image "
                f"is not the one that was recorded: run shardtools verify {shell_word(self.storage.url)}"
            )
        image_format = row["image_format"]
        if image_format == "raw":
            image_bytes, image_format = encode_rgb_png(image_bytes, row["width"], row["height"]), "png"
        # What the next writer makes from the row by itself is no member of the source.
        made = label_members(sample)
        extra = {name: payload for name, payload in members.items() if payload != made.get(name)}
        return replace(sample, image_bytes=image_bytes, image_format=image_format, extra_members=extra)

    def _class_index(self, row: _Row) -> int | None:
        labels = self.wnid_to_class_index
        if labels is None or row["wnid"] is None:
            return row["class_index"]  # type: ignore[no-any-return]  # int32 or null by the manifest's schema
        if row["wnid"] not in labels:
            raise SourceError(
                f"{self.storage.url}: key {row['key']!r} is of class {row['wnid']}, which is not in --classes: give "
                "the set it belongs to, or drop --classes"
            )
        return labels[row["wnid"]]

    def _tar_members(self, row: _Row) -> dict[str, bytes]:
        if self.cache.shard_path != row["shard"]:
            where = self.storage.object_url(row["shard"])
            with self.storage.open(row["shard"]) as stream:
                members = read_samples(read_members(stream, where=where), where=where)
                self.cache.members = {one.key: one for one in members}
            self.cache.shard_path = row["shard"]
        return {
            extension: self.storage.read_range(row["shard"], member.offset, member.num_bytes)
            for extension, member in self.cache.members[row["key"]].members.items()
            if extension != row["image_format"]
        }


_PART = "part"
"""Where a row's manifest part stands among its columns."""

_KEPT_COLUMNS = (
    "key",
    "image_format",
    "width",
    "height",
    "mode",
    "wnid",
    "label_source",
    "source",
    "status",
    "reason",
)


def _neighbors(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Runs of rows that follow each other in one file and one part, up to `_RANGE_BYTES` long."""
    group: list[dict[str, Any]] = []
    for row in rows:
        if group and not _follows(group, row):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _follows(group: list[dict[str, Any]], row: _Row) -> bool:
    first, last = group[0], group[-1]
    if row["shard"] is None or (row["shard"], row[_PART]) != (last["shard"], last[_PART]):
        return False
    end: int = last["member_offset"] + last["num_bytes"]
    length: int = row["member_offset"] + row["num_bytes"] - first["member_offset"]
    return end <= row["member_offset"] and length <= _RANGE_BYTES


def open_dataset_source(
    options: SourceOptions, classes: Sequence[ImageClass] | None, folder: Path, open_columns: OpenColumns
) -> DatasetSource:
    """Opens a committed dataset.

    Args:
        options: How to read it.
        classes: The class set given by the user, whose order replaces the labels.
        folder: For the tables of shards with columns.
        open_columns: Opens the shards of a layout by their format: storage, layout, paths, folder.

    Raises:
        DatasetError: There is no dataset, or it is not finished.
        SourceError: It has no such split.
        OptionError: Another order is asked for.
    """
    if options.shuffle:
        raise OptionError("a dataset is copied in its own order: drop --shuffle")
    dataset = open_dataset(options.source)
    info = dataset.commit
    entries: dict[str, list[tuple[str, int]]] = {}
    for entry in info.parts:
        entries.setdefault(parse_part_path(entry.path)[0], []).append((entry.path, entry.num_rows))
    if options.split is not None:
        if options.split not in entries:
            raise SourceError(
                f"{dataset.storage.url} has splits {', '.join(entries)}, not {options.split!r}: choose one of them"
            )
        entries = {options.split: entries[options.split]}
    parts = {
        split: tuple(zip([path for path, _ in of_split], accumulate(rows for _, rows in of_split), strict=True))
        for split, of_split in entries.items()
    }
    parent = digest(dataset.content)
    columns = None
    if info.layout != "tar" and set(info.fields) - {"key"}:
        columns = open_columns(dataset.storage, info.layout, [shard.path for shard in info.shards], folder)
    return DatasetSource(
        kind="dataset",
        storage=dataset.storage,
        splits={split: of_split[-1][1] for split, of_split in parts.items()},
        settings={
            "source_kind": "dataset",
            "source_listing": parent,
            "labels": labels_digest(classes) if classes else None,
        },
        parent=parent,
        parts=parts,
        entries={entry.path: entry for entry in info.parts},
        layout=info.layout,
        columns=columns,
        images_before=_images_before(dataset, parts) if columns else {},
        wnid_to_class_index={one.wnid: one.class_index for one in classes} if classes else None,
    )


def _images_before(dataset: Dataset, parts: Mapping[str, Sequence[tuple[str, int]]]) -> dict[str, int]:
    before: dict[str, int] = {}
    for of_split in parts.values():
        count = 0
        for path, _ in of_split:
            before[path] = count
            shards = dataset.read_part(path).table["shard"]
            count += len(shards) - shards.null_count
    return before


def is_dataset(names: Sequence[str]) -> bool:
    """Whether the files directly in a folder make it a finished dataset."""
    return DATASET_FILE in names
