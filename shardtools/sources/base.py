"""What every source is: an outside format whose samples are counted and addressed before any is read.

Owns the contract between formats and writers. Because a position names the same sample in every process and in every
run, shards can be made in any order by anyone; the price is that a source is listed, tars by their headers, to its
end before the first shard is written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shardtools.sample import Sample
from shardtools.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(ABC):
    """A listed source. Instances may be pickled and read in other processes while the listing's folder exists.

    Attributes:
        kind: One of `SOURCE_KINDS`, not "auto"; another name where no address leads to it ("samples").
        storage: The root below which all of its files lie.
        splits: Split name -> number of samples.
        settings: Option name -> JSON value: all of the source and its options that changes the samples or their order,
            a digest of what it holds among them; no paths, so that a source that moved is still the same.
        parent: sha256 of the `dataset.json` that the source is, if it is a dataset of this package.
        notes: Lines for the end of the job: what was read in one of several ways, and which.
    """

    kind: str
    storage: Storage
    splits: Mapping[str, int]
    settings: Mapping[str, Any]
    parent: str | None = None
    notes: tuple[str, ...] = ()

    @abstractmethod
    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        """Samples at 0-based positions `start` to `stop` (exclusive), rejected ones included, with bounded memory.

        Raises:
            SourceError: The source is damaged, or was changed since it was listed.
        """

    def keys(self, split: str) -> Iterator[str]:
        """Keys of all samples of a split, in the order of positions; here by reading them all."""
        for sample in self.samples(split, 0, self.splits[split]):
            yield sample.key

    def close(self) -> None:  # noqa: B027  # most sources keep nothing open
        """Closes what `samples` left open in this process; the source may be read again."""
