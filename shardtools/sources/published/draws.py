"""Splits that a study draws: which images of a class, by NumPy's legacy generator as the study called it.

Owns the order of the calls, which is what makes a draw repeatable: one `RandomState` a set, class after class, each
call a `choice` without replacement. NumPy keeps the stream of `RandomState` as it is (NEP 19), so `default_rng`, which
may change, is not used here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def draw_a_class(labels: Sequence[int], num_classes: int, *, seed: int, share: float = 0.2) -> set[int]:
    """Positions of the images that are held out: `int(share * n)` of the n of each class.

    As in the training scripts of Fang, Kornblith and Schmidt, "Does progress on ImageNet transfer to real-world
    datasets?" (2023): `numpy.random.seed(seed)`, then `numpy.random.choice(positions, int(share * n), replace=False)`
    for class 0, 1, ...

    Args:
        labels: Of all images in the order of their list.
        num_classes: Classes.
        seed: Of the generator.
        share: Of each class, 0 to 1.
    """
    random = np.random.RandomState(seed)
    of_class: list[list[int]] = [[] for _ in range(num_classes)]
    for position, label in enumerate(labels):
        of_class[label].append(position)
    held_out: set[int] = set()
    for positions in of_class:
        # A class without an image is not asked for: `choice` of nothing is an error there, and takes nothing here.
        if positions:
            held_out.update(random.choice(positions, int(share * len(positions)), replace=False).tolist())
    return held_out


def draw_folds(folds_of_sets: Iterable[Iterable[int]], *, seed: int, share: float = 0.8) -> list[set[int]]:
    """The folds of each set that are trained on: `int(share * n)` of its n folds from 0 on.

    One stream for all sets in their order, as the study's script for melanoma draws 2020's folds and then 2019's. It
    takes them out of a Python set, whose order is rising for the folds that there are.

    Args:
        folds_of_sets: Of each set the fold of every row; those below 0 are in none.
        seed: Of the generator.
        share: Of the folds, 0 to 1.
    """
    random = np.random.RandomState(seed)
    drawn = []
    for folds in folds_of_sets:
        known = sorted({fold for fold in folds if fold >= 0})
        drawn.append(
            set(random.choice(known, size=int(share * len(known)), replace=False).tolist()) if known else set()
        )
    return drawn


def shuffled_classes(counts: Sequence[int], *, seed: int) -> list[list[int]]:
    """An order of the images of each class, class after class from one generator: positions within the class."""
    random = np.random.RandomState(seed)
    return [random.permutation(count).tolist() for count in counts]
