"""A published set as a source: its lists against the files that are there, then its pictures, file by file.

Owns the checks that need no picture: the official counts, files that the lists name and that are not there, classes.
Part of a copy is refused before anything is written, since figures on it are not the set's; the price is an option for
those who want the part.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from shardtools.errors import OptionError, SourceError
from shardtools.sample import Sample
from shardtools.shards import check_split
from shardtools.sources.base import Source
from shardtools.sources.image.check import Rejection, extension_of, make_sample, too_large
from shardtools.sources.listing import Listing, ListingBuilder
from shardtools.sources.options import SourceOptions
from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.folder import SetFolder
from shardtools.sources.published.registry import PUBLISHED_SETS, find_set
from shardtools.sources.tree.keys import make_key, rename_repeats
from shardtools.storage import REQUESTS_IN_FLIGHT, open_storage, read_ahead
from shardtools.taxonomy import ImageClass
from shardtools.words import counted

KIND = "published"
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("path", pa.string()),
        ("more", pa.list_(pa.string())),
        ("num_bytes", pa.int64()),
        ("label", pa.int32()),
        ("labels", pa.list_(pa.int32())),
    ]
)
"""An image of the listing; `more` is null of one in one file, `labels` of one with one class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSource(Source):
    """A listed set.

    Attributes:
        name: In `PUBLISHED_SETS`.
        listing: Its images; columns as in `_SCHEMA`.
        renamed: Row -> key, for images whose key another has.
        classes: Class names in the order of the labels.
        decode: Whether images are decoded in full.
    """

    name: str
    listing: Listing
    renamed: Mapping[int, str]
    classes: Sequence[str]
    decode: bool

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        calls: Iterator[Callable[[], Sample]] = (
            partial(self._sample, number, row) for number, row in self.listing.rows(split, start, stop)
        )
        return read_ahead(calls, 0 if self.storage.is_local else REQUESTS_IN_FLIGHT)

    def keys(self, split: str) -> Iterator[str]:
        rows = self.listing.rows(split, 0, self.splits[split])
        return (self.renamed.get(number, str(row["key"])) for number, row in rows)

    def _sample(self, number: int, row: Mapping[str, Any]) -> Sample:
        label, labels = row["label"], row["labels"]
        return make_sample(
            self._content(row),
            decode=self.decode,
            extension=extension_of(row["path"]),
            key=self.renamed.get(number, row["key"]),
            wnid=None if label is None else self.classes[label],
            class_index=label,
            class_indexes=None if labels is None else tuple(labels),
            label_source="list",
            provenance={"source_path": row["path"]},
        )

    def _content(self, row: Mapping[str, Any]) -> bytes | Rejection:
        rejection = too_large(row["num_bytes"])
        if rejection is not None:
            return rejection
        files = [self.storage.read(path) for path in (row["path"], *(row["more"] or ()))]
        # The listing is part of the plan: a file that was changed since belongs to another dataset.
        if sum(map(len, files)) != row["num_bytes"]:
            raise SourceError(
                f"{self.storage.object_url(row['path'])} was {row['num_bytes']} bytes when it was listed, now "
                f"{sum(map(len, files))}: let nothing write to the source, then run the same command again"
            )
        join = PUBLISHED_SETS[self.name].join
        return files[0] if join is None else join(files)


def open_published(options: SourceOptions, classes: Sequence[ImageClass] | None, folder: Path) -> PublishedSource:
    """Reads the lists of a set and holds them against its files.

    Args:
        options: `source` is "torchvision:NAME" or "published:NAME", `root` a folder that holds the set's.
        classes: The class set given by the user, which is refused: a published set has its own.
        folder: For the listing.

    Raises:
        OptionError: There is no such set, no root is given, or `classes` are.
        SourceError: Its files are not below the root, a list is damaged, or the counts are not the published ones.
    """
    named = published_name(options.source)
    if named is None:
        raise OptionError(f"--source-kind {KIND}: expected SOURCE torchvision:NAME, found {options.source!r}")
    described = find_set(named)
    if classes is not None:
        raise OptionError(f"{options.source} has its own {described.num_classes} classes: drop --classes")
    own = _find_folder(described, options)
    lists = described.read(own)
    if len(lists.classes) != described.num_classes:
        raise SourceError(
            f"{own.storage.url}: expected {described.num_classes} classes of {described.title}, found "
            f"{len(lists.classes)}: {described.download}"
        )
    images = list(lists.images)
    kept, notes = _check_files(described, lists, images, own, options.allow_partial)
    splits = _choose_splits(described, kept, options.split)
    seed = None if options.shuffle is False else options.shuffle_seed
    with ListingBuilder(folder, _SCHEMA, seed) as builder:
        for split in splits:
            for one in kept:
                if one.split == split:
                    builder.add(split, *_entry(described, one, own.sizes))
        listing = builder.finish()
    return PublishedSource(
        kind=KIND,
        storage=own.storage,
        splits=listing.splits,
        settings={
            "source_kind": KIND,
            "set": described.name,
            "source_listing": listing.digest,
            "labels": hashlib.sha256("\n".join(lists.classes).encode()).hexdigest(),
            "shuffle_seed": seed,
            "check": options.check,
        },
        notes=(*_said(described), *lists.notes, *notes),
        name=described.name,
        listing=listing,
        renamed=rename_repeats(listing),
        classes=tuple(lists.classes),
        decode=options.check == "decode",
    )


