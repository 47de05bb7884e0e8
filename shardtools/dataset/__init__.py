"""Datasets: the one room that knows the order of writes, `plan.json` and `dataset.json`."""

from shardtools.dataset.appends import (
    Append,
    begin_append,
    current_commit,
    discard_append,
    num_rows_planned,
)
from shardtools.dataset.belonging import check_belongs, check_rows
from shardtools.dataset.commit import commit_dataset
from shardtools.dataset.commit_file import DATASET_FILE, DatasetInfo, PartEntry, SplitInfo
from shardtools.dataset.contents import Contents, Rejected, read_contents
from shardtools.dataset.guarding import find_twice, refuse_dataset_file
from shardtools.dataset.lease import Lease, acquire
from shardtools.dataset.opening import Dataset, commit_path, list_parts, open_dataset, read_part
from shardtools.dataset.plan_file import PlanFile, read_plan_file, store_plan_file
from shardtools.dataset.shard_writer import CommittedShard, ShardWriter, label_members, replace_part
from shardtools.dataset.status import DatasetStatus, read_status

__all__ = [
    "DATASET_FILE",
    "Append",
    "CommittedShard",
    "Contents",
    "Dataset",
    "DatasetInfo",
    "DatasetStatus",
    "Lease",
    "PartEntry",
    "PlanFile",
    "Rejected",
    "ShardWriter",
    "SplitInfo",
    "acquire",
    "begin_append",
    "check_belongs",
    "check_rows",
    "commit_dataset",
    "commit_path",
    "current_commit",
    "discard_append",
    "find_twice",
    "label_members",
    "list_parts",
    "num_rows_planned",
    "open_dataset",
    "read_contents",
    "read_part",
    "read_plan_file",
    "read_status",
    "refuse_dataset_file",
    "replace_part",
    "store_plan_file",
]
