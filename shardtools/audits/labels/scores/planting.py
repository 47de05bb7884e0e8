"""Labels made wrong on purpose, so that it is known which are.

Owns the kinds of planted noise: to any other class alike, to the nearest class, as the audit believes the noise of
this dataset to be, and, in a planting of its own, on pictures that are hard: to the class that the models find second
likeliest, the likelier that is. Samples that look clean are likelier to be taken (a wrong label made wrong again tells
nothing). The price: where real labels are wrong because the picture is hard, the hardest of the others were left right
by people who saw more than the models do, and what is planted on them is harder still.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Float32s, Int64s

KINDS = ("symmetric", "nearest", "estimated")
HARD = len(KINDS)
"""Number of the kind that stands in a planting of its own."""
_SHARES = (0.15, 0.15, 0.7)
_HARDNESS = 0.5
"""Power of the second class's probability by which hard pictures are drawn: below 1, so that some easier ones are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planted:
    """A dataset with known wrong labels.

    Attributes:
        rate: Share of samples that were flipped.
        labels: All labels, [N].
        rows: Flipped samples, rising, [n].
        kinds: Index into `KINDS` of each flip, or `HARD`, [n].
    """

    rate: float
    labels: Int64s
    rows: Int64s
    kinds: Int64s


def plant(
    labels: Int64s,
    posterior: Float32s,
    transition: npt.NDArray[np.float64],
    *,
    rate: float,
    seed: tuple[int, ...],
) -> Planted:
    """Flips a share of labels.

    Args:
        labels: Given labels, [N].
        posterior: P(true | x, given), [N, C].
        transition: P(given | true), [C, C].
        rate: Share of samples, 0 to 0.5.
        seed: Of the draw.
    """
    num_samples, num_classes = posterior.shape
    rng = np.random.default_rng(seed)
    clean = np.maximum(posterior[np.arange(num_samples), labels].astype(np.float64), 1e-9)
    # The largest of log weight plus Gumbel noise: a draw without replacement in proportion to the weights.
    keys = np.log(clean) + rng.gumbel(size=num_samples)
    rows = np.sort(np.argsort(-keys, kind="stable")[: max(1, round(rate * num_samples))])
    kinds = rng.choice(len(_SHARES), size=len(rows), p=_SHARES)
    given = labels[rows]
    # All kinds for every row, then one is taken: the draws of a kind do not depend on how many rows have it.
    flipped = np.stack(
        [
            (given + rng.integers(1, num_classes, len(rows))) % num_classes,
            nearest_classes(posterior, labels)[given],
            _drawn(_off_diagonal(transition)[given], rng),
        ]
    )
    planted = labels.copy()
    planted[rows] = flipped[kinds, np.arange(len(rows))]
    return Planted(rate=rate, labels=planted, rows=rows, kinds=kinds)


def plant_hard(
    labels: Int64s, probabilities: Float32s, posterior: Float32s, *, rate: float, seed: tuple[int, ...]
) -> Planted:
    """Flips a share of labels where pictures are hard, each to the other class that is likeliest.

    Args:
        labels: Given labels, [N].
        probabilities: P(true | x), whatever the given label is, [N, C].
        posterior: P(true | x, given), [N, C].
        rate: Share of samples, 0 to 0.5.
        seed: Of the draw.
    """
    num_samples = len(labels)
    rng = np.random.default_rng(seed)
    at = np.arange(num_samples)
    others = probabilities.astype(np.float64)
    others[at, labels] = -1
    other = others.argmax(axis=1)
    clean = np.maximum(posterior[at, labels].astype(np.float64), 1e-9)
    keys = np.log(clean) + _HARDNESS * np.log(np.maximum(others[at, other], 1e-12)) + rng.gumbel(size=num_samples)
    rows = np.sort(np.argsort(-keys, kind="stable")[: max(1, round(rate * num_samples))])
    planted = labels.copy()
    planted[rows] = other[rows]
    return Planted(rate=rate, labels=planted, rows=rows, kinds=np.full(len(rows), HARD))


def nearest_classes(posterior: Float32s, labels: Int64s) -> Int64s:
    """Class -> the other class that its samples are likeliest to be, [C]."""
    num_classes = posterior.shape[1]
    nearest = np.empty(num_classes, np.int64)
    for label in range(num_classes):
        mean = posterior[labels == label].sum(axis=0)
        mean[label] = -1
        nearest[label] = mean.argmax()
    return nearest


def _off_diagonal(transition: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    off = transition + 1e-12
    np.fill_diagonal(off, 0)
    return np.asarray(off / off.sum(axis=1, keepdims=True))


def _drawn(probs: npt.NDArray[np.float64], rng: np.random.Generator) -> Int64s:
    """One class a row, drawn by the row's probabilities."""
    edges = np.cumsum(probs, axis=1)
    drawn = (rng.random(len(probs))[:, None] * edges[:, -1:] >= edges).sum(axis=1)
    return np.asarray(np.minimum(drawn, probs.shape[1] - 1), np.int64)
