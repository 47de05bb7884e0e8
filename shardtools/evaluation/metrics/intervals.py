"""How sure a figure is: intervals of shares in closed form, of anything else by drawing samples again.

Owns the choice of the interval. Wilson's stays within 0 and 1 and is right for shares near either, where the usual one
is not; the price is that it is not centred on the share. What is no share of independent samples takes the bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from shardtools.errors import OptionError

LEVEL = 0.95
NUM_DRAWS = 1000

_MIN_DRAWS = 10


@dataclass(frozen=True, slots=True)
class Share:
    """A count of a count, and what it says of samples that were not seen.

    Attributes:
        num: Samples of which something holds.
        of: All that were looked at.
    """

    num: int
    of: int

    @property
    def value(self) -> float:
        """0 to 1; NaN of no samples."""
        return self.num / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, of 95 %."""
        return wilson_interval(self.num, self.of)


def wilson_interval(num: int, of: int, *, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a share: Wilson (1927), "Probable inference", without continuity correction.

    Args:
        num: Samples of which something holds.
        of: All, at least one.
        level: Probability that an interval made so covers the true share, 0 to 1 (both excluded).

    Returns:
        Its ends, 0 to 1, around `num / of`.

    Raises:
        OptionError: `num` is not 0 to `of`, there are no samples, or the level is outside.
    """
    _check_level(level)
    if not 0 <= num <= of or of == 0:
        raise OptionError(f"an interval needs 0 <= num <= of and at least one sample, found {num} of {of}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = num / of
    center = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    # At 0 and 1 the formula gives the share itself, but for rounding.
    return (0.0 if num == 0 else max(center - half, 0.0), 1.0 if num == of else min(center + half, 1.0))


def bootstrap_interval(
    num_samples: int,
    statistic: Callable[[npt.NDArray[np.int64]], float],
    *,
    seed: int = 0,
    num_draws: int = NUM_DRAWS,
    level: float = LEVEL,
) -> tuple[float, float]:
    """The percentile interval of a figure over samples drawn again (Efron and Tibshirani 1993, section 13.3).

    Args:
        num_samples: How many there are, at least one.
        statistic: The figure of the samples with these positions, int64 `[num_samples]`, some of them more than once;
            NaN where these have none, as a correlation of equal samples: such a draw is left out.
        seed: Of the draws; one seed gives one interval.
        num_draws: How often samples are drawn again.
        level: Share of the draws that lies inside.

    Returns:
        Its ends; NaN where most draws have no figure.

    Raises:
        OptionError: There are no samples, too few draws, or the level is outside.
    """
    _check_level(level)
    if num_samples < 1 or num_draws < _MIN_DRAWS:
        raise OptionError(
            f"a bootstrap needs a sample and {_MIN_DRAWS} draws at least, found {num_samples} and {num_draws}"
        )
    generator = np.random.Generator(np.random.PCG64(seed))
    found = np.array([statistic(generator.integers(num_samples, size=num_samples)) for _ in range(num_draws)])
    known = found[~np.isnan(found)]
    if 2 * len(known) < num_draws:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise OptionError(f"the level of an interval is between 0 and 1, found {level}")
