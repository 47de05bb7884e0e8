"""Curation: a view or a file of edits -> a new version of a dataset; and what differs between two."""

from typing import TYPE_CHECKING

from shardtools.curation.options import CHANGES_OVERLAY, WEIGHTS_OVERLAY, ApplyOptions, UndoOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.curation.apply import apply_view, undo
    from shardtools.curation.diff import KINDS, DatasetDiff, Difference, Example, diff_datasets
    from shardtools.curation.edits_file import EDITS_FORMAT, EDITS_VERSION, encode_edits, read_edits_file
    from shardtools.curation.rewriting import LABEL_SOURCE_EDIT, STATUS_PRUNED
    from shardtools.curation.target import CurationResult
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CHANGES_OVERLAY",
    "EDITS_FORMAT",
    "EDITS_VERSION",
    "KINDS",
    "LABEL_SOURCE_EDIT",
    "STATUS_PRUNED",
    "WEIGHTS_OVERLAY",
    "ApplyOptions",
    "CurationResult",
    "DatasetDiff",
    "Difference",
    "Example",
    "UndoOptions",
    "apply_view",
    "diff_datasets",
    "encode_edits",
    "read_edits_file",
    "undo",
]
