"""The plan: prefix-stable, every key and seed once, the same rows however they are cut."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import Field, dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.dataset.plan_file import fingerprint
from shardtools.errors import OptionError, PlanError
from shardtools.generation.plan import (
    MAX_ATTEMPTS,
    MAX_REPLICAS,
    GeneratorSettings,
    Plan,
    PlanOptions,
    auto_samples_per_shard,
    class_codes,
    image_seeds,
)
from shardtools.options import option as declared_as
from shardtools.options import option_of
from shardtools.prompts import PromptOptions
from shardtools.taxonomy import ImageClass, load_classes

GENERATOR = GeneratorSettings(model_digest="d" * 64, width=32, height=32)


def toy_classes(number: int) -> tuple[ImageClass, ...]:
    return tuple(
        ImageClass(
            wnid=f"class-{index}",
            class_index=index,
            lemmas=(f"name {index}", "other"),
            definition="a thing",
            hypernyms=(("parent",),),
            hypernym_wnids=("n00000001",),
        )
        for index in range(number)
    )


def toy_plan(counts: tuple[int, ...], *, scale: int = 1, samples_per_shard: int = 4, **changes: Any) -> Plan:
    options = {
        "classes": toy_classes(len(counts)),
        "images_per_class": counts,
        "scale": scale,
        "prompts": PromptOptions(template="c, d_c"),
        "samples_per_shard": samples_per_shard,
        "generator": GENERATOR,
    }
    return Plan(PlanOptions(**{**options, **changes}))


def all_rows(plan: Plan) -> list[dict[str, Any]]:
    return [row for index in range(plan.num_shards) for row in plan.table(*plan.shard_range(index)).to_pylist()]


COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any).map(tuple)


@given(counts=COUNTS, scale=st.integers(1, 4), samples_per_shard=st.integers(1, 9))
def test_shards_hold_every_image_once(counts: tuple[int, ...], scale: int, samples_per_shard: int) -> None:
    plan = toy_plan(counts, scale=scale, samples_per_shard=samples_per_shard)
    rows = all_rows(plan)
    assert len(rows) == plan.num_rows == sum(counts) * scale
    assert len({row["key"] for row in rows}) == len({row["seed"] for row in rows}) == len(rows)
    for position, count in enumerate(counts):
        replicas = sorted(row["replica"] for row in rows if row["class_index"] == position)
        assert replicas == list(range(count * scale))


@given(counts=COUNTS, scale=st.integers(1, 3), larger=st.integers(1, 3), samples_per_shard=st.integers(1, 9))
def test_scale_is_a_prefix(counts: tuple[int, ...], scale: int, larger: int, samples_per_shard: int) -> None:
    small = toy_plan(counts, scale=scale, samples_per_shard=samples_per_shard)
    large = toy_plan(counts, scale=scale + larger, samples_per_shard=samples_per_shard)
    for index in range(small.num_shards):
        assert small.shard_rows(index) == large.shard_rows(index)
    assert fingerprint(small.options.settings()) == fingerprint(large.options.settings())


@given(counts=COUNTS, cuts=st.lists(st.integers(0, 40), max_size=5))
def test_rows_do_not_depend_on_how_they_are_cut(counts: tuple[int, ...], cuts: list[int]) -> None:
    plan = toy_plan(counts, scale=2)
    edges = sorted({0, plan.num_rows, *(cut for cut in cuts if cut < plan.num_rows)})
    pieces = [plan.table(start, stop) for start, stop in pairwise(edges)]
    assert pa.concat_tables(pieces).equals(plan.table(0, plan.num_rows))


def test_rows_go_round_the_classes() -> None:
    plan = toy_plan((3, 1, 2), samples_per_shard=100)
    assert [(row.class_index, row.replica) for row in plan.shard_rows(0)] == [
        (0, 0),
        (1, 0),
        (2, 0),
        (0, 1),
        (2, 1),
        (0, 2),
    ]


def test_a_seed_depends_on_seed_wnid_and_replica_only() -> None:
    by_key = {row["key"]: row["seed"] for row in all_rows(toy_plan((4, 4)))}
    other = toy_plan((9, 1), prompts=PromptOptions(template="a photo of a c"), samples_per_shard=2)
    shared = {row["key"]: row["seed"] for row in all_rows(other) if row["key"] in by_key}
    assert shared and all(by_key[key] == seed for key, seed in shared.items())
    assert all(by_key[row["key"]] != row["seed"] for row in all_rows(toy_plan((4, 4), seed=1)))


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**36 - 1), st.integers(0, MAX_REPLICAS - 1), st.integers(1, MAX_ATTEMPTS)),
        unique=True,
    )
)
def test_seeds_are_a_bijection(triples: list[tuple[int, int, int]]) -> None:
    codes, replicas, attempts = (
        np.array(column, dtype=np.int64) for column in (zip(*triples, strict=True) if triples else ((), (), ()))
    )
    seeds = image_seeds(codes.astype(np.uint64), replicas, attempts)
    assert len(set(seeds.tolist())) == len(triples)
    assert not triples or int(seeds.min()) >= 0


def test_the_largest_class_set_gets_distinct_codes() -> None:
    classes = load_classes("imagenet-21k")
    assert len(set(class_codes(0, [one.wnid for one in classes]).tolist())) == len(classes) == 21841


def test_seeds_out_of_range_are_refused() -> None:
    codes = class_codes(0, ["a"])
    with pytest.raises(PlanError, match="lower --scale"):
        image_seeds(codes, np.array([MAX_REPLICAS]))
    with pytest.raises(PlanError, match="at most 15 times"):
        image_seeds(codes, np.array([0]), MAX_ATTEMPTS + 1)


def test_every_class_meets_every_scene() -> None:
    scenes = ("beach", "forest", "office")
    plan = toy_plan((3, 3), prompts=PromptOptions(template="c, h_c inside b", scenes=scenes))
    pairs = Counter((row["class_index"], row["scene"]) for row in all_rows(plan))
    assert pairs == Counter({(index, scene): 1 for index in range(2) for scene in scenes})
    assert plan.num_distinct_prompts() == len({row["prompt"] for row in all_rows(plan)}) == 6
    assert all(row["prompt"].endswith(f"inside {row['scene']}") for row in all_rows(plan))


def test_scenes_go_on_over_clones() -> None:
    scenes = tuple(f"scene {number}" for number in range(4))
    plan = toy_plan((2,), scale=2, prompts=PromptOptions(template="c inside b", scenes=scenes))
    assert {row["scene"] for row in all_rows(plan)} == set(scenes)


SCENE_NAMES = tuple(f"scene {number:02d}" for number in range(23))


@given(counts=COUNTS, scale=st.integers(1, 4), seed=st.integers(0, 9))
def test_a_scene_does_not_tell_the_class(counts: tuple[int, ...], scale: int, seed: int) -> None:
    """Who knows which images have a scene guesses the class no better than who always says the largest class."""
    prompts = PromptOptions(template="c inside b", scenes=SCENE_NAMES)
    rows = all_rows(toy_plan(counts, scale=scale, prompts=prompts, seed=seed))
    pairs = Counter((row["scene"], row["class_index"]) for row in rows)
    right = sum(max(pairs[scene, index] for index in range(len(counts))) for scene in {scene for scene, _ in pairs})
    assert right == max(counts) * scale
    for index, count in enumerate(counts):
        met = [pairs[scene, index] for scene in SCENE_NAMES]
        assert max(met) - min(met) <= 1 and sum(met) == count * scale


def test_scenes_are_shuffled_by_the_seed() -> None:
    prompts = PromptOptions(template="c inside b", scenes=SCENE_NAMES)
    dealt = {seed: [row["scene"] for row in all_rows(toy_plan((23,), prompts=prompts, seed=seed))] for seed in (0, 1)}
    assert sorted(dealt[0]) == sorted(dealt[1]) == list(SCENE_NAMES)
    assert dealt[0] != dealt[1] and list(SCENE_NAMES) not in dealt.values()
    # Neighbours of the list, which are alike, do not stay together.
    steps = [SCENE_NAMES.index(right) - SCENE_NAMES.index(left) for left, right in pairwise(dealt[0])]
    assert sum(step == 1 for step in steps) < 4


def test_plans_with_scenes_of_earlier_releases_are_told_apart() -> None:
    """They name no order, and give the images that they gave: each class its own part of the list."""
    prompts = PromptOptions(template="c, h_c inside b", scenes=SCENE_NAMES)
    new, old = toy_plan((2, 2), prompts=prompts), toy_plan((2, 2), prompts=prompts, scene_order="by-class")
    assert fingerprint(old.options.settings()) == "e6bea82259886061"
    assert [row["scene"] for row in all_rows(old)] == ["scene 00", "scene 09", "scene 01", "scene 10"]
    assert new.options.settings() == old.options.settings() | {"scene_order": "shuffled"}
    with pytest.raises(OptionError, match="--scene-order is one of shuffled, by-class, found 'random'"):
        replace(new.options, scene_order="random")


def another(option: Field[Any]) -> Any:
    """A value that a setting does not have in `GENERATOR`."""
    value, declared = getattr(GENERATOR, option.name), option_of(option)
    if declared is not None and declared.choices:
        return next(choice for choice in declared.choices if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        # Sides are multiples of 8; another number of the rest lies on one side of it or the other.
        step = 8 if option.name in ("width", "height") else 1
        highest = declared.bounds[1] if declared is not None and declared.bounds else math.inf
        return value + step if value + step <= highest else value - step
    return "other"


@pytest.mark.parametrize("option", fields(GeneratorSettings), ids=lambda option: option.name)
def test_every_generator_setting_is_in_the_fingerprint(option: Field[Any]) -> None:
    plan = toy_plan((2, 2))
    changed = replace(plan.options, generator=replace(GENERATOR, **{option.name: another(option)}))
    assert fingerprint(changed.settings()) != fingerprint(plan.options.settings())


def test_plans_of_earlier_releases_stay_what_they_are() -> None:
    """A plan that is not this one any more is refused by every dataset that was begun with it.

    An option that is new is declared with `late=True` (`generation.plan.options`).
    """
    settings = toy_plan((2, 2)).options.settings()
    assert fingerprint(settings) == "2edaca9bbd5e6cf0"
    assert list(settings)[-14:] == [
        *("model_digest", "guidance_scale", "num_inference_steps", "scheduler", "width", "height", "negative_prompt"),
        *("dtype", "batch_size", "threads_per_process", "device", "compile", "safety", "quality"),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterSettings(GeneratorSettings):
    """Those of a release with one more option."""

    rescale: float = field(default=0.0, metadata=declared_as("Rescale guidance.", bounds=(0, 1), late=True))


def test_a_late_option_changes_only_the_plans_that_use_it() -> None:
    later = LaterSettings(model_digest="d" * 64, width=32, height=32)
    assert later.settings() == GENERATOR.settings()
    assert replace(later, rescale=0.5).settings() == GENERATOR.settings() | {"rescale": 0.5}


@pytest.mark.parametrize("rescale", [0.0, 0.5])
def test_settings_are_read_back_also_from_an_earlier_release(rescale: float) -> None:
    later = LaterSettings(model_digest="d" * 64, width=32, height=32, rescale=rescale)
    assert LaterSettings.from_settings({"seed": 0, **later.settings()}) == later
    with pytest.raises(KeyError):
        LaterSettings.from_settings({"width": 32, "rescale": 0.5})


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"split": "val"},
        {"samples_per_shard": 5},
        {"images_per_class": (2, 3)},
        {"classes": (*toy_classes(1), replace(toy_classes(2)[1], definition="another thing"))},
        {"prompts": PromptOptions(template="c, h_c")},
        {"prompts": PromptOptions(template="c, d_c", lemmas="first")},
        {"prompts": PromptOptions(template="c, d_c", hypernyms="first")},
        {"prompts": PromptOptions(template="c inside b", scenes=("beach",))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_plan_option_is_in_the_fingerprint(change: dict[str, Any]) -> None:
    plan = toy_plan((2, 2))
    assert fingerprint(replace(plan.options, **change).settings()) != fingerprint(plan.options.settings())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images_per_class": (0, 0)}, "at least one image"),
        ({"images_per_class": (1,)}, "one image count for each of 2 classes"),
        ({"scale": 0}, "--scale is 1 to 10000, found 0"),
        ({"images_per_class": (MAX_REPLICAS, 1), "scale": 2}, "lower one of them"),
        ({"split": "../x"}, "lower-case letters"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bad_plan_options(change: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        replace(toy_plan((2, 2)).options, **change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"guidance_scale": -1},
        {"num_inference_steps": 0},
        {"width": 33},
        {"dtype": "int8"},
        {"safety": "maybe"},
        {"quality": 101},
    ],
    ids=str,
)
def test_bad_generator_settings(change: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="found"):
        replace(GENERATOR, **change)


def test_automatic_shards_are_whole_batches() -> None:
    assert auto_samples_per_shard(160, 20) == 20
    assert auto_samples_per_shard(3, 20) == 20
    assert auto_samples_per_shard(130_000, 20) == 1000
    assert auto_samples_per_shard(130_000, 64) == 1024


def test_scenes_fill_every_place_of_the_template() -> None:
    plan = toy_plan((2,), prompts=PromptOptions(template="b: a c inside b, \\b", scenes=("beach", "a c room")))
    assert [row["prompt"] for row in all_rows(plan)] == [
        f"{scene}: a name 0, other inside {scene}, b" for scene in (row["scene"] for row in all_rows(plan))
    ]


def test_scenes_and_templates_go_together() -> None:
    with pytest.raises(OptionError, match="goes with scenes"):
        toy_plan((1,), prompts=PromptOptions(template="c inside b"))
    with pytest.raises(OptionError, match="goes with scenes"):
        toy_plan((1,), prompts=PromptOptions(template="c", scenes=("beach",)))
