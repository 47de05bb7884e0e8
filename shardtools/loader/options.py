"""What a user may ask of a `Loader`.

Owns the names and which of them change what is delivered. Those go into the loader's state and into a run file; the
number of threads, ranks and what memory may be used do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.decode import INTERPOLATIONS, MAX_SIDE, DecodeOptions
from shardtools.errors import OptionError
from shardtools.loader.augmentation import CropOptions, MultiCropOptions
from shardtools.loader.order.batches import LAST_BATCHES
from shardtools.loader.order.epoch import OrderOptions
from shardtools.loader.order.mixing import MixOptions
from shardtools.loader.reading.options import ReadOptions

Allocator = Callable[[tuple[int, ...]], npt.NDArray[np.uint8]]
"""Gives memory for a batch: shape -> writable, contiguous uint8 array; see
`shardtools.pipelines.batches.torch_batches`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CenterCropOptions:
    """The shorter side becomes `resize` pixels, the central square of `size` is kept (torchvision's evaluation).

    Attributes:
        size: Side of the square in pixels, 1 to `resize`.
        resize: Shorter side of the resized image in pixels.
        interpolation: One of `decode.INTERPOLATIONS`.

    Raises:
        OptionError: A value is out of range.
    """

    size: int = 224
    resize: int = 256
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if not 1 <= self.size <= self.resize:
            raise OptionError(f"a centre crop has 1 to {self.resize} pixels (resize), found {self.size}")
        _check_side("resize", self.resize)
        _check_interpolation(self.interpolation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeOptions:
    """The whole image becomes `height` x `width` pixels, whatever its shape.

    Attributes:
        height: Pixels, at least 1.
        width: Pixels, at least 1.
        interpolation: One of `decode.INTERPOLATIONS`.

    Raises:
        OptionError: A value is out of range.
    """

    height: int
    width: int
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise OptionError(f"an image is resized to at least 1 x 1 pixels, found {self.height} x {self.width}")
        _check_side("height", self.height)
        _check_side("width", self.width)
        _check_interpolation(self.interpolation)


Crop = CropOptions | CenterCropOptions | ResizeOptions | MultiCropOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderOptions:
    """Which samples, in what order, as what pixels.

    Attributes:
        datasets: Folders or s3:// addresses of finished datasets.
        split: The split to read; `None` reads all. Not with `view`.
        view: SQL that returns `key`, and optionally `dataset`, `class_index` (other labels) and `weight`; see
            `read_view`. `None` reads the split.
        view_parameters: Parameter name -> value of the SQL's `$name`s.
        overlays: Folders or addresses of overlays that the view names and that are not in their dataset.
        crop: One random view, several (`MultiCropOptions`), a centre crop or a plain resize.
        batch_size: Samples of one rank's batch, at least 1.
        order: How an epoch's samples follow each other; its seed is the run's.
        mix: The ratio in which datasets share an epoch; `None` goes through all of them as one.
        last: One of `batches.LAST_BATCHES`.
        rank: This rank, 0 to `world_size` - 1.
        world_size: Ranks that share the epochs, at least 1.
        num_threads: Threads that decode, at least 1.
        prefetch: Batches that wait for the caller, at least 1. Two more are being decoded and one is the caller's, so
            the pixels of `prefetch` + 3 are in memory at most.
        read: How bytes are read.
        backend: "auto" takes the native decoder where it was built; "native" insists; "pillow" goes without.
        allow_scaled: See `DecodeOptions`; changes pixels.
        table_cache: With `split`: folder for the table of samples, which the ranks of a machine then share; `None`
            makes it anew.
        allocator: Gives the memory of a batch; `None` takes the decoder's. Must be safe to call from another thread.

    Raises:
        OptionError: A value is out of range, or two contradict each other.
    """

    datasets: tuple[str, ...]
    split: str | None = None
    view: str | None = None
    view_parameters: Mapping[str, Any] | None = None
    overlays: tuple[str, ...] = ()
    crop: Crop = field(default_factory=lambda: CropOptions(size=224))
    batch_size: int = 64
    order: OrderOptions = field(default_factory=OrderOptions)
    mix: MixOptions | None = None
    last: str = "pad"
    rank: int = 0
    world_size: int = 1
    num_threads: int = 1
    prefetch: int = 2
    read: ReadOptions = field(default_factory=ReadOptions)
    backend: str = "auto"
    allow_scaled: bool = False
    table_cache: str | None = None
    allocator: Allocator | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        self._check_samples()
        for name in ("batch_size", "world_size", "num_threads", "prefetch"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is at least 1, found {getattr(self, name)}")
        if not 0 <= self.rank < self.world_size:
            raise OptionError(f"rank is 0 to {self.world_size - 1} (world_size), found {self.rank}")
        if self.last not in LAST_BATCHES:
            raise OptionError(f"last is one of {', '.join(LAST_BATCHES)}, found {self.last!r}")
        # What the decoder refuses is said here, not when the first batch is made.
        self.decode_options()
        for side in self._sides():
            _check_side("crop.size", side)
        if isinstance(self.crop, MultiCropOptions):
            kinds = {self.crop.global_crop.interpolation, self.crop.local_crop.interpolation}
            if len(kinds) > 1:
                raise OptionError(f"all crops of an image are resized alike, found {' and '.join(sorted(kinds))}")

    def _check_samples(self) -> None:
        if isinstance(self.datasets, str) or not self.datasets:
            raise OptionError(f"datasets is a tuple of folders or s3:// addresses, found {self.datasets!r}")
        if self.view is not None and self.split is not None:
            raise OptionError("a view chooses its own samples: give split or view, the SQL can say where split = '...'")
        if self.overlays and self.view is None:
            raise OptionError("overlays are named by the SQL of a view: give view, or leave overlays out")
        if self.view_parameters and self.view is None:
            raise OptionError("view_parameters are for the SQL of a view, found none: give view")
        if self.table_cache is not None and self.split is None:
            raise OptionError("table_cache keeps the table of a split, found none: give split, or no table_cache")
        if self.mix is not None and self.order.num_draws is not None:
            raise OptionError("a mixture has its own length, found order.num_draws too: give MixOptions(length=...)")

    @property
    def interpolation(self) -> str:
        """Filter of the resize."""
        return (
            self.crop.global_crop.interpolation if isinstance(self.crop, MultiCropOptions) else self.crop.interpolation
        )

    def _sides(self) -> list[int]:
        if isinstance(self.crop, MultiCropOptions):
            return [self.crop.global_crop.size, self.crop.local_crop.size]
        return [self.crop.size] if isinstance(self.crop, CropOptions) else []

    def decode_options(self) -> DecodeOptions:
        """What the decoder is told."""
        return DecodeOptions(
            num_threads=self.num_threads,
            interpolation=self.interpolation,  # type: ignore[arg-type]  # checked by the decoder
            allow_scaled=self.allow_scaled,
            backend=self.backend,  # type: ignore[arg-type]  # likewise
        )

    def result(self) -> dict[str, Any]:
        """The options that change what is delivered, for a state: not ranks, threads, batch size or memory."""
        return {
            "crop": type(self.crop).__name__,
            **{f"crop.{name}": value for name, value in asdict(self.crop).items()},
            "order": self.order,
            "mix": self.mix,
            "last": self.last,
            "on_bad": self.read.on_bad,
            "allow_scaled": self.allow_scaled,
        }


def _check_side(name: str, side: int) -> None:
    if side > MAX_SIDE:
        raise OptionError(f"{name} is at most {MAX_SIDE} pixels, found {side}")


def _check_interpolation(interpolation: str) -> None:
    if interpolation not in INTERPOLATIONS:
        raise OptionError(f"interpolation is one of {', '.join(INTERPOLATIONS)}, found {interpolation!r}")
