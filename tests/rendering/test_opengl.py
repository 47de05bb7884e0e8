"""Pictures: geometry and light as asked, photographs untouched elsewhere, no stale frame, the same bits again."""

from __future__ import annotations

import colorsys
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shardtools.errors import RunError
from shardtools.rendering import FactorValues, Mesh, MeshPart, Renderer, SceneOptions
from tests.helpers.scenes import scenes
from tests.helpers.solids import boxes, sphere

ROOT = Path(__file__).resolve().parents[2]
SIDE = 64


def values(pose: float = 0.0, size: float = 1.0, position: float = 0.0, hue: float | None = None) -> FactorValues:
    return FactorValues(pose=pose, size=size, position=position, hue=hue, background="home/one")


CANONICAL = values()
VARIED = {
    "pose": values(pose=-72.0),
    "size": values(size=0.7),
    "position": values(position=0.2),
    "lighting": values(hue=0.6),
}


@pytest.fixture(scope="module")
def large() -> Iterator[Renderer]:
    """Pictures of 224 pixels without shadow."""
    with Renderer(SceneOptions(shadow=0.0)) as renderer:
        yield renderer


@pytest.fixture(scope="module")
def small() -> Iterator[Renderer]:
    """Pictures of 64 pixels."""
    with Renderer(SceneOptions(image_size=SIDE)) as renderer:
        yield renderer


def photo(side: int = SIDE, number: int = 0) -> np.ndarray:
    return scenes(2, side, side)[number]


def silhouette(renderer: Renderer, mesh: Mesh, asked: FactorValues, side: int = 224) -> np.ndarray:
    """Opacity by two backgrounds, 0 to 1, [side, side]: what a photograph shines through by is not the object."""
    black, white = (renderer.render(mesh, asked, np.full((side, side, 3), level, np.uint8)) for level in (0, 255))
    return 1 - (white.astype(float) - black).mean(axis=-1) / 255


@pytest.mark.parametrize("position", [-0.38, -0.1, 0.25, 0.38])
def test_a_position_moves_the_silhouette_by_that_many_half_frames(large: Renderer, position: float) -> None:
    """Bar: 1 pixel. The outline itself only moves: a shift of the lens, no other perspective."""
    places = [
        np.average(np.arange(224), weights=silhouette(large, boxes(), values(position=at)).sum(axis=0))
        for at in (0.0, position)
    ]
    assert places[1] - places[0] == pytest.approx(position * 112, abs=0.25)


def test_a_position_of_whole_pixels_only_moves_the_picture(large: Renderer) -> None:
    at_rest, moved = (silhouette(large, boxes(), values(position=at)) for at in (0.0, 28 / 112))
    assert np.abs(moved[:, 28:] - at_rest[:, :-28]).max() < 0.02


@pytest.mark.parametrize("size", [0.2, 0.6, 1.0, 1.2])
def test_a_sphere_is_as_high_as_its_projection(large: Renderer, size: float) -> None:
    """Bar: 1 pixel; at size 1 it is the part of the frame that `span` says."""
    seen = silhouette(large, sphere(), values(size=size))
    # The defaults: a field of view of 35 degrees, of which size 1 takes 62 %.
    half_frame = np.tan(np.radians(17.5))
    distance = 0.5 / np.sin(np.arctan(0.62 * half_frame))
    expected = 224 * np.tan(np.arcsin(0.5 * size / distance)) / half_frame
    # Rows that are half covered count half: the height is measured through the middle column.
    middle = seen[:, 111:113].mean(axis=1).sum()
    assert middle == pytest.approx(expected, abs=1.0)
    if size == 1.0:
        assert expected == pytest.approx(0.62 * 224)


@pytest.mark.parametrize("axis", ["roll", "pitch", "yaw"])
def test_what_fits_its_sphere_lies_within_the_frame_in_any_pose(axis: str) -> None:
    with Renderer(SceneOptions(image_size=SIDE, shadow=0.0, pose_axis=axis)) as renderer:
        for pose in (-180.0, -101.0, 0.0, 77.0):
            seen = silhouette(renderer, boxes(), values(pose=pose, size=1.2), SIDE)
            assert seen.max() > 0.99
            assert max(seen[0].max(), seen[-1].max(), seen[:, 0].max(), seen[:, -1].max()) == 0


