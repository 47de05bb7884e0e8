"""Corruptions of whole batches by the native core, without the interpreter's lock.

Owns the only import of `shardtools._native.corrupt`, which an install without a compiler lacks. There is no second,
slow implementation: two would have to make the same pixels.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.arrays import UInt8s, UInt64s
from shardtools.corruption.registry import CORRUPTIONS, SEVERITIES, Corruption
from shardtools.errors import OptionError, RunError


def corrupt(
    images: UInt8s,
    corruption: str,
    severity: int,
    *,
    seeds: UInt64s | int,
    clean: bool = False,
    out: UInt8s | None = None,
    num_threads: int = 1,
) -> UInt8s:
    """Corrupted copies of images; the same for a seed whatever the batch, the threads and the processor.

    Args:
        images: RGB, uint8 [N, H, W, 3], or one of [H, W, 3].
        corruption: A name of `CORRUPTIONS`.
        severity: 1 to 5.
        seeds: uint64 [N], or one number for one image (`sample_seed` makes them).
        clean: Rounds to whole numbers, and leaves out the accidents of the published program (docs/corrupt.md). As
            published by default, where fractions are cut off.
        out: Where to write, uint8, contiguous, of the shape of `images`; a new array by default.
        num_threads: Threads that share the images of the batch, 1 to 1,024.

    Returns:
        `out`, of the shape of `images`.

    Raises:
        OptionError: There is no such corruption or severity, or an array has another type or shape.
        RunError: The native core was not built.
    """
    parameters = _parameters_of(corruption, severity)
    batch = _batch_of(images)
    target = np.empty_like(images, order="C") if out is None else out
    if target.dtype != np.uint8 or target.shape != images.shape or not target.flags.c_contiguous:
        raise OptionError(
            f"out: expected contiguous uint8 {list(images.shape)}, the shape of the images, found {_described(target)}"
        )
    if np.may_share_memory(batch, target):
        batch = batch.copy()
    if corruption == "fog" and max(batch.shape[1:3]) > _MAX_FOG_SIDE:
        raise OptionError(
            f"fog: expected sides of at most {_MAX_FOG_SIDE:,} pixels, found {_described(images)}: its cloud is a "
            "square of the longer one; reduce the picture, or leave fog out"
        )
    if not 1 <= num_threads <= _MAX_THREADS:
        raise OptionError(f"num_threads: expected 1 to {_MAX_THREADS:,}, found {num_threads}")
    load_core().corrupt(
        corruption, parameters, batch, target.reshape(batch.shape), _seeds_of(seeds, len(batch)), clean, num_threads
    )
    return target


_MAX_THREADS = 1024
_MAX_FOG_SIDE = 8192
"""Half a gigabyte of cloud; of 65,500 pixels it would be 34."""

_MAX_SIDE = 65500
"""What libjpeg takes, which one of the corruptions is."""


@functools.cache
def load_core() -> Any:
    """The native core.

    Raises:
        RunError: It was not built.
    """
    try:
        return importlib.import_module("shardtools._native.corrupt")
    except ImportError as error:
        raise RunError(
            f"the native core of the corruptions is not installed ({error}): install g++ and libjpeg62-turbo-dev, then "
            "install shardtools again"
        ) from error


def find_corruption(name: str) -> Corruption:
    """The corruption of that name.

    Raises:
        OptionError: There is none.
    """
    if name not in CORRUPTIONS:
        raise OptionError(f"corruption {name!r}: expected one of {', '.join(CORRUPTIONS)}")
    return CORRUPTIONS[name]


def _parameters_of(name: str, severity: int) -> tuple[float, ...]:
    corruption = find_corruption(name)
    if severity not in SEVERITIES:
        raise OptionError(f"severity of {name}: expected a whole number from 1 to 5, found {severity!r}")
    return corruption.parameters[SEVERITIES.index(severity)]


def check_images(images: UInt8s) -> None:
    """Refuses what is no image or batch of images.

    Args:
        images: uint8 [N, H, W, 3] or [H, W, 3].

    Raises:
        OptionError: It has another type or shape.
    """
    is_batch = images.dtype == np.uint8 and images.ndim in (3, 4) and images.shape[-1] == 3
    if not is_batch or not all(1 <= side <= _MAX_SIDE for side in images.shape[-3:-1]):
        raise OptionError(
            f"images: expected uint8 [N, H, W, 3] or [H, W, 3] with sides of 1 to {_MAX_SIDE:,} pixels, found "
            f"{_described(images)}"
        )


def _batch_of(images: UInt8s) -> UInt8s:
    check_images(images)
    return np.ascontiguousarray(images if images.ndim == 4 else images[None])


def _seeds_of(seeds: UInt64s | int, num_images: int) -> UInt64s:
    try:
        found = np.atleast_1d(np.asarray(seeds, np.uint64))
    except (OverflowError, ValueError, TypeError):
        raise OptionError(f"seeds: expected numbers from 0 to 2**64 - 1, found {seeds!r}") from None
    if found.shape != (num_images,):
        raise OptionError(f"seeds: expected one for each of {num_images} images, found {list(found.shape)}")
    return np.ascontiguousarray(found)


def _described(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"
