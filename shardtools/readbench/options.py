"""What is asked of a measurement of reading. The loader is imported when it is needed: a command's help does not."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shardtools.errors import OptionError
from shardtools.options import option

if TYPE_CHECKING:
    from shardtools.loader import Crop, LoaderOptions

MAX_SECONDS = 3600.0
CROP_SIDE = 224
"""Pixels: of RandomResizedCrop where no crop is named."""


def _default_crop() -> Crop:
    from shardtools.loader import CropOptions

    return CropOptions(size=CROP_SIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBenchOptions:
    """What to measure.

    Attributes:
        dataset: Folder or s3:// address of a finished dataset.
        split: The split to read; `None` reads all.
        crop: What is made of each image.
        batch_size: Images of a batch, at least 1.
        num_threads: Threads that decode, at least 1.
        shuffle: One of `OrderOptions`'.
        seed: Of order and crops.
        seconds: For how long the loader is measured, above 0 to 3,600; each part on its own takes half of it.
        backend: As in `LoaderOptions`.

    Raises:
        OptionError: A value is out of range.
    """

    dataset: str
    split: str | None = field(default=None, metadata=option("The split to read.", unset="all"))
    crop: Crop = field(default_factory=_default_crop)
    batch_size: int = field(default=64, metadata=option("Images of a batch."))
    num_threads: int = field(default=1, metadata=option("Threads that decode.", flag="--threads"))
    shuffle: str = field(
        default="global", metadata=option("Order in which samples are read.", choices=("global", "blocks", "none"))
    )
    seed: int = field(default=0, metadata=option("Of order and crops."))
    seconds: float = field(
        default=5.0,
        metadata=option("For how long the loader is measured; each part on its own takes half of it."),
    )
    backend: str = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= MAX_SECONDS or math.isnan(self.seconds):
            raise OptionError(f"seconds is above 0, at most {MAX_SECONDS:.0f}, found {self.seconds}")
        if self.shuffle == "weighted":
            raise OptionError("shuffle='weighted' needs a view's weights: measure with 'global', which reads alike")
        self.loader_options()

    def loader_options(self) -> LoaderOptions:
        """The loader that is measured."""
        from shardtools.loader import LoaderOptions, OrderOptions

        return LoaderOptions(
            datasets=(self.dataset,),
            split=self.split,
            crop=self.crop,
            batch_size=self.batch_size,
            order=OrderOptions(seed=self.seed, shuffle=self.shuffle),
            num_threads=self.num_threads,
            backend=self.backend,
        )
