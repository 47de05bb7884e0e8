"""The facade of the corruptions: which there are, what is refused, and that a seed alone decides."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest

from shardtools._native import corrupt as core
from shardtools.corruption import CORRUPTION_VERSION, CORRUPTIONS, SEVERITIES, corrupt, sample_seed
from shardtools.corruption.native import load_core
from shardtools.errors import OptionError, RunError
from tests.helpers.scenes import scenes

SIZES = [(1, 1), (3, 500), (500, 3), (37, 53), (224, 224)]


@pytest.fixture(params=CORRUPTIONS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def seeds(count: int) -> np.ndarray:
    return np.array([sample_seed(0, f"key{i}", "any", 1) for i in range(count)], np.uint64)


def test_the_registry_and_the_native_core_name_the_same_corruptions() -> None:
    assert core.names() == list(CORRUPTIONS)
    assert all(len(corruption.parameters) == len(SEVERITIES) for corruption in CORRUPTIONS.values())


def test_a_seed_is_a_function_of_what_it_is_for() -> None:
    first = sample_seed(1, "n01440764_0", "fog", 3)
    others = {
        sample_seed(2, "n01440764_0", "fog", 3),
        sample_seed(1, "n01440764_1", "fog", 3),
        sample_seed(1, "n01440764_0", "snow", 3),
        sample_seed(1, "n01440764_0", "fog", 4),
    }
    assert first == sample_seed(1, "n01440764_0", "fog", 3) == 2185694453416291072
    assert first not in others and len(others) == 4


def test_pixels_do_not_depend_on_batch_or_threads(name: str) -> None:
    images = scenes(5, 61, 47)
    numbers = seeds(5)
    whole = corrupt(images, name, 3, seeds=numbers)
    assert not (whole == images).all()
    assert (corrupt(images, name, 3, seeds=numbers, num_threads=3) == whole).all()
    for i in range(5):
        assert (corrupt(images[i], name, 3, seeds=int(numbers[i])) == whole[i]).all()
    backwards = corrupt(images[::-1], name, 3, seeds=numbers[::-1].copy())
    assert (backwards[::-1] == whole).all()


@pytest.mark.parametrize("clean", [False, True])
def test_pixels_do_not_depend_on_the_processor(name: str, clean: bool) -> None:
    best = core.simd()
    images = scenes(2, 67, 83)
    for severity in SEVERITIES:
        found = corrupt(images, name, severity, seeds=seeds(2), clean=clean)
        core.simd("portable")
        try:
            portable = corrupt(images, name, severity, seeds=seeds(2), clean=clean)
        finally:
            core.simd(best)
        assert (found == portable).all()


@pytest.mark.parametrize("size", SIZES)
def test_any_size_is_written_whole(name: str, size: tuple[int, int]) -> None:
    images = scenes(1, *size)
    for severity in SEVERITIES:
        out = [np.full_like(images, value) for value in (0, 255)]
        for one in out:
            assert corrupt(images, name, severity, seeds=seeds(1), out=one) is one
        assert (out[0] == out[1]).all()


def test_images_may_be_written_over_and_lie_anywhere(name: str) -> None:
    images = scenes(2, 31, 40)
    expected = corrupt(images, name, 2, seeds=seeds(2))
    turned = np.asfortranarray(images)
    assert (corrupt(turned, name, 2, seeds=seeds(2)) == expected).all()
    corrupt(images, name, 2, seeds=seeds(2), out=images)
    assert (images == expected).all()


def test_no_images_are_no_error(name: str) -> None:
    assert corrupt(np.empty((0, 8, 8, 3), np.uint8), name, 1, seeds=seeds(0)).shape == (0, 8, 8, 3)


@pytest.mark.parametrize("size", [(2, 3), (1, 300)])
def test_the_elastic_transform_of_a_strip_is_no_single_color(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    for severity in SEVERITIES:
        found = corrupt(image, "elastic_transform", severity, seeds=3)
        assert len(np.unique(found.reshape(-1, 3), axis=0)) > 1


def test_a_severity_may_be_any_number_that_equals_it() -> None:
    expected = corrupt(IMAGE, "fog", 2, seeds=1)
    assert (corrupt(IMAGE, "fog", np.float64(2), seeds=1) == expected).all()  # type: ignore[arg-type]


IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "corruption", "severity", "options", "message"),
    [
        (IMAGE, "rain", 1, {}, "corruption 'rain': expected one of gaussian_noise"),
        (IMAGE, "gaussian_noise", 6, {}, "severity of gaussian_noise: expected a whole number from 1 to 5, found 6"),
        (IMAGE.astype(np.float32), "gaussian_noise", 1, {}, "images: expected uint8 [N, H, W, 3] or [H, W, 3]"),
        (IMAGE[:, :, :1], "gaussian_noise", 1, {}, "found uint8 [4, 4, 1]"),
        (IMAGE[:0], "gaussian_noise", 1, {}, "sides of 1 to 65,500 pixels"),
        (np.zeros((1, 8193, 3), np.uint8), "fog", 1, {}, "sides of at most 8,192 pixels"),
        (np.zeros((65_501, 1, 3), np.uint8), "jpeg_compression", 1, {}, "found uint8 [65501, 1, 3]"),
        (IMAGE, "gaussian_noise", 1, {"seeds": -1}, "seeds: expected numbers from 0 to 2**64 - 1, found -1"),
        (IMAGE, "gaussian_noise", 1, {"seeds": [1, 2]}, "seeds: expected one for each of 1 images, found [2]"),
        (IMAGE, "gaussian_noise", 1, {"num_threads": 0}, "num_threads: expected 1 to 1,024, found 0"),
        (
            IMAGE,
            "gaussian_noise",
            1,
            {"out": np.zeros((4, 4, 4), np.uint8)},
            "out: expected contiguous uint8 [4, 4, 3]",
        ),
    ],
)
def test_bad_input_is_one_line(images: object, corruption: str, severity: int, options: dict, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        corrupt(images, corruption, severity, **{"seeds": 0} | options)  # type: ignore[arg-type]
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_without_the_native_core_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shardtools._native.corrupt", None)
    load_core.cache_clear()
    with pytest.raises(RunError, match=r"install g\+\+ and libjpeg62-turbo-dev, then install shardtools again"):
        corrupt(IMAGE, "gaussian_noise", 1, seeds=0)


def test_other_pixels_are_another_version() -> None:
    image = (np.arange(48 * 64 * 3, dtype=np.uint32) * 2654435761 >> np.uint32(24)).astype(np.uint8)
    found = hashlib.sha256()
    for name in ("gaussian_noise", "impulse_noise", "glass_blur", "zoom_blur", "contrast", "pixelate"):
        for severity in SEVERITIES:
            found.update(corrupt(image.reshape(48, 64, 3), name, severity, seeds=7).tobytes())
    # Differs after a change of the native core: raise the version, so that no plan mixes both, then write the new one.
    assert (CORRUPTION_VERSION, found.hexdigest()[:16]) == (1, "5b71489bec32551a")
