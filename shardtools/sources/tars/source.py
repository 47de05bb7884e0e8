"""WebDataset tars: samples addressed by the byte offsets of their members.

Owns the reading of other people's tars. Headers are read once, before the first shard is written, so that keys are
known to be unique and any process can fetch any sample with one ranged read; the price is a pass over the headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from shardtools.errors import SourceError
from shardtools.sample import Sample
from shardtools.shards import MAX_MEMBER_NAME_BYTES, Member, TarSample, check_key, read_samples
from shardtools.shards.tar.headers import read_entries
from shardtools.sources.base import Source
from shardtools.sources.image.check import IMAGE_EXTENSIONS, Rejection, make_sample, too_large
from shardtools.sources.labels import labels_digest
from shardtools.sources.listing import Listing, ListingBuilder
from shardtools.sources.options import SourceOptions
from shardtools.sources.patterns import by_split, find_tars
from shardtools.sources.tars.labels import label_members
from shardtools.storage import Storage, read_ahead
from shardtools.taxonomy import ImageClass

_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("file", pa.int32()),
        ("extensions", pa.list_(pa.string())),
        ("offsets", pa.list_(pa.int64())),
        ("lengths", pa.list_(pa.int64())),
    ]
)
_RANGE_BYTES = 8 * 1024 * 1024
"""Neighbouring samples are fetched together up to this length."""

_RANGES_AHEAD = 3
_TARS_LISTED_TOGETHER = 8
_LINK = -1
"""In place of a length: the member is a link or a device, which has no bytes of its own."""
_CONTROL = re.compile("[\x00-\x1f\x7f\\\\\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where one sample lies: extension -> (offset, length) of its members in file number `file`."""

    key: str
    file: int
    members: Mapping[str, tuple[int, int]]

    @property
    def start(self) -> int:
        return min(offset for offset, _ in self.members.values())

    @property
    def stop(self) -> int:
        return max(offset + max(0, length) for offset, length in self.members.values())

    @property
    def links(self) -> list[str]:
        """Members that are links or devices."""
        return sorted(extension for extension, (_, length) in self.members.items() if length == _LINK)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebDatasetSource(Source):
    """Indexed tars.

    Attributes:
        paths: The tars, as the listing numbers them.
        listing: Entries: key, number of the tar, and the members' extensions, offsets and lengths (bytes).
        wnids: Class index -> wnid, if a class set was given.
        decode: Whether images are decoded in full.
    """

    paths: Sequence[str]
    listing: Listing
    wnids: Sequence[str] | None
    decode: bool

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        entries = (_entry(row) for _, row in self.listing.rows(split, start, stop))
        calls = (partial(self._fetch, group) for group in _neighbors(entries))
        for group, content in read_ahead(calls, 0 if self.storage.is_local else _RANGES_AHEAD):
            base = group[0].start
            for entry in group:
                yield self._sample(entry, content, base)

    def keys(self, split: str) -> Iterator[str]:
        return (row["key"] for _, row in self.listing.rows(split, 0, self.splits[split]))

    def _fetch(self, group: list[_Entry]) -> tuple[list[_Entry], memoryview]:
        base, end = group[0].start, group[-1].stop
        # Recorded, not read. Only a sample alone can be so long, as a group ends at `_RANGE_BYTES`.
        if len(group) == 1 and too_large(end - base):
            return group, memoryview(b"")
        return group, memoryview(self.storage.read_range(self.paths[group[0].file], base, end - base))

    def _sample(self, entry: _Entry, content: memoryview, base: int) -> Sample:
        where = f"{self.storage.object_url(self.paths[entry.file])}, key {entry.key!r}, byte {entry.start}"
        rejection = too_large(entry.stop - entry.start)
        if rejection is not None:
            return make_sample(rejection, decode=False, extension="", key=entry.key)
        if entry.links:
            # The label may be one as well, so nothing of the sample is trusted.
            names = ", ".join(f".{one}" if one else "one without extension" for one in entry.links)
            link = Rejection("not-an-image", f"a link or a device in the tar, without bytes of its own: {names}")
            return make_sample(link, decode=False, extension="", key=entry.key)
        payloads = {
            extension: bytes(content[offset - base : offset - base + length])
            for extension, (offset, length) in entry.members.items()
        }
        extension = _image_extension(payloads)
        labels = label_members(payloads, self.wnids, where=where)
        if extension is None:
            found = ", ".join(f".{one}" if one else "one without extension" for one in sorted(payloads))
            none = Rejection("not-an-image", f"its members have no image extension: {found}")
            return make_sample(none, decode=False, extension="", key=entry.key, **labels)
        return make_sample(
            payloads.pop(extension),
            decode=self.decode,
            extension=extension,
            extra_members=payloads,
            key=entry.key,
            **labels,
        )


