"""Sequences of frames: against Pillow and SciPy, and by what must not change from frame to frame."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from shardtools._native import corrupt as core
from shardtools.corruption import PERTURBATIONS, corrupt, perturb
from shardtools.errors import OptionError
from tests.helpers.scenes import scenes

SIZE = 64
[IMAGE] = scenes(1, 73, 97)
TOP, LEFT = 4, 16


def center(image: np.ndarray) -> np.ndarray:
    return image[TOP : TOP + SIZE, LEFT : LEFT + SIZE]


def frames(name: str, **options: object) -> np.ndarray:
    return perturb(IMAGE, name, size=SIZE, **{"seed": 5} | options)  # type: ignore[arg-type]


@pytest.fixture(params=PERTURBATIONS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_sequence_depends_on_its_seed_alone(name: str) -> None:
    found = frames(name)
    assert found.shape == (PERTURBATIONS[name].num_frames, SIZE, SIZE, 3)
    assert (frames(name) == found).all()
    best = core.simd()
    core.simd("portable")
    try:
        assert (frames(name) == found).all()
    finally:
        core.simd(best)
    is_drawn = PERTURBATIONS[name].is_noise or name in ("snow", "spatter")
    assert (frames(name, seed=6) == found).all() != is_drawn


def test_frames_may_be_as_large_as_the_image(name: str) -> None:
    whole = perturb(IMAGE, name, seed=5, size=None)
    assert whole.shape[1:] == IMAGE.shape
    small = perturb(IMAGE[:9, :5], name, seed=5, size=None)
    assert small.shape == (PERTURBATIONS[name].num_frames, 9, 5, 3)
    if name in ("rotate", "shear", "scale", "tilt", "translate"):
        assert (whole[:, TOP : TOP + SIZE, LEFT : LEFT + SIZE] == frames(name)).all()


def test_neighboring_frames_differ_a_little(name: str) -> None:
    found = frames(name).astype(np.int64)
    steps = np.abs(np.diff(found, axis=0)).mean(axis=(1, 2, 3))
    # Four degrees more may fall on the same pixels.
    assert (steps > 0).mean() > 0.8 and steps.max() < 40


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "speckle_noise"])
def test_noise_is_drawn_anew_over_a_clean_first_frame(name: str) -> None:
    spreads = []
    for level in (1, 2, 3):
        found = frames(name, level=level).astype(np.float64)
        assert (found[0] == center(IMAGE)).all()
        # Where neither black nor white cuts anything off.
        noise = (found[1:] - found[0])[:, (found[0] > 70) & (found[0] < 185)]
        assert abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 0.05
        spreads.append(noise.std())
    strengths = PERTURBATIONS[name].strengths
    for level in (1, 2):
        ratio = strengths[level] / strengths[0]
        # Photons: the deviation falls with their root.
        expected = ratio**-0.5 if name == "shot_noise" else ratio
        assert spreads[level] / spreads[0] == pytest.approx(expected, rel=0.1)


def affine(angle: float = 0, factor: float = 1, shear: float = 0) -> np.ndarray:
    """By Pillow, with the matrix written out: places about the middle of the image and half a pixel."""
    a, b = math.radians(angle), math.radians(shear)
    x, y = IMAGE.shape[1] / 2 + 0.5, IMAGE.shape[0] / 2 + 0.5
    scale = 1 / (factor * math.cos(b))
    m = [math.cos(a + b) * scale, math.sin(a + b) * scale, -math.sin(a) * scale, math.cos(a) * scale]
    data = (m[0], m[1], x - m[0] * x - m[1] * y, m[2], m[3], y - m[2] * x - m[3] * y)
    size = (IMAGE.shape[1], IMAGE.shape[0])
    image = Image.fromarray(IMAGE).transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return center(np.asarray(image))


@pytest.mark.parametrize("i", [0, 7, 15, 24, 30])
def test_turned_sheared_and_scaled_frames_are_pillows(i: int) -> None:
    for name, expected in {
        "rotate": affine(angle=i - 15),
        "shear": affine(shear=i - 15),
        "scale": affine(factor=(2.5 * i + 40) / 100),
    }.items():
        difference = np.abs(frames(name)[i].astype(np.int64) - expected.astype(np.int64))
        assert difference.max() <= 1 and (difference > 0).mean() < 0.001, name


def test_the_middle_frames_are_the_image() -> None:
    """But for tilt's, which begins one unit before the axes, and so is a little smaller."""
    for name in ("rotate", "shear"):
        assert (frames(name)[15] == center(IMAGE)).all(), name
    assert (frames("translate")[20] == center(IMAGE)).all()
    assert (frames("zoom_blur")[0] == center(IMAGE)).all()


