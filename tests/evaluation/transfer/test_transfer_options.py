"""Sets as they are typed, what of them is tested on, and which solver they call for."""

from __future__ import annotations

import pytest

from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.transfer import TransferOptions, choose_solver, choose_splits


def sets_of(*given: str) -> list[tuple[str, str]]:
    return [(one.name, one.dataset) for one in TransferOptions(models=("lite0",), sets=given).requests]


def test_sets_as_they_are_typed() -> None:
    assert sets_of("flowers") == [("flowers", "flowers")]
    assert sets_of("data/Flowers/", "s3://bucket/cars_196") == [
        ("flowers", "data/Flowers/"),
        ("cars-196", "s3://bucket/cars_196"),
    ]
    assert sets_of("flowers,pets") == [("flowers", "flowers"), ("pets", "pets")]
    assert sets_of("a=one,b=two", "c=three") == [("a", "one"), ("b", "two"), ("c", "three")]
    # Addresses of sets that have a name may hold commas and equal signs.
    assert sets_of("a=one,two,b=three") == [("a", "one,two"), ("b", "three")]
    assert sets_of("a=s3://b/x=1") == [("a", "s3://b/x=1")] and sets_of("s3://b/x=1/pets") == [
        ("pets", "s3://b/x=1/pets")
    ]


@pytest.mark.parametrize(
    ("models", "given", "message"),
    [
        ((), ("flowers",), "different names of features"),
        (("lite0", "lite0"), ("flowers",), "different names of features"),
        (("lite0",), (), "names no set"),
        (("lite0",), ("a=one,a=two",), "a twice"),
        (("lite0",), ("=one",), "the name of small letters"),
        (("lite0",), ("Eurosat=one",), "the name of small letters"),
        (("lite0",), ("a=",), "a set is DATASET or NAME=DATASET"),
    ],
)
def test_what_is_no_set(models: tuple[str, ...], given: tuple[str, ...], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        TransferOptions(models=models, sets=given)


def test_encoders_that_get_one_name() -> None:
    with pytest.raises(OptionError, match="two of resnet50, timm/resnet50 get one name"):
        TransferOptions(models=("resnet50", "timm/resnet50"), sets=("flowers",), extract=True)
    assert (
        TransferOptions(models=("resnet50", "lite0"), sets=("flowers",), extract=True).features_name("lite0") == "lite0"
    )


def test_official_parts_are_taken() -> None:
    """`trainval` of the thesis: all that is not tested on."""
    both = choose_splits({"train": 10, "val": 5, "test": 7}, train=None, test=None, where="pets")
    assert (both.train, both.test, both.num_train) == (("train", "val"), "test", 15)
    assert both.train_view == "select key from samples where split in ('train', 'val')"
    two = choose_splits({"train": 10, "test": 7}, train=None, test=None, where="cars")
    assert (two.train, two.test, two.train_view) == (("train",), "test", None)
    imagenet = choose_splits({"train": 10, "val": 5}, train=None, test=None, where="in1k")
    assert (imagenet.train, imagenet.test) == (("train",), "val")
    asked = choose_splits({"fit": 10, "held": 5}, train="fit", test="held", where="own")
    assert (asked.train, asked.test, asked.num_train) == (("fit",), "held", 10)


@pytest.mark.parametrize(
    ("splits", "train", "test", "message"),
    [
        ({"train": 9}, None, None, "pets has the splits train, expected a split to test on, 'test' or 'val'"),
        ({"test": 9}, None, None, "expected 'train' to train on"),
        ({"train": 9, "val": 1}, None, "test", "expected a split 'test'"),
        ({"train": 9, "val": 1}, "val", None, "trained and tested on 'val'"),
    ],
)
def test_parts_that_are_missing(splits: dict[str, int], train: str | None, test: str | None, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        choose_splits(splits, train=train, test=test, where="pets")


@pytest.mark.parametrize(
    ("num_train", "solver"),
    [(2040, "lbfgs"), (75_750, "lbfgs"), (265_213, "sgd"), (1_281_167, "sgd")],
)
def test_the_solver_is_the_thesiss(num_train: int, solver: str) -> None:
    """Flowers and Food-101 by L-BFGS; iNaturalist and ImageNet by SGD."""
    assert choose_solver("auto", num_train) == solver
    assert choose_solver("lbfgs", 10**7) == "lbfgs"