def _entry(row: Mapping[str, Any]) -> _Entry:
    places = zip(row["extensions"], row["offsets"], row["lengths"], strict=True)
    return _Entry(row["key"], row["file"], {extension: (offset, length) for extension, offset, length in places})


def _neighbors(entries: Iterator[_Entry]) -> Iterator[list[_Entry]]:
    """Runs of samples that follow each other in one tar, up to `_RANGE_BYTES` long."""
    group: list[_Entry] = []
    for entry in entries:
        if group and (
            entry.file != group[-1].file
            or not group[-1].stop <= entry.start <= group[-1].stop + _RANGE_BYTES
            or entry.stop - group[0].start > _RANGE_BYTES
        ):
            yield group
            group = []
        group.append(entry)
    if group:
        yield group


def _image_extension(members: Mapping[str, bytes]) -> str | None:
    """Which member is the image: one named by an image extension alone, else one such as "seg.png"."""
    for extension in IMAGE_EXTENSIONS:
        if extension in members:
            return extension
    compound = [extension for extension in members if extension.rpartition(".")[2] in IMAGE_EXTENSIONS]
    return min(compound, default=None)


def open_webdataset(options: SourceOptions, classes: Sequence[ImageClass] | None, folder: Path) -> WebDatasetSource:
    """Finds the tars and reads their headers.

    Args:
        options: How to read them.
        classes: The class set given by the user, if any.
        folder: For the listing.

    Raises:
        SourceError: No tars, a key that may not be used, or one that two tars have.
        ShardError: A tar is cut off or damaged, or its members are not adjacent.
    """
    files = find_tars(options.source)
    seed = options.shuffle_seed if options.shuffle else None
    paths = by_split(files.paths, options.split)
    ordered = [path for of_split in paths.values() for path in of_split]
    with ListingBuilder(folder, _SCHEMA, seed) as builder:
        names = [(split, path) for split, of_split in paths.items() for path in of_split]
        calls: list[Callable[[], list[_Entry]]] = [
            partial(_list_tar, files.storage, path, number, options.flatten_keys)
            for number, (_, path) in enumerate(names)
        ]
        ahead = 0 if files.storage.is_local else _TARS_LISTED_TOGETHER
        for (split, _), entries in zip(names, read_ahead(calls, ahead), strict=True):
            for entry in entries:
                places = entry.members.values()
                offsets, lengths = [offset for offset, _ in places], [length for _, length in places]
                builder.add(split, entry.key, entry.file, list(entry.members), offsets, lengths)
        listing = builder.finish()
    # Only now that all headers are read: two tars may share a key.
    _refuse_repeats(listing, files.storage, ordered)
    if not listing.ranges:
        raise SourceError(f"{options.source} holds no samples: expected members such as 000001.jpg")
    return WebDatasetSource(
        kind="webdataset",
        splits=listing.splits,
        settings={
            "source_kind": "webdataset",
            "source_listing": listing.digest,
            "labels": labels_digest(classes) if classes else None,
            "shuffle_seed": seed,
            "check": options.check,
            "flatten_keys": options.flatten_keys,
        },
        storage=files.storage,
        paths=tuple(ordered),
        listing=listing,
        wnids=[one.wnid for one in classes] if classes else None,
        decode=options.check == "decode",
    )


