"""Pictures of any size with what photographs have: gradients, edges, fine grain, black and white areas."""

from __future__ import annotations

import numpy as np


def scenes(count: int, height: int, width: int) -> np.ndarray:
    """Different ones, uint8 [count, height, width, 3]."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width]
    images = np.empty((count, height, width, 3), np.uint8)
    for image in images:
        for channel in range(3):
            pace, phase = rng.uniform(0.01, 0.08, 2), rng.uniform(0, 6.28, 2)
            wave = np.sin(y * pace[0] + phase[0]) + np.cos(x * pace[1] + phase[1])
            grain = rng.normal(0, 6, (height, width))
            image[..., channel] = np.clip(128 + 70 * wave + grain, 0, 255)
        for level in (0, 90, 255):
            top, left = int(rng.integers(height)), int(rng.integers(width))
            image[top : top + height // 5, left : left + width // 4] = level
    return images