@pytest.mark.parametrize("hue", [0.0, 0.15, 1 / 3, 0.5, 0.7, 0.95])
def test_a_grey_sphere_has_the_hue_that_is_asked(small: Renderer, hue: float) -> None:
    """Bar: 5 degrees, of the mean color of what the key light reaches."""
    picture = small.render(sphere(), values(hue=hue), np.zeros((SIDE, SIDE, 3), np.uint8)).astype(float)
    lit = picture[picture.max(axis=-1) > 1.2 * np.median(picture.max(axis=-1)[picture.max(axis=-1) > 30])]
    found, saturation, _ = colorsys.rgb_to_hsv(*(lit.mean(axis=0) / 255))
    assert abs((found - hue + 0.5) % 1 - 0.5) * 360 < 5
    assert saturation > 0.1


def test_canonical_light_is_white(small: Renderer) -> None:
    picture = small.render(sphere(), CANONICAL, np.zeros((SIDE, SIDE, 3), np.uint8))
    assert (picture == picture[..., :1]).all()


def test_pixels_outside_of_object_and_shadow_are_the_photographs(small: Renderer) -> None:
    """Bit by bit: where neither a black nor a white photograph is touched, no photograph is."""
    for asked in (CANONICAL, *VARIED.values()):
        black = small.render(boxes(), asked, np.zeros((SIDE, SIDE, 3), np.uint8))
        white = small.render(boxes(), asked, np.full((SIDE, SIDE, 3), 255, np.uint8))
        untouched = (black == 0).all(axis=-1) & (white == 255).all(axis=-1)
        assert 0.3 < untouched.mean() < 0.95
        picture = small.render(boxes(), asked, photo())
        assert (picture[untouched] == photo()[untouched]).all()
        assert (picture[~untouched] != photo()[~untouched]).any()


def test_the_shadow_lies_below_the_object_and_only_darkens(small: Renderer) -> None:
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    with_shadow = small.render(sphere(), CANONICAL, white)
    with Renderer(SceneOptions(image_size=SIDE, shadow=0.0)) as renderer:
        without = renderer.render(sphere(), CANONICAL, white)
    shaded = (with_shadow != without).any(axis=-1)
    assert shaded.sum() > 50
    assert (with_shadow <= without).all()
    # Under the object, to the left: light comes from the upper right front.
    rows, columns = np.nonzero(shaded)
    assert rows.mean() > SIDE / 2
    assert columns.mean() < SIDE / 2
    only_shadow = (without == 255).all(axis=-1) & shaded
    assert with_shadow[only_shadow].min() == pytest.approx(255 * (1 - 0.45), abs=1)


