"""What a user may ask of `write_dataset`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shardtools.encoding import RAW_MODES, EncodingOptions
from shardtools.errors import OptionError
from shardtools.options import option
from shardtools.shards import LAYOUT_NAMES
from shardtools.sources import SourceOptions

if TYPE_CHECKING:
    from shardtools.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """A source, a dataset, and how to get from one to the other.

    Attributes:
        source: What to read: an address with options, or a source that is open and stays so while it is written.
        out: The dataset: a folder or s3://bucket/prefix.
        layout: Format of the shards: one of `shards.LAYOUT_NAMES`.
        fields: Members written beside image and label by formats that name their columns.
        drop_members: Whether members that the format does not hold may be left out.
        one_file: Whether the shards of each split are joined into one file at the end (.beton only).
        encoding: Whether images are encoded anew, and how.
        key_prefix: Put before every key.
        append: Whether the samples are added to the finished dataset at `out`.
        samples_per_shard: Rows of a shard, rejected ones included, at least 1.
        num_processes: Processes on this machine, at least 1; `None` for one a CPU core. Does not change the result.

    Raises:
        OptionError: A number is out of range, or two options contradict each other.
    """

    source: SourceOptions | Source
    out: str
    layout: str = field(default="tar", metadata=option("Format of the shards.", flag="--to", choices=LAYOUT_NAMES))
    append: bool = field(default=False, metadata=option("Add the samples to the finished DATASET as further shards."))
    fields: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "Members to keep beside image and label in formats with columns: key,json,seg.png",
            commas=True,
            unset="none",
        ),
    )
    drop_members: bool = field(default=False, metadata=option("Leave out members that the format does not hold."))
    one_file: bool = field(
        default=False, metadata=option("Join the shards of each split into one .beton, as FFCV reads it.")
    )
    encoding: EncodingOptions = field(default_factory=EncodingOptions)
    key_prefix: str = field(default="", metadata=option("Put this before every key."))
    samples_per_shard: int = field(default=1000, metadata=option("Rows of one shard."))
    num_processes: int | None = field(
        default=None, metadata=option("Processes on this machine.", unset="one a CPU core")
    )

    def __post_init__(self) -> None:
        # Not above: the formats themselves take long to import.
        from shardtools.shards import check_fields

        check_fields(self.layout, self.fields)
        if self.layout != "beton" and self.encoding.write_mode in RAW_MODES:
            raise OptionError(
                f"--write-mode {self.encoding.write_mode} makes raw pixels, which only --to beton holds, found --to "
                f"{self.layout}: take --write-mode jpg or keep"
            )
        if self.one_file and self.layout != "beton":
            raise OptionError(f"--one-file is for --to beton, found --to {self.layout}: drop one of them")
        if self.one_file and self.append:
            raise OptionError("--append adds shards, --one-file joins them: drop one of them")
        if self.samples_per_shard < 1:
            raise OptionError(f"--samples-per-shard is at least 1, found {self.samples_per_shard}")
        if self.num_processes is not None and self.num_processes < 1:
            raise OptionError(f"--num-processes is at least 1, found {self.num_processes}")

    def max_processes(self) -> int:
        """Processes to use where there is enough to do."""
        return self.num_processes or len(os.sched_getaffinity(0))
