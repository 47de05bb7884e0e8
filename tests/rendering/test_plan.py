"""The plan of a rendered dataset: its counts, its pictures at any position, and what changes none of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import OptionError, PlanError
from shardtools.rendering import FACTORS, GRIDS, ObjectName, PhotoName, RenderOptions, RenderPlan, as_seen, make_plan
from shardtools.rendering.grids import permuted, spaced
from shardtools.rendering.plan import image_key

TYPES = ("home", "city", "grass", "sky", "water")
PHOTOS = [PhotoName(f"{kind}/{number}", kind) for kind in TYPES for number in range(5)]
EVERY = tuple(GRIDS)


def names(*sizes: int, first: int = 1) -> list[ObjectName]:
    return [
        ObjectName(f"n{number:08d}", f"object{one}") for number, size in enumerate(sizes, first) for one in range(size)
    ]


def plan_of(*sizes: int, **options: Any) -> RenderPlan:
    return make_plan(names(*sizes), PHOTOS, RenderOptions(**{"objects": min(sizes), "grids": EVERY, **options}))


def pictures(plan: RenderPlan) -> dict[str, Any]:
    """Key -> what is drawn."""
    return {
        image_key(plan.objects[one.object_index], one.grid, one.index): (one.varied, one.values, one.is_canonical)
        for one in plan.images(0, len(plan))
    }


@pytest.mark.parametrize(
    ("num_classes", "num_objects", "counts"),
    [(54, 50, (1_158_300, 3_148_200, 2_700_000)), (25, 10, (107_250, 291_500, 250_000))],
)
def test_the_counts_of_the_published_protocol(num_classes: int, num_objects: int, counts: tuple[int, ...]) -> None:
    plan = plan_of(*[num_objects] * num_classes)
    assert plan.counts == dict(zip(GRIDS, (num_classes * num_objects, *counts), strict=True))
    assert len(plan) == sum(plan.counts.values())


def test_planning_takes_no_graphics_seconds_or_memory() -> None:
    script = """
import resource, sys, time
sys.modules["moderngl"] = sys.modules["trimesh"] = None  # an import of either fails
from tests.rendering.test_plan import EVERY, PHOTOS, names
from shardtools.rendering import RenderOptions, make_plan
began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
plan = make_plan(names(*[50] * 54), PHOTOS, RenderOptions(grids=EVERY))
assert len(plan) == 7_009_200
assert sum(1 for _ in plan.images(3_000_000, 3_005_000)) == 5_000
assert time.process_time() - began < 5
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_each_grid_varies_what_it_says_and_nothing_else() -> None:
    plan = plan_of(1, 1, values=5, pair_values=3, draws=40)
    seen: dict[str, set[tuple[str, ...]]] = {}
    fields = dict(zip(FACTORS, ("pose", "size", "position", "hue", "background"), strict=True))
    for one in plan.images(0, len(plan)):
        seen.setdefault(one.grid, set()).add(one.varied)
        for factor in set(FACTORS) - set(one.varied):
            assert getattr(one.values, fields[factor]) == getattr(plan.single.canonical, fields[factor])
    assert seen == {
        "canonical": {()},
        "single": {(factor,) for factor in FACTORS},
        "pairs": set(combinations(FACTORS, 2)),
        "all": {FACTORS},
    }
    assert plan.num_images_of == {"canonical": 1, "single": 4 * 5 + 25, "pairs": 6 * 3**2 + 4 * 3 * 10, "all": 40}
    assert len(pictures(plan)) == len(plan)


def test_pictures_are_object_by_object_and_objects_go_round_the_classes() -> None:
    plan = plan_of(3, 4, objects=3, values=2, grids=("single", "canonical"))
    of = [one.object_index for one in plan.images(0, len(plan))]
    assert of == sorted(of)
    assert [name.wnid for name in plan.objects] == ["n00000001", "n00000002"] * 3
    assert [one.grid for one in plan.images(0, 2)] == ["canonical", "single"]
    assert plan.wnids == ("n00000001", "n00000002")


def test_canonical_pictures_are_marked_in_every_grid() -> None:
    plan = plan_of(1, values=101, pair_values=11)
    canonical = {"canonical": 0, "single": 0, "pairs": 0}
    for one in plan.images(0, len(plan) - 1000):
        canonical[one.grid] += one.is_canonical
    # The middle of pose and position, size 1 and the first photograph; of pairs those six that vary no light.
    assert canonical == {"canonical": 1, "single": 4, "pairs": 6}
    assert plan.notes == ()


