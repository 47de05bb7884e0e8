"""Means of classes, and how near samples are to them.

Owns the geometry: features of length 1, means scaled to length 1, cosines. A sample is measured against the mean of its
own class without itself, or it would pull that mean to its side: of ten samples each would hold a tenth of it. The
price: a class with one sample has no such mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from shardtools.arrays import Float32s, Float64s, Int64s
from shardtools.errors import OptionError
from shardtools.features.neighbors.exact import Table, load

ROWS_PER_BLOCK = 2048
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassMeans:
    """Classes of a table of features.

    Attributes:
        classes: Class indexes that occur, rising, [C].
        counts: Samples of each, [C].
        sums: Sums of their features of length 1, [C, D].
    """

    classes: Int64s
    counts: Int64s
    sums: Float64s

    @property
    def means(self) -> Float32s:
        """Means scaled to length 1, [C, D]; zeros where samples cancel out."""
        norms = np.linalg.norm(self.sums, axis=1, keepdims=True)
        return (self.sums / np.where(norms > 0, norms, 1)).astype(np.float32)

    def place_of(self, labels: Int64s) -> Int64s:
        """Place of each label in `classes`, -1 where it is not among them."""
        places = np.minimum(np.searchsorted(self.classes, labels), len(self.classes) - 1)
        return np.where(self.classes[places] == labels, places, -1)


def class_means(table: Table, labels: Int64s) -> ClassMeans:
    """Means of the classes that occur.

    Args:
        table: Features [N, D].
        labels: Class indexes, [N]; those below 0 are no class.

    Raises:
        OptionError: No sample has a class.
        DatasetError: A feature is not finite.
    """
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    if not len(classes):
        raise OptionError("nearest classes need labels, found no sample with one")
    sums = np.zeros((len(classes), table.shape[1]))
    for start in range(0, len(table), ROWS_PER_BLOCK):
        block, here = load(table, start, start + ROWS_PER_BLOCK, "cosine"), labels[start : start + ROWS_PER_BLOCK]
        # Rows of a class side by side, so that one call sums them all; those without a class come first and are cut.
        order = np.argsort(here, kind="stable")
        order = order[here[order] >= 0]
        if not len(order):
            continue
        found, firsts = np.unique(here[order], return_index=True)
        sums[np.searchsorted(classes, found)] += np.add.reduceat(block[order].astype(np.float64), firsts, axis=0)
    return ClassMeans(classes=classes.astype(np.int64), counts=counts.astype(np.int64), sums=sums)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeanScores:
    """How near each sample is to class means. Places are those of `ClassMeans.classes`.

    Attributes:
        nearest: Place of the nearest class, [N].
        nearest_similarity: Its cosine, [N].
        other: Place of the nearest class but the own one, [N]; the nearest where there is no own one.
        other_similarity: Its cosine, [N]; NaN where there is no other class.
        own_similarity: Cosine to the own class, [N]; NaN where there is none.
        own_rank: 1 where the own class is the nearest, [N]; 0 where there is none.
    """

    nearest: Int64s
    nearest_similarity: Float32s
    other: Int64s
    other_similarity: Float32s
    own_similarity: Float32s
    own_rank: Int64s


def mean_scores(table: Table, own: Int64s, means: ClassMeans, *, leave_one_out: bool) -> MeanScores:
    """Cosines of samples to class means.

    Args:
        table: Features [N, D].
        own: Place of each sample's own class in `means.classes`, -1 for none, [N].
        means: Of the classes.
        leave_one_out: Whether the samples are among those of `means`; the own class then counts without the sample.
    """
    parts = [
        _block_scores(
            load(table, start, start + ROWS_PER_BLOCK, "cosine"),
            own[start : start + ROWS_PER_BLOCK],
            means,
            leave_one_out,
        )
        for start in range(0, len(table), ROWS_PER_BLOCK)
    ]
    names = MeanScores.__slots__
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return MeanScores(**columns)


def _block_scores(block: Float32s, own: Int64s, means: ClassMeans, leave_one_out: bool) -> MeanScores:
    scores: Float32s = block @ means.means.T
    lines = np.arange(len(block))
    has_own = own >= 0
    # The own class's score is replaced before anything is ranked, or each sample would be judged by a mean that holds
    # it.
    mine = _own_similarity(block, own, means, scores, leave_one_out)
    scores[lines[has_own], own[has_own]] = np.where(np.isnan(mine[has_own]), -np.inf, mine[has_own])
    nearest = scores.argmax(axis=1)
    nearest_similarity = scores[lines, nearest].copy()
    rank = np.where(np.isnan(mine), 0, 1 + (scores > np.nan_to_num(mine, nan=np.inf)[:, None]).sum(axis=1))
    # Now without the own class: the nearest that is left is what the sample may be mistaken for.
    scores[lines[has_own], own[has_own]] = -np.inf
    other = scores.argmax(axis=1)
    other_similarity = scores[lines, other]
    return MeanScores(
        nearest=nearest,
        nearest_similarity=nearest_similarity,
        other=other,
        other_similarity=np.where(np.isneginf(other_similarity), np.nan, other_similarity).astype(np.float32),
        own_similarity=mine,
        own_rank=rank.astype(np.int64),
    )


def _own_similarity(block: Float32s, own: Int64s, means: ClassMeans, scores: Float32s, leave_one_out: bool) -> Float32s:
    """Cosine to the own class; NaN where there is none, or nothing is left of it."""
    has_own = own >= 0
    found = np.full(len(block), np.nan, np.float32)
    if not leave_one_out:
        found[has_own] = scores[np.flatnonzero(has_own), own[has_own]]
        return found
    # The mean without the sample: its sum is S - x, so x.(S - x) and |S - x| follow from x.S, |S| and |x|.
    rows = block[has_own].astype(np.float64)
    sums = means.sums[own[has_own]]
    products, squares = np.einsum("ij,ij->i", rows, sums), np.einsum("ij,ij->i", rows, rows)
    rest = np.maximum(np.einsum("ij,ij->i", sums, sums) - 2 * products + squares, 0)
    usable = (means.counts[own[has_own]] > 1) & (rest > 1e-12)
    found[has_own] = np.where(usable, (products - squares) / np.sqrt(np.where(usable, rest, 1)), np.nan)
    return found


def check_sizes(means: ClassMeans, names: dict[int, str], where: str) -> None:
    """Refuses classes with one sample.

    Raises:
        OptionError: The message names the first few.
    """
    lonely = [names.get(label, str(label)) for label in means.classes[means.counts < 2].tolist()]
    if lonely:
        shown = ", ".join(lonely[:_SHOWN]) + (", ..." if len(lonely) > _SHOWN else "")
        raise OptionError(
            f"a class of {where} has at least 2 samples to be compared with, found 1 in {len(lonely)} of "
            f"{len(means.classes)} classes ({shown}): allow_small (--allow-small) leaves their own distances empty"
        )
