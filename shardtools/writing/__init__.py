"""Writing: a source -> shards and manifest, in processes of this machine."""

from shardtools.writing.options import WriteOptions
from shardtools.writing.run import WriteResult, write_dataset

__all__ = ["WriteOptions", "WriteResult", "write_dataset"]
