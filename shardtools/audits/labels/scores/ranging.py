"""The range of the noise rate, and what is said of cuts where estimators part.

Owns what is said of noise that follows the sample. The noise-aware mixture tells noise from ambiguity by the class
alone, so labels that are wrong because the picture is hard are ambiguity to it; the share of labels that models
disagree with holds the models' own errors; and where the features let a model learn the wrong labels it falls below the
truth. What is known for certain is how many labels are wrong where pictures are clear (`clarity`). Three cases, and all
between them:

- Clear pictures are contradicted as often as all are: the noise follows the class, and the interval is a narrow one.
- They are contradicted less often, but more often than the models err: at least so many are wrong among all. Noise
  that people make is up to two or three times as frequent among all pictures as among clear ones.
- They are not: nothing in the data tells noise from the models' errors. A range a factor of 3.95 wide then lies about
  what the models disagree with, higher where they agree with one another and where the mixture finds no noise at all:
  wrong labels that the models have learnt are contradicted by none of them.

Constants were chosen on made-up noise over digits, Fashion-MNIST in several features and drawn clusters, and measured
on other data and other noise (`benchmarks/audit_ranges.py`). The price: a clean dataset of hard pictures gets a range
above its noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special

from shardtools.arrays import Float64s
from shardtools.audits.labels.scores.calibration import Calibration, Interval, rising_mean
from shardtools.audits.labels.scores.clarity import Clarity

_WIDTH = 3.95
"""Upper end over lower end, at most."""
_MIDDLE, _OF_AGREED, _OF_EXPLAINED, _LEAST_EXPLAINED = 0.78, 0.3, -0.15, 0.02
"""Middle of the widest range over what models disagree with: a factor, times two shares of it, each to a power. The
more all models agree on, the more is wrong; the less the mixture takes for noise, the more the models have learnt."""
_SEEN = (0.06, 0.2)
_UNEXPECTED = (0.5, 0.75)
_ENOUGH = (3, 12)
"""Shares, and a number of labels, at which clear pictures begin to say something of all, and do."""
_MOST, _LEAST_OF_MOST = 3.4, 2.2
_FLAT = (0.75, 0.9)
"""Noise among all over noise among clear pictures, at most; the less where mixtures explain what is contradicted."""
_FOLLOWS_CLASS = (0.5, 0.65)
"""Shares of the disagreement that clear pictures show from which on noise follows the class, and does."""
_EXPLAINED = (0.15, 0.3)
"""Shares of the disagreement that the mixture takes for noise at which single labels begin to stand out, and do."""
_BEYOND = 1.15
_TRACE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimators:
    """Opinions of the share of wrong labels.

    Attributes:
        mixture: Of the noise-aware mixture of models: noise that follows the class.
        confident_learning: Of the confident joint of the first model brought, or else the first linear one.
        disagreement: Labels that the model with the fewest such does not find likeliest, out of fold.
        agreed: Labels against which all models name one and the same class.
        clear: Share of wrong labels among the clearest quarter of the pictures.
        clear_labels: How many labels that is.
        unexpected: Share of what is contradicted in the clearer half that is no error of the models, 0 to 1.
    """

    mixture: float
    confident_learning: float
    disagreement: float
    agreed: float
    clear: float
    clear_labels: float
    unexpected: float

    @property
    def seen(self) -> float:
        """Share of the disagreement that shows where pictures are clear, 0 to 1."""
        return min(1.0, self.clear / self.disagreement) if self.disagreement > 0 else 1.0

    @property
    def explained(self) -> float:
        """Share of the disagreement that the mixture takes for noise, 0 to 1."""
        return min(1.0, self.mixture / self.disagreement) if self.disagreement > 0 else 1.0

    @property
    def follows_class(self) -> float:
        """How far noise follows the class, not the sample: 1 where clear pictures show nearly all of it."""
        return _part(self.seen, *_FOLLOWS_CLASS)

    @property
    def told(self) -> float:
        """How far clear pictures tell of all: 0 where they show nothing, a few labels, or the models' errors."""
        shown = _part(self.seen, *_SEEN) * _part(self.unexpected, *_UNEXPECTED)
        return shown * _part(self.clear_labels, *_ENOUGH)


