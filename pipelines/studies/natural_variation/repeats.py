"""Figures of trainings, over their seeds.

Owns the mean over seeds, with Student's interval. One training has the interval of its objects instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from shardtools.evaluation.variation import Estimate
from shardtools.pipelines.studies.natural_variation.measured import Key, Measured
from shardtools.pipelines.studies.natural_variation.plan import CANONICAL_SETTING, MAIN, Training
from shardtools.pipelines.studies.student import student_interval


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
    if len(values) == 1:
        return figures[0]
    low, high = student_interval(values)
    return Estimate(value=math.fsum(values) / len(values), low=low, high=high)
