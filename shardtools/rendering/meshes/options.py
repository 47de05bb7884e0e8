"""What `shardtools meshes` is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.options import check_options, option

FURNITURE_SOURCE = "sweethome3d"
"""Not a folder: Debian's furniture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshOptions:
    """Attributes: see the words of each option."""

    source: str
    out: str = field(metadata=option("The catalogue: a folder or s3://bucket/prefix. Required.", metavar="MESHES"))
    sheets: bool = field(default=False, metadata=option("Draw a contact sheet a class, with licenses."))

    def __post_init__(self) -> None:
        check_options(self)
