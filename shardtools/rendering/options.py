"""What a user may ask of a rendered dataset: which grids, over which values, of which objects.

Owns the proposed ranges and canonical values: seed 002 publishes none. Size 1 and position 0.38 keep the bounding
sphere in the frame; the reasons, with the accuracies they were measured by, are in docs/render.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.options import check_options, option
from shardtools.rendering.factors import FACTORS

RENDERED = "rendered"
"""Kind of a rendered dataset, and the `source` of its rows."""

CANONICAL, SINGLE, PAIRS, ALL = "canonical", "single", "pairs", "all"
GRIDS = {
    CANONICAL: "each object once, every factor canonical",
    SINGLE: "one factor at a time, over all of its values",
    PAIRS: "two factors at a time",
    ALL: "random combinations of all factors",
}
"""Grid -> what it varies, in the order of plans."""

IMAGE_FORMATS = ("jpg", "png")
MAX_VALUES = 10_001


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    """Which pictures, apart from the scene that they share.

    Attributes:
        grids: Some of `GRIDS`; the order they are named in changes nothing.
        factors: Those that the grids "single" and "pairs" vary, some of `FACTORS`; "all" varies all.
        values: Values of each of pose, size, position and hue where one factor varies alone, at even distances from
            one end of its range to the other, both included; 2 to `MAX_VALUES`.
        pair_values: Likewise where several vary.
        draws: Combinations of each object in the grid "all", no two alike.
        photos: Photographs of each type where background varies alone: the first ones; `None` for all.
        pair_photos: Likewise where several factors vary.
        objects: Of each class, the first in an order that the seed draws.
        at_least: Classes with fewer objects are left out, and those with fewer than `objects` give what they have;
            `None` refuses a class with fewer than `objects`.
        classes: Specification for `taxonomy.load_classes`: only these; `None` for all of the catalogue.
        pose_range: Least and greatest pose, degrees.
        size_range: Least and greatest size; 1: the bounding sphere spans 62 % of the frame.
        position_range: Least and greatest position, half-frames to the right.
        hue_range: Least and greatest hue of the light, 0 to 1; 0 and 1 are one color.
        canonical_pose: Degrees.
        canonical_size: As `size_range`.
        canonical_position: As `position_range`.
        canonical_hue: `None` for white light, which is no hue.
        canonical_background: A photograph, "type/name"; `None` for the first of the type home.
        seed: Of all draws, with the object, the grid and the picture's place in it; at least 0.
        image_format: "jpg" (4:4:4) or "png".
        quality: Of the JPEGs, 1 to 100.

    Raises:
        OptionError: A value is out of range, or there is no such grid.
    """

    grids: tuple[str, ...] = field(
        default=(CANONICAL, SINGLE),
        metadata=option(f"Some of {', '.join(GRIDS)}, with commas.", flag="--grid", commas=True),
    )
    factors: tuple[str, ...] = field(
        default=FACTORS, metadata=option(f"Those that {SINGLE} and {PAIRS} vary, with commas.", commas=True)
    )
    values: int = field(
        default=101, metadata=option("Values of a factor that varies alone; odd ones hold the middle of the range.")
    )
    pair_values: int = field(default=11, metadata=option("Values of each factor where several vary."))
    draws: int = field(
        default=1000, metadata=option("Combinations of an object in the grid all.", bounds=(1, 2**31 - 1))
    )
    photos: int | None = field(
        default=None,
        metadata=option(
            "Photographs of each type where background varies alone: the first ones.",
            bounds=(1, 2**31 - 1),
            unset="all",
        ),
    )
    pair_photos: int = field(
        default=2, metadata=option("Photographs of each type where several factors vary.", bounds=(1, 1000))
    )
    objects: int = field(default=50, metadata=option("Objects of each class.", bounds=(1, 2**31 - 1)))
    at_least: int | None = field(
        default=None,
        metadata=option(
            "Leave out classes with fewer objects; take what others have, up to --objects.",
            bounds=(1, 2**31 - 1),
            unset="--objects, and smaller classes are refused",
        ),
    )
    classes: str | None = field(
        default=None,
        metadata=option("Only these: wnids with commas, a class set, or a .txt file.", unset="all of MESHES"),
    )
    pose_range: tuple[float, ...] = field(
        default=(-180.0, 180.0), metadata=option("Least and greatest pose in degrees.", commas=True)
    )
    size_range: tuple[float, ...] = field(
        default=(0.2, 1.2), metadata=option("Of sizes; 1: the bounding sphere spans 62 % of the frame.", commas=True)
    )
    position_range: tuple[float, ...] = field(
        default=(-0.38, 0.38), metadata=option("Of positions, in half-frames to the right.", commas=True)
    )
    hue_range: tuple[float, ...] = field(
        default=(0.0, 1.0), metadata=option("Of the light's hue; 0 and 1 are both red.", commas=True)
    )
    canonical_pose: float = field(default=0.0, metadata=option("Where pose does not vary.", bounds=(-360, 360)))
    canonical_size: float = field(default=1.0, metadata=option("Where size does not vary.", bounds=(0.01, 10)))
    canonical_position: float = field(default=0.0, metadata=option("Where position does not vary.", bounds=(-2, 2)))
    canonical_hue: float | None = field(
        default=None, metadata=option("Where lighting does not vary.", bounds=(0, 1), unset="white light")
    )
    canonical_background: str | None = field(
        default=None,
        metadata=option(
            "Photograph where background does not vary.", metavar="TYPE/NAME", unset="the first of the type home"
        ),
    )
    seed: int = field(default=0, metadata=option("Another seed draws anew.", bounds=(0, 2**63 - 1)))
    image_format: str = field(default="jpg", metadata=option("Of the pictures.", choices=IMAGE_FORMATS))
    quality: int = field(default=95, metadata=option("Of the JPEGs.", bounds=(1, 100)))

    def __post_init__(self) -> None:
        check_options(self)
        unknown = next((name for name in self.grids if name not in GRIDS), None)
        if unknown is not None or not self.grids:
            raise OptionError(f"--grid is some of {', '.join(GRIDS)}, found {unknown if self.grids else 'none'!r}")
        unknown = next((name for name in self.factors if name not in FACTORS), None)
        if unknown is not None or not self.factors:
            found = unknown if self.factors else "none"
            raise OptionError(f"--factors is some of {', '.join(FACTORS)}, found {found!r}")
        if PAIRS in self.grids and len(set(self.factors)) < 2:
            raise OptionError(
                f"--grid {PAIRS} varies two of the --factors, found {self.factors[0]}: name two, or leave it out"
            )
        for flag, number in (("--values", self.values), ("--pair-values", self.pair_values)):
            if not 2 <= number <= MAX_VALUES:
                raise OptionError(
                    f"{flag} is 2 to {MAX_VALUES}, found {number}: a factor of one value does not vary, the grid "
                    f"{CANONICAL} has each object once"
                )
        _check_range("--pose-range", self.pose_range, (-360, 360))
        _check_range("--size-range", self.size_range, (0.01, 10))
        _check_range("--position-range", self.position_range, (-2, 2))
        _check_range("--hue-range", self.hue_range, (0, 1))

    @property
    def ordered_factors(self) -> tuple[str, ...]:
        """The factors, each once, in the order of plans."""
        return tuple(name for name in FACTORS if name in self.factors)

    @property
    def ordered_grids(self) -> tuple[str, ...]:
        """The grids, each once, in the order of plans."""
        return tuple(name for name in GRIDS if name in self.grids)


def _check_range(flag: str, given: Sequence[float], bounds: tuple[float, float]) -> None:
    low, high = bounds
    if len(given) != 2 or not all(map(math.isfinite, given)) or not low <= given[0] < given[1] <= high:
        found = ",".join(f"{value:g}" for value in given) or "nothing"
        raise OptionError(
            f"{flag} is two numbers of {low:g} to {high:g} with a comma between, the lower first, found {found}"
        )
