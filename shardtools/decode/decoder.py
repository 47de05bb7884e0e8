"""A decoder: batches of encoded images in, pixels in the caller's memory and a status for each image out.

Owns the choice between the native core and Pillow. An image that cannot be decoded is no exception but a status, since
one bad image must not take its batch with it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardtools.decode.native import NativeDecoder, load_core
from shardtools.decode.options import Colors, DecodeOptions, DecodeStatus
from shardtools.decode.pillow import PillowDecoder
from shardtools.decode.request import Encoded, Request, make_request
from shardtools.errors import OptionError

_FOR_PILLOW = (DecodeStatus.NOT_AN_IMAGE, DecodeStatus.UNSUPPORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSeconds:
    """Seconds that the native core's threads spent since the decoder was made, added up over the threads.

    Args:
        decode: Header, entropy decoding, inverse transform, upsampling.
        resize: Both passes, straight into the batch: there is no copy besides.
        color: Colour operations.
    """

    decode: float
    resize: float
    color: float


class Decoder:
    """Decodes batches. Safe to call from several threads: batches then overlap, and no core waits for a batch's end.

    Raises:
        OptionError: `backend` is "native" and the native core was not built.
    """

    def __init__(self, options: DecodeOptions | None = None) -> None:
        self.options = options or DecodeOptions()
        core = None if self.options.backend == "pillow" else load_core()
        if core is None and self.options.backend == "native":
            raise OptionError(
                "backend: expected the native core, found an install without it; install g++ and libjpeg62-turbo-dev,"
                " then install shardtools again"
            )
        self._native = None if core is None else NativeDecoder(core, self.options)
        self._pillow = PillowDecoder(self.options)
        self._nanoseconds = np.zeros(3, np.int64)
        self._lock = threading.Lock()

    def decode_batch(
        self,
        images: Sequence[Encoded],
        crops: NDArray[np.integer],
        flips: NDArray[Any] | None,
        out: NDArray[np.uint8],
        *,
        windows: NDArray[np.integer] | None = None,
        colors: Colors | None = None,
    ) -> NDArray[np.int32]:
        """Decodes one crop of each image.

        The result is that of Pillow's `image.crop(crop).resize(size)`: pixels outside the crop have no influence.

        Args:
            images: N encoded images; a memoryview into a memory-mapped shard is read where it lies.
            crops: [N, 4] left, top, width, height in pixels of the stored image; EXIF orientation is not applied.
            flips: [N], true where the result is mirrored left to right; None for nowhere.
            out: uint8 [N, H, W, 3] RGB. Each image must be contiguous; the first axis may have gaps.
            windows: [N, 4] full width, full height, left, top: the crop is resized to the full size, of which the
                H x W pixels from (left, top) are made. None: the crop is resized to W x H. See `center_windows`.
            colors: Colour operations with K = 1.

        Returns:
            A `DecodeStatus` for each image, int32 [N].

        Raises:
            OptionError: A shape or a type is not the documented one.
        """
        return self.decode_crops(
            images,
            crops[:, None],
            None if flips is None else flips[:, None],
            [out[:, None]],
            windows=None if windows is None else windows[:, None],
            colors=colors,
        )

    def decode_crops(
        self,
        images: Sequence[Encoded],
        crops: NDArray[np.integer],
        flips: NDArray[Any] | None,
        outs: Sequence[NDArray[np.uint8]],
        *,
        windows: NDArray[np.integer] | None = None,
        colors: Colors | None = None,
        raw_sizes: NDArray[np.integer] | None = None,
    ) -> NDArray[np.int32]:
        """Decodes K crops of each image, the image itself only once.

        Args:
            images: N encoded images.
            crops: [N, K, 4]; see `decode_batch`.
            flips: [N, K] or None.
            outs: Arrays uint8 [N, Kg, H, W, 3], each with its own H and W; the Kg add up to K, crops in this order.
            windows: [N, K, 4] or None.
            colors: Operations for each crop.
            raw_sizes: [N, 2] width and height of each image that is not encoded, but rows of RGB pixels; 0 and 0 for
                those that are. None: all are encoded.

        Returns:
            A `DecodeStatus` for each image, int32 [N]; an image fails with all of its crops.

        Raises:
            OptionError: A shape or a type is not the documented one.
        """
        request = make_request(images, crops, flips, outs, windows, colors, raw_sizes)
        if not request.images:
            return np.zeros(0, np.int32)
        if self._native is None:
            return self._pillow.decode(request, np.arange(len(request.images)))
        return self._decode_with_both(self._native, request)

    @property
    def is_native(self) -> bool:
        """Whether the native core decodes JPEGs."""
        return self._native is not None

    def empty(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Memory to decode into, uint8; a decoder on another device gives its own kind."""
        return np.empty(shape, np.uint8)

    def sizes(self, images: Sequence[Encoded]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Reads headers.

        Returns:
            Width and height of each stored image, int32 [N, 2], zero where the status is not OK; and the statuses.
        """
        encoded = list(images)
        if self._native is None:
            return self._pillow.sizes(encoded)
        sizes, statuses = self._native.sizes(encoded)
        others = np.flatnonzero(np.isin(statuses, _FOR_PILLOW))
        if len(others):
            sizes[others], statuses[others] = self._pillow.sizes([encoded[index] for index in others])
        return sizes, statuses

    def facts(self) -> dict[str, str | bool]:
        """What decides on pixels, for a run file."""
        native = {} if self._native is None else self._native.facts()
        return {
            "decoder": "pillow" if self._native is None else "native",
            "library": native.get("library") or _pillow_library(),
            "simd": native.get("simd", ""),
            "dct_method": "islow",
            "fancy_upsampling": True,
            "interpolation": self.options.interpolation,
            "resize": "pillow: antialiased, two passes of 8 bits, weights of 22 bits",
            "allow_scaled": self.options.allow_scaled and self._native is not None,
            "tolerate_damage": self.options.tolerate_damage and self._native is not None,
        }

    def stage_seconds(self) -> StageSeconds:
        """Where the native core's time went so far."""
        decode, resize, color = (self._nanoseconds / 1e9).tolist()
        return StageSeconds(decode=decode, resize=resize, color=color)

    def _decode_with_both(self, native: NativeDecoder, request: Request) -> NDArray[np.int32]:
        statuses, nanoseconds = native.decode(request)
        with self._lock:
            self._nanoseconds += nanoseconds
        # The core knows JPEGs alone: what is no image to it may be a PNG to Pillow. What it calls damaged stays so.
        others = np.flatnonzero(np.isin(statuses, _FOR_PILLOW))
        if len(others):
            statuses[others] = self._pillow.decode(request, others)
        return statuses


def _pillow_library() -> str:
    import PIL
    from PIL import features

    turbo = features.version_feature("libjpeg_turbo")
    return f"Pillow {PIL.__version__} with " + (f"libjpeg-turbo {turbo}" if turbo else "libjpeg")
