"""From the encoded images of a batch to its pixels.

Owns what the decoder is told of each image: its size, its crops, and whether it is encoded at all. Nothing here waits
or reads, so batches may be decoded in several threads at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from shardtools.arrays import Int64s
from shardtools.decode import Decoder, DecodeStatus
from shardtools.errors import OptionError
from shardtools.loader.crops.requests import draw_crops, output_shapes
from shardtools.loader.options import LoaderOptions
from shardtools.loader.randomness import Draws
from shardtools.loader.reading.batch import RawBatch
from shardtools.loader.table.samples import SampleTable

Images = list[npt.NDArray[np.uint8]]

_RAW_FORMAT = "raw"


class BatchDecoder:
    """Decodes the batches of one loader."""

    def __init__(self, options: LoaderOptions, table: SampleTable, decoder: Decoder) -> None:
        self._options, self._table, self._decoder = options, table, decoder
        formats = table.image_formats
        self._raw_format = formats.index(_RAW_FORMAT) if _RAW_FORMAT in formats else None

    def decode(self, raw: RawBatch, repeats: Int64s) -> tuple[Images, npt.NDArray[np.int32]]:
        """A whole batch.

        Args:
            raw: The encoded images.
            repeats: `EpochSequence.repeats` of their positions, [N].

        Returns:
            uint8 [N, K, H, W, 3] for each kind of view, and a `DecodeStatus` for each image.

        Raises:
            OptionError: The allocator gives other memory than it was asked for.
        """
        outs = [self._allocate(shape) for shape in output_shapes(self._options.crop, len(raw))]
        return outs, self.decode_into(raw, repeats, outs)

    def decode_into(self, raw: RawBatch, repeats: Int64s, outs: Images) -> npt.NDArray[np.int32]:
        """As `decode`, into the given memory."""
        sizes, statuses = self._sizes(raw)
        # Only images with a known size get draws: a crop of no size has no numbers. Draws go by key, so those of the
        # others do not change by it.
        good = np.flatnonzero(statuses == DecodeStatus.OK)
        if not len(good):
            return statuses
        draws = Draws(seed=self._options.order.seed, epoch=raw.epoch, keys=self._table.key_hash[raw.rows[good]])
        cropping = draw_crops(self._options.crop, draws.for_repeats(repeats[good]), sizes[good])
        is_whole = len(good) == len(raw)
        # The decoder fills all places of what it is given, so a batch with holes is decoded elsewhere first.
        targets = outs if is_whole else [self.empty((len(good), *out.shape[1:])) for out in outs]
        statuses[good] = self._decoder.decode_crops(
            [raw.buffers[index] for index in good.tolist()],
            cropping.crops,
            cropping.flips,
            targets,
            windows=cropping.windows,
            colors=cropping.colors,
            raw_sizes=self._raw_sizes(raw.rows[good], sizes[good]),
        )
        if not is_whole:
            for out, target in zip(outs, targets, strict=True):
                out[good] = target
        return statuses

    def empty(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """Memory for pixels that the caller does not see, on the decoder's device."""
        return self._decoder.empty(shape)

    def _sizes(self, raw: RawBatch) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Width and height of each image by the manifest, where it knows them, else by the image's header."""
        sizes = np.stack([self._table.width[raw.rows], self._table.height[raw.rows]], axis=1).astype(np.int32)
        statuses = np.zeros(len(raw), np.int32)
        unknown = np.flatnonzero((sizes < 1).any(axis=1))
        if len(unknown):
            sizes[unknown], statuses[unknown] = self._decoder.sizes([raw.buffers[index] for index in unknown.tolist()])
        return sizes, statuses

    def _raw_sizes(self, rows: Int64s, sizes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32] | None:
        """Sizes of the images that are rows of pixels, 0 for those that are encoded; `None` where all are."""
        if self._raw_format is None:
            return None
        is_raw = self._table.image_format[rows] == self._raw_format
        return np.where(is_raw[:, None], sizes, np.int32(0)) if is_raw.any() else None

    def _allocate(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        allocator: Callable[[tuple[int, ...]], npt.NDArray[np.uint8]] | None = self._options.allocator
        if allocator is None:
            return self.empty(shape)
        found = allocator(shape)
        if found.shape != shape or found.dtype != np.uint8 or not (found.flags.c_contiguous and found.flags.writeable):
            raise OptionError(
                f"the allocator gives contiguous, writable uint8 of the shape it is asked for, {shape}, found "
                f"{found.dtype} {found.shape}: correct it"
            )
        return found
