"""What features do with their dimensions: how many are used, how alike they are, how much they can tell apart.

Owns the measures over the d x d matrix of dimensions, which is summed up over blocks of rows: N may be millions. The
price: singular values come out of X^T X, so those below 1e-8 of the largest are rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shardtools.arrays import Float64s
from shardtools.errors import OptionError
from shardtools.features.checking import Features, blocks, check_features, normalized

_ROUNDING = 1e-20


def sparsity(features: Features, threshold: float = 1e-5) -> float:
    """Share of the values of l2-normalised features that are near 0, 0 to 1.

    The share of |x| < threshold over all samples and dimensions (Sariyildiz, "On the evaluation and generalization of
    visual representations", thesis 2023, sections 4.4.2 and 5.5.5, figures 4.5 and 5.6a; after Kornblith et al., "Why
    do better loss functions lead to less transferable features?", NeurIPS 2021).

    Args:
        features: [N, d], of any floating type.
        threshold: Above 0.

    Raises:
        OptionError: Features that are not finite or of another shape, or the threshold is out of range.
    """
    check_features(features)
    if not threshold > 0:
        raise OptionError(f"threshold is above 0, found {threshold}")
    near_zero = sum(int((np.abs(normalized(block)) < threshold).sum()) for block in blocks(features))
    return near_zero / features.size


def redundancy(features: Features, *, normalize: bool = True) -> float:
    """Mean absolute correlation of two dimensions of l2-normalised features, 1 / d to 1.

    R = 1/d^2 * sum over i, j of |rho(X[:, i], X[:, j])|, rho being Pearson's correlation over the samples; the diagonal
    counts (Sariyildiz, thesis, section 5.5.5, figure 5.6c; after Wang et al., "Revisiting the transferability of
    supervised pretraining: an MLP perspective", CVPR 2022). A dimension that never changes has no correlation: it
    counts as 0 with all, itself too.

    The section normalises before all four of its metrics; the figure's caption says so of two of them only. The text is
    followed.

    Args:
        features: [N, d], N at least 2, of any floating type.
        normalize: Whether rows are divided by their length first; `False` takes them as they are.

    Raises:
        OptionError: Features that are not finite or of another shape.
    """
    check_features(features, min_rows=2)
    mean = _mean(features, normalize=normalize)
    covariance = _gram(features, mean, normalize=normalize) / len(features)
    variances = np.diag(covariance)
    # Sums are rounded, so a constant's variance is not quite 0.
    scale = np.sqrt(np.where(variances > _ROUNDING * mean**2, variances, np.inf))
    return float(np.abs(covariance / scale[:, None] / scale).clip(0, 1).mean())


def coding_length(features: Features, eps_squared: float = 0.5, *, normalize: bool = True) -> float:
    """Nats that a sample needs on average to be known within a squared distance of `eps_squared`, at least 0.

    R(X, eps) = 1/2 * log det(I_d + d / (N eps^2) X^T X), natural logarithm, X l2-normalised and not centred
    (Sariyildiz, thesis, section 5.5.5, figure 5.6d, with eps^2 = 0.5; after Yu et al., "Learning diverse and
    discriminative representations via the principle of maximal coding rate reduction", NeurIPS 2020). Figure 4.6a has
    it too, whose section (4.4.2) does not say whether features are normalised. Without that the length also grows with
    the features' scale.

    Args:
        features: [N, d], of any floating type.
        eps_squared: Above 0.
        normalize: Whether rows are divided by their length first; `False` takes them as they are.

    Raises:
        OptionError: Features that are not finite or of another shape, or `eps_squared` is out of range.
    """
    check_features(features)
    if not eps_squared > 0:
        raise OptionError(f"eps_squared is above 0, found {eps_squared}")
    num_samples, num_dimensions = features.shape
    scaled = num_dimensions / (num_samples * eps_squared) * _gram(features, None, normalize=normalize)
    sign, logarithm = np.linalg.slogdet(np.eye(num_dimensions) + scaled)
    if sign <= 0 or not np.isfinite(logarithm):
        raise OptionError("the features are too large for a coding length: normalise them, or look for outliers")
    return max(float(logarithm) / 2, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SingularValues:
    """How the features' strength spreads over directions, strongest first.

    Attributes:
        values: Singular values, [d], falling; of N < d samples all beyond the first N are 0.
        shares: The values divided by their sum, [d]: what figure 4.6b of the thesis plots.
        cumulative_variance: Share of the summed squares that the first k values hold, for k = 1 to d, [d]; with
            `center` it is PCA's cumulative explained variance.
    """

    values: Float64s
    shares: Float64s
    cumulative_variance: Float64s


def singular_values(features: Features, *, center: bool = False) -> SingularValues:
    """Singular values of the features, and how they add up.

    Square roots of the eigenvalues of X^T X (Sariyildiz, thesis, section 4.4.2, figure 4.6b: values divided by their
    sum, largest first).

    Args:
        features: [N, d], of any floating type.
        center: Whether the mean of each dimension is taken off first; the thesis does not speak of it.

    Raises:
        OptionError: Features that are not finite or of another shape, or all of them 0.
    """
    check_features(features)
    squares = np.linalg.eigvalsh(
        _gram(features, _mean(features, normalize=False) if center else None, normalize=False)
    )[::-1]
    squares = np.where(squares > 1e-16 * squares[0], squares, 0.0)
    squares[min(len(features) - center, len(squares)) :] = 0
    if not squares.sum() > 0:
        raise OptionError("singular values have shares where a feature is not 0, found none: extract the features anew")
    values = np.sqrt(squares)
    return SingularValues(
        values=values, shares=values / values.sum(), cumulative_variance=np.cumsum(squares) / squares.sum()
    )


def _rows(features: Features, *, normalize: bool) -> Iterator[Float64s]:
    """Blocks of rows, which the caller may change."""
    return (normalized(block) if normalize else block for block in blocks(features))


def _mean(features: Features, *, normalize: bool) -> Float64s:
    """Mean of each dimension, [d]."""
    total = np.zeros(features.shape[1])
    for block in _rows(features, normalize=normalize):
        total += block.sum(axis=0)
    return total / len(features)


def _gram(features: Features, mean: Float64s | None, *, normalize: bool) -> Float64s:
    """(X - mean)^T (X - mean), [d, d], summed over blocks of rows."""
    gram = np.zeros((features.shape[1], features.shape[1]))
    for block in _rows(features, normalize=normalize):
        if mean is not None:
            block -= mean
        gram += block.T @ block
    return gram
