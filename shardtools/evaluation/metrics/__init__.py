"""Metrics: arrays in, values out, each with the source of its formula. Shares are 0 to 1."""

from typing import TYPE_CHECKING

from shardtools.evaluation.metrics.declared import METRICS, MetricFacts, printed_value
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.metrics.accuracy import (
        background_gap,
        top_k_accuracy,
    )
    from shardtools.evaluation.metrics.calibration import (
        Calibration,
        aurra,
        expected_calibration_error,
        mad_calibration_error,
        measure_calibration,
        rms_calibration_error,
        soft_f1,
    )
    from shardtools.evaluation.metrics.confusion import (
        confusion_matrix,
        macro_f1,
        macro_f1_of_sets,
        mean_class_accuracy,
        quadratic_weighted_kappa,
        tuned_thresholds,
    )
    from shardtools.evaluation.metrics.correlation import (
        log_odds,
        normalized_slope,
        pearson,
        slope,
        spearman,
        spread_slope,
    )
    from shardtools.evaluation.metrics.corruption import (
        corruption_errors,
        errors_by_corruption,
        mean_corruption_error,
        mean_error,
        relative_mean_corruption_error,
    )
    from shardtools.evaluation.metrics.cue_conflict import DECISIONS, ShapeBias, decide_category, shape_bias
    from shardtools.evaluation.metrics.factors import error_ratio, error_ratios, factor_shares, worst_factor
    from shardtools.evaluation.metrics.intervals import Share, bootstrap_interval, wilson_interval
    from shardtools.evaluation.metrics.ranking import average_precision, macro_roc_auc, roc_auc
    from shardtools.evaluation.metrics.relation import (
        RELATIONS,
        Estimated,
        LeftOut,
        Relation,
        compare_left_out,
        relate,
    )
    from shardtools.evaluation.metrics.sequences import (
        PERTURBATIONS,
        flip_probability,
        mean_normalized,
        top5_distance,
        zipf_distance,
    )
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "DECISIONS",
    "METRICS",
    "PERTURBATIONS",
    "RELATIONS",
    "Calibration",
    "Estimated",
    "LeftOut",
    "MetricFacts",
    "Relation",
    "ShapeBias",
    "Share",
    "aurra",
    "average_precision",
    "background_gap",
    "bootstrap_interval",
    "compare_left_out",
    "confusion_matrix",
    "corruption_errors",
    "decide_category",
    "error_ratio",
    "error_ratios",
    "errors_by_corruption",
    "expected_calibration_error",
    "factor_shares",
    "flip_probability",
    "log_odds",
    "macro_f1",
    "macro_f1_of_sets",
    "macro_roc_auc",
    "mad_calibration_error",
    "mean_class_accuracy",
    "mean_corruption_error",
    "mean_error",
    "mean_normalized",
    "measure_calibration",
    "normalized_slope",
    "pearson",
    "printed_value",
    "quadratic_weighted_kappa",
    "relate",
    "relative_mean_corruption_error",
    "rms_calibration_error",
    "roc_auc",
    "shape_bias",
    "slope",
    "soft_f1",
    "spearman",
    "spread_slope",
    "top5_distance",
    "top_k_accuracy",
    "tuned_thresholds",
    "wilson_interval",
    "worst_factor",
    "zipf_distance",
]