def test_transparent_parts_let_the_photograph_through_and_cast_no_shadow(small: Renderer) -> None:
    glass = sphere(color=(0.2, 0.9, 0.2, 0.25))
    seen = silhouette(small, glass, CANONICAL, SIDE)
    # Front and back: a ray passes two walls.
    assert seen[SIDE // 2, SIDE // 2] == pytest.approx(1 - 0.75**2, abs=0.03)
    assert seen[SIDE - 8 :].max() == 0


def test_what_is_behind_glass_is_seen_through_it(small: Renderer) -> None:
    """Opaque parts first, in whatever order they stand in the file."""
    outer, inner = sphere(color=(0.0, 0.0, 1.0, 0.3), rings=12), sphere(color=(1.0, 0.0, 0.0, 1.0), rings=12)
    count, corners = len(outer.triangles), len(outer.positions)
    both = Mesh(
        positions=np.concatenate([outer.positions, inner.positions * np.float32(0.4)]),
        normals=np.concatenate([outer.normals, inner.normals]),
        uvs=np.concatenate([outer.uvs, inner.uvs]),
        triangles=np.concatenate([outer.triangles, inner.triangles + np.uint32(corners)]),
        parts=(
            MeshPart(first=0, count=count, color=(0.0, 0.0, 1.0, 0.3)),
            MeshPart(first=count, count=count, color=(1.0, 0.0, 0.0, 1.0)),
        ),
    )
    red, _, blue = small.render(both, CANONICAL, np.zeros((SIDE, SIDE, 3), np.uint8))[SIDE // 2, SIDE // 2]
    assert red > 90
    assert 30 < blue < red


def test_no_picture_is_the_one_of_before(small: Renderer) -> None:
    """Each factor: two values give two pictures of each object, in one renderer, one after the other."""
    for seed in range(4):
        mesh = boxes(seed)
        pictures = [small.render(mesh, asked, photo()) for asked in (CANONICAL, *VARIED.values())]
        pictures.append(small.render(mesh, CANONICAL, photo(number=1)))
        digests = {hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures}
        assert len(digests) == len(VARIED) + 2
    assert (small.render(boxes(1), CANONICAL, photo()) != small.render(boxes(2), CANONICAL, photo())).any()


def test_a_whole_turn_is_the_same_picture(small: Renderer) -> None:
    one, other = (small.render(boxes(), values(pose=pose), photo()) for pose in (-180.0, 180.0))
    assert (one == other).all()
    one, other = (small.render(boxes(), values(hue=hue), photo()) for hue in (0.0, 1.0))
    assert (one == other).all()


def test_the_order_of_pictures_and_what_is_kept_change_no_bit(small: Renderer) -> None:
    asked = [CANONICAL, *VARIED.values()]
    meshes = [boxes(0), boxes(1)]
    forward = {(m, a): small.render(meshes[m], asked[a], photo()) for m in range(2) for a in range(len(asked))}
    with Renderer(SceneOptions(image_size=SIDE)) as other:
        # Two contexts in one process, in turns, and objects in turns: nothing is reused.
        for a in reversed(range(len(asked))):
            for m in (1, 0):
                assert (other.render(meshes[m], asked[a], photo()) == forward[m, a]).all()
                assert (small.render(meshes[1 - m], asked[a], photo()) == forward[1 - m, a]).all()


DIGEST = """
import hashlib, sys
from shardtools.rendering import Renderer, SceneOptions
from tests.helpers.solids import boxes
from tests.rendering.test_opengl import CANONICAL, VARIED, SIDE, photo
with Renderer(SceneOptions(image_size=SIDE)) as renderer:
    pictures = [renderer.render(boxes(), asked, photo()).tobytes() for asked in (CANONICAL, *VARIED.values())]
print(hashlib.sha256(b"".join(pictures)).hexdigest())
"""


def test_another_process_and_other_threads_draw_the_same_bits(small: Renderer) -> None:
    pictures = [small.render(boxes(), asked, photo()).tobytes() for asked in (CANONICAL, *VARIED.values())]
    expected = hashlib.sha256(b"".join(pictures)).hexdigest()
    done = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env={**os.environ, "LP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == expected


def test_a_renderer_says_what_draws(small: Renderer) -> None:
    with Renderer(SceneOptions(image_size=SIDE)) as other:
        assert other.description == small.description
    renderer, version = small.description.split("; ")
    assert renderer
    assert version[0].isdigit()


def test_no_opengl_is_one_line_with_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    # A device that is not there: what EGL says where no driver is installed.
    monkeypatch.setenv("GLCONTEXT_DEVICE_INDEX", "99")
    with pytest.raises(RunError, match=r"^render found no OpenGL .*libegl1 libegl-mesa0 libgl1-mesa-dri\)$"):
        Renderer(SceneOptions())


def test_no_moderngl_is_one_line_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardtools.extras.is_installed", lambda module: module != "moderngl")
    with pytest.raises(RunError, match=r"moderngl, which is not installed: pip install 'shardtools\[render\]'"):
        Renderer(SceneOptions())