def test_values_are_the_decimals_themselves() -> None:
    assert spaced(0.2, 1.2, 101)[80] == 1.0 and spaced(0.2, 1.2, 11)[1] == 0.3
    assert spaced(-0.38, 0.38, 101)[50] == 0.0
    assert [*map(len, map(set, (spaced(-180, 180, 101), spaced(0, 1, 101))))] == [101, 101]


def test_the_twins_of_a_grid_are_one_picture() -> None:
    plan = plan_of(1, grids=("single",), values=5)
    poses = [as_seen(one.values) for one in plan.images(0, 5)]
    hues = [as_seen(one.values) for one in plan.images(15, 20)]
    assert (poses[0], hues[0]) == (poses[-1], hues[-1])
    assert len(set(poses)) == len(set(hues)) == 4
    turned = replace(plan.single.canonical, pose=-270.0)
    assert as_seen(turned).pose == 90 and as_seen(replace(turned, pose=-36.1)).pose == -36.1


def test_another_class_or_object_changes_no_other_picture() -> None:
    few, options = names(4, 4, 4), RenderOptions(objects=4, grids=EVERY, values=3, pair_values=2, draws=50)
    before = pictures(make_plan(few, PHOTOS, options))
    more = make_plan([*reversed(few), *names(5, first=9)], PHOTOS, options)
    found = pictures(more)
    assert len(found) > len(before)
    assert {key: found[key] for key in before} == before
    # One object more for each class comes behind all that are there.
    five = [*few, *names(5, 5, 5)[4::5]]
    grown = make_plan(five, PHOTOS, replace(options, objects=5))
    assert {key: value for key, value in pictures(grown).items() if key in before} == before
    assert make_plan(five, PHOTOS, replace(options, objects=4)).objects == grown.objects[: 3 * 4]


def test_draws_depend_on_the_seed_and_on_the_object() -> None:
    plan, other = plan_of(2, grids=("all",)), plan_of(2, grids=("all",), seed=2)
    drawn = [[one.values for one in plan.images(start, start + 1000)] for start in (0, 1000)]
    assert len(set(drawn[0])) == 1000
    assert len(set(drawn[0]) & set(drawn[1])) < 30
    assert plan.objects == other.objects
    assert len({one.values for one in other.images(0, 1000)} & set(drawn[0])) < 30
    for number, expected in ((0, 11), (1, 11), (2, 11), (3, 11), (4, 10)):
        values = [(one.pose, one.size, one.position, one.hue, one.background)[number] for one in drawn[0]]
        counts = {value: values.count(value) for value in set(values)}
        assert len(counts) == expected and max(counts.values()) < 1000 / expected * 1.6


@given(st.integers(2, 700), st.integers(0, 2**64 - 1))
def test_a_stream_is_a_permutation(size: int, stream: int) -> None:
    assert sorted(permuted(index, size, stream) for index in range(size)) == list(range(size))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objects": 4}, r"--objects 4: 2 of 3 classes have fewer \(n00000001 2, n00000002 3\): give --objects 2 .*, "
         r"or --at-least 4 to leave those out"),
        ({"objects": 9}, r"--objects 9: no class has so many objects, the largest is n00000003 with 5: give --objects "
         r"2 for all 3 classes, or --objects 5 --at-least 2"),
        ({"objects": 5, "at_least": 6}, "--at-least 6: no class has so many objects"),
    ],
)  # fmt: skip
def test_classes_with_few_objects_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan_of(2, 3, 5, **options)


def test_what_is_left_out_is_said() -> None:
    plan = plan_of(2, 3, 5, objects=4, at_least=3, grids=("canonical",))
    assert plan.notes == (
        "left out: 1 class with fewer than 3 objects (n00000001 2)",
        "1 class has fewer than --objects 4 (n00000002 3)",
        "left out: 1 of 8 objects of these classes, by --objects 4",
    )
    assert len(plan) == 3 + 4


