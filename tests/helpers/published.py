"""Weather, digital corruptions, spatter and saturation once more, slowly, with the libraries that the published program
used (SciPy, OpenCV, Pillow) in double precision, and the numbers of `Draws`.

Each takes an image, uint8 [H, W, 3], the parameters of a severity and draws; values come back in 0 to 255, not yet
whole.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image
from scipy import fft, ndimage

from tests.helpers.draws import Draws

Published = Callable[[np.ndarray, tuple[float, ...], Draws], np.ndarray]


def contrast(image: np.ndarray, parameters: tuple[float, ...], _: Draws) -> np.ndarray:
    means = image.mean(axis=(0, 1), keepdims=True)
    return (image - means) * parameters[0] + means


def to_hsv(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue in sixths of the circle, saturation and value, [H, W] each; a gray pixel has the hue 0."""
    value, least = image.max(axis=2) / 255, image.min(axis=2) / 255
    spread = value - least
    red, green, blue = np.moveaxis(image / 255, 2, 0)
    scale = np.where(spread > 0, spread, 1)
    choices = [(green - blue) / scale, 2 + (blue - red) / scale, 4 + (red - green) / scale]
    hue = np.where(spread > 0, np.choose(image.argmax(axis=2), choices) % 6, 0)
    return hue, np.where(value > 0, spread / np.where(value > 0, value, 1), 0), value


def from_hsv(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Red, green and blue in 0 to 255: each falls off with the hue's distance from its own."""
    channels = []
    for shift in (5, 3, 1):
        place = (shift + hue) % 6
        channels.append(value * (1 - saturation * np.clip(np.minimum(place, 4 - place), 0, 1)))
    return np.stack(channels, axis=2) * 255


def brightness(image: np.ndarray, parameters: tuple[float, ...], _: Draws) -> np.ndarray:
    hue, saturation, value = to_hsv(image)
    return from_hsv(hue, saturation, np.clip(value + parameters[0], 0, 1))


def saturate(image: np.ndarray, parameters: tuple[float, ...], _: Draws) -> np.ndarray:
    hue, saturation, value = to_hsv(image)
    return from_hsv(hue, np.clip(saturation * parameters[0] + parameters[1], 0, 1), value)


def pixelate(image: np.ndarray, parameters: tuple[float, ...], _: Draws) -> np.ndarray:
    height, width = image.shape[:2]
    small = max(int(width * parameters[0]), 1), max(int(height * parameters[0]), 1)
    picture = Image.fromarray(image).resize(small, Image.Resampling.BOX)
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))


def jpeg_compression(image: np.ndarray, parameters: tuple[float, ...], _: Draws) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(parameters[0]))
    with Image.open(file) as picture:
        return np.asarray(picture)


def plasma(size: int, decay: float, draws: Draws) -> np.ndarray:
    """A cloud in [0, 1], [size, size], by squares and diamonds on a torus."""
    numbers = draws.uniforms(size * size) * 2 - 1
    used = 0
    cloud = np.zeros((size, size))
    step, wibble = size, 100.0
    while step >= 2:
        half = step // 2
        corners = cloud[::step, ::step]
        middle = sum(np.roll(corners, shift, (0, 1)) for shift in ((0, 0), (-1, 0), (0, -1), (-1, -1))) / 4
        cloud[half::step, half::step] = middle + wibble**2 * numbers[used : used + middle.size].reshape(middle.shape)
        used += middle.size
        around = sum(np.roll(cloud, shift, axis) for shift in (half, -half) for axis in (0, 1)) / 4
        # Row by row: between two corners in one row, between two middles in the next.
        for y in range(0, size, half):
            places = slice(half if y % step == 0 else 0, size, step)
            row = around[y, places]
            cloud[y, places] = row + wibble**2 * numbers[used : used + row.size]
            used += row.size
        step, wibble = half, wibble / decay
    return (cloud - cloud.min()) / (cloud.max() - cloud.min())


def fog(image: np.ndarray, parameters: tuple[float, ...], draws: Draws) -> np.ndarray:
    thickness, decay = parameters
    height, width = image.shape[:2]
    size = max(256, 1 << (max(height, width) - 1).bit_length())
    brightest = image.max() / 255
    values = image / 255 + thickness * plasma(size, decay, draws)[:height, :width, None]
    return values * brightest / (brightest + thickness) * 255


def middle_enlarged(field: np.ndarray, factor: float, height: int, width: int) -> np.ndarray:
    large = ndimage.zoom(field, factor, order=1)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[top : top + height, left : left + width]