def test_translation_moves_to_the_right_and_brings_black_in() -> None:
    found = frames("translate")
    for i in range(41):
        moved = ndimage.shift(IMAGE, (0, i - 20, 0), order=0)
        assert (found[i] == center(moved)).all()


@pytest.mark.parametrize("clean", [False, True])
def test_tilted_frames_are_seen_from_a_diagonal_away(clean: bool) -> None:
    height, width = IMAGE.shape[:2]
    far = math.hypot(height, width)
    found = frames("tilt", clean=clean)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    for i in (0, 9, 30):
        sine, cosine = math.sin(math.radians(i - 15)), math.cos(math.radians(i - 15))
        # Forward: about y, then about x, then away by a diagonal, then the view.
        rows = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
        turned = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) @ rows
        plane = turned @ np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
        plane[2, 2] += far
        view = np.array([[far, 0, width / 2], [0, far, height / 2], [0, 0, 1]]) @ plane
        back = np.linalg.inv(view)
        places = np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
        across, down, scale = back @ places
        across, down = across / scale, down / scale
        if not clean:
            across, down = np.rint(across * 32) / 32, np.rint(down * 32) / 32
        # A border of black, so that what is beyond flows in as black.
        padded = np.pad(IMAGE.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
        values = [
            ndimage.map_coordinates(padded[..., channel], [down + 1, across + 1], order=1, cval=0)
            for channel in range(3)
        ]
        expected = np.floor(np.stack(values, axis=-1).reshape(IMAGE.shape) + 0.5)
        difference = np.abs(found[i] - center(expected))
        # A value that ends on .5 may fall either way, and a place that ends on 1/64.
        assert difference.max() <= (1 if clean else 8) and (difference > 0).mean() < 0.01


def test_zoom_blur_is_the_mean_of_what_came_before() -> None:
    found = frames("zoom_blur")
    layers = [center(IMAGE), *(affine(factor=1 + 0.004 * i) for i in range(1, 31))]
    for i in (1, 13, 30):
        expected = np.stack(layers[: i + 1]).astype(np.int64).sum(axis=0) // (i + 1)
        assert np.abs(found[i] - expected).max() <= 1


def test_brightness_and_blur_are_those_of_the_corruptions() -> None:
    assert (frames("brightness")[20] == corrupt_with("brightness", (0.1,))).all()
    expected = ndimage.gaussian_filter(center(IMAGE).astype(float), (1.3, 1.3, 0), mode="nearest", truncate=6)
    assert np.abs(frames("gaussian_blur")[30] - np.floor(expected)).max() <= 1


def corrupt_with(name: str, parameters: tuple[float, ...]) -> np.ndarray:
    assert name == "brightness" and parameters == (0.1,)
    return corrupt(np.ascontiguousarray(center(IMAGE)), name, 1, seeds=0)


def test_motion_turns_and_snow_falls_on() -> None:
    """A white dot leaves a line that turns by four degrees a frame, from -120 degrees to level."""
    image = np.zeros((101, 101, 3), np.uint8)
    image[50, 50] = 255
    lines = perturb(image, "motion_blur", seed=0, size=101)[..., 0]
    assert lines[30, 50, 44:51].all() and not lines[30, :50].any() and not lines[30, 51:].any()
    rows, columns = np.nonzero(lines[0])
    # Light comes from ahead, so the line lies behind: of -120 degrees, down and to the right.
    assert rows.min() == 50 and columns.min() == 50 and rows.max() > columns.max()
    black = np.zeros((SIZE, SIZE, 3), np.uint8)
    flakes = perturb(black, "snow", seed=1, size=SIZE).astype(np.float64)
    brightness = flakes.mean(axis=(1, 2, 3))
    assert brightness.min() > 0 and brightness.max() / brightness.min() < 1.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"perturbation": "tumble"}, "perturbation 'tumble': expected one of gaussian_noise, shot_noise"),
        ({"level": 4}, "level of snow: expected a whole number from 1 to 3, found 4"),
        ({"level": 2}, "level of snow: expected 1, found 2: take every second frame of level 1"),
        ({"size": 74}, "expected uint8 [H, W, 3] of at least 74 x 74 pixels, found [73, 97, 3]: resize it first"),
        ({"image": IMAGE[None]}, "found [1, 73, 97, 3]"),
        ({"image": IMAGE / 255}, "images: expected uint8"),
        ({"seed": -1}, "seed: expected a number from 0 to 2**64 - 1, found -1"),
    ],
)
def test_bad_input_is_one_line(options: dict, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        perturb(**{"image": IMAGE, "perturbation": "snow", "seed": 0, "size": SIZE} | options)
    assert message in str(caught.value) and "\n" not in str(caught.value)
