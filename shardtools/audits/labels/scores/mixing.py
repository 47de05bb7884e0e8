"""One posterior of the true label out of several models that were fitted to noisy labels.

Owns the noise-aware mixture. Models' log probabilities z_m(x) are pooled, p(y | x) = softmax(sum_m w_m z_m(x) + b)_y,
and the given label is drawn from the true one by a transition matrix, T[y, given]. Weights, offsets and T maximise the
likelihood of the given labels (the forward model of Patrini et al., "Making deep neural networks robust to label
noise", CVPR 2017, section 4.1, with T found by expectation-maximisation). A model that learnt noisy labels is sharpened
by w > 1, its constant doubt becomes T, and doubt that depends on the sample stays in p: ambiguous samples are not
called noise. The price: noise that follows the sample alone, not its class, is partly taken for ambiguity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from shardtools.arrays import Float32s, Float64s, Int64s
from shardtools.audits.labels.scores.linear import log_softmax

_ROUNDS = 10
_FURTHER_ROUNDS = 4
_STEPS = 8
_TRANSITION_STEPS = 5
_OFFSET_PENALTY = 0.0005
_WEIGHT_PENALTY = 0.0005
_PRIOR_COUNT = 2.0
_FIRST_RATE = 0.1
_TRACE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixture:
    """A fitted mixture.

    Attributes:
        weights: One a model, [M].
        offsets: One a class, [C].
        transition: P(given | true), rows of true classes, [C, C].
    """

    weights: Float64s
    offsets: Float64s
    transition: Float64s

    def true_probabilities(self, models: Sequence[Float32s]) -> Float32s:
        """P(true = y | x), before the given label is looked at, [N, C]."""
        return np.exp(_pooled(models, self.weights, self.offsets))

    def posterior(self, models: Sequence[Float32s], labels: Int64s) -> Float32s:
        """P(true = y | x, given label), [N, C]."""
        return _posterior(self.true_probabilities(models), labels, self.transition)


def fit_mixture(
    models: Sequence[Float32s], labels: Int64s, start: Mixture | None = None, transition: Float64s | None = None
) -> Mixture:
    """The mixture under which the given labels are likeliest.

    Args:
        models: Out-of-fold log probabilities, each [N, C].
        labels: Given labels, [N].
        start: Of nearly the same labels: fewer rounds of weights and transition in turn then do.
        transition: To start from otherwise, [C, C]; one of 10 % noise without.
    """
    num_classes = models[0].shape[1]
    weights = np.full(len(models), 1.0 / len(models))
    offsets = np.zeros(num_classes)
    if transition is None:
        transition = np.full((num_classes, num_classes), _FIRST_RATE / max(num_classes - 1, 1))
        np.fill_diagonal(transition, 1 - _FIRST_RATE)
    if start is not None:
        weights, offsets, transition = start.weights, start.offsets, start.transition
    # In turn: weights for the noise as it is believed, then, some steps of expectation-maximisation, the noise for
    # those weights. Neither is run to its end while the other is wrong.
    for _ in range(_ROUNDS if start is None else _FURTHER_ROUNDS):
        weights, offsets = _fit_weights(models, labels, transition, weights, offsets)
        probs = np.exp(_pooled(models, weights, offsets))
        for _ in range(_TRANSITION_STEPS):
            transition = _fit_transition(_posterior(probs, labels, transition), labels)
    return Mixture(weights=weights, offsets=offsets, transition=transition)


def fit_noisy(models: Sequence[Float32s], labels: Int64s) -> Mixture:
    """The mixture that takes every given label for true: it learns the noise with the labels."""
    num_classes = models[0].shape[1]
    # A trace of noise, since the likelihood of one impossible label would be all that counts.
    sure = np.full((num_classes, num_classes), _TRACE / num_classes)
    np.fill_diagonal(sure, 1 - _TRACE + _TRACE / num_classes)
    weights, offsets = np.full(len(models), 1.0 / len(models)), np.zeros(num_classes)
    for _ in range(3):
        weights, offsets = _fit_weights(models, labels, sure, weights, offsets)
    return Mixture(weights=weights, offsets=offsets, transition=sure)


def _pooled(models: Sequence[Float32s], weights: Float64s, offsets: Float64s) -> Float32s:
    logits = models[0] * np.float32(weights[0])
    for model, weight in zip(models[1:], weights[1:], strict=True):
        logits += model * np.float32(weight)
    logits += offsets.astype(np.float32)
    return log_softmax(logits)


def _posterior(probs: Float32s, labels: Int64s, transition: Float64s) -> Float32s:
    joint = probs * transition.T.astype(np.float32)[labels]
    joint /= np.maximum(joint.sum(axis=1, keepdims=True), 1e-30)
    return joint


def _fit_transition(posterior: Float32s, labels: Int64s) -> Float64s:
    """Expected counts of (true, given), with a few more that spread the noise of the whole over all classes."""
    num_classes = posterior.shape[1]
    counts = np.zeros((num_classes, num_classes))
    for given in range(num_classes):
        counts[:, given] = posterior[labels == given].sum(axis=0)
    # A class with few samples shows few kinds of noise: two samples' worth of the noise of the whole fills the gaps.
    rate = 1 - np.trace(counts) / counts.sum()
    prior = np.full((num_classes, num_classes), rate / max(num_classes - 1, 1))
    np.fill_diagonal(prior, 1 - rate)
    counts += _PRIOR_COUNT * prior
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def _fit_weights(
    models: Sequence[Float32s], labels: Int64s, transition: Float64s, weights: Float64s, offsets: Float64s
) -> tuple[Float64s, Float64s]:
    """A few steps on weights and offsets for a known transition."""
    num_samples = len(labels)
    num_models = len(models)

    def loss_and_gradient(flat: Float64s) -> tuple[float, Float64s]:
        probs = np.exp(_pooled(models, flat[:num_models], flat[num_models:]))
        # The given label's likelihood, summed over what the true one may be. Divided by that sum, the parts are the
        # posterior, and the model minus the posterior is the gradient.
        joint = probs * transition.T.astype(np.float32)[labels]
        evidence = np.maximum(joint.sum(axis=1, keepdims=True), 1e-30)
        loss = -float(np.log(evidence).mean())
        joint /= evidence
        residuals = probs
        residuals -= joint
        gradient = np.array(
            [float(np.vdot(residuals, model)) for model in models] + residuals.sum(axis=0, dtype=np.float64).tolist()
        )
        gradient /= num_samples
        penalty = np.concatenate([np.full(num_models, _WEIGHT_PENALTY), np.full(len(offsets), _OFFSET_PENALTY)])
        return loss + float((penalty * flat * flat).sum()) / 2, gradient + penalty * flat

    bounds = [(0.0, 20.0)] * num_models + [(-5.0, 5.0)] * len(offsets)
    found = optimize.minimize(
        loss_and_gradient,
        np.concatenate([weights, offsets]),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _STEPS},
    )
    return found.x[:num_models], found.x[num_models:]
