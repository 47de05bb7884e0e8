import numpy as np
from numpy.typing import NDArray

def corrupt(
    name: str,
    parameters: tuple[float, ...],
    images: NDArray[np.uint8],
    out: NDArray[np.uint8],
    seeds: NDArray[np.uint64],
    clean: bool,
    num_threads: int,
    /,
) -> None: ...
def warp(
    kind: str,
    image: NDArray[np.uint8],
    matrices: NDArray[np.float64],
    out: NDArray[np.uint8],
    top: int,
    left: int,
    clean: bool,
    /,
) -> None: ...
def draw(kind: str, seed: int, out: NDArray[np.uint32] | NDArray[np.float32], /) -> None: ...
def names() -> list[str]: ...
def simd(name: str | None = None, /) -> str: ...
