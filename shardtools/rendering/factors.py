"""The five factors of a rendered picture (seed 002, section 3.1), and one value of each.

Owns names and units, no ranges: those are options of a plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FACTORS = ("pose", "size", "position", "lighting", "background")
"""Names, in the order of plans and tables. The manifest's columns: `pose`, `size`, `position`, `hue`, `background`."""

CANONICAL_HUE = None
"""White light, which lies outside the circle of hues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorValues:
    """What is chosen for one picture, beside the object.

    Attributes:
        pose: Degrees about the plan's axis: roll (in the picture's plane, counter-clockwise as seen), pitch or yaw.
        size: 1: the mesh's bounding sphere spans 62 % of the frame.
        position: Half-frames to the right, by a shift of the lens: a pure translation of the picture.
        hue: Of the key light, 0 to 1 as in HSV; `None`: white.
        background: Name of the photograph in its catalogue, "type/name".
    """

    pose: float
    size: float
    position: float
    hue: float | None
    background: str


def as_seen(values: FactorValues) -> FactorValues:
    """The values of the same picture in one form: poses of -180 and 180 degrees are one, as are hues of 0 and 1.

    Pictures whose values are then equal are the same by design: a grid's twins.
    """
    # Only what is out of range is reduced, so that no value inside of it loses its last digits.
    pose = values.pose if -180 < values.pose <= 180 else 180 - (180 - values.pose) % 360
    return replace(values, pose=pose, hue=None if values.hue is None else values.hue % 1)
