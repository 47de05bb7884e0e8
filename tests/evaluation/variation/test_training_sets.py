"""Which pictures are learnt from: budgets, shares, halves; and how draws are nested."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.evaluation.variation.training_sets import (
    half_of_classes,
    make_pool,
    training_set,
    varying_classes,
    varying_instances,
    varying_samples,
)
from shardtools.evaluation.variation.world import World, open_world
from tests.helpers.planted_gaps import planted_rows
from tests.helpers.rendered_datasets import make_rendered, objects_only

EVERY = np.ones(12, bool)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return open_world([make_rendered(tmp_path_factory.mktemp("world") / "rooms", planted_rows())])


def test_every_object_weighs_one_and_its_share_varies(world: World) -> None:
    pool = make_pool(world, "pose", seed=0, repeat=0)
    assert not world.is_canonical[pool.rows].any()
    for images, share, shown in ((20, 0.05, 1), (20, 0.5, 2), (20, 0.95, 2), (4, 0.25, 1)):
        found = training_set(world, EVERY, pool, varying_samples(world, share, images), images)
        objects = world.object_of[found.rows]
        assert np.bincount(objects, found.weights) == pytest.approx(np.ones(12))
        varies = ~world.is_canonical[found.rows]
        assert np.bincount(objects, found.weights * varies) == pytest.approx(np.full(12, share))
        assert np.bincount(objects[varies]).tolist() == [shown] * 12
    # A greater share shows what a smaller one does, and another draw something else.
    few, more = (training_set(world, EVERY, pool, varying_samples(world, share, 4), 4) for share in (0.25, 0.5))
    assert set(few.rows) <= set(more.rows)
    other = training_set(world, EVERY, make_pool(world, "pose", seed=0, repeat=1), varying_samples(world, 0.25, 4), 4)
    assert set(other.rows) != set(few.rows)


def test_nothing_varies_without_a_pool_or_pictures(world: World) -> None:
    found = training_set(world, EVERY, None, np.full(12, 3), 4)
    assert found.rows.tolist() == world.canonical_row.tolist()
    one = world.only((world.set_of != world.sets.index("pose")) | (world.object_of > 0))
    found = training_set(one, EVERY, make_pool(one, "pose", seed=0, repeat=0), np.full(12, 4), 4)
    assert found.rows[0] == one.canonical_row[0]
    assert np.bincount(one.object_of[found.rows], found.weights) == pytest.approx(np.ones(12))


@given(sizes=st.lists(st.integers(2, 40), min_size=2, max_size=5), seed=st.integers(0, 9))
def test_instances_are_nested_and_near_their_share(sizes: list[int], seed: int) -> None:
    world = objects_only(sizes)
    trained = np.ones(sum(sizes), bool)
    before = np.zeros(sum(sizes), bool)
    for share in (0.05, 0.25, 0.5, 0.95, 1.0):
        varying = varying_instances(world, trained, share, 20, seed=seed, repeat=0)
        assert set(varying) <= {0, 20}
        counts = np.bincount(world.class_of, varying / 20)
        assert (np.abs(counts - share * np.array(sizes)) < 1).all()
        assert (varying[before] == 20).all()
        before = varying > 0
    assert before.all()


def test_halves_of_classes_are_complements_and_half_of_their_objects_vary() -> None:
    world = objects_only([8, 9, 10, 7, 8])
    for pair in range(3):
        one, other = (half_of_classes(world, seed=0, repeat=2 * pair + which) for which in (0, 1))
        assert one.sum() == 2
        assert (one ^ other).all()
    assert len({tuple(half_of_classes(world, seed=0, repeat=repeat)) for repeat in range(0, 20, 2)}) > 3
    trained = np.ones(42, bool)
    trained[0] = False
    varying = varying_classes(world, trained, one, 20, seed=0, repeat=0)
    counts = np.bincount(world.class_of, varying / 20)
    assert counts[one].tolist() == (np.array([7, 9, 10, 7, 8])[one] // 2).tolist()
    assert not counts[~one].any()
