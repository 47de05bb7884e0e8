"""What the seed found, beside which this study's figures stand: its tables, and numbers of its text.

Owns the reading of the published tables for figures and findings. Numbers of the text have their section; those that
the paper only draws (figures 1, 5, 6 and 7) have no number here, as a guess from a picture would look like one.
"""

from __future__ import annotations

from functools import cache

from shardtools.evaluation.published import read_rows
from shardtools.rendering import FACTORS

AVERAGE = "Average"

LINEAR, FINETUNE = "linear", "finetune"

SLOPES = {LINEAR: (0.441, 0.020), FINETUNE: (0.359, 0.035)}
"""Mean and deviation over factors of the slopes of 5.2, over the share of instances that vary (section 5.2)."""

OTHERS_AT_50 = (1.0, 3.0)
"""Points that the gaps of other factors change by when half of the instances vary in one (section 5.2)."""

DIP = {"position": (-5.0, -40.0), "lighting": (-2.0, -40.0)}
"""Gaps without variation and with 5 % of instances varying, points (section 5.2)."""


@cache
def table1(mode: str) -> dict[str, dict[str, float]]:
    """Network -> factor -> gap in points, with "train" and "canonical" accuracy in percent; `AVERAGE` too.

    Args:
        mode: `LINEAR` or `FINETUNE`.
    """
    found = {}
    for row in read_rows("seed002_table1"):
        if row["mode"] == mode:
            own = {factor: float(row[f"{factor}_gap"]) for factor in FACTORS}
            found[row["model"]] = own | {"train": float(row["train_acc"]), "canonical": float(row["heldout_acc"])}
    return found


@cache
def table3() -> dict[str, dict[str, float]]:
    """Network -> factor -> gap of unseen classes less that of seen ones, points, fine-tuned; `AVERAGE` too."""
    return {
        row["model"]: {factor: float(row[f"{factor}_gap"]) for factor in FACTORS} for row in read_rows("seed002_table3")
    }


def real_photos() -> dict[str, float]:
    """ImageNet-X's factors on real photographs: factor -> published error ratio of ResNet-50."""
    rows = read_rows("imagenet_x_resnet50")
    return {row["factor"]: float(row["published_error_ratio"]) for row in rows if row["published_error_ratio"]}
