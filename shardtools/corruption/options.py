"""What a user may ask of corrupted copies of a dataset."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.corruption.registry import CORRUPTIONS, SEVERITIES
from shardtools.errors import OptionError
from shardtools.options import check_options, option

EXTRA = "extra"
IMAGENET_C = "imagenet-c"
CORRUPTION_SETS: dict[str, tuple[str, ...]] = {
    IMAGENET_C: tuple(name for name, one in CORRUPTIONS.items() if one.group != EXTRA),
    EXTRA: tuple(name for name, one in CORRUPTIONS.items() if one.group == EXTRA),
}
"""Set -> names of its corruptions, in the order of the published tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptOptions:
    """Which corruptions, and of which view of a picture.

    Attributes:
        corruption_set: A key of `CORRUPTION_SETS`.
        corruptions: Names of `CORRUPTIONS` in place of the set's.
        severities: Whole numbers from 1 to 5, as they are typed.
        resize: Shorter side in pixels before the center is cut out, as ImageNet-C was made.
        image_size: Side in pixels of the center.
        whole: Whether pictures keep their own size and are not cut, as small ones must.
        seed: Of all draws, with the picture's key, the corruption and the severity; at least 0.
        quality: Of the JPEGs, 1 to 100.
        clean: Whether values are rounded, and pictures are written as PNG, without what the published program adds.

    Raises:
        OptionError: A value is out of range, or there is no such corruption.
    """

    corruption_set: str = field(
        default=IMAGENET_C, metadata=option("Which corruptions.", flag="--set", choices=tuple(CORRUPTION_SETS))
    )
    corruptions: tuple[str, ...] = field(
        default=(), metadata=option("Only these: fog,contrast.", flag="--corruption", commas=True, unset="the set's")
    )
    severities: tuple[str, ...] = field(
        default=tuple(map(str, SEVERITIES)), metadata=option("Of 1 (mild) to 5.", flag="--severity", commas=True)
    )
    resize: int = field(default=256, metadata=option("Shorter side before the center is cut out.", bounds=(1, 65535)))
    image_size: int = field(default=224, metadata=option("Side of the center.", bounds=(1, 65535)))
    whole: bool = field(default=False, metadata=option("Take each picture as it is: for small ones."))
    seed: int = field(default=0, metadata=option("Another seed draws anew.", bounds=(0, 2**63 - 1)))
    quality: int = field(default=85, metadata=option("Of the JPEGs.", bounds=(1, 100)))
    clean: bool = field(
        default=False, metadata=option("Round values and write PNG, without the published program's losses.")
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.image_size > self.resize:
            raise OptionError(
                f"--image-size is at most --resize, {self.resize}, found {self.image_size}: resize to more"
            )
        for name in self.corruptions:
            if name not in CORRUPTIONS:
                raise OptionError(f"--corruption is of {', '.join(CORRUPTIONS)}, found {name!r}")
        known = set(map(str, SEVERITIES))
        for severity in self.severities:
            if severity not in known:
                raise OptionError(f"--severity is of 1 to 5, found {severity!r}")
        if not self.severities:
            raise OptionError("--severity is one or more of 1 to 5, found none")

    @property
    def variants(self) -> tuple[tuple[str, int], ...]:
        """Name and severity of each copy of a picture, corruption by corruption."""
        names = self.corruptions or CORRUPTION_SETS[self.corruption_set]
        return tuple((name, int(severity)) for name in names for severity in self.severities)
