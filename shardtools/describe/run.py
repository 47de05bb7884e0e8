"""From a committed dataset to the files that describe it.

Owns which files are written. All of them follow from the commit and the options alone, so writing them again changes
nothing, and `dataset.json` is left as it is; the price is that a dataset that grew must be described anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from shardtools.dataset import DATASET_FILE, Dataset, DatasetInfo, open_dataset
from shardtools.describe.card import CARD_FILE, card, summary_line
from shardtools.describe.croissant import CROISSANT_FILE, croissant
from shardtools.describe.dali import TarFacts, index_path, read_tars
from shardtools.describe.facts import DatasetFacts, count_rows
from shardtools.describe.options import DescribeOptions
from shardtools.describe.wids import wids_index, wids_path
from shardtools.errors import DatasetError
from shardtools.storage import Storage

_RECOMMENDED = ("license", "creator", "url", "date_published", "cite_as")


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedFile:
    """One file that was written: path in the dataset, length in bytes."""

    path: str
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeResult:
    """What was written.

    Attributes:
        url: The dataset.
        name: What the files call it.
        files: In the order of writing.
        num_images: Images that they describe.
        missing: Options that Croissant recommends and nobody gave.
        notes: One line for each shard or file that could not be described in full.
    """

    url: str
    name: str
    files: tuple[DescribedFile, ...]
    num_images: int
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def describe(url: str | os.PathLike[str], options: DescribeOptions | None = None) -> DescribeResult:
    """Writes wids indexes, DALI indexes, Croissant metadata and a card into a committed dataset.

    Indexes are written for tars only.

    Args:
        url: A folder or s3:// address.
        options: What its files do not say.

    Raises:
        DatasetError: There is no committed dataset, or a file contradicts its manifest.
        ShardError: A tar is damaged.
        StorageError: The place cannot be read or written.
    """
    options = options or DescribeOptions()
    dataset = open_dataset(url)
    info = _current(dataset)
    facts = count_rows(dataset)
    name = options.name or f"{info.kind}-{info.plan_id}"
    description = options.description or summary_line(info, facts)
    notes: list[str] = []
    written: list[DescribedFile] = []
    # One at a time, each made only when the one before is written: a crash between two leaves files that the next run
    # writes again with the same bytes.
    for path, content in _files(dataset.storage, info, facts, options, name, description, notes):
        dataset.storage.write(path, content)
        written.append(DescribedFile(path=path, num_bytes=len(content)))
    return DescribeResult(
        url=dataset.storage.url,
        name=name,
        files=tuple(written),
        num_images=info.num_images,
        missing=tuple(option for option in _RECOMMENDED if getattr(options, option) is None),
        notes=tuple(notes),
    )


def _current(dataset: Dataset) -> DatasetInfo:
    """The commit; an earlier one cannot be described, its files would take the place of the current one's."""
    where = dataset.storage.object_url(DATASET_FILE)
    if DatasetInfo.from_json(dataset.storage.read(DATASET_FILE), where=where) != dataset.commit:
        raise DatasetError(
            f"{dataset.storage.url}: an earlier commit cannot be described: give the dataset without @ and digits"
        )
    return dataset.commit


def _files(
    storage: Storage,
    info: DatasetInfo,
    facts: DatasetFacts,
    options: DescribeOptions,
    name: str,
    description: str,
    notes: list[str],
) -> Iterator[tuple[str, bytes]]:
    """(path, content) of all files; indexes come first and are not held together."""
    # A tar that no row points to any more is left out: a reader must not see its images.
    tars = [shard for shard in info.shards if shard.path.endswith(".tar") and shard.path in facts.shards]
    found: dict[str, TarFacts] = {}
    for tar in read_tars(storage, tars, lambda path: facts.shards[path][1], md5=options.md5):
        if tar.index is None:
            notes.append(f"{tar.path} has no DALI index: an extension in it has a blank")
        else:
            yield index_path(tar.path), tar.index
        # Without the index: one of a million samples is long, and wids below only wants the count and the digest.
        found[tar.path] = TarFacts(path=tar.path, num_samples=tar.num_samples, index=None, md5=tar.md5)
    for split in info.splits:
        shards = [
            (shard, found[shard.path].num_samples, found[shard.path].md5)
            for shard in tars
            if facts.shards[shard.path][0] == split
        ]
        if shards:
            yield wids_path(split), wids_index(name=f"{name}-{split}", info=description, shards=shards)
    yield CROISSANT_FILE, croissant(info, facts, options, name=name, description=description)
    yield CARD_FILE, card(info, facts, options, name=name, description=description)
