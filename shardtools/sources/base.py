"""What every source is: an outside layout whose samples are counted and addressed before any is read.

Owns the contract between layouts and writers. Because a position names the same sample in every process and in every
run, shards can be made in any order by anyone; the price is that a source is listed (folders) or indexed (tars) to its
end before the first shard is written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shardtools.errors import OptionError
from shardtools.sample import Sample
from shardtools.storage import Storage

SOURCE_KINDS = (
    "auto",
    "dataset",
    "imagefolder",
    "archive",
    "ilsvrc2012",
    "webdataset",
    "parquet",
    "beton",
    "mds",
    "litdata",
    "idx",
)
CHECKS = ("decode", "header")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """Which samples to read, and as what.

    Attributes:
        source: A folder, a file, or a pattern of files; local or s3://.
        kind: One of `SOURCE_KINDS`.
        split: For a source without splits the name to give it, for one with several the one to read; `None` for the
            source's own.
        classes: Specification for `taxonomy.load_classes` whose order gives the labels; `None` for the source's own.
        check: "decode" decodes every image in full, "header" only reads what it says it is.
        flatten_keys: Whether "a/b" in a tar becomes "a__b" instead of an error.
        shuffle: Whether samples are put into a fixed random order; `None` for the kind's default (folders and
            archives yes, others no).
        shuffle_seed: Base of that order, at least 0.

    Raises:
        OptionError: A value is not one of those.
    """

    source: str
    kind: str = "auto"
    split: str | None = None
    classes: str | None = None
    check: str = "decode"
    flatten_keys: bool = False
    shuffle: bool | None = None
    shuffle_seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in SOURCE_KINDS:
            raise OptionError(f"--source-kind is one of {', '.join(SOURCE_KINDS)}, found {self.kind!r}")
        if self.check not in CHECKS:
            raise OptionError(f"--check is one of {', '.join(CHECKS)}, found {self.check!r}")
        if self.shuffle_seed < 0:
            raise OptionError(f"--shuffle-seed is at least 0, found {self.shuffle_seed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(ABC):
    """An indexed source. Instances may be pickled and read in other processes while the index's folder exists.

    Attributes:
        kind: One of `SOURCE_KINDS`, not "auto".
        storage: The root below which all of its files lie.
        splits: Split name -> number of samples.
        settings: Option name -> JSON value: all of the source and its options that changes the samples or their order;
            no paths, so that a source that moved is still the same.
        parent: sha256 of the `dataset.json` that the source is, if it is a dataset of this package.
    """

    kind: str
    storage: Storage
    splits: Mapping[str, int]
    settings: Mapping[str, Any]
    parent: str | None = None

    @abstractmethod
    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        """Samples at 0-based positions `start` to `stop` (exclusive), rejected ones included, with bounded memory.

        Raises:
            SourceError: The source is damaged, or was changed since it was indexed.
        """

    def keys(self, split: str) -> Iterator[str]:
        """Keys of all samples of a split, in the order of positions; here by reading them all."""
        for sample in self.samples(split, 0, self.splits[split]):
            yield sample.key

    def close(self) -> None:  # noqa: B027  # most sources keep nothing open
        """Closes what `samples` left open in this process; the source may be read again."""
