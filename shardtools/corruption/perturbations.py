"""What sequences of perturbed frames there are: ten of ImageNet-P, and four that it keeps for validation.

Owns their names and what each of their frames is. Source: D. Hendrycks and T. Dietterich, "Benchmarking neural network
robustness to common corruptions and perturbations" (ICLR 2019), with the numbers of the program that made ImageNet-P
(ImageNet-P/create_p/make_imagenet_p.py).
"""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """A sequence of frames.

    Attributes:
        name: As published.
        meaning: What changes from frame to frame, i from 0; lengths in pixels, angles in degrees, colors in [0, 1].
        num_frames: How many, the first included.
        strengths: Of the three levels of noise. Empty for all others: their higher levels are every second and third
            frame of the same sequence.
        is_extra: Whether it is one of the four for validation.
    """

    name: str
    meaning: str
    num_frames: int = 31
    strengths: tuple[float, ...] = ()
    is_extra: bool = False

    @property
    def is_noise(self) -> bool:
        """Whether frames are drawn independently, so that each is compared with the first and not with the last."""
        return bool(self.strengths)


_ALL = (
    Perturbation(name="gaussian_noise", meaning="standard deviation; frame 0 is clean", strengths=(0.03, 0.05, 0.08)),
    Perturbation(name="shot_noise", meaning="photons of a white pixel; frame 0 is clean", strengths=(300, 120, 60)),
    Perturbation(name="motion_blur", meaning="direction (i - 30) 4"),
    Perturbation(name="zoom_blur", meaning="mean of all enlargements by 1 to 1 + .004 i"),
    Perturbation(name="snow", meaning="direction 4 i - 150 of the same flakes"),
    Perturbation(name="brightness", meaning="(i - 15) .02 added to the value"),
    Perturbation(name="translate", meaning="i - 20 to the right", num_frames=41),
    Perturbation(name="rotate", meaning="angle i - 15"),
    Perturbation(name="tilt", meaning="angle i - 15 about both axes of the image, seen from a diagonal's length away"),
    Perturbation(name="scale", meaning="factor (2.5 i + 40) / 100"),
    Perturbation(
        name="speckle_noise",
        meaning="standard deviation, as a share of the value; frame 0 is clean",
        strengths=(0.05, 0.1, 0.15),
        is_extra=True,
    ),
    Perturbation(name="gaussian_blur", meaning="sigma .25 + .035 i", is_extra=True),
    Perturbation(name="spatter", meaning="the same water after i steps of flowing down", is_extra=True),
    Perturbation(name="shear", meaning="angle i - 15", is_extra=True),
)

PERTURBATIONS: dict[str, Perturbation] = {perturbation.name: perturbation for perturbation in _ALL}
"""By name, in the order of the published tables."""
