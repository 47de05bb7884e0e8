"""What the models say about each given label: one pass over a dataset, repeatable with other labels.

Owns the order of work of a pass: linear and kernel model, neighbours' votes and prototypes of each encoder; the
noise-aware mixture of them; then models and votes once more, learnt from the mixture's posterior, and their mixture. No
model judges a sample that it was fitted to, and no sample votes for itself. The price of the second round: the
posterior of a neighbour was formed with the sample's own label among its votes, a trace of one in fifty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Float32s, Int64s
from shardtools.audits.labels.scores.kernel import Kernel, fit_kernel
from shardtools.audits.labels.scores.linear import fit, log_probabilities, one_hot, out_of_fold
from shardtools.audits.labels.scores.mixing import Mixture, fit_mixture, fit_noisy
from shardtools.audits.labels.scores.neighbors import class_votes, vote_log_probabilities, vote_margins
from shardtools.audits.labels.scores.prototypes import prototype_cosines
from shardtools.features.neighbors import Neighbors, knn_graph

STRENGTHS = (1e-3, 1e-2, 1e-1, 0.3, 1.0)
"""Penalties of the linear model that are tried; the one of least out-of-fold log loss is kept."""
NARROW = 20
"""Neighbours of the plain and of the distance-weighted vote; fewer where there are fewer samples."""
NEAREST = 10
"""Neighbours of SimiFeat's votes; fewer where there are fewer samples."""
_MOST_ODDS = 12.0
_OF_AN_ENCODER = ("linear", "kernel", "narrow", "wide", "prototype")
_ALL_FOLDS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """One encoder's samples.

    Attributes:
        features: Whitened, [N, P].
        neighbors: Of each sample, [N, k]: the first samples of other groups of copies.
        groups: Number of each sample's group; copies of one picture share one, [N].
    """

    features: Float32s
    neighbors: Neighbors
    groups: Int64s


def encode(features: Float32s, groups: Int64s, num_neighbors: int) -> Encoded:
    """Finds neighbours among groups of copies, so that no copy confirms another's label.

    Args:
        features: In canonical order, where copies stand together, [N, P].
        groups: Of `canonical_order`, [N].
        num_neighbors: Of each sample; fewer where there are fewer other groups.
    """
    firsts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))
    near = knn_graph(features[firsts], min(num_neighbors, len(firsts) - 1))
    # A group has the neighbours of its first sample, and stands among those of others once, by that sample.
    rows, distances = firsts[near.rows][groups], near.distances[groups]
    return Encoded(features=features, neighbors=Neighbors(rows=rows, distances=distances), groups=groups)


