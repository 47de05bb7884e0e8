"""The audit of labels: which are likely wrong, what they may be instead, and how sure that is on this dataset."""

from shardtools.audit.auditing import SCORES, Audit, audit_labels
from shardtools.audit.calibration import Calibration, Cut, Interval
from shardtools.audit.confident import ConfidentJoint, confident_joint, prune_by_noise_rate
from shardtools.audit.dynamics import area_under_margin
from shardtools.audit.options import AuditOptions

__all__ = [
    "SCORES",
    "Audit",
    "AuditOptions",
    "Calibration",
    "ConfidentJoint",
    "Cut",
    "Interval",
    "area_under_margin",
    "audit_labels",
    "confident_joint",
    "prune_by_noise_rate",
]
