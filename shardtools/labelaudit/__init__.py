"""The label audit of a dataset: from its features to the overlay `label_noise` and what to expect of it."""

from shardtools.labelaudit.margins import TrainingMargins, read_margins
from shardtools.labelaudit.options import LabelAuditOptions, LabelAuditResult
from shardtools.labelaudit.rows import AuditRows, choose_rows
from shardtools.labelaudit.run import audit_dataset
from shardtools.labelaudit.summary import SUMMARY_FILE
from shardtools.labelaudit.tables import NOISE_COLUMNS

__all__ = [
    "NOISE_COLUMNS",
    "SUMMARY_FILE",
    "AuditRows",
    "LabelAuditOptions",
    "LabelAuditResult",
    "TrainingMargins",
    "audit_dataset",
    "choose_rows",
    "read_margins",
]
