"""Datasets: the one room that knows the order of writes, `plan.json` and `dataset.json`."""

from shardtools.dataset.appends import Append, begin_append, current_commit, discard_append, num_rows_planned
from shardtools.dataset.commit import commit_dataset
from shardtools.dataset.commit_file import DATASET_FILE, DatasetInfo, PartEntry, SplitInfo
from shardtools.dataset.lease import Lease, acquire
from shardtools.dataset.opening import Dataset, commit_path, list_parts, open_dataset
from shardtools.dataset.plan_file import PlanFile, read_plan_file, store_plan_file
from shardtools.dataset.shard_writer import CommittedShard, ShardWriter, label_members, replace_part
from shardtools.dataset.status import DatasetStatus, read_status

__all__ = [
    "DATASET_FILE",
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
    "commit_path",
    "current_commit",
    "discard_append",
    "label_members",
    "list_parts",
    "num_rows_planned",
    "open_dataset",
    "read_plan_file",
    "read_status",
    "replace_part",
    "store_plan_file",
]
