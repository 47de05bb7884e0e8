"""Writing: a source -> shards and manifest, in processes of this machine."""

from shardtools.writing.options import WriteOptions
from shardtools.writing.run import WriteResult, write_dataset
from shardtools.writing.samples import write_samples
from shardtools.writing.targets import discard_unfinished_append

__all__ = ["WriteOptions", "WriteResult", "discard_unfinished_append", "write_dataset", "write_samples"]