def published_name(source: str) -> str | None:
    """NAME of "torchvision:NAME" and of "published:NAME"; `None` for any other source."""
    prefix, colon, name = source.partition(":")
    return name if colon and prefix in ("torchvision", KIND) and not name.startswith("//") else None


def _find_folder(described: PublishedSet, options: SourceOptions) -> SetFolder:
    if options.root is None:
        raise OptionError(
            f"{options.source} needs --root DIR, the folder that holds {described.folders[0]}: {described.download}"
        )
    root = options.root.rstrip("/") or "/"
    for name in described.folders:
        storage = open_storage(f"{root}/{name}" if name else root)
        if storage.exists(described.marker):
            return SetFolder(storage, described.download)
    raise SourceError(
        f"{root} has no {described.folders[0]}/{described.marker}, by which {described.title} is told: "
        f"{described.download} (nothing is fetched here)"
    )


def _check_files(
    described: PublishedSet, lists: SetLists, images: Sequence[Listed], own: SetFolder, allow_partial: bool
) -> tuple[list[Listed], list[str]]:
    """The images whose files are there, and what to say of the others.

    Raises:
        SourceError: Some are missing, or the counts are not the published ones, and a part was not asked for.
    """
    kept = [one for one in images if all(path in own.sizes for path in (one.path, *one.more))]
    missing = next((one for one in images if one.path not in own.sizes or not own.sizes.keys() >= set(one.more)), None)
    found = Counter(one.split for one in kept)
    wrong = []
    if any(found[split] != count for split, count in described.splits.items()):
        wrong.append(f"expected {_counts(described.splits)} images, found {_counts(found, described.splits)}")
    if described.num_all is not None and lists.num_all != described.num_all:
        wrong.append(f"expected {described.num_all:,} images in its lists, found {lists.num_all or 0:,}")
    if missing is not None:
        num_missing = len(images) - len(kept)
        wrong.append(
            f"{counted(num_missing, 'image', spec=',')} of {len(images):,} that its lists name "
            f"{'is' if num_missing == 1 else 'are'} not there (the first: {missing.path})"
        )
    if not wrong:
        return kept, []
    said = f"{own.storage.url} is not all of {described.title}: {'; '.join(wrong)}"
    if not allow_partial or not kept:
        raise SourceError(f"{said}: fetch it again, or give --allow-partial to write what is there")
    return kept, [f"a part: {said}"]


def _counts(counts: Mapping[str, int], order: Mapping[str, int] | None = None) -> str:
    return ", ".join(f"{counts.get(split, 0):,} {split}" for split in order or counts)


def _choose_splits(described: PublishedSet, images: Sequence[Listed], wanted: str | None) -> list[str]:
    """Splits that are written, in the order of the lists."""
    found = list(dict.fromkeys(one.split for one in images))
    if wanted is None:
        return [check_split(split) for split in found]
    if wanted not in found:
        raise SourceError(f"{described.title} has splits {', '.join(found)}, not {wanted!r}: choose one of them")
    return [wanted]


def _entry(described: PublishedSet, one: Listed, sizes: Mapping[str, int]) -> tuple[Any, ...]:
    """Values of `_SCHEMA`."""
    key = make_key((one.key_path or one.path).removeprefix(described.images))
    num_bytes = sum(sizes[path] for path in (one.path, *one.more))
    label = one.label if isinstance(one.label, int) else None
    labels = None if isinstance(one.label, int) else list(one.label)
    return key, one.path, list(one.more) or None, num_bytes, label, labels


def _said(described: PublishedSet) -> Iterator[str]:
    """What a reader of the dataset should know of the set."""
    fit = " and ".join(described.fit_splits)
    yield (
        f"{described.title}: fitted on {fit}, reported on {described.test_split} by {described.metric}; use: "
        f"{described.license}"
    )
    for trap in described.traps:
        yield f"note: {trap}"