def _list_tar(storage: Storage, path: str, file: int, flatten_keys: bool) -> list[_Entry]:
    """Entries of one tar, in its order; members without an extension come last."""
    where = storage.object_url(path)
    strays: list[Member] = []

    def members() -> Iterator[Member]:
        for member in _members(stream, where):
            base = member.name.rpartition("/")[2]
            # What has no extension is in no sample by the rules of the format. It must not vanish: it becomes a row of
            # its own.
            if "." not in base and not (base.startswith("__") and base.endswith("__")):
                strays.append(member)
            yield member

    with storage.open(path) as stream:
        found = list(read_samples(members(), where=where))
    found += [TarSample(stray.name, {"": stray}) for stray in strays]
    return [_checked_entry(sample, file, where, flatten_keys) for sample in found]


def _members(stream: BinaryIO, where: str) -> Iterator[Member]:
    """Members of a tar, links and devices among them: they are lost to readers, and must not be so without a word."""
    size = stream.seek(0, 2)

    def read_at(offset: int, num_bytes: int) -> bytes:
        stream.seek(offset)
        return stream.read(num_bytes)

    for entry in read_entries(read_at, where=where, stop=size):
        if entry.kind != "folder":
            yield Member(
                entry.name.removeprefix("./"), entry.offset, entry.num_bytes if entry.kind == "file" else _LINK
            )


def _check_images(key: str, extensions: Collection[str], place: str) -> None:
    """Refuses a key whose image or label is not to be told: WebDataset ends a key at the first dot of a file's name.

    Raises:
        SourceError: It has several images and none with a plain extension, or a label beside an image of its own name.
    """
    images = sorted(one for one in extensions if "." in one and one.rpartition(".")[2] in IMAGE_EXTENSIONS)
    labeled = [one for one in images if f"{one.rpartition('.')[0]}.cls" in extensions]
    is_plain = any(one in IMAGE_EXTENSIONS for one in extensions)
    if labeled or (len(images) > 1 and not is_plain):
        one = (labeled or images)[0]
        stem = key.rpartition("/")[2]
        name = f"{stem}.{one}"
        better = f"{name.rpartition('.')[0].replace('.', '_')}.{one.rpartition('.')[2]}"
        raise SourceError(
            f"{place}: key {key!r} ends at the first dot and has {', '.join(f'.{one}' for one in images)}: expected "
            f"one image with a plain extension ({stem}.jpg, {stem}.cls): rename files without dots in their stems, "
            f"{name} to {better}, and pack the tar anew"
        )


def _checked_entry(sample: TarSample, file: int, where: str, flatten_keys: bool) -> _Entry:
    first = min(sample.members.values(), key=lambda member: member.offset)
    place = f"{where}, byte {first.offset}"
    parts = sample.key.split("/")
    if parts[0] == "" or ".." in parts or _CONTROL.search(sample.key):
        raise SourceError(
            f"{place}: expected a key without '..', leading '/' or control characters, found {sample.key!r}: pack the "
            "tar anew"
        )
    if len(parts) > 1 and not flatten_keys:
        raise SourceError(
            f"{place}: expected a key without '/', found {sample.key!r}: give --flatten-keys to write it as "
            f"{'__'.join(parts)!r}"
        )
    key = check_key("__".join(part for part in parts if part != "."), where=place)
    _check_images(sample.key, sample.members.keys(), place)
    # Checked now: the writer would refuse it only in the middle of a shard.
    for extension in sample.members:
        if _CONTROL.search(extension) or len(f"{key}.{extension}".encode()) > MAX_MEMBER_NAME_BYTES:
            raise SourceError(
                f"{place}: expected a member name of at most {MAX_MEMBER_NAME_BYTES} bytes without control "
                "characters, found "
                f"{f'{key}.{extension}'!r}: rename it"
            )
    return _Entry(key, file, {one: (member.offset, member.num_bytes) for one, member in sample.members.items()})


def _refuse_repeats(listing: Listing, storage: Storage, paths: Sequence[str]) -> None:
    for group in listing.repeats:
        first, second = (_entry(listing.row(number)) for number in group[:2])
        if first.key == second.key:
            places = [f"{storage.object_url(paths[one.file])}, byte {one.start}" for one in (first, second)]
            raise SourceError(
                f"key {first.key!r} comes twice: {places[0]} and {places[1]}: keys are unique in a dataset, rename one"
            )
