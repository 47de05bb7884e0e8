"""Gaps of 11 networks where one factor of rendered pictures varies: Ibrahim et al. 2023 (seed 002)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shardtools.evaluation.published import read_rows
from shardtools.evaluation.results.publications.row import published_row
from shardtools.evaluation.results.result import Result
from shardtools.rendering import FACTORS

AVERAGE = "Average"
"""Printed rows of the tables that are no network's."""

SEED002_PROTOCOLS = {"linear": "linear", "finetune": "fine-tuned"}


def seed002_rows() -> Iterator[Result]:
    """Rows of tables 1 and 3, their gaps by the splits of own ones; averages are not rows, as anybody can take them."""
    facts: dict[str, Any] = {
        "study": "natural-variation",
        "dataset": "rendered",
        "source": "Ibrahim et al. 2023 (arXiv 2210.13604)",
    }
    for row in read_rows("seed002_table1"):
        if row["model"] != AVERAGE:
            how = SEED002_PROTOCOLS[row["mode"]]
            for column, split in (("train_acc", "train"), ("heldout_acc", "canonical")):
                value = float(row[column]) / 100
                yield published_row(
                    row["model"], metric="top1_accuracy", value=value, split=split, protocol=how, **facts
                )
            for factor in FACTORS:
                gap = float(row[f"{factor}_gap"]) / 100
                yield published_row(
                    row["model"], metric="variation_gap", value=gap, split=factor, protocol=how, **facts
                )
    for row in read_rows("seed002_table3"):
        if row["model"] != AVERAGE:
            for factor in FACTORS:
                yield published_row(
                    row["model"],
                    metric="variation_gap",
                    value=float(row[f"{factor}_gap"]) / 100,
                    split=f"classes/{factor}/difference/{factor}",
                    protocol=SEED002_PROTOCOLS["finetune"],
                    **facts,
                )
