"""What may be asked of the quality pass, and the names that others find its overlay by."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from shardtools.decode import BACKENDS, DecodeOptions
from shardtools.errors import OptionError
from shardtools.options import option

OVERLAY_NAME = "quality"
MADE_BY = "shardtools quality"

MIN_QUALITY = 50
"""Hashes of less are as good as random: Meta advises against comparing them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityOptions:
    """Which dataset, and how much at a time; only `allow_scaled` and `backend` may change a number.

    Attributes:
        dataset: Folder or s3:// address of a finished dataset.
        num_threads: Threads, each of which reads pictures and measures them; `None` is one a core.
        batch_size: Pictures that a thread decodes at a time, at least 1.
        rows_per_part: Rows that are committed together, at least 1: what a stopped run loses at most.
        allow_scaled: Decode large JPEGs at 1/2, 1/4 or 1/8, never below the 192 pixels that are measured: faster, and a
            hash may differ by some bits from that of the same picture in another format. Pillow decodes in full.
        backend: See `DecodeOptions`.
        replace: Whether an overlay that is there is measured anew; else a finished one is kept, a part of one gone on
            with.
        out: A folder or address for the overlay itself, where the dataset cannot be written.

    Raises:
        OptionError: A value is out of range.
    """

    dataset: str
    num_threads: int | None = field(
        default=None,
        metadata=option("Threads that decode and measure.", flag="--threads", metavar="N", unset="one a core"),
    )
    batch_size: int = 32
    rows_per_part: int = 20_000
    allow_scaled: bool = field(
        default=True,
        metadata=option("Decode every pixel of large JPEGs, not only as many as are measured.", flag="--full"),
    )
    backend: str = field(
        default="auto", metadata=option("What decodes; with --full all give the same pixels.", choices=BACKENDS)
    )
    replace: bool = field(default=False, metadata=option("Measure anew what is there."))
    out: str | None = field(
        default=None, metadata=option("Write the overlay there, where DATASET cannot be written.", metavar="FOLDER")
    )

    def __post_init__(self) -> None:
        for name in ("batch_size", "rows_per_part"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is at least 1, found {getattr(self, name)}")
        self.decode_options()

    @property
    def threads(self) -> int:
        """Threads that work."""
        return self.num_threads if self.num_threads is not None else os.cpu_count() or 1

    def decode_options(self) -> DecodeOptions:
        """What each thread's decoder is told."""
        # Checks the number of threads; each of them has a decoder of its own.
        checked = DecodeOptions(num_threads=self.threads, allow_scaled=self.allow_scaled, backend=self.backend)  # type: ignore[arg-type]
        return DecodeOptions(allow_scaled=checked.allow_scaled, backend=checked.backend)
