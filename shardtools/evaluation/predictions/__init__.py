"""Predictions: what a model says of every image, as an overlay that metrics and SQL read."""

from typing import TYPE_CHECKING

from shardtools.evaluation.predictions.options import PredictOptions, PredictResult, predictions_name, shortened
from shardtools.evaluation.predictions.variants import CLEAN, Variant, variants_of
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.predictions.batch_plan import BatchPlan, batches_per_part
    from shardtools.evaluation.predictions.launch import Prediction, predict, require_prediction_libraries
    from shardtools.evaluation.predictions.opening import Predictions, open_predictions, prediction_names
    from shardtools.evaluation.predictions.plan import (
        ALL_LOGITS_BYTES,
        MADE_BY,
        MADE_BY_PROBE,
        PREDICTIONS_VERSION,
        PredictionPlan,
    )
    from shardtools.evaluation.predictions.rows import COLUMNS, NO_LABEL, Judged, judge, prediction_table
    from shardtools.evaluation.predictions.writer import (
        Done,
        PredictionWriter,
        claim,
        commit_predictions,
        is_committed,
        predictions_storage,
        read_plan,
        unfinished,
        written,
    )
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "ALL_LOGITS_BYTES",
    "CLEAN",
    "COLUMNS",
    "MADE_BY",
    "MADE_BY_PROBE",
    "NO_LABEL",
    "PREDICTIONS_VERSION",
    "BatchPlan",
    "Done",
    "Judged",
    "PredictOptions",
    "PredictResult",
    "Prediction",
    "PredictionPlan",
    "PredictionWriter",
    "Predictions",
    "Variant",
    "batches_per_part",
    "claim",
    "commit_predictions",
    "is_committed",
    "judge",
    "open_predictions",
    "predict",
    "prediction_names",
    "prediction_table",
    "predictions_name",
    "predictions_storage",
    "read_plan",
    "require_prediction_libraries",
    "shortened",
    "unfinished",
    "variants_of",
    "written",
]
