"""How often labels are contradicted where pictures are clear, and where they are not.

Owns the one thing that tells noise of the class from noise of the sample. A picture is the clearer the farther the
mixture's likeliest class is ahead of the next, whatever label was given. Where it is clear the models hardly err, so
labels that they contradict there are wrong ones: noise that follows the class is as frequent there as anywhere, noise
that follows the sample rises from there on, and flips of the least clear pictures are not there at all. The price: a
quarter of the samples says it, so of 2,000 samples with 5 % wrong labels, 25 labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from shardtools.arrays import Float32s, Float64s, Int64s

_PARTS = 4
_AS_FEARED = 2.0
"""How many times as often as they expect the models may err, where a label is called surely wrong."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clarity:
    """What is contradicted, from clear to unclear pictures.

    Attributes:
        contradicted: Share of labels other than the likeliest class in each quarter, the clearest first, [4].
        expected: Share of it that would be the models' own errors if they are as good as they say, [4].
        wrong: Least probability that each label is wrong: 0 where it is the likeliest class, elsewhere what of the
            contradiction is left when the models err twice as often as they say, [N].
    """

    contradicted: Float64s
    expected: Float64s
    wrong: Float64s

    @property
    def noise(self) -> float:
        """Share of wrong labels among the clearest quarter."""
        return max(0.0, float(self.contradicted[0] - self.expected[0]))

    @property
    def unexpected(self) -> float:
        """Share of what is contradicted in the clearer half that is no error of the models, 0 to 1."""
        found = float(self.contradicted[:2].sum())
        return max(0.0, 1 - float(self.expected[:2].sum()) / found) if found > 0 else 0.0


def by_clarity(probabilities: Float32s, labels: Int64s) -> Clarity:
    """Orders pictures by how clear they are, and counts.

    Args:
        probabilities: P(true | x), whatever the given label is, [N, C].
        labels: Given labels, [N].
    """
    top = np.maximum(np.partition(probabilities, -2, axis=1)[:, -2:].astype(np.float64), 1e-30)
    order = np.argsort(np.log(top[:, 0]) - np.log(top[:, 1]), kind="stable")
    against = (probabilities.argmax(axis=1) != labels).astype(np.float64)
    errors = 1 - np.minimum(top[:, 1], 1)
    parts = np.array_split(order, _PARTS)
    return Clarity(
        contradicted=np.array([against[part].mean() for part in parts]),
        expected=np.array([errors[part].mean() for part in parts]),
        wrong=_surely_wrong(against, errors, order),
    )


def all_against(models: Sequence[Float32s], labels: Int64s) -> float:
    """Share of labels against which all models, each [N, C], name one and the same class."""
    named = [model.argmax(axis=1) for model in models]
    alike = np.all([one == named[0] for one in named], axis=0)
    return float((alike & (named[0] != labels)).mean())


def _surely_wrong(against: Float64s, errors: Float64s, order: npt.NDArray[np.int64]) -> Float64s:
    # Both rise as pictures get unclear, so that the shares around a sample are those of such pictures.
    shares, feared = np.empty(len(order)), np.empty(len(order))
    shares[order] = optimize.isotonic_regression(against[order]).x
    feared[order] = _AS_FEARED * optimize.isotonic_regression(errors[order]).x
    return np.asarray(np.where(against > 0, np.clip(1 - feared / np.maximum(shares, 1e-9), 0, 1), 0))
