"""Options of a catalogue of photographs."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.options import check_options, option

DEFAULT_SET = "default"
"""The source that stands for the set of the package: five photographs of each of five types."""

TYPES = ("home", "city", "grass", "sky", "water")
"""Of the default set (seed 002, section 3.1), in the order of catalogues; types of others come after them, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundOptions:
    """What becomes of photographs.

    Attributes:
        side: Pixels of a side of the prepared square, at most.
        image_size: Of the pictures that are rendered before them: photographs with fewer pixels are named.
        replace: Whether a catalogue that is there already is made anew.
    """

    side: int = field(
        default=512,
        metadata=option("Larger photos are made smaller to squares of this many pixels.", bounds=(16, 8192)),
    )
    image_size: int = field(
        default=224, metadata=option("Of rendered pictures: smaller photos are named.", bounds=(8, 8192))
    )
    replace: bool = field(default=False, metadata=option("Make a catalogue that is there anew."))

    def __post_init__(self) -> None:
        check_options(self)