def test_only_the_classes_that_are_named() -> None:
    objects = [ObjectName(wnid, "one") for wnid in ("n02084071", "n02121620", "n03001627")]
    options = RenderOptions(objects=1, classes="n03001627,n02084071")
    assert make_plan(objects, PHOTOS, options).wnids == ("n02084071", "n03001627")
    with pytest.raises(PlanError, match=r"--classes names 1 class .* \(n04379243\): it has n02084071, n02121620, n03"):
        make_plan(objects, PHOTOS, replace(options, classes="n04379243,n02084071"))
    with pytest.raises(PlanError, match="the catalogue has no object"):
        make_plan([], PHOTOS, options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grids": ("double",)}, "--grid is some of canonical, single, pairs, all, found 'double'"),
        ({"grids": ()}, "--grid is some of canonical, .*, found 'none'"),
        ({"factors": ("yaw",)}, "--factors is some of pose, size, position, lighting, background, found 'yaw'"),
        ({"factors": ("pose",), "grids": ("pairs",)}, "--grid pairs varies two of the --factors, found pose: name two"),
        ({"values": 1}, "--values is 2 to 10001, found 1: a factor of one value does not vary"),
        ({"pair_values": 1}, "--pair-values is 2 to 10001, found 1"),
        ({"size_range": (1.2, 0.2)}, "--size-range is two numbers of 0.01 to 10 .*, the lower first, found 1.2,0.2"),
        ({"hue_range": (0.0, float("nan"))}, "--hue-range is two numbers of 0 to 1 .*, found 0,nan"),
        ({"pose_range": ()}, "--pose-range is two numbers of -360 to 360 .*, found nothing"),
        ({"canonical_size": 0.0}, "--canonical-size is 0.01 to 10, found 0.0"),
        ({"image_format": "gif"}, "--image-format is one of jpg, png, found 'gif'"),
    ],
)
def test_options_out_of_range_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        RenderOptions(**changes)


@pytest.mark.parametrize(
    ("photos", "changes", "message"),
    [
        ([], {}, "the catalogue of backgrounds has no photograph"),
        (PHOTOS[5:], {}, "no background of type home, .* found city, grass, sky, water: give --canonical-background, "
         "city/0 say"),
        (PHOTOS, {"canonical_background": "home/9"}, "--canonical-background is a photograph .*home/0 say, found "
         "'home/9'"),
        (PHOTOS[:6], {"grids": ("pairs",)}, "backgrounds of type city: 1 photograph, expected the 2 of each type that "
         "--pair-photos takes: add some, or give --pair-photos 1"),
        (PHOTOS, {"photos": 6}, "backgrounds of type home: 5 photographs, expected the 6 .* --photos 5"),
        (PHOTOS, {"grids": ("all",), "pair_values": 2}, "--draws is at most the 160 combinations of the grid all, "
         "found 1000"),
    ],
)  # fmt: skip
def test_backgrounds_that_make_no_grid_are_one_line(
    photos: list[PhotoName], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        make_plan(names(2), photos, RenderOptions(objects=2, **changes))


def test_a_canonical_value_that_a_grid_does_not_hold_is_said() -> None:
    plan = plan_of(1, grids=("single",), values=100)
    assert plan.notes == tuple(
        f"the 100 values of {what} do not hold the canonical {value}: another --values may"
        for what, value in (
            ("pose from -180 to 180", 0),
            ("size from 0.2 to 1.2", 1),
            ("position from -0.38 to 0.38", 0),
        )
    )
    assert not any(one.is_canonical for one in plan.images(0, 400))


def test_an_object_whose_name_can_be_no_key_is_refused() -> None:
    with pytest.raises(PlanError, match=r"object 'a\.b' of n1 names no sample: a key has no '\.'"):
        make_plan([ObjectName("n1", "a.b")], PHOTOS, RenderOptions(objects=1))


def test_only_some_factors_and_photographs() -> None:
    turned = plan_of(1, grids=("canonical", "single"), factors=("pose",), values=5)
    assert turned.num_images_of == {"canonical": 1, "single": 5}
    assert {one.varied for one in turned.images(1, 6)} == {("pose",)} and turned.photos == ("home/0",)
    few = plan_of(1, grids=("single", "pairs"), factors=("background", "size"), values=5, pair_values=3, photos=1)
    assert few.num_images_of == {"single": 5 + 5, "pairs": 3 * 10}
    assert [one.values.background for one in few.images(5, 10)] == [f"{kind}/0" for kind in TYPES]
    assert [one.varied for one in few.images(10, 11)] == [("size", "background")]
    # Of what is not varied nothing is said.
    assert plan_of(1, grids=("single",), factors=("lighting",), values=4).notes == ()


def test_only_photographs_of_the_grids_are_needed() -> None:
    assert plan_of(1, grids=("canonical",)).photos == ("home/0",)
    assert len(plan_of(1, grids=("all",)).photos) == 10
    assert len(plan_of(1).photos) == 25
