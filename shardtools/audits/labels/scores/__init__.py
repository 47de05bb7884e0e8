"""The audit of labels: which are likely wrong, what they may be instead, and how sure that is on this dataset."""

from typing import TYPE_CHECKING

from shardtools.audits.labels.scores.options import AuditOptions
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.audits.labels.scores.auditing import SCORES, Audit, audit_labels
    from shardtools.audits.labels.scores.calibration import Calibration, Cut, Interval
    from shardtools.audits.labels.scores.checking import check_encoder, check_probabilities
    from shardtools.audits.labels.scores.confident import ConfidentJoint, confident_joint, prune_by_noise_rate
    from shardtools.audits.labels.scores.dynamics import area_under_margin
    from shardtools.audits.labels.scores.ranging import Estimators
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "SCORES",
    "Audit",
    "AuditOptions",
    "Calibration",
    "ConfidentJoint",
    "Cut",
    "Estimators",
    "Interval",
    "area_under_margin",
    "audit_labels",
    "check_encoder",
    "check_probabilities",
    "confident_joint",
    "prune_by_noise_rate",
]
