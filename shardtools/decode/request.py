"""A checked batch: what both decoding paths get, so that neither has to doubt a shape.

Owns the shapes of the interface. N images, K crops of each, in the order of the output arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardtools.decode.options import MAX_SIDE, Colors
from shardtools.errors import OptionError

Encoded = bytes | bytearray | memoryview
"""An encoded image, contiguous. It must not change while it is being decoded."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """One call's worth of work.

    Args:
        images: Encoded images.
        crops: int32 [N, K, 4], left, top, width, height in the stored image.
        windows: int32 [N, K, 4] or None: full width, full height, left, top; see `Decoder.decode_batch`.
        flips: bool [N, K].
        targets: uint8 [N, Kg, H, W, 3] each, with the Kg adding up to K.
        colors: Colour operations, or None.
        raw_sizes: int32 [N, 2], width and height of images that are rows of pixels, 0 for encoded ones; or None.
    """

    images: list[Encoded]
    crops: NDArray[np.int32]
    windows: NDArray[np.int32] | None
    flips: NDArray[np.bool_]
    targets: list[NDArray[np.uint8]]
    colors: Colors | None
    raw_sizes: NDArray[np.int32] | None

    @property
    def num_crops(self) -> int:
        return int(self.crops.shape[1])

    def target_of(self, image: int, crop: int) -> NDArray[np.uint8]:
        """The memory of one crop, [H, W, 3]."""
        for target in self.targets:
            if crop < target.shape[1]:
                picture: NDArray[np.uint8] = target[image, crop]
                return picture
            crop -= target.shape[1]
        raise IndexError(crop)


def make_request(
    images: Sequence[Encoded],
    crops: NDArray[np.integer],
    flips: NDArray[Any] | None,
    targets: Sequence[NDArray[np.uint8]],
    windows: NDArray[np.integer] | None,
    colors: Colors | None,
    raw_sizes: NDArray[np.integer] | None = None,
) -> Request:
    """Checks shapes and brings numbers into the types that the native core reads.

    Raises:
        OptionError: A shape or a type is not the documented one.
    """
    num_images = len(images)
    for target in targets:
        _check_target(target, num_images)
    num_crops = sum(int(target.shape[1]) for target in targets)
    if num_crops < 1:
        raise OptionError("targets: expected room for at least one crop an image, found none; give an output array")
    leading = (num_images, num_crops)
    if colors is not None and colors.operations.shape[:2] != leading:
        raise OptionError(
            f"colors: expected [{num_images}, {num_crops}, steps], found {colors.operations.shape}; one list a crop"
        )
    return Request(
        images=list(images),
        crops=_numbers("crops", crops, leading),
        windows=None if windows is None else _windows(windows, leading, targets),
        flips=np.zeros(leading, np.bool_) if flips is None else _flips(flips, leading),
        targets=list(targets),
        colors=colors,
        raw_sizes=None if raw_sizes is None else _raw_sizes(raw_sizes, num_images),
    )


def _check_target(target: NDArray[np.uint8], num_images: int) -> None:
    expected = f"uint8 [{num_images}, crops, height, width, 3]"
    if target.dtype != np.uint8 or target.ndim != 5 or target.shape[0] != num_images or target.shape[4] != 3:
        raise OptionError(f"targets: expected {expected}, found {target.dtype} {target.shape}; allocate that")
    if not (1 <= target.shape[2] <= MAX_SIDE and 1 <= target.shape[3] <= MAX_SIDE):
        raise OptionError(f"targets: expected sides of 1 to {MAX_SIDE}, found {target.shape[2:4]}; allocate that")
    if not target.flags.writeable:
        raise OptionError("targets: expected memory that can be written, found a read-only array; copy it first")
    if target.size and not target[0, 0].flags.c_contiguous:
        raise OptionError(
            f"targets: expected contiguous images, found strides {target.strides}; only the first two axes may have"
            " gaps"
        )


def _numbers(name: str, array: NDArray[np.integer], leading: tuple[int, int]) -> NDArray[np.int32]:
    if array.shape != (*leading, 4) or array.dtype.kind not in "iu":
        raise OptionError(f"{name}: expected integers {[*leading, 4]}, found {array.dtype} {array.shape}; reshape them")
    # Clipped, not wrapped: what lies outside is refused further on as a crop that fits no image.
    return np.ascontiguousarray(np.clip(array, -1, MAX_SIDE + 1), np.int32)


def _raw_sizes(sizes: NDArray[np.integer], num_images: int) -> NDArray[np.int32]:
    if sizes.shape != (num_images, 2) or sizes.dtype.kind not in "iu":
        raise OptionError(f"raw_sizes: expected integers [{num_images}, 2], found {sizes.dtype} {sizes.shape}")
    if ((sizes < 0) | (sizes > MAX_SIDE) | ((sizes == 0) != (sizes[:, :1] == 0))).any():
        raise OptionError(f"raw_sizes: expected sides of 1 to {MAX_SIDE}, or 0 and 0 for an encoded image")
    return np.ascontiguousarray(sizes, np.int32)


def _windows(
    windows: NDArray[np.integer], leading: tuple[int, int], targets: Sequence[NDArray[np.uint8]]
) -> NDArray[np.int32]:
    checked = _numbers("windows", windows, leading)
    sizes = np.concatenate([np.tile(target.shape[3:1:-1], (target.shape[1], 1)) for target in targets])
    full, corner = checked[..., :2], checked[..., 2:]
    if ((full < 1) | (full > MAX_SIDE) | (corner < 0) | (corner + sizes > full)).any():
        raise OptionError(
            "windows: expected (full width, full height, left, top) with the output's size inside, found one that is"
            " not; see center_windows"
        )
    return checked


def _flips(flips: NDArray[Any], leading: tuple[int, int]) -> NDArray[np.bool_]:
    if flips.shape != leading:
        raise OptionError(f"flips: expected {list(leading)}, found {flips.shape}; one truth value a crop")
    return np.ascontiguousarray(flips != 0)