def fallen(flakes: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    height, width = flakes.shape
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    found = np.zeros_like(flakes)
    for i, weight in enumerate(weights / weights.sum()):
        down = math.ceil(i * math.sin(math.radians(degrees)) - 0.5)
        right = math.ceil(i * math.cos(math.radians(degrees)) - 0.5)
        rows = np.clip(np.arange(height) + down, 0, height - 1)
        found += weight * flakes[rows][:, np.clip(np.arange(width) + right, 0, width - 1)]
    return found


def snow(image: np.ndarray, parameters: tuple[float, ...], draws: Draws) -> np.ndarray:
    mean, deviation, factor, threshold, radius, sigma, kept = parameters
    height, width = image.shape[:2]
    shape = math.ceil(height / factor), math.ceil(width / factor)
    grains = mean + deviation * draws.normals(shape[0] * shape[1]).reshape(shape)
    flakes = middle_enlarged(grains, factor, height, width)
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    flakes = np.rint(fallen(flakes, int(radius), sigma, draws.uniform(-135, -45)) * 255)
    gray = image @ np.array([0.299, 0.587, 0.114])
    bleached = np.maximum(image, gray[..., None] * 1.5 + 127.5)
    return kept * image + (1 - kept) * bleached + (flakes + flakes[::-1, ::-1])[..., None]


def displacements(height: int, width: int, sigma: float, draws: Draws) -> np.ndarray:
    """Uniform noise, smoothed; the noise of a wide kernel has no waves but the long ones, which alone remain of it."""
    if sigma < 8:
        noise = draws.uniforms(height * width).reshape(height, width) * 2 - 1
    else:
        counts = [min(side, math.ceil(side * 4.3 / (math.pi * sigma)) + 1) for side in (height, width)]
        waves = np.zeros((height, width))
        waves[: counts[0], : counts[1]] = draws.normals(counts[0] * counts[1]).reshape(counts) / math.sqrt(3)
        noise = fft.idctn(waves, norm="ortho")
    return ndimage.gaussian_filter(noise, sigma, mode="reflect", truncate=3)


def elastic_transform(image: np.ndarray, parameters: tuple[float, ...], draws: Draws) -> np.ndarray:
    height, width = image.shape[:2]
    share = min(height, width) / 224
    alpha, sigma, most = parameters[0] * share**2, parameters[1] * share, parameters[2] * share
    side, first, second = min(height, width) // 3, height // 2, width // 2
    points = np.array([[first + side, second + side], [first + side, second - side], [first - side, second - side]])
    moved = points + np.array([draws.uniform(-most, most) for _ in range(6)]).reshape(3, 2)
    ones = np.ones((3, 1))
    # Where a pixel of the result comes from, [x, y, 1] @ matrix.
    matrix = np.linalg.solve(np.hstack([moved, ones]), points.astype(float))
    y, x = np.mgrid[:height, :width].astype(float)
    from_x, from_y = np.moveaxis(np.stack([x, y, np.ones_like(x)], axis=2) @ matrix, 2, 0)
    channels = np.moveaxis(image.astype(float), 2, 0)
    drawn = [ndimage.map_coordinates(channel, [from_y, from_x], order=1, mode="mirror") for channel in channels]
    down, right = (alpha * displacements(height, width, sigma, draws) for _ in range(2))
    found = [ndimage.map_coordinates(channel, [y + down, x + right], order=1, mode="reflect") for channel in drawn]
    return np.stack(found, axis=2)


def shaded(depth: np.ndarray) -> np.ndarray:
    """Outlines, the distance to them evened out over all levels, and light from one corner."""
    distance = cv2.distanceTransform(255 - cv2.Canny(depth, 50, 150), cv2.DIST_L2, 5)
    levels = cv2.equalizeHist(cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8))
    light = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
    return np.asarray(cv2.blur(cv2.filter2D(levels, cv2.CV_8U, light), (3, 3)))


def spatter(image: np.ndarray, parameters: tuple[float, ...], draws: Draws) -> np.ndarray:
    mean, deviation, sigma, threshold, strength, is_mud = parameters
    noise = draws.normals(image.shape[0] * image.shape[1]).reshape(image.shape[:2])
    liquid = mean + deviation * ndimage.gaussian_filter(noise, sigma, mode="nearest", truncate=4)
    liquid[liquid < threshold] = 0
    if not is_mud:
        depth = (np.clip(liquid, 0, 1) * 255).astype(np.uint8)
        cover = depth * shaded(depth).astype(float)
        cover *= strength / max(cover.max(), 1)
        return image + cover[..., None] * np.array([175, 238, 238])
    cover = ndimage.gaussian_filter((liquid > threshold).astype(float), strength, mode="nearest", truncate=4)
    cover = np.where(cover < 0.8, 0, cover)[..., None]
    return image * (1 - cover) + cover * np.array([63, 42, 20])


PUBLISHED: dict[str, Published] = {
    "snow": snow,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
    "spatter": spatter,
    "saturate": saturate,
}
"""All of this half but frost, whose pictures are drawn by the native core alone."""
