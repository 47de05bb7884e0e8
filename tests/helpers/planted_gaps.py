"""A rendered world with features that give known gaps.

Three classes (by default); a canonical picture is a unit along its class. Where a factor of `MISLED` has its value, the
picture is a unit along the next class, and has a larger one along a direction of that factor and its own class, which
a classifier uses only if it has seen it: so gaps close where that very variation of that very class was learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shardtools.features import write_features
from tests.helpers.feature_datasets import encoder
from tests.helpers.rendered_datasets import VALUES, make_rendered, object_names, rows_of

MISLED: dict[str, tuple[str, Any]] = {"pose": ("pose", 90.0), "background": ("background", "sky/0")}
"""Factor -> the column and the value of it that mislead."""

GAPS = {"pose": -1 / 3, "size": 0.0, "position": 0.0, "lighting": 0.0, "background": -1 / 2}
"""Of a classifier that has seen canonical pictures alone: one value in three, and one in two, mislead."""

COMBINATIONS = [(90.0, 1.0, 0.0, 0.25, "home/0"), (-90.0, 0.5, 0.3, 0.75, "home/0")]


def planted_rows(
    num_classes: int = 3, num_objects: int = 4, grids: Sequence[str] = ("canonical", "single")
) -> list[dict[str, Any]]:
    names = object_names(num_classes, num_objects)
    values = {grid: {"all": COMBINATIONS} if grid == "all" else VALUES for grid in grids}
    return [row for grid in grids for row in rows_of(names, grid, values[grid])]


def planted_features(rows: Sequence[dict[str, Any]], seed: int = 0) -> np.ndarray:
    """float32 [N, D], with a little noise."""
    wnids = sorted({row["wnid"] for row in rows})
    count = len(wnids)
    found = 0.01 * np.random.default_rng(seed).normal(size=(len(rows), count * (1 + len(MISLED))))
    for number, row in enumerate(rows):
        label = wnids.index(row["wnid"])
        misled = [place for place, (column, value) in enumerate(MISLED.values()) if row[column] == value]
        found[number, (label + bool(misled)) % count] += 1
        for place in misled:
            found[number, count * (1 + place) + label] += 2
    return found.astype(np.float32)


def make_planted(folder: Path, rows: Sequence[dict[str, Any]], *, name: str = "own") -> str:
    """A dataset of these rows with such features."""
    url = make_rendered(folder, rows)
    features = planted_features(rows)
    write_features(url, name, features, [row["key"] for row in rows], encoder=encoder(features.shape[1]))
    return url
