"""What corruptions there are, and the numbers behind their severities.

Owns the parameters; the native core owns what is done with them. Source: D. Hendrycks and T. Dietterich, "Benchmarking
neural network robustness to common corruptions and perturbations" (ICLR 2019), with the numbers of the program that
made ImageNet-C (ImageNet-C/create_c/make_imagenet_c.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["noise", "blur", "weather", "digital", "extra"]

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """A corruption.

    Attributes:
        name: As published.
        group: One of the four groups of the fifteen main corruptions, or "extra".
        meaning: What the parameters are, in their order; lengths in pixels, colors in [0, 1].
        parameters: For each severity, what the native core is given.
    """

    name: str
    group: Group
    meaning: str
    parameters: tuple[tuple[float, ...], ...]


def _singles(*values: float) -> tuple[tuple[float, ...], ...]:
    return tuple((value,) for value in values)


_ALL = (
    Corruption(
        name="gaussian_noise",
        group="noise",
        meaning="standard deviation",
        parameters=_singles(0.08, 0.12, 0.18, 0.26, 0.38),
    ),
)

CORRUPTIONS: dict[str, Corruption] = {corruption.name: corruption for corruption in _ALL}
"""By name, in the order of the published tables."""
