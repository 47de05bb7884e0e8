"""From what an evaluation keeps of its logits to the metric that a run is judged by.

Owns which part of the logits a metric needs, and the check before the first epoch that a split has a value of it at
all. The metrics themselves are `shardtools.evaluation.metrics`.
"""

from __future__ import annotations

import numpy as np
import torch

from shardtools.arrays import Bools, Float64s, Int64s
from shardtools.errors import OptionError
from shardtools.evaluation.metrics import (
    macro_f1,
    macro_f1_of_sets,
    macro_roc_auc,
    quadratic_weighted_kappa,
    roc_auc,
    tuned_thresholds,
)


def kept_of(metric: str, logits: torch.Tensor, *, is_sets: bool) -> torch.Tensor:
    """What a metric needs of the logits [N, C].

    Returns:
        The logits of sets of classes; of one label a sample the answers, int64 [N], or for ROC AUC the logits of each
        class against all others, float64 [N, C]: in the order of its probabilities, and equal only where these are
        (a probability of nearly one has no room for differences).
    """
    if is_sets:
        return logits.double()
    if metric != "roc_auc":
        return logits.argmax(1)
    values = logits.double()
    if values.shape[1] == 1:
        return values
    others = [values[:, [*range(number), *range(number + 1, values.shape[1])]] for number in range(values.shape[1])]
    return torch.stack([values[:, number] - rest.logsumexp(1) for number, rest in enumerate(others)], 1)


def measure_answers(metric: str, labels: Int64s, kept: Int64s | Float64s, num_classes: int, *, where: str) -> float:
    """The value of "kappa", "macro_f1" or "roc_auc" of one label a sample; of two classes ROC AUC is the second one's.

    Raises:
        OptionError: It has none on this split, which the message names by `where`.
    """
    try:
        if metric == "kappa":
            return quadratic_weighted_kappa(labels, kept, num_classes)
        if metric == "macro_f1":
            return macro_f1(labels, kept, num_classes)
        if num_classes == 2:
            return roc_auc(labels == 1, kept[:, 1])
        return macro_roc_auc(labels[:, None] == np.arange(num_classes), kept)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None


def measure_sets(
    metric: str, sets: Bools, scores: Float64s, thresholds: Float64s | None, *, where: str
) -> tuple[dict[str, float], Float64s]:
    """Macro F1 and, where it is asked for, ROC AUC of sets of classes; and the thresholds that F1 was measured with.

    Args:
        metric: "macro_f1" or "roc_auc".
        sets: The classes of each sample, [N, C].
        scores: Their logits, [N, C].
        thresholds: Of these, [C]; `None` tunes them here.
        where: Names the split in errors.

    Raises:
        OptionError: ROC AUC has no value on this split.
    """
    used = tuned_thresholds(sets, scores) if thresholds is None else thresholds
    values = {"macro_f1": macro_f1_of_sets(sets, scores >= used)}
    if metric == "roc_auc":
        try:
            values["roc_auc"] = macro_roc_auc(sets, scores)
        except OptionError as error:
            raise OptionError(f"{where}: {error}") from None
    return values, used


def check_measurable(metric: str, labels: Int64s, sets: Bools | None, num_classes: int, *, where: str) -> None:
    """That a metric has a value on a split, whatever the network answers; before hours of training.

    Raises:
        OptionError: It has none, because a class has no sample or all have one.
    """
    if metric == "roc_auc":
        has = labels[:, None] == np.arange(num_classes) if sets is None else sets
        nothing = np.zeros(has.shape)
        if sets is None:
            measure_answers(metric, labels, nothing, num_classes, where=where)
        else:
            measure_sets(metric, has, nothing, None, where=where)
    elif metric == "kappa":
        measure_answers(metric, labels, labels, num_classes, where=where)
