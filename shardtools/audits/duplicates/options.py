"""What may be asked of the search for duplicates."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.audits.quality import MIN_QUALITY
from shardtools.errors import OptionError
from shardtools.options import option

OVERLAY_NAME = "duplicates"
PAIRS_OVERLAY_NAME = "duplicate_pairs"
MADE_BY = "shardtools duplicates"

KINDS = {
    "exact": "the same bytes, by the digests in the manifests",
    "perceptual": "perceptual hashes within the radius: re-encoded, resized, slightly cut or retouched",
    "mirrored": "the same, one of the pictures mirrored left to right",
    "embedding": "features within the cosine: needs features",
}
"""Kind -> what it finds, in the order of precedence: a pair is of the first kind that finds it."""

DEFAULT_KINDS = ("exact", "perceptual", "mirrored")
HASH_BITS = 256
DEFAULT_RADIUS = 31
"""Bits of 256 that Meta gives as the bound of "the same picture" for PDQ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesOptions:
    """Where to look, for what, and what is written.

    Attributes:
        datasets: Folders or s3:// addresses of finished datasets; all are compared with each other and themselves.
        kinds: Some of `KINDS`.
        radius: Bits of 256 that perceptual hashes may differ in, 0 to 256.
        min_quality: Hashes of a lower quality, 0 to 100, are left out: pictures of nearly one colour look alike.
        min_similarity: Cosine of features from which on they are a pair, above -1 up to 1.
        overlays: Folders or addresses of `quality` overlays that are not in their dataset.
        write: Whether the overlays `duplicates` and `duplicate_pairs` are written into each dataset.
        replace: Whether overlays of these names are replaced even where another program wrote them.
        pairs_file: A path or s3:// address ending in .parquet for the pairs of all datasets; `None` writes none.

    Raises:
        OptionError: A value is out of range.
    """

    datasets: tuple[str, ...]
    kinds: tuple[str, ...] = field(
        default=DEFAULT_KINDS,
        metadata=option("Some of exact, perceptual, mirrored, embedding, with commas.", flag="--kind", commas=True),
    )
    radius: int = field(default=DEFAULT_RADIUS, metadata=option("Of 256, that hashes may differ in.", metavar="BITS"))
    min_quality: int = field(default=MIN_QUALITY, metadata=option("Leave out hashes of a lower quality, 0 to 100."))
    min_similarity: float = field(default=0.95, metadata=option("Cosine of features from which they are near."))
    overlays: tuple[str, ...] = field(
        default=(), metadata=option("A quality overlay elsewhere.", flag="--quality-overlay", metavar="FOLDER")
    )
    write: bool = field(
        default=True,
        metadata=option("Write the overlays duplicates and duplicate_pairs.", flag="--overlay/--no-overlay"),
    )
    replace: bool = field(default=False, metadata=option("Also replace overlays of these names by another program."))
    pairs_file: str | None = field(
        default=None,
        metadata=option("Write all pairs to FILE.parquet (path or s3://).", flag="--pairs", metavar="FILE"),
    )

    def __post_init__(self) -> None:
        if isinstance(self.datasets, str) or not self.datasets:
            raise OptionError(f"datasets is a tuple of folders or s3:// addresses, found {self.datasets!r}")
        unknown = next((kind for kind in self.kinds if kind not in KINDS), None)
        if unknown is not None or not self.kinds:
            raise OptionError(f"kinds are some of {', '.join(KINDS)}, found {unknown if self.kinds else 'none'!r}")
        if not 0 <= self.radius <= HASH_BITS:
            raise OptionError(f"radius is 0 to {HASH_BITS} bits, found {self.radius}")
        if not 0 <= self.min_quality <= 100:
            raise OptionError(f"min_quality is 0 to 100, found {self.min_quality}")
        if not -1 < self.min_similarity <= 1:
            raise OptionError(f"min_similarity is a cosine above -1 and up to 1, found {self.min_similarity}")
        if self.pairs_file is not None and not self.pairs_file.lower().endswith(".parquet"):
            raise OptionError(
                f"pairs are written as Parquet: give a name that ends in .parquet, not {self.pairs_file!r}"
            )

    @property
    def uses_hashes(self) -> bool:
        """Whether the datasets' `quality` overlays are needed."""
        return "perceptual" in self.kinds or "mirrored" in self.kinds
