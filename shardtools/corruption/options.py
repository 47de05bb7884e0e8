"""What a user may ask of corrupted copies of a dataset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from shardtools.corruption.perturbations import LEVELS, PERTURBATIONS
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

SEQUENCE_SETS: dict[str, tuple[str, ...]] = {
    "imagenet-p": tuple(name for name, one in PERTURBATIONS.items() if not one.is_extra),
    "imagenet-p-extra": tuple(name for name, one in PERTURBATIONS.items() if one.is_extra),
}
"""Set -> names of its sequences of frames, likewise."""


class Variant(NamedTuple):
    """One copy of a picture: name, severity (of a sequence its level), frame (`None` where there is no sequence)."""

    corruption: str
    severity: int
    frame: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptOptions:
    """Which corruptions, and of which view of a picture.

    Attributes:
        corruption_set: A key of `CORRUPTION_SETS` or `SEQUENCE_SETS`.
        corruptions: Names of `CORRUPTIONS`, or of `PERTURBATIONS` with a set of sequences, in place of the set's.
        severities: Whole numbers from 1 to 5, as they are typed; none for all. Of sequences: levels, 1 to 3 for noise,
            1 for all others; none for 1.
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
        default=IMAGENET_C,
        metadata=option(
            "Which corruptions, or sequences of frames.", flag="--set", choices=(*CORRUPTION_SETS, *SEQUENCE_SETS)
        ),
    )
    corruptions: tuple[str, ...] = field(
        default=(), metadata=option("Only these: fog,contrast.", flag="--corruption", commas=True, unset="the set's")
    )
    severities: tuple[str, ...] = field(
        default=(),
        metadata=option("Of 1 (mild) to 5.", flag="--severity", commas=True, unset="all; of sequences 1"),
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
        known = PERTURBATIONS if self.is_sequence else CORRUPTIONS
        for name in self.corruptions:
            if name not in known:
                raise OptionError(
                    f"--corruption is one of {', '.join(known)} with --set {self.corruption_set}, found {name!r}"
                )
        levels = set(map(str, LEVELS if self.is_sequence else SEVERITIES))
        for severity in self.severities:
            if severity not in levels:
                raise OptionError(f"--severity is of 1 to {len(levels)}, found {severity!r}")
        if self.is_sequence and set(self.severities) - {"1"}:
            others = [name for name in self.names if not PERTURBATIONS[name].is_noise]
            if others:
                raise OptionError(
                    f"--severity of sequences other than noise is 1, found {','.join(self.severities)} with "
                    f"{others[0]}: their harder levels are every second and third frame; name the noises with "
                    "--corruption"
                )

    @property
    def is_sequence(self) -> bool:
        """Whether each copy is a frame of a sequence."""
        return self.corruption_set in SEQUENCE_SETS

    @property
    def names(self) -> tuple[str, ...]:
        """Of the corruptions, or of the sequences."""
        return tuple(dict.fromkeys(self.corruptions)) or (CORRUPTION_SETS | SEQUENCE_SETS)[self.corruption_set]

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The copies of a picture, corruption by corruption."""
        if not self.is_sequence:
            severities = self._levels or SEVERITIES
            return tuple(Variant(name, severity, None) for name in self.names for severity in severities)
        levels = self._levels or (1,)
        return tuple(
            Variant(name, level, frame)
            for name in self.names
            for level in levels
            for frame in range(PERTURBATIONS[name].num_frames)
        )

    @property
    def _levels(self) -> tuple[int, ...]:
        """The severities, each once: a copy that came twice would have the key of another."""
        return tuple(map(int, dict.fromkeys(self.severities)))
