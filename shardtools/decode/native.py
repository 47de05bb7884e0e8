"""The native core from Python: JPEGs only, a whole batch a call, without the interpreter's lock.

Owns the only import of `shardtools._native.core`, which an install without a compiler lacks.
"""

from __future__ import annotations

import functools
import importlib
import logging
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardtools.decode.options import INTERPOLATIONS, DecodeOptions
from shardtools.decode.request import Encoded, Request

_LOGGER = logging.getLogger("shardtools.decode")


@functools.cache
def load_core() -> ModuleType | None:
    """The native core, or None with one line in the log where it was not built."""
    try:
        return importlib.import_module("shardtools._native.core")
    except ImportError as error:
        _LOGGER.warning(
            "the native JPEG decoder is not installed (%s): Pillow serves, at a quarter of the speed; install g++ and"
            " libjpeg62-turbo-dev, then install shardtools again",
            error,
        )
        return None


class NativeDecoder:
    """Threads of the native core. Safe to call from several threads; begins anew in a forked child."""

    def __init__(self, core: ModuleType, options: DecodeOptions) -> None:
        self._core: Any = core
        self._options = options
        self._pool = self._core.make_pool(options.num_threads)

    def decode(self, request: Request) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Fills the targets.

        Returns:
            A `DecodeStatus` for each image, NOT_AN_IMAGE for whatever is no JPEG; and the nanoseconds that all threads
            together spent on decoding, resizing and colours.
        """
        options = self._options
        statuses = np.zeros(len(request.images), np.int32)
        nanoseconds = np.zeros(3, np.int64)
        colors = request.colors
        self._core.decode(
            self._pool,
            request.images,
            request.crops,
            request.windows,
            request.flips,
            request.targets,
            None if colors is None else np.ascontiguousarray(colors.operations),
            None if colors is None else np.ascontiguousarray(colors.values),
            statuses,
            nanoseconds,
            INTERPOLATIONS.index(options.interpolation),
            options.allow_scaled,
            options.tolerate_damage,
            options.max_pixels,
            request.raw_sizes,
        )
        return statuses, nanoseconds

    def sizes(self, images: list[Encoded]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Width and height of each JPEG, [N, 2], and a status for each."""
        sizes = np.zeros((len(images), 2), np.int32)
        statuses = np.zeros(len(images), np.int32)
        self._core.read_sizes(images, sizes, statuses, self._options.max_pixels)
        return sizes, statuses

    def facts(self) -> dict[str, str]:
        return {"library": self._core.library(), "simd": self._core.simd()}
