"""What a user may ask of `make_cue_conflict`."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.options import check_options, option


@dataclass(frozen=True, slots=True, kw_only=True)
class CueConflictOptions:
    """Cut-outs, textures, and how they are put together.

    Attributes:
        cutouts: A folder of folders, one a category, of pictures with transparency.
        textures: The same of textures, which need none.
        out: The dataset.
        textures_per_cutout: Pictures of each cut-out, each with a texture of another category.
        size: Pixels, high and wide.
        fill: Share of the side that the cut-out's longer side takes.
        background: Grey level around it.
        seed: Of the draw of textures.

    Raises:
        OptionError: A number is out of range.
    """

    cutouts: str
    textures: str
    out: str
    textures_per_cutout: int = field(
        default=3,
        metadata=option("Pictures of each cut-out, each with a texture of another category.", bounds=(1, 1000)),
    )
    size: int = field(default=224, metadata=option("Pixels, high and wide.", bounds=(8, 4096)))
    fill: float = field(default=0.9, metadata=option("Share of the side that the cut-out takes.", bounds=(0.05, 1)))
    background: int = field(default=255, metadata=option("Grey level around the cut-out.", bounds=(0, 255)))
    seed: int = field(default=0, metadata=option("Of the draw of textures.", bounds=(0, 2**63 - 1)))

    def __post_init__(self) -> None:
        check_options(self)
