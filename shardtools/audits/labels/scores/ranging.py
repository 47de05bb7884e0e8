"""The range of the noise rate where estimators part.

Owns what is said of noise that follows the sample. The noise-aware mixture tells noise from ambiguity by the class
alone, so labels that are wrong because the picture is hard are ambiguity to it: noise planted on hard pictures raises
its rate by nothing, where the share of labels that the models disagree with rises. That share holds the models' own
errors too, and where the features let a model learn the wrong labels it falls below the truth. Nothing in the data
tells these apart, so a range is given, a factor of 3.9 from end to end. Its middle is 0.9 of the disagreement where the
mixture sees no noise at all, and half of that where it sees a third of the disagreement: then models' errors are a part
of it. Where it explains two thirds, noise follows the class, and calibration by planted noise is trusted. The rule was
chosen on made-up human-like noise over digits and Fashion-MNIST and on hand-checked numerals, and measured on other
draws of it (`benchmarks/audit_ranges.py`). The price: a clean dataset of hard pictures gets a range above its noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from shardtools.arrays import Float64s
from shardtools.audits.labels.scores.calibration import Calibration, Interval, rising_mean

_WIDTH = 3.9
"""Upper end over lower end."""
_MIDDLE = 0.45
_TURN, _REACH = 0.35, 0.3
_MUCH, _MUCH_REACH, _MUCH_OVER = 0.2, 0.05, 0.2
_LEAST_OF_MIXTURE = 0.7
_AGREE = 0.65
_PARTED, _FOLLOWED = 0.15, 0.3
_FEW = 10
_NONE_SEEN = 3.0
"""No case among N leaves a rate of at most 3 / N, at 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimators:
    """Three opinions of the share of wrong labels.

    Attributes:
        mixture: Of the noise-aware mixture of models: noise that follows the class.
        confident_learning: Of the confident joint of the first model brought, or else the first linear one.
        disagreement: Labels that the model with the fewest such does not find likeliest, out of fold.
    """

    mixture: float
    confident_learning: float
    disagreement: float

    @property
    def explained(self) -> float:
        """Share of the disagreement that the mixture takes for noise, 0 to 1."""
        return min(1.0, self.mixture / self.disagreement) if self.disagreement > 0 else 1.0


def with_range(calibration: Calibration, votes: Float64s, doubts: Float64s, estimators: Estimators) -> Calibration:
    """A calibration whose interval, probabilities and cuts hold what the estimators differ by.

    Args:
        calibration: By planted noise and mixtures.
        votes: It is about, [N].
        doubts: How much the models doubt each label on average, 0 to 1, [N].
        estimators: What they say.
    """
    explained = estimators.explained
    span = _span(estimators, calibration.noise_rate, len(votes))
    # What all models say of labels with such a vote, stretched to the ends of the range.
    shape = rising_mean(votes, np.clip(doubts, 0, 1))
    middle = (span.low * span.high) ** 0.5
    follow = float(np.clip((_FOLLOWED - explained) / (_FOLLOWED - _PARTED), 0, 1))
    probabilities = (1 - follow) * calibration.probabilities + follow * (
        stretched(shape, middle) + shifted(shape, middle)
    ) / 2
    # A mean far below the range, of few that the mixture is sure of, is lifted to its low end.
    if 0 < probabilities.mean() < span.low:
        probabilities = np.maximum(probabilities, stretched(shape, span.low))
    lows, highs = calibration.lows, calibration.highs
    if explained < _AGREE:
        lows = np.minimum(lows, stretched(shape, span.low))
        highs = np.maximum(highs, shifted(shape, span.high))
    estimate = float(np.clip(probabilities.mean(), span.low, span.high))
    return replace(
        calibration,
        probabilities=probabilities,
        lows=np.minimum(lows, probabilities),
        highs=np.maximum(highs, probabilities),
        noise_rate=Interval(low=span.low, estimate=estimate, high=span.high),
    )


def _span(estimators: Estimators, calibrated: Interval, num_samples: int) -> Interval:
    share, explained = estimators.disagreement, estimators.explained
    # Twice as much where the mixture sees none of it: then models have learnt some of the noise.
    middle = share * _MIDDLE * 2 ** min(abs(explained - _TURN) / _REACH, 1)
    # Of much disagreement less is the models' own.
    middle *= 1 + _MUCH_OVER * float(np.clip((share - _MUCH) / _MUCH_REACH, 0, 1))
    high = middle * _WIDTH**0.5
    if explained > _TURN:
        high = min(high, share)
    high = max(high, _NONE_SEEN / num_samples)
    low = max(high / _WIDTH, _LEAST_OF_MIXTURE * estimators.mixture)
    # Where the mixture explains most of it, noise follows the class and planted noise has measured what is missed.
    if explained > _TURN:
        trust = min((explained - _TURN) / (_AGREE - _TURN), 1)
        trusted = float(np.exp((1 - trust) * np.log(low) + trust * np.log(max(calibrated.low, 1e-9))))
        low = max(calibrated.low if calibrated.low < low else trusted, high / _WIDTH)
        high = max(high, trust * calibrated.high)
    if share * num_samples < _FEW:
        low = min(low, calibrated.low)
    low = min(low, high)
    return Interval(low=low, estimate=float(np.clip(calibrated.estimate, low, high)), high=min(1.0, high))


def stretched(shape: Float64s, rate: float) -> Float64s:
    """Probabilities in proportion to some others, at most 1, of a given mean."""
    if shape.mean() == 0:
        return np.full(len(shape), rate)

    def excess(factor: float) -> float:
        return float(np.minimum(shape * factor, 1).mean()) - rate

    most = 1 / shape[shape > 0].min()
    factor = most if excess(most) <= 0 else optimize.brentq(excess, 0, most)
    return np.asarray(np.minimum(shape * factor, 1))


def shifted(shape: Float64s, rate: float) -> Float64s:
    """Probabilities whose log odds are some others' and a constant, of a given mean."""
    clipped = np.clip(shape, 1e-4, 1 - 1e-4)
    odds = clipped / (1 - clipped)

    def excess(log_factor: float) -> float:
        raised = odds * np.exp(log_factor)
        return float((raised / (1 + raised)).mean()) - min(max(rate, 1e-6), 1 - 1e-6)

    raised = odds * np.exp(optimize.brentq(excess, -40, 40))
    return np.asarray(raised / (1 + raised))
