"""Multinomial logistic regression on features, with L2 regularization.

Owns one objective, scikit-learn's: C times the weighted sum of cross-entropies plus half the squares of the weights,
the intercepts free. It is divided by C and the sum of sample weights, which moves no minimum. Products of matrices are
float32, sums of losses float64: half the time and memory, and coefficients of about five digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from shardtools.arrays import Float32s, Float64s, Int64s
from shardtools.errors import OptionError
from shardtools.features.checking import Features, check_features

MAX_ITERATIONS = 1000

# Below scikit-learn's 1e-4, which may end points of accuracy from the minimum where C is large: there the loss is all
# but flat, and the gradient that is left goes with the strength of the penalty.
_GRADIENT, _LOSS = 1e-6, 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linear:
    """A linear classifier.

    Attributes:
        weights: float32 [C, D].
        intercept: float32 [C].
    """

    weights: Float32s
    intercept: Float32s

    def logits(self, features: Features) -> Float32s:
        """Of each class, float32 [N, C], of features [N, D]."""
        return np.asarray(features.astype(np.float32, copy=False) @ self.weights.T + self.intercept, np.float32)

    def predict(self, features: Features) -> Int64s:
        """The likeliest class, int64 [N]; of equal ones the lower."""
        return np.asarray(self.logits(features).argmax(axis=1), np.int64)


def fit(
    features: Features,
    labels: Int64s,
    num_classes: int,
    C: float = 1.0,
    *,
    weights: npt.ArrayLike | None = None,
    start: Linear | None = None,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float | None = None,
) -> Linear:
    """The classifier of least loss.

    Args:
        features: [N, D], any floating type; of about unit variance, else many steps are needed.
        labels: Class of each, 0 to `num_classes` - 1; a class without a sample gets small weights and a low intercept.
        num_classes: How many.
        C: As scikit-learn defines it: greater is freer.
        weights: Of the samples, not negative, [N]; 1 each without.
        start: A classifier of the same classes and features to start from; it changes the time alone.
        max_iterations: Steps of L-BFGS at the most.
        tolerance: Greatest component of the gradient of the mean loss that ends it; a hundredfold of a millionth costs
            a fifth. `None`: as near to the minimum as accuracies can show.

    Raises:
        OptionError: Shapes do not fit, a label is out of range, a value is not finite, or C is not positive.
    """
    check_features(features)
    masses = _masses(weights, len(features))
    _check(features, labels, num_classes, C, start)
    # The intercepts are free, so features may be centered: the minimum stays, and far fewer steps lead to it.
    center = (masses @ features.astype(np.float32, copy=False)) / masses.sum()
    centered = np.asarray(features - center, np.float32)
    basis = _basis(centered)
    inner = centered if basis is None else np.asarray(centered @ basis, np.float32)
    first = np.zeros((inner.shape[1] + 1, num_classes))
    if start is not None:
        first[:-1] = start.weights.T if basis is None else basis.T @ start.weights.T
        first[-1] = start.intercept + start.weights @ center
    strength = 1 / (C * float(masses.sum()))
    found = _minimize(inner, labels, masses, strength, first, max_iterations, tolerance)
    inner_weights = found[:-1].astype(np.float32)
    solved = np.ascontiguousarray((inner_weights if basis is None else basis @ inner_weights).T)
    return Linear(weights=solved, intercept=np.asarray(found[-1] - solved @ center, np.float32))


def _basis(centered: Float32s) -> Float32s | None:
    """An orthonormal basis [D, N] of what few rows span; `None` where it would save nothing.

    Weights of least norm are sums of rows, so the minimum lies in their span and a rotation into it is exact.
    """
    num_rows, dim = centered.shape
    if 4 * num_rows > dim:
        return None
    return np.asarray(np.linalg.qr(centered.T)[0], np.float32)


def _minimize(
    features: Float32s,
    labels: Int64s,
    masses: Float32s,
    strength: float,
    first: Float64s,
    max_iterations: int,
    tolerance: float | None,
) -> Float64s:
    """Coefficients [P + 1, C], intercepts last, of least mean cross-entropy plus strength / 2 times squared weights."""
    rows = np.arange(len(labels))
    shares = masses / masses.sum()

    def loss_and_gradient(flat: Float64s) -> tuple[float, Float64s]:
        coefficients = flat.reshape(first.shape)
        logits = features @ coefficients[:-1].astype(np.float32) + coefficients[-1].astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        own = logits[rows, labels].astype(np.float64)
        exponentials = np.exp(logits, out=logits)
        # The label's share less one is what the others have: taken from 1, float32 could not tell it from 0.
        exponentials[rows, labels] = 0
        others = exponentials.sum(axis=1, dtype=np.float64)
        sums = others + np.exp(own)
        loss = float(np.dot(shares.astype(np.float64), np.log(sums) - own))
        # From here the probabilities less one at the label, times each sample's share of the mass.
        exponentials *= (shares / sums).astype(np.float32)[:, None]
        exponentials[rows, labels] = -shares * (others / sums)
        gradient = np.empty(first.shape)
        gradient[:-1] = features.T @ exponentials
        gradient[:-1] += strength * coefficients[:-1]
        gradient[-1] = exponentials.sum(axis=0, dtype=np.float64)
        return loss + strength / 2 * float(np.vdot(coefficients[:-1], coefficients[:-1])), gradient.ravel()

    if tolerance is None:
        ends = {"gtol": min(_GRADIENT, strength / 10), "ftol": min(_LOSS, strength / 100)}
    else:
        ends = {"gtol": tolerance, "ftol": _LOSS}
    found = optimize.minimize(
        loss_and_gradient,
        first.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iterations, **ends},
    )
    return np.asarray(found.x.reshape(first.shape), np.float64)


def _masses(weights: npt.ArrayLike | None, num_rows: int) -> Float32s:
    if weights is None:
        return np.ones(num_rows, np.float32)
    found = np.asarray(weights, np.float32)
    if found.shape != (num_rows,) or not np.isfinite(found).all() or found.min() < 0 or found.sum() <= 0:
        raise OptionError(
            f"weights of samples are {num_rows} finite numbers from 0 with a positive sum, found {found.shape}: give "
            "one a sample"
        )
    return found


def _check(features: Features, labels: Int64s, num_classes: int, C: float, start: Linear | None) -> None:
    if not C > 0 or float("inf") == C:
        raise OptionError(f"C is positive and finite, found {C}: give a number such as 1")
    if labels.shape != (len(features),) or num_classes < 2 or not 0 <= labels.min() <= labels.max() < num_classes:
        raise OptionError(
            f"expected a label from 0 to {num_classes - 1} for each of {len(features)} features, and two classes at "
            f"least, found {labels.shape[0] if labels.ndim else 0} labels up to {labels.max()}"
        )
    if start is not None and start.weights.shape != (num_classes, features.shape[1]):
        raise OptionError(
            f"start has weights {start.weights.shape}, expected {(num_classes, features.shape[1])}: leave it out"
        )
