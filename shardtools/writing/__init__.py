"""Writing: a source -> shards and manifest, in processes of this machine."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand
from shardtools.writing.options import WriteOptions

if TYPE_CHECKING:
    from shardtools.writing.corrupting import write_corrupted
    from shardtools.writing.job import check_apart
    from shardtools.writing.joining import join_splits, remove_joined
    from shardtools.writing.rendering import RenderEstimate, estimate_rendered, write_rendered
    from shardtools.writing.run import WriteResult, write_dataset
    from shardtools.writing.samples import write_samples
    from shardtools.writing.targets import discard_unfinished_append
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "RenderEstimate",
    "WriteOptions",
    "WriteResult",
    "check_apart",
    "discard_unfinished_append",
    "estimate_rendered",
    "join_splits",
    "remove_joined",
    "write_corrupted",
    "write_dataset",
    "write_rendered",
    "write_samples",
]
