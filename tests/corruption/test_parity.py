"""Weather, digital corruptions, spatter and saturation against the published operations with the same numbers drawn."""

from __future__ import annotations

import numpy as np
import pytest

from shardtools._native import corrupt as core
from shardtools.corruption import CORRUPTIONS, SEVERITIES, corrupt
from tests.helpers.draws import Draws
from tests.helpers.published import PUBLISHED
from tests.helpers.scenes import scenes

SIZES = [(224, 224), (61, 90), (300, 40)]
SEED = 0x9E3779B97F4A7C15


def psnr(found: np.ndarray, expected: np.ndarray) -> float:
    error = np.square(found.astype(float) - expected).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def expected_of(name: str, severity: int, image: np.ndarray, *, clean: bool = False) -> np.ndarray:
    values = PUBLISHED[name](image, CORRUPTIONS[name].parameters[severity - 1], Draws(SEED))
    return np.clip(np.floor(values + 0.5) if clean else np.floor(values + 1e-9), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["bits", "uniforms", "normals"])
def test_the_helper_draws_as_the_native_core(kind: str) -> None:
    out = np.empty(640, np.uint32 if kind == "bits" else np.float32)
    core.draw(kind, SEED, out)
    assert np.abs(out - getattr(Draws(SEED), kind)(640)).max() < 2e-6


def assert_alike(found: np.ndarray, expected: np.ndarray) -> None:
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1 or psnr(found, expected) >= 50
    # Arithmetic of 32 bits, and Pillow's other order of axes in tall images, fall to the other side now and then.
    assert (difference > 0).mean() <= 0.13


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", PUBLISHED)
def test_pixels_are_those_of_the_published_operations(name: str, severity: int) -> None:
    for size in SIZES:
        image = scenes(1, *size)[0]
        assert_alike(corrupt(image, name, severity, seeds=SEED), expected_of(name, severity, image))


@pytest.mark.parametrize("name", ["fog", "brightness", "contrast", "elastic_transform", "jpeg_compression", "spatter"])
def test_clean_images_are_rounded(name: str) -> None:
    image = scenes(1, 96, 96)[0]
    found = corrupt(image, name, 3, seeds=SEED, clean=True)
    expected = expected_of(name, 3, image, clean=True)
    assert_alike(found, expected)
    assert (found == expected).mean() > 0.99


def test_saturation_tints_gray_pixels_unless_clean() -> None:
    gray = np.full((4, 4, 3), 100, np.uint8)
    assert (corrupt(gray, "saturate", 5, seeds=0)[0, 0] == [100, 80, 80]).all()
    assert (corrupt(gray, "saturate", 5, seeds=0, clean=True) == gray).all()


def frost_alone(height: int, width: int, seed: int) -> np.ndarray:
    """The picture of frost, as wide and high as wanted."""
    out = np.empty((1, height, width, 3), np.uint8)
    core.corrupt("frost", (0.0, 1.0), np.zeros_like(out), out, np.array([seed], np.uint64), False, 1)
    return out[0]


@pytest.mark.parametrize("severity", SEVERITIES)
def test_frost_is_a_share_of_the_image_and_of_a_picture(severity: int) -> None:
    image = scenes(1, 80, 100)[0]
    kept, added = CORRUPTIONS["frost"].parameters[severity - 1]
    expected = np.clip(np.floor(kept * image + added * frost_alone(80, 100, 7) + 1e-3), 0, 255)
    assert np.abs(corrupt(image, "frost", severity, seeds=7).astype(int) - expected).max() <= 1


def test_pictures_of_frost_have_the_means_and_contrasts_of_the_published_ones() -> None:
    whole = {
        tuple(np.sort(picture, axis=None)[::5000]): picture for picture in (frost_alone(512, 512, i) for i in range(30))
    }
    found = sorted(
        (picture.mean(axis=(0, 1)).tolist(), picture.std(axis=(0, 1)).tolist()) for picture in whole.values()
    )
    means = [[77, 148, 164], [101, 113, 125], [144, 159, 172], [198, 202, 211], [198, 202, 211]]
    deviations = [[28, 16, 15], [38, 37, 36], [27, 27, 28], [20, 21, 22], [20, 21, 22]]
    assert np.abs(np.array([mean for mean, _ in found]) - means).max() < 2
    assert np.abs(np.array([deviation for _, deviation in found]) - deviations).max() < 3


def test_frost_goes_on_beyond_its_picture() -> None:
    picture = frost_alone(600, 1100, 3)
    assert (picture[:, :512] == picture[:, 512:1024]).all() and (picture[:88] == picture[512:]).all()
    # No seam: neighbors across the border, wherever that lies in this crop, are as near to each other as others are.
    draws = Draws(3)
    left = [draws.below(limit) for limit in (5, 512, 512)][2]
    steps = np.abs(np.diff(picture[:512, :600].astype(int), axis=1)).mean(axis=(0, 2))
    assert steps[511 - left] < np.percentile(steps, 99)


def test_elastic_displacements_are_a_share_of_the_image() -> None:
    """The same picture at twice the size is drawn out alike."""
    y, x = np.mgrid[:256, :256]
    small = np.stack([127 + 100 * np.sin(x / 9), 127 + 100 * np.cos(y / 7), 127 + 60 * np.sin((x + y) / 11)], axis=2)
    large = small.repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8)
    changes = []
    for image in (small.astype(np.uint8), large):
        copies = np.stack([image] * 20)
        found = corrupt(copies, "elastic_transform", 2, seeds=np.arange(20, dtype=np.uint64))
        changes.append(np.abs(found.astype(int) - copies).mean())
    assert changes[1] == pytest.approx(changes[0], rel=0.15)
