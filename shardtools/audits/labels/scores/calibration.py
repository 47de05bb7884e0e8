"""From votes to probabilities, and what can be expected of each cut.

Owns the estimate of the noise rate and the table of cuts. With f the density of votes of the samples, g that of planted
wrong labels, a sample's label is wrong with probability scale * g / f. The ratio comes from an isotonic fit of planted
against not planted; the scale is the largest that no cut contradicts, the least of share above / planted share above
(Scott, "A rate of convergence for mixture proportion estimation", AISTATS 2015, section 2), averaged with the noise
rate of the noise-aware mixtures. That probability is averaged with what the mixtures believe of labels with such a
vote, and the noise rate is the mean of all. The price: noise and ambiguity are told apart by the models' word only.
Noise that follows the sample is ambiguity to both opinions: `ranging` widens them by what models disagree with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from shardtools.arrays import Float64s
from shardtools.audits.labels.scores.planting import KINDS, Planted

_RECALLS = (0.2, 0.3, 0.4, 0.5, 0.6)
"""Shares of planted labels above the cuts at which the rate is bounded."""
_DRAWS = 200
_THRESHOLDS = (0.95, 0.9, 0.75, 0.5, 0.25, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate between two ends."""

    low: float
    estimate: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What is expected when the most suspect labels are taken.

    Attributes:
        threshold: Least noise probability among those taken, 0 to 1.
        num_samples: How many are taken.
        precision: Share of them that is wrong.
        recall: Share of all wrong labels that is among them.
        planted_recall: Share of planted labels of each kind with a vote as high: measured, not estimated.
    """

    threshold: float
    num_samples: int
    precision: Interval
    recall: Interval
    planted_recall: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """What votes mean on this dataset.

    Attributes:
        probabilities: That each given label is wrong, 0 to 1, [N].
        noise_rate: Share of wrong labels: the mean of the probabilities.
        scale: What ratios are multiplied by.
        ratios: Density of planted over density of samples at each vote, [N].
        lows: Low ends of the probabilities. They hold both opinions, planted noise at the ends of its scale and the
            mixtures: their mean would halve what they differ by, [N].
        highs: High ends, [N].
    """

    probabilities: Float64s
    lows: Float64s
    highs: Float64s
    noise_rate: Interval
    scale: Interval
    ratios: Float64s


def calibrate(
    votes: Float64s,
    plantings: Sequence[Planted],
    planted_votes: Sequence[Float64s],
    *,
    mixture_doubts: Float64s,
    confidence: float,
    seed: int,
) -> Calibration:
    """Turns votes into probabilities.

    Args:
        votes: Of the given labels, [N].
        plantings: With known wrong labels.
        planted_votes: Votes in each planting, each [N].
        mixture_doubts: Probability that each label is wrong as the noise-aware mixtures have it, [N].
        confidence: Of the interval.
        seed: Of the bootstrap.
    """
    # Only what was planted in the likeness of this dataset's own noise says how high real wrong labels stand.
    alike = [np.flatnonzero(planted.kinds == KINDS.index("estimated")) for planted in plantings]
    sides = []
    for planted, own, chosen in zip(plantings, planted_votes, alike, strict=True):
        untouched = np.ones(len(votes), bool)
        untouched[planted.rows] = False
        # A tiny dataset may hold too few of one kind.
        rows = planted.rows[chosen] if len(chosen) >= min(10, len(planted.rows)) else planted.rows
        sides.append((own[untouched], own[rows]))
    rate = float(mixture_doubts.mean())
    scale = _scale(sides, rate, confidence, np.random.default_rng((seed, 11)))
    # Two opinions of each vote: planted noise, scaled to the rate, and what the mixtures believe of such labels.
    ratios = _ratios(votes, sides)
    believed = rising_mean(votes, mixture_doubts)
    low, own, high = (np.minimum(1, factor * ratios) for factor in (scale.low, scale.estimate, scale.high))
    lows, middle, highs = np.minimum(low, believed), (own + believed) / 2, np.maximum(high, believed)
    return Calibration(
        probabilities=middle,
        lows=lows,
        highs=highs,
        noise_rate=Interval(low=float(lows.mean()), estimate=float(middle.mean()), high=float(highs.mean())),
        scale=scale,
        ratios=ratios,
    )


def rising_mean(votes: Float64s, values: Float64s) -> Float64s:
    """Mean value of samples with such a vote, a rising function of the vote, [N]."""
    order = np.argsort(votes, kind="stable")
    fitted = np.empty(len(votes))
    fitted[order] = optimize.isotonic_regression(values[order]).x
    return fitted


def cuts(
    votes: Float64s,
    calibration: Calibration,
    plantings: Sequence[Planted],
    planted_votes: Sequence[Float64s],
    *,
    counts: Sequence[int],
    confidence: float,
) -> list[Cut]:
    """What is expected of taking the `counts` most suspect, and those above several probabilities."""
    order = np.argsort(-votes, kind="stable")
    sorted_probs = calibration.probabilities[order]
    above = [int(np.count_nonzero(calibration.probabilities >= threshold)) for threshold in _THRESHOLDS]
    chosen = sorted({count for count in (*counts, *above) if 0 < count <= len(votes)})
    ends = [probs[order] for probs in (calibration.lows, calibration.probabilities, calibration.highs)]
    quantile = float(special.ndtri((1 + confidence) / 2))
    found = []
    for count in chosen:
        low, middle, high = (float(probs[:count].mean()) for probs in ends)
        # What chance does to a share of so few comes on top of what the two opinions differ by; near 0 and 1, where its
        # variance would vanish, a floor that falls with the count stands in.
        error = quantile * float(np.sqrt(max(middle * (1 - middle), 0.25 / count) / count))
        shares = sorted(float(probs[:count].sum() / max(probs.sum(), 1e-12)) for probs in ends)
        cut_vote = votes[order[count - 1]]
        found.append(
            Cut(
                threshold=float(sorted_probs[count - 1]),
                num_samples=count,
                precision=Interval(low=max(0.0, low - error), estimate=middle, high=min(1.0, high + error)),
                recall=Interval(low=shares[0], estimate=shares[1], high=shares[2]),
                planted_recall=_planted_recall(cut_vote, plantings, planted_votes),
            )
        )
    return found


def _scale(
    sides: Sequence[tuple[Float64s, Float64s]],
    mixture_rate: float,
    confidence: float,
    rng: np.random.Generator,
) -> Interval:
    """Mean of the plantings' bounds and the mixtures' rate; the interval holds a binomial bootstrap of the bounds."""
    shares, draws = [], []
    for samples, planted in sides:
        # At several cuts: no more labels are wrong above a cut than lie above it, and the planted ones say what share
        # of all wrong labels that is. So the ratio of the two bounds the noise rate.
        levels = np.quantile(planted, 1 - np.array(_RECALLS))
        above = np.array([(samples >= level).mean() for level in levels])
        caught = np.array([(planted >= level).mean() for level in levels])
        shares.append(above / caught)
        # Both shares again as other draws of as many samples would have given them; at least one planted label is
        # caught, or the bound would be infinite.
        drawn_above = rng.binomial(len(samples), above, (_DRAWS, len(levels))) / len(samples)
        drawn_caught = np.maximum(rng.binomial(len(planted), caught, (_DRAWS, len(levels))), 1) / len(planted)
        draws.append(drawn_above / drawn_caught)
    # The mean over plantings before the least: the least of few counts is too low.
    bound = float(np.mean(shares, axis=0).min())
    drawn = np.concatenate([np.mean(draws, axis=0).min(axis=1), *(one.min(axis=1) for one in draws)])
    estimate = (bound + mixture_rate) / 2
    low, high = np.quantile((drawn + mixture_rate) / 2, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    # The two estimates differ by more than chance: the interval holds both.
    ends = (low, high, bound, mixture_rate)
    return Interval(low=max(0.0, min(ends)), estimate=min(1.0, estimate), high=min(1.0, max(ends)))


def _ratios(votes: Float64s, sides: Sequence[tuple[Float64s, Float64s]]) -> Float64s:
    """Density of planted over density of samples, a rising function of the vote, [N]."""
    # Each side of each planting weighs 1 in all, so that what is fitted is g / (f + g), whatever their sizes.
    points = np.concatenate([side for pair in sides for side in pair])
    planted = np.concatenate([np.concatenate([np.zeros(len(one)), np.ones(len(two))]) for one, two in sides])
    masses = np.concatenate(
        [np.concatenate([np.full(len(one), 1 / len(one)), np.full(len(two), 1 / len(two))]) for one, two in sides]
    )
    order = np.lexsort((planted, points))
    fitted = optimize.isotonic_regression(planted[order], weights=masses[order])
    # The fit is a staircase. A line through the middles of its steps keeps the votes within a step apart.
    edges = fitted.blocks
    centers = np.add.reduceat(points[order] * masses[order], edges[:-1]) / np.add.reduceat(masses[order], edges[:-1])
    levels = np.clip(np.interp(votes, centers, fitted.x[edges[:-1]]), 1e-6, 1 - 1e-6)
    return np.asarray(levels / (1 - levels))


def _planted_recall(vote: float, plantings: Sequence[Planted], planted_votes: Sequence[Float64s]) -> dict[str, float]:
    recalls = {}
    for index, kind in enumerate(KINDS):
        chosen = [
            own[planted.rows[planted.kinds == index]] for planted, own in zip(plantings, planted_votes, strict=True)
        ]
        of_kind = np.concatenate(chosen)
        recalls[kind] = float((of_kind >= vote).mean()) if of_kind.size else float("nan")
    return recalls