def of_groups(targets: Float32s, groups: Int64s) -> Float32s:
    """Each sample's mean over its group of copies: what a group votes for, [N, C]."""
    sizes = np.bincount(groups)
    if len(sizes) == len(groups):
        return targets
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    means = np.add.reduceat(targets, starts, axis=0) / sizes[:, None]
    return np.asarray(means[groups], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """What one pass found.

    Attributes:
        models: Out-of-fold log probabilities of all models, those brought last, each [N, C].
        linear: Of them, each encoder's linear model.
        strengths: The penalty of each.
        coefficients: Of each encoder, of each fold: where the next pass starts.
        kernels: Of each encoder.
        mixtures: First and second round.
        posterior: P(true | x, given) of the first round, [N, C].
        believed: Probability that each label is wrong by the mixture with the larger share of wrong labels, [N]. Of
            much noise the second sees too little, since what it learnt from was corrected by the first.
        doubts: Evidence against each given label, larger is more suspect, [N, E]; columns are `evidence_names`.
        margins: Largest probability of another class minus the given label's, by each model, -1 to 1, [N, M].
        near: The same of the votes of the nearest neighbours, the mean over encoders, [N].
    """

    models: list[Float32s]
    linear: list[Float32s]
    strengths: list[float]
    coefficients: list[list[Float32s]]
    kernels: list[Kernel]
    mixtures: tuple[Mixture, Mixture]
    posterior: Float32s
    believed: npt.NDArray[np.float64]
    doubts: Float32s
    margins: Float32s
    near: Float32s

    def of_encoders(self) -> list[list[Float32s]]:
        """The models of each encoder, without those brought."""
        each = len(_OF_AN_ENCODER) - 1
        return [self.models[start : start + each] for start in range(0, each * len(self.linear), each)]


def evidence_names(num_encoders: int, num_brought: int = 0) -> tuple[str, ...]:
    """Columns of `Pass.doubts`."""
    of_one = [f"{name}_{index}" for index in range(num_encoders) for name in _OF_AN_ENCODER]
    brought = [f"brought_{index}" for index in range(num_brought)]
    return ("mixture", "noisy_mixture", "second_mixture", *of_one, *brought)


def run_pass(
    encoders: Sequence[Encoded],
    labels: Int64s,
    folds: Int64s,
    num_classes: int,
    *,
    brought: Sequence[Float32s] = (),
    before: Pass | None = None,
) -> Pass:
    """Judges every given label.

    Args:
        encoders: One or more.
        labels: Given labels, [N].
        folds: Fold of each sample, [N].
        num_classes: C.
        brought: Log probabilities of models that were fitted elsewhere, out of fold, each [N, C]. They stay as they
            are in all rounds.
        before: A pass over nearly the same labels: its penalties are kept and its coefficients start this one.
    """
    targets = one_hot(labels, num_classes)
    linear, strengths, coefficients = _linear_models(encoders, targets, folds, before)
    # What of a kernel model does not depend on labels is kept from the pass before; a fit to other labels costs two
    # products.
    kernels = before.kernels if before else [fit_kernel(encoder.features, targets, folds) for encoder in encoders]
    votes = [_votes(encoder, kernel, targets, folds) for encoder, kernel in zip(encoders, kernels, strict=True)]
    models = [model for index, own in enumerate(linear) for model in (own, *votes[index])] + list(brought)
    first = fit_mixture(models, labels, start=before.mixtures[0] if before else None)
    posterior = first.posterior(models, labels)
    noisy = fit_noisy(models, labels)
    again = _taught_again(encoders, posterior, folds, strengths, coefficients, kernels)
    # It starts from the noise that the first mixture found, or the same mixture of the pass before: its models were
    # fitted to labels with that noise taken out, and show less of it.
    again += brought
    second = fit_mixture(again, labels, start=before.mixtures[1] if before else None, transition=first.transition)
    second_posterior = second.posterior(again, labels)
    columns = [
        log_odds_against(posterior, labels),
        log_odds_against(noisy.true_probabilities(models), labels),
        log_odds_against(second_posterior, labels),
    ]
    for index, encoder in enumerate(encoders):
        columns += [log_odds_against(np.exp(model), labels) for model in (linear[index], *votes[index])]
        columns.append(prototype_margins(encoder.features, labels, num_classes))
    columns += [log_odds_against(np.exp(model), labels) for model in brought]
    return Pass(
        models=models,
        linear=linear,
        strengths=strengths,
        coefficients=coefficients,
        kernels=kernels,
        mixtures=(first, second),
        posterior=posterior,
        believed=max((_wrong(posterior, labels), _wrong(second_posterior, labels)), key=np.mean),
        doubts=np.stack(columns, axis=1),
        margins=np.stack([vote_margins(np.exp(model), labels) for model in models], axis=1),
        near=np.mean([vote_margins(nearest_votes(encoder, targets), labels) for encoder in encoders], axis=0),
    )


def nearest_votes(encoder: Encoded, targets: Float32s) -> Float32s:
    """Share of the nearest neighbours' votes for each class, [N, C]."""
    count = min(NEAREST, encoder.neighbors.rows.shape[1])
    return class_votes(encoder.neighbors, of_groups(targets, encoder.groups), num_neighbors=count)


def _taught_again(
    encoders: Sequence[Encoded],
    posterior: Float32s,
    folds: Int64s,
    strengths: Sequence[float],
    coefficients: Sequence[list[Float32s]],
    kernels: Sequence[Kernel],
) -> list[Float32s]:
    """Second round: the same models, learnt from what the first round believes, each [N, C].

    Wrong labels no longer teach, so what was hidden behind them shows.
    """
    again = []
    for index, encoder in enumerate(encoders):
        strength, starts = strengths[index], coefficients[index]
        found = out_of_fold(encoder.features, posterior, folds, strength=strength, starts=starts, max_iterations=15)
        again += [found[0], *_votes(encoder, kernels[index], posterior, folds)]
    return again


def log_odds_against(probs: Float32s, labels: Int64s) -> Float32s:
    """Logarithm of (1 - p) / p of the given label, within -12 to 12, [N]."""
    rows = np.arange(len(labels))
    own = np.maximum(probs[rows, labels].astype(np.float64), 1e-30)
    others = np.maximum(probs.sum(axis=1, dtype=np.float64) - own, 1e-30)
    return np.asarray(np.clip(np.log(others / own), -_MOST_ODDS, _MOST_ODDS), np.float32)


def _wrong(posterior: Float32s, labels: Int64s) -> npt.NDArray[np.float64]:
    return np.asarray(1 - posterior[np.arange(len(labels)), labels], np.float64)


def prototype_margins(features: Float32s, labels: Int64s, num_classes: int) -> Float32s:
    """Cosine to the nearest other class's trimmed mean minus the cosine to the own, -2 to 2, [N]."""
    cosines = prototype_cosines(features, labels, num_classes)
    rows = np.arange(len(labels))
    own = cosines[rows, labels].copy()
    cosines[rows, labels] = -2
    return np.asarray(cosines.max(axis=1) - own, np.float32)


def _linear_models(
    encoders: Sequence[Encoded], targets: Float32s, folds: Int64s, before: Pass | None
) -> tuple[list[Float32s], list[float], list[list[Float32s]]]:
    linear, strengths, coefficients = [], [], []
    for index, encoder in enumerate(encoders):
        if before is not None:
            strength, starts = before.strengths[index], before.coefficients[index]
            found = out_of_fold(encoder.features, targets, folds, strength=strength, starts=starts, max_iterations=20)
        else:
            strength, found = best_strength(encoder.features, targets, folds)
        linear.append(found[0])
        strengths.append(strength)
        coefficients.append(found[1])
    return linear, strengths, coefficients


def best_strength(
    features: Float32s, targets: Float32s, folds: Int64s
) -> tuple[float, tuple[Float32s, list[Float32s]]]:
    """The linear model's penalty of least out-of-fold log loss, with its log probabilities [N, C] and coefficients.

    From the strongest penalty, whose fit is quick, to weaker ones, each from the fit before, until it worsens. Of a
    large dataset the first fold decides for all; the models of the others start from zero, since a model of another
    fold has seen their samples.
    """
    # Many samples: one fold's loss is sure enough, at a fifth of the fits.
    if len(features) > _ALL_FOLDS:
        held = folds == 0
        strength = _least_loss(features, targets, held)
        return strength, out_of_fold(features, targets, folds, strength=strength)
    best: tuple[float, tuple[Float32s, list[Float32s]]] | None = None
    least = np.inf
    starts = None
    for strength in sorted(STRENGTHS, reverse=True):
        found = out_of_fold(features, targets, folds, strength=strength, starts=starts)
        starts = found[1]
        loss = -float(np.vdot(targets, found[0]))
        # The loss has one valley along the penalties; past it each weaker one costs more time and says less.
        if loss >= least:
            break
        best, least = (strength, found), loss
    if best is None:
        raise ArithmeticError("the log loss of every penalty is not a number")
    return best


def _least_loss(features: Float32s, targets: Float32s, held: npt.NDArray[np.bool_]) -> float:
    losses: dict[float, float] = {}
    coefficients = None
    learnt, judged = features[~held], features[held]
    for strength in sorted(STRENGTHS, reverse=True):
        coefficients = fit(learnt, targets[~held], strength=strength, start=coefficients)
        losses[strength] = -float(np.vdot(targets[held], log_probabilities(judged, coefficients)))
        if losses[strength] > min(losses.values()):
            break
    return min(losses, key=losses.__getitem__)


def _votes(encoder: Encoded, kernel: Kernel, targets: Float32s, folds: Int64s) -> tuple[Float32s, Float32s, Float32s]:
    """Log probabilities by the kernel model and by near and wide neighbours, each [N, C]."""
    count = encoder.neighbors.rows.shape[1]
    voting = of_groups(targets, encoder.groups)
    narrow = vote_log_probabilities(encoder.neighbors, voting, num_neighbors=min(NARROW, count))
    wide = vote_log_probabilities(encoder.neighbors, voting, num_neighbors=count, by_distance=True)
    return kernel.out_of_fold(encoder.features, targets, folds), narrow, wide
