"""The native core's random numbers once more, in NumPy: what a corruption draws, in the order in which it draws."""

from __future__ import annotations

import numpy as np

LANES = 16
MASK = np.uint64(0xFFFFFFFF)


class Draws:
    """Philox4x32-10 (Salmon and others, SC 2011): each call is the next stream of a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._stream = 0

    def bits(self, count: int) -> np.ndarray:
        """uint64 [count] below 2**32."""
        num_blocks = -(-count // (4 * LANES))
        numbers = np.arange(num_blocks * LANES, dtype=np.uint64)
        words = [numbers & MASK, numbers >> np.uint64(32), np.full_like(numbers, self._stream), np.zeros_like(numbers)]
        self._stream += 1
        keys = [self._seed & 0xFFFFFFFF, self._seed >> 32]
        for _ in range(10):
            left, right = np.uint64(0xD2511F53) * words[0], np.uint64(0xCD9E8D57) * words[2]
            words = [
                (right >> np.uint64(32)) ^ words[1] ^ np.uint64(keys[0]),
                right & MASK,
                (left >> np.uint64(32)) ^ words[3] ^ np.uint64(keys[1]),
                left & MASK,
            ]
            keys = [(keys[0] + 0x9E3779B9) & 0xFFFFFFFF, (keys[1] + 0xBB67AE85) & 0xFFFFFFFF]
        return np.stack(words).reshape(4, num_blocks, LANES).transpose(1, 0, 2).reshape(-1)[:count]

    def uniforms(self, count: int) -> np.ndarray:
        """float64 [count] in [0, 1)."""
        return (self.bits(count) >> np.uint64(8)).astype(np.float64) * 2.0**-24

    def normals(self, count: int) -> np.ndarray:
        """float64 [count], mean 0 and standard deviation 1, by Box and Muller's method."""
        whole = -(-count // (4 * LANES)) * 4 * LANES
        first, second = self.bits(whole).reshape(-1, 2, 2 * LANES).transpose(1, 0, 2)
        radius = np.sqrt(-2 * np.log(((first >> np.uint64(8)).astype(np.float64) + 0.5) * 2.0**-24))
        quadrant = second >> np.uint64(30)
        angle = ((second & np.uint64(0x3FFFFFFF)).astype(np.float64) * 2.0**-30 - 0.5 + quadrant) * (np.pi / 2)
        return (radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)).reshape(-1)[:count]

    def uniform(self, low: float, high: float) -> float:
        first, second = (int(word) for word in self.bits(2))
        return low + (high - low) * (((first << 32) | second) >> 11) * 2.0**-53

    def below(self, limit: int) -> int:
        return (int(self.bits(1)[0]) * limit) >> 32
