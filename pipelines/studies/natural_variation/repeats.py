"""Figures of trainings, over their seeds.

Owns Student's interval of a mean over few seeds. One training has the interval of its objects instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from shardtools.evaluation.variation import Estimate
from shardtools.pipelines.studies.natural_variation.measured import Key, Measured
from shardtools.pipelines.studies.natural_variation.plan import CANONICAL_SETTING, MAIN, Training

_T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Quantiles of Student's t that 95 % lie between, for 1 to 9 degrees of freedom; of more the last, a little wide."""


def model_name(training: Training) -> str:
    """Name of a trained network among the measured models."""
    return training.name.replace("-", "_")


def overlay_name(training: Training) -> str:
    """Name of a training's predictions in the main world."""
    return f"predictions_{model_name(training)}"


def trained_figure(found: Measured, training: Training, metric: str, measured: str) -> Estimate | None:
    """A figure of one training, by its predictions."""
    key = Key(world=MAIN, setting=CANONICAL_SETTING, metric=metric, measured=measured)
    return found.get(model_name(training), key)


def over_seeds(found: Measured, trainings: Sequence[Training], metric: str, measured: str) -> Estimate | None:
    """Mean over the seeds of a training and Student's interval; of a single one its own, over objects."""
    figures = [trained_figure(found, one, metric, measured) for one in trainings]
    values = [one.value for one in figures if one is not None]
    if not values or len(values) < len(figures):
        return None
    return figures[0] if len(values) == 1 else student(values)


def student(values: Sequence[float]) -> Estimate:
    """Mean of two values or more, with Student's interval of 95 %."""
    count = len(values)
    mean = math.fsum(values) / count
    variance = math.fsum((one - mean) ** 2 for one in values) / (count - 1)
    half = _T_95[min(count - 1, len(_T_95)) - 1] * math.sqrt(variance / count)
    return Estimate(value=mean, low=mean - half, high=mean + half)
