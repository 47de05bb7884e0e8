from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def make_pool(num_threads: int, /) -> object: ...
def decode(
    pool: object,
    images: list[Any],
    crops: NDArray[np.int32],
    windows: NDArray[np.int32] | None,
    flips: NDArray[np.bool_],
    targets: Sequence[NDArray[np.uint8]],
    operations: NDArray[np.uint8] | None,
    values: NDArray[np.float64] | None,
    statuses: NDArray[np.int32],
    times: NDArray[np.int64],
    filter: int,
    allow_scaled: bool,
    tolerate_damage: bool,
    max_pixels: int,
    raw_sizes: NDArray[np.int32] | None = None,
    /,
) -> None: ...
def read_sizes(
    images: list[Any], sizes: NDArray[np.int32], statuses: NDArray[np.int32], max_pixels: int, /
) -> None: ...
def recolor(target: NDArray[np.uint8], operations: NDArray[np.uint8], values: NDArray[np.float64], /) -> None: ...
def simd(name: str | None = None, /) -> str: ...
def library() -> str: ...
