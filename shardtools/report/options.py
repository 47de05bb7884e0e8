"""What a user may ask of a report.

Owns the names and their bounds. All of them change what is on the page, none what is exported.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.options import option

_LEAST_BYTES = 500_000
_THUMBNAIL_PIXELS = (32, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What is on the page, and how large it may be.

    Attributes:
        title: Heading of the page; `None` takes the last part of the dataset's address.
        num_suspects: Suspect labels at most, the most suspicious first.
        num_pairs: Pairs of duplicates at most, those across splits first.
        num_outliers: Images at most for each kind of bad quality.
        num_neighbors: Neighbours at most beside a suspect.
        thumbnail_pixels: Longer side of a thumbnail, 32 to 512 pixels; a neighbour's is 4/7 of it.
        max_bytes: Length that the page stays under, at least 500 kB; thumbnails that do not fit are left out, those
            of neighbours first.
        overlays: Folders or addresses of overlays that are not in their dataset.

    Raises:
        OptionError: A value is out of range.
    """

    title: str | None = field(default=None, metadata=option("Heading of the page.", unset="the end of DATASET"))
    num_suspects: int = field(default=1000, metadata=option("At most.", flag="--suspects", metavar="N"))
    num_pairs: int = field(default=300, metadata=option("Duplicates at most.", flag="--pairs", metavar="N"))
    num_outliers: int = field(default=24, metadata=option("At most of each kind.", flag="--outliers", metavar="N"))
    num_neighbors: int = field(default=5, metadata=option("Of a suspect.", flag="--neighbors", metavar="N"))
    thumbnail_pixels: int = field(default=112, metadata=option("Of thumbnails.", flag="--pixels", metavar="N"))
    max_bytes: int = field(
        default=20_000_000,
        metadata=option(
            "Thumbnails that would make the page longer are left out.", flag="--max-megabytes", metavar="MB", unit=10**6
        ),
    )
    overlays: tuple[str, ...] = field(
        default=(), metadata=option("An overlay outside of DATASET.", flag="--overlay", metavar="PATH")
    )

    def __post_init__(self) -> None:
        for name in ("num_suspects", "num_pairs", "num_outliers", "num_neighbors"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} is at least 0, found {getattr(self, name)}")
        least, most = _THUMBNAIL_PIXELS
        if not least <= self.thumbnail_pixels <= most:
            raise OptionError(f"thumbnail_pixels is {least} to {most}, found {self.thumbnail_pixels}")
        if self.max_bytes < _LEAST_BYTES:
            raise OptionError(f"max_bytes is at least {_LEAST_BYTES}, found {self.max_bytes}")