def with_range(
    calibration: Calibration,
    votes: Float64s,
    doubts: Float64s,
    estimators: Estimators,
    clarity: Clarity,
    *,
    confidence: float,
) -> Calibration:
    """A calibration whose interval, probabilities and cuts hold what the estimators differ by.

    Args:
        calibration: By planted noise and mixtures.
        votes: It is about, [N].
        doubts: How much the models doubt each label on average, 0 to 1, [N].
        estimators: What they say.
        clarity: Of the pictures.
        confidence: Of the chance of what is counted.
    """
    span = _span(estimators, clarity, calibration.noise_rate, len(votes), confidence)
    told, by_class = estimators.told, estimators.follows_class
    # What all models say of labels with such a vote, brought to the middle of the range.
    shape = rising_mean(votes, np.clip(doubts, 0, 1))
    middle = _between(span.low, span.high, 0.5)
    own = calibration.probabilities
    target = _between(middle, span.estimate, max(by_class, told / 2))
    # Planted noise knows which labels stand out, even where it cannot know how many more are wrong.
    trusted = max(told, _part(estimators.explained, *_EXPLAINED)) if own.any() else 0.0
    probabilities = trusted * stretched(own, target)
    probabilities = probabilities + (1 - trusted) * (stretched(shape, middle) + shifted(shape, middle)) / 2
    if told == 1 and by_class == 1 and calibration.noise_rate.estimate == span.estimate:
        probabilities = own
    # At least what is certain of single labels, and as many as the low end says in all.
    sure = rising_mean(votes, clarity.wrong)
    lows = np.maximum(sure, stretched(shape, span.low))
    lows = by_class * np.minimum(calibration.lows, probabilities) + (1 - by_class) * lows
    highs = by_class * calibration.highs + (1 - by_class) * np.maximum(
        shifted(shape, span.high), stretched(shape, span.high)
    )
    return replace(
        calibration,
        probabilities=probabilities,
        lows=np.minimum(lows, probabilities),
        highs=np.maximum(highs, probabilities),
        noise_rate=replace(span, estimate=float(np.clip(probabilities.mean(), span.low, span.high))),
    )


def _span(
    estimators: Estimators, clarity: Clarity, calibrated: Interval, num_samples: int, confidence: float
) -> Interval:
    least = 0.5 / num_samples
    disagreement, agreed = max(estimators.disagreement, least), max(estimators.agreed, least)
    explained = max(estimators.explained, _LEAST_EXPLAINED)
    middle = _MIDDLE * disagreement * (agreed / disagreement) ** _OF_AGREED * explained**_OF_EXPLAINED
    low, high = middle / _WIDTH**0.5, middle * _WIDTH**0.5
    if estimators.told > 0:
        from_clear = _from_clear(estimators, clarity, disagreement, num_samples, confidence)
        low, high = (_between(one, two, estimators.told) for one, two in zip((low, high), from_clear, strict=True))
    if high > _WIDTH * low:
        middle = _between(low, high, 0.5)
        low, high = middle / _WIDTH**0.5, middle * _WIDTH**0.5
    high = min(1.0, high)
    return Interval(low=low, estimate=float(np.clip(calibrated.estimate, low, high)), high=high)


def _from_clear(
    estimators: Estimators, clarity: Clarity, disagreement: float, num_samples: int, confidence: float
) -> tuple[float, float]:
    """Both ends, where the clearest quarter tells of all."""
    found, noise, quarter = float(clarity.contradicted[0]), clarity.noise, num_samples / 4
    chance = float(special.ndtri((1 + confidence) / 2)) * float(
        np.sqrt(max(found * (1 - found), 0.5 / quarter) / quarter)
    )
    # What the models expect of themselves holds some of the noise where that follows the sample.
    low = max((noise + found) / 2 - chance, noise / 2)
    most = _MOST - (_MOST - _LEAST_OF_MOST) * _part(estimators.unexpected, *_FLAT)
    high = max(min(most * found + chance, _BEYOND * disagreement), noise + chance)
    # As much noise where pictures are clear as the models disagree with in all: nothing is left to be hidden.
    closed = max(found, estimators.mixture) + chance
    return low, max(_between(high, closed, estimators.follows_class), low)


def _part(value: float, start: float, end: float) -> float:
    return float(np.clip((value - start) / (end - start), 0, 1))


def _between(one: float, two: float, share: float) -> float:
    """From the first number (0) to the second (1), in ratios."""
    return float(np.exp((1 - share) * np.log(max(one, _TRACE)) + share * np.log(max(two, _TRACE))))


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
