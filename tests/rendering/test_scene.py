"""Geometry without pixels: turns, windows, the box that light sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.rendering import FactorValues, SceneOptions, build_scene
from shardtools.rendering.scene import Scene, light_box, shadow_of, turn_of, turned, window_of
from tests.helpers.solids import boxes

POINTS = np.ascontiguousarray(boxes().positions.T)


def scene_of(pose: float, size: float = 1.0, position: float = 0.0) -> Scene:
    values = FactorValues(pose=pose, size=size, position=position, hue=None, background="")
    return build_scene(SceneOptions(), values)


@given(pose=st.floats(-720, 720), axis=st.sampled_from(["roll", "pitch", "yaw"]))
def test_a_pose_is_a_rotation_and_a_whole_turn_is_none(pose: float, axis: str) -> None:
    options = SceneOptions(pose_axis=axis)
    turn = turn_of(options, pose)
    assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    assert turn_of(options, pose + 360) == pytest.approx(turn, abs=1e-9)


def test_half_turns_both_ways_are_the_same_numbers() -> None:
    for axis in ("roll", "pitch", "yaw"):
        options = SceneOptions(pose_axis=axis)
        assert (turn_of(options, -180.0) == turn_of(options, 180.0)).all()


@given(pose=st.floats(-180, 180))
def test_light_sees_the_whole_object_in_its_box(pose: float) -> None:
    scene = scene_of(pose)
    points = turned(POINTS, scene.turn)
    to_light = light_box(points, scene.towards_light)
    seen = to_light[:3, :3] @ points + to_light[:3, 3:]
    assert seen.min() > 0
    assert seen.max() < 1
    # And little else: the map's samples go to the object.
    assert (seen.max(axis=1) - seen.min(axis=1)).min() > 0.7


@given(pose=st.floats(-180, 180), size=st.floats(0.2, 1.2), position=st.floats(-1.5, 1.5))
def test_a_window_holds_all_that_is_in_the_frame(pose: float, size: float, position: float) -> None:
    scene = scene_of(pose, size, position)
    points = turned(POINTS, scene.turn)
    shadow = shadow_of(points, scene.towards_light, float(points[1].min()))
    assert shadow[1] == pytest.approx(points[1].min())
    for drawn in (points, shadow):
        clip = scene.to_clip @ np.concatenate([drawn, np.ones((1, drawn.shape[1]))])
        across, up = (clip[0] / clip[3] + 1) * 112, (1 - clip[1] / clip[3]) * 112
        inside = (across > 0) & (across < 224) & (up > 0) & (up < 224)
        window = window_of(SceneOptions(), scene.to_clip, drawn)
        if window is None:
            assert not inside.any()
        else:
            rows, columns = window
            assert ((up >= rows.start) & (up <= rows.stop))[inside].all()
            assert ((across >= columns.start) & (across <= columns.stop))[inside].all()
