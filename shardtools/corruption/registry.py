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

CORRUPTION_VERSION = 1
"""Of the pixels: to be raised with every change of the native core that makes others, so that a dataset or predictions
that were begun before are refused instead of mixed."""


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
    Corruption(
        name="shot_noise",
        group="noise",
        meaning="photons of a white pixel",
        parameters=_singles(60, 25, 12, 5, 3),
    ),
    Corruption(
        name="impulse_noise",
        group="noise",
        meaning="share of the values",
        parameters=_singles(0.03, 0.06, 0.09, 0.17, 0.27),
    ),
    Corruption(
        name="defocus_blur",
        group="blur",
        meaning="radius of the disk, sigma of its soft edge",
        parameters=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    Corruption(
        name="glass_blur",
        group="blur",
        meaning="sigma, how far a pixel moves, number of passes",
        parameters=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    Corruption(
        name="motion_blur",
        group="blur",
        meaning="radius, sigma",
        parameters=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    Corruption(
        name="zoom_blur",
        group="blur",
        meaning="number of enlargements, step from one to the next",
        parameters=((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
    ),
    Corruption(
        name="snow",
        group="weather",
        meaning="mean, deviation, enlargement and threshold of the flakes, radius and sigma of their fall, share kept",
        parameters=(
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    Corruption(
        name="frost",
        group="weather",
        meaning="shares of the image and of the picture of frost",
        parameters=((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    Corruption(
        name="fog",
        group="weather",
        meaning="thickness, decay of the cloud's detail",
        parameters=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    Corruption(
        name="brightness",
        group="weather",
        meaning="added to the value of hue, saturation and value",
        parameters=_singles(0.1, 0.2, 0.3, 0.4, 0.5),
    ),
    Corruption(
        name="contrast",
        group="digital",
        meaning="share of the difference from the channel's mean",
        parameters=_singles(0.4, 0.3, 0.2, 0.1, 0.05),
    ),
    Corruption(
        name="elastic_transform",
        group="digital",
        meaning="factor of the displacements, sigma of their smoothing, how far three points move; of 224 pixels",
        parameters=(
            (488, 170.8, 24.4),
            (488, 19.52, 48.8),
            (12.2, 2.44, 4.88),
            (17.08, 2.44, 4.88),
            (29.28, 2.44, 4.88),
        ),
    ),
    Corruption(
        name="pixelate",
        group="digital",
        meaning="share of each side",
        parameters=_singles(0.6, 0.5, 0.4, 0.3, 0.25),
    ),
    Corruption(
        name="jpeg_compression",
        group="digital",
        meaning="quality, 1 to 100",
        parameters=_singles(25, 18, 15, 10, 7),
    ),
    Corruption(
        name="speckle_noise",
        group="extra",
        meaning="standard deviation, as a share of the value",
        parameters=_singles(0.15, 0.2, 0.35, 0.45, 0.6),
    ),
    Corruption(
        name="gaussian_blur",
        group="extra",
        meaning="sigma",
        parameters=_singles(1, 2, 3, 4, 6),
    ),
    Corruption(
        name="spatter",
        group="extra",
        meaning="mean, deviation, sigma and threshold of the liquid, strength or sigma, 0 for water or 1 for mud",
        parameters=(
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
    ),
    Corruption(
        name="saturate",
        group="extra",
        meaning="factor and addend of the saturation",
        parameters=((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    ),
)

CORRUPTIONS: dict[str, Corruption] = {corruption.name: corruption for corruption in _ALL}
"""By name, in the order of the published tables."""
