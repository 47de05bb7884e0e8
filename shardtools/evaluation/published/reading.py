"""The shipped files of published figures.

Owns where they lie and how they are read. They are small CSV files that people can check against their sources, which
`data/PROVENANCE.md` names; the price is that numbers are parsed at each start that asks for them (a few milliseconds).
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from shardtools.corruption import CORRUPTION_SETS, IMAGENET_C

CORRUPTIONS = CORRUPTION_SETS[IMAGENET_C]
"""The 15 of ImageNet-C's mean (Hendrycks and Dietterich 2019, section 4.1), in the order of its table."""

SEVERITIES = ("1", "2", "3", "4", "5")

ALEXNET_CLEAN_ERROR = 1 - 0.56522
"""Top-1 error of torchvision's AlexNet on ImageNet's validation set, whose corrupted errors `alexnet_errors` has."""


def read_rows(name: str) -> list[dict[str, str]]:
    """The rows of a file in `data/`, as texts; an empty cell is an empty text.

    Args:
        name: Without its suffix.
    """
    file = resources.files("shardtools.evaluation.published").joinpath("data", f"{name}.csv")
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


@cache
def alexnet_errors() -> dict[str, npt.NDArray[np.float64]]:
    """Corruption -> AlexNet's error at severities 1 to 5, float64 `[5]`, 0 to 1: what ImageNet-C divides by.

    By the benchmark's author (hendrycks/robustness, issue 10), over 50,000 images.
    """
    return {row["corruption"]: _severities(row) for row in read_rows("alexnet_imagenet_c")}


@cache
def robustbench_errors() -> dict[str, dict[str, npt.NDArray[np.float64]]]:
    """Network -> corruption -> error at severities 1 to 5, float64 `[5]`, 0 to 1, of RobustBench's 12 networks.

    Over its 5,000 images; "AlexNet", among them, is what its mCE divides by.
    """
    found: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for row in read_rows("robustbench_imagenet_c"):
        found.setdefault(row["model"], {})[row["corruption"]] = 1 - _severities(row)
    return found


@cache
def cue_categories() -> dict[str, tuple[str, ...]]:
    """The 16 categories of the cue-conflict pictures -> the wnids of their 207 classes (Geirhos et al. 2019)."""
    found: dict[str, tuple[str, ...]] = {}
    for row in read_rows("cue_conflict_categories"):
        found[row["category"]] = (*found.get(row["category"], ()), row["wnid"])
    return found


@cache
def cue_counts() -> dict[str, tuple[int, int, int]]:
    """Network -> decisions for the shape, decisions for the texture, pictures whose cues disagree.

    Counted from the answers that the authors published (rgeirhos/texture-vs-shape, raw-data), without the pairs whose
    two categories agree.
    """
    return {
        row["model"]: (int(row["num_shape"]), int(row["num_texture"]), int(row["num_conflicts"]))
        for row in read_rows("cue_conflict_counts")
    }


def _severities(row: dict[str, str]) -> npt.NDArray[np.float64]:
    return np.array([float(row[severity]) for severity in SEVERITIES])
