"""What `shardtools meshes` is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.options import check_options, option

FURNITURE_SOURCE = "sweethome3d"
"""Not a folder: Debian's furniture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshOptions:
    """What becomes of outside meshes.

    Attributes:
        source: A folder or s3://bucket/prefix, or `FURNITURE_SOURCE`.
        out: Where the catalogue goes, likewise.
        sheets: Whether a contact sheet of each class is drawn.
        replace: Whether a catalogue that is there already is made anew.
    """

    source: str
    out: str = field(metadata=option("The catalogue: a folder or s3://bucket/prefix.", metavar="MESHES"))
    sheets: bool = field(default=False, metadata=option("Draw a contact sheet a class, with licenses."))
    replace: bool = field(default=False, metadata=option("Make a catalogue that is there anew."))

    def __post_init__(self) -> None:
        check_options(self)
