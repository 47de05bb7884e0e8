"""The label audit of a dataset: from its features to the overlay `label_noise` and what to expect of it."""

from typing import TYPE_CHECKING

from shardtools.audits.labels.options import LabelAuditOptions, LabelAuditResult
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.audits.labels.margins import TrainingMargins, read_margins
    from shardtools.audits.labels.rows import AuditRows, choose_rows
    from shardtools.audits.labels.run import audit_dataset
    from shardtools.audits.labels.summary import SUMMARY_FILE
    from shardtools.audits.labels.tables import NOISE_COLUMNS
else:
    __getattr__, __dir__ = on_demand(__name__)

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
