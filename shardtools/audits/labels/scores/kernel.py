"""A kernel least-squares classifier and its out-of-fold log probabilities.

Owns the one model of an audit that bends: features are compared with up to 1,000 landmarks by a Gaussian kernel of the
angle (Nystroem features: Williams and Seeger, "Using the Nystroem method to speed up kernel machines", NIPS 2000) and
the targets are regressed on that. Squared loss has a closed form: the systems of all folds are factored once, and
labels that change (planted, corrected) cost two products each. The price: features are computed anew for each, block by
block, since [N, landmarks] would be the largest thing in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg

from shardtools.arrays import Float32s, Float64s, Int64s
from shardtools.audits.labels.scores.linear import log_softmax

LANDMARKS = 1000
"""At most; half of the samples where there are fewer than twice as many."""
RIDGES = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""Penalties, a sample; that of the least squared error out of fold is kept."""
_WIDTH = 1.0
_LEAST_SHARE = 1e-6
_BLOCK = 8192
_JUDGED = 20_000
_SHARPNESS = tuple(float(value) for value in np.geomspace(1.5, 60, 14))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernel:
    """A model without labels: what of it does not depend on them.

    Attributes:
        landmarks: Of unit length, [L, P].
        root: From similarities to features, [L, R].
        factors: Of each fold's system, as SciPy's `cho_factor` gives them.
        sharpness: What regressed targets are multiplied by before the softmax.
    """

    landmarks: Float32s
    root: Float32s
    factors: list[Any]
    sharpness: float

    def out_of_fold(self, features: Float32s, targets: Float32s, folds: Int64s) -> Float32s:
        """Log probabilities of each sample by a model that has not seen its target, [N, C]."""
        products = _products(self.landmarks, self.root, features, targets, folds)
        coefficients = _solve(self.factors, products)
        return log_softmax(_predict(self.landmarks, self.root, features, folds, coefficients) * self.sharpness)


def fit_kernel(features: Float32s, targets: Float32s, folds: Int64s) -> Kernel:
    """Chooses landmarks, penalty and sharpness.

    Args:
        features: In canonical order, so that rows at equal distances are a draw, [N, P].
        targets: Probabilities, [N, C].
        folds: Fold of each sample, 0 to F - 1, [N].
    """
    num_samples = len(features)
    # Canonical order is a draw without a pattern, so landmarks at equal steps are a random sample, the same each time.
    chosen = np.linspace(0, num_samples - 1, max(1, min(LANDMARKS, num_samples // 2))).astype(np.int64)
    landmarks = _unit(features[chosen])
    values, vectors = np.linalg.eigh(_similarities(landmarks, landmarks).astype(np.float64))
    # Directions in which the landmarks hardly differ would be divided by nearly nothing.
    kept = values > _LEAST_SHARE * values[-1]
    root = (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)
    # Summed once: another penalty is another factoring of these systems, other labels are another solution.
    grams = _grams(landmarks, root, features, folds)
    products = _products(landmarks, root, features, targets, folds)
    sizes = num_samples - np.bincount(folds, minlength=len(grams))
    judged = slice(0, _JUDGED)
    best: tuple[float, list[Any], Float32s] | None = None
    for ridge in RIDGES:
        factors = _factor(grams, ridge * sizes)
        found = _predict(landmarks, root, features[judged], folds[judged], _solve(factors, products))
        error = float(((found - targets[judged]) ** 2).mean())
        # Squared error, which is what is fitted; how sharp its answers are is chosen next, by likelihood.
        if best is None or error < best[0]:
            best = (error, factors, found)
    if best is None:
        raise ArithmeticError("no penalty was tried")
    sharpness = max(_SHARPNESS, key=lambda value: float(np.vdot(targets[judged], log_softmax(best[2] * value))))
    return Kernel(landmarks=landmarks, root=root, factors=best[1], sharpness=sharpness)


def _unit(features: Float32s) -> Float32s:
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12), np.float32)


def _similarities(features: Float32s, landmarks: Float32s) -> Float32s:
    """Gaussian kernel of the chord between directions, [N, L]."""
    similarities = features @ landmarks.T
    similarities -= 1
    similarities *= np.float32(2 * _WIDTH)
    return np.asarray(np.exp(similarities, out=similarities))


def _expand(landmarks: Float32s, root: Float32s, features: Float32s) -> Float32s:
    return np.asarray(_similarities(_unit(features), landmarks) @ root)


def _grams(landmarks: Float32s, root: Float32s, features: Float32s, folds: Int64s) -> list[Float64s]:
    """Each fold's own sum of outer products, [R, R]."""
    grams = [np.zeros((root.shape[1], root.shape[1])) for _ in range(int(folds.max()) + 1)]
    for start in range(0, len(features), _BLOCK):
        expanded = _expand(landmarks, root, features[start : start + _BLOCK])
        for fold, gram in enumerate(grams):
            own = expanded[folds[start : start + _BLOCK] == fold]
            gram += own.T @ own
    return grams


def _products(
    landmarks: Float32s, root: Float32s, features: Float32s, targets: Float32s, folds: Int64s
) -> list[Float64s]:
    """Each fold's own sum of products with the targets, [R, C]."""
    products = [np.zeros((root.shape[1], targets.shape[1])) for _ in range(int(folds.max()) + 1)]
    for start in range(0, len(features), _BLOCK):
        rows = slice(start, start + _BLOCK)
        expanded = _expand(landmarks, root, features[rows])
        for fold, product in enumerate(products):
            own = folds[rows] == fold
            product += expanded[own].T @ targets[rows][own]
    return products


def _factor(grams: list[Float64s], penalties: npt.NDArray[Any]) -> list[Any]:
    """Of each fold the system of all other folds."""
    total = np.sum(grams, axis=0)
    factors = []
    for gram, penalty in zip(grams, penalties.tolist(), strict=True):
        # The sum of all folds less the own: no fold is summed anew for another's model.
        system = total - gram
        system[np.diag_indices(len(system))] += penalty
        factors.append(linalg.cho_factor(system, overwrite_a=True, check_finite=False))
    return factors


def _solve(factors: list[Any], products: list[Float64s]) -> list[Float32s]:
    total = np.sum(products, axis=0)
    return [
        linalg.cho_solve(factor, total - product, check_finite=False).astype(np.float32)
        for factor, product in zip(factors, products, strict=True)
    ]


def _predict(
    landmarks: Float32s, root: Float32s, features: Float32s, folds: Int64s, coefficients: list[Float32s]
) -> Float32s:
    found = np.empty((len(features), coefficients[0].shape[1]), np.float32)
    for start in range(0, len(features), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(features)))
        expanded = _expand(landmarks, root, features[rows])
        for fold, own in enumerate(coefficients):
            held = folds[rows] == fold
            found[rows[held]] = expanded[held] @ own
    return found
