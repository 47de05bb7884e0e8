"""What a user may ask of `write_dataset`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from shardtools.errors import OptionError
from shardtools.sources import SourceOptions

DEFAULT_SAMPLES_PER_SHARD = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """A source, a dataset, and how to get from one to the other.

    Attributes:
        source: What to read.
        out: The dataset: a folder or s3://bucket/prefix.
        samples_per_shard: Rows of a shard, rejected ones included, at least 1.
        num_processes: Processes on this machine, at least 1; `None` for one a CPU core. Does not change the result.

    Raises:
        OptionError: A number is out of range.
    """

    source: SourceOptions
    out: str
    samples_per_shard: int = DEFAULT_SAMPLES_PER_SHARD
    num_processes: int | None = None

    def __post_init__(self) -> None:
        if self.samples_per_shard < 1:
            raise OptionError(f"--samples-per-shard is at least 1, found {self.samples_per_shard}")
        if self.num_processes is not None and self.num_processes < 1:
            raise OptionError(f"--num-processes is at least 1, found {self.num_processes}")

    def max_processes(self) -> int:
        """Processes to use where there is enough to do."""
        return self.num_processes or len(os.sched_getaffinity(0))
