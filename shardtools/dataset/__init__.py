"""Datasets: the one room that knows the order of writes, `plan.json` and `dataset.json`."""

from shardtools.dataset.appends import Append, begin_append, current_commit, discard_append
from shardtools.dataset.commit import commit_dataset
from shardtools.dataset.commit_file import DatasetInfo, PartEntry, SplitInfo
from shardtools.dataset.guarding import find_twice, refuse_dataset_file
from shardtools.dataset.lease import Lease, acquire
from shardtools.dataset.opening import Dataset, open_dataset
from shardtools.dataset.plan_file import PlanFile, read_plan_file, store_plan_file
from shardtools.dataset.shard_writer import CommittedShard, ShardWriter, replace_part
from shardtools.dataset.status import DatasetStatus, read_status

__all__ = [
    "Append",
    "CommittedShard",
    "Dataset",
    "DatasetInfo",
    "DatasetStatus",
    "Lease",
    "PartEntry",
    "PlanFile",
    "ShardWriter",
    "SplitInfo",
    "acquire",
    "begin_append",
    "commit_dataset",
    "current_commit",
    "discard_append",
    "find_twice",
    "open_dataset",
    "read_plan_file",
    "read_status",
    "refuse_dataset_file",
    "replace_part",
    "store_plan_file",
]
