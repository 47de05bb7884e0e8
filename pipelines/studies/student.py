"""Student's interval of a mean over a few seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import special


def student_interval(values: Sequence[float]) -> tuple[float, float]:
    """The interval of 95 % of the mean of two values or more, taken as drawn from one normal distribution."""
    count = len(values)
    mean = math.fsum(values) / count
    variance = math.fsum((one - mean) ** 2 for one in values) / (count - 1)
    half = float(special.stdtrit(count - 1, 0.975)) * math.sqrt(variance / count)
    return mean - half, mean + half
