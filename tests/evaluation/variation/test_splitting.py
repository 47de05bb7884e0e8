"""Splits by object: disjoint, whole, near-duplicates on one side, and unmoved by another class."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import DatasetError, OptionError, SourceError
from shardtools.evaluation.variation.splitting import NEVER, read_twins, split_objects
from shardtools.rendering import ObjectName
from tests.helpers.rendered_datasets import objects_only


@given(
    sizes=st.lists(st.integers(6, 25), min_size=2, max_size=4),
    folds=st.integers(2, 6),
    seed=st.integers(0, 5),
)
def test_folds_hold_each_object_out_once_evenly(sizes: list[int], folds: int, seed: int) -> None:
    world = objects_only(sizes)
    split = split_objects(world, held_out=None, num_folds=folds, seed=seed)
    for number, size in enumerate(sizes):
        counts = np.bincount(split.fold_of[world.class_of == number], minlength=folds)
        assert counts.sum() == size
        assert counts.max() - counts.min() <= 1
    for fold in range(folds):
        assert (split.trained(fold) == ~split.held_out(fold)).all()


@pytest.mark.parametrize(("size", "expected"), [(2, 1), (9, 1), (10, 1), (16, 2), (50, 5)])
def test_a_tenth_is_held_out(size: int, expected: int) -> None:
    world = objects_only([size, size])
    split = split_objects(world, held_out=None, num_folds=None, seed=0)
    assert split.num_folds == 1
    assert np.bincount(world.class_of[split.held_out(0)]).tolist() == [expected, expected]
    assert (split.fold_of[~split.held_out(0)] == NEVER).all()


def test_another_class_moves_no_object() -> None:
    few, more = objects_only([9, 9]), objects_only([9, 9, 12])
    for arguments in ({"held_out": 2, "num_folds": 3}, {"held_out": None, "num_folds": 4}):
        one, other = (split_objects(world, seed=1, **arguments) for world in (few, more))  # type: ignore[arg-type]
        assert one.fold_of.tolist() == other.fold_of[:18].tolist()
    assert split_objects(few, held_out=None, num_folds=4, seed=2).fold_of.tolist() != one.fold_of.tolist()


def test_near_duplicates_stay_on_one_side_and_are_named() -> None:
    world = objects_only([9, 9])
    first, second, third = world.objects[0], world.objects[4], world.objects[12]
    split = split_objects(world, held_out=None, num_folds=3, seed=0, twins=[(first, second), (second, third)])
    assert split.fold_of[0] == split.fold_of[4]
    assert split.notes == ("near-duplicates on one side of the split: n00000001/o0, n00000001/o4, n00000002/o3",)
    for fold in range(3):
        held, trained = split.held_out(fold), split.trained(fold)
        assert not (held & trained).any()
        # That of another class is in a fold of its own class, so it may be in neither.
        assert not (held[[0, 4, 12]].any() and trained[[0, 4, 12]].any())


def test_objects_of_one_mesh_are_near_duplicates() -> None:
    world = objects_only([4, 4], meshes={1: "same", 2: "same"})
    split = split_objects(world, held_out=1, num_folds=3, seed=0)
    assert split.group_of.tolist() == [0, 1, 1, 3, 4, 5, 6, 7]
    assert split.fold_of[1] == split.fold_of[2]


def test_twins_are_read_from_the_folder_of_meshes_or_a_file(tmp_path: Path) -> None:
    world = objects_only([3, 3])
    (tmp_path / "twins.csv").write_text("first,second\nn00000001/o0,n00000001/o2\nn00000001/o0,n00000009/o2\n")
    expected = [(ObjectName("n00000001", "o0"), ObjectName("n00000001", "o2"))]
    assert read_twins(tmp_path, world) == read_twins(tmp_path / "twins.csv", world) == expected
    (tmp_path / "a.csv").write_text("first\nx\n")
    with pytest.raises(SourceError, match="lacks the column second"):
        read_twins(tmp_path / "a.csv", world)
    (tmp_path / "a.csv").write_text("first,second\nx,y\n")
    with pytest.raises(SourceError, match="expected wnid/object"):
        read_twins(tmp_path / "a.csv", world)


def test_too_few_objects_are_one_line() -> None:
    for sizes, arguments, error, match in (
        ([3, 3], {"held_out": 3, "num_folds": None}, DatasetError, "too few for 1 fold of 3"),
        ([9, 3], {"held_out": 1, "num_folds": 4}, DatasetError, "n00000002 has 3 objects"),
        ([9, 3], {"held_out": None, "num_folds": 4}, DatasetError, "n00000002 has 3 objects"),
        ([9, 3], {"held_out": None, "num_folds": 1}, OptionError, "leaves none to learn from"),
    ):
        with pytest.raises(error, match=match):
            split_objects(objects_only(sizes), seed=0, **arguments)  # type: ignore[arg-type]
    world = objects_only([2, 2], meshes={0: "same", 1: "same"})
    with pytest.raises(DatasetError, match="near-duplicates stay on one side"):
        split_objects(world, held_out=1, num_folds=None, seed=0)
